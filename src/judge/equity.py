"""Follow a capital through trades, or through holding all assets. It cannot lose more than all.

Returns are shares of what is staked (0.01 is 1 %).
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from core.splits import sample_rows


@dataclasses.dataclass(frozen=True)
class Growth:
    """What became of a capital, as shares of it.

    total_return: at the end, at least -1. max_drawdown: its largest fall from an earlier peak or the start, share of that peak.
    """

    total_return: float
    max_drawdown: float


NO_TRADE = Growth(total_return=0.0, max_drawdown=0.0)


@dataclasses.dataclass(frozen=True)
class EquityPath:
    """A capital over time, as a share of that at the start.

    times: datetime64 (P,), increasing; opening times of the bars at whose close it has changed.
    capital: float64 (P,), from that close on.
    """

    times: np.ndarray
    capital: np.ndarray

    @property
    def growth(self) -> Growth:
        """Sum up the path."""
        equity = np.append(1.0, self.capital)
        return Growth(float(equity[-1] - 1), float((1 - equity / np.maximum.accumulate(equity)).max()))

    def at_end_of(self, days: np.ndarray) -> np.ndarray:
        """Return the capital at the end of each UTC day, float64 (D,); `days`: datetime64[D] (D,)."""
        last = np.searchsorted(self.times, (days + 1).astype(self.times.dtype), side="left")
        return np.append(1.0, self.capital)[last]


def follow_trades(opened: np.ndarray, closed: np.ndarray, returns: np.ndarray, slots: int) -> Growth:
    """Return what becomes of a capital that is staked as `trade_path` does; arguments likewise."""
    return trade_path(opened, closed, returns, slots).growth


def trade_path(opened: np.ndarray, closed: np.ndarray, returns: np.ndarray, slots: int) -> EquityPath:
    """Stake a share of the current equity in each trade, and follow the equity.

    A trade stakes 1 / `slots` of the equity at its entry, but never more than the cash that is not in open positions. Positions
    that are open count with their stakes. At the close of a bar those that ended in it are closed before others are opened.
    After ruin nothing is opened.

    Args:
        opened: datetime64 (T,), opening time of the bar at whose close each trade is entered; where equal, cash goes to the
            first.
        closed: datetime64 (T,), opening time of the bar in which it ends, after that of its entry.
        returns: float64 (T,), at least -1.
        slots: how many positions there can be at a time.
    """
    number = np.arange(len(returns))
    times, opens = np.concatenate([closed, opened]), np.repeat([False, True], len(returns))
    order = np.lexsort((opens, times))  # stable
    events = zip(times[order].astype(np.int64).tolist(), opens[order].tolist(), np.tile(number, 2)[order].tolist(), strict=True)
    gains, stakes = returns.tolist(), [0.0] * len(returns)
    equity, staked = 1.0, 0.0
    path: dict[int, float] = {}
    for time, is_entry, trade in events:
        if is_entry:
            stakes[trade] = min(equity / slots, max(equity - staked, 0.0))
            staked += stakes[trade]
        else:
            equity = max(equity + stakes[trade] * gains[trade], 0.0)
            staked -= stakes[trade]
        path[time] = equity  # what ends in the same bar counts together
    return EquityPath(np.array(list(path), np.int64).astype(times.dtype), np.array(list(path.values()), np.float64))


def buy_and_hold(arrays: Mapping[str, np.ndarray], costs: np.ndarray) -> Growth:
    """Return what becomes of a capital that is held as `hold_path` does; arguments likewise."""
    return hold_path(arrays, costs).growth


def hold_path(arrays: Mapping[str, np.ndarray], costs: np.ndarray) -> EquityPath:
    """Buy every asset that has samples at the close of its first one, with equal stakes, and hold it to its last bar.

    Each stake pays one round trip, at the purchase. An asset's value between its bars is that of its last close; the drawdown is
    that of all assets together at the closes of all bars.

    Args:
        arrays: y, closes, asset_ids and timestamps of a split as on disk, (rows,) each.
        costs: of a round trip, float64 (A,), by asset id.
    """
    samples = sample_rows(arrays["y"])
    assets, first = np.unique(arrays["asset_ids"][samples], return_index=True)
    times = np.unique(arrays["timestamps"])
    total = np.zeros(len(times))
    for asset, entry in zip(assets.tolist(), samples[first].tolist(), strict=True):
        rows = entry + np.flatnonzero(arrays["asset_ids"][entry:] == asset)
        values = np.maximum(arrays["closes"][rows] / arrays["closes"][entry] - costs[asset], 0.0)
        last = np.searchsorted(arrays["timestamps"][rows], times, side="right") - 1
        total += np.where(last >= 0, values[np.maximum(last, 0)], 1.0)
    return EquityPath(times, total / len(assets))
