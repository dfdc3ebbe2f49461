"""Label bars by the triple barrier: profit before stop, or not."""

from typing import NamedTuple

import numpy as np

from bars.reading import Bars

NO_LABEL = -1


class Trades(NamedTuple):
    """Outcome of the trade entered at the close of each of N bars.

    labels: int8 (N,), 1 profit, 0 stop or neither, -1 no label.
    returns: float32 (N,), before costs, as a share of the entry price. +profit; -stop, or less where a bar opened below the
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
    stop_price, profit_price = entry * (1 - stop), entry * (1 + profit)
    labels[:n], held[:n] = 0, horizon
    returns[:n] = bars.close[len(bars) - n :] / entry - 1
    is_open = np.ones(n, bool)
    for step in range(1, horizon + 1):
        now = slice(step, step + n)
        stopped = is_open & (bars.low[now] <= stop_price)
        won = is_open & ~stopped & (bars.high[now] >= profit_price)
        returns[:n][stopped] = np.minimum(-stop, bars.open[now] / entry - 1)[stopped]
        labels[:n][won], returns[:n][won] = 1, profit
        held[:n][stopped | won] = step
        is_open &= ~(stopped | won)
    return Trades(labels, returns.astype(np.float32), held)
