"""A call as a value, which may run on another machine."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Task:
    """A call that may run on another machine.

    title: says what it is, in lines that people read.
    function: of a module of src, also of a script; called with `inputs`, then `arguments`.
    inputs: files, or directories with all that is in them, which the function only reads. A machine that has not the same gets
        a copy, so the paths differ there.
    arguments: values that can be pickled; no instances of a script's classes.
    uses_gpu: on a cluster with GPUs the task needs one, or its share of one.
    """

    title: str
    function: Callable[..., Any]
    inputs: tuple[Path, ...] = ()
    arguments: tuple[Any, ...] = ()
    uses_gpu: bool = False
