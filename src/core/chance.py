"""How far a figure could be luck: bootstrap over blocks of days, spread over seeds, correction for many comparisons.

Samples of one day share the market's mood, and so do days in a row; so whole blocks of days are drawn, all assets together.
A network's figure also depends on its seed, so the spread over seeds counts too. Shapes: D days, S seeds, N samples.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats


def day_counts(y: np.ndarray, called: np.ndarray, days: np.ndarray) -> np.ndarray:
    """True positives, false positives and false negatives of each day, float64 (3, D).

    Args:
        y: (N,), 0 or 1. called: bool (N,), samples called positive. days: int64 (N,), number of each sample's day.
    """
    n, true = int(days.max()) + 1, y > 0
    return np.stack([np.bincount(days[w], minlength=n) for w in (called & true, called & ~true, ~called & true)]).astype(float)


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 from (3, …) true positives, false positives, false negatives; 0 where nothing is positive."""
    tp, fp, fn = counts
    return 2 * tp / np.maximum(2 * tp + fp + fn, 1)


FEWEST_BLOCKS = 4  # of days; a bootstrap of fewer says little


def block_length(days: int) -> int:
    """Days in a row to draw together: one and a half times the root of all, and a fourth of them at most.

    Calm and wild spells outlast a few days, and a longer split can afford longer blocks. Of the factors 1, 1.25 and 1.5 the
    last covered best in simulations with 27 to 298 days: where a day's mood correlates by 0.7 with that of the day before, 95
    to 96 of a hundred 95 % intervals held the truth (blocks of five days: 87 at 298 days), at 0.85 still only 90 to 93, and
    without correlation up to 99.
    """
    return min(round(1.5 * days**0.5), days // FEWEST_BLOCKS)


def draw_days(days: int, block: int, draws: int, seed: int) -> np.ndarray:
    """How often each day is drawn, float64 (draws, D): runs of `block` days from random starts, around the end to the start.

    A draw has as many days as there are, so that its last run may be shorter.

    Source: Politis, Romano (1992), the circular block bootstrap.
    """
    starts = np.random.default_rng(seed).integers(0, days, (draws, -(-days // block), 1))
    drawn = ((starts + np.arange(block)) % days).reshape(draws, -1)[:, :days] + np.arange(draws)[:, None] * days
    return np.bincount(drawn.ravel(), minlength=draws * days).reshape(draws, days).astype(float)


def drawn_f1(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """F1 of every draw, mean over seeds, (draws,). `counts`: (S, 3, D), `weights`: (draws, D)."""
    return np.mean([f1(np.moveaxis(weights @ seed.T, 1, 0)) for seed in counts], axis=0)


def f1_at_other_times(y: np.ndarray, scores: np.ndarray, asset_ids: np.ndarray, moves: int) -> float:
    """The highest F1 that the scores reach, at any threshold, against labels of other times.

    Each asset's labels are turned, the end to the start, by the same share of them: `moves` shares from a tenth to nine tenths.
    How scores and labels cluster stays, and how assets differ; only what the scores know of the time is lost. Scores that know
    nothing of it seldom exceed all moves, even the best of 20 epochs: in 3 to 8 of 100 cases in tests/core/test_chance.py, the
    more the less alike the epochs. Moves are no independent draws: a thousand would hardly be rarer to exceed than a hundred.

    Args:
        y: (N,), 0 or 1, in order of asset and time, as scores (N,) and asset_ids (N,) are.

    Source: Harris (2020), arXiv:2012.06862, the shift test; turned instead of cut off, since all moves must be equally hard.
    """
    called = np.searchsorted(np.sort(-scores), -scores, side="right")  # samples that score as high, by sample
    positives = np.flatnonzero(y)
    _, first, asset, size = np.unique(asset_ids, return_index=True, return_inverse=True, return_counts=True)
    first, size = first[asset[positives]], size[asset[positives]]
    tp = np.arange(1, len(positives) + 1)
    best = 0.0
    for share in np.linspace(0.1, 0.9, moves):
        moved = first + (positives - first + np.rint(share * size).astype(int)) % size
        best = max(best, float(np.max(2 * tp / (np.sort(called[moved]) + len(tp)), initial=0)))
    return best


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its standard error and the degrees of freedom of that."""

    value: float
    error: float
    freedom: float

    @classmethod
    def of(cls, by_seed: Sequence[float], drawn: np.ndarray, blocks: float) -> "Estimate":
        """The mean over seeds, uncertain through the days and through the seeds.

        What seeds do differently on these very days counts in both parts. Taken out of one of them, up to 10 of 100 equal pairs
        were told apart at 5 % where seeds differ much; as it is, 0 to 5.

        Args:
            by_seed: the figure of each seed (S,); of one seed alone its luck cannot be told, and is not counted.
            drawn: the mean over seeds in every bootstrap draw, (draws,).
            blocks: blocks of days there are; few of them understate the error and fatten its tails (Hesterberg 2015,
                doi:10.1080/00031305.2015.1089789, sections 3.2 and 5.4).
        """
        blocks = max(blocks, 2.0)
        parts = [(float(np.var(drawn)) * blocks / (blocks - 1), blocks - 1)]
        if len(by_seed) > 1:
            parts.append((float(np.var(by_seed, ddof=1)) / len(by_seed), len(by_seed) - 1))
        variance = sum(part for part, _ in parts)
        spread = sum(part**2 / freedom for part, freedom in parts)  # Welch, Satterthwaite
        return cls(float(np.mean(by_seed)), variance**0.5, variance**2 / spread if spread > 0 else np.inf)

    def interval(self, confidence: float) -> list[float]:
        """[low, high], Student's t."""
        reach = float(stats.t.ppf((1 + confidence) / 2, self.freedom)) * self.error
        return [self.value - reach, self.value + reach]

    def p_value(self) -> float:
        """Two-sided, of the hypothesis that the figure is zero; 1 where there is no spread and no difference."""
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom))


def holm_levels(p_values: Sequence[float], alpha: float) -> list[tuple[float, float]]:
    """For each of many comparisons its corrected p-value and the significance level its interval is to be drawn at.

    The k-th smallest of m is tested at alpha / (m - k + 1), and all after the first that fails at that one's level, so that
    the chance of any false finding is at most alpha. Source: Holm (1979), Scandinavian Journal of Statistics 6.
    """
    m, failed, adjusted = len(p_values), None, 0.0
    result: dict[int, tuple[float, float]] = {}
    for k, number in enumerate(np.argsort(p_values, kind="stable")):
        adjusted = max(adjusted, min(1.0, (m - k) * p_values[number]))
        level = failed or alpha / (m - k)
        if failed is None and p_values[number] >= level:
            failed = level
        result[int(number)] = (adjusted, level)
    return [result[number] for number in range(m)]
