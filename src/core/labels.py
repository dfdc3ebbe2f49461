"""Triple barrier: does a trade entered at a bar's close meet its profit before its stop?"""

import numpy as np

from core.bars import Bars

NO_LABEL = -1


def triple_barrier(bars: Bars, *, profit: float, stop: float, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label every bar of one sequence by the trade entered at its close.

    Bars t+1 … t+horizon are walked in order. Low <= entry * (1 - stop) ends the trade as a loss; else High >= entry *
    (1 + profit) ends it as a profit. The stop is looked at first, so a bar that touches both is a stop: the order inside
    a bar is unknown, and the worse one is assumed. Rows with fewer than `horizon` bars after them carry no label, also
    when a barrier was met in time: keeping only those would select on the outcome.

    Args:
        bars: one sequence of N bars without a break.
        profit, stop: barrier distances as a share of the entry price, 0.05 is 5 %.
        horizon: bars until the trade is closed at that bar's close.

    Returns:
        labels: int8 (N,), 1 profit, 0 stop or neither, -1 no label.
        returns: float32 (N,), what the trade paid before costs, as a share of the entry price: +profit; -stop, or less
            where a bar opened below the stop (nobody fills at a price that was not there); the close's return after
            `horizon` bars otherwise; NaN where there is no label.
        held: int16 (N,), bars until the trade ended, 1 to `horizon`; 0 where there is no label.

    Source: López de Prado, Advances in Financial Machine Learning (2018), section 3.4.
    """
    size = len(bars)
    labels = np.full(size, NO_LABEL, np.int8)
    returns = np.full(size, np.nan)
    held = np.zeros(size, np.int16)
    labelled = size - horizon
    if labelled <= 0:
        return labels, returns.astype(np.float32), held

    entry = bars.close[:labelled]
    floor, ceiling = entry * (1 - stop), entry * (1 + profit)
    open_trade = np.ones(labelled, bool)
    outcome, ended = np.zeros(labelled, np.int8), np.full(labelled, horizon, np.int16)
    paid = bars.close[horizon:] / entry - 1
    for step in range(1, horizon + 1):
        ahead = slice(step, step + labelled)
        stopped = open_trade & (bars.low[ahead] <= floor)
        paid[stopped] = np.minimum(-stop, bars.open[ahead] / entry - 1)[stopped]
        won = open_trade & ~stopped & (bars.high[ahead] >= ceiling)
        outcome[won], paid[won] = 1, profit
        ended[stopped | won] = step
        open_trade &= ~(stopped | won)
    labels[:labelled], returns[:labelled], held[:labelled] = outcome, paid, ended
    return labels, returns.astype(np.float32), held
