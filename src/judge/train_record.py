"""What the train stages recorded of each architecture, as far as the comparison needs it."""

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class TrainRecord:
    """What compare needs of an architecture's metrics/train/<name>.json.

    train_f1: mean over seeds. val_f1_std: standard deviation of validation F1 over seeds.
    seeds: each one's summary. trained_with: precision, torch and processor.
    """

    train_f1: float
    val_f1_std: float
    seeds: list[dict[str, Any]]
    trained_with: dict[str, str]

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "TrainRecord":
        """Pick what is needed of a record."""
        return cls(
            train_f1=record["train_f1_score_positive_class"],
            val_f1_std=record["val_f1_score_positive_class_std"],
            seeds=record["seeds"],
            trained_with={"precision": record["precision"]} | record["environment"],
        )

    @property
    def val_f1_spread(self) -> float | None:
        """The standard deviation of validation F1 over seeds; None of a single one, which says nothing of others."""
        return self.val_f1_std if len(self.seeds) > 1 else None

    @property
    def unconverged_seeds(self) -> list[int]:
        """The seeds that trained to the last epoch without stopping early."""
        return [seed["seed"] for seed in self.seeds if not seed["stopped_early"]]

    def convergence(self) -> dict[str, Any]:
        """Say when each seed was best and ended, and how F1 moved, as means over seeds."""
        return {
            "best_epochs": [seed["best_epoch"] for seed in self.seeds],
            "epochs": [seed["epochs"] for seed in self.seeds],
            "train_f1": statistics.fmean(seed["train_f1_score_positive_class"] for seed in self.seeds),
            "val_f1": statistics.fmean(seed["val_f1_score_positive_class"] for seed in self.seeds),
            "val_f1_range_last_10_epochs": statistics.fmean(seed["val_f1_spread_last_10_epochs"] for seed in self.seeds),
        }
