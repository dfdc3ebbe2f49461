"""Labels against a slow reading of the rule, one bar at a time, in fractions of the prices as they are written."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bars.labels import Barriers, triple_barrier
from bars.reading import Bars, bars_path, find_symbols, read_bars, split_at_gaps
from scaffold import make_frame, to_bars


def as_written(number: float) -> Fraction:
    return Fraction(str(float(number)))


def slow_label(bars: Bars, t: int, profit: float, stop: float, horizon: int) -> tuple[int, float, int]:
    if t + horizon >= len(bars):
        return -1, math.nan, 0
    entry = bars.close[t]
    stop_price = as_written(entry) * (1 - as_written(stop))
    profit_price = as_written(entry) * (1 + as_written(profit))
    for ahead in range(t + 1, t + horizon + 1):
        if as_written(bars.low[ahead]) <= stop_price:
            return 0, min(-stop, bars.open[ahead] / entry - 1), ahead - t
        if as_written(bars.high[ahead]) >= profit_price:
            return 1, profit, ahead - t
    return 0, bars.close[t + horizon] / entry - 1, horizon


def slow_mirrored_label(bars: Bars, t: int, profit: float, stop: float, horizon: int) -> int:
    if t + horizon >= len(bars):
        return -1
    entry = as_written(bars.close[t])
    for ahead in range(t + 1, t + horizon + 1):
        if as_written(bars.high[ahead]) >= entry * (1 + as_written(stop)):
            return 0
        if as_written(bars.low[ahead]) <= entry * (1 - as_written(profit)):
            return 1
    return 0


def make_bars(opening: list[float], high: list[float], low: list[float], close: list[float]) -> Bars:
    hours = np.datetime64("2024-01-01", "s") + np.arange(len(close)) * np.timedelta64(3600, "s")
    return Bars(hours, *(np.array(prices, float) for prices in (opening, high, low, close)), np.ones(len(close)))


@st.composite
def decimal_bars(draw: st.DrawFn) -> Bars:
    """Draw prices of 2 to 8 decimals, some some per cent from a common price, so that barriers are often met exactly."""
    decimals, size = draw(st.integers(2, 8)), draw(st.integers(1, 30))
    middle = draw(st.sampled_from([20, 100, 2080, 100_000_000]))  # in units of the last decimal
    by_percent = st.integers(92, 108).map(lambda percent: middle * percent // 100)
    price = st.one_of(by_percent, st.integers(middle * 92 // 100, middle * 108 // 100))
    wick = st.one_of(st.integers(0, 6).map(lambda percent: middle * percent // 100), st.integers(0, middle // 16))
    rows = draw(st.lists(st.tuples(price, price, wick, wick), min_size=size, max_size=size))
    opening, close, up, down = np.array(rows).T
    columns = opening, np.maximum(opening, close) + up, np.minimum(opening, close) - down, close
    return make_bars(*([float(f"{units}e-{decimals}") for units in column] for column in columns))


@given(
    decimal_bars(),
    st.sampled_from([0.005, 0.01, 0.0125, 0.02, 0.025, 0.05]),
    st.sampled_from([0.003, 0.01, 0.015, 0.02, 0.05]),
    st.integers(1, 9),
)
def test_labels_and_returns_match_a_slow_reading_of_the_rule(bars, profit, stop, horizon):
    labels, returns, held, mirrored = triple_barrier(bars, Barriers("percent", profit, stop), horizon=horizon)
    expected = [slow_label(bars, t, profit, stop, horizon) for t in range(len(bars))]
    assert labels.dtype == np.int8
    assert labels.tolist() == [label for label, _, _ in expected]
    np.testing.assert_array_equal(returns, np.array([paid for _, paid, _ in expected]))
    assert held.tolist() == [bars_held for _, _, bars_held in expected]
    assert mirrored.dtype == np.int8
    assert mirrored.tolist() == [slow_mirrored_label(bars, t, profit, stop, horizon) for t in range(len(bars))]


@given(decimal_bars(), st.sampled_from([0.005, 0.01, 0.02]), st.sampled_from([1, 1.5, 2]), st.integers(1, 9))
def test_a_trade_and_the_mirrored_one_never_both_win(bars, stop, ratio, horizon):
    trades = triple_barrier(bars, Barriers("percent", stop * ratio, stop), horizon=horizon)
    assert not ((trades.labels == 1) & (trades.mirrored == 1)).any()
    np.testing.assert_array_equal(trades.mirrored == -1, trades.labels == -1)


@st.composite
def binary_bars(draw: st.DrawFn) -> tuple[Bars, np.ndarray]:
    """Draw prices and ATR in eighths, which floats add and multiply without rounding; some ATR exceed the price."""
    size = draw(st.integers(1, 25))
    price, wick = st.integers(20 * 8, 28 * 8), st.integers(0, 6 * 8)
    rows = draw(st.lists(st.tuples(price, price, wick, wick), min_size=size, max_size=size))
    opening, close, up, down = np.array(rows).T / 8
    columns = opening, np.maximum(opening, close) + up, np.minimum(opening, close) - down, close
    ranges = st.one_of(st.integers(1, 4 * 8), st.sampled_from([0, math.nan, 14 * 8, 30 * 8]))
    return make_bars(*columns), np.array(draw(st.lists(ranges, min_size=size, max_size=size))) / 8


def slow_atr_trade(bars: Bars, atr: float, t: int, barriers: Barriers, horizon: int) -> tuple[int, float, int, int]:
    """Label, return, bars held and mirrored label of a trade whose barriers are multiples of `atr`, in fractions."""
    if t + horizon >= len(bars) or not atr > 0:
        return -1, math.nan, 0, -1
    entry, profit, stop = (Fraction(number) for number in (bars.close[t], barriers.profit * atr, barriers.stop * atr))
    after = range(t + 1, t + horizon + 1)
    label, paid, held = 0, bars.close[t + horizon] / bars.close[t] - 1, horizon
    for ahead in after:
        if Fraction(bars.low[ahead]) <= entry - stop:
            paid, held = min(-float(stop / entry), bars.open[ahead] / bars.close[t] - 1), ahead - t
            break
        if Fraction(bars.high[ahead]) >= entry + profit:
            label, paid, held = 1, float(profit / entry), ahead - t
            break
    mirrored = 0
    for ahead in after:
        if Fraction(bars.high[ahead]) >= entry + stop:
            break
        if Fraction(bars.low[ahead]) <= entry - profit:
            mirrored = 1
            break
    return label, paid, held, mirrored


@given(binary_bars(), st.sampled_from([0.5, 1.25, 2, 4.25]), st.sampled_from([0.5, 1, 1.75]), st.integers(1, 9))
def test_barriers_in_atr_match_a_slow_reading_of_the_rule(drawn, profit, stop, horizon):
    bars, atr = drawn
    barriers = Barriers("atr", profit, stop)
    expected = [slow_atr_trade(bars, atr[t], t, barriers, horizon) for t in range(len(bars))]
    trades = triple_barrier(bars, barriers, horizon=horizon, atr=atr)
    for column, wanted in zip(
        (trades.labels, trades.returns, trades.held, trades.mirrored), zip(*expected, strict=True), strict=True
    ):
        np.testing.assert_array_equal(column, wanted)
    assert (profit < stop) or not ((trades.labels == 1) & (trades.mirrored == 1)).any()
    known = triple_barrier(bars, barriers, horizon=horizon, atr=atr[: max(0, len(bars) - horizon)])
    for column, of_known in zip(trades, known, strict=True):
        np.testing.assert_array_equal(column, of_known)


def test_a_stop_below_zero_is_never_met_and_the_trade_goes_on():
    bars = make_bars([10, 2, 6], [10, 6, 19], [10, 0.01, 5], [10, 6, 18])
    long, short = Barriers("atr", 2, 2.5), Barriers("atr", 2.5, 2)
    trades = triple_barrier(bars, long, horizon=2, atr=np.array([4.0, 4.0, 4.0]))
    assert (trades.labels[0], trades.returns[0], trades.held[0]) == (1, 0.8, 2)
    trades = triple_barrier(bars[:2], long, horizon=1, atr=np.array([4.0, 4.0]))
    assert (trades.labels[0], trades.returns[0], trades.held[0]) == (0, 6 / 10 - 1, 1)
    assert triple_barrier(bars[:2], short, horizon=1, atr=np.array([4.0, 4.0])).mirrored[0] == 0


SHARE = st.integers(1, 3000).map(lambda hundredths: hundredths / 10_000)  # 0.01 to 30 %


@given(st.integers(1, 10**9), st.integers(2, 8), SHARE, st.integers(-2, 2), st.booleans())
def test_a_barrier_is_met_to_the_last_decimal(units, decimals, share, beside, falls):
    """The entry has 2 to 8 decimals, a barrier four more. The price lies on the barrier, or one or two last decimals beside."""
    barrier = units * (10_000 - round(share * 10_000) if falls else 10_000 + round(share * 10_000))
    entry, price = float(f"{units}e-{decimals}"), float(f"{barrier + beside}e-{decimals + 4}")
    high, low = (entry, min(entry, price)) if falls else (max(entry, price), entry)
    bars = make_bars([entry, entry], [entry, high], [entry, low], [entry, entry])
    returns = triple_barrier(bars, Barriers("percent", share, share), horizon=1).returns
    met = beside <= 0 if falls else beside >= 0
    assert returns[0] == ((-share if falls else share) if met else 0)


@pytest.mark.parametrize(
    ("entry", "low", "high", "label"),
    [
        (20.8, 20.8, 21.84, 1),  # 20.8 * 1.05 is 21.840000000000003
        (20.8, 20.8, 21.83, 0),
        (20.8, 20.384, 21.84, 0),
        (1e-08, 1e-08, 1.05e-08, 1),
        (3e-08, 2.94e-08, 3.15e-08, 0),
        (3e-08, 2.95e-08, 3.15e-08, 1),
        (3e-08, 2.95e-08, 3.14e-08, 0),
    ],
)
def test_a_price_that_floats_put_beside_the_barrier_meets_it(entry, low, high, label):
    bars = make_bars([entry, entry], [entry, high], [entry, low], [entry, entry])
    assert triple_barrier(bars, Barriers("percent", 0.05, 0.02), horizon=1).labels[0] == label


def walk_barriers(bars: Bars, is_stopped: Callable, is_won: Callable, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and bars held of the rows that have a label.

    Args:
        is_stopped, is_won: whether a barrier is met, bool (n,), from entry prices and the Low or High that many bars ahead.
    """
    n = len(bars) - horizon
    labels, held = np.zeros(n, int), np.zeros(n, int)
    for ahead in range(1, horizon + 1):
        stopped = (held == 0) & is_stopped(bars.close[:n], bars.low[ahead : ahead + n])
        won = (held == 0) & ~stopped & is_won(bars.close[:n], bars.high[ahead : ahead + n])
        labels[won] = 1
        held[stopped | won] = ahead
    return labels, np.where(held, held, horizon)


def test_real_bars_have_the_labels_of_integers(real_bars):
    """Prices have 8 decimals at most. Floats put 24 of 574,472 exits, 6 of them with another label, elsewhere."""

    def units(prices: np.ndarray) -> np.ndarray:
        whole = np.rint(prices * 1e8).astype(np.int64)
        np.testing.assert_array_equal(whole / 1e8, prices)
        return whole

    trades = other_labels = other_exits = 0
    for symbol in find_symbols(real_bars):
        bars = read_bars(bars_path(real_bars, symbol))
        for sequence in (bars[rows] for rows in split_at_gaps(bars.timestamps, 96)):
            if len(sequence) <= 8:
                continue
            labels, held = walk_barriers(
                sequence,
                lambda entry, low: units(low) * 100 <= units(entry) * 98,
                lambda entry, high: units(high) * 100 >= units(entry) * 105,
                horizon=8,
            )
            found = triple_barrier(sequence, Barriers("percent", 0.05, 0.02), horizon=8)
            np.testing.assert_array_equal(found.labels[:-8], labels)
            np.testing.assert_array_equal(found.held[:-8], held)
            float_labels, float_held = walk_barriers(
                sequence,
                lambda entry, low: low <= entry * (1 - 0.02),
                lambda entry, high: high >= entry * (1 + 0.05),
                horizon=8,
            )
            trades += len(labels)
            other_labels += (float_labels != labels).sum()
            other_exits += (float_held != held).sum()
    assert (trades, other_labels, other_exits) == (574_472, 6, 24)


def test_a_bar_that_touches_both_barriers_is_a_stop():
    hours = np.datetime64("2024-01-01", "s") + np.arange(2) * np.timedelta64(3600, "s")
    bars = Bars(hours, *(np.array(column, float) for column in ([100, 100], [101, 106], [99, 97], [100, 100], [1, 1])))
    labels, returns, held, _ = triple_barrier(bars, Barriers("percent", 0.05, 0.02), horizon=1)
    assert labels[0] == 0
    assert returns[0] == -0.02
    assert held[0] == 1


@pytest.mark.parametrize(
    ("low", "high", "label", "paid"), [(98, 104, 0, -0.02), (98.01, 105, 1, 0.05), (98.01, 104.99, 0, 0.01), (98, 105, 0, -0.02)]
)
def test_a_barrier_that_is_just_touched_is_met(low, high, label, paid):
    hours = np.datetime64("2024-01-01", "s") + np.arange(2) * np.timedelta64(3600, "s")
    columns = ([100, 100], [101, high], [99, low], [100, 101], [1, 1])
    labels, returns, *_ = triple_barrier(
        Bars(hours, *(np.array(c, float) for c in columns)), Barriers("percent", 0.05, 0.02), horizon=1
    )
    assert (labels[0], returns[0]) == (label, pytest.approx(paid, abs=1e-12))


def test_no_label_changes_when_bars_after_its_horizon_do():
    bars = to_bars(make_frame(200, seed=3, volatility=0.02))
    whole = triple_barrier(bars, Barriers("percent", 0.05, 0.02), horizon=8)
    assert set(whole.labels.tolist()) == set(whole.mirrored.tolist()) == {-1, 0, 1}
    for end in range(9, 200, 7):
        cut = triple_barrier(bars[:end], Barriers("percent", 0.05, 0.02), horizon=8)
        for of_cut, of_whole in zip(cut, whole, strict=True):
            np.testing.assert_array_equal(of_cut[: end - 8], of_whole[: end - 8])
        assert (cut.labels[end - 8 :] == -1).all()
        assert (cut.mirrored[end - 8 :] == -1).all()
