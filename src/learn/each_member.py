"""Run under `torch.func.vmap` what has no version for several members on a CPU: one member after the other."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd import Function

from learn.gru import gru
from learn.layers import draw_mask


class EachMember(Function):
    """A recurrent layer of each member: x (M, T, B, F) and parameters (M, ...) -> (M, T, B, H); under vmap without M.

    The layer runs again for its derivatives, which keeps this short.
    """

    @staticmethod
    def forward(kind: type[nn.LSTM] | type[nn.GRU], *tensors: torch.Tensor) -> torch.Tensor:
        return torch.stack([_run(kind, *own) for own in zip(*tensors, strict=True)])

    @staticmethod
    def setup_context(context: Any, inputs: tuple, output: torch.Tensor) -> None:
        context.kind, *tensors = inputs
        context.autocast = torch.is_autocast_enabled("cpu")
        context.save_for_backward(*tensors)

    @staticmethod
    def backward(context: Any, derivative: torch.Tensor) -> tuple:
        found = []
        for own, incoming in zip(zip(*context.saved_tensors, strict=True), derivative, strict=True):
            leaves = [tensor.detach().requires_grad_() for tensor in own]
            with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=context.autocast):
                result = _run(context.kind, *leaves)
            found.append(torch.autograd.grad(result, leaves, incoming))
        return None, *map(torch.stack, zip(*found, strict=True))

    @staticmethod
    def vmap(info: Any, in_dims: tuple, kind: Any, *tensors: torch.Tensor) -> tuple[torch.Tensor, int]:
        first = [tensor.movedim(at, 0) for tensor, at in zip(tensors, in_dims[1:], strict=True)]
        return EachMember.apply(kind, *first), 0


class Mask(Function):
    """What dropout multiplies x (M, ...) with, each member's drawn from its own generator; under vmap without M."""

    @staticmethod
    def forward(x: torch.Tensor, shares: Sequence[float], generators: Sequence[torch.Generator]) -> torch.Tensor:
        drawn = [
            draw_mask(own.numel(), share, own.dtype, generator).view(own.shape) if share else torch.ones_like(own)
            for own, share, generator in zip(x, shares, generators, strict=True)
        ]
        return torch.stack(drawn)

    @staticmethod
    def setup_context(context: Any, inputs: tuple, output: torch.Tensor) -> None:
        context.mark_non_differentiable(output)

    @staticmethod
    def backward(context: Any, _: torch.Tensor) -> tuple[None, None, None]:
        return None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple, x: torch.Tensor, shares: Any, generators: Any) -> tuple[torch.Tensor, int]:
        return Mask.apply(x.movedim(in_dims[0], 0), shares, generators), 0


def run_layer_of_each_member(layer: nn.LSTM | nn.GRU, x: torch.Tensor) -> torch.Tensor:
    """Do what `learn.layers.RecurrentStack.run` does, under `torch.func.vmap` over members."""
    return EachMember.apply(type(layer), x, layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)


def _run(kind: type[nn.LSTM] | type[nn.GRU], x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
    """Run the layer `kind` of these parameters: x (T, B, F) -> (T, B, H)."""
    if kind is nn.GRU:
        return gru(x, *parameters)
    zeros = x.new_zeros(1, x.shape[1], parameters[1].shape[1])
    return torch.lstm(x, (zeros, zeros), parameters, True, 1, 0.0, True, False, False)[0]
