"""The training loop that a competent user writes first: the yardstick.

Windows are materialised, a DataLoader shuffles them, layers are those of torch.nn, every step reads its loss, numbers are
float32.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from core.splits import gather_windows, sample_rows
from learn.layers import AssetEmbedding, Attention
from learn.loss import focal_loss

HIDDEN, DROPOUT, ASSET = 128, 0.3, 8


class PlainMLP(nn.Module):
    """x (B, T, F), asset ids (B,) -> logits (B,), as below."""

    def __init__(self, n_features: int, n_assets: int, lookback: int):
        super().__init__()
        self.assets = nn.Embedding(n_assets, ASSET)
        layers: list[nn.Module] = []
        sizes = [lookback * n_features + ASSET, 256, 128, 64]
        for n_inputs, width in pairwise(sizes):
            layers += [nn.Linear(n_inputs, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(DROPOUT)]
        self.layers = nn.Sequential(*layers, nn.Linear(64, 1))

    def forward(self, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([x.flatten(1), self.assets(asset_ids)], dim=1)).squeeze(1)


class PlainRecurrent(nn.Module):
    """nn.LSTM or nn.GRU with layers and dropout of its own, after convolutions where `channels` are given."""

    def __init__(self, cell: type[nn.Module], layers: int, n_features: int, n_assets: int, channels: tuple[int, ...] = ()):
        super().__init__()
        self.assets = AssetEmbedding(n_assets, ASSET)
        sizes, convolutions = [n_features + ASSET, *channels], []
        for n_inputs, width in pairwise(sizes):
            convolutions += [nn.Conv1d(n_inputs, width, 3, padding="same", bias=False), nn.BatchNorm1d(width), nn.ReLU()]
        self.convolutions = nn.Sequential(*convolutions, nn.Dropout(DROPOUT)) if channels else None
        self.rnn = cell(sizes[-1], HIDDEN, num_layers=layers, dropout=DROPOUT if layers > 1 else 0.0, batch_first=True)
        self.attention, self.head = Attention(HIDDEN, 64), nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(HIDDEN, 1))

    def forward(self, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        rows = self.assets(x, asset_ids)
        if self.convolutions is not None:
            rows = self.convolutions(rows.transpose(1, 2)).transpose(1, 2)
        return self.head(self.attention(self.rnn(rows)[0])).squeeze(1)


def network(name: str, n_features: int, n_assets: int, lookback: int) -> nn.Module:
    """The baseline network of params.yaml as its first author would write it."""
    if name == "mlp":
        return PlainMLP(n_features, n_assets, lookback)
    cell = nn.GRU if name == "gru" else nn.LSTM
    if name == "cnn_lstm":
        return PlainRecurrent(cell, 1, n_features, n_assets, (32, 64))
    return PlainRecurrent(cell, 2, n_features, n_assets)


def dataset(X: np.ndarray, y: np.ndarray, asset_ids: np.ndarray, lookback: int) -> TensorDataset:
    """Every window written out: x (N, T, F), asset ids (N,), labels (N,)."""
    ends = sample_rows(y)
    x = gather_windows(X, ends, lookback).reshape(len(ends), lookback, X.shape[1])
    return TensorDataset(
        torch.from_numpy(x), torch.from_numpy(asset_ids[ends].astype(np.int64)), torch.from_numpy(y[ends]).float()
    )


def epoch(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer, device: str) -> float:
    """One pass over the data; returns the mean loss."""
    model.train()
    total = 0.0
    for x, asset_ids, y in loader:
        x, asset_ids, y = x.to(device), asset_ids.to(device), y.to(device)
        optimizer.zero_grad()
        loss = focal_loss(model(x, asset_ids), y, alpha=0.25, gamma=2.0)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    return total / len(loader)
