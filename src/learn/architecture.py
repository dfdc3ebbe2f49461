"""What a file ``train_<architecture>.py`` says of its network, and how others find it."""

import dataclasses
import hashlib
import importlib
import inspect
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import nn

from core.errors import CampaignError
from core.params import Settings


class NetworkSettings(Settings):
    """What every architecture's section of params.yaml has.

    train: settings of the loop that this architecture has otherwise than section `train`; may be left out. No argument of the
        network, so it is not dumped with the others.
    """

    asset_embedding: int = Field(ge=1, le=1024)
    dropout: float = Field(ge=0, lt=1)
    train: dict[str, Any] = Field(default_factory=dict, exclude=True)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A kind of network that the campaign trains.

    name: of its section in params.yaml; its stage, and the script that holds it, are ``train_<name>``.
    label: its name for people, in tables and charts.
    network: takes the section's keys, `n_features`, `n_assets` and `lookback`; maps x float32 (B, T, F) and asset ids int64
        (B,) to logits (B,).
    settings: schema of the section.
    """

    name: str
    label: str
    network: type[nn.Module]
    settings: type[NetworkSettings]

    @property
    def source(self) -> Path:
        """The script."""
        return Path(inspect.getfile(self.network))

    def describe(self) -> dict[str, Any]:
        """Say what `models/<name>/network.json` records: where the network's class is, and the SHA-256 of its source."""
        return {
            "label": self.label,
            "module": f"train_{self.name}",
            "class": self.network.__name__,
            "source_sha256": hashlib.sha256(self.source.read_bytes()).hexdigest(),
        }


def find_architecture(name: str) -> Architecture:
    """Import ``train_<name>`` and return its `ARCHITECTURE`.

    Raises:
        CampaignError: there is no such script, or it has none of that name.
    """
    module = f"train_{name}"
    try:
        found = importlib.import_module(module).ARCHITECTURE
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise CampaignError(f"src/{module}.py not found; add it, or remove the stage {module} from dvc.yaml") from None
    except AttributeError:
        found = None
    if not isinstance(found, Architecture) or found.name != name:
        raise CampaignError(f"src/{module}.py has no ARCHITECTURE named '{name}'; see docs/architectures.md")
    return found
