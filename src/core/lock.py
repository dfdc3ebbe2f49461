"""One process at a time in a directory. Needs a POSIX system (fcntl)."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from core.errors import CampaignError

PATIENCE = 10.0  # seconds that a process gets to end


@contextlib.contextmanager
def claim(directory: Path, what: str = "this training") -> Iterator[Path]:
    """Hold `directory` for this process and yield it; the system lets go when the process ends, however it ends.

    Where a live process in another working directory holds it (experiments side by side that train the very same thing),
    the first free one of ``<directory>-2``, ``<directory>-3``, … takes its place. One of this working directory is waited for,
    as is one whose parent died: after a kill of dvc the stage needs a moment to end.

    Raises:
        CampaignError: such a process still holds it after `PATIENCE`; names its id.
    """
    number, until = 1, time.monotonic() + PATIENCE
    while True:
        slot = directory if number == 1 else directory.with_name(f"{directory.name}-{number}")
        with _open_lock(slot) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, parent, working_directory = _holder(file)
                if working_directory != os.getcwd() and _parent_of(pid) == parent:
                    number += 1
                elif time.monotonic() < until:
                    time.sleep(0.05)
                else:
                    raise CampaignError(
                        f"{what} already runs as process {pid or 'unknown'}; wait for its end, or end it (kill {pid})"
                    ) from None
                continue
            if not _is_there(file):
                continue
            file.seek(0)
            file.truncate()
            file.write(f"{os.getpid()}\n{os.getppid()}\n{os.getcwd()}")
            file.flush()
            yield slot
            return


def _open_lock(slot: Path) -> TextIO:
    """The lock file of `slot`, made where there is none; again while another process that ends clears it away."""
    while True:
        slot.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            file = (slot / "lock").open("a+")
            file.seek(0)
            return file


def _holder(file: TextIO) -> tuple[str, str, str]:
    """Its id, its parent's and its working directory; it writes them a moment after it has locked the file."""
    until = time.monotonic() + 1.0
    while True:
        file.seek(0)
        pid, parent, working_directory = (file.read() + "\n\n\n").split("\n")[:3]
        if _parent_of(pid) is not None or time.monotonic() > until:
            return pid, parent, working_directory
        time.sleep(0.01)


def _is_there(file: TextIO) -> bool:
    """Whether its name still leads to it; a process that ended may have cleared it away since it was opened."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    return False


def _parent_of(pid: str) -> str | None:
    """Process id of a process's parent, as Linux tells it; None where it does not."""
    try:
        return Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[1]
    except (OSError, IndexError, ValueError):
        return None
