"""Validation and trials of a search, drawn at random."""

import numpy as np

from judge.money import Trades
from search.objective import Validation

SAMPLES = 24  # a day


def draw_validation(days: int, rng: np.random.Generator) -> Validation:
    """Draw samples of one asset, 15 % positive, whose trades take two bars; the day in the middle is in neither half."""
    size = days * SAMPLES
    number = np.arange(size) // SAMPLES
    y = (rng.random(size) < 0.15).astype(float)
    times = np.datetime64("2024-01-01", "s") + np.arange(size) * np.timedelta64(3600, "s")
    trades = Trades(
        y=y,
        mirrored=rng.random(size) < 0.15,
        returns=np.where(y > 0, 0.05, -0.01) + rng.normal(0, 0.005, size),
        costs=np.full(size, 0.003),
        held=np.full(size, 2),
        ends=times + 2 * np.timedelta64(3600, "s"),
        rows=np.arange(size),
        asset_ids=np.zeros(size, np.int16),
        timestamps=times,
        days=number,
        assets=1,
    )
    half = np.select([number < days // 2, number > days // 2], [0, 1], -1).astype(np.int8)
    return Validation(trades, half, min_trades=5)


def draw_logits(val: Validation, rng: np.random.Generator, edge: float = 0.0, seeds: int = 2) -> np.ndarray:
    """Draw a trial's logits, float32 (S, 2, N); those of positives lie higher by `edge` standard deviations."""
    return (rng.standard_normal((seeds, 2, len(val.half))) + edge * val.trades.y).astype(np.float32)
