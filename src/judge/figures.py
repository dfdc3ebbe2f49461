"""Work out a model's figures with their bootstrap draws: F1 on validation and test, PR AUC, direction, return, hit rate.

Shapes: S seeds, N samples of a split, D days, W draws.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from core.metrics import Ranking, clip
from judge.calibration import Calibration
from judge.direction import direction_auc, direction_draws
from judge.family import Figure
from judge.money import Trades, hit_margin_draws
from judge.threshold_draws import Choice, DayCalls, Scored, candidate_thresholds, cross_fitted_choices, drawn_f1
from judge.uncertainty import DrawnDays


@dataclasses.dataclass(frozen=True)
class ModelScores:
    """A model's scores, float64; a row a seed.

    val: (S, N). test: (S, N of test).
    val_halves: (S, 2, N); those of row h come from the epoch that was best on half h of validation.
    """

    val: np.ndarray
    val_halves: np.ndarray
    test: np.ndarray


@dataclasses.dataclass(frozen=True)
class Days:
    """The samples of validation and test, and bootstrap draws of their days, the same for every model.

    halves: int8 (N,), the half of each sample of validation (`core.cross_fitting.halves`).
    """

    val: Trades
    test: Trades
    halves: np.ndarray
    val_drawn: DrawnDays
    test_drawn: DrawnDays

    @classmethod
    def of(cls, val: Trades, test: Trades, halves: np.ndarray, block_days: int | None, draws: int, seed: int) -> "Days":
        """Draw the days of each half of validation, and of test."""
        val_days, test_days = int(val.days.max()) + 1, int(test.days.max()) + 1
        of_halves = [val_days // 2, val_days - val_days // 2]
        return cls(
            val,
            test,
            halves,
            val_drawn=DrawnDays.of(of_halves, block_days, draws, seed),
            test_drawn=DrawnDays.of([test_days], block_days, draws, seed + 1),
        )


def cross_fitted_f1(scores: ModelScores, by_seed: Sequence[float], days: Days, *, is_network: bool) -> Figure:
    """Draw the cross-fitted F1 on validation; each half's threshold is chosen on the other half of the same draw.

    Args:
        by_seed: the figure of each seed on all days.
    """
    samples, weights = _scored(days.val, scores.val[0], days.val_drawn), days.val_drawn.weights

    def draw(of_seed: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return drawn_f1(cross_fitted_choices(samples, days.halves, of_seed), weights, weights)

    return Figure(by_seed, _mean_deviation(draw, scores.val_halves, weights), is_network)


def test_f1(scores: ModelScores, by_seed: Sequence[float], days: Days, *, is_network: bool) -> Figure:
    """Draw F1 on test; the threshold is chosen on the draw's days of validation.

    Args:
        by_seed: the figure of each seed on all days.
    """
    val_weights, test_weights = days.val_drawn.weights, days.test_drawn.weights
    deviations = []
    for val, test in zip(scores.val, scores.test, strict=True):
        choice = [Choice.of(_scored(days.val, val, days.val_drawn), _scored(days.test, test, days.test_drawn))]
        undrawn = drawn_f1(choice, np.ones((1, val_weights.shape[1])), np.ones((1, test_weights.shape[1])))
        deviations.append(drawn_f1(choice, val_weights, test_weights) - undrawn)
    return Figure(by_seed, np.mean(deviations, axis=0), is_network)


def pr_auc(scores: ModelScores, days: Days, *, is_network: bool) -> Figure | None:
    """Draw the average precision on test; None where test has no positive.

    The draws step through the thresholds of `candidate_thresholds`; one without a positive has that of all days.
    """
    weights = days.test_drawn.weights
    if not days.test.y.any():
        return None

    def draw(row: np.ndarray, weights: np.ndarray) -> np.ndarray:
        calls = DayCalls.of(_scored(days.test, row, days.test_drawn), candidate_thresholds(row))
        tp, called, positives = weights @ calls.tp, weights @ calls.called, weights @ calls.positives
        area = (np.diff(tp, prepend=0) * tp / np.maximum(called, 1)).sum(axis=1)
        return np.where(positives > 0, area / np.maximum(positives, 1), np.nan)

    deviations = np.mean([draw(row, weights) - draw(row, np.ones((1, weights.shape[1]))) for row in scores.test], axis=0)
    by_seed = [Ranking.of(days.test.y, row).pr_auc() for row in scores.test]
    return Figure(by_seed, np.nan_to_num(deviations, nan=0.0), is_network)


def log_loss(scores: ModelScores, calibrations: Sequence[Calibration], days: Days, *, is_network: bool) -> Figure:
    """Draw the log loss on test after the calibration of each seed, below zero, so that higher is better."""
    weights, test = days.test_drawn.weights, days.test
    size = np.bincount(test.days)
    daily = []
    for calibration, row in zip(calibrations, scores.test, strict=True):
        p = clip(calibration.apply(row))
        daily.append(np.bincount(test.days, weights=np.where(test.y > 0, np.log(p), np.log1p(-p))))
    drawn = np.einsum("wd,d->w", weights, np.mean(daily, axis=0)) / np.einsum("wd,d->w", weights, size.astype(float))
    by_seed = [float(own.sum() / size.sum()) for own in daily]
    return Figure(by_seed, drawn - np.mean(by_seed), is_network)


def above_coin(scores: ModelScores, days: Days, *, is_network: bool) -> Figure | None:
    """Draw the direction AUC on test less 0.5; None where test has no winner of one kind."""
    test, weights = days.test, days.test_drawn.weights
    by_seed = [direction_auc(row, test.y, test.mirrored) for row in scores.test]
    if any(auc is None for auc in by_seed):
        return None
    drawn = direction_draws(scores.test, test.y, test.mirrored, test.days, weights)
    return Figure([auc - 0.5 for auc in by_seed], drawn - np.mean(by_seed), is_network)


def daily_return(entered: np.ndarray, days: Days, *, is_network: bool) -> Figure:
    """Draw the mean return of the capital a day after costs, on test; `entered`: bool (S, N), the trades of each seed."""
    weights = days.test_drawn.weights
    daily = np.stack([days.test.daily_returns(row) for row in entered])
    drawn = np.einsum("wd,d->w", weights, daily.mean(axis=0)) / weights.sum(axis=1)  # the bits of a BLAS product depend on cores
    return Figure(daily.mean(axis=1).tolist(), drawn - daily.mean(), is_network)


def hit_margin(entered: np.ndarray, days: Days, *, is_network: bool) -> Figure | None:
    """Draw the hit rate less the break-even hit rate, on test; None where a seed's trades have no break-even.

    Args:
        entered: bool (S, N), the trades of each seed.
    """
    money = np.stack([days.test.day_money(row) for row in entered])
    by_seed = [hit_margin_draws(own[None], np.ones((1, days.test_drawn.days))) for own in money]
    if any(margin is None for margin in by_seed):
        return None
    drawn = hit_margin_draws(money, days.test_drawn.weights)
    means = [float(margin[0]) for margin in by_seed]
    return Figure(means, drawn - np.mean(means), is_network)


def _scored(trades: Trades, scores: np.ndarray, drawn: DrawnDays) -> Scored:
    return Scored(trades.y, scores, trades.days, drawn.days)


def _mean_deviation(draw: Callable[[np.ndarray, np.ndarray], np.ndarray], by_seed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Draw a figure of each seed, and return how the mean over seeds deviates from that on all days, (W,)."""
    everything = np.ones((1, weights.shape[1]))
    return np.mean([draw(of_seed, weights) - draw(of_seed, everything) for of_seed in by_seed], axis=0)
