"""The train stages: settings in, a training for each seed, models, history, metrics and a figure out."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from core.errors import CampaignError
from core.fan_out import fan_out
from core.files import read_json, write_bytes, write_json
from core.machine import on_cluster
from core.params import Settings, check_section, read_section
from core.places import CAMPAIGN
from core.task import Task
from learn.architecture import Architecture, NetworkSettings
from learn.device import device
from learn.grouping import fingerprint_of
from learn.models import best_on_validation, with_seeds, write_models
from learn.training import OF_DATA, choose_precision, recorded_settings
from learn.trainings import Loop, Runner, Training, running
from learn.worker import Failed, Trained
from watch import progress
from watch.watcher import following, watching


class LoopSettings(Settings):
    """The settings of the training loop, which an architecture's section may override under `train`."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=2, le=1_000_000)
    learning_rate: float = Field(gt=0, le=1)
    weight_decay: float = Field(ge=0, le=1)
    focal_alpha: float = Field(gt=0, lt=1)
    focal_gamma: float = Field(ge=0, le=10)
    gradient_clip: float = Field(gt=0, le=1e6)
    patience: int = Field(ge=1, le=100_000)
    lr_factor: float = Field(gt=0, lt=1)
    lr_patience: int = Field(ge=0, le=100_000)
    precision: Literal["auto", "float32", "bfloat16"]

    @field_validator("focal_gamma")
    @classmethod
    def _smooth(cls, gamma: float) -> float:
        if 0 < gamma < 1:  # the loss of a sample that is certainly right has an infinite derivative
            raise ValueError("0, or from 1 to 10")
        return gamma


class Train(LoopSettings):
    seeds: list[int] = Field(min_length=1, max_length=1000)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**63:
            raise ValueError("a list of whole numbers from 0 up, below 2^63, without repetition")
        return sorted(seeds)


def loop_settings(name: str, own: NetworkSettings, settings: Train) -> LoopSettings:
    """Return the settings of the loop for an architecture: those of section `train`, with its own over them.

    Args:
        name: of the architecture. own: its section.

    Raises:
        CampaignError: its own break the schema; names every such key.
    """
    return check_section(f"{name}.train", settings.model_dump(exclude={"seeds"}) | own.train, LoopSettings)


def plan_trainings(
    architecture: Architecture, settings: Train, directories: Sequence[Path], seeds: Sequence[int]
) -> list[Training]:
    """Say which trainings an architecture needs: one a seed on each of some directories of splits.

    Args:
        settings: section `train`. The architecture's own section is read from params.yaml.

    Raises:
        CampaignError: the section breaks its schema, the splits are not there, or the precision cannot be had.
    """
    network = f"train_{architecture.name}:{architecture.network.__name__}"
    own = read_section(architecture.name, architecture.settings)
    values = loop_settings(architecture.name, own, settings).model_dump()
    arguments = [own.model_dump() | arguments_of_data(splits) for splits in directories]
    trial = Task(
        f"{architecture.name}'s precision", choose_precision, (), (values["precision"], network, arguments[0]), uses_gpu=True
    )
    [precision] = fan_out([trial])
    loop = Loop(**values | {"precision": precision})
    return [
        Training(network, network_arguments, loop, splits, seed)
        for splits, network_arguments in zip(directories, arguments, strict=True)
        for seed in seeds
    ]


def arguments_of_data(splits: Path) -> dict[str, int]:
    """Return the arguments of a network that its data decide. Raises CampaignError where there are no splits."""
    metadata = read_json(splits / "metadata.json")
    found = len(metadata["features"]), len(metadata["assets"]), metadata["lookback"]
    return dict(zip(OF_DATA, found, strict=True))


def require_trained(outcomes: Iterable[Trained | Failed], runner: Runner) -> list[Trained]:
    """Wait for all outcomes, and return them. Raises CampaignError, which names every training that failed."""
    outcomes = list(outcomes)
    if failed := [outcome.reason for outcome in outcomes if isinstance(outcome, Failed)]:
        raise CampaignError("; ".join([*failed, *runner.kept()]))
    return [outcome for outcome in outcomes if isinstance(outcome, Trained)]


def train(architecture: Architecture) -> None:
    """Train an architecture once with each seed on data/training_data; sections `train` and its own of params.yaml in.

    Raises:
        CampaignError: settings or data cannot be used, or a seed failed; finished epochs are kept for the next start.
    """
    settings = read_section("train", Train)
    trainings = plan_trainings(architecture, settings, [CAMPAIGN.data], settings.seeds)
    metadata = read_json(CAMPAIGN.data / "metadata.json")
    tags = {"fingerprint": fingerprint_of(trainings), "data_hash": metadata["content_hash"], "bars": metadata["source"]}
    tags |= {"device": "cluster" if on_cluster() else device(), "precision": trainings[0].loop.precision}
    with running(trainings) as runner:
        import core.png  # noqa: F401 - needed at the end, and there is time now

        with progress.clearing_bars(), following(trainings, tags) as live:
            trained = require_trained(runner.outcomes(lambda training: watching(training, live)), runner)
            name = architecture.name
            write_models(architecture, trained, CAMPAIGN.models_of(name), CAMPAIGN.data)
            write_json(CAMPAIGN.train_record_of(name), train_record(trainings, trained))
            summaries = [seed.summary for seed in trained]
            write_bytes(Path("plots/learning_curves") / f"{name}.png", learning_curves(name, with_seeds(trained), summaries))


def train_record(trainings: Sequence[Training], trained: Sequence[Trained]) -> dict[str, Any]:
    """Describe what was trained, how well it went and with what settings: metrics/train/<name>.json.

    Args:
        trainings: of one architecture, that differ by seed alone. trained: the outcome of each.
    """
    settings = recorded_settings(trainings)
    summaries = [seed.summary for seed in trained]
    f1 = [summary["val_f1_score_positive_class"] for summary in summaries]
    return {
        "val_f1_score_positive_class": statistics.fmean(f1),
        "val_f1_score_positive_class_std": statistics.stdev(f1) if len(f1) > 1 else 0.0,
        "train_f1_score_positive_class": statistics.fmean(s["train_f1_score_positive_class"] for s in summaries),
        "best_seed": best_on_validation(trained).summary["seed"],
        "precision": trainings[0].loop.precision,
        "environment": join_environments(trained),
        "settings": settings["train"],
        "architecture": settings[trainings[0].architecture],
        "seeds": summaries,
    }


def join_environments(trained: Sequence[Trained]) -> dict[str, str]:
    """Say with what the seeds were trained: one text for each thing, which tells the seeds where they differ."""
    joined = {}
    for name in trained[0].environment:
        seeds: dict[str, list[int]] = {}
        for seed in trained:
            seeds.setdefault(seed.environment[name], []).append(seed.summary["seed"])
        texts = [f"{value} (seeds {', '.join(map(str, which))})" for value, which in seeds.items()]
        joined[name] = next(iter(seeds)) if len(seeds) == 1 else ", ".join(texts)
    return joined


def learning_curves(architecture: str, rows: list[dict[str, Any]], summaries: list[dict[str, Any]]) -> bytes:
    """Draw loss and F1 by epoch as a PNG, a line for each seed with a dot at its best epoch.

    Every architecture has the same colour: a trainer that knew of the others would be outdated by a new one.

    Args:
        rows: the training history, `seed`, `epoch`, `train_loss`, `val_loss`, `train_f1`, `val_f1`.
        summaries: `seed` and `best_epoch` of each seed.
    """
    from core.png import Figure, to_png  # 0.5 s that the seeds' processes can do without

    figure = Figure(figsize=(9, 3.4))
    panels = figure.subplots(1, 2)
    colour = "#0072B2"
    for panel, score, unit in zip(panels, ("loss", "f1"), ("focal loss", "F1 at the tuned threshold"), strict=True):
        for number, summary in enumerate(summaries):
            own = [row for row in rows if row["seed"] == summary["seed"]]
            epochs, val = [row["epoch"] for row in own], [row[f"val_{score}"] for row in own]
            label = number == 0
            panel.plot(epochs, [row[f"train_{score}"] for row in own], color="#7F7F7F", lw=1, label="train" if label else None)
            panel.plot(epochs, val, color=colour, lw=1.4, alpha=0.85, label="validation" if label else None)
            best = summary["best_epoch"] - 1
            panel.plot(epochs[best], val[best], "o", color=colour, ms=5, label="best epoch" if label else None)
        panel.set(xlabel="epoch", ylabel=unit)
        panel.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_title(f"{architecture}, {len(summaries)} seed{'s' * (len(summaries) > 1)}")
    panels[1].legend(loc="best")
    return to_png(figure)
