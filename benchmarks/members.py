"""Many trainings of one shape in one process on a GPU: what a step of 1, 8 and 16 members costs.

A study, not what the pipeline runs: there a seed is a process (see gpu.py). Members share launches, not numbers: each has its own
weights, order of samples, learning rate and dropout. All of a member's parameters lie in two rows, one of matrices and one of
vectors, so that clipping and AdamW are four launches for all members together. The networks are called as they are written, by
torch.func, with their layers taken from fused_layers.py. A step is recorded as a CUDA graph.

Needs torch with Triton, numpy and pydantic. Prints a Markdown table for docs/performance.md.

Usage: python benchmarks/members.py [--windows 61500] [--networks mlp lstm gru cnn_lstm] [--members 1 8 16]
"""

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # before CUDA starts: the same bits every time

import fused_layers
import torch
import triton
import triton.language as tl
from throughput import ASSETS, BATCH, NETWORKS, F, T
from torch import nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional

import train_mlp
from learn import layers

BLOCK = 1024  # parameters a program updates
TRAIN, VAL = 615_000, 130_000  # windows of the campaign that epochs are worked out for
SCORED = 16_384  # windows scored at a time


@triton.jit
def _square_sums(gradient, sums, first, P, blocks, BLOCK: tl.constexpr):
    """Leave the sum of squares of `BLOCK` gradients of a member, (M, blocks); added up by `_adamw`, always in one order."""
    member, block = tl.program_id(0), tl.program_id(1)
    at = block * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(gradient + member.to(tl.int64) * P + at, mask=at < P, other=0.0).to(tl.float32)
    tl.store(sums + member * blocks + first + block, tl.sum(values * values))


@triton.jit
def _adamw(
    w, low, gradient, m, v, sums, rates, steps, P, blocks, clip, decay,
    SUMS: tl.constexpr, HAS_LOW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Clip by the member's norm and update, as torch.optim.AdamW does with its default betas; `low` gets a rounded copy."""
    member, block = tl.program_id(0), tl.program_id(1)
    s = tl.arange(0, SUMS)
    norm = tl.sqrt(tl.sum(tl.load(sums + member * blocks + s, mask=s < blocks, other=0.0)))
    rate, step = tl.load(rates + member), tl.load(steps + member)
    at = block * BLOCK + tl.arange(0, BLOCK)
    mask = at < P
    at = member.to(tl.int64) * P + at
    g = tl.load(gradient + at, mask=mask, other=0.0).to(tl.float32) * tl.minimum(clip / (norm + 1e-6), 1.0)
    first, second = tl.load(m + at, mask=mask, other=0.0), tl.load(v + at, mask=mask, other=0.0)
    first, second = first + 0.1 * (g - first), 0.999 * second + 0.001 * g * g
    unbias_first, unbias_second = 1 - tl.exp(step * tl.log(0.9)), 1 - tl.exp(step * tl.log(0.999))
    value = tl.load(w + at, mask=mask, other=0.0) * (1 - rate * decay)
    value = value - rate / unbias_first * first / (tl.sqrt(second) / tl.sqrt(unbias_second) + 1e-8)
    tl.store(m + at, first, mask=mask)
    tl.store(v + at, second, mask=mask)
    tl.store(w + at, value, mask=mask)
    if HAS_LOW:
        tl.store(low + at, value.to(low.dtype.element_ty), mask=mask)


@triton.jit
def _focal_loss(logits, y, losses, derivative, B, alpha, gamma, BLOCK: tl.constexpr):
    """Leave each member's mean focal loss and its derivative by the logits, in closed form."""
    member, b = tl.program_id(0), tl.arange(0, BLOCK)
    mask = b < B
    sign = 2 * tl.load(y + member * B + b, mask=mask, other=0.0) - 1
    true_logit = sign * tl.load(logits + member * B + b, mask=mask, other=0.0).to(tl.float32)
    entropy = tl.maximum(-true_logit, 0.0) + tl.log(1 + tl.exp(-tl.abs(true_logit)))
    p = tl.exp(-entropy)
    weight = tl.where(sign > 0, alpha, 1 - alpha) * tl.exp(gamma * tl.log(tl.maximum(1 - p, 1e-30)))
    tl.store(derivative + member * B + b, sign * weight * (p - 1 - gamma * p * entropy) / B, mask=mask)
    tl.store(losses + member, tl.sum(tl.where(mask, weight * entropy, 0.0)) / B)


class Parameters(torch.autograd.Function):
    """Views of all members' parameters; backward gathers their gradients into two matrices, by two launches."""

    @staticmethod
    def forward(context, anchor, members):
        context.members = members
        views = []
        for flat, shapes in ((members.low, members.matrix_shapes), (members.vectors, members.vector_shapes)):
            parts = flat.split([shape.numel() for shape in shapes], dim=1)
            views += [part.view(len(flat), *shape) for part, shape in zip(parts, shapes, strict=True)]
        return tuple(views)

    @staticmethod
    def backward(context, *gradients):
        members, matrices = context.members, len(context.members.matrix_shapes)
        flat = [gradient.reshape(len(members.vectors), -1) for gradient in gradients]
        torch.cat(flat[:matrices], dim=1, out=members.matrix_gradients)
        torch.cat(flat[matrices:], dim=1, out=members.vector_gradients)
        return None, None


class Members:
    """M networks of one shape that train side by side.

    Args:
        networks: M of them; what they hold is copied.
        rates: learning rate of each.
        clip, decay, alpha, gamma: largest norm of a member's gradient, weight decay, and the focal loss's two.
        precision: of the products; weights, moments and sums are float32.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        rates: Sequence[float],
        *,
        device: str,
        clip: float = 1.0,
        decay: float = 0.01,
        alpha: float = 0.25,
        gamma: float = 2.0,
        precision: torch.dtype = torch.bfloat16,
    ):
        self.clip, self.decay, self.alpha, self.gamma, self.precision = clip, decay, alpha, gamma, precision
        self.network = networks[0].to(device).train()
        parameters, buffers = stack_module_state([network.to(device) for network in networks])
        self.rates = torch.tensor(list(rates), device=device)
        self.steps = torch.zeros(len(networks), device=device)
        self.buffers = {name: buffer.detach() for name, buffer in buffers.items()}
        if isinstance(self.network, train_mlp.MLP):  # what its dropout is drawn from
            seeds = torch.arange(len(networks), device=device)
            for name, values in {"seeds": seeds, "steps": self.steps}.items():
                self.network.register_buffer(name, values[0])
                self.buffers[name] = values
        self.matrix_names = [name for name, values in parameters.items() if values.dim() > 2]
        self.vector_names = [name for name, values in parameters.items() if values.dim() <= 2]
        self.matrix_shapes = [parameters[name].shape[1:] for name in self.matrix_names]
        self.vector_shapes = [parameters[name].shape[1:] for name in self.vector_names]
        self.matrices, self.vectors = (
            torch.cat([parameters[name].detach().flatten(1) for name in names], dim=1)
            for names in (self.matrix_names, self.vector_names)
        )
        self.low = self.matrices.to(precision)
        self.matrix_gradients, self.vector_gradients = torch.empty_like(self.low), torch.empty_like(self.vectors)
        self.moments = [torch.zeros_like(flat) for flat in (self.matrices, self.matrices, self.vectors, self.vectors)]
        self.blocks = [-(-flat.shape[1] // BLOCK) for flat in (self.matrices, self.vectors)]
        self.sums = torch.zeros(len(networks), sum(self.blocks), device=device)
        self.losses = torch.zeros(len(networks), device=device)
        self.anchor = torch.zeros((), device=device, requires_grad=True)

    def parameters(self) -> dict[str, torch.Tensor]:
        """Return each parameter of all members, (M, ...), by its name."""
        return dict(zip([*self.matrix_names, *self.vector_names], Parameters.apply(self.anchor, self), strict=True))

    def step(self, x: torch.Tensor, asset_ids: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Train all members for one batch each: x (M, B, T, F), asset ids and y (M, B) -> losses (M,). Call it within `fused`."""
        members, size = y.shape

        def forward(parameters: dict, buffers: dict, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
            return functional_call(self.network, (parameters, buffers), (x, asset_ids))

        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16):
            logits = torch.vmap(forward, randomness="different")(self.parameters(), self.buffers, x, asset_ids)
        derivative = torch.empty(logits.shape, device=x.device)
        width = triton.next_power_of_2(size)
        _focal_loss[(members,)](logits, y, self.losses, derivative, size, self.alpha, self.gamma, width)
        logits.backward(derivative.to(logits.dtype))

        self.steps += 1
        blocks, first = sum(self.blocks), 0
        for gradient, own in zip((self.matrix_gradients, self.vector_gradients), self.blocks, strict=True):
            _square_sums[(members, own)](gradient, self.sums, first, gradient.shape[1], blocks, BLOCK)
            first += own
        parts = (
            (self.matrices, self.low, self.matrix_gradients, *self.moments[:2]),
            (self.vectors, self.vectors, self.vector_gradients, *self.moments[2:]),
        )
        for part, own in zip(parts, self.blocks, strict=True):
            fixed = (self.sums, self.rates, self.steps, part[0].shape[1], blocks, self.clip, self.decay)
            has_low = part[0] is not part[1]
            _adamw[(members, own)](*part, *fixed, triton.next_power_of_2(blocks), has_low, BLOCK)
        return self.losses


# --- the networks' layers by fused kernels --------------------------------------------------------------------------


def _recurrent(self: layers.RecurrentStack, x: torch.Tensor) -> torch.Tensor:
    for number, layer in enumerate(self.layers):
        x = self.dropout(x) if number else x
        w_ih, w_hh, b_ih, b_hh = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0
        x = x.to(w_hh.dtype)
        if isinstance(layer, nn.GRU):
            x = fused_layers.GRU.apply(x, w_ih, w_hh, b_ih, b_hh)[0]
        else:
            x = fused_layers.LSTM.apply(x, w_ih, w_hh, b_ih + b_hh)[0]
    return x


def _attention(self: layers.Attention, h: torch.Tensor) -> torch.Tensor:
    return fused_layers.Attention.apply(h, self.project.weight, self.project.bias, self.score.weight)[0]


def _vectors(table: nn.Embedding, asset_ids: torch.Tensor) -> torch.Tensor:
    """Look the assets' vectors up by a product, whose derivative is one too: the table's own is ten times as slow here."""
    numbers = torch.arange(table.num_embeddings, device=asset_ids.device)
    return (asset_ids.unsqueeze(-1) == numbers).to(table.weight.dtype) @ table.weight


def _asset_embedding(self: layers.AssetEmbedding, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
    vectors = _vectors(self.table, asset_ids).unsqueeze(1).expand(-1, x.shape[1], -1)
    return torch.cat([x.to(vectors.dtype), vectors], dim=2)


def _mlp(self: train_mlp.MLP, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
    weight = self.from_window.weight
    h = functional.linear(x.flatten(1).to(weight.dtype), weight)
    h = h + functional.linear(_vectors(self.assets, asset_ids), self.from_asset.weight)
    for site, (first, module) in enumerate((n, m) for n, m in enumerate(self.hidden) if isinstance(m, nn.BatchNorm1d)):
        statistics_so_far = module.running_mean, module.running_var
        share = self.hidden[first + 2].share
        normed = (h, module.weight, module.bias, *statistics_so_far, self.seeds, self.steps)
        h = fused_layers.NormReluDropout.apply(*normed, site, share)[0]
        if first + 3 < len(self.hidden):
            h = functional.linear(h, self.hidden[first + 3].weight)
    return self.head(h).squeeze(1)


FUSED: dict[type[nn.Module], Callable[..., torch.Tensor]] = {
    layers.RecurrentStack: _recurrent,
    layers.Attention: _attention,
    layers.AssetEmbedding: _asset_embedding,
    train_mlp.MLP: _mlp,
}


@contextlib.contextmanager
def fused() -> Iterator[None]:
    """Have the networks' layers run by fused kernels."""
    own = {module: module.forward for module in FUSED}
    for module, forward in FUSED.items():
        module.forward = forward
    try:
        yield
    finally:
        for module, forward in own.items():
            module.forward = forward


# --- measuring ------------------------------------------------------------------------------------------------------


def recorded(action: Callable[[], object]) -> Callable[[], None]:
    """Return what repeats `action` as a CUDA graph; runs it three times before."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            action()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        action()

    def repeat() -> None:
        graph.replay()

    repeat.of = action  # a graph does not keep the tensors that it reads
    return repeat


def seconds(action: Callable[[], object], times: int) -> float:
    """Wall seconds of one `action`: the median of five rows of `times`."""
    taken = []
    for _ in range(6):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(times):
            action()
        torch.cuda.synchronize()
        taken.append((time.perf_counter() - began) / times)
    return statistics.median(taken[1:])


def training(name: str, members: int, windows: int) -> tuple[Members, Callable[[], None]]:
    """Members with seeds 0, 1, … on random rows, and what trains them for the next batch of their epoch."""
    networks = []
    for seed in range(members):
        torch.manual_seed(seed)
        networks.append(NETWORKS[name]())
    torch.manual_seed(0)
    X = torch.randn(windows + T - 1, F, device="cuda")
    asset_ids, y = torch.randint(ASSETS, (windows,), device="cuda"), (X[T - 1 :, 0] + X[T - 4 : -3, 1] > 1.8).float()
    group = Members(networks, [1e-3] * members, device="cuda")
    steps = windows // BATCH
    orders = [torch.randperm(windows, generator=torch.Generator().manual_seed(seed)) for seed in range(members)]
    order = torch.stack([own[: steps * BATCH].view(steps, BATCH) for own in orders], dim=1).cuda()  # (steps, M, B)
    at, rows = torch.zeros(1, dtype=torch.int64, device="cuda"), torch.arange(T, device="cuda")

    def step() -> None:
        batch = order.index_select(0, at)[0]
        x = X.index_select(0, (batch.unsqueeze(2) + rows).flatten()).view(members, BATCH, T, F)
        group.step(x, asset_ids[batch], y[batch])
        at.add_(1).remainder_(steps)

    return group, recorded(step)


def scoring(name: str) -> float:
    """Seconds in which one member's `VAL` windows are scored, in float32."""
    network = NETWORKS[name]().cuda().eval()
    x, asset_ids = torch.randn(SCORED, T, F, device="cuda"), torch.randint(ASSETS, (SCORED,), device="cuda")
    torch.backends.cudnn.allow_tf32 = False
    with torch.no_grad():
        return seconds(lambda: network(x, asset_ids), 5) * VAL / SCORED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=61_500)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--members", nargs="+", type=int, default=[1, 8, 16])
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("members: no CUDA device here; tests/test_benchmarks.py checks the step on a CPU")
    where = f"{torch.cuda.get_device_name()}, torch {torch.__version__}, Triton {triton.__version__}"
    print(f"{where}; steps measured, epochs of {TRAIN:,} + {VAL:,} windows worked out from them\n")
    print("| network | members | step, µs | epoch, s | of it scoring, s | repeated | member 0 as alone |")
    print("|---|---:|---:|---:|---:|---|---|")
    for name in options.networks:
        one_scored, alone = scoring(name), None
        for members in options.members:
            found = []
            with fused():
                for _ in range(2):
                    group, step = training(name, members, options.windows)
                    for _ in range(200):
                        step()
                    torch.cuda.synchronize()
                    found.append(group.matrices.clone())
                taken = seconds(step, 100)
            alone = found[0][0] if alone is None else alone
            scored = members * one_scored
            same = "same bytes" if torch.equal(*found) else "differs"
            off = (found[0][0] - alone).abs().max().item()
            as_alone = "same bytes" if off == 0 else f"within {off:.0e}"
            epoch = taken * (TRAIN // BATCH) + scored
            print(f"| {name} | {members} | {taken * 1e6:.0f} | {epoch:.2f} | {scored:.2f} | {same} | {as_alone} |", flush=True)


if __name__ == "__main__":
    main()
