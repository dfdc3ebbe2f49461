"""What the train stages recorded of each architecture, as far as the comparison needs it."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class SettingsRecord:
    """What a section of params.yaml said when networks were trained: keys with plain values, in their order."""

    section: str
    values: tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class TrainRecord:
    """What compare needs of an architecture's metrics/train/<name>.json.

    train_f1: mean over seeds. seeds: each one's summary. val_f1_by_epoch: of each seed, from its first epoch on.
    trained_with: precision, torch and processor.
    loop, network: section `train`, without the precision, which `trained_with` has, and the architecture's own.
    """

    train_f1: float
    seeds: list[dict[str, Any]]
    val_f1_by_epoch: list[list[float]]
    trained_with: dict[str, str]
    loop: SettingsRecord
    network: SettingsRecord

    @classmethod
    def from_json(cls, name: str, record: Mapping[str, Any], history: Iterable[Mapping[str, Any]]) -> "TrainRecord":
        """Pick what is needed of the record of architecture `name`.

        Args:
            history: its rows of plots/learning_curves.csv, in order of seed and epoch.
        """
        by_seed: dict[int, list[float]] = {seed["seed"]: [] for seed in record["seeds"]}
        for row in history:
            by_seed[int(row["seed"])].append(float(row["val_f1"]))
        of_loop = ((key, value) for key, value in record["settings"].items() if key != "precision")
        return cls(
            train_f1=record["train_f1_score_positive_class"],
            seeds=record["seeds"],
            val_f1_by_epoch=list(by_seed.values()),
            trained_with={"precision": record["precision"]} | record["environment"],
            loop=SettingsRecord("train", tuple(of_loop)),
            network=SettingsRecord(name, tuple(record["architecture"].items())),
        )

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


def list_settings(trained: Iterable[TrainRecord]) -> list[SettingsRecord]:
    """List what networks were trained with: `train`, as far as they have it in common, then the section of each."""
    trained = list(trained)
    differing = differing_settings([dict(record.loop.values) for record in trained])
    common = tuple((key, value) for key, value in trained[0].loop.values if key not in differing)
    own = [tuple((f"train.{key}", value) for key, value in record.loop.values if key in differing) for record in trained]
    sections = (record.network for record in trained)
    return [
        SettingsRecord(trained[0].loop.section, common),
        *(SettingsRecord(part.section, part.values + loop) for part, loop in zip(sections, own, strict=True)),
    ]


def differing_settings(loops: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the settings of the loop in which networks differ, from those of each."""
    first, *others = loops
    return [key for key, value in first.items() if any(other[key] != value for other in others)]
