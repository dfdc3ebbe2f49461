"""Flatten what was found over folds into the rows and metrics that tools read."""

from typing import Any

from judge.names import Roster
from judge.walk_forward_result import ModelOverFolds, WalkForward


def score_rows(result: WalkForward, roster: Roster) -> list[dict[str, Any]]:
    """Return the rows of plots/score_by_fold.csv: a row a model and fold, models in the roster's order; None where undefined.

    Scores are means over seeds, all on test but the first; test_f1_error is the standard error of test_f1 within the fold.
    """
    rows = []
    for name, label in roster.labels.items():
        model = result.models[name]
        for number, fold in enumerate(result.folds):
            rows.append(
                {
                    "model": label,
                    "fold": fold.name,
                    "val_f1_cross_fitted": model.val_f1.by_fold[number],
                    "test_f1": model.f1.by_fold[number],
                    "test_f1_error": model.f1.errors[number],
                    "test_pr_auc": model.pr_auc.by_fold[number],
                    "test_direction_auc": model.direction_auc.by_fold[number],
                    "test_return_per_day_net": model.return_per_day.by_fold[number],
                }
            )
    return rows


def flat_metrics(model: ModelOverFolds) -> dict[str, float | None]:
    """Return the content of metrics/<model>.json; keys of metrics/test/<model>.json mean the same, means over seeds.

    Keys that have one with _std_over_folds beside them are means over folds, each counted once; the others are of the test
    periods joined. None where a figure is undefined, as the standard deviation of a single fold.
    """
    track, money = model.track, model.track.money
    over_folds = {
        "val_f1_cross_fitted": model.val_f1,
        "test_f1_score_positive_class": model.f1,
        "test_pr_auc": model.pr_auc,
        "test_direction_auc": model.direction_auc,
        "test_return_per_day_net": model.return_per_day,
    }
    metrics: dict[str, float | None] = {}
    for key, figure in over_folds.items():
        metrics |= {key: figure.mean, f"{key.removesuffix('_score_positive_class')}_std_over_folds": figure.std}
    metrics |= {f"test_{key}": getattr(track, key) for key in ("roc_auc", "precision", "recall", "brier_skill")}
    return metrics | {f"test_{key}": money[key] for key in ("trades", "mean_return_net", "total_return_net")}
