"""A stand-in for CUDA graphs on a CPU: it records a step's operations and repeats them without the step's Python."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal"}  # what makes the host wait for the device


class Recorder(TorchDispatchMode):
    """Operations with the tensors they took and left; `repeat` runs them again on those very tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.name().split("::")[1].split(".")[0]
        assert name not in READS, f"{name} makes the host wait for the device"
        left = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, left))
        return left

    def repeat(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():  # where they were recorded; without gradients oneDNN would do less
            for operation, args, kwargs, left in self.operations:
                again = operation(*args, **kwargs)
                for before, now in zip(tree_leaves(left), tree_leaves(again), strict=True):
                    if isinstance(before, torch.Tensor) and before.data_ptr() != now.data_ptr():
                        before.copy_(now)


def recorder(step: Callable[[], tuple]) -> Callable[[], tuple]:
    """As `core.graph.cuda_graph`, but that the recorded step is run: a CPU cannot record without."""
    step()  # what is made once, such as the optimizer's state, must not be made again by every repetition
    recording = Recorder()
    with recording:
        results = step()

    def repeat() -> tuple:
        recording.repeat()
        return results

    return repeat
