"""Entries and their returns, against a slow loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.money import Trades, break_even_precision, max_drawdown

HOUR = np.timedelta64(3600, "s")


@st.composite
def trades(draw: st.DrawFn) -> tuple[Trades, np.ndarray]:
    """Draw two assets, some rows without a sample, and which samples are predicted positive."""
    rows = draw(st.lists(st.tuples(st.integers(-1, 1), st.integers(1, 8), st.booleans()), min_size=8, max_size=60))
    y, held, signals = (np.array(column) for column in zip(*rows, strict=True))
    y[0] = 1
    half = len(rows) // 2
    left = np.append(np.arange(half)[::-1], np.arange(len(rows) - half)[::-1])  # bars of the asset after each
    y[left == 0] = -1
    arrays = {
        "y": y.astype(np.int8),
        "returns": np.where(y > 0, 0.05, np.where(held == 8, 0.01, -0.02)),  # some time out
        "held": np.minimum(held, left).astype(np.int16),
        "asset_ids": np.repeat([0, 1], [half, len(rows) - half]),
        "timestamps": np.datetime64("2024-01-01", "s") + np.append(np.arange(half), np.arange(len(rows) - half)) * 5 * HOUR,
    }
    return Trades.of(arrays), signals[y >= 0].astype(bool)


@given(trades())
def test_an_asset_has_one_position_at_a_time(data):
    of_split, signals = data
    open_until: dict[int, int] = {}
    expected = []
    for number in range(len(signals)):
        asset, row = int(of_split.asset_ids[number]), int(of_split.rows[number])
        enter = bool(signals[number]) and row >= open_until.get(asset, -1)
        if enter:
            open_until[asset] = row + int(of_split.held[number])
        expected.append(enter)
    assert of_split.entries(signals).tolist() == expected


@given(trades(), st.sampled_from([0.0, 0.003, 0.05]))
def test_the_returns_add_up(data, cost):
    of_split, signals = data
    entered = of_split.entries(signals)
    found = of_split.performance(signals, cost)
    assert found.trades == entered.sum()
    assert found.total_return_net == pytest.approx(sum(float(r) - cost for r in of_split.returns[entered]) / of_split.assets)
    assert found.total_return == pytest.approx(sum(of_split.returns[entered].tolist()) / of_split.assets)
    assert found.return_per_day_net * (of_split.days.max() + 1) == pytest.approx(found.total_return_net)
    if entered.any():
        assert found.mean_return_net == pytest.approx(found.mean_return - cost)
        assert found.hit_rate == pytest.approx(of_split.y[entered].mean())
    else:
        assert found.mean_return is found.hit_rate is None
    if found.break_even_hit_rate is None:
        assert found.hit_rate in (None, 0.0, 1.0)
    else:  # the net return is the distance from break-even times what a hit returns more than a miss
        hits, misses = (of_split.returns[entered & (of_split.y == label)].astype(float).mean() for label in (1, 0))
        above = found.hit_rate - found.break_even_hit_rate
        assert above * (hits - misses) == pytest.approx(found.mean_return_net)


@given(trades())
def test_the_drawdown_follows_trades_as_they_end(data):
    of_split, signals = data
    ending: dict[np.datetime64, float] = {}
    step = 5 * HOUR
    for number in np.flatnonzero(of_split.entries(signals)):
        end = of_split.timestamps[number] + int(of_split.held[number]) * step
        ending[end] = ending.get(end, 0.0) + (float(of_split.returns[number]) - 0.003) / of_split.assets
    worth = highest = deepest = 0.0
    for end in sorted(ending):
        worth += ending[end]
        highest = max(highest, worth)
        deepest = max(deepest, highest - worth)
    assert of_split.performance(signals, 0.003).max_drawdown == pytest.approx(deepest)


def test_the_drawdown_is_the_deepest_fall_from_a_peak():
    assert max_drawdown(np.array([0.1, -0.05, -0.1, 0.2, -0.05])) == pytest.approx(0.15)
    assert max_drawdown(np.array([-0.1, 0.3])) == pytest.approx(0.1)
    assert max_drawdown(np.array([0.1, 0.2])) == 0


@given(trades(), st.integers(0, 9))
def test_the_threshold_curve_sums_up_all_samples_predicted_positive(data, seed):
    of_split, _ = data
    scores = np.round(np.random.default_rng(seed).random(len(of_split.y)), 1)
    rows = of_split.threshold_curve(scores, 0.003, points=10)
    assert rows[-1]["share_called"] == 1
    for row in rows:
        predicted = scores >= row["threshold"]
        assert row["share_called"] == pytest.approx(predicted.mean())
        assert row["trades"] == predicted.sum()
        assert row["precision"] == pytest.approx(of_split.y[predicted].mean())
        assert row["mean_return"] == pytest.approx(of_split.returns[predicted].mean(), abs=1e-6)
        assert row["total_return"] == pytest.approx(of_split.returns[predicted].sum() / of_split.assets, abs=1e-5)
        assert row["total_return_net"] == pytest.approx(row["total_return"] - 0.003 * predicted.sum() / of_split.assets)
        assert row["mean_return_net"] == pytest.approx(of_split.returns[predicted].mean() - 0.003, abs=1e-6)


def test_trades_earn_nothing_at_the_break_even_precision():
    p = break_even_precision(0.05, 0.02, 0.003)
    assert p == pytest.approx(0.3286, abs=1e-4)
    assert p * (0.05 - 0.003) - (1 - p) * (0.02 + 0.003) == pytest.approx(0)
