"""Files appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open ``<name>.tmp`` beside `path` for writing; on success sync it to disk and rename it to `path`.

    On any failure the temporary file is removed and an earlier `path` stays as it was. The temporary name is fixed, so a
    leftover of a killed process is overwritten by the next one. Creates the parent directory.

    Raises:
        OSError: the disk is full, the directory is read-only, and so on; `filename` is always set.
        MemoryError: names `path`.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
    except MemoryError as error:
        raise MemoryError(f"while writing {path}") from error
    except OSError as error:
        if error.filename in (None, str(temporary)):  # write(2) reports no path
            error.filename = str(path)
        raise


def _sync_directory(directory: Path) -> None:
    """Make a rename survive a power loss; a file system that cannot is none of our business."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
