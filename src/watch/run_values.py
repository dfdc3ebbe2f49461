"""Make what runs hold: points of metrics, parameters and tags."""

import contextlib
import csv
import hashlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from watch.store import Store

RUN_TAGS = {"stage": "PRODUCTION", "purpose": "baseline_benchmark", "phase": "baseline_training"}

Point = tuple[str, float, int]  # a metric's key, value and step
Record = Mapping[str, Any]  # a row of the training history, values as numbers or text


# --- points of metrics ------------------------------------------------------------------------------------------------


def last_epoch(store: Store, run: str) -> int:
    """Return the last epoch that a run has; 0 where it has none."""
    return max((point.step for point in store.client.get_metric_history(run, "epoch/val_f1")), default=0)


def epoch_points(record: Mapping[str, float], best_f1: float) -> list[Point]:
    """Make points of a history row.

    Those are its own columns, and the score of the best epoch so far, under the name that it has at the end.
    """
    step = int(record["epoch"])
    points = [(f"epoch/{key}", value, step) for key, value in record.items() if key not in ("epoch", "seed")]
    return [*points, ("val_f1_score_positive_class", best_f1, step)]


def pop_means(unfinished: dict[int, list[Record]], seeds: int) -> list[Point]:
    """Remove the epochs that all seeds have finished from `unfinished`, and return points of their means over seeds.

    Args:
        unfinished: records of each epoch.
        seeds: how many there are.
    """
    finished = {epoch: unfinished.pop(epoch) for epoch in sorted(unfinished) if len(unfinished[epoch]) == seeds}
    return [
        (f"epoch/{key}", statistics.fmean(float(record[key]) for record in records), epoch)
        for epoch, records in finished.items()
        for key in records[0]
        if key not in ("epoch", "seed")
    ]


def missing_means(store: Store, run: str, history: Iterable[Record], seeds: int) -> list[Point]:
    """Make points of the epochs that a run lacks, means over seeds; `history` holds all seeds' rows."""
    logged = last_epoch(store, run)
    epochs: dict[int, list[Record]] = {}
    for row in history:
        if int(row["epoch"]) > logged:
            epochs.setdefault(int(row["epoch"]), []).append(row)
    return pop_means(epochs, seeds)


def read_history(models: Path) -> list[dict[str, str]]:
    """Read the rows of a training history; `models` is the directory of an architecture's models."""
    with (models / "training_history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def changed_points(store: Store, run: str, figures: Mapping[str, Any]) -> list[Point]:
    """Make points, at the run's last epoch, of the numbers among `figures` that it lacks or has otherwise."""
    known = store.client.get_run(run).data.metrics
    step = last_epoch(store, run)
    numbers = {key: float(value) for key, value in figures.items() if isinstance(value, int | float)}
    return [(key, value, step) for key, value in numbers.items() if known.get(key) != value]


# --- parameters and tags ----------------------------------------------------------------------------------------------


def flatten(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Name the leaves of nested mappings by dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return flat


def describe_code() -> dict[str, str]:
    """Return tags of the commit and of DVC's experiment."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10).stdout.strip()

    tags = {"dvc_exp_name": os.environ.get("DVC_EXP_NAME", "")}  # empty, so that every table of runs has the column
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if commit := git("rev-parse", "HEAD"):
            is_dirty = bool(git("status", "--porcelain", "--", ".", ":!ledger"))  # what a run adds to the ledger is no change
            tags |= {"mlflow.source.git.commit": commit, "git_dirty": str(is_dirty).lower()}
    return tags


def describe_versions() -> dict[str, str]:
    """Return tags of the versions that trained."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "mlflow", "dvc", "numpy")}
    return {"python": platform.python_version(), **packages}


def directory_md5(directory: Path) -> str:
    """Return the MD5 of a directory as DVC computes it for dvc.lock, without what .dvcignore leaves out."""
    files = sorted(
        (path.relative_to(directory).as_posix(), path)
        for path in directory.rglob("*")
        if path.is_file() and path.name != ".gitignore" and path.suffix != ".tmp"
    )
    listing = [{"md5": hashlib.md5(path.read_bytes()).hexdigest(), "relpath": name} for name, path in files]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"
