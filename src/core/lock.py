"""Lock a directory, so that one process at a time works in it. Needs a POSIX system (fcntl)."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from core.errors import CampaignError

MAX_WAIT = 10.0  # seconds for another process to end
MAX_WAIT_FOR_HOLDER = 1.0  # seconds for another process to write its id


class Holder(NamedTuple):
    """The process that holds a lock, as it wrote itself into the file; empty texts before it has."""

    pid: str
    parent: str
    working_directory: str


@contextlib.contextmanager
def lock_directory(directory: Path, what: str = "this training") -> Iterator[Path]:
    """Lock `directory` for this process, and yield it.

    The system unlocks it when the process ends, however it ends. A holder in this working directory is waited for, as is one
    whose parent died: after a kill of dvc the stage needs a moment to end. A live holder in another working directory is an
    experiment beside this one that trains the very same thing. Then the first free one of ``<directory>-2``,
    ``<directory>-3``, … is locked and yielded.

    Args:
        what: is run here, for the error.

    Raises:
        CampaignError: the holder has not ended within `MAX_WAIT`; names its process id.
    """
    slot, file = _acquire(directory, what)
    with file:
        yield slot


def _acquire(directory: Path, what: str) -> tuple[Path, TextIO]:
    """Lock the first directory that is free. Returns it, and the open lock file; raises as `lock_directory` does."""
    number, deadline = 1, time.monotonic() + MAX_WAIT
    while True:
        slot = directory if number == 1 else directory.with_name(f"{directory.name}-{number}")
        file = _open_lock(slot)
        if _try_lock(file):
            if _is_linked(file):
                _write_holder(file)
                return slot, file
            file.close()
            continue
        holder = _read_holder(file)
        file.close()
        if holder.working_directory != os.getcwd() and _parent_of(holder.pid) == holder.parent:
            number += 1
        elif time.monotonic() < deadline:
            time.sleep(0.05)
        else:
            pid = holder.pid
            raise CampaignError(f"{what} already runs as process {pid or 'unknown'}; wait for its end, or end it (kill {pid})")


def _open_lock(slot: Path) -> TextIO:
    """Open the lock file of `slot`, and make it where there is none.

    Another process that ends may remove the directory in between; then it is made again.
    """
    while True:
        slot.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            file = (slot / "lock").open("a+")
            file.seek(0)
            return file


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_holder(file: TextIO) -> None:
    file.seek(0)
    file.truncate()
    file.write(f"{os.getpid()}\n{os.getppid()}\n{os.getcwd()}")
    file.flush()


def _read_holder(file: TextIO) -> Holder:
    """Read who holds the lock; waits a moment, since a process locks the file before it writes itself into it."""
    deadline = time.monotonic() + MAX_WAIT_FOR_HOLDER
    while True:
        file.seek(0)
        holder = Holder(*(file.read() + "\n\n\n").split("\n")[:3])
        if _parent_of(holder.pid) is not None or time.monotonic() > deadline:
            return holder
        time.sleep(0.01)


def _is_linked(file: TextIO) -> bool:
    """Tell whether the open file still has its name; a process that ended may have removed it in between."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    return False


def _parent_of(pid: str) -> str | None:
    """Find a process's parent's id; None where the process or /proc is not there."""
    try:
        return Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[1]
    except (OSError, IndexError, ValueError):
        return None
