"""Record a training step as a CUDA graph, which the GPU repeats by itself.

At these sizes an eager step on a GPU is some hundred kernels of a few microseconds each. Launching them takes the host longer
than running them takes the GPU. A CUDA graph launches all of them at once.
"""

import copy
import os
from collections.abc import Callable

import torch
from torch import nn

Step = Callable[[], tuple[torch.Tensor, ...]]
WARM_UP = 3  # steps after which cuDNN, cuBLAS and the optimizer have allocated what they keep


def cuda_graph(step: Step) -> Step:
    """Run `step` `WARM_UP` times, record it without running it, and return a function that replays it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step()

    def repeat() -> tuple[torch.Tensor, ...]:
        graph.replay()
        return results

    return repeat


RECORDERS = {"cuda": cuda_graph}  # by kind of device; on others every step is run by Python


def recorded(step: Step, model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    """Return `step`, or on a GPU a recorded version of it that does the same faster.

    A replay runs no Python. What changes from step to step has to live in tensors that stay in place. Python numbers, such as
    the learning rate, are frozen at recording time. A replay may return the same tensors each time.

    ``CAMPAIGN_CUDA_GRAPH=off`` in the environment disables recording; the bits are the same.

    Args:
        step: trains `model` for one batch, and reads nothing back from the device.
        model, optimizer: all that it changes; unchanged by this call, but for the optimizer's state, which exists after it.
    """
    record = RECORDERS.get(next(model.parameters()).device.type)
    if record is None or os.environ.get("CAMPAIGN_CUDA_GRAPH", "").lower() in ("off", "0", "no", "false"):
        return step
    weights = copy.deepcopy(model.state_dict())
    moments = {parameter: copy.deepcopy(state) for parameter, state in optimizer.state.items()}
    repeat = record(step)
    model.load_state_dict(weights)
    for parameter, state in optimizer.state.items():
        for name, tensor in state.items():
            tensor.copy_(moments[parameter][name]) if parameter in moments else tensor.zero_()
    return repeat
