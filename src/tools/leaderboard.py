"""Print the leaderboard or the experiments as DVC holds them, in 80 columns."""

import itertools
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import CampaignError, to_one_line
from core.files import read_json
from core.params import PARAMS, read_params
from core.pipeline import MODELS, read_architectures
from judge.names import REFERENCES
from tools.verify import LOCK, read_lock

WIDTH = 80  # columns
MAX_NUMBERS_WIDTH = 52  # columns of the experiments' figures
F1_HEAD = "  validation"
TEST_METRICS = "metrics/test/"
F1_KEYS = {"validation": "val_f1_cross_fitted", "test": "test_f1_score_positive_class"}
MAX_SOURCES = 3  # that a row names
NO_VALUE = "–"


def ask_dvc(*arguments: str) -> Any:
    """Return what a DVC command prints as JSON. Raises CampaignError with DVC's own message."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments, "--json"], capture_output=True, text=True)
    if done.returncode:
        raise CampaignError(f"dvc {' '.join(arguments)}: {to_one_line(done.stderr)}")
    return json.loads(done.stdout)


def select_models(files: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Select the models' metrics from DVC's, by model; empty where a file could not be read."""
    return {Path(path).stem: file.get("data") or {} for path, file in files.items() if path.startswith(TEST_METRICS)}


def format_number(value: object, form: str) -> str:
    """Format a number, or the mark for none."""
    return format(value, form) if isinstance(value, int | float) else NO_VALUE


def read_label(name: str) -> str:
    """Read a model's name for people; where it is not here, as in a clone without models, return `name`."""
    try:
        return REFERENCES.get(name) or str(read_json(MODELS / name / "network.json")["label"])
    except CampaignError:
        return name


def format_leaderboard(models: dict[str, dict[str, float]], labels: dict[str, str]) -> str:
    """Lay out one line a model, best on validation first.

    Args:
        models: metrics by name.
        labels: names for people, by name.
    """
    columns = {
        "validation F1": (F1_KEYS["validation"], ".3f"),
        "test F1": (F1_KEYS["test"], ".3f"),
        "test PR AUC": ("test_pr_auc", ".3f"),
        "mean net return": ("test_mean_return_net", "+.2%"),
    }
    ranked = sorted(models.items(), key=lambda model: model[1].get(F1_KEYS["validation"], -1), reverse=True)
    width = WIDTH - sum(len(head) + 2 for head in columns)
    lines = ["model".ljust(width) + "".join(f"  {head}" for head in columns)]
    for name, row in ranked:
        numbers = (format_number(row.get(key), form).rjust(len(head) + 2) for head, (key, form) in columns.items())
        lines.append(textwrap.shorten(labels[name], width, placeholder="…").ljust(width) + "".join(numbers))
    return "\n".join(lines)


@dataclass(frozen=True)
class Row:
    """A revision and its figures.

    changes: what differs from HEAD. models: metrics by model. state: why it has none of its own; empty where it has.
    """

    name: str
    changes: tuple[str, ...]
    models: dict[str, dict[str, float]]
    state: str = ""


def flatten(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Name the leaves of nested mappings by dotted keys."""
    return {
        name: value
        for key, below in tree.items()
        for name, value in (flatten(below, f"{above}{key}.") if isinstance(below, dict) else {f"{above}{key}": below}).items()
    }


def collect_inputs(state: dict[str, Any]) -> dict[str, Any]:
    """Collect what can tell two revisions apart: parameters by dotted key, and the hash of each source."""
    data = state["data"]
    params = {key: value for file in data["params"].values() for key, value in flatten(file.get("data") or {}).items()}
    return params | {path: dep["hash"] for path, dep in data["deps"].items() if path.startswith("src/")}


def describe_changes(state: dict[str, Any], head: dict[str, Any]) -> tuple[str, ...]:
    """List what differs from HEAD: each parameter, then the first sources and how many more.

    Empty where one of the two cannot be read.
    """
    if not (state["data"] and head["data"]):
        return ()
    before, after = collect_inputs(head), collect_inputs(state)
    differing = [key for key in before | after if before.get(key) != after.get(key)]
    sources = sorted(key for key in differing if key.startswith("src/"))
    more = len(sources) - MAX_SOURCES
    return (
        *(f"{key}={after[key]}" if key in after else f"{key} removed" for key in differing if key not in sources),
        *(f"{key} changed" for key in sources[:MAX_SOURCES]),
        *([f"{more} more sources changed" if more > 1 else "1 more source changed"] if more > 0 else []),
    )


def is_simulated(state: dict[str, Any]) -> bool:
    """Tell whether a stage made the bars, and not a user; False where the revision cannot be read."""
    if not state["data"]:
        return False
    bars = os.path.normpath(str(collect_inputs(state).get("data.bars")))
    return bars in state["data"]["outs"] and not state["data"]["outs"][bars]["is_data_source"]


def was_edited() -> bool:
    """Tell whether params.yaml has other values than the stages last ran with. Raises CampaignError on a garbled dvc.lock."""
    lock = read_lock(LOCK.read_text(encoding="utf-8"))
    sections = [item for entry in lock.values() for item in entry.get("params", {}).get(str(PARAMS), {}).items()]
    params = read_params()
    return any(params.get(name) != values for name, values in sections)


def read_rows(states: list[dict[str, Any]], *, edited: bool) -> list[Row]:
    """Make a row of the workspace, of HEAD and of each experiment.

    A row without figures of its own has a `state` instead: DVC gives HEAD's figures for an experiment that has not finished,
    and the last run's for a workspace whose settings were edited since.

    Args:
        states: of `dvc exp show`.
        edited: whether the workspace's settings were edited since the last run.
    """
    workspace, head = states[:2]
    listed = [
        (workspace, "workspace", "edited, not run" if edited else "success"),
        (head, f"{head['name'] or head['rev'][:7]}, HEAD", "success"),
    ]
    for experiment in head["experiments"] or []:
        state = experiment["revs"][0]
        listed.append((state, state["name"] or state["rev"][:7], (experiment["executor"] or {"state": "success"})["state"]))
    rows = []
    for state, name, executed in listed:
        metrics = state["data"]["metrics"] if state["data"] else {}
        status = executed if executed != "success" else "" if state["data"] else "unreadable"
        rows.append(Row(name, describe_changes(state, head), select_models(metrics), status))
    return rows


def column_width(name: str) -> int:
    return max(len(name), 5) + 2


def group_columns(networks: list[str]) -> Iterator[list[str]]:
    """Group the networks so that the columns of a group fit beside each other."""
    group: list[str] = []
    for name in networks:
        if group and sum(map(column_width, [*group, name])) > MAX_NUMBERS_WIDTH - len(F1_HEAD):
            yield group
            group = []
        group.append(name)
    yield group


def format_experiments(rows: list[Row], architectures: Iterable[str] = ()) -> str:
    """Lay out each row's name and changes on the left, validation F1 above test F1 of each network on the right.

    Args:
        architectures: those of dvc.yaml, which come first in its order. Other commits may have trained others.
    """
    found = dict.fromkeys(name for row in rows for name in row.models if name not in REFERENCES)
    networks = list(dict.fromkeys([*(name for name in architectures if name in found), *found]))
    tables = ["\n".join(_format_group(rows, group)) for group in group_columns(networks)]
    return "\n\n".join(tables)


def _format_group(rows: list[Row], networks: list[str]) -> Iterator[str]:
    """Yield the lines of all rows, with the columns of some networks."""
    widths = [column_width(name) for name in networks]
    left_width = WIDTH - sum(widths) - len(F1_HEAD)

    def align(cells: Iterable[str]) -> str:
        return "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))

    yield f"{'experiment':{left_width}}  {'F1':10}{align(networks)}"
    for row in rows:
        left = _wrap_changes(row.changes, left_width)
        if len(row.name) <= left_width:
            left = [row.name, *left]
        else:
            yield from textwrap.wrap(row.name, WIDTH)
        right = [f"  {row.state}"] if row.state else []
        for split, key in () if row.state else F1_KEYS.items():
            f1 = (format_number(row.models.get(name, {}).get(key), ".3f") for name in networks)
            right.append(f"  {split:10}{align(f1)}")
        for one, other in itertools.zip_longest(left, right, fillvalue=""):
            yield f"{one:{left_width}}{other}".rstrip()


def _wrap_changes(changes: Iterable[str], width: int) -> list[str]:
    """Wrap each change to at most three indented lines."""
    indent = {"initial_indent": "  ", "subsequent_indent": "    "}
    return [line for text in changes for line in textwrap.wrap(text, width, **indent, max_lines=3, placeholder=" …")]


def show_models() -> None:
    """Print the models of the workspace. Raises CampaignError where there are none."""
    (workspace,) = ask_dvc("metrics", "show").values()
    models = select_models(workspace.get("data") or {})
    if not any(models.values()):
        raise CampaignError(f"no model's metrics under {TEST_METRICS}: run dvc repro")
    print(format_leaderboard(models, {name: read_label(name) for name in models}))
    compared = read_json(Path("metrics/compare.json"))
    print(f"{'SIMULATED market. ' if compared['simulated'] else ''}Validation F1: cross-fitted. Intervals: reports/comparison.md")


def show_experiments() -> None:
    """Print the workspace, HEAD and HEAD's experiments."""
    states = ask_dvc("exp", "show")
    rows = read_rows(states, edited=was_edited())
    print(format_experiments(rows, read_architectures()))
    if is_simulated(states[1] if states[1]["data"] else states[0]):
        print("SIMULATED market, unless data.bars is changed")
    if any(row.state == "failed" for row in rows):
        print("why one failed: dvc queue logs NAME; forget them: dvc queue remove --failed")
    print("experiments of other commits: dvc exp list --all-commits")
