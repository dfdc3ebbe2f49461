"""The stage as a whole: what it writes, what must not leak, and refusals that leave earlier results alone."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import generate_data
from bars import rows
from bars.labels import Barriers, Trades
from bars.reading import Bars
from bars.rows import ARRAYS
from core.splits import SPLITS
from scaffold import make_frame, refusal, write_params, write_symbol
from tools import doctor


@pytest.fixture
def bars(desk: Path) -> Path:
    """Three good symbols, one of them with an outage, in the working directory."""
    root = desk / "bars"
    for number, symbol in enumerate(("AAA", "BBB", "CCC")):
        frame = make_frame(900, seed=number, volatility=0.015)
        write_symbol(root, symbol, frame.drop(frame.index[400:540]) if symbol == "BBB" else frame)
    return root


def outputs(directory: Path = Path()) -> dict[str, bytes]:
    files = [*sorted((directory / "data/training_data").glob("*")), directory / "metrics/generate_data.json"]
    return {str(file): file.read_bytes() for file in files if file.is_file()}


def arrays(split: str) -> dict[str, np.ndarray]:
    return {name: np.load(f"data/training_data/{split}_{name}.npy") for name in ARRAYS}


def test_arrays_and_metadata_are_as_documented(bars):
    generate_data.main()
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    assert json.loads(Path("data/training_data/asset_id_mapping.json").read_text()) == {"AAA": 0, "BBB": 1, "CCC": 2}
    count = 0
    for split in ("train", "val", "test"):
        part = arrays(split)
        assert (part["X"].dtype, part["y"].dtype, part["returns"].dtype) == (np.float32, np.int8, np.float64)
        assert part["X"].shape == (len(part["y"]), len(metadata["features"]))
        assert np.isfinite(part["X"]).all()
        assert np.isfinite(part["returns"][part["y"] >= 0]).all()
        assert part["mirrored"].dtype == np.int8
        assert set(np.unique(part["y"])) == set(np.unique(part["mirrored"])) == {-1, 0, 1}
        np.testing.assert_array_equal(part["mirrored"] == -1, part["y"] == -1)
        assert not ((part["mirrored"] == 1) & (part["y"] == 1)).any()
        assert metadata["splits"][split]["samples"] == (part["y"] >= 0).sum()
        count += len(part["y"])
    assert count == 2 * 900 + 760 - 3 * 100 - 100  # every bar once, but for the warm-up of four sequences
    train = arrays("train")["X"].astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=0.02)  # but for clipping
    np.testing.assert_allclose(train.std(axis=0), 1, atol=0.02)
    audit = json.loads(Path("metrics/generate_data.json").read_text())
    assert audit["gaps"] == 1
    assert audit["leak_audit"] == metadata["leak_audit"]
    for name in ("windows_across_a_break", "rows_beyond_a_cut", "values_that_know_the_future"):
        assert audit["leak_audit"][name] == 0
    assert audit["leak_audit"]["hours_from_train_labels_to_val"] >= 0


def test_counts_are_those_of_the_arrays(bars):
    generate_data.main()
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    figures = json.loads(Path("metrics/generate_data.json").read_text())
    found = {split: arrays(split) for split in SPLITS}
    for split, part in found.items():
        y, counts = part["y"][part["y"] >= 0], {"rows": len(part["y"]), "samples": (part["y"] >= 0).sum()}
        counts |= {"positives": (y == 1).sum(), "positive_share": pytest.approx((y == 1).mean())}
        assert figures["splits"][split] == counts
        ends = {"first_bar": f"{part['timestamps'].min()}Z", "last_bar": f"{part['timestamps'].max()}Z"}
        assert metadata["splits"][split] == counts | ends
    assert (figures["assets"], figures["bars"]) == (3, 2560)
    lost = {key: round(share * 2560, 6) for key, share in figures["bars_without_sample"].items()}
    assert lost == {
        "share": 2560 - sum((part["y"] >= 0).sum() for part in found.values()),
        "share_warm_up": 4 * 100,  # BBB has two sequences
        "share_window_incomplete": (4 + 3 + 3) * 23,  # of 24 rows, in three splits
        "share_label_unknown": 4 * 8,
        "share_purged": 2 * 3 * 8,  # at two cuts
    }


def test_closes_are_those_of_the_bars_in_their_file(bars):
    generate_data.main()
    symbols = json.loads(Path("data/training_data/metadata.json").read_text())["assets"]
    files = {number: pd.read_parquet(bars / symbol / "1Hour/data.parquet")["Close"] for number, symbol in enumerate(symbols)}
    for split in SPLITS:
        part = arrays(split)
        assert part["closes"].dtype == np.float64
        for number, close in files.items():
            own = part["asset_ids"] == number
            times = pd.DatetimeIndex(part["timestamps"][own], tz="UTC")
            np.testing.assert_array_equal(part["closes"][own], close[times].to_numpy())


def test_the_metadata_say_how_long_windows_and_trades_last(bars):
    """Of all samples together, and where a bar is not an hour: in CCC, from which every other bar is taken."""
    frame = pd.read_parquet(bars / "CCC/1Hour/data.parquet")
    frame = pd.concat([frame[:300], frame[300:][::2]])
    write_symbol(bars, "CCC", frame)
    generate_data.main()
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    opens = {symbol: pd.read_parquet(bars / symbol / "1Hour/data.parquet").index for symbol in metadata["assets"]}
    windows, trades = [], []
    for split in SPLITS:
        part = arrays(split)
        for row in np.flatnonzero(part["y"] >= 0):
            times = opens[metadata["assets"][part["asset_ids"][row]]]
            t = times.get_loc(pd.Timestamp(part["timestamps"][row], tz="UTC"))
            windows.append((times[t] - times[t - 23]) / pd.Timedelta(hours=1) + 1)
            trades.append((times[t + 8] - times[t]) / pd.Timedelta(hours=1))
    assert metadata["hours"] == {
        "window": {"bars": 24, "median": np.median(windows), "percentile_95": np.percentile(windows, 95)},
        "trade": {"bars": 8, "median": np.median(trades), "percentile_95": np.percentile(trades, 95)},
        "assets_with_longer_bars": ["CCC"],
    }


def test_findings_on_the_bars_are_warnings_of_a_line_each_kind(bars, capsys):
    frame = make_frame(900, seed=3)
    prices = frame.columns.get_indexer(["Open", "High", "Low", "Close"])
    for position in (200, 350, 500, 650):
        frame.iloc[position:, prices] /= 3
    write_symbol(bars, "DDD", frame)
    generate_data.main()
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert [line.split(": ")[2] for line in said] == ["split not adjusted for", "short history", "no asset that ends early"]
    first = f"generate_data: warning: split not adjusted for: DDD {str(frame.index[200])[:16]} (a split of 3 for 1), DDD "
    assert said[0].startswith(first)
    assert " and 1 more; python src/campaign.py bars lists all; adjust the prices: python src/campaign.py import " in said[0]


def test_the_content_hash_covers_every_array_and_the_metadata(bars):
    """Checkpoints are kept apart by this hash."""
    generate_data.main()
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    digest = hashlib.sha256()
    for split in SPLITS:
        for array in arrays(split).values():
            digest.update(array.tobytes())
    claimed = metadata.pop("content_hash")
    digest.update(json.dumps(metadata).encode())
    assert claimed == digest.hexdigest()


def test_features_are_clipped_at_data_clip(bars, desk):
    write_params(desk, data={"bars": "bars", "clip": 1})
    generate_data.main()
    for split in SPLITS:
        X = arrays(split)["X"]
        assert (X.min(), X.max()) == (-1, 1)


@pytest.mark.parametrize(("max_gap", "gaps"), [(140, 1), (141, 0)])
def test_a_step_is_a_gap_where_it_is_longer_than_data_max_gap(bars, desk, max_gap, gaps):
    write_params(desk, data={"bars": "bars", "max_gap": max_gap})
    generate_data.main()
    assert json.loads(Path("metrics/generate_data.json").read_text())["gaps"] == gaps
    assert sum(len(arrays(split)["y"]) for split in SPLITS) == 2560 - (3 + gaps) * 100


def test_chosen_symbols_are_numbered_by_name_whatever_their_order(bars, desk):
    (bars / "BBB/1Hour/data.parquet").write_bytes(b"not read")
    write_params(desk, data={"bars": "bars", "features": ["return_1"], "symbols": ["CCC", "AAA"]})
    generate_data.main()
    assert json.loads(Path("data/training_data/asset_id_mapping.json").read_text()) == {"AAA": 0, "CCC": 1}
    scaler = json.loads(Path("data/training_data/metadata.json").read_text())["scaler"]
    part = arrays("train")
    for number, symbol in enumerate(("AAA", "CCC")):
        close = pd.read_parquet(bars / symbol / "1Hour/data.parquet")["Close"].to_numpy()
        own = part["X"][part["asset_ids"] == number, 0][:50] * scaler["scale"][0] + scaler["mean"][0]
        np.testing.assert_allclose(own, close[100:150] / close[99:149] - 1, atol=1e-6)


FUTURE = (
    "stage: feature return_1 knows the future: later bars change the value; mend its function in src/bars/features.py, or "
    "remove it from data.features"
)


def hour_of_day(bars: Bars) -> np.ndarray:
    return bars.timestamps.astype("datetime64[h]").astype(np.int64) % 24


def bars_from_end(bars: Bars) -> np.ndarray:
    return np.arange(len(bars), 0, -1)


LEAKS = {
    "in every hour": (8, lambda bars: True),
    "in six hours of the day": (8, lambda bars: hour_of_day(bars) % 4 == 1),
    "in three hours of the day": (8, lambda bars: np.isin(hour_of_day(bars), (0, 1, 2))),
    "in one hour of the day": (8, lambda bars: hour_of_day(bars) == 13),
    "of one bar in one hour of the day": (1, lambda bars: hour_of_day(bars) == 5),
    "of one asset": (8, lambda bars: bars.volume[0] == make_frame(900, seed=2, volatility=0.015)["Volume"].iloc[0]),
    "in the last rows of whatever is given": (8, lambda bars: bars_from_end(bars) <= 24),
    "in the newest rows": (8, lambda bars: bars.timestamps >= np.datetime64("2024-02-06T12")),
    "on one day of the week": (8, lambda bars: (bars.timestamps.astype("datetime64[D]").astype(np.int64) + 3) % 7 == 6),
}


@pytest.mark.parametrize(("ahead", "where"), LEAKS.values(), ids=LEAKS)
def test_a_feature_that_knows_the_future_somewhere_is_refused_by_name(bars, monkeypatch, ahead, where):
    """The return over the next bars takes the place of that over the last one."""

    def future_return(sequence: Bars) -> dict[str, np.ndarray]:
        close = sequence.close
        past = np.append(np.nan, close[1:] / close[:-1] - 1)
        future = np.append(close[ahead:] / close[:-ahead] - 1, np.zeros(ahead))
        return {"return_1": np.where(where(sequence), future, past)}

    monkeypatch.setitem(rows.features.GROUPS, future_return, ("return_1",))
    assert refusal(generate_data.main) == FUTURE
    assert not Path("data/training_data").exists()


@pytest.mark.parametrize("hour", [None, 13])
@pytest.mark.parametrize("name", ["labels", "returns", "held", "mirrored"])
def test_a_label_that_looks_beyond_its_horizon_is_refused(bars, monkeypatch, hour, name):
    """One bar too far, in one hour of the day or in all."""
    triple_barrier = rows.triple_barrier

    def longer_trade(sequence: Bars, barriers: Barriers, *, horizon: int, atr: None) -> Trades:
        trades, longer = (triple_barrier(sequence, barriers, horizon=bars) for bars in (horizon, horizon + 1))
        is_longer = True if hour is None else hour_of_day(sequence) == hour
        return trades._replace(**{name: np.where(is_longer, getattr(longer, name), getattr(trades, name))})

    monkeypatch.setattr(rows, "triple_barrier", longer_trade)
    message = refusal(generate_data.main)
    assert message.startswith("stage: leak audit failed, a defect of this program, please report it")
    assert int(re.search(r"'values_that_know_the_future': (\d+)", message)[1]) >= 3  # at least one of each asset


def slow_atr(frame: pd.DataFrame) -> pd.Series:
    """Wilder's average true range over 14 bars of one sequence: a mean of 14, then each bar moves it by a 14th."""
    before = frame["Close"].shift()
    ranges = pd.concat([frame["High"] - frame["Low"], (frame["High"] - before).abs(), (frame["Low"] - before).abs()], axis=1)
    true_range = ranges.max(axis=1).to_numpy()
    average = np.full(len(frame), np.nan)
    average[14] = true_range[1:15].mean()
    for bar in range(15, len(frame)):
        average[bar] = (13 * average[bar - 1] + true_range[bar]) / 14
    return pd.Series(average, frame.index)


ATR = {"bars": "bars", "barrier": "atr", "profit_atr": 2.5, "stop_atr": 1.25, "features": ["rsi_14", "return_1"]}


def test_barriers_may_be_multiples_of_the_average_true_range(bars, desk):
    write_params(desk, data=ATR)
    generate_data.main()
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    assert (metadata["barrier"], metadata["profit"], metadata["stop"]) == ("atr", 2.5, 1.25)
    assert metadata["leak_audit"]["values_that_know_the_future"] == 0
    seen = {1: 0, 0: 0}
    for number, symbol in enumerate(metadata["assets"]):
        frame = pd.read_parquet(bars / symbol / "1Hour/data.parquet")
        breaks = np.cumsum(frame.index.to_series().diff() > pd.Timedelta("96h"))
        sequences = [sequence for _, sequence in frame.groupby(breaks.to_numpy())]
        atr = pd.concat([slow_atr(sequence) for sequence in sequences])
        for split in SPLITS:
            part = arrays(split)
            own = (part["asset_ids"] == number) & (part["y"] >= 0)
            share = (atr / frame["Close"])[pd.DatetimeIndex(part["timestamps"][own], tz="UTC")].to_numpy()
            y, returns, held, mirrored = (part[name][own] for name in ("y", "returns", "held", "mirrored"))
            np.testing.assert_allclose(returns[y == 1], 2.5 * share[y == 1])
            ended = (y == 0) & (held < 8)
            np.testing.assert_allclose(returns[ended], -1.25 * share[ended])  # no bar opens below a stop here
            assert not ((y == 1) & (mirrored == 1)).any()
            seen[1] += (y == 1).sum()
            seen[0] += ended.sum()
    assert min(seen.values()) > 50


@pytest.mark.parametrize("hour", [None, 13])
def test_barriers_of_an_average_true_range_that_knows_the_next_bar_are_refused(bars, desk, monkeypatch, hour):
    honest = rows.features.average_true_range

    def of_next_bar(sequence: Bars) -> np.ndarray:
        atr = honest(sequence)
        is_early = True if hour is None else hour_of_day(sequence) == hour
        return np.where(is_early, np.append(atr[1:], atr[-1]), atr)

    write_params(desk, data=ATR)
    monkeypatch.setattr(rows.features, "average_true_range", of_next_bar)
    message = refusal(generate_data.main)
    assert message.startswith("stage: leak audit failed, a defect of this program, please report it")
    assert int(re.search(r"'values_that_know_the_future': (\d+)", message)[1]) >= 3


def test_bars_that_have_not_moved_have_no_barriers_in_atr(bars, desk):
    """From the start of CCC to its 200th bar; labels begin with the first move."""
    frame = pd.read_parquet(bars / "CCC/1Hour/data.parquet")
    frame.iloc[:200, :4] = 100.0
    frame.iloc[200, :3] = 100.0, max(100.0, frame["High"].iloc[200]), min(100.0, frame["Low"].iloc[200])
    write_symbol(bars, "CCC", frame)
    write_params(desk, data=ATR | {"features": ["rsi_14"]})
    generate_data.main()
    part = arrays("train")
    own = part["asset_ids"] == 2
    assert (part["y"][own][:100] == -1).all()
    assert (part["y"][own][100] >= 0, np.isnan(part["returns"][own][:100]).all()) == (True, True)


def test_the_audit_says_how_many_rows_were_recomputed(bars):
    """At 25 cuts of each asset, 24 rows of 22 features and two labels."""
    generate_data.main()
    audit = json.loads(Path("metrics/generate_data.json").read_text())["leak_audit"]
    assert (audit["rows_recomputed"], audit["values_recomputed"]) == (3 * 25 * 24, 3 * 25 * 24 * 24)


def test_two_runs_write_the_same_bytes(bars, monkeypatch):
    generate_data.main()
    once = outputs()
    monkeypatch.setenv("CAMPAIGN_JOBS", "1")
    generate_data.main()
    assert outputs() == once
    assert len(once) == 28


def test_train_does_not_depend_on_later_bars(bars, desk):
    """Train arrays, scaler and cuts stay to the last bit when all bars after the cut are replaced."""
    generate_data.main()
    before = {name: array.copy() for name, array in arrays("train").items()}
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    cut = pd.Timestamp(metadata["cuts"]["val"])
    for number, symbol in enumerate(("AAA", "BBB", "CCC")):
        path = bars / symbol / "1Hour" / "data.parquet"
        frame = pd.read_parquet(path)
        other = make_frame(900, seed=50 + number, volatility=0.03).reindex(frame.index)
        write_symbol(bars, symbol, pd.concat([frame[frame.index < cut], other[other.index >= cut]]))
    generate_data.main()
    after = json.loads(Path("data/training_data/metadata.json").read_text())
    assert after["cuts"] == metadata["cuts"]
    assert after["scaler"] == metadata["scaler"]
    for name, array in arrays("train").items():
        if name in ("returns", "held"):  # kept for purged rows too, which no sample ends in
            keep = before["y"] >= 0
            np.testing.assert_array_equal(array[keep], before[name][keep])
        else:
            np.testing.assert_array_equal(array, before[name])


def test_all_bad_symbols_are_named_at_once_and_earlier_results_kept(bars):
    generate_data.main()
    before = outputs()
    (bars / "AAA/1Hour/data.parquet").write_bytes(b"PAR1 no")
    write_symbol(bars, "BBB", make_frame(900).assign(Close=np.nan))
    write_symbol(bars, "DDD", make_frame(131))
    (bars / "EEE").mkdir()
    message = refusal(generate_data.main)
    assert "4 of 5 symbols cannot be used" in message
    for part in (
        "AAA/1Hour/data.parquet is not a readable parquet file",
        "BBB/1Hour/data.parquet: NaN in Close in 900 of 900 rows",
        "DDD/1Hour/data.parquet: 131 bars, the longest sequence without a step over",
        "at least 132 are needed (warm-up 100 + lookback 24 + horizon 8)",
        "EEE/1Hour/data.parquet not found",
    ):
        assert part in message
    assert outputs() == before


def test_the_smallest_number_of_bars_gives_one_sample(bars):
    write_symbol(bars, "DDD", make_frame(132))
    generate_data.main()
    assert (arrays("train")["asset_ids"][arrays("train")["y"] >= 0] == 3).sum() == 1


SECTIONS = [
    ({"bars": "nowhere"}, "no bars at nowhere: put <SYMBOL>/1Hour/data.parquet files there, or change data.bars"),
    ({"lookback": 0}, "data.lookback is 0; it must be greater than or equal to 1"),
    ({"lookback": "24"}, "data.lookback is '24'; it must be a valid integer"),
    ({"lookback": 24.5}, "data.lookback is 24.5; it must be a valid integer"),
    ({"lookback": True}, "data.lookback is true; it must be a valid integer"),
    ({"splits": [0.7, 0.2, 0.2]}, "data.splits is [0.7, 0.2, 0.2]; it must be three shares above 0 that sum to 1"),
    ({"splits": [0.7, 0.3]}, "data.splits is [0.7, 0.3]"),
    ({"splits": [1.0, 0.0, 0.0]}, "data.splits"),
    ({"profit": -0.1}, "data.profit is -0.1; it must be greater than 0"),
    ({"stop": 1.5}, "data.stop is 1.5; it must be less than 1"),
    ({"barrier": "ATR"}, "data.barrier is 'ATR'; it must be 'percent' or 'atr'"),
    ({"stop_atr": 0}, "data.stop_atr is 0; it must be greater than 0"),
    (
        {"barrier": "atr", "profit_atr": 500.0},
        "in its samples; add bars, or change data.splits, data.profit_atr or data.stop_atr",
    ),
    ({"features": ["rsi_14", "moon"]}, "no column moon (found: Open, High, Low, Close, Volume)"),
    ({"features": []}, "data.features is []"),
    ({"features": ["rsi_14", "rsi_14"]}, "a list without repetition"),
    ({"horizont": 8}, "data.horizont is unknown; remove it (known: bars,"),
    ({"symbols": ["AAA", "ZZZ"]}, "data.symbols names ZZZ, not found under bars (there: AAA, BBB, CCC)"),
    ({"symbols": ["../AAA"]}, "data.symbols names '../AAA'"),
    ({"profit": 0.9}, "only label 0 in its samples"),
    ({"max_gap": 0}, "data.max_gap is 0"),
    ({"clip": 0}, "data.clip is 0"),
]


@pytest.mark.parametrize(("keys", "finding"), SECTIONS, ids=[str(keys) for keys, _ in SECTIONS])
def test_bad_parameters_are_refused_with_key_value_and_rule(bars, desk, keys, finding):
    generate_data.main()
    before = outputs()
    write_params(desk, data={"bars": "bars"} | keys)
    assert finding in refusal(generate_data.main)
    assert outputs() == before


@pytest.mark.parametrize("root", [Path("/"), Path("/etc"), Path("params.yaml")])
def test_a_root_that_holds_no_bars_is_refused(desk, root):
    write_params(desk, data={"bars": str(root)})
    assert str(root) in refusal(generate_data.main)


def test_an_absolute_root_gives_the_same_arrays(bars, desk):
    generate_data.main()
    once = outputs()
    write_params(desk, data={"bars": str(bars)})
    generate_data.main()
    assert outputs() == once


def test_an_asset_missing_from_train_is_refused_and_one_missing_from_test_is_a_warning(bars, capsys):
    write_symbol(bars, "OLD", make_frame(400, seed=8))
    generate_data.main()
    assert "warning: OLD has no sample in test: it is not judged there" in capsys.readouterr().err
    write_symbol(bars, "NEW", make_frame(200, seed=9, start="2024-02-05"))
    assert "no training sample for NEW" in refusal(generate_data.main)


def test_constant_and_infinite_features_are_refused_by_name(bars, desk):
    for symbol in ("AAA", "BBB", "CCC"):
        path = bars / symbol / "1Hour/data.parquet"
        pd.read_parquet(path).assign(flat=1.5).to_parquet(path)
    write_params(desk, data={"bars": "bars", "features": ["rsi_14", "flat"]})
    assert "feature flat is constant in train; remove it from data.features" in refusal(generate_data.main)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (lambda noise: 1e160 * noise, "too large to be scaled"),
        (lambda noise: 1e300 * noise, "too large to be scaled"),
        (lambda noise: 1e-200 * noise, "constant"),
        (lambda noise: 1e9 + 1e-6 * noise, "constant"),
    ],
    ids=["its square overflows", "it nearly overflows", "its square is nothing", "it varies as rounding does"],
)
@pytest.mark.filterwarnings("error")
def test_a_column_that_cannot_be_scaled_is_refused_before_anything_is_written(bars, desk, values, what):
    for symbol in ("AAA", "BBB", "CCC"):
        path = bars / symbol / "1Hour/data.parquet"
        frame = pd.read_parquet(path)
        frame.assign(own=values(np.random.default_rng(0).normal(size=len(frame)))).to_parquet(path)
    write_params(desk, data={"bars": "bars", "features": ["rsi_14", "own"]})
    assert f"feature own is {what} in train; remove it from data.features" in refusal(generate_data.main)
    assert not Path("data/training_data").exists()


@pytest.mark.parametrize(("split", "splits"), [("val", [0.8, 0.05, 0.15]), ("test", [0.8, 0.15, 0.05])])
def test_a_split_of_too_few_days_is_refused_before_any_training(bars, desk, split, splits):
    write_params(desk, data={"bars": "bars", "splits": splits})
    assert re.search(rf"the {split} split has samples on [123] day\(s\), at least 4 are needed", refusal(generate_data.main))


def test_an_extra_column_becomes_a_feature(bars, desk):
    for symbol in ("AAA", "BBB", "CCC"):
        path = bars / symbol / "1Hour/data.parquet"
        frame = pd.read_parquet(path)
        frame.assign(mood=np.arange(len(frame)) % 7).to_parquet(path)
    write_params(desk, data={"bars": "bars", "features": ["rsi_14", "mood"]})
    generate_data.main()
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    scaler, audit = metadata["scaler"], metadata["leak_audit"]
    assert metadata["extra_columns"] == ["mood"]
    assert audit["values_recomputed"] == 3 * audit["rows_recomputed"], "rsi_14 and two labels"
    part = arrays("train")
    mood = part["X"][:, 1] * scaler["scale"][1] + scaler["mean"][1]
    np.testing.assert_allclose(mood[:50], (np.arange(100, 150)) % 7, atol=1e-5)


def test_bars_that_open_at_half_past_are_closed_before_the_cut(desk):
    """Exchanges have such bars; here beside an asset that opens on the hour."""
    shutil.rmtree("bars", ignore_errors=True)
    write_symbol(Path("bars"), "CRYPTO", make_frame(1000, 1))
    write_symbol(Path("bars"), "STOCK", make_frame(1000, 2, start="2024-01-01 00:30"))
    write_params(desk, data={"bars": "bars"})
    generate_data.main()
    audit = json.loads(Path("metrics/generate_data.json").read_text())["leak_audit"]
    assert min(audit.values()) >= 0
    hour = np.timedelta64(1, "h")
    assert arrays("train")["timestamps"].max() + hour <= arrays("val")["timestamps"].min()
    assert arrays("val")["timestamps"].max() + hour <= arrays("test")["timestamps"].min()


def test_files_that_the_stage_does_not_make_are_left_alone(bars):
    own = Path("data/historical/notes.txt")
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    generate_data.main()
    shutil.rmtree(bars)
    refusal(generate_data.main)
    assert own.read_text() == "mine"
    assert Path("data/training_data/metadata.json").is_file()


def test_real_bars_have_the_cuts_and_positives_of_the_reference(real_bars, desk):
    """Cuts within two days and positives within 0.3 points of an independent run on the same bars."""
    write_params(desk, data={"bars": str(real_bars)})
    generate_data.main()
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    for split, cut in (("val", "2021-02-22T13:00"), ("test", "2021-12-16T07:00")):
        assert abs(pd.Timestamp(metadata["cuts"][split]) - pd.Timestamp(cut, tz="UTC")) < pd.Timedelta("3D")
    for split, share in (("train", 0.080), ("val", 0.127), ("test", 0.070)):
        assert metadata["splits"][split]["positive_share"] == pytest.approx(share, abs=0.003)
    assert metadata["simulated"] is False


def test_of_many_bad_symbols_the_first_are_named_and_the_others_counted(desk, capsys, monkeypatch):
    for number in range(60):
        write_symbol(desk / "bars", f"BAD{number:03}", make_frame(5))
    message = refusal(generate_data.main)
    assert message.startswith("stage: 60 of 60 symbols cannot be used: bars/BAD000/1Hour/data.parquet: 5 bars")
    assert message.endswith("; and 55 more; python src/campaign.py bars lists all")
    assert len(message) < 2000
    refusal(lambda: doctor.main(None))
    assert len(re.findall("^refused: ", capsys.readouterr().out, re.MULTILINE)) == 60
    write_params(desk, data={"bars": "bars", "symbols": [f"NONE{number:04}" for number in range(3000)]})
    message = refusal(generate_data.main)
    assert "data.symbols names NONE0000, NONE0001, NONE0002, NONE0003, NONE0004 and 2,995 more, not found under bars" in message
    assert "BAD019 and 40 more)" in message


def test_of_many_columns_and_absent_symbols_the_first_are_named(bars, desk, capsys):
    frame = make_frame(5).drop(columns="Low")
    more = pd.DataFrame(1.0, frame.index, [f"column {number}" for number in range(2000)])
    path = write_symbol(bars, "AAA", pd.concat([frame, more], axis=1))
    message = refusal(generate_data.main)
    assert "no column Low (found: Open, High, Close, Volume, column 0, " in message and "and 1,984 more)" in message
    path.unlink()
    path.parent.rmdir()
    path.parents[1].rmdir()
    for number in range(8):
        write_symbol(bars, f"OLD{number}", make_frame(400, seed=8))
    generate_data.main()
    assert "warning: OLD0, OLD1, OLD2, OLD3, OLD4 and 3 more have no sample in test: they are not judged there" in (
        capsys.readouterr().err
    )


def test_out_of_memory_while_bars_are_read_names_the_file(bars, desk, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr(pd, "read_parquet", fail)
    said = r"stage: out of memory \(while reading bars/\w+/1Hour/data.parquet: malloc of size 64 failed\); use fewer bars"
    assert re.match(said, refusal(generate_data.main))
