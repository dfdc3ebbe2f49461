"""Features: causal, scale-free, and what their names say."""

import numpy as np
import pandas as pd
import pytest

from bars import features
from bars.features import KNOWN, WARM_UP
from bars.reading import Bars
from scaffold import make_frame, to_bars


@pytest.fixture(scope="module")
def bars() -> Bars:
    return to_bars(make_frame(400, seed=1))


def column(table: np.ndarray, name: str) -> np.ndarray:
    return table[:, KNOWN.index(name)]


def test_no_feature_changes_when_later_bars_are_cut_off(bars):
    whole = features.compute(bars, KNOWN)
    assert np.isfinite(whole[WARM_UP:]).all()
    assert np.isnan(whole[:WARM_UP]).all()
    for end in range(WARM_UP + 1, len(bars), 13):
        np.testing.assert_array_equal(features.compute(bars[:end], KNOWN)[-1], whole[end - 1])


def test_features_do_not_depend_on_the_level_of_prices_or_volumes(bars):
    scaled = Bars(bars.timestamps, *(getattr(bars, name) * 1000 for name in ("open", "high", "low", "close", "volume")))
    np.testing.assert_allclose(features.compute(scaled, KNOWN), features.compute(bars, KNOWN), rtol=1e-6, atol=1e-9)


def test_features_are_what_their_names_say(bars):
    table, t = features.compute(bars, KNOWN), 333
    close, high, low, volume = bars.close, bars.high, bars.low, bars.volume
    hourly = close[1:] / close[:-1] - 1

    def fast_k(i: int) -> float:
        lowest, highest = low[i - 13 : i + 1].min(), high[i - 13 : i + 1].max()
        return (close[i] - lowest) / (highest - lowest)

    expected = {
        "return_1": close[t] / close[t - 1] - 1,
        "return_4": close[t] / close[t - 4] - 1,
        "return_24": close[t] / close[t - 24] - 1,
        "sma_10": close[t] / close[t - 9 : t + 1].mean() - 1,
        "sma_20": close[t] / close[t - 19 : t + 1].mean() - 1,
        "range_1": np.sqrt((high[t] - low[t]) / close[t]),
        "bollinger_bandwidth_20": np.sqrt(4 * close[t - 19 : t + 1].std() / close[t - 19 : t + 1].mean()),
        "volatility_72": np.mean(hourly[t - 72 : t] ** 2) ** 0.25,
        "volume_sma_20": np.log1p(volume[t] / volume[t - 19 : t + 1].mean()),
        "obv_20": np.sum(np.sign(hourly[t - 20 : t]) * volume[t - 19 : t + 1]) / volume[t - 19 : t + 1].sum(),
        "stochastic_k": np.mean([fast_k(i) for i in (t - 2, t - 1, t)]),
        "stochastic_d": np.mean([fast_k(i) for end in (t - 2, t - 1, t) for i in (end - 2, end - 1, end)]),
    }
    for name, value in expected.items():
        assert column(table, name)[t] == pytest.approx(value, rel=1e-9), name


def test_recursive_averages_are_those_of_their_periods(bars):
    """By pandas, which starts them from other values; 300 bars later nothing is left of those."""
    table, t = features.compute(bars, KNOWN), 333
    close, high, low = (pd.Series(column) for column in (bars.close, bars.high, bars.low))

    def exponential(values: pd.Series, bars: int) -> pd.Series:
        return values.ewm(span=bars, adjust=False).mean()

    def wilders(values: pd.Series) -> pd.Series:
        return values.ewm(alpha=1 / 14, adjust=False).mean()

    macd = exponential(close, 12) - exponential(close, 26)
    signal = exponential(macd, 9)
    change, up, down = close.diff().fillna(0), high.diff().fillna(0), -low.diff().fillna(0)
    gain, loss = wilders(change.clip(lower=0)), wilders(-change.clip(upper=0))
    true_range = wilders(
        pd.concat([high, close.shift()], axis=1).max(axis=1) - pd.concat([low, close.shift()], axis=1).min(axis=1)
    )
    rising, falling = (wilders(one.where((one > other) & (one > 0), 0)) for one, other in ((up, down), (down, up)))
    expected = {
        "macd": macd / close,
        "macd_signal": signal / close,
        "macd_histogram": (macd - signal) / close,
        "rsi_14": gain / (gain + loss),
        "atr_14": np.sqrt(true_range / close),
        "adx_14": wilders(((rising - falling).abs() / (rising + falling)).fillna(0)),
    }
    for name, value in expected.items():
        assert column(table, name)[t] == pytest.approx(value[t], rel=1e-6), name


def test_the_start_of_averages_has_decayed_after_the_warm_up(bars):
    """Wilder's and exponential averages, started 100 bars later, agree up to what WARM_UP promises."""
    whole, late = features.compute(bars, KNOWN), features.compute(bars[100:], KNOWN)
    spread = whole[WARM_UP:].std(axis=0)
    assert (np.abs(late[WARM_UP] - whole[100 + WARM_UP]) <= 0.02 * spread).all()


def test_the_calendar_is_utc_and_cyclic(bars):
    table = features.compute(bars, KNOWN)  # 2024-01-01 was a Monday
    monday_midnight = 24 * 7
    assert column(table, "day_of_week_sine")[monday_midnight] == pytest.approx(0)
    assert column(table, "hour_of_day_cosine")[monday_midnight] == pytest.approx(1)
    assert column(table, "hour_of_day_sine")[monday_midnight + 6] == pytest.approx(1)


def test_volume_features_are_zero_without_a_trade_in_twenty_bars(bars):
    volume = bars.volume.copy()
    volume[250:300] = 0
    silent = Bars(bars.timestamps, bars.open, bars.high, bars.low, bars.close, volume)
    table = features.compute(silent, KNOWN)
    assert np.isfinite(table[WARM_UP:]).all()
    assert column(table, "obv_20")[280] == 0
    assert column(table, "volume_sma_20")[280] == 0


def test_all_rows_are_nan_where_bars_are_too_few(bars):
    assert np.isnan(features.compute(bars[:WARM_UP], KNOWN)).all()


@pytest.mark.parametrize("seed", range(20))
def test_volume_features_are_zero_whatever_was_traded_before(seed):
    """A running sum keeps rounding errors, whose quotient could be anything."""
    rng = np.random.default_rng(seed)
    frame = make_frame(400, seed)
    frame["Volume"] = np.round(frame["Volume"] * rng.uniform(0.1, 10, 400), 3)
    frame.iloc[200:250, frame.columns.get_loc("Volume")] = 0
    X = features.compute(to_bars(frame), ["obv_20", "volume_sma_20"])[features.WARM_UP :]
    assert np.abs(X[:, 0]).max() <= 1
    assert (X[219 - features.WARM_UP : 250 - features.WARM_UP] == 0).all()
