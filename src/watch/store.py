"""Open the MLflow experiment that the campaign's runs are in, wherever its store is; make both where they are not there."""

import contextlib
import fcntl
import logging
import os
import re
import shlex
import socket
import sqlite3
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from core.errors import CampaignError, print_stderr
from core.files import project_root
from watch import tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

EXPERIMENT = "Baseline_Training_Production"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow's pages take models for agents
SQLITE_URI = re.compile(r"(?P<scheme>sqlite(\+\w+)?:///)(?P<file>(?!:memory:|file:)[^?]+)(?P<query>\?.*)?")
DIRECTORY_URI = re.compile(r"(?P<scheme>file:)?(?P<path>(?!databricks$)[^:]+)")
MAX_BATCH = 900  # metrics in a call: a store takes at most 1000 values, 100 of them parameters
MAX_TEXT = 6000  # characters of a parameter or a note
MLFLOW_ENVIRONMENT = {  # a server that is down costs seconds, not minutes, and nothing is sent to anyone else
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
    "PGCONNECT_TIMEOUT": "10",
}


# --- where it is ------------------------------------------------------------------------------------------------------


def store_uri() -> str:
    """Return the store's address.

    A relative path is resolved against the project's root, so that an experiment in a temporary copy writes to the project's
    store.

    Raises:
        CampaignError: the path has a question mark, which SQLAlchemy would take for the end of it.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if match := SQLITE_URI.fullmatch(uri):
        file = project_root() / match["file"]
        if "?" in str(file):
            raise CampaignError(f"{file} has a question mark, which ends a path in an SQLite address; rename its directory")
        return f"{match['scheme']}{file}{match['query'] or ''}"
    if match := DIRECTORY_URI.fullmatch(uri):
        return (project_root() / (unquote(match["path"]) if match["scheme"] else match["path"])).as_uri()
    return uri


def database() -> Path | None:
    """Return the SQLite file that is the store; None where the store is something else."""
    match = SQLITE_URI.fullmatch(store_uri())
    return Path(match["file"]) if match else None


def artifact_location() -> str | None:
    """Return where a new experiment's artefacts go: beside an SQLite file, in the project's root for another database.

    It is set explicitly: else MLflow would keep the working directory of the first process for ever, even a temporary one.
    None where a server or MLflow's directory store decides.
    """
    if file := database():
        return (file.parent / "mlartifacts").as_uri()
    is_database = re.match(r"(postgresql|mysql|mssql)\b", store_uri())
    return (project_root() / "mlartifacts").as_uri() if is_database else None


def is_own() -> bool:
    """Tell whether the store is the project's, and not one that the environment names."""
    return not os.environ.get("MLFLOW_TRACKING_URI")


def describe_store() -> str:
    """Ask the store for an answer, and return its address. Changes nothing; raises whatever a store or a network can do."""
    if tracking.is_off():
        return "off (CAMPAIGN_TRACKING)"
    _quieten_mlflow()
    uri = store_uri()
    said = tracking.without_password(uri)
    if (file := database()) and not _has_content(file):
        return f"{said}, which the first training makes"
    with _explain_half_made(file):
        _client(uri).search_experiments(max_results=1)
    return said


def _client(uri: str) -> "MlflowClient":
    """Open the store. Raises at once where a database is down, not after MLflow's ten attempts, which take 100 s."""
    import mlflow

    if not uri.startswith("http"):
        import mlflow.store.db.utils

        mlflow.store.db.utils.MAX_RETRY_COUNT = 1
    return mlflow.MlflowClient(uri)


def _has_content(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _make_database(file: Path, location: str) -> None:
    """Make MLflow's tables in `file`, atomically: a database that a kill left half migrated cannot be opened again.

    It is made beside `file` and renamed, so the caller must hold a lock.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    new = file.with_name(f"{file.name}.new")
    for left in (new, new.with_name(f"{new.name}-journal")):
        left.unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite:///{new}", location).engine.dispose()
    new.replace(file)


@contextlib.contextmanager
def _explain_half_made(file: Path | None) -> Iterator[None]:
    """Name the cure where `file` cannot be opened because the process that made it, such as `mlflow ui`, was killed."""
    try:
        yield
    except Exception as error:
        if file and re.search("already exists|duplicate column|no such table|out-of-date", str(error)) and _has_no_run(file):
            cure = f"remove it: rm {shlex.quote(str(file))}"
            raise CampaignError(f"this database was left half made and holds no run; {cure}") from None
        raise


def _has_no_run(file: Path) -> bool:
    """Tell whether an SQLite file holds no run, or not even their table."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as opened:
            return bool(opened.execute("select count(*) from runs").fetchone()[0] == 0)
    except sqlite3.Error as error:
        return "no such table: runs" in str(error)


# --- the experiment in it ---------------------------------------------------------------------------------------------


class Store:
    """The campaign's experiment in the tracking store.

    It is opened under a lock, since processes that make the tables of a fresh database at the same time break it.
    """

    def __init__(self) -> None:
        _quieten_mlflow()
        import mlflow

        self.uri, own = store_uri(), is_own()
        mlflow.set_tracking_uri(self.uri)  # sets the environment's variable too
        file, location = database(), artifact_location()
        with contextlib.ExitStack() as stack:
            if location:
                stack.enter_context(hold_lock(file or project_root() / "mlflow.db"))
            if file and not _has_content(file):
                _make_database(file, location)
            stack.enter_context(_explain_half_made(file))
            self.client = _client(self.uri)
            self.experiment_id = self._open_experiment(location, own=own)
        self._end_dead_runs()

    def _open_experiment(self, location: str | None, *, own: bool) -> str:
        """Return the experiment's id. Makes it, or restores a deleted one, and warns of artefacts that go elsewhere.

        Args:
            location: where artefacts of a new one go; None lets the store decide.
            own: whether the store is the project's.
        """
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            try:
                return self.client.create_experiment(EXPERIMENT, artifact_location=location, tags=EXPERIMENT_TAGS)
            except MlflowException:  # a race with another process, on a server, which has no lock of ours
                if not (experiment := self.client.get_experiment_by_name(EXPERIMENT)):
                    raise
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        if not EXPERIMENT_TAGS.items() <= experiment.tags.items():
            for key, value in EXPERIMENT_TAGS.items():
                self.client.set_experiment_tag(experiment.experiment_id, key, value)
        if misplaced := _misplaced_artifacts(experiment, location, own=own):
            print_stderr(f"tracking: warning: artefacts go to {misplaced} to begin a new one here")
        return experiment.experiment_id

    def find(self, condition: str) -> "list[Run]":
        """Find runs of the experiment, newest first."""
        found: list[Run] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], condition, order_by=["attributes.start_time DESC"], page_token=token
            )
            found += page
            if not (token := page.token):
                return found

    def find_parents(self, condition: str) -> "list[Run]":
        """Find runs of whole trainings, or of walk-forward, newest first."""
        return [run for run in self.find(condition) if "mlflow.parentRunId" not in run.data.tags]

    def find_own(self, condition: str) -> "Run | None":
        """Find the newest of these parents; within an experiment of DVC only the experiment's own counts."""
        same, name = self.find_parents(condition), os.environ.get("DVC_EXP_NAME", "")
        own = [run for run in same if run.data.tags.get("dvc_exp_name", "") == name] or ([] if name else same)
        return own[0] if own else None

    def find_children(self, parent: str) -> "dict[int, Run]":
        """Find the newest run of each seed."""
        runs = self.find(f"tags.`mlflow.parentRunId` = '{parent}'")
        return {int(run.data.tags["seed"]): run for run in reversed(runs)}

    def create(self, name: str, tags: Mapping[str, str]) -> str:
        return self.client.create_run(self.experiment_id, run_name=name, tags=dict(tags)).info.run_id

    def log(self, run: str, *, metrics: Any = (), params: Mapping[str, Any] | None = None, tags: Any = None) -> None:
        """Log any number of values in few calls; `metrics` are (key, value, step)."""
        from mlflow.entities import Metric, Param, RunTag

        now = time.time_ns() // 1_000_000
        values = [Metric(key, float(value), now, step) for key, value, step in metrics]
        texts = [Param(key, str(value)[:MAX_TEXT]) for key, value in (params or {}).items()]
        labels = [RunTag(key, str(value)) for key, value in (tags or {}).items()]
        for first in range(0, max(len(values), 1), MAX_BATCH):
            self.client.log_batch(run, metrics=values[first : first + MAX_BATCH], params=texts, tags=labels)
            texts, labels = [], []

    def end(self, runs: Iterable[str], status: str) -> None:
        """End runs with `status`.

        A run that is already in that status keeps its end time: what `evaluate` adds later is no part of a training's duration.
        """
        for run in runs:
            if self.client.get_run(run).info.status != status:
                self.client.set_terminated(run, status)

    def _end_dead_runs(self) -> None:
        """End the runs left open by trainers and writers of this machine that were killed."""
        for run in self.find("attributes.status = 'RUNNING'"):
            if is_dead(run.data.tags.get("process", "")):
                self.end([run.info.run_id], "KILLED")


def _misplaced_artifacts(experiment: "Experiment", location: str | None, *, own: bool) -> str:
    """Say where artefacts go and what to do, where that is not where a new experiment's would go; empty where it is."""
    kept = experiment.artifact_location
    if own and kept != location:
        return f"{kept}, where the project was when mlflow.db was made; move mlflow.db away"
    if location and "/.dvc/tmp/" in kept:
        cure = f"mlflow experiments rename --experiment-id {experiment.experiment_id} --new-name old"
        return f"{kept}, a temporary copy of the project; {cure}"
    return ""


@contextlib.contextmanager
def hold_lock(file: Path) -> Iterator[None]:
    """Hold the lock beside `file`, whose directory is made. Raises as `lock_file` does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f"{file.name}.lock").open("w") as lock:
        lock_file(lock)
        yield


def lock_file(lock: IO[str]) -> None:
    """Lock a file, waiting for another process as long as a stage waits for its writer. Raises TimeoutError."""
    until = time.monotonic() + tracking.WRITER_TIMEOUT
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                name = Path(lock.name).name
                raise TimeoutError(f"another process has held {name} for {tracking.WRITER_TIMEOUT:g} s") from None
        time.sleep(0.05)


def _quieten_mlflow() -> None:
    """Keep MLflow from logging, warning, retrying long, and sending anything; call it before MLflow is imported."""
    for name, value in MLFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # an error is told as one line, with no password


def is_dead(process: str) -> bool:
    """Tell whether a process, as `tracking.this_process` names it, was one of this machine and has ended."""
    host, _, pid = process.partition(":")
    return host == socket.gethostname() and pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists()
