"""Read files, and write them atomically: a file appears whole or not at all."""

import contextlib
import csv
import io
import itertools
import json
import os
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from core.errors import CampaignError, shorten

if TYPE_CHECKING:
    import hashlib


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for an atomic write.

    The file is ``<name>.tmp`` beside `path`; on success it is synced to disk and renamed. On failure it is removed, and an
    earlier `path` stays as it was. The temporary name is fixed, so that the next process overwrites what a killed one left.
    Creates the parent directory.

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
        if error.filename in (None, str(temporary)):  # None: write(2) reports no path
            error.filename = str(path)
        raise


def _sync_directory(directory: Path) -> None:
    """Make a rename survive a power loss, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _JsonObject(dict):
    """A JSON object that raises CampaignError for a field it lacks: other code wrote the file."""

    def __init__(self, path: Path, fields: dict[str, Any]):
        super().__init__(fields)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise CampaignError(f"{self.path} lacks {key!r}, other code wrote it; make it anew: dvc repro")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CampaignError: the file is missing or holds no JSON object; later, for a field that is looked up and missing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_hook=lambda fields: _JsonObject(path, fields))
        if not isinstance(content, dict):
            raise ValueError("no object")
        return content
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; run the stage that makes it: dvc repro") from None
    except (ValueError, RecursionError) as error:
        raise CampaignError(f"{path} is no JSON object ({shorten(error, 160)}); restore it: dvc checkout --force") from None


def read_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read a .npy file; never unpickles.

    Args:
        mapped: leave the content on disk, and map it into memory.

    Raises:
        CampaignError: the file is missing, damaged or pickled.
    """
    try:
        return np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; run the stage that makes it: dvc repro") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged header fails in many ways
        raise CampaignError(f"{path} is not a plain array ({shorten(error, 160)}); restore it: dvc checkout --force") from None


def project_root() -> Path:
    """Return the project's root. For an experiment that DVC runs in a temporary copy it is the original's."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def write_bytes(path: Path, data: bytes) -> None:
    with open_atomically(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, keys in their order. Raises ValueError for NaN, which JSON lacks."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_array(path: Path, array: np.ndarray) -> None:
    with open_atomically(path) as file:
        by_write = types.SimpleNamespace(write=file.write)  # numpy writes into a real file by C, and misses that the disk is full
        np.save(by_write, array, allow_pickle=False)


def write_rows(path: Path, pieces: Iterable[np.ndarray], *, rows: int, digest: "hashlib._Hash") -> None:
    """Write one .npy file piece by piece.

    Args:
        pieces: arrays of one dtype, whose rows follow each other in the file; at least one.
        rows: of all pieces together.
        digest: is updated with the content.
    """
    pieces = iter(pieces)
    first = next(pieces)
    header = {"descr": first.dtype.str, "fortran_order": False, "shape": (rows, *first.shape[1:])}
    written = 0
    with open_atomically(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in itertools.chain([first], pieces):
            data = piece.view(np.uint8).data
            file.write(data)
            digest.update(data)
            written += len(piece)
        assert written == rows


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one line a row below the first row's keys. Floats keep every digit (repr), None is empty."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
