"""MLP on the flattened window."""

from itertools import pairwise

import torch
from pydantic import Field
from torch import nn

import stage
import training
from core.layers import Dropout


class Settings(training.Architecture):
    hidden_sizes: list[int] = Field(min_length=1, max_length=20)


class MLP(nn.Module):
    """Linear layers with batch norm, ReLU and dropout on the window's T * F values and the asset's vector.

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
        self.assets = nn.Embedding(n_assets, asset_embedding)
        sizes = [lookback * n_features + asset_embedding, *hidden_sizes]
        layers: list[nn.Module] = []
        for n_inputs, width in pairwise(sizes):
            layers += [nn.Linear(n_inputs, width), nn.BatchNorm1d(width), nn.ReLU(), Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], 1)

    def forward(self, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        """x (B, T, F), asset_ids (B,) -> logits (B,)."""
        flat = torch.cat([x.flatten(1), self.assets(asset_ids)], dim=1)  # (B, T * F + E)
        return self.head(self.hidden(flat)).squeeze(1)


if __name__ == "__main__":
    stage.run(lambda: training.train("mlp", MLP, Settings))
