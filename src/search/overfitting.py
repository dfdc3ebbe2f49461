"""What the best of many trials is worth by luck alone: deflated Sharpe ratio, and probability of backtest overfitting.

Sources: Bailey, López de Prado, "The deflated Sharpe ratio", J. Portfolio Management 40(5), 2014; Bailey, Borwein, López de
Prado, Zhu, "The probability of backtest overfitting", J. Computational Finance 20(4), 2017.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class Deflated:
    """A Sharpe ratio against the one that luck gives the best of so many trials; neither is annualised.

    sharpe: observed. by_luck: expected of the best of the trials if none has an edge. probability: that the true ratio exceeds
    `by_luck`, the deflated Sharpe ratio.
    """

    sharpe: float
    by_luck: float
    probability: float


def sharpe_by_luck(trials: int, variance: float) -> float:
    """Return the Sharpe ratio expected of the best of `trials` without an edge, 0 for one trial.

    Args:
        variance: of the trials' Sharpe ratios.
    """
    if trials < 2:
        return 0.0
    quantiles = stats.norm.ppf([1 - 1 / trials, 1 - 1 / (trials * math.e)])
    return float(math.sqrt(variance) * ((1 - np.euler_gamma) * quantiles[0] + np.euler_gamma * quantiles[1]))


def probability_above(sharpe: float, other: float, *, periods: int, skewness: float, kurtosis: float) -> float:
    """Return the probability that the true Sharpe ratio exceeds `other`, by the moments of the returns.

    Args:
        sharpe, other: per period. periods: number of returns.
        skewness, kurtosis: of the returns; 0 and 3 of normal ones.
    """
    scale = math.sqrt(max(1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2, 1e-12))
    return float(stats.norm.cdf((sharpe - other) * math.sqrt(periods - 1) / scale))


def deflate(returns: np.ndarray, *, trials: int, variance: float) -> Deflated | None:
    """Deflate the Sharpe ratio of the best trial's returns, (days,); None where they do not vary or are fewer than two.

    Args:
        trials: that were looked at, this one included. variance: of their Sharpe ratios.
    """
    if len(returns) < 2 or not (spread := float(np.std(returns, ddof=1))) > 0:
        return None
    sharpe, by_luck = float(np.mean(returns)) / spread, sharpe_by_luck(trials, variance)
    moments = {"skewness": float(stats.skew(returns)), "kurtosis": float(stats.kurtosis(returns, fisher=False))}
    return Deflated(sharpe, by_luck, probability_above(sharpe, by_luck, periods=len(returns), **moments))


def halvings(blocks: int) -> Iterator[np.ndarray]:
    """Yield every choice of half of the blocks, an even number, as a mask bool (blocks,)."""
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        mask = np.zeros(blocks, bool)
        mask[list(chosen)] = True
        yield mask


def overfitting_probability(blocks: int, performance: Callable[[np.ndarray], Sequence[float]]) -> float:
    """Return how often the best trial of one half of the days is not above the median on the other half, from 0 to 1.

    Combinatorially symmetric cross-validation: the days are cut into blocks, and each choice of half of them is one draw. Without
    an edge it is about a half. Of equal performances on the first half the first trial counts as best; on the other half equal
    ones share their ranks.

    Args:
        blocks: even number, 2 or more.
        performance: of each trial on the blocks of a mask; two trials or more.
    """
    if blocks < 2 or blocks % 2:
        raise ValueError(f"{blocks} blocks; an even number is needed")
    failures = []
    for mask in halvings(blocks):
        best = int(np.argmax(performance(mask)))
        other = np.asarray(performance(~mask))
        rank = stats.rankdata(other)[best] / (len(other) + 1)
        failures.append(rank <= 0.5)
    return float(np.mean(failures))
