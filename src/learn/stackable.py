"""Tell whether trainings can share each step: whether one network can stand for those of all of them.

Decided by the network, its settings and nothing else, so that who shares a step with whom is the same on every machine.
"""

import copy
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from learn.each_member import run_layer_of_each_member
from learn.layers import AssetEmbedding, AssetVectors, Attention, Dropout, NormedLayers, RecurrentStack

LARGEST_BATCH = 1024  # of a GPU's kernels; steps that are larger keep a card busy by themselves
MOST_PARAMETERS = 2**25  # likewise
ROWS = 16  # of a batch, that a program of a recurrent layer takes
HIDDEN_SIZES = (16, 32, 64, 128)  # of a recurrent layer: powers of two whose weights a multiprocessor can hold
REPLACED = (AssetEmbedding, AssetVectors, Attention, Dropout, NormedLayers, RecurrentStack)  # run otherwise in a group
OF_MODULES = vars(nn.Module()).keys()


def reason_against(network: nn.Module, x: torch.Tensor, asset_ids: torch.Tensor) -> str | None:
    """Say why trainings of `network` cannot share a step; None where they can.

    Args:
        x, asset_ids: (2, T, F) and (2,) of any values, to try it with.
    """
    if not all(parameter.requires_grad for parameter in network.parameters()):
        return "some of its parameters are not trained"
    inside = {layer for stack in recurrent_stacks(network) for layer in stack.layers}
    for name, module in network.named_modules():
        if isinstance(module, REPLACED) and type(module) not in REPLACED:
            return f"its layer {name} derives from {_base(module).__name__} of learn.layers"
        if isinstance(module, nn.RNNBase) and module not in inside:
            return f"its layer {name} is not in a learn.layers.RecurrentStack"
    return None if _vmap_runs(network, x, asset_ids) else "torch.vmap cannot run its network"


def reason_against_on_gpu(network: nn.Module, *, batch_size: int, precision: str) -> str | None:
    """Say why a GPU's kernels cannot run a step of `network`; None where they can. cuDNN has no layer of several networks."""
    if batch_size > LARGEST_BATCH:
        return f"its batch size is above {LARGEST_BATCH:,}"
    if sum(parameter.numel() for parameter in network.parameters()) > MOST_PARAMETERS:
        return f"it has more than {MOST_PARAMETERS:,} parameters"
    layers = [layer for stack in recurrent_stacks(network) for layer in stack.layers]
    if layers and precision != "bfloat16":
        return "its recurrent layers are float32"
    if layers and batch_size % ROWS:
        return f"it has recurrent layers, and its batch size is no multiple of {ROWS}"
    if any(layer.hidden_size not in HIDDEN_SIZES for layer in layers):
        return f"the hidden size of a recurrent layer is none of {', '.join(map(str, HIDDEN_SIZES))}"
    return None


def recurrent_stacks(network: nn.Module) -> list[RecurrentStack]:
    """List the network's recurrent layers."""
    return [module for module in network.modules() if isinstance(module, RecurrentStack)]


def constants(network: nn.Module) -> list[Any]:
    """List shapes and all that a network's modules hold beside parameters, buffers and modules, as texts.

    But the share of `learn.layers.Dropout`, which each member can have of its own. What has no text that tells it from others,
    such as a function of each network's own, differs from network to network.
    """
    found: list[Any] = [(name, str(parameter.shape)) for name, parameter in network.named_parameters()]
    for name, module in network.named_modules():
        held = {key: value for key, value in vars(module).items() if key not in OF_MODULES and key[:5] != "_flat"}
        if type(module) is Dropout:
            del held["share"]
        found.append((name, str(type(module)), [(key, repr(held[key])) for key in sorted(held)]))
    return found


def _base(module: nn.Module) -> type[nn.Module]:
    return next(kind for kind in type(module).__mro__ if kind in REPLACED)


def _vmap_runs(network: nn.Module, x: torch.Tensor, asset_ids: torch.Tensor) -> bool:
    """Try a step of two members with the same weights on a CPU in float32, without dropout; each parameter must get a gradient.

    Random numbers are refused but for `learn.layers.Dropout`: they would be drawn from one stream for all members.
    """
    network = copy.deepcopy(network).cpu().train()
    for module in network.modules():
        if isinstance(module, Dropout):
            module.share = 0.0
        elif isinstance(module, RecurrentStack):
            module.run = run_layer_of_each_member
    held = {name: torch.stack([tensor.detach()] * 2).requires_grad_() for name, tensor in network.named_parameters()}
    buffers = {name: torch.stack([buffer] * 2) for name, buffer in network.named_buffers()}

    def forward(parameters: dict, buffers: dict, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        return functional_call(network, (parameters, buffers), (x, asset_ids))

    try:
        logits = torch.vmap(forward)(held, buffers, torch.stack([x.cpu()] * 2), torch.stack([asset_ids.cpu()] * 2))
        logits.sum().backward()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:  # vmap refuses in many ways; a network that fails alone too says why when it is trained
        return False
    return all(tensor.grad is not None for tensor in held.values())
