"""Average over seeds what evaluate measured of each, as metrics/compare.json has it."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from judge.evaluation import GroupMetrics, SplitMetrics
from judge.money import Performance
from judge.scores import mean_over_seeds, std_over_seeds
from judge.uncertainty import Estimate

# key in metrics/compare.json: field of `SplitMetrics`
AVERAGED = {
    "pr_auc": "pr_auc",
    "roc_auc": "roc_auc",
    "precision": "precision",
    "recall": "recall",
    "f1_at_0.5": "f1_at_half",
    "precision_at_0.5": "precision_at_half",
    "recall_at_0.5": "recall_at_half",
    "brier_score": "brier_score",
    "log_loss": "log_loss",
    "expected_calibration_error": "expected_calibration_error",
    "expected_calibration_error_scaled": "expected_calibration_error_scaled",
}


def score_means(seeds: Sequence[SplitMetrics], ensemble_f1: float, f1: Estimate, confidence: float) -> dict[str, Any]:
    """Average one model's metrics on one split.

    Args:
        seeds: metrics of each seed.
        ensemble_f1: F1 of the scores averaged over seeds.
        f1: estimate of the mean F1, for its interval.

    Returns:
        f1 (mean, std, interval, by_seed), ensemble_f1, pr_auc_chance, the mean of each key of `AVERAGED`, and under std the
        standard deviation of each; None of a single seed.
    """
    by_seed = [metrics.f1_score_positive_class for metrics in seeds]
    values = {key: [getattr(metrics, field) for metrics in seeds] for key, field in AVERAGED.items()}
    low, high = f1.interval(confidence)
    return {
        "f1": {
            "mean": statistics.fmean(by_seed),
            "std": std_over_seeds(by_seed),
            "interval": [max(low, 0.0), min(high, 1.0)],
            "by_seed": by_seed,
        },
        "ensemble_f1": ensemble_f1,
        "pr_auc_chance": seeds[0].positive_share,
        **{key: statistics.fmean(own) for key, own in values.items()},
        "std": {key: std_over_seeds(own) for key, own in values.items()},
    }


def money_means(seeds: Sequence[Performance], daily_return: Estimate, confidence: float) -> dict[str, Any]:
    """Average the performance of one model's seeds, and add the interval of its daily return."""
    return _field_means(seeds) | {"return_per_day_interval": daily_return.interval(confidence)}


def group_means(seeds: Sequence[Mapping[str, GroupMetrics]]) -> dict[str, dict[str, float | None]]:
    """Average the tables by asset or by month; `seeds` has each one's metrics by group."""
    return {group: _field_means([table[group] for table in seeds]) for group in seeds[0]}


def _field_means(rows: Sequence[Performance | GroupMetrics]) -> dict[str, float | None]:
    """Average each field; None where a seed has none."""
    return {field.name: mean_over_seeds(getattr(row, field.name) for row in rows) for field in dataclasses.fields(rows[0])}
