"""Label bars by the triple barrier: profit before stop, or not.

Prices and barriers are compared as decimals. In floats 20.8 * 1.05 is 21.840000000000003, which a High of 21.84 would miss.
"""

from collections.abc import Callable
from fractions import Fraction
from operator import ge, le
from typing import NamedTuple

import numpy as np

from bars.reading import Bars

NO_LABEL = -1
TIE_DISTANCE = 1e-9  # share of a barrier's price; beyond it floats, which are off by 1e-15 at most, compare as decimals do


class Trades(NamedTuple):
    """Outcome of the trade entered at the close of each of N bars.

    labels: int8 (N,), 1 profit, 0 stop or neither, -1 no label.
    returns: float64 (N,), before costs, as a share of the entry price. +profit; -stop, or less where a bar opened below the
        stop (nobody fills at a price that was not there); else the close's return after the horizon. NaN without a label.
    held: int16 (N,), bars until the trade ended, 1 to the horizon; 0 without a label.
    """

    labels: np.ndarray
    returns: np.ndarray
    held: np.ndarray


def triple_barrier(bars: Bars, *, profit: float, stop: float, horizon: int) -> Trades:
    """Label every bar of one sequence by the trade entered at its close.

    Bars t+1 … t+horizon are walked in order. Low <= entry * (1 - stop) ends the trade as a loss; else High >= entry *
    (1 + profit) ends it as a profit. The stop is looked at first, so a bar that touches both is a stop: the order inside
    a bar is unknown, and the worse one is assumed. A row with fewer than `horizon` bars after it has no label, even if a
    barrier was met in time: keeping only those would select on the outcome.

    The comparison is exact for decimals: a float64 stands for the shortest decimal that is read as it.

    Args:
        bars: one sequence of N bars without a break.
        profit, stop: distances of the barriers, shares of the entry price; 0.05 is 5 %.
        horizon: bars after which the trade is closed at the close.

    Source: López de Prado, Advances in Financial Machine Learning (2018), section 3.4.
    """
    labels = np.full(len(bars), NO_LABEL, np.int8)
    returns = np.full(len(bars), np.nan)
    held = np.zeros(len(bars), np.int16)
    n = max(0, len(bars) - horizon)  # trades whose whole horizon is there
    entry = bars.close[:n]
    stop_barrier, profit_barrier = Barrier(entry, 1 - to_fraction(stop)), Barrier(entry, 1 + to_fraction(profit))
    labels[:n], held[:n] = 0, horizon
    returns[:n] = bars.close[len(bars) - n :] / entry - 1
    is_open = np.ones(n, bool)
    for step in range(1, horizon + 1):
        if not is_open.any():
            break
        now = slice(step, step + n)
        stopped = stop_barrier.find_met(le, bars.low[now], is_open)
        is_open[stopped] = False
        won = profit_barrier.find_met(ge, bars.high[now], is_open)
        is_open[won] = False
        returns[stopped] = np.minimum(-stop, bars.open[now][stopped] / entry[stopped] - 1)
        labels[won], returns[won] = 1, profit
        held[stopped] = held[won] = step
    return Trades(labels, returns, held)


class Barrier:
    """The prices ``entry * share`` of N trades.

    Args:
        entry: float64 (N,), entry prices.
        share: of the entry price.
    """

    def __init__(self, entry: np.ndarray, share: Fraction) -> None:
        price = entry * float(share)
        self.entry, self.share = entry, share
        self.below, self.above = price * (1 - TIE_DISTANCE), price * (1 + TIE_DISTANCE)

    def find_met(self, comparison: Callable, prices: np.ndarray, is_open: np.ndarray) -> np.ndarray:
        """Find the open trades whose barrier is met, by an exact comparison.

        Args:
            comparison: `operator.le` where prices come from above, `operator.ge` where they come from below.
            prices: float64 (N,).
            is_open: bool (N,), trades to look at.

        Returns:
            int64 (M,), their positions, increasing.
        """
        certain, possible = (self.below, self.above) if comparison is le else (self.above, self.below)
        rows = (is_open & comparison(prices, possible)).nonzero()[0]
        met = comparison(prices[rows], certain[rows])
        if met.all():
            return rows
        for tie in np.flatnonzero(~met):
            row = rows[tie]
            met[tie] = comparison(to_fraction(prices[row]), to_fraction(self.entry[row]) * self.share)
        return rows[met]


def to_fraction(number: float) -> Fraction:
    """Convert a float64 to the shortest decimal that is read as it."""
    return Fraction(repr(float(number)))
