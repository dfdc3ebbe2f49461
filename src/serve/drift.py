"""Compare the features of new bars with those of train: values that were clipped, and distributions unlike any that train had."""

from collections.abc import Sequence

import numpy as np

from core.files import read_array
from core.places import CAMPAIGN
from serve.model import Recipe
from serve.scoring import AssetBars

RECENT = 500  # rows of an asset, the newest
MAX_ASSETS = 16  # that are looked at
BLOCKS = 20  # periods of train that are as long, to compare with
BINS = 10
SHIFTED = 0.25  # of the population stability index, from which a shift is usually called large
BEYOND = 1.5  # times the largest index of those periods, which are few and overlap
FEWEST = 100  # rows
MAX_CLIPPED = 0.01  # share of the values
FLOOR = 1e-4  # of a bin's share, as log needs one


def describe_drift(assets: Sequence[AssetBars], recipe: Recipe) -> list[str]:
    """Return warnings of one line each; empty where the newest rows look like train.

    The index of a few weeks against all of train is large by itself, since markets stay calm or wild for long. So a feature is
    named only where its index exceeds `SHIFTED`, and `BEYOND` times the largest of `BLOCKS` periods of train of the same length.
    """
    chosen = list(assets)[:: -(-len(assets) // MAX_ASSETS)]
    size = min([RECENT, *(len(asset.X) for asset in chosen)])
    if size < FEWEST:
        return []
    recent = np.concatenate([asset.X[-size:] for asset in chosen])
    warnings = []
    clipped = float((np.abs(recent) >= np.float32(recipe.clip)).mean())
    if clipped > MAX_CLIPPED:
        warnings.append(f"{clipped:.1%} of the features are clipped at {recipe.clip:g} standard deviations of train")
    blocks = train_blocks([recipe.asset_ids[asset.symbol] for asset in chosen], size)
    if not blocks:
        return warnings
    everything = np.concatenate(blocks)
    shifted = []
    for number, name in enumerate(recipe.features):
        edges = np.unique(np.quantile(everything[:, number], np.linspace(0, 1, BINS + 1)[1:-1]))
        expected = shares(everything[:, number], edges)
        own = stability_index(shares(recent[:, number], edges), expected)
        if own > SHIFTED and own > BEYOND * max(stability_index(shares(block[:, number], edges), expected) for block in blocks):
            shifted.append((own, name))
    if shifted:
        worst = ", ".join(f"{name} {own:.2f}" for own, name in sorted(shifted, reverse=True)[:3])
        more = f" and {len(shifted) - 3} more" if len(shifted) > 3 else ""
        warnings.append(f"features are distributed as in no period of train of {size} bars (stability index: {worst}{more})")
    return warnings


def train_blocks(asset_ids: Sequence[int], size: int) -> list[np.ndarray]:
    """Read periods of train, float32 (rows, F) each: `size` consecutive rows of each asset that has so many."""
    X, ids = (read_array(CAMPAIGN.data / f"train_{name}.npy", mapped=True) for name in ("X", "asset_ids"))
    blocks: list[list[np.ndarray]] = [[] for _ in range(BLOCKS)]
    for number in asset_ids:
        first, end = np.searchsorted(ids, number), np.searchsorted(ids, number, side="right")
        if end - first >= size:
            for block, start in zip(blocks, np.linspace(first, end - size, BLOCKS).astype(int), strict=True):
                block.append(np.asarray(X[start : start + size]))
    return [np.concatenate(parts) for parts in blocks if parts]


def shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the share of values in each bin between the edges, at least `FLOOR`."""
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return np.maximum(counts / len(values), FLOOR)


def stability_index(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the population stability index of two distributions over the same bins: 0 where they are equal."""
    return float(((found - expected) * np.log(found / expected)).sum())
