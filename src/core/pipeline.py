"""Read from dvc.yaml which stages there are, what they depend on and which architectures they train."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import CampaignError, shorten
from core.files import read_json

PIPELINE = Path("dvc.yaml")
MODELS = Path("models")
TRAIN = "train_"  # what the name of a stage that trains an architecture begins with


def read_generated_yaml(path: Path) -> Any:
    """Read a YAML file that DVC writes, or reads by the same rules; as `parse_generated_yaml`.

    Raises:
        CampaignError: it is missing or not YAML.
    """
    try:
        return parse_generated_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise CampaignError(f"{path} not found in {Path.cwd().name}/: start in the project's root") from None
    except UnicodeDecodeError as error:
        raise CampaignError(f"{path} cannot be read ({shorten(error, 200)}); mend it") from None


def parse_generated_yaml(text: str, name: str) -> Any:
    """Parse YAML 1.2, as DVC writes it, quickly: by PyYAML's C parser. Raises CampaignError, which says `name`."""
    import yaml  # only where a pipeline is

    try:
        return yaml.load(text, _yaml_1_2_loader())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CampaignError(f"{name} cannot be read ({shorten(error, 200)}); mend it") from None


@functools.cache
def _yaml_1_2_loader() -> Any:
    """Make a loader of YAML 1.2. PyYAML's own are of 1.1, where ``1e-05`` and ``NO`` are not a number and a text."""
    import yaml

    class Loader(yaml.CSafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - filled below

    for kind, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?[0-9]+", "-+0123456789"),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"({pattern})\\Z"), list(first))
    return Loader


def read_stages() -> dict[str, Any]:
    """Read the stages of dvc.yaml by name, in its order. Raises CampaignError where it has none."""
    content = read_generated_yaml(PIPELINE)
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict):
        raise CampaignError(f"{PIPELINE} cannot be read (no stages); mend it")
    return stages


def read_deps(stage: str, read_params: Callable[[], Any]) -> tuple[str, ...]:
    """Read the deps of `stage`, templates such as ``${data.bars}`` filled in; none where there is no such stage.

    Raises:
        CampaignError: dvc.yaml cannot be read.
    """
    try:
        text = PIPELINE.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ()
    if f" {stage}:" not in text:
        return ()
    try:
        entry = read_stages().get(stage) or {}
        deps = [dep if isinstance(dep, str) else next(iter(dep)) for dep in entry.get("deps") or []]
    except (TypeError, AttributeError) as error:
        raise CampaignError(f"{PIPELINE} cannot be read ({shorten(error, 200)}); mend it") from None
    params = read_params() if any("${" in dep for dep in deps) else {}
    return tuple(_fill_in(dep, params) for dep in deps)


def _fill_in(dep: str, params: Any) -> str:
    def value(match: re.Match[str]) -> str:
        found = params
        for key in match[1].split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return str(found)

    return re.sub(r"\$\{\s*([\w.]+)\s*\}", value, dep)


def read_architectures() -> list[str]:
    """List the architectures that dvc.yaml trains, in its order: ``name`` of a stage ``train_name``.

    Raises:
        CampaignError: dvc.yaml cannot be read, or trains none.
    """
    found = [stage.removeprefix(TRAIN) for stage in read_stages() if str(stage).startswith(TRAIN)]
    if not found:
        raise CampaignError(f"{PIPELINE} has no stage {TRAIN}<architecture>; add one")
    return found


def read_labels() -> dict[str, str]:
    """Read each trained architecture's name for people from its ``models/<architecture>/network.json``, in dvc.yaml's order.

    Raises:
        CampaignError: an architecture is not trained yet.
    """
    return {name: read_json(MODELS / name / "network.json")["label"] for name in read_architectures()}
