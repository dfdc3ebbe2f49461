"""Train a group, in a process of its own or on a node of a cluster, and tell how it goes.

A group is one training, or several that share each step (`learn.grouping`); messages come with the number of the training in it.
"""

import dataclasses
import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from learn.fit import fit_side_by_side, predict
from learn.grouping import largest_group, name_of
from learn.member import Epoch, Member
from learn.stacked import why_apart
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

    summary: has `members`, what was trained side by side, only where that is more than one training.
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
Numbered = tuple[int, Message]


def train_in_process(
    group: Sequence[Training],
    directory: Path,
    parent: Connection,
    used: inputs.Inputs | None,
    *,
    card: int | None,
    heeds_interrupt: bool,
) -> None:
    """Run a group in this process, which was started for it, and send numbered `Message`s to `parent`.

    Args:
        directory: holds the group's checkpoint; claimed by this process.
        used: what the stage that the group is part of started with; None outside a stage.
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
        for numbered in train(group, directory, used, prepared=watch_parent):
            parent.send(numbered)
    except ConnectionError:
        return  # the parent is gone, and what is done is in the checkpoint
    except KeyboardInterrupt:
        sys.exit(130)


def train_on_node(*given: Any) -> Iterator[Numbered | Placed]:
    """Run a group on a node of a cluster, and yield numbered `Message`s.

    Args:
        given: first the splits of each training, as this node has them, then

            - the group.
            - the directory that the starting machine claimed for its first training. It holds the checkpoint where this node has
              it too, which the content of its lock file shows; else a directory of this node does, which a `Placed` names.
            - that content.
    """
    prepare_process()
    *splits, planned, claimed, holder = given
    group = [dataclasses.replace(training, splits=own) for training, own in zip(planned, splits, strict=True)]
    first = group[0]
    if first.loop.precision == "bfloat16" and device() == "cpu" and not multiplies_bfloat16():
        found = f"{platform.node()} ({processor()}) has no bfloat16 instructions, which the settings were resolved to elsewhere"
        yield from _fail(range(len(group)), f"{found}; set train.precision to float32, or use nodes that are alike")
        return
    fingerprint, has_claimed = first.fingerprint(), _read_text(claimed / "lock") == holder
    place = claimed
    if not has_claimed or claimed.name.partition("-")[0] != fingerprint:  # the latter: of another kind of processor
        root = claimed.parents[1] if has_claimed else cluster.home() / "checkpoints"
        place = root / first.architecture / fingerprint
        yield Placed(cluster.node_id(), place)
    yield from train(group, place / name_of(group), None)


def train(
    group: Sequence[Training], directory: Path, used: inputs.Inputs | None, *, prepared: Callable[[], None] = lambda: None
) -> Iterator[Numbered]:
    """Run each training of a group to its end, or to the reason why it has none, and yield numbered `Message`s.

    Args:
        directory: for the checkpoint, is claimed. used: as in `train_in_process`.
        prepared: is called before the group takes much memory.
    """
    batch = f"lower train.batch_size (now {group[0].loop.batch_size})"
    fewer = "start fewer seeds at once (CAMPAIGN_JOBS=1)"
    together = f"train fewer together (now {len(group)} seeds, folds or trials)"
    cure = f"{fewer if len(group) == 1 else together} or {batch}"
    left = set(range(len(group)))
    try:
        prepared()
        with lock_directory(directory) as claimed:
            for number, message in train_from_checkpoint(group, claimed / "state.pt", used):
                left -= {number} if isinstance(message, Trained | Failed) else set()
                yield number, message
    except CampaignError as error:
        yield from _fail(left, str(error))
    except torch.cuda.OutOfMemoryError:
        yield from _fail(left, f"the GPU is out of memory; {cure}")
    except (MemoryError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        detail = f" ({error})" if str(error) and (isinstance(error, MemoryError) or THREAD_REFUSED in str(error)) else ""
        yield from _fail(left, f"out of memory{detail}; {cure}")
    except OSError as error:
        yield from _fail(left, describe_system_error(error))


def _fail(numbers: Iterable[int], reason: str) -> Iterator[Numbered]:
    return ((number, Failed(reason)) for number in sorted(numbers))


def train_from_checkpoint(group: Sequence[Training], path: Path, used: inputs.Inputs | None = None) -> Iterator[Numbered]:
    """Train after the epochs in the checkpoint `path`, from the start where there is none; yield numbered `Message`s.

    The checkpoint has a state of each training, all of the same moment: in a group the last digits can depend on how many are
    left. So a training that failed there, as it always would, is not tried again. An outcome is kept too: a training that has
    ended reads no data again.

    Raises:
        CampaignError: the stage's code or inputs changed since it started, or the splits cannot be used.
    """
    states: list[dict[str, Any]] = [{} for _ in group]
    try:
        states = checkpoint.load(path) or states
    except checkpoint.Corrupt:
        yield 0, Note(f"checkpoint {path} is damaged; ignored, training starts afresh")
    left = [number for number, state in enumerate(states) if not state.keys() & {"outcome", "failed"}]
    if left:
        members = load_members([group[number] for number in left], [states[number] for number in left], used)
    for number, state in enumerate(states):
        best = state.get("best", {"epoch": 0, "f1": 0.0})
        yield number, Begun(state.get("history", []), best["epoch"], best["f1"])
        if "failed" in state:
            yield number, Failed(state["failed"])
        elif "outcome" in state:
            kept = state["outcome"]
            yield number, Trained(kept["model"], state["history"], kept["summary"], _half_logits(state), environment())
    if not left:
        return

    def finish() -> Iterator[Numbered]:
        """End what has come to its last epoch."""
        for number, member in zip(left, members, strict=True):
            if member.has_ended and not states[number].keys() & {"outcome", "failed"}:
                trained = summarise(group, number, member.model, member.train, states[number])
                states[number] |= {"outcome": {"model": trained.model, "summary": trained.summary}}
                checkpoint.save(path, states)
                yield number, trained

    yield from finish()
    if largest_group(on_gpu=device() == "cuda") > 1 and (reason := why_apart(members)):
        yield left[0], Note(f"shares no step with others: {reason}")
    for outcomes in fit_side_by_side(members):
        brought = {number: outcome for number, outcome in zip(left, outcomes, strict=True) if outcome is not None}
        for number, outcome in brought.items():
            if isinstance(outcome, Epoch):
                states[number] = outcome.state
            else:
                states[number] |= {"failed": str(outcome)}
        if len(group) > 1 or not any("failed" in state for state in states):
            checkpoint.save(path, states)
        for number, outcome in brought.items():
            if isinstance(outcome, Epoch):
                yield number, EpochEnded(outcome.record, outcome.state["best"]["epoch"], outcome.state["best"]["f1"])
            else:
                yield number, Failed(str(outcome))
        yield from finish()


def load_members(group: Sequence[Training], states: Sequence[dict[str, Any]], used: inputs.Inputs | None = None) -> list[Member]:
    """Read what trainings need to go on after `states`, empty ones for the start; splits that they share once.

    Raises:
        CampaignError: the stage's code or inputs changed since it started, or the splits cannot be used.
    """
    data = {}
    for training in group:
        if training.splits not in data:
            train, val = (load_split(training, split) for split in ("train", "val"))
            data[training.splits] = train, val, load_halves(training)
    if used is not None and (changes := used.changes()):
        # before an epoch of other code or data becomes a checkpoint of these
        raise inputs.InputsChanged(inputs.describe_changes(changes))
    members = []
    for training, state in zip(group, states, strict=True):
        train, val, halves = data[training.splits]
        torch.manual_seed(training.seed)
        own = {"halves": halves, "seed": training.seed, "loop": training.loop, "state": state or None}
        members.append(Member(training.build(), train, val, **own))
    return members


def summarise(group: Sequence[Training], number: int, model: nn.Module, train: Split, state: dict[str, Any]) -> Trained:
    """Take the best epoch's weights into `model`; return its file, the history, its figures, and the logits of each half's best.

    F1 on train is that at the threshold which is best there.

    Args:
        group, number: the training is the group's of that number.
        state: `learn.member.Epoch.state` of the last epoch.
    """
    training = group[number]
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
    if len(group) > 1:
        summary["members"] = [own.title for own in group]
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
