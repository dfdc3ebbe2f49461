"""LSTM layers with attention over time."""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

import torch
from pydantic import Field
from torch import nn

from core.run import run
from learn.architecture import Architecture, NetworkSettings
from learn.layers import AssetEmbedding, Attention, Dropout, RecurrentStack


class Settings(NetworkSettings):
    hidden_size: int = Field(ge=1, le=8192)
    layers: int = Field(ge=1, le=20)
    attention_size: int = Field(ge=1, le=8192)


class LSTMAttention(nn.Module):
    """LSTM layers, additive attention over their hidden states, one linear unit.

    Args:
        hidden_size: H of every layer.
        layers: how many.
        attention_size: width of the attention's inner layer.
        dropout: between layers, and before the last unit.
        asset_embedding: E, length of the asset's vector, appended to every row.
        n_features, n_assets: F, assets in the data.
        lookback: T; the network takes any.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        layers: int,
        attention_size: int,
        dropout: float,
        asset_embedding: int,
        n_features: int,
        n_assets: int,
        lookback: int,
    ):
        super().__init__()
        self.assets = AssetEmbedding(n_assets, asset_embedding)
        self.recurrent = RecurrentStack(nn.LSTM, n_features + asset_embedding, hidden_size, layers, dropout)
        self.attention = Attention(hidden_size, attention_size)
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        """x (B, T, F), asset_ids (B,) -> logits (B,)."""
        h = self.recurrent(self.assets(x, asset_ids))  # (B, T, H)
        return self.head(self.dropout(self.attention(h))).squeeze(1)


ARCHITECTURE = Architecture("lstm", "LSTM + attention", LSTMAttention, Settings)

if __name__ == "__main__":
    from learn.train_stage import train

    run(lambda: train(ARCHITECTURE))
