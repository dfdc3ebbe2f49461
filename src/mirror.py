"""The processes that write to MLflow, started by `tracking.py`: one follows a training, another brings runs up to date.

A run's life: `follow` makes it and its children, one a seed, when a training begins (`_create`), or takes up that of the same
training where it was interrupted (`_take_up`). At the training's end `write` completes it from the files; so it does after
`evaluate` and `compare`, and in a backfill, where it finds the run by its models or makes one.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import contextlib
import csv
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import queue
import re
import select
import shlex
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import stage
import tracking
from core.errors import CampaignError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from torch import nn

EXPERIMENT = "Baseline_Training_Production"
TAGS = {"stage": "PRODUCTION", "purpose": "baseline_benchmark", "phase": "baseline_training"}
KIND = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow's pages take models for agents
COLUMNS = (  # that MLflow's list of runs shows in `ui`
    *("metrics.`val_f1_score_positive_class`", "metrics.`val_pr_auc`", "metrics.`test_f1_score_positive_class`"),
    *("tags.`bars`", "tags.`dvc_exp_name`", "tags.`threshold`", "attributes.`Models`"),
)
SQLITE = re.compile(r"(?P<scheme>sqlite(\+\w+)?:///)(?P<file>(?!:memory:|file:)[^?]+)(?P<query>\?.*)?")
DIRECTORY = re.compile(r"(?P<scheme>file:)?(?P<path>(?!databricks$)[^:]+)")
MODEL = "data/model.pt2"  # of a logged model, beside its MLmodel
MOMENT = 2.0  # seconds of epochs that go to the store together
SAMPLE, SAMPLES = 2.0, 5  # seconds between looks at the machine, and looks that make one point
NOTE = (
    "Curves and figures are means over seeds, curves as far as every seed trained; each seed's own are in its child run. "
    "The tag threshold is the best seed's, whose network is the logged model. How busy the machine was: system metrics."
)
Point = tuple[str, float, int]  # a metric's key, value and step
Record = Mapping[str, Any]  # a row of the training history, values as numbers or text
LIGHT = {  # a server that is down costs seconds, not minutes, and nothing is sent to anyone else
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
    "PGCONNECT_TIMEOUT": "10",
}


# --- the store ------------------------------------------------------------------------------------------------------


def store_uri() -> str:
    """Return the store's address. A relative path is the project's, also in an experiment, whose copy is deleted."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if named := SQLITE.fullmatch(uri):
        file = stage.root() / named["file"]
        if "?" in str(file):
            raise CampaignError(f"{file} has a question mark, which ends a path in an SQLite address; rename its directory")
        return f"{named['scheme']}{file}{named['query'] or ''}"
    if named := DIRECTORY.fullmatch(uri):
        return (stage.root() / (unquote(named["path"]) if named["scheme"] else named["path"])).as_uri()
    return uri


def database() -> Path | None:
    """Return the SQLite file that is the store; None where the store is something else."""
    named = SQLITE.fullmatch(store_uri())
    return Path(named["file"]) if named else None


def artifact_location() -> str | None:
    """Return where a new experiment's artefacts go: beside an SQLite file, in the project's root for another database.

    Explicit, for else MLflow keeps the working directory of the first creator for ever, even a temporary one. None where a
    server or MLflow's directory store decides.
    """
    if file := database():
        return (file.parent / "mlartifacts").as_uri()
    is_database = re.match(r"(postgresql|mysql|mssql)\b", store_uri())
    return (stage.root() / "mlartifacts").as_uri() if is_database else None


def is_own() -> bool:
    """Whether the store is the project's, and not one that the environment names."""
    return not os.environ.get("MLFLOW_TRACKING_URI")


def reach() -> str:
    """Return where runs go, once it has answered; change nothing. Raises whatever a store or a network can do."""
    if tracking.is_off():
        return "off (CAMPAIGN_TRACKING)"
    _quiet()
    uri = store_uri()
    said = tracking.without_password(uri)
    if (file := database()) and not _is_there(file):
        return f"{said}, which the first training makes"
    with _explaining(file):
        _client(uri).search_experiments(max_results=1)
    return said


def _client(uri: str) -> "MlflowClient":
    """Open the store. Raises at once where a database is down, not after MLflow's ten attempts, 100 s."""
    import mlflow

    if not uri.startswith("http"):
        import mlflow.store.db.utils

        mlflow.store.db.utils.MAX_RETRY_COUNT = 1
    return mlflow.MlflowClient(uri)


def _is_there(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _make_database(file: Path, location: str) -> None:
    """Make MLflow's tables in `file`, all or nothing: a database that a kill left half migrated cannot be opened again.

    Built beside and renamed, so the caller holds a lock.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    new = file.with_name(f"{file.name}.new")
    for left in (new, new.with_name(f"{new.name}-journal")):
        left.unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite:///{new}", location).engine.dispose()
    new.replace(file)


@contextlib.contextmanager
def _explaining(file: Path | None) -> Iterator[None]:
    """Name the cure where `file` cannot be opened because its maker, such as `mlflow ui`, was killed."""
    try:
        yield
    except Exception as error:
        if file and re.search("already exists|duplicate column|no such table|out-of-date", str(error)) and _has_no_run(file):
            cure = f"remove it: rm {shlex.quote(str(file))}"
            raise CampaignError(f"the making of this database was cut off and it holds no run, {cure}") from None
        raise


def _has_no_run(file: Path) -> bool:
    """Whether an SQLite file holds no run, be it for lack of their table."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as opened:
            return bool(opened.execute("select count(*) from runs").fetchone()[0] == 0)
    except sqlite3.Error as error:
        return "no such table: runs" in str(error)


class Store:
    """The experiment in the tracking store. Made once under a lock: processes that meet at a fresh database break it."""

    def __init__(self) -> None:
        _quiet()
        import mlflow

        self.uri, own = store_uri(), is_own()
        mlflow.set_tracking_uri(self.uri)  # sets the environment's variable too
        file, location = database(), artifact_location()
        with contextlib.ExitStack() as stack:
            if location:
                stack.enter_context(_holding(file or stage.root() / "mlflow.db"))
            if file and not _is_there(file):
                _make_database(file, location)
            stack.enter_context(_explaining(file))
            self.client = _client(self.uri)
            self.experiment_id = self._experiment(location, own=own)
        self._close_the_dead()

    def _experiment(self, location: str | None, *, own: bool) -> str:
        """Return the experiment's id; make it, or restore a deleted one."""
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            try:
                return self.client.create_experiment(EXPERIMENT, artifact_location=location, tags=KIND)
            except MlflowException:  # on a server, which has no lock of ours, another process may have been first
                if not (experiment := self.client.get_experiment_by_name(EXPERIMENT)):
                    raise
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        if not KIND.items() <= experiment.tags.items():
            for key, value in KIND.items():
                self.client.set_experiment_tag(experiment.experiment_id, key, value)
        lost = ""
        kept = experiment.artifact_location
        if own and kept != location:
            lost = f"{kept}, where the project was when mlflow.db was made; move mlflow.db away"
        elif location and "/.dvc/tmp/" in kept:
            cure = f"mlflow experiments rename --experiment-id {experiment.experiment_id} --new-name old"
            lost = f"{kept}, a temporary copy of the project; {cure}"
        if lost:
            stage.say(f"tracking: warning: artefacts go to {lost} to begin a new one here")
        return experiment.experiment_id

    def find(self, condition: str) -> "list[Run]":
        """Runs of the experiment, newest first."""
        found: list[Run] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], condition, order_by=["attributes.start_time DESC"], page_token=token
            )
            found += page
            if not (token := page.token):
                return found

    def parents(self, condition: str) -> "list[Run]":
        return [run for run in self.find(condition) if "mlflow.parentRunId" not in run.data.tags]

    def children(self, parent: str) -> "dict[int, Run]":
        """Newest run of each seed."""
        runs = self.find(f"tags.`mlflow.parentRunId` = '{parent}'")
        return {int(run.data.tags["seed"]): run for run in reversed(runs)}

    def create(self, name: str, tags: Mapping[str, str]) -> str:
        return self.client.create_run(self.experiment_id, run_name=name, tags=dict(tags)).info.run_id

    def log(self, run: str, *, metrics: Any = (), params: Mapping[str, Any] | None = None, tags: Any = None) -> None:
        """One call for any number of values; `metrics` are (key, value, step)."""
        from mlflow.entities import Metric, Param, RunTag

        now = time.time_ns() // 1_000_000
        values = [Metric(key, float(value), now, step) for key, value, step in metrics]
        texts = [Param(key, str(value)[:6000]) for key, value in (params or {}).items()]
        labels = [RunTag(key, str(value)) for key, value in (tags or {}).items()]
        for first in range(0, max(len(values), 1), 900):  # a call takes at most 1000, 100 of them parameters
            self.client.log_batch(run, metrics=values[first : first + 900], params=texts, tags=labels)
            texts, labels = [], []

    def end(self, runs: Iterable[str], status: str) -> None:
        """One that has ended so keeps its time: what `evaluate` adds later is no part of a training's duration."""
        for run in runs:
            if self.client.get_run(run).info.status != status:
                self.client.set_terminated(run, status)

    def _close_the_dead(self) -> None:
        """End the runs that a trainer left when it was killed with its mirror; only those of this machine are known."""
        for run in self.find("attributes.status = 'RUNNING'"):
            if _is_dead(run.data.tags.get("process", "")):
                self.end([run.info.run_id], "KILLED")


@contextlib.contextmanager
def _holding(file: Path) -> Iterator[None]:
    """Hold the lock beside `file`; its directory is made. Raises as `take` does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f"{file.name}.lock").open("w") as lock:
        take(lock)
        yield


def take(lock: IO[str]) -> None:
    """Lock a file, waiting for another process for as long as a stage does for its mirror. Raises TimeoutError."""
    until = time.monotonic() + tracking.PATIENCE
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(f"another process has held {Path(lock.name).name} for {tracking.PATIENCE:g} s") from None
        time.sleep(0.05)


def _quiet() -> None:
    import logging

    for name, value in LIGHT.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # an error is told as one line, with no password


def _is_dead(process: str) -> bool:
    host, _, pid = process.partition(":")
    return host == socket.gethostname() and pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists()


# --- the mirror of a training, in a process of its own --------------------------------------------------------------


def follow() -> None:
    """Mirror the training that tells of itself on standard input, until it says how it ended, or is gone."""
    messages: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()

    def listen() -> None:
        with contextlib.suppress(ValueError):  # killed in the middle of a message
            for line in sys.stdin.buffer:
                messages.put(json.loads(line))
        messages.put(["end", "KILLED"])

    threading.Thread(target=listen, daemon=True).start()
    kind, *start = messages.get()
    if kind == "end":  # before it began
        return
    architecture, seeds, sections, tags = start
    store = Store()
    tags = {**_tags_here(), **tags}
    run, children, logged = _take_up(store, architecture, seeds, _flat(sections), tags)
    stage.say(f"tracking: run {architecture} {run} in {tracking.without_password(store.uri)}")
    with _sampling(run):
        ending = _pass_on(messages, store, run, children, logged)
    if ending == "FINISHED":
        write(store, architecture, run)
    else:
        store.end((*children.values(), run), ending)


def _pass_on(
    messages: "queue.SimpleQueue[list[Any]]", store: Store, run: str, children: Mapping[int, str], logged: dict[int, int]
) -> str:
    """Log the epochs that `messages` tell of, and their means over seeds. Returns how the training ended."""
    ending, mean_logged = None, _last_epoch(store, run)
    unfinished: dict[int, list[Record]] = {}
    while ending is None:
        points: dict[str, list[Point]] = {}
        for kind, *content in _next(messages):
            if kind == "end":
                ending = content[0]
                break
            seed, record, best_f1 = content
            if record["epoch"] > logged[seed]:  # a training that goes on tells all its epochs again
                logged[seed] = record["epoch"]
                points.setdefault(children[seed], []).extend(_points(record, best_f1))
            if record["epoch"] > mean_logged:
                unfinished.setdefault(record["epoch"], []).append(record)
        if means := _means(unfinished, len(children)):
            points[run] = means
        for of, own in points.items():
            store.log(of, metrics=own)
    return ending


@contextlib.contextmanager
def _sampling(run: str) -> Iterator[None]:
    """Log how busy this machine is, its GPUs too where nvidia-ml-py is installed, by MLflow's own sampler in a thread."""
    import psutil
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    class Sampler(SystemMetricsMonitor):
        def monitor(self) -> None:
            with contextlib.suppress(Exception):
                psutil.cpu_percent()  # a thread's first call returns 0, later ones the load since the last
                if not self._shutdown_event.wait(self.sampling_interval):
                    super().monitor()

    sampler = None
    with contextlib.suppress(Exception):  # here and above: what a machine does not tell is no reason to track nothing
        sampler = Sampler(run, SAMPLE, SAMPLES, resume_logging=True)
        sampler.start()
    yield
    with contextlib.suppress(Exception):
        sampler.finish()
        if not sampler.aggregate_metrics():
            sampler.collect_metrics()  # of a training over before the thread's first look; this thread's covers all of it
        sampler.publish_metrics(sampler.aggregate_metrics())  # what MLflow would drop
        sampler.mlflow_logger.flush()


def _next(messages: "queue.SimpleQueue[list[Any]]") -> Iterator[list[Any]]:
    """The next message, and those that come within a moment after it: a call to the store costs as much for one as for many."""
    yield messages.get()
    until = time.monotonic() + MOMENT
    with contextlib.suppress(queue.Empty):
        while True:
            yield messages.get(timeout=max(0.0, until - time.monotonic()))


def _take_up(
    store: Store, architecture: str, seeds: list[int], params: Mapping[str, Any], tags: Mapping[str, str]
) -> tuple[str, dict[int, str], dict[int, int]]:
    """The run of this training: that of an interrupted one with the same fingerprint, else a new one.

    Returns:
        Its id, its children's ids by seed, and the last epoch each child has.
    """
    for found in store.parents(f"tags.fingerprint = '{tags['fingerprint']}'"):
        if found.info.status == "FINISHED":
            continue
        if found.info.status == "RUNNING" and not _is_dead(found.data.tags.get("process", "")):
            continue  # the same training elsewhere
        run = found.info.run_id
        if not set(store.children(run)) <= set(seeds):
            continue
        children = _children(store, run, seeds)
        for taken_up in (run, *children.values()):
            store.log(taken_up, tags=tags)
            store.client.update_run(taken_up, status="RUNNING")
        return run, children, {seed: _last_epoch(store, child) for seed, child in children.items()}
    run, children = _create(store, architecture, seeds, params, tags)
    return run, children, dict.fromkeys(seeds, 0)


def _create(
    store: Store, architecture: str, seeds: list[int], params: Mapping[str, Any], tags: Mapping[str, str]
) -> tuple[str, dict[int, str]]:
    name = f"{architecture} {tags['dvc_exp_name']}".strip()
    run = store.create(name, {"model_type": architecture, "mlflow.note.content": NOTE, **TAGS, **tags})
    store.log(run, params=params)
    return run, _children(store, run, seeds)


def _children(store: Store, run: str, seeds: list[int]) -> dict[int, str]:
    """Ids of the run's children by seed; those that there are not yet are made in its likeness."""
    children = {seed: child.info.run_id for seed, child in store.children(run).items()}
    parent = store.client.get_run(run)
    kept = {key: value for key, value in parent.data.tags.items() if key.startswith("mlflow.source.") or "mlflow." not in key}
    for seed in seeds:
        if seed not in children:
            own = {**kept, "mlflow.parentRunId": run, "seed": str(seed)}
            children[seed] = store.create(f"{parent.info.run_name} seed {seed}", own)
            store.log(children[seed], params={**parent.data.params, "seed": seed})
    return children


def _last_epoch(store: Store, run: str) -> int:
    return max((point.step for point in store.client.get_metric_history(run, "epoch/val_f1")), default=0)


def _points(record: Mapping[str, float], best_f1: float) -> list[Point]:
    """A history row as metrics: its own columns, and the score of the best epoch so far under the name it has at the end."""
    step = int(record["epoch"])
    points = [(f"epoch/{key}", value, step) for key, value in record.items() if key not in ("epoch", "seed")]
    return [*points, ("val_f1_score_positive_class", best_f1, step)]


def _means(unfinished: dict[int, list[Record]], seeds: int) -> list[Point]:
    """Take the epochs that all seeds have finished out of `unfinished`, by epoch, as points of their means."""
    whole = {epoch: unfinished.pop(epoch) for epoch in sorted(unfinished) if len(unfinished[epoch]) == seeds}
    return [
        (f"epoch/{key}", statistics.fmean(float(record[key]) for record in records), epoch)
        for epoch, records in whole.items()
        for key in records[0]
        if key not in ("epoch", "seed")
    ]


# --- a finished training's run, from the files ----------------------------------------------------------------------


def write(store: Store, architecture: str, run: str | None = None) -> str:
    """Complete the run of ``models/<architecture>`` from what is on disk: epochs, metrics, artefacts, and once `evaluate` has
    judged it the model.

    Args:
        run: its id; None finds the one with these very models, or makes it: in an experiment of DVC one of its own, since other
            settings of `evaluate` may have judged the same models elsewhere.

    Returns:
        The run's id.
    """
    trained = stage.read_json(Path("metrics/train") / f"{architecture}.json")
    models = Path("models") / architecture
    digest = directory_md5(models)
    seeds = [summary["seed"] for summary in trained["seeds"]]
    tags = {"models_md5": digest, "best_seed": str(trained["best_seed"])} | _locked(architecture, digest)
    if run is None:
        run = _find(store, digest)
    if run is None:
        params = _flat({"train": trained["settings"], architecture: trained["architecture"]})
        data = stage.read_json(stage.DATA / "metadata.json")
        made = {"data_hash": data["content_hash"], "bars": data["source"], "precision": trained["precision"]}
        made["process"] = tracking.this_process()
        run, _ = _create(store, architecture, seeds, params, {**tags, **made, **_origin(), "backfilled": "true"})
    children = _children(store, run, seeds)

    with (models / "training_history.csv").open(newline="") as file:
        history = list(csv.DictReader(file))
    evaluated = _evaluated(architecture, trained)
    for number, summary in enumerate(trained["seeds"]):
        child = children[summary["seed"]]
        store.log(child, metrics=_missing_epochs(store, child, summary["seed"], history))
        figures = {key: value for key, value in summary.items() if key not in ("seed", "stopped_early")}
        if evaluated:
            figures |= {f"test_{key}": value for key, value in evaluated["test"][number].items()}
        store.log(child, metrics=_news(store, child, figures), tags={**tags, "threshold": summary["threshold"]})

    figures = {key: value for key, value in trained.items() if key != "best_seed"}
    figures["val_pr_auc"] = sum(summary["val_pr_auc"] for summary in trained["seeds"]) / len(seeds)
    if evaluated:
        figures |= stage.read_json(Path("metrics/test") / f"{architecture}.json")
    (best,) = [summary for summary in trained["seeds"] if summary["seed"] == trained["best_seed"]]
    tags |= {"threshold": best["threshold"], "mlflow.note.content": NOTE}
    last, epochs = _last_epoch(store, run), {}
    for row in history:
        if int(row["epoch"]) > last:
            epochs.setdefault(int(row["epoch"]), []).append(row)
    store.log(run, metrics=_means(epochs, len(seeds)))
    store.log(run, metrics=_news(store, run, figures), tags=tags)
    _log_artifacts(store, run, architecture, evaluated)
    if evaluated:
        _log_model(store, run, architecture, digest)
    store.end((*children.values(), run), "FINISHED")
    return run


def _find(store: Store, models_md5: str) -> str | None:
    """The run of these very models; within an experiment of DVC only the experiment's own."""
    same = store.parents(f"tags.models_md5 = '{models_md5}'")
    name = os.environ.get("DVC_EXP_NAME", "")
    own = [found for found in same if found.data.tags.get("dvc_exp_name", "") == name] or ([] if name else same)
    return own[0].info.run_id if own else None


def _missing_epochs(store: Store, child: str, seed: int, history: Iterable[Mapping[str, str]]) -> list[Point]:
    """Points of the epochs of one seed that its run lacks; `history` holds all seeds' rows."""
    last, best_f1, points = _last_epoch(store, child), -1.0, []
    for row in history:
        if int(row["seed"]) == seed:
            record = {key: float(value) for key, value in row.items()}
            best_f1 = max(best_f1, record["val_f1"])
            points += _points(record, best_f1) if record["epoch"] > last else []
    return points


def _news(store: Store, run: str, figures: Mapping[str, Any]) -> list[Point]:
    """The numbers among `figures` that the run does not have yet, at the last epoch that it has."""
    known = store.client.get_run(run).data.metrics
    step = _last_epoch(store, run)
    numbers = {key: float(value) for key, value in figures.items() if isinstance(value, int | float)}
    return [(key, value, step) for key, value in numbers.items() if known.get(key) != value]


def _evaluated(architecture: str, trained: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `evaluate` found about these very models; None where it has not run, or on others."""
    try:
        result = stage.read_json(Path("metrics/evaluate.json"))["models"][architecture]
    except CampaignError:
        return None
    return result if result["thresholds"] == [summary["threshold"] for summary in trained["seeds"]] else None


def _is_compared(architecture: str, evaluated: Mapping[str, Any]) -> bool:
    """Whether the report is about what `evaluate` found."""
    with contextlib.suppress(CampaignError):
        f1 = stage.read_json(Path("metrics/compare.json"))["models"][architecture]["test"]["f1"]["by_seed"]
        return f1 == [row["f1_score_positive_class"] for row in evaluated["test"]]
    return False


def _log_artifacts(store: Store, run: str, architecture: str, evaluated: Mapping[str, Any] | None) -> None:
    """DVC's files, and a picture made from them; those of `evaluate` and `compare` where they are about these models."""
    files = {
        "configuration": ["params.yaml", "metrics/train/{}.json", "data/training_data/metadata.json"],
        "training": ["models/{}/training_history.csv", "plots/learning_curves/{}.png"],
    }
    if evaluated:
        files["test"] = ["plots/confusion/{}.png", "metrics/test/{}.json"]
    if evaluated and _is_compared(architecture, evaluated):
        files["report"] = ["reports/comparison.html", "reports/comparison.md", "reports/decisions.md"]
    for folder, names in files.items():
        for name in names:
            if (file := Path(name.format(architecture))).is_file():
                store.client.log_artifact(run, str(file), folder)
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "requirements.txt").write_text(_installed())
        store.client.log_artifact(run, f"{directory}/requirements.txt", "environment")
        if evaluated:
            (Path(directory) / "pr_and_roc_curves.png").write_bytes(_curves_png(architecture))
            store.client.log_artifact(run, f"{directory}/pr_and_roc_curves.png", "test")


@functools.cache
def _installed() -> str:
    """As `pip freeze` has it."""
    return "".join(sorted(f"{found.name}=={found.version}\n" for found in importlib.metadata.distributions()))


def _curves_png(architecture: str) -> bytes:
    from core.figure import Figure, to_png
    from core.names import COLOURS, NAMES

    figure = Figure(figsize=(8, 3.6))
    panels = figure.subplots(1, 2)
    axes = {"pr": ("recall", "precision"), "roc": ("fpr", "tpr")}
    units = {"fpr": "false positive rate", "tpr": "true positive rate"}
    for panel, (kind, (x, y)) in zip(panels, axes.items(), strict=True):
        with (Path("plots") / f"{kind}_curves.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["model"] == NAMES[architecture]]
        panel.plot([float(row[x]) for row in rows], [float(row[y]) for row in rows], color=COLOURS[architecture])
        panel.set(xlabel=units.get(x, x), ylabel=units.get(y, y), xlim=(0, 1), ylim=(0, 1))
    panels[0].set_title(f"{NAMES[architecture]}, test, best seed")
    return to_png(figure)


def _has_model(store: Store, run: str) -> bool:
    """Whether the run has a model that was exported whole and whose files are still there."""
    from mlflow.entities import LoggedModelStatus
    from mlflow.exceptions import MlflowException

    outputs = store.client.get_run(run).outputs
    for model in outputs.model_outputs if outputs else ():
        with contextlib.suppress(MlflowException):  # deleted
            if store.client.get_logged_model(model.model_id).status == LoggedModelStatus.READY:
                files = store.client.list_logged_model_artifacts(model.model_id)
                files += store.client.list_logged_model_artifacts(model.model_id, "data")
                if {"MLmodel", MODEL} <= {file.path for file in files}:
                    return True
    return False


def _log_model(store: Store, run: str, architecture: str, models_md5: str) -> None:
    """The best seed's network as an MLflow model, windows in and scores out, unless a run of the same models has it.

    Saved as an exported graph (pt2), which loads without this repository and without unpickling.
    """
    if _has_model(store, run):
        return
    same = [found.info.run_id for found in store.parents(f"tags.models_md5 = '{models_md5}'")]
    if logged := [other for other in same if _has_model(store, other)]:
        store.log(run, tags={"model_of_run": logged[0]})
        return
    import mlflow
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from evaluate import load_model

    network, content = load_model(Path("models") / architecture / "best_model.pt")
    rows = stage.read_array(stage.DATA / "val_X.npy", mapped=True)
    lookback, assets = content["arguments"]["lookback"], stage.read_array(stage.DATA / "val_asset_ids.npy")
    windows = np.stack([rows[first : first + lookback] for first in (0, 1)])
    example = np.concatenate([windows, np.broadcast_to(assets[:2, None, None], (2, lookback, 1))], axis=2).astype(np.float32)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *example.shape[1:]))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1,))]),
    )
    before = store.client.get_run(run).info
    with mlflow.start_run(run_id=run), torch.inference_mode():  # begins and ends the run again
        mlflow.pytorch.log_model(
            servable(network).eval(),
            name=architecture,
            signature=signature,
            input_example=example,
            pip_requirements=[f"torch=={importlib.metadata.version('torch')}", f"mlflow=={mlflow.__version__}", "numpy"],
            tags={"model_type": architecture, "threshold": str(content["threshold"])},
        )
    store.client.set_terminated(run, before.status, before.end_time)


def servable(network: "nn.Module") -> "nn.Module":
    """`network` behind one input, as model servers want it.

    Returns:
        A module from windows (B, T, F + 1), scaled features and last the asset's id, float32, to scores (B,) from 0 to 1.
    """
    import torch

    from core.layers import RecurrentStack

    for module in network.modules():
        if isinstance(module, RecurrentStack):
            module.by_hand = False

    class Servable(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.requires_grad_(requires_grad=False)

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            return self.network(windows[:, :, :-1], windows[:, -1, -1].long()).sigmoid()

    return Servable()


def directory_md5(directory: Path) -> str:
    """As DVC has it in dvc.lock."""
    files = sorted((path.relative_to(directory).as_posix(), path) for path in directory.rglob("*") if path.is_file())
    listing = [{"md5": hashlib.md5(path.read_bytes()).hexdigest(), "relpath": name} for name, path in files]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"


def _locked(architecture: str, models_md5: str) -> dict[str, str]:
    """Hash of the train stage in dvc.lock, where it is the stage that made these models."""
    with contextlib.suppress(OSError, KeyError):
        entry = _lock()[f"train_{architecture}"]
        if any(out["md5"] == models_md5 for out in entry["outs"]):
            return {"dvc_lock_md5": hashlib.md5(json.dumps(entry, sort_keys=True).encode()).hexdigest()}
    return {}


@functools.cache
def _lock() -> dict[str, Any]:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]


def _tags_here() -> dict[str, str]:
    """What made a training: the code, the experiment, the versions."""
    return (
        _origin()
        | {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("torch", "mlflow", "dvc", "numpy")}
    )


def _origin() -> dict[str, str]:
    """The code and the experiment."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10).stdout.strip()

    tags = {"dvc_exp_name": os.environ.get("DVC_EXP_NAME", "")}  # empty, so that every table of runs has the column
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if commit := git("rev-parse", "HEAD"):
            tags |= {"mlflow.source.git.commit": commit, "git_dirty": str(bool(git("status", "--porcelain"))).lower()}
    return tags


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return flat


def trained() -> list[str]:
    """Architectures whose models are here, and what their training found."""
    return [file.stem for file in sorted(Path("metrics/train").glob("*.json")) if Path("models", file.stem).is_dir()]


def update() -> None:
    """Do what `backfill` does once standard input says so, and before it what takes longest: the export of models."""
    store, here = Store(), trained()
    for name in here:
        if select.select([sys.stdin], [], [], 0)[0]:
            break
        digest = directory_md5(Path("models") / name)
        if run := _find(store, digest):
            _log_model(store, run, name, digest)
    if sys.stdin.buffer.read() == tracking.GO:
        for name in here:
            write(store, name)


def backfill() -> None:
    if not (here := trained()):
        raise CampaignError("no trained models here; run dvc repro, or dvc pull")
    store = Store()
    with _holding(stage.root() / "mlflow.db.backfill"):  # two at once would make every run twice
        for name in here:
            print(f"{name:9} run {write(store, name)}")
    print(f"all in {tracking.without_password(store.uri)}")


def ui() -> None:
    """Start MLflow's pages on the store, after the address at which they show the campaign's runs as trainings, with figures.

    Raises:
        CampaignError: the store is a server, which has pages of its own.
    """
    store = Store()
    view = json.dumps({"selectedColumns": COLUMNS})
    store.client.set_experiment_tag(store.experiment_id, "mlflow.sharedViewState.campaign", view)
    shows = f"/#/experiments/{store.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey=campaign"
    if store.uri.startswith("http"):
        address = tracking.without_password(store.uri).rstrip("/") + shows
        raise CampaignError(f"MLFLOW_TRACKING_URI is a server: open {address} in a browser")
    print(f"open http://127.0.0.1:{os.environ.get('MLFLOW_PORT', '5000')}{shows}", flush=True)
    served = {"MLFLOW_BACKEND_STORE_URI": store.uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    arguments = ["-m", "mlflow", "ui", "--host", "127.0.0.1", "--workers", "1"]
    os.execve(sys.executable, [sys.executable, *arguments], os.environ | served)


def main() -> None:
    try:
        follow() if sys.argv[1] == "follow" else update()
    except Exception as error:  # whatever a store, a network or a disk can do
        tracking.warn(error)
    os._exit(0)  # the listener may still wait for the trainer, and would make an orderly end a fatal error


if __name__ == "__main__":
    main()
