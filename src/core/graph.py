"""A training step that the device repeats by itself.

At these sizes an eager step on a GPU is some hundred kernels of a few microseconds, and launching them takes the host longer
than running them takes the device. A CUDA graph launches all of them at once.
"""

import copy
import os
from collections.abc import Callable

import torch
from torch import nn

Step = Callable[[], tuple[torch.Tensor, ...]]
WARM_UP = 3  # steps until cuDNN, cuBLAS and the optimizer have made all that they make once


def cuda_graph(step: Step) -> Step:
    """Run `step` `WARM_UP` times, record it without running it, and return what repeats it."""
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


RECORDERS = {"cuda": cuda_graph}  # by kind of device; others take every step anew


def recorded(step: Step, model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    """What does the same as `step`, faster where the device can repeat it.

    A repetition has no Python in it: all that changes from step to step has to live in tensors that stay where they are, and
    plain numbers, such as the learning rate, are those of the time of recording. Its results may be the same tensors each time.

    ``CAMPAIGN_CUDA_GRAPH=off`` in the environment takes every step anew, to the same bits.

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
