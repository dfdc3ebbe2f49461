"""Folds as they are written: each by itself, and with the campaign's cuts the campaign's own bytes."""

import json
from pathlib import Path

import numpy as np
import pytest

import generate_data
import train_mlp
from bars.reading import find_symbols
from bars.rows import cut_times, read_asset_rows
from core.splits import SPLITS
from generate_data import Data
from learn.train_stage import train
from scaffold import make_frame, read_params, refusal, write_params, write_symbol
from walk_forward import cut_folds, train_folds
from walk_forward.planning import Fold

DAYS = {"val_days": 8, "test_days": 8, "train_days": 12}
HOUR = np.timedelta64(3600, "s")


@pytest.fixture
def bars(desk: Path) -> Path:
    """50 days of two symbols, and of a third that begins after 23 of them; 100 h of warm-up."""
    root = desk / "bars"
    for number, symbol in enumerate(("AAA", "BBB", "CCC")):
        frame = make_frame(1200, seed=number, volatility=0.015)
        write_symbol(root, symbol, frame[550:] if symbol == "CCC" else frame)
    return root


def fold_files(fold: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("walk_forward/data", fold).iterdir()}


def arrays(fold: str, split: str) -> dict[str, np.ndarray]:
    return {name: np.load(f"walk_forward/data/{fold}/{split}_{name}.npy") for name in ("y", "timestamps", "asset_ids", "X")}


def test_each_fold_lies_within_its_cuts_is_scaled_on_its_own_train_and_leaves_out_what_it_cannot_train_on(bars, desk, capsys):
    write_params(desk, data={"bars": "bars"}, walk_forward=DAYS | {"folds": 2})
    cut_folds.main()
    said = capsys.readouterr().err
    folds = json.loads(Path("walk_forward/data/folds.json").read_text())
    assert list(folds) == ["2024-02-04", "2024-02-12"]
    assert folds["2024-02-04"] == {
        "train_from": "2024-01-05T04:00:00",
        "val_from": "2024-01-27T00:00:00",
        "test_from": "2024-02-04T00:00:00",
        "test_until": "2024-02-12T00:00:00",
    }
    assert "cut_folds: warning: fold 2024-02-04: CCC: no training sample, left out of this fold" in said
    assert said.count("left out") == 1
    for name, times in folds.items():
        metadata = json.loads(Path("walk_forward/data", name, "metadata.json").read_text())
        assert metadata["assets"] == ["AAA", "BBB", "CCC"], "an asset has the same number in all folds"
        audit = metadata["leak_audit"]
        assert {key: audit[key] for key in ("rows_beyond_a_cut", "windows_across_a_break", "values_that_know_the_future")} == {
            "rows_beyond_a_cut": 0,
            "windows_across_a_break": 0,
            "values_that_know_the_future": 0,
        }
        bounds = [np.datetime64(times[key]) for key in ("train_from", "val_from", "test_from", "test_until")]
        for split, start, end in zip(SPLITS, bounds, bounds[1:], strict=False):
            part = arrays(name, split)
            assert part["timestamps"].min() == start
            assert part["timestamps"].max() + HOUR == end
            assert set(part["asset_ids"]) == ({0, 1} if name == "2024-02-04" else {0, 1, 2})
            ends = np.flatnonzero(part["y"] >= 0)
            assert (part["timestamps"][ends] + 9 * HOUR <= end).all(), "known after 8 bars, all within the split"
        train_part = arrays(name, "train")["X"].astype(np.float64)
        np.testing.assert_allclose(train_part.mean(axis=0), 0, atol=0.02)  # but for clipping
        np.testing.assert_allclose(train_part.std(axis=0), 1, atol=0.02)


def test_one_more_fold_leaves_the_bytes_of_the_others_and_one_less_removes_its_own(bars, desk):
    write_params(desk, data={"bars": "bars"}, walk_forward=DAYS | {"folds": 1})
    cut_folds.main()
    one = fold_files("2024-02-12")
    write_params(desk, data={"bars": "bars"}, walk_forward=DAYS | {"folds": 2})
    cut_folds.main()
    assert fold_files("2024-02-12") == one
    write_params(desk, data={"bars": "bars"}, walk_forward=DAYS | {"folds": 1})
    cut_folds.main()
    assert sorted(path.name for path in Path("walk_forward/data").iterdir()) == ["2024-02-12", "folds.json"]


def test_bars_that_are_appended_leave_the_folds_before_them_as_they_were(desk):
    """`until` moves by one test period, and there is one more."""
    frames = {symbol: make_frame(1500, seed=number, volatility=0.015) for number, symbol in enumerate(("AAA", "BBB"))}
    for size, folds, until in ((1200, 2, "2024-02-17"), (1500, 3, "2024-02-25")):
        for symbol, frame in frames.items():
            write_symbol(desk / "bars", symbol, frame[:size])
        write_params(desk, data={"bars": "bars"}, walk_forward=DAYS | {"folds": folds, "until": until})
        cut_folds.main()
        found = {path.name: fold_files(path.name) for path in Path("walk_forward/data").iterdir() if path.is_dir()}
        if size == 1200:
            before = found
    assert sorted(found) == ["2024-02-01", "2024-02-09", "2024-02-17"]
    assert {name: found[name] for name in before} == before


def test_a_rolling_train_has_its_days_and_no_more(bars, desk):
    write_params(desk, data={"bars": "bars"}, walk_forward=DAYS | {"folds": 1, "train": "rolling", "embargo_hours": 12})
    cut_folds.main()
    part = arrays("2024-02-12", "train")
    assert part["timestamps"].min() == np.datetime64("2024-01-23T00:00:00")
    assert part["timestamps"].max() == np.datetime64("2024-02-03T23:00:00")
    last = part["timestamps"][part["y"] >= 0].max()
    assert last + 9 * HOUR == np.datetime64("2024-02-04") - 12 * HOUR


@pytest.mark.slow
def test_a_fold_with_the_campaigns_cuts_has_the_campaigns_bytes_and_trains_the_campaigns_models(bars, desk, monkeypatch):
    quick = {"epochs": 2, "seeds": [2, 1], "batch_size": 64, "precision": "float32"}
    network = {"hidden_sizes": [8]}
    params = write_params(desk, data={"bars": "bars"}, train=quick, mlp=network, walk_forward={"folds": 1, "seeds": None})
    generate_data.main()
    rules = Data(**params["data"]).row_rules()
    times = np.concatenate([rows.timestamps for rows in read_asset_rows(bars, find_symbols(bars), rules)])
    same = Fold("campaign", cut_times(times, params["data"]["splits"]))
    monkeypatch.setattr(cut_folds, "plan_folds", lambda *times, **settings: [same])
    cut_folds.main()
    assert fold_files("campaign") == {path.name: path.read_bytes() for path in Path("data/training_data").iterdir()}

    train(train_mlp.ARCHITECTURE)
    train_folds.main("mlp")
    own = Path("walk_forward/models/mlp/campaign")
    for path in Path("models/mlp").iterdir():
        assert (own / path.name).read_bytes() == path.read_bytes(), path.name
    assert (own / "train.json").read_bytes() == Path("metrics/train/mlp.json").read_bytes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"folds": 5},
            "walk_forward.folds is 5, the rows from 2024-01-05T04 to 2024-02-20 have room for 3 of them (train_days 12, "
            "val_days 8, test_days 8); set walk_forward.folds to 3, or shorten the three",
        ),
        (
            {"val_days": 3},
            "fold 2024-02-04: the val split has samples on 3 day(s), at least 4 are needed to tell a difference from chance; add "
            "bars, or change walk_forward.val_days, test_days or train_days",
        ),
        (
            {"embargo_hours": 10_000},
            "fold 2024-02-04: the train split has no sample; add bars, or change walk_forward.val_days, test_days, train_days or "
            "embargo_hours, data.profit or data.stop",
        ),
    ],
)
def test_bars_that_are_too_few_for_the_folds_are_refused(bars, desk, changed, message):
    write_params(desk, data={"bars": "bars"}, walk_forward=DAYS | {"folds": 2} | changed)
    assert refusal(cut_folds.main) == f"stage: {message}"


def test_a_fold_of_one_class_is_named(bars, desk):
    """The price of both symbols stands still for the days of its validation."""
    for number, symbol in enumerate(("AAA", "BBB")):
        frame = make_frame(1200, seed=number, volatility=0.015)
        still = frame.index >= "2024-01-27"
        still &= frame.index < "2024-02-04"
        for column in ("Open", "High", "Low", "Close"):
            frame.loc[still, column] = 100 + 0.001 * (np.arange(still.sum()) % 2)
        write_symbol(bars, symbol, frame)
    write_params(desk, data={"bars": "bars", "symbols": ["AAA", "BBB"]}, walk_forward=DAYS | {"folds": 2})
    assert refusal(cut_folds.main) == (
        "stage: fold 2024-02-04: the val split has only label 0 in its samples; add bars, or change walk_forward.val_days, "
        "test_days or train_days, data.profit or data.stop"
    )


def test_the_parameters_of_walk_forward_are_folds_of_the_default_market():
    """541 days of bars: warm-up, train, validation and the test periods."""
    settings = read_params()["walk_forward"]
    assert 100 / 24 + settings["train_days"] + settings["val_days"] + settings["folds"] * settings["test_days"] <= 13_000 / 24
