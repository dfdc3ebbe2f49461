"""Compute feature columns from bars: causal (from the row's own and earlier bars) and scale-free (ratios, not prices).

TA-Lib computes the indicators. The first `WARM_UP` rows of a sequence are left out: recursive averages (Wilder's, exponential)
start from an arbitrary value, which these rows still remember.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import talib

from bars.reading import WARM_UP, Bars


def _returns(bars: Bars) -> dict[str, np.ndarray]:
    return {f"return_{n}": talib.ROCP(bars.close, n) for n in (1, 4, 24)}


def _averages(bars: Bars) -> dict[str, np.ndarray]:
    return {f"sma_{n}": bars.close / talib.SMA(bars.close, n) - 1 for n in (10, 20)}


def _macd(bars: Bars) -> dict[str, np.ndarray]:
    lines = talib.MACD(bars.close, 12, 26, 9)
    return {name: line / bars.close for name, line in zip(("macd", "macd_signal", "macd_histogram"), lines, strict=True)}


def _oscillators(bars: Bars) -> dict[str, np.ndarray]:
    k, d = talib.STOCH(bars.high, bars.low, bars.close, 14, 3, 0, 3, 0)
    return {
        "rsi_14": talib.RSI(bars.close, 14) / 100,
        "stochastic_k": k / 100,
        "stochastic_d": d / 100,
        "adx_14": talib.ADX(bars.high, bars.low, bars.close, 14) / 100,
    }


def average_true_range(bars: Bars) -> np.ndarray:
    """Compute Wilder's average true range over 14 bars, in units of the price; float64 (N,), NaN in the first 14."""
    return talib.ATR(bars.high, bars.low, bars.close, 14)


def _volatility(bars: Bars) -> dict[str, np.ndarray]:
    """Measures of volatility, as square roots, since they are skewed to the right."""
    upper, middle, lower = talib.BBANDS(bars.close, 20, 2.0, 2.0, 0)
    return {
        "atr_14": np.sqrt(average_true_range(bars) / bars.close),
        "range_1": np.sqrt((bars.high - bars.low) / bars.close),
        "bollinger_bandwidth_20": np.sqrt(np.maximum((upper - lower) / middle, 0)),
        "volatility_72": np.sqrt(np.maximum(talib.SMA(np.square(talib.ROCP(bars.close, 1)), 72), 0)) ** 0.5,
    }


def _volume(bars: Bars) -> dict[str, np.ndarray]:
    """Change of on-balance volume over 20 bars, as a share of the volume traded in them, since the sum grows without bound."""
    average = talib.SMA(bars.volume, 20)
    # Without a trade in 20 bars both features are 0. SMA's running sum then holds rounding errors instead of zero.
    traded = np.where(talib.MAX(bars.volume, 20) > 0, average, np.inf)
    flow = talib.SMA(np.sign(np.diff(bars.close, prepend=np.nan)) * bars.volume, 20)
    return {
        "obv_20": np.where(np.isnan(average), np.nan, np.clip(flow / traded, -1, 1)),
        "volume_sma_20": np.where(np.isnan(average), np.nan, np.log1p(bars.volume / traded)),
    }


def _calendar(bars: Bars) -> dict[str, np.ndarray]:
    hours = bars.timestamps.astype("datetime64[h]").astype(np.int64)
    week = 2 * np.pi * ((hours // 24 + 3) % 7) / 7  # 1970-01-01 was a Thursday; Monday is 0
    day = 2 * np.pi * (hours % 24) / 24
    return {
        "day_of_week_sine": np.sin(week),
        "day_of_week_cosine": np.cos(week),
        "hour_of_day_sine": np.sin(day),
        "hour_of_day_cosine": np.cos(day),
    }


GROUPS: dict[Callable[[Bars], dict[str, np.ndarray]], tuple[str, ...]] = {
    _returns: ("return_1", "return_4", "return_24"),
    _averages: ("sma_10", "sma_20"),
    _macd: ("macd", "macd_signal", "macd_histogram"),
    _oscillators: ("rsi_14", "stochastic_k", "stochastic_d", "adx_14"),
    _volatility: ("atr_14", "range_1", "bollinger_bandwidth_20", "volatility_72"),
    _volume: ("obv_20", "volume_sma_20"),
    _calendar: ("day_of_week_sine", "day_of_week_cosine", "hour_of_day_sine", "hour_of_day_cosine"),
}
KNOWN = tuple(name for names in GROUPS.values() for name in names)


def extra_columns(names: Iterable[str]) -> list[str]:
    """List the names that are no known feature, and so columns expected in the bars' files."""
    return [name for name in names if name not in KNOWN]


def compute(bars: Bars, names: Sequence[str]) -> np.ndarray:
    """Compute the features of one sequence.

    Args:
        bars: one sequence of N bars without a break.
        names: F features, each in `KNOWN` or in ``bars.extra``.

    Returns:
        float64 (N, F). The first `WARM_UP` rows are NaN, or all where there are fewer. Row t depends on bars 0 … t alone.
    """
    table = np.full((len(bars), len(names)), np.nan)
    if len(bars) <= WARM_UP:
        return table
    columns: dict[str, np.ndarray] = dict(bars.extra)
    for group, members in GROUPS.items():
        if not set(members).isdisjoint(names):
            columns |= group(bars)
    for column, name in enumerate(names):
        table[WARM_UP:, column] = columns[name][WARM_UP:]
    return table
