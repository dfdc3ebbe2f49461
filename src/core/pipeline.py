"""Read from a dvc.yaml which stages there are, what they depend on and which architectures they train."""

import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import CampaignError, shorten
from core.files import read_json

PIPELINE = Path("dvc.yaml")
MODELS = Path("models")
TRAIN = "train_"  # what the name of a stage that trains an architecture begins with
WALK_FORWARD = Path("walk_forward/dvc.yaml")  # of a DVC project of its own, whose stages run in this project's root
SEARCH = Path("search/dvc.yaml")  # likewise


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of a pipeline.

    pipeline: its dvc.yaml, from the project's root.
    name: as DVC writes it: ``train_folds@a`` is the stage ``train_folds`` for the item ``a`` of its matrix.
    """

    pipeline: Path
    name: str


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


def read_stages(pipeline: Path = PIPELINE) -> dict[str, Any]:
    """Read the stages of a dvc.yaml by name, in its order. Raises CampaignError where it has none."""
    content = read_generated_yaml(pipeline)
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict):
        raise CampaignError(f"{pipeline} cannot be read (no stages); mend it")
    return stages


def read_deps(stage: Stage, read_params: Callable[[], Any]) -> tuple[str, ...]:
    """Read the deps of `stage`, from the project's root; none where there is no such stage.

    Templates are filled in: ``${item.<key>}`` from the stage's matrix, others such as ``${data.bars}`` from params.yaml.

    Raises:
        CampaignError: its dvc.yaml cannot be read.
    """
    try:
        text = stage.pipeline.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ()
    base = stage.name.partition("@")[0]
    if f" {base}:" not in text:
        return ()
    try:
        entry = read_stages(stage.pipeline).get(base) or {}
        deps = [dep if isinstance(dep, str) else next(iter(dep)) for dep in entry.get("deps") or []]
        item = _find_item(entry.get("matrix") or {}, stage.name)
    except (TypeError, AttributeError) as error:
        raise CampaignError(f"{stage.pipeline} cannot be read ({shorten(error, 200)}); mend it") from None
    if item is None:
        return ()
    params = read_params() if any("${" in dep.replace("${item.", "") for dep in deps) else {}
    filled = (_fill_in(dep, params | {"item": item} if isinstance(params, dict) else {}) for dep in deps)
    return tuple(os.path.normpath(stage.pipeline.parent / dep) for dep in filled)


def _find_item(matrix: dict[str, list[Any]], name: str) -> dict[str, Any] | None:
    """Find the item of a stage's matrix that the stage `name` is for, as DVC names it; None where there is none.

    A stage without a matrix has one item, which is empty.
    """
    for values in itertools.product(*matrix.values()):
        if "-".join(map(str, values)) == name.partition("@")[2]:
            return dict(zip(matrix, values, strict=True))
    return None


def _fill_in(dep: str, params: Any) -> str:
    def value(match: re.Match[str]) -> str:
        found = params
        for key in match[1].split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return str(found)

    return re.sub(r"\$\{\s*([\w.]+)\s*\}", value, dep)


def read_items(stage: Stage) -> list[str]:
    """List what a stage with a matrix of one key is run for: ``a`` of ``train_folds@a``.

    Raises:
        CampaignError: its dvc.yaml cannot be read, or has no such stage.
    """
    entry = read_stages(stage.pipeline).get(stage.name)
    matrix = entry.get("matrix") if isinstance(entry, dict) else None
    if not isinstance(matrix, dict) or len(matrix) != 1 or not isinstance(items := next(iter(matrix.values())), list):
        raise CampaignError(f"{stage.pipeline} has no stage {stage.name} with a matrix of one key; mend it")
    return [str(item) for item in items]


def read_architectures(pipeline: Path = PIPELINE) -> list[str]:
    """List the architectures that a dvc.yaml trains, in its order.

    They are ``name`` of a stage ``train_name``, and the items of one with a matrix.

    Raises:
        CampaignError: the dvc.yaml cannot be read, or trains none.
    """
    found: list[str] = []
    for name, entry in read_stages(pipeline).items():
        if str(name).startswith(TRAIN):
            has_matrix = isinstance(entry, dict) and "matrix" in entry
            found += read_items(Stage(pipeline, name)) if has_matrix else [name.removeprefix(TRAIN)]
    if not found:
        raise CampaignError(f"{pipeline} has no stage {TRAIN}<architecture>; add one")
    return found


def read_labels() -> dict[str, str]:
    """Read each trained architecture's name for people from its ``models/<architecture>/network.json``, in dvc.yaml's order.

    Raises:
        CampaignError: an architecture is not trained yet.
    """
    return {name: read_json(MODELS / name / "network.json")["label"] for name in read_architectures()}
