"""Trades made up for tests of the judge."""

import numpy as np

from judge.money import Trades


def make_trades(rng: np.random.Generator, days: int) -> Trades:
    """One asset's hourly bars; a fifth are hits, and trades overlap."""
    size = days * 24
    last = np.arange(size) == size - 1
    arrays = {
        "y": np.where(last, -1, rng.random(size) < 0.2).astype(np.int8),
        "mirrored": (rng.random(size) < 0.2).astype(np.int8),
        "returns": rng.normal(0, 0.02, size),
        "held": np.minimum(rng.integers(1, 9, size), np.arange(size)[::-1]).astype(np.int16),
        "asset_ids": np.zeros(size, np.int16),
        "timestamps": np.datetime64("2024-01-01", "s") + np.arange(size) * np.timedelta64(3600, "s"),
    }
    return Trades.of(arrays, np.array([0.003]))
