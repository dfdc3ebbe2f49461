"""Trades and calls made up for tests of the judge."""

import numpy as np

from judge.calls import Calls
from judge.money import Trades
from judge.uncertainty import draw_days


def make_trades(rng: np.random.Generator, days: int) -> Trades:
    """One asset's hourly bars; a fifth are hits, and trades overlap."""
    size = days * 24
    arrays = {
        "y": (rng.random(size) < 0.2).astype(np.int8),
        "returns": rng.normal(0, 0.02, size),
        "held": np.minimum(rng.integers(1, 9, size), np.arange(size)[::-1]).astype(np.int16),
        "asset_ids": np.zeros(size, np.int16),
        "timestamps": np.datetime64("2024-01-01", "s") + np.arange(size) * np.timedelta64(3600, "s"),
    }
    return Trades.of(arrays)


def make_calls(better_by: float, seeds: tuple = (1, 2), days: int = 150, draws: int = 500) -> dict[str, Calls]:
    """Two models a and b with the same seeds; of the hits that b called, a share of `better_by` is taken away."""
    rng = np.random.default_rng(0)
    trades = make_trades(rng, days)
    shape = (len(seeds), len(trades.y))
    a = np.where(trades.y > 0, rng.random(shape) < 0.6, rng.random(shape) < 0.2)
    b = a & ~((trades.y > 0) & (rng.random(shape) < better_by))
    weights = draw_days(days, 5, draws, 0)
    return {name: Calls.of(trades, called, list(seeds), weights, 0.003) for name, called in (("a", a), ("b", b))}
