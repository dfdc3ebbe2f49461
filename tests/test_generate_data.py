"""Splits against a slow reference, leaks that must not be, and refusals that leave earlier results alone."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

import check_data
import generate_data
from core import features
from core.bars import Bars
from core.chance import FEWEST_BLOCKS
from core.errors import CampaignError
from core.labels import triple_barrier
from generate_data import ARRAYS, Rows, assemble, asset_rows, cut_times
from scaffold import make_frame, refusal, to_bars, write_params, write_symbol

CALENDAR = ("hour_of_day_sine",)
WARM_UP = 3
LABEL = {"profit": 0.02, "stop": 0.01, "horizon": 4}
HOUR = np.timedelta64(3600, "s")


def rows_of(bars: Bars, lookback: int, max_gap: int) -> Rows:
    return asset_rows(bars, names=CALENDAR, max_gap=max_gap, lookback=lookback, **LABEL)


def slow_samples(bars: Bars, cuts: tuple, lookback: int, max_gap: int) -> dict[str, dict[str, int]]:
    """Label by bar time for each split, read off the rules one bar at a time."""
    times, found = bars.timestamps, {"train": {}, "val": {}, "test": {}}
    bounds = {"train": (times[0], cuts[0]), "val": cuts, "test": (cuts[1], times[-1] + HOUR * 10_000)}
    for split, (start, end) in bounds.items():
        for t in range(len(bars)):
            unbroken = t
            while unbroken > 0 and times[unbroken] - times[unbroken - 1] <= max_gap * HOUR:
                unbroken -= 1
            first_usable = unbroken + WARM_UP
            window = range(t - lookback + 1, t + 1)
            if window[0] < first_usable or not all(start <= times[row] < end for row in window):
                continue
            trade = range(t + 1, t + 1 + LABEL["horizon"])
            if trade[-1] >= len(bars) or any(times[row] - times[row - 1] > max_gap * HOUR for row in trade):
                continue
            if times[trade[-1]] + HOUR > end:
                continue
            piece = bars[t : trade[-1] + 1]
            found[split][str(times[t])] = int(triple_barrier(piece, **LABEL)[0][0])
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([1, 1, 1, 1, 1, 1, 2, 5]), min_size=40, max_size=90), min_size=1, max_size=3),
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.25, 0.25)]),
)
def test_samples_are_those_of_the_slow_reference(steps, lookback, max_gap, shares):
    with mock.patch.object(features, "WARM_UP", WARM_UP):
        assets = []
        for number, gaps in enumerate(steps):
            bars = to_bars(make_frame(len(gaps), seed=number))
            times = np.datetime64("2024-01-01", "s") + np.cumsum(gaps) * HOUR
            bars = Bars(times, bars.open, bars.high, bars.low, bars.close, bars.volume)
            try:
                assets.append((bars, rows_of(bars, lookback, max_gap)))
            except generate_data.CampaignError:
                continue  # no stretch is long enough
        if not assets:
            return
        cuts = cut_times(np.concatenate([rows.timestamps for _, rows in assets]), shares)
        splits = assemble([rows for _, rows in assets], cuts, lookback=lookback)
    for number, (bars, _) in enumerate(assets):
        expected = slow_samples(bars, cuts, lookback, max_gap)
        for split, part in splits.items():
            mine = (part["asset_ids"] == number) & (part["y"] >= 0)
            got = dict(zip(part["timestamps"][mine].astype(str), part["y"][mine].tolist(), strict=True))
            assert got == expected[split]


def test_cuts_share_the_rows_out_in_time():
    times = np.datetime64("2024-01-01", "s") + np.repeat(np.arange(100), 3) * HOUR
    val, test = cut_times(np.random.default_rng(0).permutation(times), (0.7, 0.15, 0.15))
    assert (val, test) == (times[210], times[255])


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=3), st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_the_scaler_fitted_in_blocks_is_that_of_scikit_learn_to_the_last_bit(sizes, width):
    rng = np.random.default_rng(sum(sizes))
    parts = [rng.normal(rng.normal(0, 10, width), rng.lognormal(0, 3, width), (size, width)) for size in sizes]
    for part in parts:
        part[:, 1] = 1e9 + 1e-7 * (part[:, 1] > 0)  # constant but for rounding
    expected = StandardScaler().fit(np.concatenate(parts))
    scaler = generate_data.fit_scaler(parts)
    assert vars(scaler).keys() == vars(expected).keys()
    for name in ("n_samples_seen_", "mean_", "var_", "scale_"):
        np.testing.assert_array_equal(getattr(scaler, name), getattr(expected, name))
    scaled = np.concatenate(list(generate_data.scale(parts, scaler, 3.0)))
    np.testing.assert_array_equal(scaled, np.clip(expected.transform(np.concatenate(parts)), -3, 3).astype(np.float32))


def label(split: str, find: Callable[[dict[str, Any], tuple], np.ndarray], later: int = 0) -> Callable[[dict, tuple], None]:
    """Let a sample end `later` rows after the first row that is found."""

    def change(splits: dict, cuts: tuple) -> None:
        splits[split]["y"][np.flatnonzero(find(splits[split], cuts))[0] + later] = 0

    return change


def move(split: str, row: int, cut: int, minutes: int) -> Callable[[dict, tuple], None]:
    def change(splits: dict, cuts: tuple) -> None:
        splits[split]["timestamps"][row] = cuts[cut] + np.timedelta64(minutes, "m")

    return change


SABOTAGE = {  # windows have five rows
    "a window over a gap": (label("train", lambda part, _: np.diff(part["timestamps"]) > 24 * HOUR, 4), "across_a_break': 1"),
    "a window over two assets": (label("train", lambda part, _: np.diff(part["asset_ids"]) != 0, 4), "across_a_break': 1"),
    "a window from before the split": (label("val", lambda part, _: part["y"] < 0, 3), "across_a_break': 1"),
    "a trade of train open in val": (
        label("train", lambda part, cuts: part["closes_at"] > cuts[0]),
        "train_labels_to_val': -1.0",
    ),
    "a trade of val open in test": (label("val", lambda part, cuts: part["closes_at"] > cuts[1]), "val_labels_to_test': -1.0"),
    "a train bar open at the cut": (move("train", -1, 0, -30), "scaler_to_val': -0.5"),
    "a train bar in val": (move("train", -1, 0, 0), "beyond_a_cut': 1"),
    "a val bar in train": (move("val", 0, 0, -60), "beyond_a_cut': 1"),
    "a val bar in test": (move("val", -1, 1, 0), "beyond_a_cut': 1"),
    "a test bar in val": (move("test", 0, 1, -60), "beyond_a_cut': 1"),
}


@pytest.mark.parametrize(("change", "figure"), SABOTAGE.values(), ids=SABOTAGE)
def test_one_row_that_leaks_fails_the_leak_audit(change, figure):
    frames = [make_frame(500, seed, volatility=0.015) for seed in range(2)]
    frames[0] = frames[0].drop(frames[0].index[200:260])
    assets = [rows_of(to_bars(frame), lookback=5, max_gap=24) for frame in frames]
    cuts = cut_times(np.concatenate([rows.timestamps for rows in assets]), (0.7, 0.15, 0.15))
    splits = assemble(assets, cuts, lookback=5)
    generate_data.leak_audit(splits, cuts, assets, lookback=5, max_gap=24)
    change(splits, cuts)
    with pytest.raises(CampaignError, match="leak audit failed") as refused:
        generate_data.leak_audit(splits, cuts, assets, lookback=5, max_gap=24)
    assert f"{figure}," in re.sub(r"np.float64\((.*?)\)", r"\1", str(refused.value))


# --- the stage as a whole --------------------------------------------------------------------------------------------


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


def test_what_is_written_is_what_the_contract_says(bars):
    generate_data.main()
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    assert json.loads(Path("data/training_data/asset_id_mapping.json").read_text()) == {"AAA": 0, "BBB": 1, "CCC": 2}
    rows = 0
    for split in ("train", "val", "test"):
        part = arrays(split)
        assert (part["X"].dtype, part["y"].dtype, part["returns"].dtype) == (np.float32, np.int8, np.float32)
        assert part["X"].shape == (len(part["y"]), len(metadata["features"]))
        assert np.isfinite(part["X"]).all()
        assert np.isfinite(part["returns"][part["y"] >= 0]).all()
        assert set(np.unique(part["y"])) == {-1, 0, 1}
        assert metadata["splits"][split]["samples"] == (part["y"] >= 0).sum()
        rows += len(part["y"])
    assert rows == 2 * 900 + 760 - 3 * 100 - 100  # every bar once, but for the warm-up of four sequences
    train = arrays("train")["X"].astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=0.02)  # but for clipping
    np.testing.assert_allclose(train.std(axis=0), 1, atol=0.02)
    audit = json.loads(Path("metrics/generate_data.json").read_text())
    assert audit["gaps"] == 1
    assert audit["leak_audit"] == metadata["leak_audit"]
    for name in ("windows_across_a_break", "rows_beyond_a_cut", "values_that_know_the_future"):
        assert audit["leak_audit"][name] == 0
    assert audit["leak_audit"]["hours_from_train_labels_to_val"] >= 0


def test_what_is_counted_is_what_is_in_the_arrays(bars):
    generate_data.main()
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    figures = json.loads(Path("metrics/generate_data.json").read_text())
    found = {split: arrays(split) for split in generate_data.SPLITS}
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


def test_the_hash_of_the_content_is_of_every_array_and_of_what_is_said_of_them(bars):
    """A checkpoint belongs to it."""
    generate_data.main()
    metadata = json.loads(Path("data/training_data/metadata.json").read_text())
    digest = hashlib.sha256()
    for split in generate_data.SPLITS:
        for array in arrays(split).values():
            digest.update(array.tobytes())
    claimed = metadata.pop("content_hash")
    digest.update(json.dumps(metadata).encode())
    assert claimed == digest.hexdigest()


def test_features_are_clipped_where_the_parameters_say(bars, desk):
    write_params(desk, data={"bars": "bars", "clip": 1})
    generate_data.main()
    for split in generate_data.SPLITS:
        X = arrays(split)["X"]
        assert (X.min(), X.max()) == (-1, 1)


@pytest.mark.parametrize(("max_gap", "gaps"), [(140, 1), (141, 0)])
def test_a_step_is_a_gap_where_it_is_longer_than_the_parameters_say(bars, desk, max_gap, gaps):
    write_params(desk, data={"bars": "bars", "max_gap": max_gap})
    generate_data.main()
    assert json.loads(Path("metrics/generate_data.json").read_text())["gaps"] == gaps
    assert sum(len(arrays(split)["y"]) for split in generate_data.SPLITS) == 2560 - (3 + gaps) * 100


def test_chosen_symbols_are_numbered_by_name_in_whatever_order_they_are_listed(bars, desk):
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


def test_a_feature_or_label_that_knows_the_future_is_refused(bars, monkeypatch):
    honest, label = generate_data.features.compute, generate_data.triple_barrier

    def next_row(stretch, names):
        table = honest(stretch, names)
        table[:-1, 0] = table[1:, 0]
        return table

    def longer_trade(stretch, horizon, **settings):
        return label(stretch, horizon=2 * horizon, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(generate_data.features, "compute", next_row)
        said = "feature return_1 knows the future: otherwise from bars that end with its row; mend its function in src/core/"
        assert said in refusal(generate_data.main)
    with monkeypatch.context() as patch:
        patch.setattr(generate_data, "triple_barrier", longer_trade)
        assert "'values_that_know_the_future': 3" in refusal(generate_data.main)


def test_two_runs_write_the_same_bytes(bars, monkeypatch):
    generate_data.main()
    once = outputs()
    monkeypatch.setenv("CAMPAIGN_JOBS", "1")
    generate_data.main()
    assert outputs() == once
    assert len(once) == 22


def test_nothing_of_train_knows_what_came_after_it(bars, desk):
    """Bars that open after the cut are replaced by others: train arrays, scaler and cuts stay to the last bit."""
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


def test_all_bad_symbols_are_named_at_once_and_earlier_results_stay(bars):
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
        "DDD/1Hour/data.parquet: 131 bars, the longest stretch without a step over",
        "at least 132 are needed (warm-up 100 + lookback 24 + horizon 8)",
        "EEE/1Hour/data.parquet not found",
    ):
        assert part in message
    assert outputs() == before


def test_just_enough_bars_are_enough(bars):
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


@pytest.mark.parametrize(("keys", "finding"), SECTIONS, ids=[f"{k}={v}" for keys, _ in SECTIONS for k, v in keys.items()])
def test_bad_parameters_are_refused_by_key_value_and_rule(bars, desk, keys, finding):
    generate_data.main()
    before = outputs()
    write_params(desk, data={"bars": "bars"} | keys)
    assert finding in refusal(generate_data.main)
    assert outputs() == before


@pytest.mark.parametrize("root", [Path("/"), Path("/etc"), Path("params.yaml")])
def test_a_root_that_is_something_else_is_refused(desk, root):
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


def test_a_column_whose_scale_is_one_is_not_constant(bars, desk):
    parts = [np.tile([[-1.0, 3.0], [1.0, 3.5]], (50, 1))]
    generate_data.check_scaler(generate_data.fit_scaler(parts), ["sign", "other"])


@pytest.mark.parametrize(("split", "splits"), [("val", [0.8, 0.05, 0.15]), ("test", [0.8, 0.15, 0.05])])
def test_a_split_of_too_few_days_is_refused_before_any_training(bars, desk, split, splits):
    write_params(desk, data={"bars": "bars", "splits": splits})
    assert re.search(rf"the {split} split has samples on [123] day\(s\), at least 4 are needed", refusal(generate_data.main))
    assert generate_data.FEWEST_DAYS == FEWEST_BLOCKS


def test_an_extra_column_becomes_a_feature(bars, desk):
    for symbol in ("AAA", "BBB", "CCC"):
        path = bars / symbol / "1Hour/data.parquet"
        frame = pd.read_parquet(path)
        frame.assign(mood=np.arange(len(frame)) % 7).to_parquet(path)
    write_params(desk, data={"bars": "bars", "features": ["rsi_14", "mood"]})
    generate_data.main()
    scaler = json.loads(Path("data/training_data/metadata.json").read_text())["scaler"]
    part = arrays("train")
    mood = part["X"][:, 1] * scaler["scale"][1] + scaler["mean"][1]
    np.testing.assert_allclose(mood[:50], (np.arange(100, 150)) % 7, atol=1e-5)


def test_bars_that_open_at_half_past_close_before_the_cut(desk):
    """As exchanges have them; beside an asset that opens on the hour."""
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


def test_files_that_the_stage_does_not_own_are_untouched(bars):
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


def test_of_many_bad_symbols_the_first_are_named_and_a_count(desk, capsys, monkeypatch):
    for number in range(60):
        write_symbol(desk / "bars", f"BAD{number:03}", make_frame(5))
    message = refusal(generate_data.main)
    assert message.startswith("stage: 60 of 60 symbols cannot be used: bars/BAD000/1Hour/data.parquet: 5 bars")
    assert message.endswith("; and 55 more; python src/check_data.py lists all")
    assert len(message) < 2000
    refusal(check_data.main)
    assert len(re.findall("^refused: ", capsys.readouterr().out, re.MULTILINE)) == 60
    write_params(desk, data={"bars": "bars", "symbols": [f"NONE{number:04}" for number in range(3000)]})
    message = refusal(generate_data.main)
    assert "data.symbols names NONE0000, NONE0001, NONE0002, NONE0003, NONE0004 and 2,995 more, not found under bars" in message
    assert "BAD019 and 40 more)" in message


def test_of_many_columns_and_absent_symbols_a_few_are_named(bars, desk, capsys):
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


def test_out_of_memory_while_bars_are_read_is_told_with_the_file(bars, desk, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr(pd, "read_parquet", fail)
    said = r"stage: out of memory \(while reading bars/\w+/1Hour/data.parquet: malloc of size 64 failed\); use fewer bars"
    assert re.match(said, refusal(generate_data.main))
