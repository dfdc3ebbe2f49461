"""New bars scored by trained models: what is served is what was judged, to the bit, and what cannot be scored is refused."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bars.reading import HOUR, bars_path, read_bars
from core.errors import CampaignError
from readme import block
from scaffold import Clone, make_frame, write_symbol
from serve.model import Model
from serve.predicting import choose_newest, choose_rows, predict
from serve.scoring import SETTLED, AssetBars, load_checked, read_assets, score
from serve.signals import COLUMNS, read_table, to_text

pytestmark = pytest.mark.slow
NETWORKS = ("mlp", "lstm", "gru", "cnn_lstm")
PREDICT = "python src/campaign.py predict"
LATER = np.datetime64("2100-01-01", "s")


@pytest.fixture(scope="module")
def campaign(finished_campaign: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone.copy_of(finished_campaign, tmp_path_factory.mktemp("predict") / "clone")


@pytest.fixture
def clone(campaign: Clone, tmp_path: Path) -> Clone:
    return Clone.copy_of(campaign.directory, tmp_path / "clone")


@pytest.fixture
def inside(campaign: Clone, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clone]:
    """The clone as this process's working directory; how scoring prepares the process is undone."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads = torch.get_num_threads()
    with contextlib.chdir(campaign.directory):
        yield campaign
    torch.set_flush_denormal(False)
    torch.set_deterministic_debug_mode("default")
    torch.set_num_threads(threads)


def assets_of(model: Model, root: str = "data/simulated") -> list[AssetBars]:
    return read_assets(Path(root), list(model.recipe.asset_ids), model.recipe, LATER)


def judged(split: str, name: str) -> tuple[pd.MultiIndex, np.ndarray]:
    """Symbol and time of each sample of a split, and its scores by seed, as evaluate left them."""
    y, times, ids = (np.load(f"data/training_data/{split}_{column}.npy") for column in ("y", "timestamps", "asset_ids"))
    symbols = np.array(sorted(entry.name for entry in Path("data/simulated").iterdir() if entry.is_dir()))
    rows = np.flatnonzero(y >= 0)
    return pd.MultiIndex.from_arrays([symbols[ids[rows]], times[rows]]), np.load(f"data/predictions/{name}_{split}.npy")


@pytest.mark.parametrize("name", NETWORKS)
def test_served_equals_judged_to_the_bit(inside, name):
    model = Model.read(name)
    assets = assets_of(model)
    scores = score(assets, {asset.symbol: asset.has_window for asset in assets}, model.files, model.recipe)
    served = pd.concat(
        pd.DataFrame(
            scores[asset.symbol].T,
            pd.MultiIndex.from_product([[asset.symbol], asset.bars.timestamps[asset.rows[asset.has_window]]]),
        )
        for asset in assets
    )
    for split in ("val", "test"):
        samples, expected = judged(split, name)
        np.testing.assert_array_equal(served.loc[samples].to_numpy().T, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_bar_by_bar_with_only_the_bars_known_then_it_is_the_same_to_the_bit(inside, name):
    model = Model.read(name)
    samples, expected = judged("test", name)
    place = {sample: number for number, sample in enumerate(samples)}
    bars = {symbol: read_bars(bars_path(Path("data/simulated"), symbol)) for symbol in model.recipe.asset_ids}
    some = [time for _, time in samples[:: max(len(samples) // 12, 1)]]
    compared = 0
    for moment in some:
        known = [
            AssetBars.of(symbol, own[: int(np.searchsorted(own.timestamps, moment, side="right"))], model.recipe)
            for symbol, own in bars.items()
        ]
        for signal in predict(model, known, choose_newest(known)):
            key = (signal.symbol, pd.Timestamp(signal.timestamp.removesuffix("Z")))
            if key in place:
                assert signal.score == expected[:, place[key]].mean()
                compared += 1
    assert compared >= len(some)


@pytest.mark.parametrize("name", NETWORKS)
def test_from_the_last_bars_alone_scores_are_the_same_but_for_rounding(inside, name):
    """`SETTLED` bars after a sequence began, averages have forgotten where."""
    model = Model.read(name)
    for asset in assets_of(model):
        newest = choose_rows(asset, None)
        whole = score([asset], {asset.symbol: newest}, model.files, model.recipe)[asset.symbol]
        short = AssetBars.of(asset.symbol, asset.bars[len(asset.bars) - SETTLED :], model.recipe)
        alone = score([short], {asset.symbol: choose_rows(short, None)}, model.files, model.recipe)[asset.symbol]
        np.testing.assert_allclose(alone, whole, rtol=0, atol=1e-6)


def test_the_command_prints_the_newest_bars_with_what_they_call(clone):
    done = clone.run(PREDICT)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert tuple(rows[0]) == COLUMNS
    assert sorted(row["symbol"] for row in rows) == ["SIM01", "SIM02"]
    first = clone.read("metrics/compare.json")["search"]["order"][0]
    chosen = clone.read("metrics/evaluate.json")["models"][first]["ensemble"]
    metadata = clone.read("data/training_data/metadata.json")
    for row in rows:
        assert row["model"] == first
        least = chosen["money_threshold"]
        assert row["call"] == ("trade" if least is not None and float(row["score"]) >= least else "none")
        assert float(row["profit_price"]) == pytest.approx(float(row["entry_price"]) * (1 + metadata["profit"]))
        assert float(row["stop_price"]) == pytest.approx(float(row["entry_price"]) * (1 - metadata["stop"]))
        opened, exits = (pd.Timestamp(row[name]) for name in ("timestamp", "latest_exit"))
        assert pd.Timestamp(row["known_from"]) - opened == pd.Timedelta(hours=1)
        assert exits - opened == pd.Timedelta(hours=1 + metadata["horizon"])
    label = clone.read(f"models/{first}/network.json")["label"]
    assert f"predict: warning: the report does not call {label} worth a trade (reports/comparison.md)" in done.stderr
    assert "predict: warning: the model was trained on the simulated market" in done.stderr


def test_one_seed_is_scored_by_its_file_with_its_own_choices(clone):
    done = clone.run(f"{PREDICT} --model models/gru/seed_2.pt --since 2022-01-20 --to p.jsonl")
    assert done.stdout == ""
    rows = read_table(clone.directory / "p.jsonl")
    assert {row["model"] for row in rows} == {"gru seed 2"}
    assert {row["spread"] for row in rows} == {None}
    models = clone.read("metrics/evaluate.json")["models"]["gru"]
    least = models["money_thresholds"][models["seeds"].index(2)]
    assert {row["call"] == "trade" for row in rows if least is None or row["score"] < least} <= {False}
    assert all(row["call"] == "trade" for row in rows if least is not None and row["score"] >= least)


def test_hour_by_hour_a_file_grows_a_second_run_adds_nothing_and_a_missed_hour_is_made_up(clone):
    whole = pd.read_parquet(bars_path(clone.directory / "data/simulated", "SIM01"))
    market = {symbol: pd.read_parquet(bars_path(clone.directory / "data/simulated", symbol)) for symbol in ("SIM01", "SIM02")}

    def until(hours_before_the_end: int) -> None:
        end = whole.index[-1] - pd.Timedelta(hours=hours_before_the_end)
        for symbol, frame in market.items():
            write_symbol(clone.directory / "live", symbol, frame[frame.index <= end])

    command = f"{PREDICT} live --model mlp --append p.parquet"
    until(6)
    assert "2 new rows in p.parquet" in clone.run(command).stderr
    again = clone.run(command, fails=True)
    assert again.returncode == 3
    assert "0 new rows in p.parquet" in again.stderr
    until(5)
    clone.run(command)
    until(0)  # five hours at once
    clone.run(command)
    rows = read_table(clone.directory / "p.parquet")
    clone.run(f"{PREDICT} live --model mlp --since {rows[0]['timestamp']} --to at_once.parquet")
    at_once = read_table(clone.directory / "at_once.parquet")
    by_key = {(row["symbol"], row["timestamp"]): row["score"] for row in at_once}
    assert {(row["symbol"], row["timestamp"]): row["score"] for row in rows} == by_key
    assert len(by_key) >= 12


def test_review_says_what_came_of_them(clone):
    test = clone.read("data/training_data/metadata.json")["cuts"]["test"]
    clone.run(f"{PREDICT} --model mlp --since {test} --to p.csv")
    lines = clone.run(f"{PREDICT} --review p.csv").stdout.splitlines()
    everything, *_, on_test = lines[1:5]
    assert [line.split()[0] for line in lines[1:4]] == ["all", "SIM01", "SIM02"]
    assert on_test.startswith("on test")
    assert re.match(r"mlp: [\d,]+ bars of \d+ days with a known outcome, \d+ without one yet\. ", lines[5])
    assert lines[6] == "nothing differs from test beyond chance"
    assert max(map(len, lines[:5])) < 120
    money = clone.read("metrics/evaluate.json")["models"]["mlp"]["ensemble"]["test"]["money"]
    assert f"  {money['trades']}  " in on_test
    assert int(everything.split()[1]) > int(on_test.split()[2]), "windows reach back before test, where evaluate has none"
    clone.run(f"{PREDICT} --model gru --append p.csv")
    refused = clone.run(f"{PREDICT} --review p.csv", fails=True)
    assert re.fullmatch(
        r"campaign predict: p\.csv has predictions of gru \w{8}, mlp \w{8}; keep a file for each model\n", refused.stderr
    )


def test_what_the_model_has_seen_is_told_and_left_out_of_a_review(clone):
    cuts = clone.read("data/training_data/metadata.json")["cuts"]
    done = clone.run(f"{PREDICT} --model mlp --since {cuts['val']} --to p.csv")
    before = sum(row["timestamp"] < cuts["test"] for row in read_table(clone.directory / "p.csv"))
    assert f"predict: warning: {before:,} of the bars lie in train and validation, before {cuts['test'][:-1]}: " in done.stderr
    told = clone.run(f"{PREDICT} --review p.csv").stdout.splitlines()
    assert told[-1] == f"left out: {before} bars of train and validation, before {cuts['test'][:10]}, which the model has seen"


def test_predictions_of_an_earlier_model_are_not_reviewed_with_this_one(clone):
    clone.run(f"{PREDICT} --model mlp --append p.csv")
    clone.run("dvc exp run -S evaluate.min_trades=5")
    clone.run("dvc exp run -S mlp.dropout=0.1")
    refused = clone.run(f"{PREDICT} --review p.csv", fails=True)
    assert re.fullmatch(
        r"campaign predict: p\.csv was predicted by mlp \w{8}, here is \w{8}; review it where those models are: git checkout, "
        r"then dvc checkout\n",
        refused.stderr,
    )
    clone.run(f"{PREDICT} --model mlp --append p.csv")
    assert len({row["fingerprint"] for row in read_table(clone.directory / "p.csv")}) == 2
    clone.run("git checkout -q params.yaml dvc.lock metrics reports")
    clone.run("dvc checkout --force")
    rows = read_table(clone.directory / "p.csv")
    (clone.directory / "old.csv").write_text(
        to_text([row for row in rows if row["fingerprint"] == rows[0]["fingerprint"]], ".csv")
    )
    assert "without one yet" in clone.run(f"{PREDICT} --review old.csv").stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--model tcn", "--model is 'tcn'; take one of mlp, lstm, gru, cnn_lstm, first, or the file of a seed"),
        ("--model models/none.pt", "models/none.pt not found; run the stage that makes it: dvc repro"),
        ("--since yesterday", "--since is 'yesterday'; write a time in UTC, as 2024-06-01 or 2024-06-01T15:00"),
        ("--to p.xls", r"p.xls has no ending that says how to write it; take one of .csv, .jsonl, .parquet"),
        ("--to p.csv --append q.csv", "--to and --append cannot be given together; --append writes to its own file"),
        ("nowhere", "no bars at nowhere: put <SYMBOL>/1Hour/data.parquet files there, or change data.bars"),
        ("--review none.csv", "none.csv not found; predict writes it with --append"),
        ("--review none.csv --since 2024-01-01", "--review and --since cannot be given together; --review scores nothing"),
        ("--since 0001-01-01T00:00+14:00", "--since is '0001-01-01T00:00.14:00'; write a time in UTC, as .*"),
        ("other", "the model never saw NEW, it knows SIM01, SIM02: under other; choose with --symbols"),
        ("short", r"SIM01 has 110 finished bars, and no 124 of them without a step over 96 h \(warm-up 100 \+ lookback 24\); .*"),
        ("bad", r"bad/SIM01/1Hour/data.parquet: .*High below Low.*"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(clone, arguments, problem):
    write_symbol(clone.directory / "other", "NEW", make_frame(300))
    write_symbol(clone.directory / "short", "SIM01", make_frame(110))
    write_symbol(clone.directory / "bad", "SIM01", make_frame(300).rename(columns={"High": "Low", "Low": "High"}))
    done = clone.run(f"{PREDICT} {arguments}", fails=True)
    assert done.returncode == 1
    assert re.fullmatch(f"campaign predict: {problem}\n", done.stderr), done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "python src/generate_data.py",
            r"metrics/evaluate.json is about other data than data/training_data; train and judge anew: dvc repro",
        ),
        ("python src/train_mlp.py", r"metrics/evaluate.json judges other networks than models/mlp; judge these: dvc repro"),
        (
            "python src/evaluate.py",
            r"metrics/compare.json is about other models than metrics/evaluate.json; compare these: dvc repro",
        ),
    ],
)
def test_models_data_and_reports_that_do_not_belong_together_are_refused_and_the_cure_works(clone, change, problem):
    """Labels of another profit leave the scaler as it is."""
    clone.params(data={"profit": 0.03} if "generate" in change else {}, mlp={"dropout": 0.1})
    if "evaluate" in change:
        clone.run("python src/train_mlp.py")
    clone.run(change)
    refused = clone.run(f"{PREDICT} --model mlp", fails=True)
    assert re.fullmatch(f"campaign predict: {problem}\n", refused.stderr), refused.stderr
    clone.run("dvc repro")
    clone.run(f"{PREDICT} --model mlp")


def test_a_seed_that_was_not_judged_is_refused(clone):
    shutil.copy(clone.directory / "models/mlp/seed_1.pt", clone.directory / "models/mlp/seed_7.pt")
    assert "metrics/evaluate.json judges" in clone.run(f"{PREDICT} --model mlp", fails=True).stderr


def test_a_network_of_another_shape_than_the_data_is_refused(inside):
    model = Model.read("mlp")
    recipe = dataclasses.replace(model.recipe, lookback=12, features=model.recipe.features[:-1])
    with pytest.raises(
        CampaignError, match=r"seed_1\.pt has n_features 22, the data 21, lookback 24, the data 12; train and judge it"
    ):
        load_checked(model.files[0], recipe)


def test_an_architecture_without_models_is_refused_and_the_cure_works(clone):
    for file in (clone.directory / "models/mlp").glob("seed_*"):
        file.unlink()
    refused = clone.run(f"{PREDICT} --model mlp", fails=True)
    assert refused.stderr == "campaign predict: models/mlp holds no trained seed; train and judge it: dvc repro\n"
    clone.run("dvc repro")
    clone.run(f"{PREDICT} --model mlp")


def test_the_settings_symbols_are_those_that_are_scored(clone):
    write_symbol(clone.directory / "data/simulated", "NEW", make_frame(300))
    assert "the model never saw NEW" in clone.run(f"{PREDICT} --model mlp", fails=True).stderr
    named = csv.DictReader(io.StringIO(clone.run(f"{PREDICT} --model mlp --symbols 'SIM02, SIM01'").stdout))
    assert [row["symbol"] for row in named] == ["SIM01", "SIM02"], "the cure of the refusal"
    clone.params(data={"symbols": ["SIM01", "SIM02"]})
    assert len(clone.run(f"{PREDICT} --model mlp").stdout.splitlines()) == 3


def test_bars_before_the_newest_of_a_file_are_added_where_they_are_asked_for(clone):
    clone.run(f"{PREDICT} --model mlp --append p.csv")
    [row, _] = read_table(clone.directory / "p.csv")
    day = f"{row['timestamp'][:10]}T00:00"
    clone.run(f"{PREDICT} --model mlp --append p.csv --since {day}")
    assert min(own["timestamp"] for own in read_table(clone.directory / "p.csv")) == f"{day}:00Z"


def test_short_histories_are_told_and_a_break_in_long_ones_is_not(clone):
    frame = pd.read_parquet(bars_path(clone.directory / "data/simulated", "SIM01"))
    write_symbol(clone.directory / "short", "SIM01", frame.iloc[-300:])
    write_symbol(clone.directory / "broken", "SIM01", pd.concat([frame.iloc[:-420], frame.iloc[-300:]]))
    told = {root: clone.run(f"{PREDICT} {root} --model mlp").stderr for root in ("short", "broken")}
    assert "SIM01: bars with fewer than 400 before them; averages still remember where the file begins" in told["short"]
    assert "averages" not in told["broken"], "the campaign, too, begins anew at a break"


def test_a_bar_that_was_not_over_when_its_file_was_written_is_not_scored(clone):
    frame = pd.read_parquet(bars_path(clone.directory / "data/simulated", "SIM01"))
    path = write_symbol(clone.directory / "live", "SIM01", frame)
    written = frame.index[-1].timestamp() + 1200  # twenty minutes into the last bar
    os.utime(path, (written, written))
    [row] = csv.DictReader(io.StringIO(clone.run(f"{PREDICT} live --model mlp").stdout))
    assert pd.Timestamp(row["timestamp"]) == frame.index[-2]


def test_an_unfinished_bar_is_never_scored_and_late_bars_are_told(inside, capsys):
    model = Model.read("mlp")
    recipe = model.recipe
    [first] = read_assets(Path("data/simulated"), ["SIM01"], recipe, LATER)
    last = first.bars.timestamps[-1]
    for now, end in ((last + HOUR, last), (last + HOUR - np.timedelta64(1, "s"), first.bars.timestamps[-2])):
        [asset] = read_assets(Path("data/simulated"), ["SIM01"], recipe, now)
        assert asset.bars.timestamps[-1] == end
    with pytest.raises(CampaignError, match="no bar is finished by 1990-01-01T00:00:00 UTC; check the clock"):
        read_assets(Path("data/simulated"), ["SIM01"], recipe, np.datetime64("1990-01-01", "s"))
    from tools.predict import say_warnings

    say_warnings(model, [first], last + 4 * HOUR)
    assert "SIM01: more than 2 bars are late; bring newer ones" in capsys.readouterr().err
    say_warnings(model, [first], last + 3 * HOUR)
    assert "bars are late" not in capsys.readouterr().err


def test_a_month_of_hourly_runs_keeps_memory_flat(inside, tmp_path):
    """In one process, as far as this code is concerned: what it reads, scores and adds in 720 runs."""
    model = Model.read("mlp")
    frames = {symbol: read_bars(bars_path(Path("data/simulated"), symbol)) for symbol in model.recipe.asset_ids}
    from serve.signals import append
    from tools.predict import rows_of

    peaks = []
    for hour in range(720):
        assets = [AssetBars.of(symbol, bars[: len(bars) - 720 // 4 + hour // 4], model.recipe) for symbol, bars in frames.items()]
        append(tmp_path / "p.csv", rows_of(predict(model, assets, choose_newest(assets))))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert peaks[-1] - peaks[180] < 20_000, "kilobytes"


def test_the_five_commands_lead_from_bars_to_a_review(clone):
    """As docs/predict.md has them, on the simulated market's bars as a vendor might send them."""
    for symbol in ("SIM01", "SIM02"):
        frame = pd.read_parquet(bars_path(clone.directory / "data/simulated", symbol))
        frame.to_csv(clone.directory / f"{symbol}.csv")
    brought, trained, _, scored, reviewed = block("--append signals.csv").splitlines()
    for symbol in ("SIM01", "SIM02"):
        clone.run(brought.partition("#")[0].removeprefix("$ ").replace("btc.csv", f"{symbol}.csv").replace("BTCUSDT", symbol))
    clone.run(trained.partition("#")[0].removeprefix("$ "))
    done = clone.run(scored.partition("#")[0].removeprefix("$ "))
    assert "predict: 2 new rows in signals.csv" in done.stderr
    assert "simulated" not in done.stderr, "imported bars are taken for real ones"
    for symbol in ("SIM01", "SIM02"):
        frame = pd.read_parquet(bars_path(clone.directory / "data/historical", symbol))
        more = make_frame(40, start=str(frame.index[-1].tz_localize(None) + pd.Timedelta(hours=1)))
        prices = ["Open", "High", "Low", "Close"]
        more[prices] *= frame["Close"].iloc[-1] / 100
        write_symbol(clone.directory / "data/historical", symbol, pd.concat([frame, more]))
    told = clone.run(reviewed.partition("#")[0].removeprefix("$ ")).stdout  # the bars go on after those that trained
    assert "2 bars of 1 days with a known outcome" in told or "2 bars of 1 day with a known outcome" in told


def test_the_pages_show_rows_as_they_are():
    shown = json.loads(block('"known_from"').partition("json.tool\n")[2])
    assert tuple(shown) == COLUMNS


def test_the_page_shows_a_review_as_it_is():
    head, everything, *_ = block("--review april.csv").split("--review april.csv\n")[1].splitlines()
    assert head.split() == ["bars", "profits", "probability", "less", "trades", "hit", "rate", "return", "a", "trade"]
    assert everything.startswith("all ")
