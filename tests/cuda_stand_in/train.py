"""Train a network for some epochs on the device that `device.cpp` pretends, with tensors that have no values.

Usage: LD_PRELOAD=device.so PYTHONPATH=src:benchmarks python train.py NETWORK float32|bfloat16 MEMBERS

With no members (0) one network is trained as where Triton is missing; else as many at once. Their kernels do nothing, but are
compiled for an H100 as they would be on one.

Prints how many steps and operations it saw.
"""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from throughput import NETWORKS, SETTINGS, T, random_rows
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from learn import cuda_graph, fit, stacked
from learn.dataset import Split
from learn.device import prepare_process
from learn.member import Member
from learn.training import Loop

H100 = 232_448  # bytes of shared memory that a program can have there


def type_of(value: Any) -> str:
    """Triton's name of an argument's type."""
    names = {torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.int64: "*i64", torch.int8: "*i8"}
    return names[value.dtype] if isinstance(value, torch.Tensor) else "fp32" if isinstance(value, float) else "i32"


class Watch(TorchDispatchMode):
    """Sees every operation; within a step none may touch what lies on the host, or make it wait."""

    def __init__(self) -> None:
        super().__init__()
        self.in_step, self.steps, self.operations, self.launches = False, 0, 0, 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        left = operation(*args, **(kwargs or {}))
        if self.in_step:
            self.operations += 1
            tensors = [leaf for leaf in tree_leaves((args, kwargs, left)) if isinstance(leaf, torch.Tensor)]
            assert all(tensor.is_cuda for tensor in tensors), f"{operation.name()} touches the host's memory in a step"
        return left

    def record(self, step: cuda_graph.Step) -> cuda_graph.Step:
        """As `learn.cuda_graph.cuda_graph`, but that a repetition takes the step anew, and is watched."""
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
    states = [None] * max(1, members)
    for begun in (False, True):
        train, val = (Split.of(*random_rows(size), lookback=T, device="cuda") for size in (300, 700))
        group = []
        for seed, state in enumerate(states):
            with torch.device("cuda"):
                model = build()
            for layer in model.modules():
                if isinstance(layer, torch.nn.RNNBase):
                    layer.register_forward_pre_hook(check_precision)
            halves, loop = np.zeros(len(val), np.int8), Loop(**SETTINGS, precision=precision)
            group.append(Member(model, train, val, halves=halves, seed=seed, loop=loop, state=state))
        epochs = fit.fit_side_by_side(group)
        row = next(epochs) if begun else [next(epochs), next(epochs)][1]
        for member, epoch in zip(group, row, strict=True):
            assert all(tensor.is_cuda for tensor in member.model.state_dict().values())
            assert all(leaf.is_cuda for leaf in tree_leaves(epoch.state["optimizer"]["state"]))
        states = [tree_map_only(torch.Tensor, torch.Tensor.cpu, epoch.state) for epoch in row]
    assert all(len(state["history"]) == 3 for state in states)


class Launch:
    """A kernel that is compiled with what it is given, and does nothing but look where its tensors lie."""

    def __init__(self, kernel: Any):
        self.kernel, self.compiled = kernel, set()

    def compile(self, arguments: tuple[Any, ...], options: dict[str, int]) -> None:
        given = dict(zip(self.kernel.arg_names, arguments, strict=True))
        constants = {own.name: given[own.name] for own in self.kernel.params if own.is_constexpr}
        signature = {name: "constexpr" if name in constants else type_of(value) for name, value in given.items()}
        key = (*signature.items(), *constants.items())
        if key not in self.compiled:
            self.compiled.add(key)
            source = ASTSource(fn=self.kernel, signature=signature, constexprs=constants)
            made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
            assert made.metadata.shared <= H100, (
                f"{self.kernel.__name__} asks for {made.metadata.shared:,} bytes of shared memory"
            )
            for kind, name in ((torch.nn.LSTM, "_lstm_backward"), (torch.nn.GRU, "_gru_backward")):
                if self.kernel.__name__ == name:
                    assert made.metadata.shared == kernels.SHARED_BYTES[kind][constants["H"]]

    def __getitem__(self, grid: tuple[int, int]) -> Callable[..., None]:
        assert all(size > 0 for size in grid)

        def launch(*arguments: Any, **options: int) -> None:
            self.compile(arguments, options)
            assert all(own.is_cuda and own.is_contiguous() for own in arguments if isinstance(own, torch.Tensor))
            watch.launches += watch.in_step

        return launch


prepare_process()
torch.cuda.amp.common.amp_definitely_not_available = lambda: False
torch.cuda.is_bf16_supported = lambda **_: True
torch.nn.GRU.forward = gru
torch.nn.Module.to = lambda model, device: model  # is there already; without values nothing can be moved in place
FakeTensor.numpy, FakeTensor.item, FakeTensor.__bool__ = array, value, lambda tensor: bool(value(tensor))
FakeTensorMode.__deepcopy__ = lambda mode, memo: mode
watch, members = Watch(), int(sys.argv[3])
cuda_graph.RECORDERS["cuda"] = watch.record
if members:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from learn import kernels

    stacked.reason_against = lambda *network: None  # needs values
    torch.cuda.get_device_properties = lambda device: SimpleNamespace(shared_memory_per_block_optin=2**18)
    fit.side_by_side = lambda *given: list(map(*given))  # other threads know nothing of tensors without values
    for name, kernel in vars(kernels).items():
        if name.startswith("_") and name not in ("_sigmoid", "_tanh") and hasattr(kernel, "fn"):  # these are called by kernels
            setattr(kernels, name, Launch(kernel))
else:
    stacked.find_kernels = lambda device: None
with FakeTensorMode(), watch:
    train(NETWORKS[sys.argv[1]], sys.argv[2])
print(watch.steps, watch.operations, watch.launches)
