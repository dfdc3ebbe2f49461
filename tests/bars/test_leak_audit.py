"""One planted leak of each kind fails the audit, and shows in its own figure."""

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest

from bars.labels import Barriers
from bars.leak_audit import leak_audit
from bars.rows import Cuts, RowRules, SplitRows, asset_rows, cut_times, split_rows
from core.errors import CampaignError
from scaffold import make_frame, to_bars

HOUR = np.timedelta64(3600, "s")
RULES = RowRules(features=("hour_of_day_sine",), barriers=Barriers("percent", 0.02, 0.01), horizon=4, max_gap=24, lookback=5)
Change = Callable[[dict[str, SplitRows], Cuts], None]


def let_sample_end(split: str, find: Callable[[SplitRows, Cuts], np.ndarray], later: int = 0) -> Change:
    """Let a sample end `later` rows after the first row that is found."""

    def change(splits: dict[str, SplitRows], cuts: Cuts) -> None:
        splits[split].y[np.flatnonzero(find(splits[split], cuts))[0] + later] = 0

    return change


def move(split: str, row: int, cut: str, minutes: int) -> Change:
    """Move a row's time to `minutes` after a cut."""

    def change(splits: dict[str, SplitRows], cuts: Cuts) -> None:
        splits[split].timestamps[row] = getattr(cuts, cut) + np.timedelta64(minutes, "m")

    return change


LEAKS = {  # windows have five rows
    "a window over a gap": (
        let_sample_end("train", lambda rows, _: np.diff(rows.timestamps) > 24 * HOUR, 4),
        "across_a_break': 1",
    ),
    "a window over two assets": (
        let_sample_end("train", lambda rows, _: np.diff(rows.asset_ids) != 0, 4),
        "across_a_break': 1",
    ),
    "a window from before the split": (let_sample_end("val", lambda rows, _: rows.y < 0, 3), "across_a_break': 1"),
    "a trade of train open in val": (
        let_sample_end("train", lambda rows, cuts: rows.closes_at > cuts.val),
        "train_labels_to_val': -1.0",
    ),
    "a trade of val open in test": (
        let_sample_end("val", lambda rows, cuts: rows.closes_at > cuts.test),
        "val_labels_to_test': -1.0",
    ),
    "a train bar open at the cut": (move("train", -1, "val", -30), "scaler_to_val': -0.5"),
    "a train bar in val": (move("train", -1, "val", 0), "beyond_a_cut': 1"),
    "a val bar in train": (move("val", 0, "val", -60), "beyond_a_cut': 1"),
    "a val bar in test": (move("val", -1, "test", 0), "beyond_a_cut': 1"),
    "a test bar in val": (move("test", 0, "test", -60), "beyond_a_cut': 1"),
}


@pytest.mark.parametrize(("change", "figure"), LEAKS.values(), ids=LEAKS)
def test_a_single_planted_leak_fails_the_audit(change, figure):
    frames = [make_frame(500, seed, volatility=0.015) for seed in range(2)]
    frames[0] = frames[0].drop(frames[0].index[200:260])
    assets = [asset_rows(to_bars(frame), RULES) for frame in frames]
    cuts = cut_times(np.concatenate([rows.timestamps for rows in assets]), (0.7, 0.15, 0.15))
    splits = split_rows(assets, cuts, lookback=5)
    leak_audit(splits, cuts, assets, lookback=5, max_gap=24)
    change(splits, cuts)
    with pytest.raises(CampaignError, match="leak audit failed") as refused:
        leak_audit(splits, cuts, assets, lookback=5, max_gap=24)
    assert f"{figure}," in re.sub(r"np.float64\((.*?)\)", r"\1", str(refused.value))


FOLD_LEAKS = {  # what only a fold's bounds and embargo can show
    "a train bar before its start": (move("train", 0, "start", -60), "beyond_a_cut': 1"),
    "a test bar after its end": (move("test", -1, "end", 0), "beyond_a_cut': 1"),
    "a trade of test open at its end": (
        let_sample_end("test", lambda rows, cuts: (rows.closes_at > cuts.end) & (rows.asset_ids == 1)),
        "beyond_a_cut': 1",
    ),
    "a label of train known within the embargo": (
        let_sample_end("train", lambda rows, cuts: rows.closes_at == cuts.val - HOUR),
        "train_labels_to_val': 1.0",
    ),
}


@pytest.mark.parametrize(("change", "figure"), FOLD_LEAKS.values(), ids=FOLD_LEAKS)
def test_a_planted_leak_in_a_fold_fails_the_audit(change, figure):
    assets = [asset_rows(to_bars(make_frame(500, seed, volatility=0.015)), RULES) for seed in range(2)]
    times = np.concatenate([rows.timestamps for rows in assets])
    bounds = {"start": times.min() + 20 * HOUR, "end": times.max() - 20 * HOUR, "embargo": 12 * HOUR}
    cuts = dataclasses.replace(cut_times(times, (0.7, 0.15, 0.15)), **bounds)
    splits = split_rows(assets, cuts, lookback=5)
    audit = leak_audit(splits, cuts, assets, lookback=5, max_gap=24)
    assert audit["hours_from_train_labels_to_val"] == audit["hours_from_val_labels_to_test"] == 12
    change(splits, cuts)
    with pytest.raises(CampaignError, match="leak audit failed") as refused:
        leak_audit(splits, cuts, assets, lookback=5, max_gap=24)
    assert f"{figure}," in re.sub(r"np.float64\((.*?)\)", r"\1", str(refused.value))


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"rsi_14": 1}, "feature rsi_14 knows the future: later bars change the value"),
        (
            {"rsi_14": 1, "label": 2, "mirrored label": 1, "atr_14": 7},
            "feature atr_14, rsi_14 know the future: later bars change the value",
        ),
        (
            {"mirrored label": 2},
            "leak audit failed, .*'values_that_know_the_future': 2, 'rows_recomputed': 1200, 'values_recomputed': 3600}",
        ),
    ],
)
def test_values_that_later_bars_change_are_counted_and_refused(changed, refused):
    """Two assets of 25 cuts, 24 rows each, with one feature and two labels; one of them has values that differ."""
    assets = [asset_rows(to_bars(make_frame(500, seed, volatility=0.015)), RULES) for seed in range(2)]
    cuts = cut_times(np.concatenate([rows.timestamps for rows in assets]), (0.7, 0.15, 0.15))
    splits = split_rows(assets, cuts, lookback=5)
    audit = leak_audit(splits, cuts, assets, lookback=5, max_gap=24)
    assert (audit["rows_recomputed"], audit["values_recomputed"], audit["values_that_know_the_future"]) == (1200, 3600, 0)
    assets[1] = dataclasses.replace(assets[1], future_check=dataclasses.replace(assets[1].future_check, changed=changed))
    with pytest.raises(CampaignError, match=refused):
        leak_audit(splits, cuts, assets, lookback=5, max_gap=24)
