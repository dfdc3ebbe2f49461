"""Label bars by the triple barrier: profit before stop, or not.

Prices and barriers are compared as decimals. In floats 20.8 * 1.05 is 21.840000000000003, which a High of 21.84 would miss.
"""

from collections.abc import Callable, Iterator
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
    mirrored: int8 (N,), label of the mirrored trade, a short one with the same distances; -1 no label.
    """

    labels: np.ndarray
    returns: np.ndarray
    held: np.ndarray
    mirrored: np.ndarray


class Exits(NamedTuple):
    """Trades that end in one step of a walk: positions, int64, of those that meet the stop and of those that win."""

    step: int
    stopped: np.ndarray
    won: np.ndarray


def triple_barrier(bars: Bars, *, profit: float, stop: float, horizon: int) -> Trades:
    """Label every bar of one sequence by the trade entered at its close, and by the mirrored trade.

    Bars t+1 … t+horizon are walked in order. Low <= entry * (1 - stop) ends the trade as a loss; else High >= entry *
    (1 + profit) ends it as a profit. The stop is looked at first, so a bar that touches both is a stop: the order inside
    a bar is unknown, and the worse one is assumed. A row with fewer than `horizon` bars after it has no label, even if a
    barrier was met in time: keeping only those would select on the outcome. The mirrored trade loses where High >= entry *
    (1 + stop), else wins where Low <= entry * (1 - profit). Unless the profit is nearer than the stop, at most one of the
    two trades wins.

    The comparison is exact for decimals: a float64 stands for the shortest decimal that is read as it.

    Args:
        bars: one sequence of N bars without a break.
        profit, stop: distances of the barriers, shares of the entry price; 0.05 is 5 %.
        horizon: bars after which the trade is closed at the close.

    Source: López de Prado, Advances in Financial Machine Learning (2018), section 3.4.
    """
    labels, mirrored = np.full((2, len(bars)), NO_LABEL, np.int8)
    returns = np.full(len(bars), np.nan)
    held = np.zeros(len(bars), np.int16)
    n = max(0, len(bars) - horizon)  # trades whose whole horizon is there
    entry = bars.close[:n]
    labels[:n], mirrored[:n], held[:n] = 0, 0, horizon
    returns[:n] = bars.close[len(bars) - n :] / entry - 1

    def barrier(share: float) -> Barrier:
        prices, comparison = (bars.high, ge) if share > 0 else (bars.low, le)
        return Barrier(entry, 1 + to_fraction(share), prices, comparison)

    for step, stopped, won in walk_exits(barrier(-stop), barrier(profit), n, horizon):
        returns[stopped] = np.minimum(-stop, bars.open[step : step + n][stopped] / entry[stopped] - 1)
        labels[won], returns[won] = 1, profit
        held[stopped] = held[won] = step
    for exits in walk_exits(barrier(stop), barrier(-profit), n, horizon):
        mirrored[exits.won] = 1
    return Trades(labels, returns, held, mirrored)


def walk_exits(stop: "Barrier", profit: "Barrier", trades: int, horizon: int) -> Iterator[Exits]:
    """Walk the bars after the entries of a number of trades, and yield those that end in each step."""
    is_open = np.ones(trades, bool)
    for step in range(1, horizon + 1):
        if not is_open.any():
            return
        stopped = stop.find_met(step, is_open)
        is_open[stopped] = False
        won = profit.find_met(step, is_open)
        is_open[won] = False
        yield Exits(step, stopped, won)


class Barrier:
    """The prices ``entry * share`` of N trades.

    Args:
        entry: float64 (N,), entry prices.
        share: of the entry price.
        prices: float64, of the bars from the first entry on; those that meet the barrier: Low or High.
        comparison: `operator.le` where prices come from above, `operator.ge` where they come from below.
    """

    def __init__(self, entry: np.ndarray, share: Fraction, prices: np.ndarray, comparison: Callable) -> None:
        price = entry * float(share)
        below, above = price * (1 - TIE_DISTANCE), price * (1 + TIE_DISTANCE)
        self.entry, self.share, self.prices, self.comparison = entry, share, prices, comparison
        self.certain, self.possible = (below, above) if comparison is le else (above, below)

    def find_met(self, step: int, is_open: np.ndarray) -> np.ndarray:
        """Find the open trades whose barrier is met `step` bars after entry, by an exact comparison.

        Args:
            is_open: bool (N,), trades to look at.

        Returns:
            int64 (M,), their positions, increasing.
        """
        prices = self.prices[step : step + len(self.entry)]
        rows = (is_open & self.comparison(prices, self.possible)).nonzero()[0]
        met = self.comparison(prices[rows], self.certain[rows])
        if met.all():
            return rows
        for tie in np.flatnonzero(~met):
            row = rows[tie]
            met[tie] = self.comparison(to_fraction(prices[row]), to_fraction(self.entry[row]) * self.share)
        return rows[met]


def to_fraction(number: float) -> Fraction:
    """Convert a float64 to the shortest decimal that is read as it."""
    return Fraction(repr(float(number)))
