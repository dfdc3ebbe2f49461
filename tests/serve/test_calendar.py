"""When an asset's next bars open, guessed from its own hours."""

import numpy as np
import pandas as pd
import pytest

from serve.calendar import bars_missed, next_opening

HOUR = np.timedelta64(3600, "s")


def exchange(weeks: int = 20) -> np.ndarray:
    """Opening times of seven bars a day at half past, Monday to Friday."""
    days = pd.bdate_range("2024-01-01", periods=5 * weeks)
    return np.sort(np.concatenate([(days + pd.Timedelta(hours=14.5 + hour)).to_numpy() for hour in range(7)])).astype(
        "datetime64[s]"
    )


def around_the_clock(days: int = 60) -> np.ndarray:
    return np.datetime64("2024-01-01T00:00:00") + np.arange(24 * days) * HOUR


@pytest.mark.parametrize("times", [exchange(), around_the_clock()], ids=["exchange", "always"])
def test_the_guess_is_what_came_where_weeks_are_alike(times):
    start = len(times) * 3 // 4
    for cut in range(start, start + 60):
        for count in (1, 2, 8, 36, 90):
            assert next_opening(times[:cut], count) == times[cut - 1 + count]


@pytest.mark.parametrize("times", [exchange(), around_the_clock()], ids=["exchange", "always"])
def test_bars_are_missed_once_they_should_have_closed(times):
    cut = len(times) * 3 // 4
    for missing in range(30):
        last_missing = times[cut + missing - 1]
        assert bars_missed(times[:cut], last_missing + HOUR) == missing
        assert bars_missed(times[:cut], last_missing + HOUR - np.timedelta64(1, "s")) == max(missing - 1, 0)


def test_a_stock_s_night_and_weekend_miss_nothing():
    times = exchange()
    friday = next(cut for cut in range(len(times) - 1, 0, -1) if times[cut] - times[cut - 1] > 48 * HOUR)
    assert bars_missed(times[:friday], times[friday]) == 0
    assert bars_missed(times[:friday], times[friday - 1] + 60 * HOUR) == 0
