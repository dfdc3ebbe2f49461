"""Judge a model by its scores: thresholds and the best seed are chosen on validation, test only reports.

Shapes: S seeds, N samples of a split.
"""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from core.metrics import Ranking, brier_score, confusion, f1_precision_recall, log_loss
from judge.calibration import Calibration, calibration_curve, expected_calibration_error
from judge.cross_fitting import cross_fit
from judge.direction import direction_auc
from judge.evaluation import Ensemble, GroupMetrics, Judged, SplitMetrics
from judge.money import Trades

CURVE_POINTS = 200


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A model's scores of every sample of validation and test.

    seeds: those it was trained with; [None] for a reference, which has none.
    thresholds: of each seed, the best for F1 on validation.
    val, test: probabilities, float64 (S, N).
    val_halves: those for cross-fitting, float64 (S, 2, N); see `judge.cross_fitting.cross_fit`.
    """

    seeds: list[int | None]
    thresholds: list[float]
    val: np.ndarray
    test: np.ndarray
    val_halves: np.ndarray


@dataclasses.dataclass(frozen=True)
class Choices:
    """What was chosen on validation for scores of one model and seed.

    threshold: the best for F1. money_threshold: the best for money, None where no trade is best.
    base_rate: share of positives.
    """

    threshold: float
    money_threshold: float | None
    calibration: Calibration
    base_rate: float

    @classmethod
    def of(cls, val: Trades, scores: np.ndarray, threshold: float, min_trades: int) -> "Choices":
        """Choose what is not chosen yet, from the scores of validation, float64 (N,)."""
        return cls(
            threshold=threshold,
            money_threshold=val.choose_threshold(scores, threshold, min_trades),
            calibration=Calibration.fit(val.y, scores),
            base_rate=float(val.y.mean()),
        )


@dataclasses.dataclass(frozen=True)
class Curves:
    """Points of one model and seed on test, as the rows of ``plots/<kind>_curves.csv`` without the model."""

    pr: list[dict[str, float]]
    roc: list[dict[str, float]]
    calibration: list[dict[str, float]]
    threshold: list[dict[str, float]]


def judge_model(
    predictions: Predictions, trades: Mapping[str, Trades], half: np.ndarray, symbols: Sequence[str], min_trades: int
) -> Judged:
    """Judge one model: each seed, the mean of their scores, and each seed by asset and by month.

    Args:
        predictions: of the samples in `trades`.
        trades: of ``val`` and ``test``.
        half: of validation, int8 (N,), as `core.cross_fitting.halves` returns it.
        symbols: of the assets, by asset id.
        min_trades: that a threshold for money has to have on validation.
    """
    val, test = trades["val"], trades["test"]
    chosen = [
        Choices.of(val, scores, threshold, min_trades)
        for scores, threshold in zip(predictions.val, predictions.thresholds, strict=True)
    ]
    on_val, on_test = (
        [measure(of_split, *seed) for seed in zip(scores, chosen, strict=True)]
        for of_split, scores in ((val, predictions.val), (test, predictions.test))
    )
    months = test.timestamps.astype("datetime64[M]").astype(str)
    by_asset, by_month = (
        [measure_groups(test.y, *seed, of) for seed in zip(predictions.test, predictions.thresholds, strict=True)]
        for of in (np.array(symbols)[test.asset_ids], months)
    )
    return Judged(
        seeds=predictions.seeds,
        best_seed=predictions.seeds[int(np.argmax([metrics.f1_score_positive_class for metrics in on_val]))],
        thresholds=predictions.thresholds,
        money_thresholds=[own.money_threshold for own in chosen],
        calibrations=[own.calibration for own in chosen],
        cross_fitted=[cross_fit(val.y, scores, half) for scores in predictions.val_halves],
        val=on_val,
        test=on_test,
        ensemble=judge_ensemble(predictions, trades, min_trades),
        by_asset=by_asset,
        by_month=by_month,
    )


def judge_ensemble(predictions: Predictions, trades: Mapping[str, Trades], min_trades: int) -> Ensemble:
    """Judge the mean of all seeds' scores; arguments as in `judge_model`."""
    val, test = predictions.val.mean(axis=0), predictions.test.mean(axis=0)
    chosen = Choices.of(trades["val"], val, Ranking.of(trades["val"].y, val).best_threshold(), min_trades)
    return Ensemble(
        threshold=chosen.threshold,
        money_threshold=chosen.money_threshold,
        calibration=chosen.calibration,
        val=measure(trades["val"], val, chosen),
        test=measure(trades["test"], test, chosen),
    )


def measure(trades: Trades, scores: np.ndarray, chosen: Choices) -> SplitMetrics:
    """Measure one model and seed on one split.

    Args:
        trades: of the split.
        scores: float64 (N,).
        chosen: on validation.
    """
    y = trades.y
    ranking, calibrated = Ranking.of(y, scores), chosen.calibration.apply(scores)
    f1, precision, recall = f1_precision_recall(y, scores, chosen.threshold)
    f1_at_half, precision_at_half, recall_at_half = f1_precision_recall(y, scores, 0.5)
    by_base_rate = brier_score(y, np.full(len(y), chosen.base_rate))
    never = np.zeros(len(y), bool)
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
        direction_auc=direction_auc(scores, y, trades.mirrored),
        calibrated_brier_score=brier_score(y, calibrated),
        calibrated_log_loss=log_loss(y, calibrated),
        calibrated_expected_calibration_error=expected_calibration_error(y, calibrated),
        brier_skill=1 - brier_score(y, calibrated) / by_base_rate if by_base_rate > 0 else None,
        positive_share=float(y.mean()),
        **confusion(y, scores, chosen.threshold)._asdict(),
        money=trades.performance(never if chosen.money_threshold is None else scores >= chosen.money_threshold),
        money_at_f1=trades.performance(scores >= chosen.threshold),
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
    """Pick the metrics worth reading first, means over seeds; every model has the same keys, those of metrics/test.

    Figures of money are those at the threshold chosen for money. None where a seed has none.
    """
    val, test = judged.val, judged.test
    of_test = ("pr_auc", "roc_auc", "direction_auc", "precision", "recall", "brier_score", "brier_skill")
    of_money = ("trades", "mean_return_net", "total_return_net")
    return {
        "val_f1_cross_fitted": mean_over_seeds(seed.f1 for seed in judged.cross_fitted),
        "val_f1_score_positive_class": mean_over_seeds(seed.f1_score_positive_class for seed in val),
        "test_f1_score_positive_class": mean_over_seeds(seed.f1_score_positive_class for seed in test),
        "test_f1_std_over_seeds": std_over_seeds([seed.f1_score_positive_class for seed in test]),
        "val_pr_auc": mean_over_seeds(seed.pr_auc for seed in val),
        **{f"test_{key}": mean_over_seeds(getattr(seed, key) for seed in test) for key in of_test},
        **{f"test_{key}": mean_over_seeds(getattr(seed.money, key) for seed in test) for key in of_money},
    }


def mean_over_seeds(values: Iterable[float | None]) -> float | None:
    """Return the mean; None where one of `values` is None."""
    values = list(values)
    return None if any(value is None for value in values) else statistics.fmean(values)


def std_over_seeds(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation; None for one value."""
    return statistics.stdev(values) if len(values) > 1 else None


def compute_curves(trades: Trades, scores: np.ndarray) -> Curves:
    """Compute the PR, ROC, calibration and threshold curves of one model and seed; arguments as in `measure`."""
    ranking = Ranking.of(trades.y, scores)
    recall, precision = ranking.pr_curve(CURVE_POINTS)
    false_positive_rate, true_positive_rate = ranking.roc_curve(CURVE_POINTS)
    return Curves(
        pr=[{"recall": x, "precision": y} for x, y in zip(recall.tolist(), precision.tolist(), strict=True)],
        roc=[{"fpr": x, "tpr": y} for x, y in zip(false_positive_rate.tolist(), true_positive_rate.tolist(), strict=True)],
        calibration=[point._asdict() for point in calibration_curve(trades.y, scores)],
        threshold=trades.threshold_curve(scores),
    )
