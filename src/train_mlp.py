"""MLP on the flattened window."""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from core.run import run
from learn.architecture import Architecture, NetworkSettings
from learn.layers import AssetVectors, NormedLayers


class Settings(NetworkSettings):
    hidden_sizes: list[Annotated[int, Field(ge=1, le=8192)]] = Field(min_length=1, max_length=20)


class MLP(nn.Module):
    """Linear layers with batch norm, ReLU and dropout on the window's T * F values and the asset's vector.

    They have no bias: batch norm would take it away again.

    Args:
        hidden_sizes: width of each hidden layer.
        dropout: after each hidden layer.
        asset_embedding: E, length of the asset's vector.
        n_features, n_assets, lookback: F, assets in the data, T.
    """

    def __init__(
        self, *, hidden_sizes: list[int], dropout: float, asset_embedding: int, n_features: int, n_assets: int, lookback: int
    ):
        super().__init__()
        first = hidden_sizes[0]
        self.assets = AssetVectors(n_assets, asset_embedding)
        # One layer of both inputs, in two parts: a window needs no gradient, which would take a tenth of the training.
        self.from_window = nn.Linear(lookback * n_features, first, bias=False)
        self.from_asset = nn.Linear(asset_embedding, first, bias=False)
        reach = (lookback * n_features + asset_embedding) ** -0.5  # as in one layer
        nn.init.uniform_(self.from_asset.weight, -reach, reach)
        self.hidden = NormedLayers(hidden_sizes, dropout)
        self.head = nn.Linear(hidden_sizes[-1], 1)

    def forward(self, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        """x (B, T, F), asset_ids (B,) -> logits (B,)."""
        first = self.from_window(x.flatten(1)) + self.from_asset(self.assets(asset_ids))
        return self.head(self.hidden(first)).squeeze(1)


ARCHITECTURE = Architecture("mlp", "MLP", MLP, Settings)

if __name__ == "__main__":
    from learn.train_stage import train

    run(lambda: train(ARCHITECTURE))
