"""Train, in a process of its own or on a node of a cluster, and tell how it goes."""

import dataclasses
import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core import cluster, cross_fitting, inputs
from core.errors import CampaignError
from core.files import read_json
from core.lock import lock_directory
from core.metrics import Ranking, sigmoid
from core.run import THREAD_REFUSED, describe_system_error, is_out_of_memory
from core.splits import read_split
from learn import checkpoint
from learn.dataset import Split
from learn.device import device, environment, multiplies_bfloat16, prepare_process, processor
from learn.fit import fit, predict
from learn.training import Training

Record = dict[str, float]  # a row of the training history


@dataclasses.dataclass(frozen=True)
class Note:
    """A line for whoever watches."""

    text: str


@dataclasses.dataclass(frozen=True)
class Begun:
    """The training starts, after the epochs of an earlier run in `history`; `best_epoch` is 0 where there are none."""

    history: list[Record]
    best_epoch: int
    best_f1: float


@dataclasses.dataclass(frozen=True)
class EpochEnded:
    """An epoch is over and in the checkpoint."""

    record: Record
    best_epoch: int
    best_f1: float


@dataclasses.dataclass(frozen=True)
class Trained:
    """The outcome of a training: the best epoch's model file, a record for every epoch, and the figures of the best one.

    half_logits: float32 (2, N), for cross-fitting: row h are the logits of all samples of validation, in their order, at the
        epoch that was best on half h.
    environment: what it was trained with, as `learn.device.environment`.
    """

    model: bytes
    history: list[Record]
    summary: dict[str, Any]
    half_logits: np.ndarray
    environment: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Placed:
    """The training's checkpoint is in a directory of the node `node` that other machines do not see."""

    node: str
    directory: Path


@dataclasses.dataclass(frozen=True)
class Failed:
    """The outcome of a training that came to no end; `reason` is one line."""

    reason: str


Message = Note | Begun | EpochEnded | Trained | Failed


def train_in_process(
    training: Training,
    directory: Path,
    parent: Connection,
    used: inputs.Inputs | None,
    *,
    card: int | None,
    heeds_interrupt: bool,
) -> None:
    """Run a training in this process, which was started for it, and send `Message`s to `parent`.

    Args:
        directory: holds the training's checkpoint; claimed by this process.
        used: what the stage that the training is part of started with; None outside a stage.
        card: number of the GPU to train on; None: the first, or no GPU.
        heeds_interrupt: whether Ctrl-C ends the process.
    """
    if heeds_interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    prepare_process()
    if card is not None:
        torch.cuda.set_device(card)

    def watch_parent() -> None:
        threading.Thread(target=_end_with_parent, daemon=True).start()

    try:
        for message in train(training, directory, used, prepared=watch_parent):
            parent.send(message)
    except ConnectionError:
        return  # the parent is gone, and what is done is in the checkpoint
    except KeyboardInterrupt:
        sys.exit(130)


def train_on_node(splits: Path, training: Training, claimed: Path, holder: str) -> Iterator[Message | Placed]:
    """Run a training on a node of a cluster, and yield `Message`s.

    Args:
        splits: the training's, as this node has them.
        claimed: directory that the starting machine claimed for the training. It holds the checkpoint where this node has it too,
            which the content of its lock file shows; else a directory of this node does, which a `Placed` names.
        holder: that content.
    """
    prepare_process()
    training = dataclasses.replace(training, splits=splits)
    if training.loop.precision == "bfloat16" and device() == "cpu" and not multiplies_bfloat16():
        found = f"{platform.node()} ({processor()}) has no bfloat16 instructions, which the settings were resolved to elsewhere"
        yield Failed(f"{found}; set train.precision to float32, or use nodes that are alike")
        return
    fingerprint, has_claimed = training.fingerprint(), _read_text(claimed / "lock") == holder
    place = claimed
    if not has_claimed or claimed.name.partition("-")[0] != fingerprint:  # the latter: of another kind of processor
        root = claimed.parents[1] if has_claimed else cluster.home() / "checkpoints"
        place = root / training.architecture / fingerprint
        yield Placed(cluster.node_id(), place)
    yield from train(training, place / f"seed-{training.seed}", None)


def train(
    training: Training, directory: Path, used: inputs.Inputs | None, *, prepared: Callable[[], None] = lambda: None
) -> Iterator[Message]:
    """Run a training to its end, or to the reason why it has none, and yield `Message`s.

    Args:
        directory: for the checkpoint, is claimed. used: as in `train_in_process`.
        prepared: is called before the training takes much memory.
    """
    cure = f"start fewer seeds at once (CAMPAIGN_JOBS=1) or lower train.batch_size (now {training.loop.batch_size})"
    try:
        prepared()
        with lock_directory(directory) as claimed:
            yield from train_from_checkpoint(training, claimed / "state.pt", used)
    except CampaignError as error:
        yield Failed(str(error))
    except torch.cuda.OutOfMemoryError:
        yield Failed(f"the GPU is out of memory; {cure}")
    except (MemoryError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        detail = f" ({error})" if str(error) and (isinstance(error, MemoryError) or THREAD_REFUSED in str(error)) else ""
        yield Failed(f"out of memory{detail}; {cure}")
    except OSError as error:
        yield Failed(describe_system_error(error))


def train_from_checkpoint(training: Training, path: Path, used: inputs.Inputs | None = None) -> Iterator[Message]:
    """Train after the epochs in the checkpoint `path`, from the start where there is none; yield `Message`s.

    The outcome is kept in the checkpoint too, for runners that keep it: a finished training reads no data again.

    Raises:
        CampaignError: the stage's code or inputs changed since it started, or the splits cannot be used.
    """
    state = None
    try:
        state = checkpoint.load(path)
    except checkpoint.Corrupt:
        yield Note(f"checkpoint {path} is damaged; ignored, training starts afresh")
    done = Begun(state["history"], state["best"]["epoch"], state["best"]["f1"]) if state else Begun([], 0, 0.0)
    if state is not None and "outcome" in state:
        yield done
        kept = state["outcome"]
        yield Trained(kept["model"], state["history"], kept["summary"], _half_logits(state), environment())
        return
    train, val = (load_split(training, split) for split in ("train", "val"))
    halves = load_halves(training)
    if used is not None and (changes := used.changes()):
        raise inputs.InputsChanged(
            inputs.describe_changes(changes)
        )  # before an epoch of other code or data becomes a checkpoint of these
    torch.manual_seed(training.seed)
    model = training.build()
    yield done
    for epoch in fit(model, train, val, halves=halves, seed=training.seed, state=state, **vars(training.loop)):
        state = epoch.state
        checkpoint.save(path, state)
        yield EpochEnded(epoch.record, state["best"]["epoch"], state["best"]["f1"])
    trained = summarise(training, model, train, state)
    checkpoint.save(path, state | {"outcome": {"model": trained.model, "summary": trained.summary}})
    yield trained


def summarise(training: Training, model: nn.Module, train: Split, state: dict[str, Any]) -> Trained:
    """Take the best epoch's weights into `model`; return its file, the history, its figures, and the logits of each half's best.

    F1 on train is that at the threshold which is best there.

    Args:
        state: `learn.fit.Epoch.state` of the last epoch.
    """
    best, half_best, history = state["best"], state["half_best"], state["history"]
    model.load_state_dict(best["weights"])
    train_y, scores = train.y.cpu().numpy(), sigmoid(predict(model, train))
    record = history[best["epoch"] - 1]
    last = [row["val_f1"] for row in history[-10:]]
    summary = {
        "seed": training.seed,
        "epochs": len(history),
        "best_epoch": best["epoch"],
        "stopped_early": len(history) - best["epoch"] >= training.loop.patience,
        "threshold": best["threshold"],
        "val_f1_score_positive_class": best["f1"],
        "val_pr_auc": record["val_pr_auc"],
        "val_loss": record["val_loss"],
        "train_f1_score_positive_class": float(Ranking.of(train_y, scores).f1().max()),
        "val_f1_spread_last_10_epochs": max(last) - min(last),
        "half_best_epochs": [half["epoch"] for half in half_best],
    }
    content = {
        "architecture": training.architecture,
        "arguments": training.arguments,
        "seed": training.seed,
        "epoch": best["epoch"],
        "threshold": best["threshold"],
        "val_f1_score_positive_class": best["f1"],
        "weights": {name: tensor.cpu() for name, tensor in best["weights"].items()},
    }
    return Trained(checkpoint.to_bytes(content), history, summary, _half_logits(state), environment())


def _half_logits(state: Mapping[str, Any]) -> np.ndarray:
    return torch.stack([half["logits"] for half in state["half_best"]]).numpy()


def load_split(training: Training, split: str) -> Split:
    """Read a split of the training to the device. Raises CampaignError where it is missing or damaged."""
    arrays = read_split(training.splits, split, "X", "y", "asset_ids")
    return Split.of(**arrays, lookback=training.arguments["lookback"], device=device())


def load_halves(training: Training) -> np.ndarray:
    """Read to which half of validation each of its samples belongs, int8 (N,); see `core.cross_fitting.halves`.

    Raises:
        CampaignError: an array or metadata.json is missing or damaged.
    """
    horizon = read_json(training.splits / "metadata.json")["horizon"]
    return cross_fitting.halves(**read_split(training.splits, "val", "y", "timestamps"), horizon=horizon)


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _end_with_parent() -> None:
    """End this process with the one that started it: a killed trainer leaves no orphans."""
    multiprocessing.parent_process().join()
    os._exit(1)
