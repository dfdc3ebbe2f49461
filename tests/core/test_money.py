"""Trades taken one at a time, and what they pay, against a slow reading."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.money import Trades, drawdown

HOUR = np.timedelta64(3600, "s")


@st.composite
def trades(draw: st.DrawFn) -> tuple[Trades, np.ndarray]:
    """Two assets, some rows without a sample, and which samples are called."""
    rows = draw(st.lists(st.tuples(st.integers(-1, 1), st.integers(1, 8), st.booleans()), min_size=8, max_size=60))
    y, held, called = (np.array(column) for column in zip(*rows, strict=True))
    y[0] = 1
    half = len(rows) // 2
    left = np.append(np.arange(half)[::-1], np.arange(len(rows) - half)[::-1])  # bars of the asset after each
    y[left == 0] = -1
    arrays = {
        "y": y.astype(np.int8),
        "returns": np.where(y > 0, 0.05, np.where(held == 8, 0.01, -0.02)).astype(np.float32),  # some time out
        "held": np.minimum(held, left).astype(np.int16),
        "asset_ids": np.repeat([0, 1], [half, len(rows) - half]),
        "timestamps": np.datetime64("2024-01-01", "s") + np.append(np.arange(half), np.arange(len(rows) - half)) * 5 * HOUR,
    }
    return Trades.of(arrays), called[y >= 0].astype(bool)


@given(trades())
def test_one_position_an_asset(data):
    of_split, called = data
    open_until: dict[int, int] = {}
    expected = []
    for number in range(len(called)):
        asset, row = int(of_split.asset_ids[number]), int(of_split.rows[number])
        take = bool(called[number]) and row >= open_until.get(asset, -1)
        if take:
            open_until[asset] = row + int(of_split.held[number])
        expected.append(take)
    assert of_split.taken(called).tolist() == expected


@given(trades(), st.sampled_from([0.0, 0.003, 0.05]))
def test_the_figures_add_up(data, cost):
    of_split, called = data
    taken = of_split.taken(called)
    row = of_split.figures(called, cost)
    assert row["trades"] == taken.sum()
    assert row["total_return_net"] == pytest.approx(sum(float(r) - cost for r in of_split.returns[taken]) / of_split.assets)
    assert row["total_return"] == pytest.approx(sum(of_split.returns[taken].tolist()) / of_split.assets)
    assert row["return_per_day_net"] * (of_split.days.max() + 1) == pytest.approx(row["total_return_net"])
    if taken.any():
        assert row["mean_return_net"] == pytest.approx(row["mean_return"] - cost)
        assert row["hit_rate"] == pytest.approx(of_split.y[taken].mean())
    else:
        assert row["mean_return"] is row["hit_rate"] is None
    if row["break_even_hit_rate"] is None:
        assert row["hit_rate"] in (None, 0.0, 1.0)
    else:  # on the side of it on which money is made, and every hit of its share more pays its part
        hits, misses = (of_split.returns[taken & (of_split.y == label)].astype(float).mean() for label in (1, 0))
        above = row["hit_rate"] - row["break_even_hit_rate"]
        assert above * (hits - misses) == pytest.approx(row["mean_return_net"])


@given(trades())
def test_the_drawdown_follows_trades_as_they_end(data):
    of_split, called = data
    ending: dict[np.datetime64, float] = {}
    step = 5 * HOUR
    for number in np.flatnonzero(of_split.taken(called)):
        end = of_split.timestamps[number] + int(of_split.held[number]) * step
        ending[end] = ending.get(end, 0.0) + (float(of_split.returns[number]) - 0.003) / of_split.assets
    worth = highest = deepest = 0.0
    for end in sorted(ending):
        worth += ending[end]
        highest = max(highest, worth)
        deepest = max(deepest, highest - worth)
    assert of_split.figures(called, 0.003)["max_drawdown"] == pytest.approx(deepest)


def test_the_drawdown_is_the_deepest_fall_from_a_peak():
    assert drawdown(np.array([0.1, -0.05, -0.1, 0.2, -0.05])) == pytest.approx(0.15)
    assert drawdown(np.array([-0.1, 0.3])) == pytest.approx(0.1)
    assert drawdown(np.array([0.1, 0.2])) == 0


@given(trades(), st.integers(0, 9))
def test_along_the_threshold_figures_are_those_of_the_calls(data, seed):
    of_split, _ = data
    scores = np.round(np.random.default_rng(seed).random(len(of_split.y)), 1)
    rows = of_split.by_share_called(scores, 0.003, points=10)
    assert rows[-1]["share_called"] == 1
    for row in rows:
        called = scores >= row["threshold"]
        assert row["share_called"] == pytest.approx(called.mean())
        assert row["trades"] == called.sum()
        assert row["precision"] == pytest.approx(of_split.y[called].mean())
        assert row["mean_return"] == pytest.approx(of_split.returns[called].mean(), abs=1e-6)
        assert row["total_return"] == pytest.approx(of_split.returns[called].sum() / of_split.assets, abs=1e-5)
        assert row["total_return_net"] == pytest.approx(row["total_return"] - 0.003 * called.sum() / of_split.assets)
        assert row["mean_return_net"] == pytest.approx(of_split.returns[called].mean() - 0.003, abs=1e-6)
