"""The halves of validation that epoch and threshold are chosen on, and the rule of the choice."""

from datetime import UTC, datetime, time, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from core.cross_fitting import HalfBest, best_f1_of_halves, halves

HOUR = timedelta(hours=1)
START = datetime(2024, 2, 27, tzinfo=UTC)


@st.composite
def assets(draw: st.DrawFn) -> tuple[list[list[tuple[datetime, int]]], int]:
    """Bars of some assets, (time, label), with pauses; each asset ends with `horizon` bars that end no sample."""
    horizon, result = draw(st.integers(1, 12)), []
    for _ in range(draw(st.integers(1, 3))):
        steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 2, 15, 40]), min_size=1, max_size=60))
        hours = np.cumsum([draw(st.integers(0, 60)), *steps, *[1] * horizon])
        labels = draw(st.lists(st.sampled_from([-1, 0, 1, 1]), min_size=len(steps) + 1, max_size=len(steps) + 1))
        labels[0] = 0
        result.append(list(zip((START + HOUR * int(hour) for hour in hours), labels + [-1] * horizon, strict=True)))
    return result, horizon


@given(assets())
def test_a_sample_is_of_the_half_in_which_all_of_it_lies(drawn):
    bars, horizon = drawn
    days = sorted({when.date() for asset in bars for when, label in asset if label >= 0})
    cut = datetime.combine(days[len(days) // 2], time(), UTC)
    expected = []
    for asset in bars:
        for number, (when, label) in enumerate(asset):
            if label >= 0:
                over = asset[number + horizon][0] + HOUR <= cut
                expected.append(0 if over else 1 if when >= cut else -1)
    y = np.array([label for asset in bars for _, label in asset], np.int8)
    timestamps = np.array([when.replace(tzinfo=None) for asset in bars for when, _ in asset], "datetime64[s]")
    found = halves(y, timestamps, horizon)
    assert found.dtype == np.int8
    assert found.tolist() == expected


def test_the_cut_is_the_start_of_the_middle_day_and_what_looks_across_it_is_purged():
    """Five days without a pause, and a trade lasts up to 3 bars: the third day begins the second half."""
    timestamps = np.arange("2024-01-01", "2024-01-06", dtype="datetime64[h]").astype("datetime64[s]")
    y = np.append(np.zeros(117, np.int8), [-1, -1, -1])
    found = halves(y, timestamps, 3)
    assert found.tolist() == [0] * 45 + [-1] * 3 + [1] * 69
    assert timestamps[44 + 3] + np.timedelta64(1, "h") == timestamps[48]


def test_f1_of_a_half_is_the_best_on_its_own_samples_alone():
    rng = np.random.default_rng(1)
    y, scores = (rng.random(200) < 0.3).astype(int), rng.random(200).round(2)
    half = rng.integers(-1, 2, 200).astype(np.int8)
    for number, found in enumerate(best_f1_of_halves(y, scores, half)):
        own = half == number
        assert found == max(f1_score(y[own], scores[own] >= threshold) for threshold in scores[own])


def test_f1_of_a_half_without_a_sample_or_a_hit_is_zero():
    assert best_f1_of_halves(np.array([0, 0, 1]), np.array([0.1, 0.2, 0.3]), np.array([0, 0, -1], np.int8)) == (0.0, 0.0)


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3]), min_size=1, max_size=12))
def test_the_best_epoch_is_the_first_with_the_highest_f1(scores):
    best = HalfBest()
    for epoch, f1 in enumerate(scores, 1):
        best = best.after(epoch, f1, np.full(3, epoch, np.float32))
    assert best.epoch == scores.index(max(scores)) + 1
    assert best.f1 == max(scores)
    assert best.logits.tolist() == [best.epoch] * 3
