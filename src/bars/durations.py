"""Measure how long the bars of a window and of a trade last by the clock."""

import dataclasses

import numpy as np

from bars.reading import HOUR

MAX_STRETCH = 1.5  # hours a bar, up to which bars count as hours of trading


@dataclasses.dataclass(frozen=True)
class Duration:
    """How long so many `bars` in a row last, over all samples: the median and the 95th percentile, in hours."""

    bars: int
    median: float
    percentile_95: float

    def __str__(self) -> str:
        return f"{self.bars} bars {self.median:.0f} h (95 %: {self.percentile_95:.0f} h)"

    @classmethod
    def of(cls, hours: np.ndarray, bars: int) -> "Duration":
        """Summarise the `hours` of each sample, float64 (S,), S above 0."""
        median, percentile_95 = np.quantile(hours, (0.5, 0.95)).tolist()
        return cls(bars, median, percentile_95)

    @property
    def is_longer(self) -> bool:
        """Whether more than one in twenty lasts much longer than one hour a bar."""
        return self.percentile_95 > MAX_STRETCH * self.bars


@dataclasses.dataclass(frozen=True)
class Durations:
    """Durations of windows, and of trades that no barrier ends."""

    window: Duration
    trade: Duration

    def __str__(self) -> str:
        return f"{self.window}, {self.trade}"

    @property
    def is_longer(self) -> bool:
        """Whether a bar stands for more than an hour, as where sessions are short or hours without trades have no bar."""
        return self.window.is_longer or self.trade.is_longer


def measure_durations(
    timestamps: np.ndarray, closes_at: np.ndarray, is_sample: np.ndarray, *, lookback: int, horizon: int
) -> Durations:
    """Measure the durations of all samples.

    Args:
        timestamps: datetime64[s] (R,), opening times of the rows; the `lookback` rows up to a sample are its window.
        closes_at: datetime64[s] (R,), when the last bar that the label may look at has closed.
        is_sample: bool (R,), the rows that end a sample; at least one.
        lookback: bars of a window.
        horizon: bars after which a trade is closed.
    """
    ends = np.flatnonzero(is_sample)
    entered_at = timestamps[ends] + HOUR  # at the close of the window's last bar
    windows = (entered_at - timestamps[ends - lookback + 1]) / HOUR
    trades = (closes_at[ends] - entered_at) / HOUR
    return Durations(Duration.of(windows, lookback), Duration.of(trades, horizon))
