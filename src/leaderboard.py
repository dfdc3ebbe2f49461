"""Print the leaderboard or the experiments as DVC holds them, in 80 columns. For people; no stage runs it.

Usage: python src/leaderboard.py                the models of the workspace (make leaderboard)
       python src/leaderboard.py experiments    the workspace, HEAD and HEAD's experiments (make experiments)
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import argparse
import itertools
import json
import os
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stage
from core.errors import CampaignError
from core.names import NAMES, REFERENCES
from verify import LOCK, read_lock

WIDTH = 80
NUMBERS = 52  # of those, at most, for the experiments' figures
TESTED = "metrics/test/"
F1 = {"validation": "val_f1_score_positive_class", "test": "test_f1_score_positive_class"}
SOURCES = 3  # that a row names, at most
NO_VALUE = "–"


def ask_dvc(*arguments: str) -> Any:
    """Return what a DVC command prints as JSON. Raises CampaignError with DVC's own words."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments, "--json"], capture_output=True, text=True)
    if done.returncode:
        raise CampaignError(f"dvc {' '.join(arguments)}: {stage.one_line(done.stderr)}")
    return json.loads(done.stdout)


def by_model(files: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Pick the models' metrics from DVC's, by model; empty where a file could not be read."""
    return {Path(path).stem: found.get("data") or {} for path, found in files.items() if path.startswith(TESTED)}


def shown(value: object, form: str) -> str:
    """Format a number, or say that there is none."""
    return format(value, form) if isinstance(value, int | float) else NO_VALUE


def leaderboard(models: dict[str, dict[str, float]]) -> str:
    """Lay out one line a model, best on validation first."""
    columns = {
        "validation F1": (F1["validation"], ".3f"),
        "test F1": (F1["test"], ".3f"),
        "test PR AUC": ("test_pr_auc", ".3f"),
        "mean net return": ("test_mean_return_net", "+.2%"),
    }
    ranked = sorted(models.items(), key=lambda model: model[1].get(F1["validation"], -1), reverse=True)
    width = WIDTH - sum(len(head) + 2 for head in columns)
    lines = ["model".ljust(width) + "".join(f"  {head}" for head in columns)]
    for name, row in ranked:
        numbers = (shown(row.get(key), form).rjust(len(head) + 2) for head, (key, form) in columns.items())
        lines.append(textwrap.shorten(NAMES.get(name, name), width, placeholder="…").ljust(width) + "".join(numbers))
    return "\n".join(lines)


@dataclass(frozen=True)
class Row:
    """One revision and its figures; `state` says why it has none of its own, and is empty where it has."""

    name: str
    changes: tuple[str, ...]
    models: dict[str, dict[str, float]]
    state: str = ""


def flat(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Name the leaves of nested mappings by dotted keys."""
    return {
        name: value
        for key, below in tree.items()
        for name, value in (flat(below, f"{above}{key}.") if isinstance(below, dict) else {f"{above}{key}": below}).items()
    }


def inputs(state: dict[str, Any]) -> dict[str, Any]:
    """Collect what can tell two revisions apart: parameters by dotted key, and the hash of each source file."""
    data = state["data"]
    params = {key: value for file in data["params"].values() for key, value in flat(file.get("data") or {}).items()}
    return params | {path: dep["hash"] for path, dep in data["deps"].items() if path.startswith("src/")}


def changes(state: dict[str, Any], head: dict[str, Any]) -> tuple[str, ...]:
    """Say what differs from HEAD: each parameter, then the first source files and how many more.

    Nothing where one of the two cannot be read.
    """
    if not (state["data"] and head["data"]):
        return ()
    before, after = inputs(head), inputs(state)
    differing = [key for key in before | after if before.get(key) != after.get(key)]
    sources = sorted(key for key in differing if key.startswith("src/"))
    more = len(sources) - SOURCES
    return (
        *(f"{key}={after[key]}" if key in after else f"{key} removed" for key in differing if key not in sources),
        *(f"{key} changed" for key in sources[:SOURCES]),
        *([f"{more} more source files changed" if more > 1 else "1 more source file changed"] if more > 0 else []),
    )


def is_simulated(state: dict[str, Any]) -> bool:
    """Tell whether the bars are what a stage made; those that a user gave to DVC are its input. False where it is unreadable."""
    if not state["data"]:
        return False
    bars = os.path.normpath(str(inputs(state).get("data.bars")))
    return bars in state["data"]["outs"] and not state["data"]["outs"][bars]["is_data_source"]


def was_edited() -> bool:
    """Tell whether params.yaml holds other values than the stages last ran with. Raises CampaignError on a garbled dvc.lock."""
    lock = read_lock(LOCK.read_text(encoding="utf-8"))
    sections = [item for entry in lock.values() for item in entry.get("params", {}).get(str(stage.PARAMS), {}).items()]
    params = stage.read_params()
    return any(params.get(name) != values for name, values in sections)


def rows_of(states: list[dict[str, Any]], *, edited: bool) -> list[Row]:
    """Read the workspace, HEAD and its experiments from `dvc exp show`.

    Figures are shown where they belong to the row's settings: DVC gives HEAD's for an experiment that has not finished, and
    the last run's for a workspace whose settings were `edited` since.
    """
    workspace, head = states[:2]
    listed = [
        (workspace, "workspace", "edited, not run" if edited else "success"),
        (head, f"{head['name'] or head['rev'][:7]}, HEAD", "success"),
    ]
    for found in head["experiments"] or []:
        state = found["revs"][0]
        listed.append((state, state["name"] or state["rev"][:7], (found["executor"] or {"state": "success"})["state"]))
    rows = []
    for state, name, executed in listed:
        metrics = state["data"]["metrics"] if state["data"] else {}
        status = executed if executed != "success" else "" if state["data"] else "unreadable"
        rows.append(Row(name, changes(state, head), by_model(metrics), status))
    return rows


def blocks(networks: list[str]) -> Iterator[list[str]]:
    """Cut the networks into groups whose columns fit beside each other."""
    block: list[str] = []
    for name in networks:
        if block and sum(max(len(other), 5) + 2 for other in [*block, name]) > NUMBERS - len("  validation"):
            yield block
            block = []
        block.append(name)
    yield block


def experiments(rows: list[Row]) -> str:
    """Lay out each row's name and changes on the left, validation F1 over test F1 of each network on the right."""
    networks = list(dict.fromkeys(name for row in rows for name in row.models if name not in REFERENCES))
    lines: list[str] = []
    for block in blocks(networks):
        widths = [max(len(name), 5) + 2 for name in block]
        width = WIDTH - sum(widths) - len("  validation")
        heads = "".join(name.rjust(size) for name, size in zip(block, widths, strict=True))
        lines += ["", f"{'experiment':{width}}  {'F1':10}{heads}"] if lines else [f"{'experiment':{width}}  {'F1':10}{heads}"]
        for row in rows:
            left = textwrap.wrap(row.name, width if len(row.name) <= width else WIDTH)
            if len(row.name) > width:
                lines += left
                left = []
            for change in row.changes:
                indent = {"initial_indent": "  ", "subsequent_indent": "    "}
                left += textwrap.wrap(change, width, **indent, max_lines=3, placeholder=" …")
            right = [f"  {row.state}"] if row.state else []
            for split, key in () if row.state else F1.items():
                f1 = (shown(row.models.get(name, {}).get(key), ".3f") for name in block)
                right.append(f"  {split:10}" + "".join(cell.rjust(size) for cell, size in zip(f1, widths, strict=True)))
            lines += [f"{a:{width}}{b}".rstrip() for a, b in itertools.zip_longest(left, right, fillvalue="")]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", choices=["models", "experiments"], default="models")
    if parser.parse_args().what == "models":
        (workspace,) = ask_dvc("metrics", "show").values()
        models = by_model(workspace.get("data") or {})
        if not any(models.values()):
            raise CampaignError(f"no model's metrics under {TESTED}: run dvc repro")
        print(leaderboard(models))
        compared = stage.read_json(Path("metrics/compare.json"))
        print(f"{'SIMULATED market. ' if compared['simulated'] else ''}Ties and intervals: reports/comparison.md")
    else:
        states = ask_dvc("exp", "show")
        rows = rows_of(states, edited=was_edited())
        print(experiments(rows))
        if is_simulated(states[1] if states[1]["data"] else states[0]):
            print("SIMULATED market, unless data.bars is changed")
        if any(row.state == "failed" for row in rows):
            print("why one failed: dvc queue logs NAME; forget them: dvc queue remove --failed")
        print("experiments of other commits: dvc exp list --all-commits")


if __name__ == "__main__":
    stage.run(main, takes_arguments=True)
