"""The training loop that a competent user writes first: the yardstick.

Windows are materialised, a DataLoader shuffles them, recurrent layers bring their own dropout, every step reads its loss,
numbers are float32. The networks are the project's, but for the recurrent stack.
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from core.loss import focal_loss
from core.windows import samples, windows
from train_cnn_lstm import CNNLSTM
from train_gru import GRUAttention
from train_lstm import LSTMAttention
from train_mlp import MLP


class Stacked(nn.Module):
    """nn.LSTM or nn.GRU with layers and dropout of its own; x (B, T, F) -> (B, T, H)."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], n_inputs: int, hidden_size: int, layers: int, dropout: float):
        super().__init__()
        self.rnn = cell(n_inputs, hidden_size, num_layers=layers, dropout=dropout if layers > 1 else 0.0, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x)[0]


def network(name: str, n_features: int, n_assets: int, lookback: int) -> nn.Module:
    """The baseline network of params.yaml as its first author would write it."""
    sizes = {"n_features": n_features, "n_assets": n_assets, "lookback": lookback, "dropout": 0.3, "asset_embedding": 8}
    if name == "mlp":
        return MLP(hidden_sizes=[256, 128, 64], **sizes)
    if name == "cnn_lstm":
        model = CNNLSTM(channels=[32, 64], kernel_size=3, hidden_size=128, attention_size=64, **sizes)
        model.recurrent = Stacked(nn.LSTM, 64, 128, 1, 0.0)
        return model
    kind, cell = {"lstm": (LSTMAttention, nn.LSTM), "gru": (GRUAttention, nn.GRU)}[name]
    model = kind(hidden_size=128, layers=2, attention_size=64, **sizes)
    model.recurrent = Stacked(cell, n_features + 8, 128, 2, 0.3)
    return model


def dataset(X: np.ndarray, y: np.ndarray, asset_ids: np.ndarray, lookback: int) -> TensorDataset:
    """Every window written out: x (N, T, F), asset ids (N,), labels (N,)."""
    ends = samples(y)
    x = windows(X, ends, lookback).reshape(len(ends), lookback, X.shape[1])
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
