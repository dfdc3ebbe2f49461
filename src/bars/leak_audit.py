"""Measure, on the finished arrays, the figures that a leak would show in."""

from collections.abc import Mapping, Sequence

import numpy as np

from bars.reading import HOUR
from bars.rows import LABELS, AssetRows, Cuts, SplitRows
from core.errors import CampaignError, join_first

ZERO_WITHOUT_LEAK = ("windows_across_a_break", "rows_beyond_a_cut", "values_that_know_the_future")


def leak_audit(
    splits: Mapping[str, SplitRows], cuts: Cuts, assets: Sequence[AssetRows], *, lookback: int, max_gap: int
) -> dict[str, float]:
    """Measure the figures that a leak would show in.

    Args:
        lookback: bars of a window.
        max_gap: hours; a longer step breaks the sequence.

    Returns:
        hours_from_…: between the newest bar that the scaler, or a label, knows and the first bar of the next split; 0 or more.
        windows_across_a_break: windows that span two assets or a step longer than `max_gap`; 0.
            With an embargo the hours from labels are no fewer than it has.
        rows_beyond_a_cut: rows of any asset on the wrong side of a cut, or beyond the bounds of train and test; 0.
        values_that_know_the_future: features and labels that change when later bars are cut off; 0.
        rows_recomputed, values_recomputed: numbers of rows, and of features and labels in them, that were looked at for this.

    Raises:
        CampaignError: a figure shows a leak.
    """
    train, val, test = (splits[split] for split in ("train", "val", "test"))
    first_val, first_test = val.timestamps.min(), test.timestamps.min()
    audit = {
        "hours_from_scaler_to_val": float((first_val - (train.timestamps.max() + HOUR)) / HOUR),
        "hours_from_train_labels_to_val": float((first_val - train.closes_at[train.is_sample].max()) / HOUR),
        "hours_from_val_labels_to_test": float((first_test - val.closes_at[val.is_sample].max()) / HOUR),
        "windows_across_a_break": sum(_windows_across_breaks(rows, lookback, max_gap) for rows in splits.values()),
        "rows_beyond_a_cut": int(
            (train.timestamps < cuts.start).sum()
            + (train.timestamps >= cuts.val).sum()
            + (val.timestamps < cuts.val).sum()
            + (val.timestamps >= cuts.test).sum()
            + (test.timestamps < cuts.test).sum()
            + (test.timestamps >= cuts.end).sum()
            + (test.closes_at[test.is_sample] > cuts.end).sum()
        ),
        "values_that_know_the_future": sum(sum(rows.future_check.changed.values()) for rows in assets),
        "rows_recomputed": sum(rows.future_check.rows for rows in assets),
        "values_recomputed": sum(rows.future_check.values for rows in assets),
    }
    _refuse_features_that_know_the_future(assets)
    embargo = float(cuts.embargo / HOUR)
    too_near = min(audit["hours_from_train_labels_to_val"], audit["hours_from_val_labels_to_test"]) < embargo
    if any(audit[name] for name in ZERO_WITHOUT_LEAK) or min(audit.values()) < 0 or too_near:
        raise CampaignError(f"leak audit failed, a defect of this program, please report it: {audit}")
    return audit


def _windows_across_breaks(rows: SplitRows, lookback: int, max_gap: int) -> int:
    """Count windows that span two assets, a step longer than `max_gap` hours, or the beginning of the split."""
    ends = np.flatnonzero(rows.is_sample)
    is_break = (np.diff(rows.timestamps) > max_gap * HOUR) | (np.diff(rows.asset_ids) != 0)
    breaks = np.cumsum(np.append(0, is_break))
    first = np.maximum(ends - lookback + 1, 0)
    return int((breaks[ends] != breaks[first]).sum() + (ends < lookback - 1).sum())


def _refuse_features_that_know_the_future(assets: Sequence[AssetRows]) -> None:
    names = sorted({name for rows in assets for name in rows.future_check.changed} - set(LABELS))
    if names:
        raise CampaignError(
            f"feature {join_first(names)} {'knows' if len(names) == 1 else 'know'} the future: later bars change the value; "
            "mend its function in src/bars/features.py, or remove it from data.features"
        )
