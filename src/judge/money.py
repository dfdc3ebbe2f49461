"""Work out what the trades behind the samples would have returned.

Returns are shares of the entry price (0.01 is 1 %), costs are those of a round trip in the same unit.
Shapes: N samples, D days.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from core.splits import sample_rows

SMALLEST_SHARE = 0.005  # of the samples, at which `Trades.threshold_curve` begins


def break_even_precision(profit: float, stop: float, cost: float) -> float:
    """Return the precision at which trades that all end at a barrier earn nothing.

    It solves p (profit - cost) = (1 - p) (stop + cost).
    """
    return (stop + cost) / (profit + stop)


@dataclasses.dataclass(frozen=True)
class Performance:
    """What one model's trades returned over a split; means and rates are None where there is no trade.

    trades: number of positions opened.
    hit_rate: share of them that met the profit barrier. break_even_hit_rate: see `Trades.break_even_hit_rate`.
    mean_return, mean_return_net: of a trade, before and after costs, shares of its entry price.
    total_return, total_return_net, return_per_day_net, max_drawdown: shares of the capital.
    """

    trades: int
    hit_rate: float | None
    break_even_hit_rate: float | None
    mean_return: float | None
    mean_return_net: float | None
    total_return: float
    total_return_net: float
    return_per_day_net: float
    max_drawdown: float


@dataclasses.dataclass(frozen=True)
class Trades:
    """The trade behind every sample of a split, in order of asset and time.

    y: float64 (N,), 1 where the profit barrier was met first.
    returns: float64 (N,), return of the trade before costs.
    held: int16 (N,), bars until it ended.
    ends: datetime64[s] (N,), opening time of the bar in which it ended.
    rows: int64 (N,), the bar of entry; an asset's bars have consecutive numbers.
    asset_ids: (N,).
    timestamps: datetime64[s] (N,), opening time of the bar of entry.
    days: int64 (N,), number of its UTC day among the days that have samples, from 0.
    assets: number of assets; each has an equal share of the capital, staked anew in every trade.
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
        """Build from a split's arrays as on disk: y, returns, held, asset_ids and timestamps, (rows,) each."""
        rows = sample_rows(arrays["y"])
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

    def entries(self, signals: np.ndarray) -> np.ndarray:
        """Select the signals that open a position, bool (N,): an asset's signals are ignored while it has one open.

        Args:
            signals: bool (N,), samples predicted positive.
        """
        entered = np.zeros(len(signals), bool)
        samples = np.flatnonzero(signals)
        free_from, current_asset = -1, -1
        for sample, asset, row, bars in zip(
            samples.tolist(),
            self.asset_ids[samples].tolist(),
            self.rows[samples].tolist(),
            self.held[samples].tolist(),
            strict=True,
        ):
            if asset != current_asset:
                free_from, current_asset = row, asset
            if row >= free_from:
                entered[sample], free_from = True, row + bars
        return entered

    def daily_returns(self, entered: np.ndarray, cost: float) -> np.ndarray:
        """Return the capital's return on each day after costs, float64 (D,), booked on the day of entry.

        Args:
            entered: bool (N,), as `entries` selects them.
            cost: of a round trip.
        """
        net = np.where(entered, self.returns.astype(np.float64) - cost, 0.0)
        return np.bincount(self.days, weights=net, minlength=int(self.days.max()) + 1) / self.assets

    def break_even_hit_rate(self, entered: np.ndarray, cost: float) -> float | None:
        """Return the hit rate at which these trades, bool (N,), would earn nothing after costs.

        Hits and misses keep the mean returns that they have here. Trades that time out count as misses, so the result can be
        far from `break_even_precision`. None where all or none of the trades hit.
        """
        hits, misses = (self.returns[entered & (self.y == label)].astype(np.float64) for label in (1, 0))
        if not (len(hits) and len(misses)):
            return None
        return float((cost - misses.mean()) / (hits.mean() - misses.mean()))

    def performance(self, signals: np.ndarray, cost: float) -> Performance:
        """Trade on `signals`, bool (N,), with one position an asset, and sum up the returns; `cost` is of a round trip."""
        entered = self.entries(signals)
        daily, count = self.daily_returns(entered, cost), int(entered.sum())
        times, at = np.unique(self.ends[entered], return_inverse=True)
        booked = np.bincount(at, self.returns[entered].astype(np.float64) - cost, minlength=len(times)) / self.assets
        mean = float(self.returns[entered].mean(dtype=np.float64)) if count else None
        return Performance(
            trades=count,
            hit_rate=float(self.y[entered].mean()) if count else None,
            break_even_hit_rate=self.break_even_hit_rate(entered, cost),
            mean_return=mean,
            mean_return_net=None if mean is None else mean - cost,
            total_return=float(self.daily_returns(entered, 0.0).sum()),
            total_return_net=float(daily.sum()),
            return_per_day_net=float(daily.mean()),
            max_drawdown=max_drawdown(booked),
        )

    def threshold_curve(self, scores: np.ndarray, cost: float, points: int) -> list[dict[str, float]]:
        """Sum up the trades of all samples predicted positive, as the threshold falls from the highest score to the lowest.

        Overlapping trades count too, so that each point depends on its threshold alone.

        Args:
            scores: float64 (N,).
            cost: of a round trip.
            points: how many to return at most; they are evenly spaced on a logarithmic axis.

        Returns:
            Rows with share_called, the share of samples predicted positive, from `SMALLEST_SHARE` to 1; threshold; trades;
            precision; mean_return of a trade and total_return on the capital, each also net of costs.
        """
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # equal scores share a threshold
        wanted = np.geomspace(SMALLEST_SHARE, 1.0, points) * len(ordered) - 1
        keep = last[np.unique(np.minimum(np.searchsorted(last, wanted), len(last) - 1))]
        hits, total = np.cumsum(self.y[order]), np.cumsum(self.returns[order].astype(np.float64))
        return [
            {
                "share_called": (row + 1) / len(ordered),
                "threshold": float(ordered[row]),
                "trades": row + 1,
                "precision": float(hits[row] / (row + 1)),
                "mean_return": float(total[row] / (row + 1)),
                "mean_return_net": float(total[row] / (row + 1) - cost),
                "total_return": float(total[row] / self.assets),
                "total_return_net": float((total[row] - cost * (row + 1)) / self.assets),
            }
            for row in keep.tolist()
        ]


def max_drawdown(returns: np.ndarray) -> float:
    """Return the largest fall of the running sum of `returns` from an earlier peak or from the start."""
    value = np.append(0.0, np.cumsum(returns))
    return float((np.maximum.accumulate(value) - value).max())
