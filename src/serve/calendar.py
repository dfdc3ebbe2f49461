"""Guess when an asset's next bars open, from the hours of the week in which it had bars of late."""

import numpy as np

from bars.reading import HOUR

OF_LATE = np.timedelta64(28 * 86_400, "s")
WEEK = 168  # hours


def hours_of_week(times: np.ndarray) -> np.ndarray:
    """Return the hour of the week of each time, int64, from Thursday, 1970-01-01, on; minutes do not count."""
    return times.astype("datetime64[h]").astype(np.int64) % WEEK


def next_opening(timestamps: np.ndarray, count: int) -> np.datetime64:
    """Guess when the `count`-th bar after the last of `timestamps`, datetime64[s] (N,) increasing, opens."""
    last = timestamps[-1]
    traded = np.unique(hours_of_week(timestamps[timestamps > last - OF_LATE]))
    weeks, place = divmod(count - 1, len(traded))
    now = int(hours_of_week(last))
    ahead = np.sort((traded - now - 1) % WEEK) + 1  # hours until each of them comes next
    return last + (int(ahead[place]) + weeks * WEEK) * HOUR


def bars_missed(timestamps: np.ndarray, now: np.datetime64) -> int:
    """Count the bars that should have opened and closed since the last one, by the same guess."""
    last = timestamps[-1]
    hours = int((now - HOUR - last) // HOUR)
    if hours <= 0:
        return 0
    traded = np.unique(hours_of_week(timestamps[timestamps > last - OF_LATE]))
    weeks, rest = divmod(hours, WEEK)
    ahead = (traded - int(hours_of_week(last)) - 1) % WEEK + 1
    return weeks * len(traded) + int((ahead <= rest).sum())
