import numpy as np
import pandas as pd
import pytest

from bars.durations import Duration, measure_durations
from bars.labels import Barriers
from bars.rows import RowRules, asset_rows
from scaffold import make_frame, to_bars


def session_frame(days: int, hours: int) -> pd.DataFrame:
    """Bars of `hours` a day, Monday to Friday."""
    frame = make_frame(days * hours, 1)
    opens = pd.bdate_range("2024-01-01", periods=days, tz="UTC")
    frame.index = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in opens for hour in range(hours)], name="timestamp")
    return frame


def slow_hours(frame: pd.DataFrame, lookback: int, horizon: int, max_gap: int) -> tuple[list[float], list[float]]:
    """Hours of every window and trade after 100 bars of warm-up, one bar at a time."""
    windows, trades, start = [], [], 0
    for t, time in enumerate(frame.index):
        if t and time - frame.index[t - 1] > pd.Timedelta(hours=max_gap):
            start = t
        end = t + horizon
        steps = frame.index[t : end + 1].diff()[1:]
        if t - start < 100 + lookback - 1 or end >= len(frame) or steps.max() > pd.Timedelta(hours=max_gap):
            continue
        close = time + pd.Timedelta(hours=1)
        windows.append((close - frame.index[t - lookback + 1]) / pd.Timedelta(hours=1))
        trades.append((frame.index[end] + pd.Timedelta(hours=1) - close) / pd.Timedelta(hours=1))
    return windows, trades


@pytest.mark.parametrize(
    "frame",
    [
        make_frame(500),
        make_frame(500).drop(make_frame(500).index[250:400]),
        make_frame(900).drop(make_frame(900).index[::3]),
        session_frame(120, 7),
    ],
    ids=["around the clock", "with a gap", "hours without trades", "sessions"],
)
@pytest.mark.parametrize(("lookback", "horizon"), [(24, 8), (5, 30)])
def test_durations_are_those_of_every_window_and_trade(frame, lookback, horizon):
    rules = RowRules(
        features=("return_1",), barriers=Barriers("percent", 0.05, 0.02), horizon=horizon, max_gap=96, lookback=lookback
    )
    durations = asset_rows(to_bars(frame), rules).durations
    windows, trades = slow_hours(frame, lookback, horizon, 96)
    for duration, bars, hours in ((durations.window, lookback, windows), (durations.trade, horizon, trades)):
        assert duration == Duration(bars, pytest.approx(np.median(hours)), pytest.approx(np.percentile(hours, 95)))


def test_sessions_are_no_hours_and_an_outage_does_not_matter():
    rules = RowRules(features=("return_1",), barriers=Barriers("percent", 0.05, 0.02), horizon=8, max_gap=96, lookback=24)
    clock = make_frame(3000)
    assert not asset_rows(to_bars(clock.drop(clock.index[1000:1010])), rules).durations.is_longer
    assert asset_rows(to_bars(session_frame(120, 7)), rules).durations.is_longer


def test_a_window_reaches_from_the_first_bars_opening_to_the_last_ones_close():
    timestamps = np.datetime64("2024-01-01", "s") + np.array([0, 1, 2, 10, 11]) * np.timedelta64(3600, "s")
    closes_at = np.roll(timestamps, -1) + np.timedelta64(3600, "s")
    durations = measure_durations(timestamps, closes_at, np.array([0, 0, 0, 1, 0], bool), lookback=3, horizon=1)
    assert (durations.window.median, durations.trade.median) == (10, 1)
