"""Work out what the trades behind the samples would have returned.

Returns are shares of the entry price (0.01 is 1 %), costs are those of a round trip in the same unit.
Shapes: N samples, D days, S seeds.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from core.errors import CampaignError, join_first
from core.metrics import Ranking
from core.splits import sample_rows
from judge.equity import follow_trades

SMALLEST_SHARE = 0.005  # of the samples that the strictest threshold calls
THRESHOLD_POINTS = 60  # thresholds of a curve, and candidates for money's threshold

BreakEven = float | Literal["any", "none"] | None


def costs_by_asset(cost_per_trade: float | Mapping[str, float], symbols: Sequence[str]) -> np.ndarray:
    """Look up the cost of a round trip for each asset, float64 (A,).

    Args:
        cost_per_trade: one cost for all, or one by symbol.
        symbols: of the assets, by asset id.

    Raises:
        CampaignError: a symbol has no cost, or a cost belongs to no symbol.
    """
    if not isinstance(cost_per_trade, Mapping):
        return np.full(len(symbols), cost_per_trade, np.float64)
    if missing := [symbol for symbol in symbols if symbol not in cost_per_trade]:
        raise CampaignError(f"params.yaml: evaluate.cost_per_trade has no cost for {join_first(missing)}; add it")
    if unknown := [symbol for symbol in cost_per_trade if symbol not in symbols]:
        raise CampaignError(
            f"params.yaml: evaluate.cost_per_trade names {join_first(unknown)}, which the data lack; remove it "
            f"(they have {join_first(symbols)})"
        )
    return np.array([cost_per_trade[symbol] for symbol in symbols], np.float64)


def break_even_precision(barrier: str, profit: float, stop: float, cost: float) -> float | None:
    """Return the precision at which trades that all end at a barrier earn nothing.

    It solves p (profit - cost) = (1 - p) (stop + cost). None where `barrier` is not ``percent``: then each trade has its own.
    """
    return (stop + cost) / (profit + stop) if barrier == "percent" else None


@dataclasses.dataclass(frozen=True)
class Performance:
    """What one model's trades returned over a split; means and rates are None where there is no trade.

    trades: number of signals that open a position.
    hit_rate: share of them that met the profit barrier. break_even_hit_rate: see `Trades.break_even_hit_rate`.
    mean_return, mean_return_net: of a trade, before and after costs, shares of its entry price.
    total_return, total_return_net, max_drawdown: of a capital that is staked as `follow_trades` does; the drawdown is net.
    return_per_day_net: mean over days of `Trades.daily_returns`, share of the initial capital.
    """

    trades: int
    hit_rate: float | None
    break_even_hit_rate: BreakEven
    mean_return: float | None
    mean_return_net: float | None
    total_return: float
    total_return_net: float
    return_per_day_net: float
    max_drawdown: float

    @property
    def break_even_cost(self) -> float | None:
        """Return the cost of a round trip at which these trades would earn nothing: what they return before costs."""
        return self.mean_return


@dataclasses.dataclass(frozen=True)
class Trades:
    """The trade behind every sample of a split, in order of asset and time.

    y: float64 (N,), 1 where the profit barrier was met first.
    mirrored: bool (N,), whether the same trade with the price mirrored, a short one, would have won.
    returns: float64 (N,), return of the trade before costs.
    costs: float64 (N,), cost of the round trip; never more than what is left of the stake.
    held: int64 (N,), bars until it ended.
    ends: datetime64[s] (N,), opening time of the bar in which it ended.
    rows: int64 (N,), the bar of entry; an asset's bars have consecutive numbers.
    asset_ids: (N,).
    timestamps: datetime64[s] (N,), opening time of the bar of entry.
    days: int64 (N,), number of its UTC day among the days that have samples, from 0.
    assets: number of assets that have samples.
    """

    y: np.ndarray
    mirrored: np.ndarray
    returns: np.ndarray
    costs: np.ndarray
    held: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    asset_ids: np.ndarray
    timestamps: np.ndarray
    days: np.ndarray
    assets: int

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], costs: np.ndarray) -> "Trades":
        """Build from a split's arrays as on disk.

        Args:
            arrays: y, mirrored, returns, held, asset_ids and timestamps, (rows,) each.
            costs: of a round trip, float64 (A,), by asset id; `costs_by_asset` makes it.
        """
        rows = sample_rows(arrays["y"])
        times, asset_ids, held = arrays["timestamps"][rows], arrays["asset_ids"][rows], arrays["held"][rows].astype(np.int64)
        returns = arrays["returns"][rows].astype(np.float64)
        return cls(
            y=arrays["y"][rows].astype(np.float64),
            mirrored=arrays["mirrored"][rows] > 0,
            returns=returns,
            costs=np.minimum(costs[asset_ids], 1 + returns),
            held=held,
            ends=arrays["timestamps"][rows + held],
            rows=rows,
            asset_ids=asset_ids,
            timestamps=times,
            days=np.unique(times.astype("datetime64[D]"), return_inverse=True)[1].astype(np.int64),
            assets=len(np.unique(asset_ids)),
        )

    @property
    def net(self) -> np.ndarray:
        """Return what each trade returns after its cost, float64 (N,), at least -1."""
        return self.returns - self.costs

    def entries(self, signals: np.ndarray) -> np.ndarray:
        """Select the signals that open a position, bool (N,): an asset's signals are ignored while it has one open.

        Args:
            signals: bool (N,), samples predicted positive.
        """
        entered = np.zeros(len(signals), bool)
        entered[self._entered(signals)] = True
        return entered

    def _entered(self, signals: np.ndarray) -> np.ndarray:
        """Return the numbers of the samples that `entries` selects, increasing."""
        samples = np.flatnonzero(signals)
        following = np.append(0, np.cumsum(signals))[self._next_samples[samples]].tolist()  # the first signal after each trade
        opened, number = [], 0
        while number < len(following):
            opened.append(number)
            number = following[number]
        return samples[opened]

    @functools.cached_property
    def _next_samples(self) -> np.ndarray:
        """Return the first sample that is not before the end of each one's trade, int64 (N,).

        Rows increase over all assets, and no trade outlasts its asset's rows.
        """
        return np.searchsorted(self.rows, self.rows + self.held)

    def daily_returns(self, entered: np.ndarray) -> np.ndarray:
        """Return what each day's trades return after costs on constant stakes, float64 (D,), booked on the day of entry.

        Each asset has an equal share of the initial capital and stakes it anew in every trade, so that days can be averaged and
        resampled.

        Args:
            entered: bool (N,), as `entries` selects them.
        """
        return self._by_day(np.where(entered, self.net, 0.0)) / self.assets

    def day_money(self, entered: np.ndarray) -> np.ndarray:
        """Sum up the trades of each day of entry, float64 (5, D).

        Args:
            entered: bool (N,), as `entries` selects them.

        Returns:
            Number of trades; of hits; returns of the hits; returns of the misses; costs. From sums over days follow
            `mean_net_draws` and `hit_margin_draws`.
        """
        hits, misses = entered & (self.y > 0), entered & (self.y == 0)
        values = (entered, hits, np.where(hits, self.returns, 0.0), np.where(misses, self.returns, 0.0))
        return np.stack([self._by_day(own) for own in (*values, np.where(entered, self.costs, 0.0))])

    def _by_day(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.days, weights=values, minlength=int(self.days.max()) + 1)

    def break_even_hit_rate(self, entered: np.ndarray) -> BreakEven:
        """Return the hit rate at which these trades, bool (N,), would earn nothing after costs.

        Hits and misses keep the mean returns that they have here. Trades that time out count as misses, so the result can be
        far from `break_even_precision`.

        Returns:
            From 0 to 1; "any" where misses return more than the cost, so that any hit rate would earn; "none" where hits return
            less than the cost. None where all or none of the trades hit, or where hits return no more than misses and a
            higher hit rate would not help.
        """
        hits, misses = (self.returns[entered & (self.y == label)] for label in (1, 0))
        if not (len(hits) and len(misses)):
            return None
        cost = float(self.costs[entered].mean())
        hit, miss = float(hits.mean()) - cost, float(misses.mean()) - cost
        if miss > 0 and hit > 0:
            return "any"
        if miss < 0 and hit < 0:
            return "none"
        return -miss / (hit - miss) if hit > miss else None

    def performance(self, signals: np.ndarray) -> Performance:
        """Trade on `signals`, bool (N,), with one position an asset at a time, and sum up what that returns."""
        entered = self.entries(signals)
        count = int(entered.sum())
        gross, net = (
            follow_trades(self.timestamps[entered], self.ends[entered], returns[entered], self.assets)
            for returns in (self.returns, self.net)
        )
        return Performance(
            trades=count,
            hit_rate=float(self.y[entered].mean()) if count else None,
            break_even_hit_rate=self.break_even_hit_rate(entered),
            mean_return=float(self.returns[entered].mean()) if count else None,
            mean_return_net=float(self.net[entered].mean()) if count else None,
            total_return=gross.total_return,
            total_return_net=net.total_return,
            return_per_day_net=float(self.daily_returns(entered).mean()),
            max_drawdown=net.max_drawdown,
        )

    def choose_threshold(self, scores: np.ndarray, also: float, min_trades: int) -> float | None:
        """Choose the threshold whose trades return the most on average after costs; of equally good ones the highest.

        Candidates call from `SMALLEST_SHARE` of the samples to all of them, evenly spaced on a logarithmic axis.

        Args:
            scores: float64 (N,).
            also: one more candidate, such as the threshold that is best for F1.
            min_trades: fewer trades say too little.

        Returns:
            None where no candidate with so many trades earns anything: then the best is not to trade.
        """
        ranking = Ranking.of(self.y, scores)
        candidates = {ranking.threshold(point) for point in _log_spaced(ranking)} | {also}
        best, chosen, net = 0.0, None, self.net
        for threshold in sorted(candidates, reverse=True):
            entered = self._entered(scores >= threshold)
            if len(entered) >= min_trades and (mean := float(net[entered].mean())) > best:
                best, chosen = mean, threshold
        return chosen

    def threshold_curve(self, scores: np.ndarray) -> list[dict[str, float]]:
        """Sum up the trades of all samples predicted positive, as the threshold falls from the highest score to the lowest.

        Overlapping trades count too, so that each point depends on its threshold alone.

        Args:
            scores: float64 (N,).

        Returns:
            At most `THRESHOLD_POINTS` rows with share_called, the share of samples predicted positive, evenly spaced on a
            logarithmic axis from `SMALLEST_SHARE` to 1; threshold; trades; precision; mean_return and mean_return_net of a trade.
        """
        order = np.argsort(-scores, kind="stable")
        ranking = Ranking.of(self.y, scores)
        called = ranking.tp + ranking.fp
        total, net = (np.cumsum(returns[order]) for returns in (self.returns, self.net))
        return [
            {
                "share_called": float(called[point] / len(scores)),
                "threshold": float(ranking.scores[point]),
                "trades": int(called[point]),
                "precision": float(ranking.tp[point] / called[point]),
                "mean_return": float(total[called[point] - 1] / called[point]),
                "mean_return_net": float(net[called[point] - 1] / called[point]),
            }
            for point in _log_spaced(ranking)
        ]


def _log_spaced(ranking: Ranking) -> list[int]:
    """Pick `THRESHOLD_POINTS` of the ranking's thresholds at most, evenly spaced on a logarithmic axis of the share called."""
    called = ranking.tp + ranking.fp
    wanted = np.geomspace(SMALLEST_SHARE, 1.0, THRESHOLD_POINTS) * called[-1]
    return np.unique(np.minimum(np.searchsorted(called, wanted), len(called) - 1)).tolist()


def mean_net_draws(day_money: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """Return the mean net return of a trade in every bootstrap draw of days, mean over seeds, float64 (draws,).

    A draw without a trade has the mean of all days.

    Args:
        day_money: `Trades.day_money` of each seed, (S, 5, D).
        weights: how often each draw has each day, (draws, D); a single row of ones gives the estimate itself.

    Returns:
        None where a seed has no trade.
    """
    by_seed = []
    for seed in day_money:
        if not seed[0].sum():
            return None
        trades, _, of_hits, of_misses, costs = np.einsum("wd,kd->kw", weights, seed)  # a BLAS product's bits depend on the cores
        overall = (seed[2] + seed[3] - seed[4]).sum() / seed[0].sum()
        by_seed.append(_ratio(of_hits + of_misses - costs, trades, overall))
    return np.mean(by_seed, axis=0)


def hit_margin_draws(day_money: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """Return the hit rate less the break-even hit rate in every bootstrap draw of days, mean over seeds, float64 (draws,).

    The break-even hit rate is that of `Trades.break_even_hit_rate` as a number, also below 0 ("any") and above 1 ("none"). So
    the margin is the mean net return, divided by what a hit returns more than a miss. A draw that lacks hits, misses or trades
    has the mean of all days for what it lacks; likewise one in which hits return no more than misses.

    Args:
        day_money: `Trades.day_money` of each seed, (S, 5, D).
        weights: how often each draw has each day, (draws, D); a single row of ones gives the estimate itself.

    Returns:
        None where a seed has no hit or no miss, or its hits return no more than its misses.
    """
    by_seed = []
    for seed in day_money:
        all_trades, all_hits, all_of_hits, all_of_misses, _ = seed.sum(axis=1)
        if not 0 < all_hits < all_trades:
            return None
        hit, miss = all_of_hits / all_hits, all_of_misses / (all_trades - all_hits)
        if hit <= miss:
            return None
        trades, hits, of_hits, of_misses, _ = np.einsum("wd,kd->kw", weights, seed)
        more = _ratio(of_hits, hits, hit) - _ratio(of_misses, trades - hits, miss)
        by_seed.append(mean_net_draws(seed[None], weights) / np.where(more > 0, more, hit - miss))
    return np.mean(by_seed, axis=0)


def _ratio(sums: np.ndarray, counts: np.ndarray, otherwise: float) -> np.ndarray:
    """Divide, with `otherwise` where there is nothing to divide by."""
    return np.where(counts > 0, sums / np.maximum(counts, 1), otherwise)
