"""Check that opening times increase, are not local, and lie on the grid of hourly bars."""

from collections.abc import Mapping, Sequence

import numpy as np

from bars.cures import TimeColumn, describe_unfinished, format_step, refuse_rows
from bars.local_times import zone_of_foreign_sessions, zone_of_missing_hours, zone_of_repeats, zone_of_sessions
from core.errors import CampaignError

COPIES = "duplicate timestamps"
MAX_JITTER = 60  # seconds; times of live data are late by some
COARSE_SHARE = 0.98  # of steps that are whole multiples of the bars' length; the others are clock changes
MIN_HOURLY_SHARE = 0.01  # of steps that are one hour; in bars of other lengths only clock changes make some
MIN_SHORTENED_SHARE = 0.3  # of sessions whose first or last bar is short, where that is the market's habit
CLOSED = 4 * 3600  # seconds; a longer step ends a session


def check_order(timestamps: np.ndarray, column: TimeColumn, values: Sequence[np.ndarray]) -> None:
    """Check that times increase.

    Args:
        timestamps: datetime64[s] (N,).
        column: where they come from, for the cures.
        values: all columns of the bars, (N,) each; only rows equal in all of them are copies.

    Raises:
        CampaignError: times decrease or repeat, or are local times without a zone.
    """
    steps = np.diff(timestamps).astype(np.int64)
    decreasing = np.append(False, steps < 0)
    cure = "turn them round: frame = frame[::-1]" if (steps <= 0).all() else f"sort by time: {column.sort()}"
    refuse_rows(decreasing, timestamps, "decreasing timestamps", cure)
    repeated = np.append(False, steps == 0)
    if repeated.any():
        differs = np.zeros(len(repeated), bool)
        for array in values:
            differs[1:] |= (array[1:] != array[:-1]) & ~(np.isnan(array[1:]) & np.isnan(array[:-1]))
        differs &= repeated
        if not differs.any():
            refuse_rows(repeated, timestamps, COPIES, f"the rows are equal, remove the copies: {column.drop_copies()}")
        _refuse_repeats(differs, timestamps, column)
    if column.is_naive:
        _check_zone(timestamps, column)


def _refuse_repeats(differs: np.ndarray, timestamps: np.ndarray, column: TimeColumn) -> None:
    """Raise CampaignError: times repeat with different rows."""
    zone = zone_of_repeats(timestamps[differs])
    if zone is None:
        cure = "the rows contradict each other; find out which are right, or of which asset, and remove the others"
        refuse_rows(differs, timestamps, COPIES, cure)
    assert zone is not None
    kind = "without a zone" if column.is_naive else "taken for UTC"
    what = f"the hour of the clock change comes twice, as in local time {kind},"
    refuse_rows(differs, timestamps, what, f"give them their own zone, for example: {column.localize(zone)}")


def _check_zone(timestamps: np.ndarray, column: TimeColumn) -> None:
    """Raise CampaignError where times without a zone show the clock changes of one, and so are not UTC."""
    if zone := zone_of_missing_hours(timestamps):
        found = "the hour that the clocks skip in spring is missing"
    elif zone := zone_of_sessions(timestamps):
        found = "sessions open at the same hour in summer and winter"
    elif zone := zone_of_foreign_sessions(timestamps):
        found = "sessions move with the clocks of two zones"
    else:
        return
    as_utc = column.call('tz_localize("UTC")')
    raise CampaignError(
        f"local times without a zone: {found}, as in {zone} and others; give them their own, for example: "
        f"{column.localize(zone)}; where they are UTC, say so: {as_utc}"
    )


def check_hourly(timestamps: np.ndarray, column: TimeColumn, columns: Mapping[str, str]) -> None:
    """Check that bars are hourly, by the grid that they lie on; hours without trades may be missing.

    The first bar of a session may be shorter than an hour, and so may its last.

    Args:
        timestamps: datetime64[s] (N,), increasing.
        column: where they come from, for the cures.
        columns: as `TimeColumn.resample` takes them.

    Raises:
        CampaignError: bars are not hourly.
    """
    steps = np.diff(timestamps).astype(np.int64)
    if not len(steps):
        return
    short = _short_steps(steps)
    seconds = timestamps.astype(np.int64) % 60
    if len(steps) > 1 and ((short[-1] and not short[:-1].any()) or (seconds[-1] and not seconds[:-1].any())):
        raise CampaignError(describe_unfinished(timestamps))
    _check_usual_step(steps, column, columns)
    phases, counts = np.unique(timestamps.astype(np.int64) % 3600, return_counts=True)
    cure = f"resample them to one hour: {column.resample(columns, int(phases[counts.argmax()]))}"
    refuse_rows(np.append(False, short), timestamps, "steps shorter than an hour", cure)


def _check_usual_step(steps: np.ndarray, column: TimeColumn, columns: Mapping[str, str]) -> None:
    """Raise CampaignError where another step than one hour is usual."""
    lengths, counts = np.unique(steps, return_counts=True)
    usual = int(lengths[counts.argmax()])
    unusual = f"not hourly bars: the usual step is {format_step(usual)}"
    is_near = np.abs(steps - 3600) <= MAX_JITTER
    if is_near.mean() > 0.5 and (steps[is_near] != 3600).mean() > 0.5:
        raise CampaignError(f"{unusual}, a little off the hour; round the times: {column.round('15min')}")
    short = lengths < 3600
    if usual < 3600 and counts[short].sum() > counts[~short & (lengths < 2 * 3600)].sum():
        raise CampaignError(f"{unusual}; resample them to one hour: {column.resample(columns, 0)}")
    is_coarse = any((steps % (hours * 3600) == 0).mean() >= COARSE_SHARE for hours in (2, 3))
    if is_coarse or (steps == 3600).mean() < MIN_HOURLY_SHARE:
        raise CampaignError(f"{unusual}; longer bars cannot be divided: get hourly bars, or shorter ones to resample")


def _short_steps(steps: np.ndarray) -> np.ndarray:
    """Find steps shorter than an hour, but those at the opening or close of sessions that usually have one; bool (N - 1,)."""
    short = steps < 3600
    for is_first in (True, False):
        edge = _session_edges(steps, is_first=is_first)
        if edge.any() and short[edge].mean() >= MIN_SHORTENED_SHARE:
            after_pause = np.append(True, steps[:-1] > 3600) if is_first else np.append(steps[1:] > 3600, True)
            short = short & ~after_pause
    return short


def _session_edges(steps: np.ndarray, *, is_first: bool) -> np.ndarray:
    """Find the steps from the first bar of a session to its second, or from the last but one to the last; bool (N - 1,)."""
    closed = steps > CLOSED
    return ~closed & (np.append(False, closed[:-1]) if is_first else np.append(closed[1:], False))
