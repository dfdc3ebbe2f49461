"""Labels against a slow reading of the rule, one bar at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bars.labels import triple_barrier
from bars.reading import Bars
from scaffold import make_frame, to_bars


def slow_label(bars: Bars, t: int, profit: float, stop: float, horizon: int) -> tuple[int, float, int]:
    if t + horizon >= len(bars):
        return -1, math.nan, 0
    entry = bars.close[t]
    for ahead in range(t + 1, t + horizon + 1):
        if bars.low[ahead] <= entry * (1 - stop):
            return 0, min(-stop, bars.open[ahead] / entry - 1), ahead - t
        if bars.high[ahead] >= entry * (1 + profit):
            return 1, profit, ahead - t
    return 0, bars.close[t + horizon] / entry - 1, horizon


@st.composite
def small_bars(draw: st.DrawFn) -> Bars:
    """Draw prices on whole numbers near 100, so that barriers of 2 and 5 % are often met exactly."""
    size = draw(st.integers(1, 30))
    price, wick = st.integers(92, 108), st.integers(0, 6)
    rows = draw(st.lists(st.tuples(price, price, wick, wick), min_size=size, max_size=size))
    opening, close, up, down = np.array(rows, float).T
    hours = np.datetime64("2024-01-01", "s") + np.arange(size) * np.timedelta64(3600, "s")
    high, low = np.maximum(opening, close) + up, np.minimum(opening, close) - down
    return Bars(hours, opening, high, low, close, np.ones(size))


@given(small_bars(), st.sampled_from([0.01, 0.02, 0.05]), st.sampled_from([0.01, 0.02]), st.integers(1, 9))
def test_labels_and_returns_match_a_slow_reading_of_the_rule(bars, profit, stop, horizon):
    labels, returns, held = triple_barrier(bars, profit=profit, stop=stop, horizon=horizon)
    expected = [slow_label(bars, t, profit, stop, horizon) for t in range(len(bars))]
    assert labels.dtype == np.int8
    assert labels.tolist() == [label for label, _, _ in expected]
    np.testing.assert_array_equal(returns, np.array([paid for _, paid, _ in expected], np.float32))
    assert held.tolist() == [bars_held for _, _, bars_held in expected]


def test_a_bar_that_touches_both_barriers_is_a_stop():
    hours = np.datetime64("2024-01-01", "s") + np.arange(2) * np.timedelta64(3600, "s")
    bars = Bars(hours, *(np.array(column, float) for column in ([100, 100], [101, 106], [99, 97], [100, 100], [1, 1])))
    labels, returns, held = triple_barrier(bars, profit=0.05, stop=0.02, horizon=1)
    assert labels[0] == 0
    assert returns[0] == np.float32(-0.02)
    assert held[0] == 1


@pytest.mark.parametrize(
    ("low", "high", "label", "paid"), [(98, 104, 0, -0.02), (98.01, 105, 1, 0.05), (98.01, 104.99, 0, 0.01), (98, 105, 0, -0.02)]
)
def test_a_barrier_that_is_just_touched_is_met(low, high, label, paid):
    hours = np.datetime64("2024-01-01", "s") + np.arange(2) * np.timedelta64(3600, "s")
    columns = ([100, 100], [101, high], [99, low], [100, 101], [1, 1])
    labels, returns, _ = triple_barrier(Bars(hours, *(np.array(c, float) for c in columns)), profit=0.05, stop=0.02, horizon=1)
    assert (labels[0], returns[0]) == (label, pytest.approx(paid, abs=1e-7))


def test_no_label_changes_when_bars_after_its_horizon_do():
    bars = to_bars(make_frame(200, seed=3, volatility=0.02))
    whole, paid, held = triple_barrier(bars, profit=0.05, stop=0.02, horizon=8)
    assert set(whole.tolist()) == {-1, 0, 1}
    for end in range(9, 200, 7):
        cut, cut_paid, cut_held = triple_barrier(bars[:end], profit=0.05, stop=0.02, horizon=8)
        np.testing.assert_array_equal(cut[: end - 8], whole[: end - 8])
        np.testing.assert_array_equal(cut_paid[: end - 8], paid[: end - 8])
        np.testing.assert_array_equal(cut_held[: end - 8], held[: end - 8])
        assert (cut[end - 8 :] == -1).all()
