"""What the trades would have paid. Returns are shares of the entry price, 0.01 is 1 %. N samples, D days."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from core.windows import samples


@dataclasses.dataclass(frozen=True)
class Trades:
    """The trade behind every sample of a split, in order of asset and time.

    y: float64 (N,), 1 where the profit barrier was met first. returns: float32 (N,), what the trade paid before costs.
    held: int16 (N,), bars until it ended. ends: datetime64[s] (N,), when the bar opened that it ended in.
    rows: int64 (N,), the bar it enters at; an asset's bars have consecutive numbers.
    asset_ids: (N,). timestamps: datetime64[s] (N,). days: int64 (N,), number of the UTC day, from 0.
    assets: how many the capital is shared out among, an equal and constant stake each.
    """

    y: np.ndarray
    returns: np.ndarray
    held: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    asset_ids: np.ndarray
    timestamps: np.ndarray
    days: np.ndarray
    assets: int

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Trades":
        """From a split's arrays as on disk: y, returns, held, asset_ids and timestamps, (R,) each."""
        rows = samples(arrays["y"])
        times = arrays["timestamps"][rows]
        return cls(
            y=arrays["y"][rows].astype(np.float64),
            returns=arrays["returns"][rows],
            held=arrays["held"][rows],
            ends=arrays["timestamps"][rows + arrays["held"][rows]],
            rows=rows,
            asset_ids=arrays["asset_ids"][rows],
            timestamps=times,
            days=np.unique(times.astype("datetime64[D]"), return_inverse=True)[1].astype(np.int64),
            assets=len(np.unique(arrays["asset_ids"][rows])),
        )

    def taken(self, called: np.ndarray) -> np.ndarray:
        """Which called trades, bool (N,), one position an asset allows: calls while a trade is open are passed over."""
        result = np.zeros(len(called), bool)
        numbers = np.flatnonzero(called)
        free, asset = -1, -1
        for number, own, row, bars in zip(
            numbers.tolist(),
            self.asset_ids[numbers].tolist(),
            self.rows[numbers].tolist(),
            self.held[numbers].tolist(),
            strict=True,
        ):
            if own != asset:
                free, asset = row, own
            if row >= free:
                result[number], free = True, row + bars
        return result

    def daily(self, taken: np.ndarray, cost: float) -> np.ndarray:
        """Return of the capital on each day after `cost` of a round trip, float64 (D,), booked on the day of entry."""
        net = np.where(taken, self.returns.astype(np.float64) - cost, 0.0)
        return np.bincount(self.days, weights=net, minlength=int(self.days.max()) + 1) / self.assets

    def break_even(self, taken: np.ndarray, cost: float) -> float | None:
        """The hit rate at which these trades, bool (N,), would pay nothing, with what their hits and the others paid.

        Trades that time out pay, too, so that it can be far from `core.metrics.break_even_precision`. None where all or none of
        the trades hit.
        """
        hits, misses = (self.returns[taken & (self.y == label)].astype(np.float64) for label in (1, 0))
        if not (len(hits) and len(misses)):
            return None
        return float((cost - misses.mean()) / (hits.mean() - misses.mean()))

    def figures(self, called: np.ndarray, cost: float) -> dict[str, Any]:
        """The money table's row of one model that calls these samples, bool (N,); means are None without a trade."""
        taken = self.taken(called)
        daily, count = self.daily(taken, cost), int(taken.sum())
        ended, moments = np.unique(self.ends[taken], return_inverse=True)
        paid = np.bincount(moments, self.returns[taken].astype(np.float64) - cost, minlength=len(ended)) / self.assets
        mean = float(self.returns[taken].mean(dtype=np.float64)) if count else None
        return {
            "trades": count,
            "hit_rate": float(self.y[taken].mean()) if count else None,
            "break_even_hit_rate": self.break_even(taken, cost),
            "mean_return": mean,
            "mean_return_net": None if mean is None else mean - cost,
            "total_return": float(self.daily(taken, 0.0).sum()),
            "total_return_net": float(daily.sum()),
            "return_per_day_net": float(daily.mean()),
            "max_drawdown": drawdown(paid),
        }

    def by_share_called(self, scores: np.ndarray, cost: float, points: int) -> list[dict[str, float]]:
        """Figures of every called trade as the threshold falls, overlapping ones too, so that each depends on its score alone.

        Returns:
            At most `points` rows, from 1 in 200 samples called to all: share_called, threshold, trades, precision (their hit
            rate), and mean and total return before and after `cost`, the totals with the stakes of `figures`.
        """
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # samples of one score are called together
        wanted = np.geomspace(0.005, 1.0, points) * len(ordered) - 1
        keep = last[np.unique(np.minimum(np.searchsorted(last, wanted), len(last) - 1))]
        hits, paid = np.cumsum(self.y[order]), np.cumsum(self.returns[order].astype(np.float64))
        return [
            {
                "share_called": (row + 1) / len(ordered),
                "threshold": float(ordered[row]),
                "trades": row + 1,
                "precision": float(hits[row] / (row + 1)),
                "mean_return": float(paid[row] / (row + 1)),
                "mean_return_net": float(paid[row] / (row + 1) - cost),
                "total_return": float(paid[row] / self.assets),
                "total_return_net": float((paid[row] - cost * (row + 1)) / self.assets),
            }
            for row in keep.tolist()
        ]


def drawdown(returns: np.ndarray) -> float:
    """Largest fall of the sum of `returns`, one after the other, from an earlier peak or the start, a share of the capital."""
    value = np.append(0.0, np.cumsum(returns))
    return float((np.maximum.accumulate(value) - value).max())
