"""What evaluate measures and compare reads: the content of ``metrics/evaluate.json``, typed.

Fields stand in the order of the file's keys. A list over seeds has an item a seed, in the order of `Judged.seeds`.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.files import read_json, write_json
from judge.money import Performance

EVALUATION = Path("metrics/evaluate.json")
PREDICTIONS = Path("data/predictions")
KEYS = {"f1_at_half": "f1_at_0.5", "precision_at_half": "precision_at_0.5", "recall_at_half": "recall_at_0.5"}  # of the file


def predictions_path(model: str, split: str) -> Path:
    """Name the array of a model's scores on one split, float64 (seeds, N)."""
    return PREDICTIONS / f"{model}_{split}.npy"


@dataclasses.dataclass(frozen=True)
class SplitMetrics:
    """How well one model and seed did on one split.

    precision, recall, f1_score_positive_class and tp, fp, fn, tn: of the positive class, at the threshold chosen on validation;
    f1_at_half and so on: at 0.5.
    pr_auc: average precision. log_loss: in nats.
    expected_calibration_error_scaled: after temperature scaling.
    positive_share: of the samples; the PR AUC of scores that know nothing.
    """

    f1_score_positive_class: float
    precision: float
    recall: float
    pr_auc: float
    roc_auc: float
    brier_score: float
    log_loss: float
    expected_calibration_error: float
    f1_at_half: float
    precision_at_half: float
    recall_at_half: float
    expected_calibration_error_scaled: float
    positive_share: float
    tp: int
    fp: int
    fn: int
    tn: int
    money: Performance


@dataclasses.dataclass(frozen=True)
class GroupMetrics:
    """How well one model and seed did on one group of test samples, such as an asset or a month.

    f1: None where the group has no positive. roc_auc: None where it has one class only.
    """

    samples: int
    positive_share: float
    f1: float | None
    roc_auc: float | None


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """How well the mean of all seeds' scores did, at a threshold of its own that was chosen on validation."""

    threshold: float
    val: SplitMetrics
    test: SplitMetrics


@dataclasses.dataclass(frozen=True)
class Judged:
    """How well one model did.

    seeds: [None] for a reference, which has none.
    best_seed: the one with the highest validation F1.
    thresholds, temperatures: of each seed, chosen on validation.
    val, test: metrics of each seed.
    by_asset, by_month: metrics of each seed on test, by symbol and by month (YYYY-MM).
    """

    seeds: list[int | None]
    best_seed: int | None
    thresholds: list[float]
    temperatures: list[float]
    val: list[SplitMetrics]
    test: list[SplitMetrics]
    ensemble: Ensemble
    by_asset: list[dict[str, GroupMetrics]]
    by_month: list[dict[str, GroupMetrics]]

    @property
    def best(self) -> int:
        """Return the position of the best seed in the lists over seeds."""
        return self.seeds.index(self.best_seed)

    def on(self, split: str) -> list[SplitMetrics]:
        """Return the metrics of each seed on split ``val`` or ``test``."""
        return {"val": self.val, "test": self.test}[split]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How well every model did.

    break_even_precision: at which trades that end at a barrier earn nothing.
    cost_per_trade: of a round trip, share of the entry price.
    one_column: the feature that the reference of that name uses.
    models: by name, in the order they are shown.
    """

    break_even_precision: float
    cost_per_trade: float
    one_column: str
    models: dict[str, Judged]

    def write(self, path: Path = EVALUATION) -> None:
        """Write the file that `read_evaluation` reads."""
        write_json(path, _to_json(self))


def read_evaluation(path: Path = EVALUATION) -> Evaluation:
    """Read what `Evaluation.write` wrote.

    Raises:
        CampaignError: the file is missing, damaged or lacks a field.
    """
    content = read_json(path)
    return Evaluation(
        break_even_precision=content["break_even_precision"],
        cost_per_trade=content["cost_per_trade"],
        one_column=content["one_column"],
        models={name: _read_judged(model) for name, model in content["models"].items()},
    )


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {KEYS.get(field.name, field.name): _to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, list) else value


def _read_judged(content: Mapping[str, Any]) -> Judged:
    ensemble = content["ensemble"]
    return Judged(
        seeds=content["seeds"],
        best_seed=content["best_seed"],
        thresholds=content["thresholds"],
        temperatures=content["temperatures"],
        val=[_read_split_metrics(seed) for seed in content["val"]],
        test=[_read_split_metrics(seed) for seed in content["test"]],
        ensemble=Ensemble(ensemble["threshold"], _read_split_metrics(ensemble["val"]), _read_split_metrics(ensemble["test"])),
        by_asset=[_read_groups(seed) for seed in content["by_asset"]],
        by_month=[_read_groups(seed) for seed in content["by_month"]],
    )


def _read_split_metrics(content: Mapping[str, Any]) -> SplitMetrics:
    return SplitMetrics(**_fields(SplitMetrics, content) | {"money": Performance(**_fields(Performance, content["money"]))})


def _read_groups(content: Mapping[str, Mapping[str, Any]]) -> dict[str, GroupMetrics]:
    return {group: GroupMetrics(**_fields(GroupMetrics, metrics)) for group, metrics in content.items()}


def _fields(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """Look up each field of the dataclass `kind` by its key in the file."""
    return {field.name: content[KEYS.get(field.name, field.name)] for field in dataclasses.fields(kind)}
