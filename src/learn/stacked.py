"""Train several members at once: their networks are one, with an axis of members before all that they hold.

A step of a small network on a GPU is some hundred kernels of a microsecond each, whatever they do. Here members share every
kernel, not numbers: each has its own weights, samples, learning rate, loss and dropout. `torch.func.vmap` runs the network as it
is written. Where Triton can be used, layers of `learn.layers` are run by `learn.kernels`.

A member's numbers can depend on how many run beside it, in the last digits: libraries choose a product's kernel by its shape. So
the members of a group are part of a training's fingerprint.

Shapes: M members, B batch, T time, F features, P parameters.
"""

import copy
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from learn.cuda_graph import Step, recorded
from learn.dataset import Split
from learn.device import triton_version
from learn.each_member import Mask, run_layer_of_each_member
from learn.layers import AssetEmbedding, AssetVectors, Attention, Dropout, NormedLayers, RecurrentStack
from learn.loss import focal_loss
from learn.member import Member
from learn.stackable import constants, reason_against, reason_against_on_gpu, recurrent_stacks
from learn.trainer import Trainer

SITES = 64  # places of dropout in a network that are told apart; more would draw again what the next step draws
BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch.optim.AdamW's, and learn.kernels'


def find_kernels(device: torch.device) -> ModuleType | None:
    """Import `learn.kernels` where Triton can run on `device`: on a CPU by its interpreter, ``TRITON_INTERPRET=1``."""
    if triton_version() is None or not (device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"):
        return None
    import learn.kernels

    return learn.kernels


def why_apart(members: Sequence[Member]) -> str | None:
    """Say why members cannot share a step here; None where they can."""
    first, networks = members[0], [member.model for member in members]
    if any(constants(network) != constants(networks[0]) for network in networks):
        return "its network differs from the others in more than weights and the share of learn.layers.Dropout"
    if first.train.X.is_cuda:
        kernels = find_kernels(first.train.X.device)
        if kernels is None:
            return "Triton is not installed"
        reason = reason_against_on_gpu(networks[0], batch_size=first.batch_size, precision=first.loop.precision)
        if reason := reason or kernels.find_problem(first.train.X.device, _largest_layers(networks[0])):
            return reason
    x, asset_ids, _ = first.train.gather(torch.zeros(2, dtype=torch.int64, device=first.train.X.device))
    return reason_against(networks[0], x, asset_ids)


class Stacked(Trainer):
    """Takes the steps of several members.

    What their networks and optimizers hold becomes part of matrices of all members: a row each, in one matrix for what is
    multiplied and one for biases and the like. So clipping and AdamW are a few kernels, whatever the number of parameters, and
    a member's own network and optimizer still have its numbers.
    """

    def __init__(self, members: Sequence[Member]):
        super().__init__(members)
        self._kernels = find_kernels(self.device)
        loops, first = [member.loop for member in members], members[0]
        self._autocast = first.loop.precision == "bfloat16"
        splits = {id(member.train): member.train for member in members}
        self._data = Split.joined(list(splits.values()))
        starts = dict(zip(splits, itertools.accumulate(map(len, splits.values()), initial=0), strict=False))
        self._starts = torch.tensor([starts[id(member.train)] for member in members]).unsqueeze(1)

        def each(values: Sequence[float]) -> torch.Tensor:
            return torch.tensor(list(values), dtype=torch.float32, device=self.device)

        self._clips = each([loop.gradient_clip for loop in loops])
        self._decays = each([loop.weight_decay for loop in loops])
        self._alphas = each([loop.focal_alpha for loop in loops])
        self._gammas = each([loop.focal_gamma for loop in loops])
        self._rates = each([0.0] * len(members))
        self._keys = torch.zeros(len(members), dtype=torch.int64, device=self.device)
        self._take_over_buffers()
        parameters = dict(first.model.named_parameters())
        matrices = [name for name, parameter in parameters.items() if parameter.dim() > 1]
        vectors = [name for name, parameter in parameters.items() if parameter.dim() <= 1]
        low = torch.bfloat16 if self._autocast and self._kernels else torch.float32  # as autocast would round them
        self._parts = [_Part(members, *part) for part in ((matrices, low), (vectors, torch.float32)) if part[0]]
        self._steps = torch.zeros(len(parameters), len(members), device=self.device)  # an optimizer counts for each parameter
        for number, member in enumerate(members):
            for state, own in zip(member.optimizer.state.values(), self._steps[:, number], strict=True):
                state["step"] = own.copy_(state.get("step", own))
        self._anchor = torch.zeros((), device=self.device, requires_grad=True)
        self._generators = [torch.Generator() for _ in members]  # of dropout without kernels
        self._network = self._prepare(copy.deepcopy(first.model).train())

    def draw_orders(self) -> torch.Tensor:
        return super().draw_orders() + self._starts

    def begin_epoch(self) -> Step:
        if self._take_step is None:
            self._take_step = recorded(self._step, self._changed)
        seeds = [member.epoch_seed for member in self.members]
        self._rates.copy_(torch.tensor([member.rate for member in self.members]))
        self._keys.copy_(torch.tensor(seeds))
        for generator, seed in zip(self._generators, seeds, strict=True):
            generator.manual_seed(seed)
        return self._take_step

    def close(self) -> None:
        super().close()
        self._network = None  # its layers refer back to this trainer

    def _step(self) -> tuple[torch.Tensor, torch.Tensor]:
        x, asset_ids, y = (rows.unflatten(0, self.batch.shape) for rows in self._data.gather(self.batch.flatten()))
        self._sites = itertools.count()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            parameters = dict(zip(self._names(), _Views.apply(self._anchor, self._parts), strict=True))
            output = torch.vmap(self._forward)(parameters, self._buffers, x, asset_ids)
        if self._kernels:
            losses, derivative = self._kernels.focal_loss(output.detach(), y, self._alphas, self._gammas)
            output.backward(derivative.to(output.dtype))
        else:
            losses = torch.vmap(_focal_loss)(output.float(), y, self._alphas, self._gammas)
            losses.sum().backward()
        self._steps += 1
        update = self._kernels.clip_and_update if self._kernels else _clip_and_update
        parts = [(part.weights, part.low, part.gradients, *part.moments) for part in self._parts]
        update(parts, self._rates, self._steps[0], self._clips, self._decays)
        self._keys += SITES
        return losses.detach(), output.detach()

    def _forward(self, parameters: dict, buffers: dict, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        return functional_call(self._network, (parameters, buffers), (x, asset_ids))

    def _names(self) -> Iterator[str]:
        return itertools.chain.from_iterable(part.names for part in self._parts)

    def _changed(self) -> list[torch.Tensor]:
        """What a step changes."""
        held = [tensor for part in self._parts for tensor in (part.weights, part.low, *part.moments)]
        return [*held, self._steps, self._keys, *self._own_buffers.values()]

    def _take_over_buffers(self) -> None:
        """Put the networks' buffers into one each, whose parts are theirs; add what dropout is drawn from."""
        self._own_buffers = {}
        for name, _ in self.members[0].model.named_buffers():
            own = [member.model.get_buffer(name) for member in self.members]
            self._own_buffers[name] = together = torch.stack(own)
            for number, one in enumerate(own):
                one.data = together[number]
        places = [name for name, module in self.members[0].model.named_modules() if isinstance(module, Dropout)]
        shares = {name: [member.model.get_submodule(name).share for member in self.members] for name in places}
        self._buffers = dict(self._own_buffers)
        for name, own in shares.items():
            self._buffers |= {f"{name}.shares": torch.tensor(own, device=self.device), f"{name}.keys": self._keys}
        self._shares = shares

    def _prepare(self, network: nn.Module) -> nn.Module:
        """Replace how layers run, in a network that stands for all members'."""
        kernels, first = self._kernels, self.members[0]
        for name, module in network.named_modules():
            if isinstance(module, Dropout):
                module.register_buffer("shares", torch.zeros(()), persistent=False)
                module.register_buffer("keys", torch.zeros(()), persistent=False)
                module.forward = functools.partial(self._drop_out, module, self._shares[name])
            elif isinstance(module, RecurrentStack):
                if kernels and all(kernels.fits(layer.hidden_size, first.batch_size) for layer in module.layers):
                    module.forward = functools.partial(self._run_recurrent, module)
                else:
                    module.run = run_layer_of_each_member
            elif isinstance(module, nn.BatchNorm1d) and not kernels and not first.train.X.is_cuda:
                module.forward = functools.partial(_norm_in_float32, module)
            elif kernels and isinstance(module, AssetVectors):
                module.forward = functools.partial(_look_up_by_product, module)
            elif kernels and isinstance(module, AssetEmbedding):
                module.forward = functools.partial(_append_vectors, module)
            elif kernels and isinstance(module, NormedLayers):
                module.forward = functools.partial(self._run_normed, module)
            elif kernels and isinstance(module, Attention) and kernels.attends(module.project.weight.shape, first.train.lookback):
                module.forward = functools.partial(_attend, kernels, module)
        return network

    def _drop_out(self, layer: Dropout, shares: Sequence[float], x: torch.Tensor) -> torch.Tensor:
        site = next(self._sites)  # also where nothing is dropped: a member's numbers depend on its own shares alone
        if not any(shares):
            return x
        if self._kernels:
            return self._kernels.Dropout.apply(x, layer.keys, layer.shares, site)
        return x * Mask.apply(x, shares, self._generators)

    def _run_recurrent(self, stack: RecurrentStack, x: torch.Tensor) -> torch.Tensor:
        for number, layer in enumerate(stack.layers):
            x = stack.dropout(x) if number else x
            w_ih, w_hh, b_ih, b_hh = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0
            x = x.to(w_hh.dtype)
            if isinstance(layer, nn.GRU):
                x = self._kernels.GRU.apply(x, w_ih, w_hh, b_ih, b_hh)[0]
            else:
                x = self._kernels.LSTM.apply(x, w_ih, w_hh, b_ih + b_hh)[0]
        return x

    def _run_normed(self, layers: NormedLayers, x: torch.Tensor) -> torch.Tensor:
        norm = None
        for layer in layers:
            if isinstance(layer, nn.BatchNorm1d):
                norm = layer
                norm.num_batches_tracked.add_(1)
            elif isinstance(layer, Dropout):
                held = norm.weight, norm.bias, norm.running_mean, norm.running_var, layer.keys, layer.shares
                x = self._kernels.NormReluDropout.apply(x, *held, next(self._sites))[0]
            elif isinstance(layer, nn.Linear):
                x = layer(x)
        return x


class _Part:
    """Some parameters of all members, as rows of a matrix.

    weights, moments: float32 (M, P), of which the members' networks and optimizers have parts.
    low: the weights in the type that is multiplied, the same tensor where that is float32. gradients: (M, P) in that type.
    """

    def __init__(self, members: Sequence[Member], names: Sequence[str], low: torch.dtype):
        self.names = list(names)
        own = [[member.model.get_parameter(name) for name in names] for member in members]
        self.shapes = [parameter.shape for parameter in own[0]]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.weights = torch.stack([torch.cat([parameter.detach().flatten() for parameter in row]) for row in own])
        self.low = self.weights.to(low)
        self.gradients = torch.empty_like(self.low)
        self.moments = [torch.zeros_like(self.weights) for _ in range(2)]
        for number, (member, row) in enumerate(zip(members, own, strict=True)):
            held = [flat[number].split(self.sizes) for flat in (self.weights, *self.moments)]
            for parameter, weight, *moments in zip(row, *held, strict=True):
                state = member.optimizer.state[parameter]
                for name, moment in zip(("exp_avg", "exp_avg_sq"), moments, strict=True):
                    moment = moment.view(parameter.shape)
                    if name in state:
                        moment.copy_(state[name])
                    state[name] = moment
                parameter.data = weight.view(parameter.shape)

    def views(self) -> Iterator[torch.Tensor]:
        """Each parameter of all members, (M, ...)."""
        for part, shape in zip(self.low.split(self.sizes, dim=1), self.shapes, strict=True):
            yield part.view(len(part), *shape)


class _Views(torch.autograd.Function):
    """All parameters as views of their matrices; backward writes their derivatives into one matrix each, by one kernel."""

    @staticmethod
    def forward(context: Any, anchor: torch.Tensor, parts: Sequence[_Part]) -> tuple[torch.Tensor, ...]:
        context.parts = parts
        return tuple(view for part in parts for view in part.views())

    @staticmethod
    def backward(context: Any, *derivatives: torch.Tensor) -> tuple[None, None]:
        left = iter(derivatives)
        for part in context.parts:
            own = [next(left).reshape(len(part.weights), -1) for _ in part.names]
            torch.cat(own, dim=1, out=part.gradients)
        return None, None


def _clip_and_update(parts: Sequence[Sequence[torch.Tensor]], rates, steps, clips, decays) -> None:
    """Do what `learn.kernels.clip_and_update` does, without Triton."""
    norms = torch.stack([gradients.square().sum(dim=1) for _, _, gradients, *_ in parts]).sum(dim=0).sqrt()
    scales, decayed = (clips / (norms + 1e-6)).clamp(max=1.0), 1 - rates * decays
    rates, (first, second) = rates / (1 - BETAS[0] ** steps), BETAS
    for weights, _low, gradients, m, v in parts:
        gradients.mul_(scales.unsqueeze(1))
        m.lerp_(gradients, 1 - first)
        v.mul_(second).addcmul_(gradients, gradients, value=1 - second)
        size = (v.sqrt() / (1 - second**steps).sqrt().unsqueeze(1)).add_(EPSILON)
        weights.mul_(decayed.unsqueeze(1)).sub_(rates.unsqueeze(1) * m / size)


def _focal_loss(logits: torch.Tensor, y: torch.Tensor, alpha: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    return focal_loss(logits, y, alpha=alpha, gamma=gamma)


# --- how layers run with an axis of members ---------------------------------------------------------------------------


def _norm_in_float32(layer: nn.BatchNorm1d, x: torch.Tensor) -> torch.Tensor:
    """Run batch norm where a CPU's has no mixed types under vmap."""
    return nn.BatchNorm1d.forward(layer, x.float()).to(x.dtype)


def _look_up_by_product(table: AssetVectors, asset_ids: torch.Tensor) -> torch.Tensor:
    """Look the assets' vectors up by a product, whose derivative is one too: the table's own is ten times as slow here."""
    numbers = torch.arange(table.num_embeddings, device=asset_ids.device)
    return (asset_ids.unsqueeze(-1) == numbers).to(table.weight.dtype) @ table.weight


def _append_vectors(layer: AssetEmbedding, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
    """Append in the type that is multiplied, which autocast would come to afterwards."""
    vectors = layer.table(asset_ids).unsqueeze(1).expand(-1, x.shape[1], -1)
    return torch.cat([x.to(vectors.dtype), vectors], dim=2)


def _attend(kernels: ModuleType, layer: Attention, h: torch.Tensor) -> torch.Tensor:
    return kernels.Attention.apply(
        h.to(layer.project.weight.dtype), layer.project.weight, layer.project.bias, layer.score.weight
    )[0]


def _largest_layers(network: nn.Module) -> tuple[tuple[type[nn.Module], int], ...]:
    """The kinds of recurrent layers of a network, with the largest hidden size of each."""
    sizes: dict[type[nn.Module], int] = {}
    for stack in recurrent_stacks(network):
        for layer in stack.layers:
            sizes[type(layer)] = max(layer.hidden_size, sizes.get(type(layer), 0))
    return tuple(sizes.items())
