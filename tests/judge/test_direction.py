"""The direction AUC against scikit-learn and repeated samples; its interval covers 0.5 where scores know volatility alone."""

import numpy as np
import pytest
from arch.bootstrap import optimal_block_length
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from judge.direction import direction_auc, direction_draws
from judge.uncertainty import DrawnDays, Estimate, block_length

TRIALS, DRAWS = 1000, 300


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores (2, N) with ties, y, mirrored and days; a sample can be of both kinds."""
    size, days = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    scores = rng.integers(0, draw(st.sampled_from([2, 5, 1000])), (2, size)) / 1000
    y, mirrored = (rng.random((2, size)) < draw(st.sampled_from([0.05, 0.4]))).astype(np.int8)
    return scores, y.astype(float), mirrored, np.sort(rng.integers(0, days, size))


def slow_auc(scores: np.ndarray, y: np.ndarray, mirrored: np.ndarray) -> float | None:
    up, down = scores[y > 0], scores[mirrored > 0]
    if not (len(up) and len(down)):
        return None
    return roc_auc_score(np.repeat([1, 0], [len(up), len(down)]), np.concatenate([up, down]))


@given(samples())
def test_winners_of_both_directions_are_ranked_against_each_other(data):
    (scores, _), y, mirrored, _ = data
    expected = slow_auc(scores, y, mirrored)
    assert direction_auc(scores, y, mirrored) == (None if expected is None else pytest.approx(expected))


@given(samples(), st.integers(0, 99))
def test_draws_repeat_the_samples_of_the_drawn_days(data, seed):
    scores, y, mirrored, days = data
    weights = np.random.default_rng(seed).integers(0, 4, (5, 7)).astype(float)
    found = direction_draws(scores, y, mirrored, days, weights)
    for draw, weight in zip(found, weights, strict=True):
        repeated = np.repeat(np.arange(len(y)), weight[days].astype(int))
        slow = [slow_auc(row[repeated], y[repeated], mirrored[repeated]) for row in scores]
        assert draw == pytest.approx(0.5 if None in slow else np.mean(slow))


def test_scores_that_know_when_the_market_is_wild_do_not_know_where_it_goes():
    rng = np.random.default_rng(0)
    volatility, goes_up = rng.normal(size=20_000), rng.random(20_000) < 0.5
    moves = rng.random(20_000) < 0.3 / (1 + np.exp(-2 * volatility))
    y, mirrored = (moves & goes_up).astype(float), moves & ~goes_up
    assert roc_auc_score(y, volatility) > 0.65
    assert direction_auc(volatility, y, mirrored) == pytest.approx(0.5, abs=0.02)


def make_day_clusters(rng: np.random.Generator, days: int, memory: float, knows: float) -> tuple[np.ndarray, ...]:
    """Winners by day: many on wild days, and on each day more of one direction. Scores know the day's volatility.

    Args:
        memory: autocorrelation of the direction from day to day; that of volatility is 0.9.
        knows: how far a score of a long winner lies above that of a mirrored one.
    """
    volatility, trend = (lfilter([(1 - own**2) ** 0.5], [1, -own], rng.normal(size=days + 50))[50:] for own in (0.9, memory))
    counts = rng.poisson(12 * np.exp(0.7 * volatility - 0.25))
    day = np.repeat(np.arange(days), counts)
    is_up = rng.random(len(day)) < (1 / (1 + np.exp(-0.8 * trend)))[day]
    scores = volatility[day] + 0.5 * rng.normal(size=len(day)) + knows * is_up
    return scores, is_up.astype(float), ~is_up, day


def estimate_block(y: np.ndarray, day: np.ndarray) -> int:
    """Estimate the block length from how the daily number of long winners is autocorrelated."""
    daily = np.bincount(day, weights=y)
    return max(int(np.ceil(len(daily) ** (1 / 3))), round(optimal_block_length(daily)["circular"].item()))


def intervals(days: int, memory: float, knows: float, *, estimated: bool = False) -> np.ndarray:
    """Estimate 95 % intervals of `TRIALS` markets, (TRIALS, 2); with `estimated` the data choose the block length."""
    rng, found = np.random.default_rng(1), []
    with threadpool_limits(1):  # products this small only wait for more
        for trial in range(TRIALS):
            scores, y, mirrored, day = make_day_clusters(rng, days, memory, knows)
            block = min(estimate_block(y, day), block_length(days)) if estimated else None
            drawn, auc = DrawnDays.of([days], block, DRAWS, trial), direction_auc(scores, y, mirrored)
            deviations = direction_draws(scores[None], y, mirrored, day, drawn.weights) - auc
            found.append(Estimate.of([auc], deviations, drawn.blocks).interval(0.95))
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "memory", "least", "most"),
    [(60, 0.9, 0.91, 0.95), (60, 0.7, 0.95, 0.95), (60, 0.0, 0.95, 0.95), (40, 0.0, 0.95, 0.97)],
)
def test_the_interval_covers_one_half_as_often_as_it_says_if_scores_know_volatility_alone(days, memory, least, most):
    """Where trends outlast the blocks the interval is a little too narrow."""
    low, high = intervals(days, memory, knows=0.0).T
    covered = np.sum((low <= 0.5) & (high >= 0.5))
    assert stats.binom.ppf(0.0005, TRIALS, least) <= covered <= stats.binom.ppf(0.9995, TRIALS, most)


@pytest.mark.slow
def test_with_blocks_whose_length_the_data_choose_the_interval_covers_too_little():
    """So few days hide how long a trend lasts: why the length depends on their number alone."""
    fixed, estimated = (
        np.mean((low <= 0.5) & (high >= 0.5)) for low, high in (intervals(60, 0.7, 0.0, estimated=own).T for own in (False, True))
    )
    assert estimated < stats.binom.ppf(0.0005, TRIALS, 0.95) / TRIALS <= fixed


@pytest.mark.slow
def test_the_interval_excludes_one_half_if_scores_know_the_direction():
    assert np.mean(intervals(50, memory=0.5, knows=3.0)[:, 0] > 0.5) >= 0.99
