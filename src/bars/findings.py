"""Find in bars what would make labels and features wrong, or a result less sure than it looks."""

import numpy as np

from bars.adjustment import Split
from bars.reading import Bars

SPLIT_TOLERANCE = 0.045  # of the opening over the close before, against a whole number or its inverse
LEVEL_TOLERANCE = 0.15  # likewise of the median close of the bars after
LEVEL_BARS = 24


def find_splits(bars: Bars) -> list[Split]:
    """Find splits of n for 1 and reverse splits of 1 for n, n a whole number, that prices are not adjusted for.

    A bar opens near a whole multiple or fraction of the close before, and the bars after stay near it. Other ratios, such
    as 3 for 2, look like a real move and are not found.
    """
    jumps = bars.open[1:] / bars.close[:-1]
    factors = np.maximum(jumps, 1 / jumps)
    whole = np.maximum(np.rint(factors), 2)
    splits = []
    for position in np.flatnonzero(np.abs(factors / whole - 1) <= SPLIT_TOLERANCE) + 1:
        is_reverse = jumps[position - 1] > 1
        n = float(whole[position - 1])
        level = np.median(bars.close[position : position + LEVEL_BARS]) / bars.close[position - 1]
        if abs((level if is_reverse else 1 / level) / n - 1) <= LEVEL_TOLERANCE:
            splits.append(Split(bars.timestamps[position], 1 / n if is_reverse else n))
    return splits
