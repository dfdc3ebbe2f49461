"""Write a training's state to disk so that it can resume after a kill, and notice any damage to it."""

import contextlib
import hashlib
import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from core.files import open_atomically


class Corrupt(Exception):
    """A checkpoint file is not what was written."""


def to_bytes(value: Any) -> bytes:
    """Serialise by `torch.save`, through memory: a file would embed its own name."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def from_bytes(data: bytes) -> Any:
    """Deserialise tensors and plain values, to the CPU; never unpickles code."""
    return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")


def save(path: Path, state: Any) -> None:
    """Write `state` atomically, behind its own SHA-256, so that `load` notices any damage. Raises OSError."""
    data = to_bytes(state)
    with open_atomically(path) as file:
        file.write(hashlib.sha256(data).digest())
        file.write(data)


def load(path: Path) -> Any | None:
    """Read what `save` wrote; None where there is no file.

    Raises:
        Corrupt: the file is damaged or half-written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise Corrupt
    try:
        return from_bytes(content[32:])
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise Corrupt from error


def remove(directory: Path) -> None:
    """Remove the checkpoints of a finished training, and parent directories that are empty then."""
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):
        directory.parent.rmdir()
        directory.parent.parent.rmdir()
