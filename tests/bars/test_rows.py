"""Rows and splits against a slow reference that reads the rules one bar at a time."""

from dataclasses import replace
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bars import features
from bars.labels import Barriers, triple_barrier
from bars.reading import Bars
from bars.rows import MIN_DAYS, AssetRows, Cuts, RowRules, asset_rows, choose_cuts, cut_times, split_rows
from core.errors import CampaignError
from judge.uncertainty import FEWEST_BLOCKS
from scaffold import make_frame, to_bars

CALENDAR = ("hour_of_day_sine",)
WARM_UP = 3
LABEL = {"barriers": Barriers("percent", 0.02, 0.01), "horizon": 4}
HOUR = np.timedelta64(3600, "s")


def rows_of(bars: Bars, lookback: int, max_gap: int) -> AssetRows:
    return asset_rows(bars, RowRules(features=CALENDAR, max_gap=max_gap, lookback=lookback, **LABEL))


def slow_samples(bars: Bars, cuts: Cuts, lookback: int, max_gap: int) -> dict[str, dict[str, int]]:
    """Find label by bar time for each split, by the rules, one bar at a time."""
    times, found = bars.timestamps, {"train": {}, "val": {}, "test": {}}
    bounds = {
        "train": (cuts.start, cuts.val, cuts.val - cuts.embargo),
        "val": (cuts.val, cuts.test, cuts.test - cuts.embargo),
        "test": (cuts.test, cuts.end, cuts.end),
    }
    for split, (start, end, known_by) in bounds.items():
        for t in range(len(bars)):
            unbroken = t
            while unbroken > 0 and times[unbroken] - times[unbroken - 1] <= max_gap * HOUR:
                unbroken -= 1
            first_usable = unbroken + WARM_UP
            window = range(t - lookback + 1, t + 1)
            if window[0] < first_usable or not all(start <= times[row] < end for row in window):
                continue
            trade = range(t + 1, t + 1 + LABEL["horizon"])
            if trade[-1] >= len(bars) or any(times[row] - times[row - 1] > max_gap * HOUR for row in trade):
                continue
            if times[trade[-1]] + HOUR > known_by:
                continue
            piece = bars[t : trade[-1] + 1]
            found[split][str(times[t])] = int(triple_barrier(piece, **LABEL)[0][0])
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([*[1] * 40, 2, 5]), min_size=40, max_size=90), min_size=1, max_size=3),
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.25, 0.25)]),
    st.none() | st.tuples(*[st.integers(0, 4)] * 3),
)
def test_samples_match_the_slow_reference(steps, lookback, max_gap, shares, fold):
    """`fold`: hours that are cut off at the start and at the end, and the embargo; None for the campaign's splits."""
    with mock.patch.object(features, "WARM_UP", WARM_UP):
        assets = []
        for number, gaps in enumerate(steps):
            bars = to_bars(make_frame(len(gaps), seed=number))
            times = np.datetime64("2024-01-01", "s") + np.cumsum(gaps) * HOUR
            bars = Bars(times, bars.open, bars.high, bars.low, bars.close, bars.volume)
            try:
                assets.append((bars, rows_of(bars, lookback, max_gap)))
            except CampaignError:
                continue  # no sequence is long enough
        if not assets:
            return
        cuts = cut_times(np.concatenate([rows.timestamps for _, rows in assets]), shares)
        if fold is not None:
            times = np.concatenate([bars.timestamps for bars, _ in assets])
            first, last, embargo = (hours * HOUR for hours in fold)
            cuts = replace(cuts, start=times.min() + first, end=times.max() + HOUR - last, embargo=embargo)
        splits = split_rows([rows for _, rows in assets], cuts, lookback=lookback)
    for number, (bars, _) in enumerate(assets):
        expected = slow_samples(bars, cuts, lookback, max_gap)
        for split, part in splits.items():
            own = (part.asset_ids == number) & (part.y >= 0)
            assert dict(zip(part.timestamps[own].astype(str), part.y[own].tolist(), strict=True)) == expected[split]


def test_cuts_divide_the_rows_by_time():
    times = np.datetime64("2024-01-01", "s") + np.repeat(np.arange(100), 3) * HOUR
    cuts = cut_times(np.random.default_rng(0).permutation(times), (0.7, 0.15, 0.15))
    assert (cuts.val, cuts.test) == (times[210], times[255])


def test_the_fewest_days_are_those_that_intervals_need():
    assert MIN_DAYS == FEWEST_BLOCKS


# --- where bars are cut off to recompute rows -----------------------------------------------------------------------


def bars_at(times: np.ndarray, close: np.ndarray | None = None) -> Bars:
    close = np.arange(1.0, len(times) + 1) if close is None else close
    return Bars(times, close, close, close, close, close)


def hours_of(times: np.ndarray) -> set[int]:
    return {time.hour for time in times.astype("datetime64[s]").tolist()}


@given(
    st.lists(st.sampled_from([1, 1, 1, 1, 1, 3, 18]), min_size=1, max_size=400).map(lambda steps: [0] * 100 + steps),
    st.integers(1, 40),
)
def test_every_hour_of_the_day_of_labelled_rows_has_a_cut(steps, horizon):
    steps = steps + [1] * horizon
    times = np.datetime64("2024-01-01T00:30", "s") + np.cumsum(steps) * HOUR
    cuts = choose_cuts(bars_at(times, np.random.default_rng(0).integers(1, 3, len(times))), horizon)
    labelled = range(100, len(times) - horizon)
    assert cuts == sorted(set(cuts))
    assert set(cuts) <= set(labelled)
    assert cuts[-1] == labelled[-1]
    assert hours_of(times[cuts]) == hours_of(times[list(labelled)])


def test_a_leak_of_eight_bars_reaches_a_cut_from_every_hour_of_the_week():
    cuts = np.array(choose_cuts(bars_at(np.datetime64("2024-01-01", "s") + np.arange(1000) * HOUR), 8))
    assert len(cuts) == 25
    seen = {(cut - bars) % 168 for cut in cuts for bars in range(8)}
    assert len(seen) == 168


def test_the_close_moves_after_a_cut_where_it_can():
    """It moves after every tenth bar alone, and so never after one of an odd hour."""
    times = np.datetime64("2024-01-01", "s") + np.arange(3000) * HOUR
    moves = np.arange(3000) % 10 == 0
    bars = bars_at(times, 1.0 + np.append(0, np.cumsum(moves[:-1])))
    *cuts, _ = choose_cuts(bars, 8)
    assert hours_of(times[cuts]) == set(range(24))
    assert {int(cut) % 24 for cut in cuts if not moves[cut]} == set(range(1, 24, 2))


def test_few_hours_of_trading_have_as_many_cuts_as_a_whole_day():
    """Seven bars a day, an hour earlier from April on."""
    days = np.datetime64("2024-01-01", "s") + np.arange(200) * 24 * HOUR
    opening = np.where(np.arange(200) < 90, 14, 13)
    times = (days[:, None] + (opening[:, None] + np.arange(7)) * HOUR).ravel()
    cuts = choose_cuts(bars_at(times), 8)
    assert hours_of(times[cuts]) == set(range(13, 21))
    assert len(cuts) == 3 * 8 + 1
