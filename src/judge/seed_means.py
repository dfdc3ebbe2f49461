"""Average over seeds what evaluate measured of each, as metrics/compare.json has it."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from judge.evaluation import GroupMetrics, SplitMetrics
from judge.money import BreakEven, Performance
from judge.scores import mean_over_seeds, std_over_seeds

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
    "direction_auc": "direction_auc",
    "calibrated_brier_score": "calibrated_brier_score",
    "calibrated_log_loss": "calibrated_log_loss",
    "calibrated_expected_calibration_error": "calibrated_expected_calibration_error",
    "brier_skill": "brier_skill",
}


def score_means(seeds: Sequence[SplitMetrics], ensemble_f1: float) -> dict[str, Any]:
    """Average one model's metrics on one split.

    Args:
        seeds: metrics of each seed.
        ensemble_f1: F1 of the scores averaged over seeds.

    Returns:
        f1 as `describe` has it, ensemble_f1, pr_auc_chance, the mean of each key of `AVERAGED`, and under std the standard
        deviation of each; None of a single seed, and where a seed has none.
    """
    values = {key: [getattr(metrics, field) for metrics in seeds] for key, field in AVERAGED.items()}
    return {
        "f1": describe([metrics.f1_score_positive_class for metrics in seeds]),
        "ensemble_f1": ensemble_f1,
        "pr_auc_chance": seeds[0].positive_share,
        **{key: mean_over_seeds(own) for key, own in values.items()},
        "std": {key: None if None in own else std_over_seeds(own) for key, own in values.items()},
    }


def describe(by_seed: Sequence[float]) -> dict[str, Any]:
    """Describe a figure by its mean, its standard deviation over seeds (None of a single one), and that of each seed."""
    return {"mean": statistics.fmean(by_seed), "std": std_over_seeds(by_seed), "by_seed": list(by_seed)}


def money_means(seeds: Sequence[Performance]) -> dict[str, Any]:
    """Average the performance of one model's seeds."""
    return _field_means(seeds) | {"break_even_hit_rate": mean_break_even([seed.break_even_hit_rate for seed in seeds])}


def mean_break_even(values: Sequence[BreakEven]) -> BreakEven:
    """Average the break-even hit rates of the seeds; "any" or "none" where all are that, None where they are of several kinds."""
    if len(set(values)) == 1:
        return values[0]
    numbers = [value for value in values if isinstance(value, float)]
    return statistics.fmean(numbers) if len(numbers) == len(values) else None


def group_means(seeds: Sequence[Mapping[str, GroupMetrics]]) -> dict[str, dict[str, float | None]]:
    """Average the tables by asset or by month; `seeds` has each one's metrics by group."""
    return {group: _field_means([table[group] for table in seeds]) for group in seeds[0]}


def _field_means(rows: Sequence[Performance | GroupMetrics]) -> dict[str, float | None]:
    """Average each field; None where a seed has no number."""
    values = {field.name: [getattr(row, field.name) for row in rows] for field in dataclasses.fields(rows[0])}
    return {name: None if any(isinstance(value, str) for value in own) else mean_over_seeds(own) for name, own in values.items()}
