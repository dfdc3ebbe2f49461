"""Record a training step as a CUDA graph, which the GPU repeats by itself.

At these sizes an eager step on a GPU is some hundred kernels of a few microseconds each. Launching them takes the host longer
than running them takes the GPU. A CUDA graph launches all of them at once.
"""

import os
from collections.abc import Callable, Sequence

import torch

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


def recorded(step: Step, changed: Callable[[], Sequence[torch.Tensor]]) -> Step:
    """Return `step`, or on a GPU a recorded version of it that does the same faster.

    A replay runs no Python. What changes from step to step has to live in tensors that stay in place. Python numbers, such as
    the learning rate, are frozen at recording time. A replay may return the same tensors each time.

    ``CAMPAIGN_CUDA_GRAPH=off`` in the environment disables recording; the bits are the same.

    Args:
        step: trains for one batch, and reads nothing back from the device.
        changed: lists the tensors that a step changes, and their device is the first one's. They are unchanged by this call,
            but for those that exist only after it, at the list's end, which are zero.
    """
    before = changed()
    record = RECORDERS.get(before[0].device.type)
    if record is None or os.environ.get("CAMPAIGN_CUDA_GRAPH", "").lower() in ("off", "0", "no", "false"):
        return step
    kept = [tensor.detach().clone() for tensor in before]
    repeat = record(step)
    with torch.no_grad():
        for number, tensor in enumerate(changed()):
            tensor.copy_(kept[number]) if number < len(kept) else tensor.zero_()
    return repeat
