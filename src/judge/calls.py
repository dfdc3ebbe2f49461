"""Sum up what each model's seeds call positive, day by day, over bootstrap draws of days. S seeds, N samples, D days."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from judge.money import Trades
from judge.uncertainty import FEWEST_BLOCKS, Estimate, block_length, bootstrap_f1, day_counts, draw_days, f1_from_counts


@dataclasses.dataclass(frozen=True)
class DrawnDays:
    """Bootstrap draws of a split's days, the same for every model.

    days: D. block: days in a row that are drawn together.
    weights: float64 (draws, D), how often each draw has each day.
    """

    days: int
    block: int
    weights: np.ndarray

    @classmethod
    def of(cls, days: int, block_days: int | None, draws: int, seed: int) -> "DrawnDays":
        """Draw blocks of `block_days`, at most a fourth of all days; None takes the length that suits `days`."""
        block = min(block_days or block_length(days), days // FEWEST_BLOCKS)
        return cls(days, block, draw_days(days, block, draws, seed))

    @property
    def blocks(self) -> float:
        """How many blocks the days make."""
        return self.days / self.block


@dataclasses.dataclass(frozen=True)
class Calls:
    """F1 and daily return of what one model calls positive on one split, by seed and by bootstrap draw.

    seeds: S of them; [None] for a model without seeds.
    f1: F1 of each seed, (S,). daily: mean return of the capital a day after costs of each seed, (S,).
    drawn_f1, drawn_daily: the same as means over seeds in each draw, (draws,).
    """

    seeds: Sequence[int | None]
    f1: Sequence[float]
    daily: Sequence[float]
    drawn_f1: np.ndarray
    drawn_daily: np.ndarray

    @classmethod
    def of(cls, trades: Trades, called: np.ndarray, seeds: Sequence[int | None], weights: np.ndarray, cost: float) -> "Calls":
        """Count the calls of each seed.

        Args:
            called: bool (S, N).
            weights: float64 (draws, D), how often each draw has each day.
            cost: of a round trip, share of the entry price.
        """
        counts = np.stack([day_counts(trades.y, row, trades.days) for row in called])
        daily = np.stack([trades.daily_returns(trades.entries(row), cost) for row in called])
        drawn_daily = np.einsum("wd,d->w", weights, daily.mean(axis=0))  # the bits of a BLAS product depend on the cores
        return cls(
            seeds=seeds,
            f1=[float(f1_from_counts(seed.sum(axis=1))) for seed in counts],
            daily=daily.mean(axis=1).tolist(),
            drawn_f1=bootstrap_f1(counts, weights),
            drawn_daily=drawn_daily / weights.sum(axis=1),
        )

    @property
    def spread_is_unknown(self) -> bool:
        """Tell whether the spread over seeds is unknown, as that of a network with a single seed; a reference has none."""
        return len(self.seeds) == 1 and self.seeds[0] is not None

    def f1_estimate(self, blocks: float) -> Estimate:
        """Estimate F1; `blocks`: how many blocks of days the split has."""
        return Estimate.of(self.f1, self.drawn_f1, blocks)

    def daily_estimate(self, blocks: float) -> Estimate:
        """Estimate the mean daily return; `blocks`: how many blocks of days the split has."""
        return Estimate.of(self.daily, self.drawn_daily, blocks)
