"""Write to MLflow what stages do: in processes of their own, which `tracking` starts, or for a person.

`follow` makes a training's run and its children, one a seed (`_create_run`), or resumes the run of an interrupted training
(`_open_run`), and logs epochs as they end. At the training's end `write_run` completes the run from the files; so it does after
`evaluate` and `compare` (`update`), and in a backfill, where it finds the run by its models or makes one. Walk-forward has runs
of its own (`walk_forward_runs`), written at its end (`update_walk_forward`) and in a backfill, and so has a search
(`search_runs`), at its end.
"""

import sys

sys.path.insert(0, __file__.rpartition("/watch/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

import contextlib
import csv
import functools
import hashlib
import importlib.metadata
import json
import os
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import CampaignError, print_stderr
from core.files import project_root, read_json
from core.inputs import SOURCE
from core.pipeline import MODELS, TRAIN, read_generated_yaml
from core.splits import DATA
from watch import ledger, tracking
from watch.run_values import (
    RUN_TAGS,
    Point,
    Record,
    changed_points,
    describe_code,
    describe_versions,
    directory_md5,
    epoch_points,
    flatten,
    last_epoch,
    missing_means,
    pop_means,
    read_history,
)
from watch.store import Store, hold_lock, is_dead, store_uri

RUN_NOTE = (
    "Curves and figures are means over seeds, curves as far as every seed trained; each seed's own are in its child run. "
    "The tag threshold is the best seed's, whose network is the logged model. How busy the machine was: system metrics."
)
LISTED_COLUMNS = (  # that MLflow's list of runs shows in `open_ui`
    *("metrics.`val_f1_score_positive_class`", "metrics.`val_pr_auc`", "metrics.`test_f1_score_positive_class`"),
    *("tags.`bars`", "tags.`dvc_exp_name`", "tags.`threshold`", "attributes.`Models`"),
)
MODEL_FILE = "artifacts/model/model.json"  # of a logged model, beside its MLmodel
SERVED_CODE = ("bars", "core", "judge", "learn", "serve")  # folders that a logged model has with it
SERVED_WITH = ("torch", "mlflow", "numpy", "pandas", "pyarrow", "scipy", "TA-Lib", "pydantic")  # packages that it needs
BATCH_SECONDS = 2.0  # epochs that end within so long go to the store together
SAMPLING_SECONDS, SAMPLES_PER_POINT = 2.0, 5  # between looks at the machine, and looks that make one point
CURVES_COLOUR = "#0072B2"


# --- a training while it runs ----------------------------------------------------------------------------------------


def follow() -> None:
    """Log the training whose messages come on standard input, until it says how it ended, or is gone."""
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
    tags = {**describe_code(), **describe_versions(), **tags}
    run, children, logged = _open_run(store, architecture, seeds, flatten(sections), tags)
    print_stderr(f"tracking: run {architecture} {run} in {tracking.without_password(store.uri)}")
    with sampling_machine(run):
        ending = log_epochs(messages, store, run, children, logged)
    if ending == "FINISHED":
        write_run(store, architecture, run)
    else:
        store.end((*children.values(), run), ending)


def log_epochs(
    messages: "queue.SimpleQueue[list[Any]]", store: Store, run: str, children: Mapping[int, str], logged: dict[int, int]
) -> str:
    """Log the epochs that `messages` tell of, and their means over seeds.

    Args:
        children: run of each seed.
        logged: last epoch that each seed's run has; updated.

    Returns:
        How the training ended.
    """
    ending, mean_logged = None, last_epoch(store, run)
    unfinished: dict[int, list[Record]] = {}
    while ending is None:
        points: dict[str, list[Point]] = {}
        for kind, *content in next_messages(messages):
            if kind == "end":
                ending = content[0]
                break
            seed, record, best_f1 = content
            if record["epoch"] > logged[seed]:  # a resumed training sends all its epochs again
                logged[seed] = record["epoch"]
                points.setdefault(children[seed], []).extend(epoch_points(record, best_f1))
            if record["epoch"] > mean_logged:
                unfinished.setdefault(record["epoch"], []).append(record)
        if means := pop_means(unfinished, len(children)):
            points[run] = means
        for logged_run, own in points.items():
            store.log(logged_run, metrics=own)
    return ending


@contextlib.contextmanager
def sampling_machine(run: str) -> Iterator[None]:
    """Log how busy this machine is during the block, by MLflow's own sampler in a thread.

    GPUs are included where nvidia-ml-py is installed. What cannot be sampled is left out.
    """
    import psutil
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    class Sampler(SystemMetricsMonitor):
        def monitor(self) -> None:
            with contextlib.suppress(Exception):
                psutil.cpu_percent()  # a thread's first call returns 0, later ones the load since the last
                if not self._shutdown_event.wait(self.sampling_interval):
                    super().monitor()

    sampler = None
    with contextlib.suppress(Exception):
        sampler = Sampler(run, SAMPLING_SECONDS, SAMPLES_PER_POINT, resume_logging=True)
        sampler.start()
    yield
    with contextlib.suppress(Exception):
        sampler.finish()
        if not sampler.aggregate_metrics():
            sampler.collect_metrics()  # the training ended before the thread's first look; this look covers all of it
        sampler.publish_metrics(sampler.aggregate_metrics())  # MLflow would drop the rest
        sampler.mlflow_logger.flush()


def next_messages(messages: "queue.SimpleQueue[list[Any]]") -> Iterator[list[Any]]:
    """Yield the next message and those within `BATCH_SECONDS` after it.

    A call to the store costs as much for one message as for many.
    """
    yield messages.get()
    until = time.monotonic() + BATCH_SECONDS
    with contextlib.suppress(queue.Empty):
        while True:
            yield messages.get(timeout=max(0.0, until - time.monotonic()))


def _open_run(
    store: Store, architecture: str, seeds: list[int], params: Mapping[str, Any], tags: Mapping[str, str]
) -> tuple[str, dict[int, str], dict[int, int]]:
    """Resume the run of an interrupted training with the same fingerprint, or make a new one.

    Returns:
        Its id, its children's ids by seed, and the last epoch each child has.
    """
    for earlier in store.find_parents(f"tags.fingerprint = '{tags['fingerprint']}'"):
        if earlier.info.status == "FINISHED":
            continue
        if earlier.info.status == "RUNNING" and not is_dead(earlier.data.tags.get("process", "")):
            continue  # the same training elsewhere
        run = earlier.info.run_id
        if not set(store.find_children(run)) <= set(seeds):
            continue
        children = _open_children(store, run, seeds)
        for resumed in (run, *children.values()):
            store.log(resumed, tags=tags)
            store.client.update_run(resumed, status="RUNNING")
        return run, children, {seed: last_epoch(store, child) for seed, child in children.items()}
    run, children = _create_run(store, architecture, seeds, params, tags)
    return run, children, dict.fromkeys(seeds, 0)


def _create_run(
    store: Store, architecture: str, seeds: list[int], params: Mapping[str, Any], tags: Mapping[str, str]
) -> tuple[str, dict[int, str]]:
    """Make a training's run and a child for each seed. Returns their ids."""
    name = f"{architecture} {tags['dvc_exp_name']}".strip()
    run = store.create(name, {"model_type": architecture, "mlflow.note.content": RUN_NOTE, **RUN_TAGS, **tags})
    store.log(run, params=params)
    return run, _open_children(store, run, seeds)


def _open_children(store: Store, run: str, seeds: list[int]) -> dict[int, str]:
    """Return the ids of the run's children by seed; missing ones are made, with the run's tags and parameters."""
    children = {seed: child.info.run_id for seed, child in store.find_children(run).items()}
    parent = store.client.get_run(run)
    kept = {key: value for key, value in parent.data.tags.items() if key.startswith("mlflow.source.") or "mlflow." not in key}
    for seed in seeds:
        if seed not in children:
            own = {**kept, "mlflow.parentRunId": run, "seed": str(seed)}
            children[seed] = store.create(f"{parent.info.run_name} seed {seed}", own)
            store.log(children[seed], params={**parent.data.params, "seed": seed})
    return children


# --- a finished training's run, from the files ----------------------------------------------------------------------


def write_run(store: Store, architecture: str, run: str | None = None) -> str:
    """Complete the run of ``models/<architecture>`` from what is on disk.

    That is epochs, metrics and artefacts, and once `evaluate` has judged it the model.

    Args:
        run: its id; None finds the one with these very models, or makes it. An experiment of DVC gets one of its own, since
            other settings of `evaluate` may have judged the same models elsewhere.

    Returns:
        The run's id.
    """
    trained = read_json(Path("metrics/train") / f"{architecture}.json")
    models_md5 = directory_md5(MODELS / architecture)
    seeds = [summary["seed"] for summary in trained["seeds"]]
    tags = {"models_md5": models_md5, "best_seed": str(trained["best_seed"])} | _describe_lock(architecture, models_md5)
    run = run or _find_run(store, models_md5)
    if run is None:
        params = flatten({"train": trained["settings"], architecture: trained["architecture"]})
        run, _ = _create_run(store, architecture, seeds, params, {**tags, **_describe_backfill(trained)})
    children = _open_children(store, run, seeds)
    evaluated = read_evaluation(architecture, trained)
    history = read_history(MODELS / architecture)

    _write_children(store, children, trained, evaluated, history, tags)
    _write_parent(store, run, architecture, trained, evaluated, history, tags)
    _log_artifacts(store, run, architecture, evaluated)
    if evaluated and _is_compared(architecture, evaluated):
        _log_model(store, run, architecture, models_md5)
    store.end((*children.values(), run), "FINISHED")
    return run


def _describe_backfill(trained: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a run that is made from files alone."""
    data = read_json(DATA / "metadata.json")
    tags = {"data_hash": data["content_hash"], "bars": data["source"], "precision": trained["precision"]}
    return {**tags, "process": tracking.this_process(), **describe_code(), "backfilled": "true"}


def _write_children(
    store: Store,
    children: Mapping[int, str],
    trained: Mapping[str, Any],
    evaluated: Mapping[str, Any] | None,
    history: list[dict[str, str]],
    tags: Mapping[str, str],
) -> None:
    """Complete the run of each seed."""
    for number, summary in enumerate(trained["seeds"]):
        child = children[summary["seed"]]
        store.log(child, metrics=_missing_epochs(store, child, summary["seed"], history))
        figures = {key: value for key, value in summary.items() if key not in ("seed", "stopped_early")}
        if evaluated:
            figures |= {f"test_{key}": value for key, value in evaluated["test"][number].items()}
        store.log(child, metrics=changed_points(store, child, figures), tags={**tags, "threshold": summary["threshold"]})


def _write_parent(
    store: Store,
    run: str,
    architecture: str,
    trained: Mapping[str, Any],
    evaluated: Mapping[str, Any] | None,
    history: list[dict[str, str]],
    tags: Mapping[str, str],
) -> None:
    """Complete the epochs, figures and tags of the run that stands for all seeds."""
    store.log(run, metrics=missing_means(store, run, history, len(trained["seeds"])))

    figures = {key: value for key, value in trained.items() if key != "best_seed"}
    figures["val_pr_auc"] = statistics.fmean(summary["val_pr_auc"] for summary in trained["seeds"])
    if evaluated:
        figures |= read_json(Path("metrics/test") / f"{architecture}.json")
    (best,) = [summary for summary in trained["seeds"] if summary["seed"] == trained["best_seed"]]
    own = {"threshold": best["threshold"], "mlflow.note.content": RUN_NOTE, **(ledger.looks_tag(DATA) if evaluated else {})}
    store.log(run, metrics=changed_points(store, run, figures), tags={**tags, **own})


def _find_run(store: Store, models_md5: str) -> str | None:
    """Find the run of these very models."""
    run = store.find_own(f"tags.models_md5 = '{models_md5}'")
    return run.info.run_id if run else None


def _missing_epochs(store: Store, child: str, seed: int, history: Iterable[Mapping[str, str]]) -> list[Point]:
    """Make points of the epochs of one seed that its run lacks; `history` holds all seeds' rows."""
    last, best_f1, points = last_epoch(store, child), -1.0, []
    for row in history:
        if int(row["seed"]) == seed:
            record = {key: float(value) for key, value in row.items()}
            best_f1 = max(best_f1, record["val_f1"])
            points += epoch_points(record, best_f1) if record["epoch"] > last else []
    return points


def read_evaluation(architecture: str, trained: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read what `evaluate` found about these very models; None where it has not run, or judged others."""
    try:
        result = read_json(Path("metrics/evaluate.json"))["models"][architecture]
    except CampaignError:
        return None
    return result if result["thresholds"] == [summary["threshold"] for summary in trained["seeds"]] else None


def _is_compared(architecture: str, evaluated: Mapping[str, Any]) -> bool:
    """Tell whether the report is about what `evaluate` found."""
    with contextlib.suppress(CampaignError):
        f1 = read_json(Path("metrics/compare.json"))["models"][architecture]["test"]["f1"]["by_seed"]
        return f1 == [row["f1_score_positive_class"] for row in evaluated["test"]]
    return False


def _log_artifacts(store: Store, run: str, architecture: str, evaluated: Mapping[str, Any] | None) -> None:
    """Log DVC's files and a figure made from them; those of `evaluate` and `compare` only where they are about these models."""
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
        (Path(directory) / "requirements.txt").write_text(list_packages())
        store.client.log_artifact(run, f"{directory}/requirements.txt", "environment")
        if evaluated:
            (Path(directory) / "pr_and_roc_curves.png").write_bytes(draw_curves(architecture))
            store.client.log_artifact(run, f"{directory}/pr_and_roc_curves.png", "test")


@functools.cache
def list_packages() -> str:
    """List the installed packages, a line each, as `pip freeze` does."""
    return "".join(sorted(f"{package.name}=={package.version}\n" for package in importlib.metadata.distributions()))


def draw_curves(architecture: str) -> bytes:
    """Draw the PR and ROC curves of the best seed on test, as PNG."""
    from core.png import Figure, to_png

    label = read_json(MODELS / architecture / "network.json")["label"]
    figure = Figure(figsize=(8, 3.6))
    panels = figure.subplots(1, 2)
    axes = {"pr": ("recall", "precision"), "roc": ("fpr", "tpr")}
    names = {"fpr": "false positive rate", "tpr": "true positive rate"}
    for panel, (kind, (x, y)) in zip(panels, axes.items(), strict=True):
        with (Path("plots") / f"{kind}_curves.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["model"] == label]
        panel.plot([float(row[x]) for row in rows], [float(row[y]) for row in rows], color=CURVES_COLOUR)
        panel.set(xlabel=names.get(x, x), ylabel=names.get(y, y), xlim=(0, 1), ylim=(0, 1))
    panels[0].set_title(f"{label}, test, best seed")
    return to_png(figure)


def _has_model(store: Store, run: str, served_md5: str) -> bool:
    """Tell whether the run has this very model, logged whole, and its files are still there."""
    from mlflow.entities import LoggedModelStatus
    from mlflow.exceptions import MlflowException

    outputs = store.client.get_run(run).outputs
    for model in outputs.model_outputs if outputs else ():
        with contextlib.suppress(MlflowException):  # deleted
            logged = store.client.get_logged_model(model.model_id)
            if logged.status == LoggedModelStatus.READY and logged.tags.get("served_md5") == served_md5:
                folder = MODEL_FILE.rpartition("/")[0]
                files = [
                    file for place in (None, folder) for file in store.client.list_logged_model_artifacts(logged.model_id, place)
                ]
                if {"MLmodel", MODEL_FILE} <= {file.path for file in files}:
                    return True
    return False


def _log_model(store: Store, run: str, architecture: str, models_md5: str) -> None:
    """Log what scores bars with all seeds of an architecture, unless a run has it already (`serve.served_model`).

    It has the code, so that it loads without this repository, and nothing in it is pickled.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    from bars.features import extra_columns
    from serve.model import DESCRIPTION, Model
    from serve.served_model import ARTIFACT, BARS

    with tempfile.TemporaryDirectory() as temporary:
        model, place = Model.read(architecture), Path(temporary) / ARTIFACT
        model.copy_to(place)
        served_md5 = hashlib.md5((place / DESCRIPTION).read_bytes() + models_md5.encode()).hexdigest()
        if _has_model(store, run, served_md5):
            return
        same = [found.info.run_id for found in store.find_parents(f"tags.served_md5 = '{served_md5}'")]
        if logged := [other for other in same if _has_model(store, other, served_md5)]:
            store.log(run, tags={"model_of_run": logged[0]})
            return
        texts, numbers = BARS[:2], [*BARS[2:], *extra_columns(model.recipe.features)]
        columns = [ColSpec("string", name) for name in texts] + [ColSpec("double", name) for name in numbers]
        before = store.client.get_run(run).info
        with mlflow.start_run(run_id=run):  # begins and ends the run again
            mlflow.pyfunc.log_model(
                name=architecture,
                python_model=str(SOURCE / "serve/served_model.py"),
                artifacts={ARTIFACT: str(place)},
                code_paths=[str(SOURCE / name) for name in (*SERVED_CODE, f"train_{architecture}.py")],
                signature=ModelSignature(inputs=Schema(columns)),
                pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in SERVED_WITH],
                tags={"model_type": architecture, "served_md5": served_md5},
            )
        store.client.set_terminated(run, before.status, before.end_time)
        store.log(run, tags={"served_md5": served_md5})


def _describe_lock(architecture: str, models_md5: str) -> dict[str, str]:
    """Hash the train stage's entry in dvc.lock, as a tag, where it is the stage that made these models."""
    with contextlib.suppress(CampaignError, KeyError):
        entry = _read_locked_stages()[f"{TRAIN}{architecture}"]
        if any(out["md5"] == models_md5 for out in entry["outs"]):
            return {"dvc_lock_md5": hashlib.md5(json.dumps(entry, sort_keys=True).encode()).hexdigest()}
    return {}


@functools.cache
def _read_locked_stages() -> dict[str, Any]:
    return read_generated_yaml(Path("dvc.lock"))["stages"]


# --- commands ---------------------------------------------------------------------------------------------------------


def list_trained() -> list[str]:
    """List the architectures whose models and metrics are here."""
    return [file.stem for file in sorted(Path("metrics/train").glob("*.json")) if (MODELS / file.stem).is_dir()]


def update() -> None:
    """Write all runs once standard input says that the stage ended well."""
    store = Store()
    if sys.stdin.buffer.read() == tracking.STAGE_ENDED_WELL:
        for name in list_trained():
            write_run(store, name)


def update_walk_forward() -> None:
    """Write walk-forward's runs once standard input says that its stage ended well."""
    from watch import walk_forward_runs

    store = Store()
    if sys.stdin.buffer.read() == tracking.STAGE_ENDED_WELL:
        walk_forward_runs.write_runs(store)


def update_search(result: str) -> None:
    """Write a search's runs from its result, a file, once standard input says that it ended well."""
    from watch import search_runs

    store = Store()
    if sys.stdin.buffer.read() == tracking.STAGE_ENDED_WELL:
        search_runs.write_runs(store, Path(result))


def for_a_person(command: Callable[[], None]) -> Callable[[], None]:
    """Have `command` raise CampaignError, without a password in it, on whatever a store, a network or a disk can do."""

    @functools.wraps(command)
    def run() -> None:
        try:
            command()
        except CampaignError:
            raise
        except Exception as error:
            raise CampaignError(tracking.without_password(f"the store {store_uri()} failed: {error}")) from None

    return run


@for_a_person
def backfill() -> None:
    """Write all runs of the models and the walk-forward that are here. Raises CampaignError where there are none."""
    from watch import walk_forward_runs

    here, has_walk_forward = list_trained(), walk_forward_runs.is_judged()
    if not here and not has_walk_forward:
        raise CampaignError("no trained models here; run dvc repro, or dvc pull")
    store = Store()
    with hold_lock(project_root() / "mlflow.db.backfill"):  # two at once would make every run twice
        for name in here:
            print(f"{name:9} run {write_run(store, name)}")
        if has_walk_forward:
            run = walk_forward_runs.write_runs(store, backfilled="true")
            print(f"walk-forward run {run}")
    print(f"all in {tracking.without_password(store.uri)}")


@for_a_person
def open_ui() -> None:
    """Print the address of the campaign's runs in MLflow's pages, and become the server of these pages.

    Raises:
        CampaignError: the store is a server, which has pages of its own.
    """
    store = Store()
    view = json.dumps({"selectedColumns": LISTED_COLUMNS})
    store.client.set_experiment_tag(store.experiment_id, "mlflow.sharedViewState.campaign", view)
    page = f"/#/experiments/{store.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey=campaign"
    if store.uri.startswith("http"):
        address = tracking.without_password(store.uri).rstrip("/") + page
        raise CampaignError(f"MLFLOW_TRACKING_URI is a server: open {address} in a browser")
    print(f"open http://127.0.0.1:{os.environ.get('MLFLOW_PORT', '5000')}{page}", flush=True)
    settings = {"MLFLOW_BACKEND_STORE_URI": store.uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    arguments = ["-m", "mlflow", "ui", "--host", "127.0.0.1", "--workers", "1"]
    os.execve(sys.executable, [sys.executable, *arguments], os.environ | settings)


if __name__ == "__main__":
    try:
        commands: dict[str, Callable[..., None]] = {"follow": follow, "update": update}
        commands |= {"update_walk_forward": update_walk_forward, "update_search": update_search}
        commands[sys.argv[1]](*sys.argv[2:])
    except Exception as error:  # whatever a store, a network or a disk can do
        tracking.warn(error)
    os._exit(0)  # the listener may still wait for the trainer, and would make an orderly end a fatal error
