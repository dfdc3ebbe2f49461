"""Label bars by the triple barrier: profit before stop, or not.

Barriers that are shares of the entry price are compared as decimals. In floats 20.8 * 1.05 is 21.840000000000003, which a High
of 21.84 would miss. Multiples of the average true range are no decimals, and are compared as floats.
"""

import dataclasses
from collections.abc import Callable, Iterator
from fractions import Fraction
from operator import ge, le
from typing import Literal, NamedTuple

import numpy as np

from bars.reading import Bars

NO_LABEL = -1
TIE_DISTANCE = 1e-9  # share of a barrier's price; beyond it floats, which are off by 1e-15 at most, compare as decimals do

BarrierKind = Literal["percent", "atr"]
# keys of `data` that hold the distances of profit and stop
DISTANCES: dict[BarrierKind, tuple[str, str]] = {"percent": ("profit", "stop"), "atr": ("profit_atr", "stop_atr")}


@dataclasses.dataclass(frozen=True)
class Barriers:
    """Say how far the barriers of a trade lie from its entry price.

    kind: unit of the distances: "percent", shares of the entry price, 0.05 is 5 %; or "atr", multiples of the average true range
        over 14 bars, as known at entry.
    profit, stop: distances, above 0.
    """

    kind: BarrierKind
    profit: float
    stop: float


class Trades(NamedTuple):
    """Outcome of the trade entered at the close of each of N bars.

    labels: int8 (N,), 1 profit, 0 stop or neither, -1 no label.
    returns: float64 (N,), before costs, as a share of the entry price. +profit; -stop, or less where a bar opened below the
        stop (nobody fills at a price that was not there); else the close's return after the horizon. Where barriers are multiples
        of the ATR, profit and stop are those multiples over the entry price. NaN without a label.
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


def triple_barrier(bars: Bars, barriers: Barriers, *, horizon: int, atr: np.ndarray | None = None) -> Trades:
    """Label every bar of one sequence by the trade entered at its close, and by the mirrored trade.

    Bars t+1 … t+horizon are walked in order. A Low at the stop or below ends the trade as a loss; else a High at the profit
    barrier or above ends it as a profit. These lie at entry * (1 - stop) and entry * (1 + profit), or at entry - stop * ATR and
    entry + profit * ATR. The stop is looked at first, so a bar that touches both is a stop: the order inside a bar is unknown,
    and the worse one is assumed. The mirrored trade loses where a High rises by the distance of the stop, else wins where a Low
    falls by that of the profit. Unless the profit is nearer than the stop, at most one of the two trades wins.

    A row with fewer than `horizon` bars after it has no label, even if a barrier was met in time: keeping only those would
    select on the outcome. A row whose ATR is unknown or zero has none either; it is zero where no price has moved since the
    sequence began. A barrier at zero or below, many ATR away, is never met: the trade ends at its other barrier or after the
    horizon, and loses its stake at most.

    Shares are compared exactly for decimals: a float64 stands for the shortest decimal that is read as it.

    Args:
        bars: one sequence of N bars without a break.
        barriers: how far the barriers lie.
        horizon: bars after which the trade is closed at the close.
        atr: float64, average true range at each bar, in units of the price; of the bars that have `horizon` bars after them, at
            least. None where barriers are shares of the entry price.

    Source: López de Prado, Advances in Financial Machine Learning (2018), section 3.4.
    """
    labels, mirrored = np.full((2, len(bars)), NO_LABEL, np.int8)
    returns = np.full(len(bars), np.nan)
    held = np.zeros(len(bars), np.int16)
    n = max(0, len(bars) - horizon)  # trades whose whole horizon is there
    entry = bars.close[:n]
    entries = Entries(bars, entry, None if barriers.kind == "percent" else atr[:n])
    profit, stop, is_trade = entries.shares(barriers.profit), entries.shares(barriers.stop), entries.have_barriers()
    trades = np.flatnonzero(is_trade)
    labels[trades] = mirrored[trades] = 0
    held[trades] = horizon
    returns[trades] = bars.close[trades + horizon] / entry[trades] - 1
    for step, stopped, won in walk_exits(entries.barrier(-barriers.stop), entries.barrier(barriers.profit), is_trade, horizon):
        returns[stopped] = np.minimum(-stop[stopped], bars.open[stopped + step] / entry[stopped] - 1)
        labels[won], returns[won] = 1, profit[won]
        held[stopped] = held[won] = step
    for exits in walk_exits(entries.barrier(barriers.stop), entries.barrier(-barriers.profit), is_trade, horizon):
        mirrored[exits.won] = 1
    return Trades(labels, returns, held, mirrored)


@dataclasses.dataclass(frozen=True)
class Entries:
    """Entries of N trades, and where their barriers lie.

    bars: from the first entry on.
    price: float64 (N,), the close at which each is entered.
    atr: float64 (N,), that distances are multiples of; None where they are shares of the price.
    """

    bars: Bars
    price: np.ndarray
    atr: np.ndarray | None

    def have_barriers(self) -> np.ndarray:
        """Tell which trades have barriers apart from their entry price, bool (N,)."""
        return np.ones(len(self.price), bool) if self.atr is None else self.atr > 0

    def shares(self, distance: float) -> np.ndarray:
        """Convert a distance to shares of the entry price, float64 (N,)."""
        return np.full(len(self.price), distance) if self.atr is None else distance * self.atr / self.price

    def barrier(self, distance: float) -> "Barrier":
        """Make the barrier above the entry price, or below it where `distance` is negative."""
        prices, comparison = (self.bars.high, ge) if distance > 0 else (self.bars.low, le)
        if self.atr is None:
            return DecimalBarrier(self.price, 1 + to_fraction(distance), prices, comparison)
        return Barrier(self.price + distance * self.atr, prices, comparison)


def walk_exits(stop: "Barrier", profit: "Barrier", is_trade: np.ndarray, horizon: int) -> Iterator[Exits]:
    """Walk the bars after the entries of N trades, and yield those that end in each step.

    Args:
        is_trade: bool (N,), the trades to follow.
    """
    is_open = is_trade.copy()
    for step in range(1, horizon + 1):
        if not is_open.any():
            return
        stopped = stop.find_met(step, is_open)
        is_open[stopped] = False
        won = profit.find_met(step, is_open)
        is_open[won] = False
        yield Exits(step, stopped, won)


class Barrier:
    """The prices at which N trades end.

    Args:
        level: float64 (N,), those prices.
        prices: float64, of the bars from the first entry on; those that meet the barrier: Low or High.
        comparison: `operator.le` where prices come from above, `operator.ge` where they come from below.
    """

    def __init__(self, level: np.ndarray, prices: np.ndarray, comparison: Callable) -> None:
        self.level, self.prices, self.comparison = level, prices, comparison

    def find_met(self, step: int, is_open: np.ndarray) -> np.ndarray:
        """Find the open trades whose barrier is met `step` bars after entry.

        Args:
            is_open: bool (N,), trades to look at.

        Returns:
            int64 (M,), their positions, increasing.
        """
        return (is_open & self.comparison(self.prices[step : step + len(self.level)], self.level)).nonzero()[0]


class DecimalBarrier(Barrier):
    """The prices ``entry * share`` of N trades, compared exactly.

    Args:
        entry: float64 (N,), entry prices.
        share: of the entry price.
        prices, comparison: as of `Barrier`.
    """

    def __init__(self, entry: np.ndarray, share: Fraction, prices: np.ndarray, comparison: Callable) -> None:
        price = entry * float(share)
        below, above = price * (1 - TIE_DISTANCE), price * (1 + TIE_DISTANCE)
        self.certain, possible = (below, above) if comparison is le else (above, below)
        super().__init__(possible, prices, comparison)
        self.entry, self.share = entry, share

    def find_met(self, step: int, is_open: np.ndarray) -> np.ndarray:
        rows = super().find_met(step, is_open)
        prices = self.prices[step:][rows]
        met = self.comparison(prices, self.certain[rows])
        for tie in np.flatnonzero(~met):
            met[tie] = self.comparison(to_fraction(prices[tie]), to_fraction(self.entry[rows[tie]]) * self.share)
        return rows[met]


def to_fraction(number: float) -> Fraction:
    """Convert a float64 to the shortest decimal that is read as it."""
    return Fraction(repr(float(number)))
