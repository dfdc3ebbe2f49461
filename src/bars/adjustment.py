"""Adjust bars for splits: prices before a split are divided by its ratio, volumes multiplied."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bars.reading import COLUMNS, HOUR, Bars
from core.errors import CampaignError, format_value, join_first, shorten

NEW_YEAR = np.datetime64("1800-01-01", "s")  # no split is older
MIN_CHECKED_RATIO = 1.25  # a smaller split is not told from an ordinary move
EARLIEST_MIDNIGHT, LATEST_MIDNIGHT = -14 * HOUR, 12 * HOUR  # of a date anywhere on earth, from its midnight in UTC
MAX_BYTES = 2**24  # of a file of splits


@dataclasses.dataclass(frozen=True)
class Split:
    """A split of one asset.

    timestamp: datetime64[s], UTC; bars that open at it or later have the new prices.
    ratio: new shares for an old one; 4 is a split of 4 for 1, 0.25 a reverse split of 1 for 4.
    is_date: whether `timestamp` is only the midnight of a date, in the zone of an exchange that is not known.
    """

    timestamp: np.datetime64
    ratio: float
    is_date: bool = False


# --- adjusting --------------------------------------------------------------------------------------------------------


def adjust_bars(bars: Bars, splits: Sequence[Split]) -> Bars:
    """Divide the prices before each split by its ratio, and multiply the volumes.

    Splits before the second bar and after the last change nothing. Extra columns stay as they are.

    Args:
        bars: N bars in raw prices.
        splits: in any order.

    Raises:
        CampaignError: prices do not jump by the ratio where a split of 5 for 4 or more is said to be: they are adjusted
            already, or the file is wrong.
    """
    factors = np.ones(len(bars))
    for split in splits:
        factors[: find_first_bar(bars, split)] *= split.ratio
    prices = {name: getattr(bars, name) / factors for name in COLUMNS[:4]}
    return dataclasses.replace(bars, **prices, volume=bars.volume * factors)


def find_first_bar(bars: Bars, split: Split) -> int:
    """Return the position of the first bar in new prices; 0 where all are, or where no bar is.

    A date begins at another hour in each time zone. The first bar that opens on the date in UTC is taken, unless only
    another one at the date's beginning somewhere on earth opens with the split's jump.

    Raises:
        CampaignError: as `adjust_bars` does.
    """
    first = int(np.searchsorted(bars.timestamps, split.timestamp))
    if first in (0, len(bars)):
        return 0
    candidates = [first]
    if split.is_date:
        earliest, latest = split.timestamp + EARLIEST_MIDNIGHT, split.timestamp + LATEST_MIDNIGHT
        others = range(*np.searchsorted(bars.timestamps, [earliest, latest]))
        candidates += [position for position in others if position > 0]
    if abs(math.log(split.ratio)) < math.log(MIN_CHECKED_RATIO):
        return first
    for position in candidates:
        jump = math.log(bars.close[position - 1] / bars.open[position])
        if abs(jump - math.log(split.ratio)) < abs(jump):
            return position
    raise CampaignError(
        f"the split of {split.timestamp} UTC, ratio {split.ratio:g}, is not in the prices: Open over the Close before is "
        f"{bars.open[first] / bars.close[first - 1]:.4g}; the bars may be adjusted already: remove the split, or correct it"
    )


# --- files of splits --------------------------------------------------------------------------------------------------


def read_splits(path: Path) -> dict[str, list[Split]]:
    """Read a file of splits.

    Args:
        path: CSV with a header and the columns symbol, date or timestamp, and ratio, such as `AAPL,2020-08-31,4`.

    Returns:
        The splits of each symbol, in order of time.

    Raises:
        CampaignError: the file is not such a one.
    """
    raise NotImplementedError
