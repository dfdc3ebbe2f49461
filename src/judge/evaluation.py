"""What evaluate measures and compare reads: the content of ``metrics/evaluate.json``, typed.

Fields stand in the order of the file's keys. A list over seeds has an item a seed, in the order of `Judged.seeds`.
"""

import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from core.files import read_json, write_json
from core.places import CAMPAIGN
from judge.calibration import Calibration
from judge.cross_fitting import CrossFitted
from judge.equity import Growth
from judge.money import Performance

KEYS = {"f1_at_half": "f1_at_0.5", "precision_at_half": "precision_at_0.5", "recall_at_half": "recall_at_0.5"}  # of the file

Content = TypeVar("Content")


@dataclasses.dataclass(frozen=True)
class SplitMetrics:
    """How well one model and seed did on one split.

    precision, recall, f1_score_positive_class and tp, fp, fn, tn: of the positive class, at the threshold chosen on validation;
    f1_at_half and so on: at 0.5.
    pr_auc: average precision. log_loss: in nats.
    direction_auc: see `judge.direction.direction_auc`.
    calibrated_…: after the calibration, which was fitted on validation.
    brier_skill: 1 less the calibrated Brier score as a share of that of validation's share of positives, told to every sample;
    None where that is 0.
    positive_share: of the samples; the PR AUC of scores that know nothing.
    money, money_at_f1: trades at the threshold chosen for money, and at that chosen for F1.
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
    direction_auc: float | None
    calibrated_brier_score: float
    calibrated_log_loss: float
    calibrated_expected_calibration_error: float
    brier_skill: float | None
    positive_share: float
    tp: int
    fp: int
    fn: int
    tn: int
    money: Performance
    money_at_f1: Performance


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
    """How well the mean of all seeds' scores did, at thresholds of its own that were chosen on validation."""

    threshold: float
    money_threshold: float | None
    calibration: Calibration
    val: SplitMetrics
    test: SplitMetrics


@dataclasses.dataclass(frozen=True)
class Judged:
    """How well one model did.

    seeds: [None] for a reference, which has none.
    best_seed: the one with the highest validation F1.
    thresholds: of each seed, the best for F1 on validation.
    money_thresholds: of each seed, the best for money on validation; None where no trade is best.
    calibrations: of each seed, fitted on validation.
    cross_fitted: of each seed, on validation.
    val, test: metrics of each seed.
    by_asset, by_month: metrics of each seed on test, by symbol and by month (YYYY-MM).
    """

    seeds: list[int | None]
    best_seed: int | None
    thresholds: list[float]
    money_thresholds: list[float | None]
    calibrations: list[Calibration]
    cross_fitted: list[CrossFitted]
    val: list[SplitMetrics]
    test: list[SplitMetrics]
    ensemble: Ensemble
    by_asset: list[dict[str, GroupMetrics]]
    by_month: list[dict[str, GroupMetrics]]

    @property
    def best(self) -> int:
        """Return the position of the best seed in the lists over seeds."""
        return self.seeds.index(self.best_seed)

    @property
    def choices(self) -> list[dict[str, Any]]:
        """Return what was chosen on validation for each seed: both thresholds, and the calibration."""
        chosen = zip(self.seeds, self.thresholds, self.money_thresholds, self.calibrations, strict=True)
        return [
            {"seed": seed, "threshold": f1, "money_threshold": money, "calibration": dataclasses.asdict(calibration)}
            for seed, f1, money, calibration in chosen
        ]

    def on(self, split: str) -> list[SplitMetrics]:
        """Return the metrics of each seed on split ``val`` or ``test``."""
        return {"val": self.val, "test": self.test}[split]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How well every model did.

    break_even_precision: at which trades that end at a barrier earn nothing; None where each has barriers of its own.
    cost_per_trade: of a round trip, share of the entry price: of every asset, or by symbol.
    one_column: the feature that the reference of that name uses.
    buy_and_hold: what holding all assets would have returned, by split.
    models: by name, in the order they are shown.
    data: content hash of the splits.
    """

    break_even_precision: float | None
    cost_per_trade: float | dict[str, float]
    one_column: str
    buy_and_hold: dict[str, Growth]
    models: dict[str, Judged]
    data: str

    @property
    def mean_cost(self) -> float:
        """Return the mean of `cost_per_trade` over assets."""
        costs = self.cost_per_trade
        return statistics.fmean(costs.values()) if isinstance(costs, dict) else costs

    def write(self, path: Path = CAMPAIGN.evaluation) -> None:
        """Write the file that `read_evaluation` reads."""
        write_json(path, _to_json(self))


def read_evaluation(path: Path = CAMPAIGN.evaluation) -> Evaluation:
    """Read what `Evaluation.write` wrote.

    Raises:
        CampaignError: the file is missing, damaged or lacks a field.
    """
    content = read_json(path)
    return Evaluation(
        break_even_precision=content["break_even_precision"],
        cost_per_trade=content["cost_per_trade"],
        one_column=content["one_column"],
        buy_and_hold={split: _read(Growth, growth) for split, growth in content["buy_and_hold"].items()},
        models={name: _read_judged(model) for name, model in content["models"].items()},
        data=content["data"],
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
        money_thresholds=content["money_thresholds"],
        calibrations=[_read(Calibration, seed) for seed in content["calibrations"]],
        cross_fitted=[_read(CrossFitted, seed) for seed in content["cross_fitted"]],
        val=[_read_split_metrics(seed) for seed in content["val"]],
        test=[_read_split_metrics(seed) for seed in content["test"]],
        ensemble=Ensemble(
            threshold=ensemble["threshold"],
            money_threshold=ensemble["money_threshold"],
            calibration=_read(Calibration, ensemble["calibration"]),
            val=_read_split_metrics(ensemble["val"]),
            test=_read_split_metrics(ensemble["test"]),
        ),
        by_asset=[_read_groups(seed) for seed in content["by_asset"]],
        by_month=[_read_groups(seed) for seed in content["by_month"]],
    )


def _read_split_metrics(content: Mapping[str, Any]) -> SplitMetrics:
    metrics = _read(SplitMetrics, content)
    performances = {key: _read(Performance, content[key]) for key in ("money", "money_at_f1")}
    return dataclasses.replace(metrics, **performances)


def _read_groups(content: Mapping[str, Mapping[str, Any]]) -> dict[str, GroupMetrics]:
    return {group: _read(GroupMetrics, metrics) for group, metrics in content.items()}


def _read(kind: type[Content], content: Mapping[str, Any]) -> Content:
    """Make a dataclass of what the file has under the key of each field."""
    return kind(**{field.name: content[KEYS.get(field.name, field.name)] for field in dataclasses.fields(kind)})
