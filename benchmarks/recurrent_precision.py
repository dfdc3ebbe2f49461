"""What number formats do to recurrent layers: gradients in float16 and bfloat16, scores with products in TF32.

On a CPU, with the models and data of the campaign in this directory: layers are written out, so that each rounds as it is
told. float16 is what PyTorch's autocast gives cuDNN's layers, TF32 what cuDNN multiplies float32 in unless it is told not to.

Usage: python benchmarks/recurrent_precision.py
"""

import sys
from pathlib import Path
from unittest import mock

sys.path[:0] = [str(Path(__file__).parent.parent / "src")]

import numpy as np
import torch
from torch import nn

from core.files import read_array, read_json
from core.metrics import sigmoid
from learn.dataset import Split
from learn.device import prepare_process
from learn.fit import predict
from learn.layers import RecurrentStack
from learn.loss import focal_loss
from learn.models import load_model

DATA = Path("data/training_data")
RECURRENT = ("lstm", "gru", "cnn_lstm")
BATCH = 128


def to_tf32(x: torch.Tensor) -> torch.Tensor:
    """Round float32 to ten bits of mantissa, ties to even."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def written_out(layer: nn.LSTM | nn.GRU, x: torch.Tensor, dtype: torch.dtype, *, tf32: bool) -> torch.Tensor:
    """x (T, B, F) -> hidden states (T, B, H), all in `dtype`; with `tf32` the products' factors are rounded."""
    w_ih, w_hh, b_ih, b_hh = (parameter.to(dtype) for parameter in layer.parameters())

    def product(a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return to_tf32(a) @ to_tf32(w).t() if tf32 else a @ w.t()

    from_x = product(x.to(dtype), w_ih) + b_ih
    h = c = from_x.new_zeros(x.shape[1], layer.hidden_size)
    states = []
    for step in from_x:
        from_h = product(h, w_hh) + b_hh
        if isinstance(layer, nn.LSTM):
            i, f, g, o = (step + from_h).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        else:
            (x_r, x_z, x_n), (h_r, h_z, h_n) = step.chunk(3, dim=1), from_h.chunk(3, dim=1)
            z, n = (x_z + h_z).sigmoid(), (x_n + (x_r + h_r).sigmoid() * h_n).tanh()
            h = n + z * (h - n)
        states.append(h)
    return torch.stack(states)


def replaced(dtype: torch.dtype, *, tf32: bool = False, seen: list[torch.Tensor] | None = None) -> "mock._patch":
    """RecurrentStack with its layers written out; `seen` collects the gradients that reach their outputs."""

    def forward(self: RecurrentStack, x: torch.Tensor) -> torch.Tensor:
        x = x.transpose(0, 1)
        for layer in self.layers:
            x = written_out(layer, x, dtype, tf32=tf32)
            if seen is not None:
                x.register_hook(lambda gradient: seen.append(gradient.float().flatten()))
        return x.float().transpose(0, 1)

    return mock.patch.object(RecurrentStack, "forward", forward)


def gradients(model: nn.Module, batch: tuple, dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Of the recurrent weights, and of the layers' outputs, without dropout."""
    seen: list[torch.Tensor] = []
    x, asset_ids, y = batch
    model.zero_grad()
    with replaced(dtype, seen=seen):
        focal_loss(model.eval()(x, asset_ids), y, alpha=0.25, gamma=2.0).backward()
    weights = {name: p.grad.clone() for name, p in model.named_parameters() if "recurrent" in name and "weight" in name}
    return weights, torch.cat(seen)


def main() -> None:
    prepare_process()
    lookback = read_json(DATA / "metadata.json")["lookback"]
    train, val = (
        Split.of(*(read_array(DATA / f"{split}_{name}.npy") for name in ("X", "y", "asset_ids")), lookback=lookback)
        for split in ("train", "val")
    )
    torch.manual_seed(0)
    batch = train.gather(torch.randperm(len(train))[:BATCH])
    smallest = 2.0**-25  # half of float16's smallest number: what is below becomes zero
    print(
        "| network, seed | gradients at outputs that float16 makes zero | error of weights' gradients, float16 | bfloat16 | ",
        end="",
    )
    print("largest change of a logit, TF32 | calls that change, TF32 |\n|---|---:|---:|---:|---:|---:|")
    for name in RECURRENT:
        for path in sorted(Path("models", name).glob("seed_*.pt")):
            model, content = load_model(path)
            exact, outputs = gradients(model, batch, torch.float32)
            errors = []
            for dtype in (torch.float16, torch.bfloat16):
                found, _ = gradients(model, batch, dtype)
                each = [((found[key] - exact[key]).norm() / exact[key].norm()).item() for key in exact]
                errors.append(f"{min(each):.1%} to {max(each):.1%}")
            lost = (outputs[outputs != 0].abs() < smallest).float().mean().item()
            logits = predict(model, val)
            with replaced(torch.float32, tf32=True):
                rounded = predict(model, val)
            changed = np.sum((sigmoid(logits) >= content["threshold"]) != (sigmoid(rounded) >= content["threshold"]))
            print(f"| {name}, {content['seed']} | {lost:.0%} | {' | '.join(errors)} | ", end="")
            print(f"{np.abs(logits - rounded).max():.1e} | {changed} of {len(val):,} |", flush=True)


if __name__ == "__main__":
    main()
