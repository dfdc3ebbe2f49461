"""What the best of so many trials is worth by luck alone.

Shapes: S seeds, N samples of validation, D days.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from judge.uncertainty import block_length
from search.objective import OBJECTIVES, Validation, by_part, daily_returns, sample_losses
from search.overfitting import Deflated, deflate, halvings, overfitting_probability

BLOCKS = 8  # of days, for the probability of overfitting: 70 choices of half of them


@dataclasses.dataclass(frozen=True)
class Luck:
    """How much of the best trial's score may be luck.

    trials: that were looked at, the baseline and pruned ones included.
    overfitting: probability of backtest overfitting; None of fewer than two trials, or fewer days than blocks.
    deflated: Sharpe ratio of the best trial's daily returns against luck; None where its days do not differ.
    superior: p-value of the hypothesis that no trial has a lower log loss than the baseline (Hansen 2005, SPA, consistent);
    None without another trial.
    """

    trials: int
    overfitting: float | None
    deflated: Deflated | None
    superior: float | None


def measure_luck(
    objective: str, vals: Sequence[Validation], logits: Sequence[np.ndarray], best: int, *, draws: int, seed: int
) -> Luck:
    """Measure it.

    Args:
        vals: validation, or that of each fold; their days follow each other.
        logits: of each trial that was scored, float32 (S, 2, N) as in `search.objective.pr_auc`; the baseline first. S is less
            of a pruned trial.
        best: position of the best trial.
        draws, seed: of the bootstrap.
    """
    returns = [over_parts(daily_returns_of_seeds, vals, trial) for trial in logits]
    sharpes = [float(own.mean() / own.std(ddof=1)) if own.std() > 0 else 0.0 for own in returns]
    return Luck(
        trials=len(logits),
        overfitting=overfitting_of(objective, vals, logits),
        deflated=deflate(returns[best], trials=len(logits), variance=float(np.var(sharpes))),
        superior=superior_to_first(np.stack([over_parts(daily_losses, vals, trial) for trial in logits]), draws=draws, seed=seed),
    )


def over_parts(
    daily: Callable[[Validation, np.ndarray], np.ndarray], vals: Sequence[Validation], trial: np.ndarray
) -> np.ndarray:
    """Return what `daily` gives of each validation and its part of a trial's logits, one after the other."""
    return np.concatenate([daily(val, part) for val, part in by_part(vals, trial)])


def daily_returns_of_seeds(val: Validation, logits: np.ndarray) -> np.ndarray:
    """Return a trial's return of each day after costs, mean over seeds, float64 (D,)."""
    return np.mean([daily_returns(val, row) for row in logits], axis=0)


def overfitting_of(objective: str, vals: Sequence[Validation], logits: Sequence[np.ndarray]) -> float | None:
    """Return the probability that the trial that is best on half of the days is not above the median on the other half."""
    days = [int(val.trades.days.max()) + 1 for val in vals]
    if len(logits) < 2 or sum(days) < BLOCKS:
        return None
    before = np.cumsum([0, *days[:-1]])
    blocks = [(val.trades.days + earlier) * BLOCKS // sum(days) for val, earlier in zip(vals, before, strict=True)]  # of samples
    halves = list(halvings(BLOCKS))
    masks = [np.stack([half[block] for half in halves]) for block in blocks]

    def performance(trial: np.ndarray) -> np.ndarray:
        """Return the objective on each half, mean over folds and seeds; all trials have a fold outside the half alike."""
        parts = zip(by_part(vals, trial), masks, strict=True)
        return np.mean([[OBJECTIVES[objective](val, row, mask) for row in part] for (val, part), mask in parts], axis=(0, 1))

    of_trials = np.stack([performance(trial) for trial in logits])
    known = {half.tobytes(): own for half, own in zip(halves, of_trials.T, strict=True)}
    return overfitting_probability(BLOCKS, lambda half: known[half.tobytes()])


def daily_losses(val: Validation, logits: np.ndarray) -> np.ndarray:
    """Return a trial's log loss of each day after calibration, mean over seeds, float64 (D,); 0 of a day without a sample."""
    loss = np.mean([sample_losses(val, row) for row in logits], axis=0)
    judged = val.half >= 0
    size = np.bincount(val.trades.days, weights=judged)
    return np.bincount(val.trades.days, weights=loss) / np.maximum(size, 1)


def superior_to_first(losses: np.ndarray, *, draws: int, seed: int) -> float | None:
    """Return the p-value of the hypothesis that no other row of `losses`, (trials, D), has a lower mean than the first."""
    from arch.bootstrap import SPA

    others = losses[1:][np.any(losses[1:] != losses[0], axis=1)]
    if not len(others):
        return None
    test = SPA(losses[0], others.T, block_size=block_length(losses.shape[1]), reps=draws, bootstrap="circular", seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])
