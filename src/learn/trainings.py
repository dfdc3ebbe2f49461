"""Run a list of trainings, and yield their outcomes.

Each training runs in a process of its own, here or on a node of a Ray cluster, so that one that dies takes no other with it.
Its checkpoint is found again by its fingerprint, so that a run which is killed and started again ends with the bytes of one that
never was.
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
from learn.training import Loop, Training
from learn.worker import Failed, Message, Note, Placed, Trained, train_in_process, train_on_node

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
    """Trainings whose checkpoints this process holds; `directories` has the checkpoint's directory of each.

    elsewhere: checkpoints' directories that only nodes of a cluster have.
    """

    trainings: Sequence[Training]
    directories: Sequence[Path]
    elsewhere: set[Placed] = dataclasses.field(default_factory=set)

    def outcomes(self, watch: Watch = do_not_watch) -> Iterator[Trained | Failed]:
        """Run the trainings side by side, and yield their outcomes in the same order.

        Args:
            watch: opened around each training, yields what takes its messages; both in a thread of this process.

        Raises:
            CampaignError: CAMPAIGN_BACKEND or CAMPAIGN_JOBS cannot be used.
        """
        import joblib  # what a benchmark on a bare machine can do without

        tasks = [_task(training, directory.parent) for training, directory in zip(self.trainings, self.directories, strict=True)]
        if on_cluster():
            from core.cluster import connect

            jobs, start, stop = connect().job_count(tasks), self._on_node, connect().stop
        else:
            jobs, start, stop = job_count(len(tasks)), functools.partial(_in_process, Cards(card_count())), lambda: None
        try:
            with joblib.Parallel(jobs, backend="threading", return_as="generator") as pool:
                pairs = zip(self.trainings, self.directories, strict=True)
                yield from pool(
                    joblib.delayed(_follow)(training, start(training, directory), watch) for training, directory in pairs
                )
        except BaseException:
            stop()
            raise

    def _on_node(self, training: Training, directory: Path) -> Iterator[Message]:
        """Run a training on a node of the cluster, and yield its messages."""
        from core.cluster import Restarted, connect

        try:
            for message in connect().stream(_task(training, directory.parent)):
                match message:
                    case Placed():
                        self.elsewhere.add(message)
                    case Restarted(reason):
                        yield Note(reason)
                    case _:
                        yield message
        except CampaignError as error:
            yield Failed(str(error))

    def kept(self) -> list[str]:
        """Say that finished epochs are kept, if there are any."""
        if self.elsewhere or any((directory / "state.pt").exists() for directory in self.directories):
            return ["finished epochs are kept, the same command goes on after them"]
        return []


@contextlib.contextmanager
def running(trainings: Sequence[Training], *, keep: bool = False) -> Iterator[Runner]:
    """Hold the checkpoints of `trainings` for the block, and remove them where it ends well.

    So write what is to be kept of the outcomes inside the block. Where it fails, the same trainings go on after their
    finished epochs when they are run again.

    Args:
        keep: leave the checkpoints, so that a list with the same trainings does not run them again.

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


def _task(training: Training, claimed: Path) -> Task:
    """Say how a node of a cluster runs `training`, whose checkpoint has a place in the directory `claimed`."""
    arguments = (training, claimed.resolve(), (claimed / "lock").read_text())
    return Task(training.title, train_on_node, (training.splits,), arguments, uses_gpu=True)


def _follow(training: Training, messages: Iterator[Message], watch: Watch) -> Trained | Failed:
    """Tell who watches of a training's messages, and return its outcome, which comes last."""
    last: Message | None = None
    with watch(training) as tell:
        for last in messages:
            tell(last)
    return last if isinstance(last, Trained) else Failed(f"{training.title}: {last.reason}")


class Cards:
    """Deal out the GPUs of this machine: a training gets the one with the fewest."""

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


def _in_process(cards: Cards, training: Training, directory: Path) -> Iterator[Message]:
    """Run a training in a process of its own, and yield its messages; the last one is the outcome."""
    with cards.deal() as card:
        receiver, sender = WORKERS.Pipe(duplex=False)
        heeds_interrupt = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # as what a script puts into the background
        process = WORKERS.Process(
            target=train_in_process,
            args=(training, directory, sender, stage_inputs()),
            kwargs={"card": card, "heeds_interrupt": heeds_interrupt},
            daemon=True,
        )
        try:
            process.start()
        except (EOFError, ConnectionError):  # where the process that forks them could not, it is gone
            cure = "set CAMPAIGN_JOBS=1, or raise the limit: ulimit -u"
            yield Failed(f"its process could not be started, see above; {cure}")
            return
        sender.close()
        last: Message | None = None
        for last in _messages(receiver):
            yield last
        process.join()
        if not isinstance(last, Trained | Failed):
            yield Failed(f"its process {_how_it_ended(process.exitcode)}")


def _messages(receiver: Connection) -> Iterator[Message]:
    """Yield what the process sends until it is gone: EOFError after a whole message, OSError in the middle of one."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            yield receiver.recv()


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        hint = ", often the system short of memory: fewer at once with CAMPAIGN_JOBS=1" if code == -signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{hint}"
    return "was interrupted" if code == 130 else f"ended with exit code {code}, see its output above"
