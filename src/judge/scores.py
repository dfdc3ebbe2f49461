"""Judge a model by its scores: thresholds and the best seed are chosen on validation, test only reports.

Shapes: S seeds, N samples of a split.
"""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from core.metrics import Ranking, brier_score, confusion, f1_precision_recall, log_loss
from judge.calibration import apply_temperature, calibration_curve, expected_calibration_error, fit_temperature
from judge.evaluation import Ensemble, GroupMetrics, Judged, SplitMetrics
from judge.money import Trades

CURVE_POINTS = 200
THRESHOLD_POINTS = 60


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A model's scores of every sample of validation and test.

    seeds: those it was trained with; [None] for a reference, which has none.
    thresholds: of each seed, chosen on validation.
    val, test: probabilities, float64 (S, N).
    """

    seeds: list[int | None]
    thresholds: list[float]
    val: np.ndarray
    test: np.ndarray


@dataclasses.dataclass(frozen=True)
class Curves:
    """Points of one model and seed on test, as the rows of ``plots/<kind>_curves.csv`` without the model."""

    pr: list[dict[str, float]]
    roc: list[dict[str, float]]
    calibration: list[dict[str, float]]
    threshold: list[dict[str, float]]


def judge_model(predictions: Predictions, trades: Mapping[str, Trades], symbols: Sequence[str], cost: float) -> Judged:
    """Judge one model: each seed, the mean of their scores, and each seed by asset and by month.

    Args:
        predictions: of the samples in `trades`.
        trades: of ``val`` and ``test``.
        symbols: of the assets, by asset id.
        cost: of a round trip, share of the entry price.
    """
    val, test = trades["val"], trades["test"]
    thresholds = predictions.thresholds
    temperatures = [fit_temperature(val.y, scores) for scores in predictions.val]
    seeds = list(zip(predictions.val, predictions.test, thresholds, temperatures, strict=True))
    on_val = [measure(val, scores, threshold, temperature, cost) for scores, _, threshold, temperature in seeds]
    months = test.timestamps.astype("datetime64[M]").astype(str)
    return Judged(
        seeds=predictions.seeds,
        best_seed=predictions.seeds[int(np.argmax([metrics.f1_score_positive_class for metrics in on_val]))],
        thresholds=thresholds,
        temperatures=temperatures,
        val=on_val,
        test=[measure(test, scores, threshold, temperature, cost) for _, scores, threshold, temperature in seeds],
        ensemble=judge_ensemble(predictions, trades, cost),
        by_asset=[
            measure_groups(test.y, scores, threshold, np.array(symbols)[test.asset_ids]) for _, scores, threshold, _ in seeds
        ],
        by_month=[measure_groups(test.y, scores, threshold, months) for _, scores, threshold, _ in seeds],
    )


def judge_ensemble(predictions: Predictions, trades: Mapping[str, Trades], cost: float) -> Ensemble:
    """Judge the mean of all seeds' scores; arguments as in `judge_model`."""
    val, test = predictions.val.mean(axis=0), predictions.test.mean(axis=0)
    threshold = Ranking.of(trades["val"].y, val).best_threshold()
    temperature = fit_temperature(trades["val"].y, val)
    return Ensemble(
        threshold=threshold,
        val=measure(trades["val"], val, threshold, temperature, cost),
        test=measure(trades["test"], test, threshold, temperature, cost),
    )


def measure(trades: Trades, scores: np.ndarray, threshold: float, temperature: float, cost: float) -> SplitMetrics:
    """Measure one model and seed on one split.

    Args:
        trades: of the split.
        scores: float64 (N,).
        threshold: from which on a sample is predicted positive.
        temperature: fitted on validation; only `expected_calibration_error_scaled` depends on it.
        cost: of a round trip, share of the entry price.
    """
    y = trades.y
    ranking = Ranking.of(y, scores)
    f1, precision, recall = f1_precision_recall(y, scores, threshold)
    f1_at_half, precision_at_half, recall_at_half = f1_precision_recall(y, scores, 0.5)
    return SplitMetrics(
        f1_score_positive_class=f1,
        precision=precision,
        recall=recall,
        pr_auc=ranking.pr_auc(),
        roc_auc=ranking.roc_auc(),
        brier_score=brier_score(y, scores),
        log_loss=log_loss(y, scores),
        expected_calibration_error=expected_calibration_error(y, scores),
        f1_at_half=f1_at_half,
        precision_at_half=precision_at_half,
        recall_at_half=recall_at_half,
        expected_calibration_error_scaled=expected_calibration_error(y, apply_temperature(scores, temperature)),
        positive_share=float(y.mean()),
        **confusion(y, scores, threshold)._asdict(),
        money=trades.performance(scores >= threshold, cost),
    )


def measure_groups(y: np.ndarray, scores: np.ndarray, threshold: float, groups: np.ndarray) -> dict[str, GroupMetrics]:
    """Measure one model and seed on each group of samples; `groups` (N,) is text, such as an asset or a month."""
    return {str(group): _measure_group(y[groups == group], scores[groups == group], threshold) for group in np.unique(groups)}


def _measure_group(y: np.ndarray, scores: np.ndarray, threshold: float) -> GroupMetrics:
    return GroupMetrics(
        samples=len(y),
        positive_share=float(y.mean()),
        f1=f1_precision_recall(y, scores, threshold)[0] if y.max() > 0 else None,
        roc_auc=Ranking.of(y, scores).roc_auc() if y.min() < y.max() else None,
    )


def leaderboard_row(judged: Judged) -> dict[str, float | None]:
    """Pick the metrics worth reading first, means over seeds; every model has the same keys, those of metrics/test."""
    val, test = judged.val, judged.test
    hit_rate = mean_over_seeds(seed.money.hit_rate for seed in test)
    break_even = mean_over_seeds(seed.money.break_even_hit_rate for seed in test)
    return {
        "val_f1_score_positive_class": mean_over_seeds(seed.f1_score_positive_class for seed in val),
        "test_f1_score_positive_class": mean_over_seeds(seed.f1_score_positive_class for seed in test),
        "test_f1_std_over_seeds": std_over_seeds([seed.f1_score_positive_class for seed in test]),
        "val_pr_auc": mean_over_seeds(seed.pr_auc for seed in val),
        "test_pr_auc": mean_over_seeds(seed.pr_auc for seed in test),
        "test_roc_auc": mean_over_seeds(seed.roc_auc for seed in test),
        "test_precision": mean_over_seeds(seed.precision for seed in test),
        "test_recall": mean_over_seeds(seed.recall for seed in test),
        "test_brier_score": mean_over_seeds(seed.brier_score for seed in test),
        "test_f1_at_0.5": mean_over_seeds(seed.f1_at_half for seed in test),
        "test_trades": mean_over_seeds(seed.money.trades for seed in test),
        "test_mean_return_net": mean_over_seeds(seed.money.mean_return_net for seed in test),
        "test_hit_rate_above_break_even": None if hit_rate is None or break_even is None else hit_rate - break_even,
    }


def mean_over_seeds(values: Iterable[float | None]) -> float | None:
    """Return the mean; None where one of `values` is None."""
    values = list(values)
    return None if any(value is None for value in values) else statistics.fmean(values)


def std_over_seeds(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation; None for one value."""
    return statistics.stdev(values) if len(values) > 1 else None


def compute_curves(trades: Trades, scores: np.ndarray, cost: float) -> Curves:
    """Compute the PR, ROC, calibration and threshold curves of one model and seed; arguments as in `measure`."""
    ranking = Ranking.of(trades.y, scores)
    recall, precision = ranking.pr_curve(CURVE_POINTS)
    false_positive_rate, true_positive_rate = ranking.roc_curve(CURVE_POINTS)
    return Curves(
        pr=[{"recall": x, "precision": y} for x, y in zip(recall.tolist(), precision.tolist(), strict=True)],
        roc=[{"fpr": x, "tpr": y} for x, y in zip(false_positive_rate.tolist(), true_positive_rate.tolist(), strict=True)],
        calibration=[point._asdict() for point in calibration_curve(trades.y, scores)],
        threshold=trades.threshold_curve(scores, cost, THRESHOLD_POINTS),
    )
