"""Say where the files of the campaign lie, and those of a fold, which has the same ones."""

import dataclasses
from pathlib import Path

from core.pipeline import MODELS
from core.splits import DATA


@dataclasses.dataclass(frozen=True)
class Places:
    """Where what is made of one set of splits lies; S seeds (1 of a reference), N samples.

    data: directory of the arrays and their metadata.json.
    models, fold: the models of `name` lie in models/name, those of a fold in models/name/fold.
    predictions: directory of the scores.
    evaluation: file of `judge.evaluation.Evaluation`.
    """

    data: Path
    models: Path
    predictions: Path
    evaluation: Path
    fold: str = ""

    def models_of(self, name: str) -> Path:
        """Name the directory of an architecture's models, or of the references."""
        return self.models / name / self.fold

    def predictions_of(self, model: str, split: str) -> Path:
        """Name the array of a model's scores on one split, float64 (S, N)."""
        return self.predictions / f"{model}_{split}.npy"

    def half_predictions_of(self, model: str) -> Path:
        """Name the array of a model's scores of validation for cross-fitting, float64 (S, 2, N)."""
        return self.predictions / f"{model}_val_halves.npy"

    def train_record_of(self, name: str) -> Path:
        """Name the file of how an architecture was trained, and how that went."""
        return self.models_of(name) / "train.json" if self.fold else Path("metrics/train") / f"{name}.json"

    def training_command(self, name: str) -> str:
        """Return the command that trains an architecture anew."""
        return f"cd walk_forward; dvc repro --force train_folds@{name}" if self.fold else f"dvc repro --force train_{name}"

    @property
    def choices(self) -> Path:
        """The file of what was chosen on validation, for whoever uses the scores: `judge.evaluation.Judged.choices` by model."""
        return self.predictions / "choices.json"


CAMPAIGN = Places(DATA, MODELS, Path("data/predictions"), Path("metrics/evaluate.json"))
