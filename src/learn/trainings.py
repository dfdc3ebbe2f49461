"""Run a list of trainings, and yield their outcomes.

Each group of trainings, on a CPU a single one, runs in a process of its own, here or on a node of a Ray cluster, so that one
that dies takes no other group with it. Its checkpoint is found again by its fingerprint, so that a run which is killed and
started again ends with the bytes of one that never was.
"""

import contextlib
import dataclasses
import errno
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import gettempdir

from core.errors import CampaignError, to_one_line
from core.files import project_root
from core.lock import lock_directory
from core.machine import job_count, on_cluster
from core.run import check_unchanged, stage_inputs
from core.task import Task
from learn import checkpoint
from learn.device import card_count
from learn.grouping import group_trainings, name_of
from learn.training import Loop, Training
from learn.worker import Failed, Message, Note, Numbered, Placed, Trained, train_in_process, train_on_node

CHECKPOINTS = ".checkpoints"  # under the project's root, where CAMPAIGN_CHECKPOINTS names no other; git-ignored, and no out
WORKERS = multiprocessing.get_context("forkserver")
NO_SOCKET = (None, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # of a path or a file system

__all__ = ["Failed", "Loop", "Runner", "Trained", "Training", "running"]

Watch = Callable[[Training], AbstractContextManager[Callable[[Message], None]]]


def do_not_watch(training: Training) -> AbstractContextManager[Callable[[Message], None]]:
    """Take a training's messages, and do nothing with them."""
    return contextlib.nullcontext(lambda message: None)


@dataclasses.dataclass(frozen=True)
class Runner:
    """Trainings whose checkpoints this process holds.

    directories: of each training, the one that its checkpoint has where it is a group of its own; in a claimed directory.
    used: the directories of the groups that were started.
    elsewhere: checkpoints' directories that only nodes of a cluster have.
    """

    trainings: Sequence[Training]
    directories: Sequence[Path]
    used: set[Path] = dataclasses.field(default_factory=set)
    elsewhere: set[Placed] = dataclasses.field(default_factory=set)

    def outcomes(self, watch: Watch = do_not_watch) -> Iterator[Trained | Failed]:
        """Run the trainings side by side, and yield their outcomes in the same order.

        Args:
            watch: opened around each training, yields what takes its messages; both in a thread of this process.

        Raises:
            CampaignError: CAMPAIGN_BACKEND, CAMPAIGN_JOBS or CAMPAIGN_MEMBERS cannot be used.
        """
        import joblib  # what a benchmark on a bare machine can do without

        numbers = group_trainings(self.trainings)
        groups = [_Group([self.trainings[at] for at in own], self.directories[own[0]].parent) for own in numbers]
        self.used.update(group.directory for group in groups)
        if on_cluster():
            from core.cluster import connect

            jobs, start, stop = connect().job_count([group.task() for group in groups]), self._on_node, connect().stop
        else:
            jobs, start, stop = job_count(len(groups)), functools.partial(_in_process, Cards(card_count())), lambda: None
        ready: dict[int, Trained | Failed] = {}
        following = 0
        try:
            with joblib.Parallel(jobs, backend="threading", return_as="generator") as pool:
                found = pool(joblib.delayed(_follow)(group.trainings, start(group), watch) for group in groups)
                for own, outcomes in zip(numbers, found, strict=True):
                    ready |= zip(own, outcomes, strict=True)
                    while following in ready:
                        yield ready.pop(following)
                        following += 1
        except BaseException:
            stop()
            raise

    def _on_node(self, group: "_Group") -> Iterator[Numbered]:
        """Run a group on a node of the cluster, and yield its messages."""
        from core.cluster import Restarted, connect

        try:
            for message in connect().stream(group.task()):
                match message:
                    case Placed():
                        self.elsewhere.add(message)
                    case Restarted(reason):
                        yield 0, Note(reason)
                    case _:
                        yield message
        except CampaignError as error:
            for number in range(len(group.trainings)):
                yield number, Failed(str(error))

    def kept(self) -> list[str]:
        """Say that finished epochs are kept, if there are any."""
        if self.elsewhere or any((directory / "state.pt").exists() for directory in (*self.directories, *self.used)):
            return ["finished epochs are kept, the same command goes on after them"]
        return []


@contextlib.contextmanager
def running(trainings: Sequence[Training], *, keep: bool = False) -> Iterator[Runner]:
    """Hold the checkpoints of `trainings` for the block, and remove them where it ends well.

    So write what is to be kept of the outcomes inside the block. Where it fails, the same trainings go on after their
    finished epochs when they are run again.

    Args:
        keep: leave the checkpoints, so that a list with the same groups does not run them again. On a CPU a group is one
            training; on a GPU a training more changes the last group, if that was not full.

    Raises:
        CampaignError: another process runs the same trainings, or none can be started here.
        KeyboardInterrupt: says whether finished epochs are kept.
    """
    places = [checkpoint_directory(training) for training in trainings]
    with contextlib.ExitStack() as stack:
        claimed = {place: stack.enter_context(lock_directory(place)) for place in dict.fromkeys(places)}
        directories = [claimed[place] / f"seed-{training.seed}" for place, training in zip(places, trainings, strict=True)]
        start_forkserver(next(iter(claimed.values())))
        runner = Runner(trainings, directories)
        try:
            yield runner
        except KeyboardInterrupt:
            raise KeyboardInterrupt(*runner.kept()) from None
        finally:
            with contextlib.suppress(OSError):  # it was killed, or its socket is gone
                forkserver._forkserver._stop()  # the next block starts one in its own directory
        check_unchanged()
        if keep:
            return
        for directory in claimed.values():
            checkpoint.remove(directory)
        for placed in runner.elsewhere:
            from core.cluster import connect

            connect().run_on(placed.node, checkpoint.remove, placed.directory)


def checkpoint_directory(training: Training) -> Path:
    """Name the directory for the checkpoints of trainings that differ from `training` by seed alone."""
    root = project_root() / (os.environ.get("CAMPAIGN_CHECKPOINTS") or CHECKPOINTS)
    return root / training.architecture / training.fingerprint()


def start_forkserver(directory: Path) -> None:
    """Start the process that the trainings' processes are forked from, so that torch is imported once.

    Its socket is in `directory`, which is removed with the training or used again: one in the system's directory for
    temporary files would stay there after a kill. It is there only where `directory` can hold none (some shared folders).

    Raises:
        CampaignError: neither directory can hold a socket.
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
                said = f"no socket can be made in {directory} nor in {gettempdir()} ({to_one_line(error)})"
        raise CampaignError(f"{said}; set TMPDIR to a directory of a short path on a local disk")
    finally:
        signal.signal(signal.SIGINT, handler)


@dataclasses.dataclass(frozen=True)
class _Group:
    """Trainings that share a process.

    claimed: the directory of the first one's fingerprint, which holds the group's checkpoint.
    """

    trainings: Sequence[Training]
    claimed: Path

    @property
    def directory(self) -> Path:
        return self.claimed / name_of(self.trainings)

    def task(self) -> Task:
        """Say how a node of a cluster runs the group."""
        first, *others = self.trainings
        title = first.title if not others else f"{first.title} and {len(others)} beside it"
        arguments = (self.trainings, self.claimed.resolve(), (self.claimed / "lock").read_text())
        return Task(title, train_on_node, tuple(training.splits for training in self.trainings), arguments, uses_gpu=True)


def _follow(group: Sequence[Training], messages: Iterator[Numbered], watch: Watch) -> list[Trained | Failed]:
    """Tell who watches of the messages, and return the outcome of each training, its last one."""
    outcomes: dict[int, Trained | Failed] = {}
    with contextlib.ExitStack() as stack:
        own = [stack.enter_context(contextlib.ExitStack()) for _ in group]
        tell = [each.enter_context(watch(training)) for each, training in zip(own, group, strict=True)]
        for number, message in messages:
            if isinstance(message, Note):
                number = next(other for other in range(len(group)) if other not in outcomes)
            if number in outcomes:  # on a cluster a group that was lost starts again
                continue
            tell[number](message)
            if isinstance(message, Trained | Failed):
                outcomes[number] = message
                own[number].close()
    return [
        outcome if isinstance(outcome, Trained) else Failed(f"{training.title}: {outcome.reason}")
        for training, outcome in ((training, outcomes[number]) for number, training in enumerate(group))
    ]


class Cards:
    """Deal out the GPUs of this machine: a group gets the one with the fewest."""

    def __init__(self, number: int):
        self.users, self.lock = [0] * number, threading.Lock()

    @contextlib.contextmanager
    def deal(self) -> Iterator[int | None]:
        """Yield the number of a GPU for the block, or None where there is only one or none."""
        if len(self.users) < 2:
            yield None
            return
        with self.lock:
            card = self.users.index(min(self.users))
            self.users[card] += 1
        try:
            yield card
        finally:
            with self.lock:
                self.users[card] -= 1


def _in_process(cards: Cards, group: _Group) -> Iterator[Numbered]:
    """Run a group in a process of its own, and yield its messages; the last one of each training is its outcome."""
    left = set(range(len(group.trainings)))

    def fail(reason: str) -> Iterator[Numbered]:
        return ((number, Failed(reason)) for number in sorted(left))

    with cards.deal() as card:
        receiver, sender = WORKERS.Pipe(duplex=False)
        heeds_interrupt = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # as what a script puts into the background
        process = WORKERS.Process(
            target=train_in_process,
            args=(group.trainings, group.directory, sender, stage_inputs()),
            kwargs={"card": card, "heeds_interrupt": heeds_interrupt},
            daemon=True,
        )
        try:
            process.start()
        except (EOFError, ConnectionError):  # where the process that forks them could not, it is gone
            yield from fail("its process could not be started, see above; set CAMPAIGN_JOBS=1, or raise the limit: ulimit -u")
            return
        sender.close()
        for number, message in _messages(receiver):
            left -= {number} if isinstance(message, Trained | Failed) else set()
            yield number, message
        process.join()
        yield from fail(f"its process {_how_it_ended(process.exitcode)}")


def _messages(receiver: Connection) -> Iterator[Numbered]:
    """Yield what the process sends until it is gone: EOFError after a whole message, OSError in the middle of one."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            yield receiver.recv()


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        hint = ", often the system short of memory: fewer at once with CAMPAIGN_JOBS=1" if code == -signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{hint}"
    return "was interrupted" if code == 130 else f"ended with exit code {code}, see its output above"
