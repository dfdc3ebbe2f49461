"""Layers that more than one architecture uses. Shapes: B batch, T time, F features, H hidden."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from learn.gru import gru


class AssetVectors(nn.Embedding):
    """A learned vector for each asset: asset ids int64 (B,) -> (B, E)."""


class AssetEmbedding(nn.Module):
    """Append a learned vector of the asset to every row.

    Args:
        n_assets: assets in the data.
        size: E, length of the vector.
    """

    def __init__(self, n_assets: int, size: int):
        super().__init__()
        self.table = AssetVectors(n_assets, size)

    def forward(self, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        """x (B, T, F), asset_ids int64 (B,) -> (B, T, F + E)."""
        vectors = self.table(asset_ids).unsqueeze(1).expand(-1, x.shape[1], -1)  # (B, T, E)
        return torch.cat([x, vectors.to(x.dtype)], dim=2)


class Dropout(nn.Module):
    """Zero a share of the values in training and scale up the rest.

    On a CPU nn.Dropout draws a full random number for each value, which takes a tenth of a training step here. This one
    draws 16 bits for each, so the share is a multiple of 1/65536.

    Args:
        share: of the values that is zeroed, 0 to 1.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x of any shape -> the same shape."""
        if not self.training or self.share == 0:
            return x
        if x.is_cuda:
            return functional.dropout(x, self.share)
        return x * draw_mask(x.numel(), self.share, x.dtype).view(x.shape)


def draw_mask(size: int, share: float, dtype: torch.dtype, generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw what dropout on a CPU multiplies `size` values with: 0, or what scales up the rest; (size,).

    Args:
        generator: None draws from torch's own.
    """
    levels = 2**16  # of a 16-bit number, uniform from -levels / 2 to levels / 2 - 1
    dropped = min(round(share * levels), levels - 1)  # levels whose values are zeroed
    draws = torch.empty((size + 3) // 4, dtype=torch.int64).random_(-(2**63), None, generator=generator).view(torch.int16)
    kept = draws[:size].ge_(dropped - levels // 2).to(dtype)  # 1 or 0
    return kept.mul_(levels / (levels - dropped))


class NormedLayers(nn.Sequential):
    """Batch norm, ReLU and dropout of values (B, C), then a linear layer without bias before each further three of them.

    No bias, because batch norm would take it away again.

    Args:
        widths: C of each three.
        dropout: share of the values that each zeroes.
    """

    def __init__(self, widths: Sequence[int], dropout: float):
        layers: list[nn.Module] = []
        for n_inputs, width in pairwise([0, *widths]):
            layers += [nn.Linear(n_inputs, width, bias=False)] if n_inputs else []
            layers += [nn.BatchNorm1d(width), nn.ReLU(), Dropout(dropout)]
        super().__init__(*layers)


class TimeConvolution(nn.Module):
    """Convolution over time that keeps rows as rows: one matrix product over each row and its neighbours.

    The same as nn.Conv1d with zeros around the window and no bias, without its layout (B, C, T): batch norm and activation
    after it run on contiguous rows, and so do their derivatives.

    Args:
        n_inputs, width: values of a row before and after.
        kernel_size: K, rows that a result sees; of an even number, one more after it than before.
    """

    def __init__(self, n_inputs: int, width: int, kernel_size: int):
        super().__init__()
        self.before, self.after = (kernel_size - 1) // 2, kernel_size // 2
        self.product = nn.Linear(kernel_size * n_inputs, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, C) -> (B, T, width)."""
        padded = functional.pad(x, (0, 0, self.before, self.after))
        shifted = [padded[:, row : row + x.shape[1]] for row in range(self.before + 1 + self.after)]
        return self.product(torch.cat(shifted, dim=2))


class RecurrentStack(nn.Module):
    """Single recurrent layers with dropout between them.

    As cuDNN's on a GPU they are float32 also under autocast, and multiply in TF32 then, bfloat16's range with three bits more. In
    a group `learn.kernels` runs them.

    Not ``num_layers > 1``: cuDNN's own dropout keeps its state outside the generator, so it can be neither saved nor
    reproduced (pytorch#104697).

    Args:
        cell: nn.LSTM or nn.GRU.
        n_inputs, hidden_size: sizes of a row and of the hidden state.
        layers: how many.
        dropout: share of the outputs of every layer but the last that is dropped.

    `by_hand`: whether a GRU runs through `learn.gru` on a CPU, which trains faster; an exported graph is shorter without.
    """

    by_hand = True

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], n_inputs: int, hidden_size: int, layers: int, dropout: float):
        super().__init__()
        sizes = [n_inputs] + [hidden_size] * (layers - 1)
        self.layers = nn.ModuleList(cell(size, hidden_size) for size in sizes)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, F) -> the last layer's hidden states (B, T, H)."""
        x = x.transpose(0, 1)  # both kinds of layer walk over time
        for number, layer in enumerate(self.layers):
            x = self.run(layer, self.dropout(x) if number else x)
        return x.transpose(0, 1)

    def run(self, layer: nn.LSTM | nn.GRU, x: torch.Tensor) -> torch.Tensor:
        """Run one of the layers: x (T, B, F) -> hidden states (T, B, H)."""
        if x.is_cuda:  # autocast gives cuDNN's layers float16, whatever was asked for: gradients are too small for it
            with torch.autocast("cuda", enabled=False):
                return layer(x.float())[0]
        if self.by_hand and isinstance(layer, nn.GRU):
            return gru(x, layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
        return layer(x)[0]


class Attention(nn.Module):
    """Additive attention over time: weights softmax(v · tanh(W h_t)), result the weighted mean of h_t.

    Source: Bahdanau, Cho, Bengio (2015), arXiv:1409.0473, section 3.1, without the decoder's state.
    """

    def __init__(self, hidden_size: int, attention_size: int):
        super().__init__()
        self.project = nn.Linear(hidden_size, attention_size)
        self.score = nn.Linear(attention_size, 1, bias=False)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """h (B, T, H) -> (B, H)."""
        weights = torch.softmax(self.score(torch.tanh(self.project(h))), dim=1)  # (B, T, 1)
        return (weights * h).sum(dim=1)
