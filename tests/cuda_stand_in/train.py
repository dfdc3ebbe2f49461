"""Train a network for some epochs on the device that `device.cpp` pretends, with tensors that have no values.

Usage: LD_PRELOAD=device.so PYTHONPATH=src:benchmarks python train.py NETWORK float32|bfloat16

Prints how many steps and operations it saw.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from throughput import NETWORKS, SETTINGS, T, random_rows
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from learn import cuda_graph
from learn.dataset import Split
from learn.device import prepare_process
from learn.fit import fit


class Watch(TorchDispatchMode):
    """Sees every operation; within a step none may touch what lies on the host, or make it wait."""

    def __init__(self) -> None:
        super().__init__()
        self.in_step, self.steps, self.operations = False, 0, 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        left = operation(*args, **(kwargs or {}))
        if self.in_step:
            self.operations += 1
            tensors = [leaf for leaf in tree_leaves((args, kwargs, left)) if isinstance(leaf, torch.Tensor)]
            assert all(tensor.is_cuda for tensor in tensors), f"{operation.name()} touches the host's memory in a step"
        return left

    def record(self, step: cuda_graph.Step) -> cuda_graph.Step:
        """As `core.graph.cuda_graph`, but that a repetition takes the step anew, and is watched."""
        for _ in range(cuda_graph.WARM_UP):
            step()

        def repeat() -> tuple[torch.Tensor, ...]:
            self.in_step, self.steps = True, self.steps + 1
            try:
                return step()
            finally:
                self.in_step = False

        return repeat


def value(tensor: torch.Tensor) -> float:
    assert not watch.in_step, "a step waits for the device"
    return 0.5


def array(tensor: torch.Tensor) -> np.ndarray:
    assert not tensor.is_cuda, "numpy cannot read a device's memory"
    return np.random.default_rng(0).random(tensor.shape).astype(str(tensor.dtype).removeprefix("torch."))


def check_precision(layer: torch.nn.RNNBase, arguments: tuple[torch.Tensor]) -> None:
    assert arguments[0].dtype == torch.float32 and not torch.is_autocast_enabled("cuda"), "cuDNN would make it float16"
    assert torch.backends.cudnn.allow_tf32 == (layer.training and sys.argv[2] == "bfloat16")


def gru(self: torch.nn.GRU, x: torch.Tensor) -> tuple[torch.Tensor, None]:
    """All parameters and the right shape; without cuDNN PyTorch has no shapes for its own."""
    first = torch.nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)[..., : self.hidden_size]
    return first + torch.nn.functional.linear(first, self.weight_hh_l0, self.bias_hh_l0)[..., : self.hidden_size], None


def train(build: Callable[[], torch.nn.Module], precision: str) -> None:
    """Two epochs, then another after what a checkpoint keeps, which lies on the host."""
    state = None
    for _ in range(2):
        train, val = (Split.of(*random_rows(size), lookback=T, device="cuda") for size in (300, 700))
        with torch.device("cuda"):
            model = build()
        for layer in model.modules():
            if isinstance(layer, torch.nn.RNNBase):
                layer.register_forward_pre_hook(check_precision)
        epochs = fit(model, train, val, halves=np.zeros(len(val), np.int8), seed=1, precision=precision, state=state, **SETTINGS)
        epoch = next(epochs) if state else [next(epochs), next(epochs)][1]
        assert all(tensor.is_cuda for tensor in model.state_dict().values())
        assert all(leaf.is_cuda for leaf in tree_leaves(epoch.state["optimizer"]["state"]))
        state = tree_map_only(torch.Tensor, torch.Tensor.cpu, epoch.state)
    assert len(state["history"]) == 3


prepare_process()
torch.cuda.amp.common.amp_definitely_not_available = lambda: False
torch.cuda.is_bf16_supported = lambda **_: True
torch.nn.GRU.forward = gru
torch.nn.Module.to = lambda model, device: model  # is there already; without values nothing can be moved in place
FakeTensor.numpy, FakeTensor.item, FakeTensor.__bool__ = array, value, lambda tensor: bool(value(tensor))
FakeTensorMode.__deepcopy__ = lambda mode, memo: mode
watch = Watch()
cuda_graph.RECORDERS["cuda"] = watch.record
with FakeTensorMode(), watch:
    train(NETWORKS[sys.argv[1]], sys.argv[2])
print(watch.steps, watch.operations)
