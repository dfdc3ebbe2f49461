"""Convolutions over time, then an LSTM with attention."""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from core.run import run
from learn.architecture import Architecture, NetworkSettings
from learn.layers import AssetEmbedding, Attention, Dropout, RecurrentStack, TimeConvolution


class Settings(NetworkSettings):
    channels: list[Annotated[int, Field(ge=1, le=8192)]] = Field(min_length=1, max_length=20)
    kernel_size: int = Field(ge=1, le=99)
    hidden_size: int = Field(ge=1, le=8192)
    attention_size: int = Field(ge=1, le=8192)


class CNNLSTM(nn.Module):
    """Convolutions that find short patterns, an LSTM that orders them, attention over its hidden states, one linear unit.

    Args:
        channels: width of each convolution.
        kernel_size: rows that a convolution sees; the window is padded with zeros to keep its length.
        hidden_size: H of the LSTM.
        attention_size: width of the attention's inner layer.
        dropout: after the convolutions, and before the last unit.
        asset_embedding: E, length of the asset's vector, appended to every row.
        n_features, n_assets: F, assets in the data.
        lookback: T; the network takes any.
    """

    def __init__(
        self,
        *,
        channels: list[int],
        kernel_size: int,
        hidden_size: int,
        attention_size: int,
        dropout: float,
        asset_embedding: int,
        n_features: int,
        n_assets: int,
        lookback: int,
    ):
        super().__init__()
        self.assets = AssetEmbedding(n_assets, asset_embedding)
        sizes = [n_features + asset_embedding, *channels]
        self.convolutions = nn.ModuleList(TimeConvolution(*pair, kernel_size) for pair in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in channels)
        self.dropout = Dropout(dropout)
        self.recurrent = RecurrentStack(nn.LSTM, sizes[-1], hidden_size, 1, 0.0)
        self.attention = Attention(hidden_size, attention_size)
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        """x (B, T, F), asset_ids (B,) -> logits (B,)."""
        patterns = self.assets(x, asset_ids)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            rows = norm(convolution(patterns).flatten(0, 1)).relu()  # (B * T, C)
            patterns = rows.view(*x.shape[:2], -1)
        h = self.recurrent(self.dropout(patterns))  # (B, T, H)
        return self.head(self.dropout(self.attention(h))).squeeze(1)


ARCHITECTURE = Architecture("cnn_lstm", "CNN-LSTM", CNNLSTM, Settings)

if __name__ == "__main__":
    from learn.train_stage import train

    run(lambda: train(ARCHITECTURE))
