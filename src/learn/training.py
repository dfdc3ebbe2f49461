"""A training as a value."""

import dataclasses
import functools
import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from core import inputs
from core.files import read_json
from core.splits import DATA
from learn.device import environment, resolve_precision

OF_DATA = ("n_features", "n_assets", "lookback")  # arguments of a network that its data decide; all others are settings


@dataclasses.dataclass(frozen=True)
class Loop:
    """The settings of the training loop, as the loop takes them; `precision` is resolved, never auto."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    focal_alpha: float
    focal_gamma: float
    gradient_clip: float
    patience: int
    lr_factor: float
    lr_patience: int
    precision: str


@dataclasses.dataclass(frozen=True)
class Training:
    """All that a training is: equal trainings give the same bytes on the same kind of processor.

    network: its class, as ``module:class``. Never one of ``__main__``, which another process does not have.
    arguments: of the class, plain values; `lookback` among them.
    splits: directory of the arrays that generate_data writes, and their metadata.json.
    label: tells it from trainings of the same architecture and seed in what people read, such as "trial 3"; decides nothing.
    """

    network: str
    arguments: Mapping[str, Any]
    loop: Loop
    splits: Path
    seed: int
    label: str = ""

    @property
    def architecture(self) -> str:
        """Name of the architecture: ``name`` of a module ``train_name``."""
        return self.network.partition(":")[0].removeprefix("train_")

    @property
    def title(self) -> str:
        """Name of the training in what people read; other splits than the campaign's are named."""
        fold = "" if self.splits.name == DATA.name else self.splits.name  # a node of a cluster has them elsewhere
        return " ".join(part for part in (self.architecture, fold, self.label, f"seed {self.seed}") if part)

    def build(self) -> nn.Module:
        """Build the network, its weights drawn from torch's generator."""
        return build_network(self.network, self.arguments)

    def fingerprint(self) -> str:
        """Hash all that decides the training's bytes but its seed: 16 hexadecimal digits.

        Of the code what a train stage depends on in dvc.yaml: core, learn and the network's file. `watch` only shows.
        """
        own = f"{self.network.partition(':')[0]}.py"
        code = {name: text for name, text in inputs.CODE_DIGESTS.items() if name == own or name.startswith(("core/", "learn/"))}
        data = read_json(self.splits / "metadata.json")["content_hash"]
        parts = [self.network, dict(self.arguments), vars(self.loop), data, environment(), sorted(code.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def build_network(network: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network; both arguments as in `Training`."""
    module, _, name = network.partition(":")
    return getattr(importlib.import_module(module), name)(**arguments)


def choose_precision(precision: str, network: str, arguments: Mapping[str, Any]) -> str:
    """Return the precision in which this machine trains a network, as `learn.device.resolve_precision` does.

    Args:
        precision: as params.yaml has it. network, arguments: as in `Training`.

    Raises:
        CampaignError: the precision cannot be had here.
    """
    build = functools.partial(build_network, network, arguments)
    return resolve_precision(precision, build, arguments["n_features"], arguments["lookback"])


def recorded_settings(trainings: Sequence[Training]) -> dict[str, dict[str, Any]]:
    """Write the settings of trainings that differ by seed alone, for the record.

    Returns:
        Two sections with plain values, named as in params.yaml: `train`, with the precision that was resolved, and the
        architecture's own.
    """
    first = trainings[0]
    return {
        "train": {"seeds": [training.seed for training in trainings], **vars(first.loop)},
        first.architecture: {name: value for name, value in first.arguments.items() if name not in OF_DATA},
    }
