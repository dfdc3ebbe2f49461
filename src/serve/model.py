"""Read what scores new bars: a model's networks, what validation chose for it, and what its features were made with."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bars.labels import Barriers
from core.errors import CampaignError, format_value
from core.files import read_json, write_json
from core.pipeline import MODELS, read_architectures
from core.places import CAMPAIGN
from judge.calibration import Calibration
from learn.architecture import find_architecture
from learn.models import load_model

FIRST = "first"  # of the comparison's order
DESCRIPTION = "model.json"  # of a model that was copied to a directory of its own
SCALER = "scalers.joblib"  # is compared and never unpickled
COMPARISON = Path("metrics/compare.json")


@dataclasses.dataclass(frozen=True)
class Choices:
    """What was chosen on validation for a score: the mean over seeds, or one seed's.

    money_threshold: at which a trade is called; None: never.
    """

    money_threshold: float | None
    calibration: Calibration

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Choices":
        return cls(content["money_threshold"], Calibration(**content["calibration"]))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a row is made of bars, as the campaign's data were.

    features: F names. mean, scale: float64 (F,), of train. clip: scaled features are kept within.
    lookback: T, bars of a window. max_gap: hours; no window crosses a longer step. horizon: bars until a trade is closed.
    asset_ids: by symbol. simulated: whether the market is. test_from: when test begins, ISO text in UTC; the model has seen what
    lies before.
    """

    features: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    clip: float
    lookback: int
    max_gap: int
    horizon: int
    barriers: Barriers
    asset_ids: Mapping[str, int]
    simulated: bool
    test_from: str

    @classmethod
    def read(cls) -> "Recipe":
        """Read that of the campaign's data. Raises CampaignError where they are missing."""
        return cls.of(*(read_json(CAMPAIGN.data / f"{name}.json") for name in ("metadata", "asset_id_mapping")))

    @classmethod
    def of(cls, metadata: Mapping[str, Any], asset_ids: Mapping[str, int]) -> "Recipe":
        """Build from the content of metadata.json and asset_id_mapping.json."""
        scaler = metadata["scaler"]
        return cls(
            features=tuple(metadata["features"]),
            mean=np.array(scaler["mean"]),
            scale=np.array(scaler["scale"]),
            clip=scaler["clip"],
            lookback=metadata["lookback"],
            max_gap=metadata["max_gap_hours"],
            horizon=metadata["horizon"],
            barriers=Barriers(metadata["barrier"], metadata["profit"], metadata["stop"]),
            asset_ids=dict(asset_ids),
            simulated=metadata["simulated"],
            test_from=metadata["cuts"]["test"],
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self) | {name: getattr(self, name).tolist() for name in ("mean", "scale")}


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained architecture, or one of its seeds.

    label: for people. seed: None of all seeds together. files: of the networks.
    fingerprint: hash of networks, choices and recipe.
    worth_a_trade: whether the report calls it so.
    """

    name: str
    label: str
    seed: int | None
    files: Sequence[Path]
    choices: Choices
    recipe: Recipe
    fingerprint: str
    worth_a_trade: bool

    @property
    def title(self) -> str:
        """Name the model in predictions."""
        return self.name if self.seed is None else f"{self.name} seed {self.seed}"

    @classmethod
    def read(cls, which: str) -> "Model":
        """Read an architecture by its name, `FIRST`, or one network by its file.

        Raises:
            CampaignError: there is no such model, or model, data and what was chosen do not belong together.
        """
        data = CAMPAIGN.data
        compared, evaluated, metadata = (read_json(path) for path in (COMPARISON, CAMPAIGN.evaluation, data / "metadata.json"))
        if evaluated["data"] != metadata["content_hash"]:
            raise CampaignError(f"{CAMPAIGN.evaluation} is about other data than {data}; train and judge anew: dvc repro")
        file = Path(which) if which.endswith(".pt") else None
        name = cls._name_of(which, file, compared)
        models = file.parent if file else MODELS / name
        files = [file] if file else sorted(models.glob("seed_*.pt"), key=lambda path: int(path.stem.split("_")[1]))
        if not files:
            raise CampaignError(f"{models} holds no trained seed; train and judge it: dvc repro")
        for path in (models / SCALER, data / SCALER):
            if not path.is_file():
                raise CampaignError(f"{path} not found; run the stage that makes it: dvc repro")
        if (models / SCALER).read_bytes() != (data / SCALER).read_bytes():
            raise CampaignError(f"{models} was trained on other data than {data}; train it anew: dvc repro")
        choices, recipe = read_choices(name, files, evaluated, is_one=file is not None), Recipe.read()
        f1 = [row["f1_score_positive_class"] for row in evaluated["models"][name]["test"]]
        if compared["models"].get(name, {}).get("test", {}).get("f1", {}).get("by_seed") != f1:
            raise CampaignError(f"{COMPARISON} is about other models than {CAMPAIGN.evaluation}; compare these: dvc repro")
        return cls(
            name=name,
            label=find_architecture(name).label,
            seed=load_model(file)[1]["seed"] if file else None,
            files=files,
            choices=choices,
            recipe=recipe,
            fingerprint=fingerprint_of(files, choices, recipe),
            worth_a_trade=name in compared["worth_a_trade"],
        )

    def copy_to(self, directory: Path) -> None:
        """Write all that scores bars to a directory, from which `read_copy` reads it anywhere."""
        directory.mkdir(parents=True, exist_ok=True)
        for file in [*self.files, self.files[0].parent / "network.json"]:
            shutil.copyfile(file, directory / file.name)
        own = {key: getattr(self, key) for key in ("name", "label", "seed", "fingerprint", "worth_a_trade")}
        files = [file.name for file in self.files]
        choices, recipe = dataclasses.asdict(self.choices), self.recipe.to_json()
        write_json(directory / DESCRIPTION, {**own, "files": files, "choices": choices, "recipe": recipe})

    @classmethod
    def read_copy(cls, directory: Path) -> "Model":
        """Read what `copy_to` wrote. Raises CampaignError where a file is missing or damaged."""
        content = dict(read_json(directory / DESCRIPTION))
        recipe = dict(content["recipe"])
        recipe |= {name: np.array(recipe[name]) for name in ("mean", "scale")}
        recipe |= {"features": tuple(recipe["features"]), "barriers": Barriers(**recipe["barriers"])}
        files = [directory / name for name in content["files"]]
        return cls(**content | {"files": files, "choices": Choices.of(content["choices"]), "recipe": Recipe(**recipe)})

    @staticmethod
    def _name_of(which: str, file: Path | None, compared: Mapping[str, Any]) -> str:
        if file is not None:
            return load_model(file)[1]["architecture"]
        name = compared["search"]["order"][0] if which == FIRST else which
        if name not in (known := read_architectures()):
            raise CampaignError(f"--model is {format_value(which)}; take one of {', '.join(known)}, first, or the file of a seed")
        return name


def fingerprint_of(files: Sequence[Path], choices: Choices, recipe: Recipe) -> str:
    """Hash all that decides a prediction: 8 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps([dataclasses.asdict(choices), recipe.to_json()]).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def read_choices(name: str, files: Sequence[Path], evaluated: Mapping[str, Any], *, is_one: bool) -> Choices:
    """Read what evaluate chose for these networks.

    Args:
        evaluated: content of metrics/evaluate.json. is_one: whether one seed is meant, and not all together.

    Raises:
        CampaignError: evaluate has not judged these networks.
    """
    judged = evaluated["models"].get(name)
    thresholds = dict(zip(judged["seeds"], judged["thresholds"], strict=True)) if judged else {}
    contents = [load_model(file)[1] for file in files]
    if any(thresholds.get(content["seed"]) != content["threshold"] for content in contents):
        raise CampaignError(f"{CAMPAIGN.evaluation} judges other networks than {files[0].parent}; judge these: dvc repro")
    if not is_one and len(files) != len(thresholds):
        raise CampaignError(
            f"{CAMPAIGN.evaluation} judges {len(thresholds)} seeds, {files[0].parent} has {len(files)}; dvc repro"
        )
    if not is_one:
        return Choices.of(judged["ensemble"])
    number = judged["seeds"].index(contents[0]["seed"])
    return Choices(judged["money_thresholds"][number], Calibration(**judged["calibrations"][number]))
