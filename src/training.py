"""What the train scripts share: settings in, seeds side by side, progress, resume, artefacts out.

Each seed trains in a process of its own, so that one that dies takes no other with it; the parent watches and writes.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import multiprocessing
import os
import signal
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import nn

import progress
import stage
import tracking
from core import checkpoint, inputs
from core.dataset import Split
from core.errors import CampaignError
from core.fit import fit, multiplies_bfloat16, predict, prepare_process, trains_in_bfloat16
from core.lock import claim
from core.metrics import Ranking, sigmoid

WORKERS = multiprocessing.get_context("forkserver")
NO_SOCKET = (None, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # of a path or a file system
BESIDE = {"tracking", "progress"}  # cannot change a result, so a change of it does not outdate a checkpoint


class Train(stage.Settings):
    seeds: list[int] = Field(min_length=1, max_length=1000)
    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=2, le=1_000_000)
    learning_rate: float = Field(gt=0, le=1)
    weight_decay: float = Field(ge=0, le=1)
    focal_alpha: float = Field(gt=0, lt=1)
    focal_gamma: float = Field(ge=0, le=10)
    gradient_clip: float = Field(gt=0, le=1e6)
    patience: int = Field(ge=1, le=100_000)
    lr_factor: float = Field(gt=0, lt=1)
    lr_patience: int = Field(ge=0, le=100_000)
    precision: Literal["auto", "float32", "bfloat16"]

    @field_validator("seeds")
    @classmethod
    def _once(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**63:
            raise ValueError("a list of whole numbers from 0 up, below 2^63, without repetition")
        return sorted(seeds)

    @field_validator("focal_gamma")
    @classmethod
    def _smooth(cls, gamma: float) -> float:
        if 0 < gamma < 1:  # the loss of a sample that is certainly right has an infinite derivative
            raise ValueError("0, or from 1 to 10")
        return gamma


class Architecture(stage.Settings):
    """What every architecture's section has."""

    asset_embedding: int = Field(ge=1, le=1024)
    dropout: float = Field(ge=0, lt=1)


@dataclasses.dataclass(frozen=True)
class Task:
    """All that a seed's process needs."""

    architecture: str
    model_class: type[nn.Module]
    model_arguments: dict[str, Any]
    settings: dict[str, Any]
    seed: int
    directory: Path  # of checkpoints
    ran_on: inputs.Inputs | None = None  # the stage that it is part of


def train(architecture: str, model_class: type[nn.Module], schema: type[Architecture]) -> None:
    """Run a train stage: sections `train` and `architecture` of params.yaml in; models, history, metrics and figure out.

    Args:
        architecture: name of the stage, the section and the artefacts.
        model_class: built from the section's keys, `n_features`, `n_assets` and `lookback`; maps x (B, T, F) and asset
            ids (B,) to logits (B,).
        schema: of the section.

    Raises:
        CampaignError: settings or data cannot be used, or a seed failed; finished epochs are kept for the next start.
    """
    import joblib

    settings = stage.read_section("train", Train).model_dump()
    section = stage.read_section(architecture, schema).model_dump()
    metadata = stage.read_json(stage.DATA / "metadata.json")
    n_features, lookback, seeds = len(metadata["features"]), metadata["lookback"], settings["seeds"]
    model_arguments = section | {"n_features": n_features, "n_assets": len(metadata["assets"]), "lookback": lookback}
    precision = resolve_precision(settings["precision"], lambda: model_class(**model_arguments), n_features, lookback)
    loop = {name: value for name, value in settings.items() if name != "seeds"} | {"precision": precision}
    fingerprint = _fingerprint(architecture, model_arguments, loop, metadata["content_hash"])
    tags = {"fingerprint": fingerprint, "data_hash": metadata["content_hash"], "bars": metadata["source"]}
    tags |= {"device": device(), "precision": precision}
    with claim(stage.root() / ".checkpoints" / architecture / fingerprint) as directory:
        prepare_workers(directory)
        import core.figure  # noqa: F401 - needed at the end, and there is time now

        try:
            with (
                progress.bars(),
                stage.parallel(len(seeds)) as parallel,
                tracking.live(architecture, seeds, {"train": settings, architecture: section}, tags) as live,
            ):
                made_of = (architecture, model_class, model_arguments, loop)
                tasks = [Task(*made_of, seed, directory, stage.running_on()) for seed in seeds]
                outcomes = parallel(joblib.delayed(_supervise)(task, live) for task in tasks)
                if failed := [outcome for outcome in outcomes if isinstance(outcome, str)]:
                    raise CampaignError("; ".join([*failed, *_kept(directory)]))
                _write(architecture, settings, section, precision, outcomes)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(*_kept(directory)) from None
        stage.confirm()
        checkpoint.remove(directory)  # not before MLflow is done: until then this stage can be interrupted


def resolve_precision(precision: str, build: Callable[[], nn.Module], n_features: int, lookback: int) -> str:
    """Resolve `auto` to bfloat16 where the device multiplies it natively and trains the network in it, else to float32.

    Raises:
        CampaignError: bfloat16 is asked for, and this processor cannot train the network in it.
    """
    if device() == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return precision if precision != "auto" else "bfloat16" if native else "float32"
    if precision == "float32" or (precision == "auto" and not multiplies_bfloat16()):
        return "float32"
    if trains_in_bfloat16(build, n_features, lookback):
        return "bfloat16"
    if precision == "auto":
        return "float32"
    lacking = "" if multiplies_bfloat16() else " without bfloat16 instructions"
    found = f"train.precision is bfloat16, in which this processor ({processor()}{lacking}) cannot train this network"
    raise CampaignError(f"{stage.PARAMS}: {found}; set it to auto or float32")


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def environment() -> dict[str, str]:
    """What decides a training's bytes beside code, settings and data: a GPU by its name, a CPU by its instructions."""
    return {"torch": torch.__version__, "processor": processor()}


def processor() -> str:
    return torch.cuda.get_device_name() if device() == "cuda" else torch.backends.cpu.get_cpu_capability()


def _fingerprint(architecture: str, *settings: Any) -> str:
    """Of all that decides a training's bytes but its seed."""
    files = {module.__file__ for name, module in sys.modules.items() if name not in BESIDE and getattr(module, "__file__", None)}
    source = Path(inputs.__file__).parents[1]  # as modules have it: `inputs.SOURCE` has followed a link on the way to it
    code = [(name, digest) for name, digest in sorted(inputs.CODE.items()) if str(source / name) in files]
    parts = [architecture, *settings, *environment().values(), *code]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _kept(directory: Path) -> list[str]:
    """Say that a checkpoint is left, if one is."""
    return ["finished epochs are kept, the same command goes on after them"] if any(directory.glob("seed-*/state.pt")) else []


# --- a seed's own process -------------------------------------------------------------------------------------------


def _train_seed(task: Task, parent: Connection, *, heeds_interrupt: bool) -> None:
    """Train one seed; send ("begin", history, best epoch, its F1), ("epoch", record, best epoch, its F1) and ("done", model
    bytes, history, summary), in between ("note", text), or at the end ("failed", text)."""
    if heeds_interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    prepare_process()
    cure = f"start fewer seeds at once (CAMPAIGN_JOBS=1) or lower train.batch_size (now {task.settings['batch_size']})"
    try:
        threading.Thread(target=_end_with_parent, daemon=True).start()  # after what forks
        with claim(task.directory / f"seed-{task.seed}") as directory:
            _train_claimed(task, directory / "state.pt", parent)
    except CampaignError as error:
        parent.send(("failed", str(error)))
    except torch.cuda.OutOfMemoryError:
        parent.send(("failed", f"the GPU is out of memory; {cure}"))
    except (MemoryError, RuntimeError, ImportError) as error:
        if not stage.is_out_of_memory(error):
            raise
        detail = f" ({error})" if str(error) and (isinstance(error, MemoryError) or stage.NO_THREAD in str(error)) else ""
        parent.send(("failed", f"out of memory{detail}; {cure}"))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            return  # the parent is gone, and what is done is in the checkpoint
        parent.send(("failed", stage.system_error(error)))
    except KeyboardInterrupt:
        sys.exit(130)


def _train_claimed(task: Task, path: Path, parent: Connection) -> None:
    state = None
    try:
        state = checkpoint.load(path)
    except checkpoint.Corrupt:
        parent.send(("note", f"checkpoint {path} is damaged; ignored, training starts afresh"))
    splits = {split: _load_split(split, task.model_arguments["lookback"]) for split in ("train", "val")}
    if task.ran_on is not None and (changes := task.ran_on.changes()):
        raise inputs.Changed(inputs.told(changes))  # before an epoch of other code or data becomes a checkpoint of these
    torch.manual_seed(task.seed)
    model = task.model_class(**task.model_arguments)
    parent.send(("begin", state["history"], state["best"]["epoch"], state["best"]["f1"]) if state else ("begin", [], 0, 0.0))
    for epoch in fit(model, splits["train"], splits["val"], seed=task.seed, state=state, **task.settings):
        state = epoch.state
        checkpoint.save(path, state)
        parent.send(("epoch", epoch.record, state["best"]["epoch"], state["best"]["f1"]))
    parent.send(("done", *_finish(task, model, splits["train"], state)))


def _finish(task: Task, model: nn.Module, train_split: Split, state: dict[str, Any]) -> tuple[bytes, list, dict]:
    """The best epoch's model as bytes, the history, and a summary, with F1 on train at the best threshold there."""
    best, history = state["best"], state["history"]
    model.load_state_dict(best["weights"])
    train_y, scores = train_split.y.cpu().numpy(), sigmoid(predict(model, train_split))
    record = history[best["epoch"] - 1]
    last = [row["val_f1"] for row in history[-10:]]
    summary = {
        "seed": task.seed,
        "epochs": len(history),
        "best_epoch": best["epoch"],
        "stopped_early": len(history) - best["epoch"] >= task.settings["patience"],
        "threshold": best["threshold"],
        "val_f1_score_positive_class": best["f1"],
        "val_pr_auc": record["val_pr_auc"],
        "val_loss": record["val_loss"],
        "train_f1_score_positive_class": float(Ranking.of(train_y, scores).f1().max()),
        "val_f1_spread_last_10_epochs": max(last) - min(last),
    }
    content = {
        "architecture": task.architecture,
        "arguments": task.model_arguments,
        "seed": task.seed,
        "epoch": best["epoch"],
        "threshold": best["threshold"],
        "val_f1_score_positive_class": best["f1"],
        "weights": {name: tensor.cpu() for name, tensor in best["weights"].items()},
    }
    return checkpoint.to_bytes(content), history, summary


def _load_split(split: str, lookback: int) -> Split:
    return Split.of(**stage.read_split(split, "X", "y", "asset_ids"), lookback=lookback, device=device())


def _end_with_parent() -> None:
    """A killed trainer leaves no orphans."""
    multiprocessing.parent_process().join()
    os._exit(1)


# --- the parent -----------------------------------------------------------------------------------------------------


def prepare_workers(directory: Path) -> None:
    """Start the process that the seeds' processes are forked from, so that torch and its optimizers are imported once.

    Its socket is in `directory`, which is cleared away with the training or gone on with: one in the system's directory for
    temporary files would stay there after a kill. Only where `directory` can hold none (some shared folders) it is there.
    """
    WORKERS.set_forkserver_preload(["torch._dynamo"])
    for left in directory.glob("listener-*"):
        left.unlink(missing_ok=True)
    tried = os.path.relpath(directory), None  # absolute, it may be longer than a socket's path can be; None: a new one of theirs
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer and its workers
    try:
        for place in tried:
            multiprocessing.current_process()._config["tempdir"] = place
            try:
                forkserver.ensure_running()
                return
            except OSError as error:
                if error.errno not in NO_SOCKET:
                    raise
                said = f"no socket can be made in {directory} nor in {gettempdir()} ({stage.one_line(error)})"
        raise CampaignError(f"{said}; set TMPDIR to a directory of a short path on a local disk")
    finally:
        signal.signal(signal.SIGINT, handler)


def _supervise(task: Task, live: tracking.Live) -> tuple[bytes, list[dict], dict] | str:
    """Run one seed's process to its end. Returns what it sent last, or one line on why it failed."""
    receiver, sender = WORKERS.Pipe(duplex=False)
    heeds_interrupt = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # as what a script puts into the background
    options = {"heeds_interrupt": heeds_interrupt}
    process = WORKERS.Process(target=_train_seed, args=(task, sender), kwargs=options, daemon=True)
    name = f"{task.architecture} seed {task.seed}"
    try:
        process.start()
    except (EOFError, ConnectionError):  # where the process that forks them could not, it is gone
        return f"{name}: its process could not be started, see above; set CAMPAIGN_JOBS=1, or raise the limit: ulimit -u"
    sender.close()
    outcome: tuple | None = None
    with progress.Progress(name, task.settings["epochs"]) as shown:
        for kind, *content in _messages(receiver):
            if kind == "note":
                shown.say(content[0])
            elif kind == "begin":
                shown.begin(*content)
                best_f1 = 0.0
                for record in content[0]:  # MLflow may lack some
                    best_f1 = max(best_f1, record["val_f1"])
                    live.tell("epoch", task.seed, record, best_f1)
            elif kind == "epoch":
                record, best_epoch, best_f1 = content
                shown.epoch(record, best_epoch, best_f1)
                live.tell("epoch", task.seed, record, best_f1)
            else:
                outcome = (kind, *content)
        process.join()
        if outcome is None:
            return f"{name}: its process {_how_it_ended(process.exitcode)}"
        if outcome[0] == "failed":
            return f"{name}: {outcome[1]}"
        shown.stopped(outcome[3], task.settings["patience"])
        return outcome[1:]


def _messages(receiver: Connection) -> Iterator[tuple]:
    """Until the worker is gone: EOFError after a whole message, OSError in the middle of one."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            yield receiver.recv()


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        hint = ", often the system short of memory: fewer at once with CAMPAIGN_JOBS=1" if code == -signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{hint}"
    return "was interrupted" if code == 130 else f"ended with exit code {code}, see its output above"


# --- artefacts ------------------------------------------------------------------------------------------------------


def _write(
    architecture: str,
    settings: dict[str, Any],
    section: dict[str, Any],
    precision: str,
    outcomes: list[tuple[bytes, list[dict], dict]],
) -> None:
    models = Path("models") / architecture
    summaries = [summary for _, _, summary in outcomes]
    best = max(range(len(summaries)), key=lambda i: summaries[i]["val_f1_score_positive_class"])
    by_name = {f"seed_{summary['seed']}.pt": model for model, _, summary in outcomes}
    for name, model in by_name.items():
        stage.write_bytes(models / name, model)
    for earlier in models.glob("seed_*.pt*"):  # DVC clears them, a script started by hand does not
        if earlier.name not in by_name:
            earlier.unlink()
    stage.write_bytes(models / "best_model.pt", outcomes[best][0])
    stage.write_bytes(models / "scalers.joblib", (stage.DATA / "scalers.joblib").read_bytes())
    rows = [{"seed": summary["seed"], **record} for _, history, summary in outcomes for record in history]
    stage.write_csv(models / "training_history.csv", rows)

    f1 = [summary["val_f1_score_positive_class"] for summary in summaries]
    stage.write_json(
        Path("metrics/train") / f"{architecture}.json",
        {
            "val_f1_score_positive_class": statistics.fmean(f1),
            "val_f1_score_positive_class_std": statistics.stdev(f1) if len(f1) > 1 else 0.0,
            "train_f1_score_positive_class": statistics.fmean(s["train_f1_score_positive_class"] for s in summaries),
            "best_seed": summaries[best]["seed"],
            "precision": precision,
            "environment": environment(),
            "settings": settings,
            "architecture": section,
            "seeds": summaries,
        },
    )
    stage.write_bytes(Path("plots/learning_curves") / f"{architecture}.png", learning_curves(architecture, rows, summaries))


def learning_curves(architecture: str, rows: list[dict[str, Any]], summaries: list[dict[str, Any]]) -> bytes:
    """A PNG: loss and F1 by epoch, each seed a line, a dot at its best epoch. The same colour for every architecture, since a
    trainer that knew of others would be outdated by a new one.

    Args:
        rows: the training history, `seed`, `epoch`, `train_loss`, `val_loss`, `train_f1`, `val_f1`.
        summaries: `seed` and `best_epoch` of each seed.
    """
    from core.figure import Figure, to_png  # 0.5 s that the seeds' processes can do without

    figure = Figure(figsize=(9, 3.4))
    panels = figure.subplots(1, 2)
    colour = "#0072B2"
    for panel, score, unit in zip(panels, ("loss", "f1"), ("focal loss", "F1 at the tuned threshold"), strict=True):
        for number, summary in enumerate(summaries):
            own = [row for row in rows if row["seed"] == summary["seed"]]
            epochs, val = [row["epoch"] for row in own], [row[f"val_{score}"] for row in own]
            label = number == 0
            panel.plot(epochs, [row[f"train_{score}"] for row in own], color="#7F7F7F", lw=1, label="train" if label else None)
            panel.plot(epochs, val, color=colour, lw=1.4, alpha=0.85, label="validation" if label else None)
            best = summary["best_epoch"] - 1
            panel.plot(epochs[best], val[best], "o", color=colour, ms=5, label="best epoch" if label else None)
        panel.set(xlabel="epoch", ylabel=unit)
        panel.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_title(f"{architecture}, {len(summaries)} seed{'s' * (len(summaries) > 1)}")
    panels[1].legend(loc="best")
    return to_png(figure)
