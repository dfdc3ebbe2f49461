"""What a training needs to go on after a kill: states on disk that are whole or noticed to be not."""

import contextlib
import hashlib
import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from core.atomic import replacing


class Corrupt(Exception):
    """A checkpoint file is not what was written."""


def to_bytes(value: Any) -> bytes:
    """`torch.save` through memory: written to a file it would embed the file's name."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def from_bytes(data: bytes) -> Any:
    """Tensors and plain values only; never unpickles code. Tensors land on the CPU."""
    return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")


def save(path: Path, state: Any) -> None:
    """Write `state` atomically, behind its own SHA-256, so that `load` notices any damage. Raises OSError."""
    data = to_bytes(state)
    with replacing(path) as file:
        file.write(hashlib.sha256(data).digest())
        file.write(data)


def load(path: Path) -> Any | None:
    """What `save` wrote; None where there is no file.

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
    """Forget a finished training; empty parent directories go too."""
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):
        directory.parent.rmdir()
        directory.parent.parent.rmdir()
