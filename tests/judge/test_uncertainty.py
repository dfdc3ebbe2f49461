"""Intervals have the coverage that they claim, on predictions whose true F1 is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter
from sklearn.metrics import f1_score, precision_recall_curve

from judge.uncertainty import (
    Estimate,
    block_length,
    bootstrap_f1,
    day_counts,
    draw_days,
    f1_from_counts,
    holm_levels,
    shift_test_f1,
)

TRIALS, DAYS, DRAWS = 1000, 90, 300
BLOCK = block_length(DAYS)


def counts_of(rng: np.random.Generator, trials: int, hit: float, alarm: float, memory: float, days: int = DAYS) -> np.ndarray:
    """Simulate `day_counts`, (trials, 3, D), of a model that predicts with recall `hit` and false positive rate `alarm`.

    The number of positives follows a volatility whose autocorrelation from day to day is `memory`.
    """
    volatility = lfilter([(1 - memory**2) ** 0.5], [1, -memory], rng.normal(size=(trials, days + 50)))[:, 50:]
    share = 0.12 * np.exp(0.5 * volatility - 0.125)
    positives = rng.binomial(60, np.minimum(share, 0.9))
    tp, fp = rng.binomial(positives, hit), rng.binomial(60 - positives, alarm)
    return np.stack([tp, fp, positives - tp], axis=1).astype(float)


@pytest.mark.parametrize(("memory", "days"), [(0.0, 90), (0.4, 90), (0.7, 90), (0.7, 298), (0.7, 27)])
def test_the_95_percent_interval_covers_the_truth_in_93_to_98_of_100(memory, days):
    rng, block = np.random.default_rng(1), block_length(days)
    truth = float(f1_from_counts(counts_of(np.random.default_rng(99), 20_000, 0.5, 0.1, memory).sum(axis=(0, 2))))
    covered = 0
    for trial, counts in enumerate(counts_of(rng, TRIALS, 0.5, 0.1, memory, days)):
        weights = draw_days(days, block, DRAWS, trial)
        low, high = Estimate.of(
            [float(f1_from_counts(counts.sum(axis=1)))], bootstrap_f1(counts[None], weights), days / block
        ).interval(0.95)
        covered += low <= truth <= high
    assert 930 <= covered <= 980


@pytest.mark.parametrize("memory", [0.0, 0.4])
def test_two_equal_models_differ_significantly_in_at_most_6_of_100(memory):
    rng = np.random.default_rng(2)
    by_trial = counts_of(rng, TRIALS, 1.0, 0.0, memory)[:, 0]  # positives of each day, the same for both models
    found = 0
    for trial, positives in enumerate(by_trial.astype(int)):
        tp, fp = rng.binomial(positives, 0.5, (2, DAYS)), rng.binomial(60 - positives, 0.1, (2, DAYS))
        one, other = np.stack([tp, fp, positives - tp], axis=1).astype(float)
        weights = draw_days(DAYS, BLOCK, DRAWS, trial)
        difference = Estimate.of(
            [float(f1_from_counts(one.sum(axis=1)) - f1_from_counts(other.sum(axis=1)))],
            bootstrap_f1(one[None], weights) - bootstrap_f1(other[None], weights),
            DAYS / BLOCK,
        )
        found += difference.p_value() < 0.05
    assert 20 <= found <= 60


def test_the_spread_over_seeds_widens_the_interval():
    """Seeds differ by chance, days do not: the interval covers the truth only if it counts the seeds."""
    rng, covered, ignored = np.random.default_rng(3), 0, 0
    still = np.zeros(100)
    for _ in range(TRIALS):
        by_seed = rng.normal(0.3, 0.02, 3).tolist()
        low, high = Estimate.of(by_seed, still + np.mean(by_seed), 30).interval(0.95)
        covered += low <= 0.3 <= high
        low, high = Estimate.of([float(np.mean(by_seed))], still + np.mean(by_seed), 30).interval(0.95)
        ignored += low <= 0.3 <= high
    assert 930 <= covered <= 970
    assert ignored == 0


def test_drawn_f1_is_that_of_the_drawn_days():
    rng = np.random.default_rng(0)
    days = np.sort(rng.integers(0, 20, 300))
    days = np.unique(days, return_inverse=True)[1]
    y, called = rng.integers(0, 2, 300).astype(float), rng.random((2, 300)) > 0.4
    weights = draw_days(int(days.max()) + 1, 3, 25, seed=1)
    drawn = bootstrap_f1(np.stack([day_counts(y, row, days) for row in called]), weights)
    for draw, weight in zip(drawn, weights, strict=True):
        repeated = np.repeat(np.arange(300), weight[days].astype(int))
        slow = [f1_score(y[repeated], row[repeated]) for row in called]
        assert draw == pytest.approx(np.mean(slow))


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 5))
def test_draws_are_blocks_of_neighbouring_days(days, block, seed):
    weights = draw_days(days, block, 200, seed)
    assert weights.shape == (200, days)
    assert (weights.sum(axis=1) == days).all()
    assert np.array_equal(weights, draw_days(days, block, 200, seed))
    starts = (weights - np.roll(weights, 1, axis=1)).clip(min=0).sum(axis=1)  # days drawn more often than the day before
    assert (starts <= -(-days // block)).all()
    if days <= block:
        assert (weights == 1).all()


def test_every_day_is_drawn_as_often_as_any_other():
    mean = draw_days(30, 4, 20_000, 0).mean(axis=0)
    assert mean == pytest.approx(np.full(30, mean.mean()), rel=0.05)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from([0.05, 0.1]))
def test_holm_levels_follow_the_step_down_method(p_values, alpha):
    adjusted = [p for p, _ in holm_levels(p_values, alpha)]
    order, m, largest = sorted(range(len(p_values)), key=lambda i: p_values[i]), len(p_values), 0.0
    for k, i in enumerate(order):
        largest = max(largest, min(1, (m - k) * p_values[i]))
        assert adjusted[i] == pytest.approx(largest)
    for p, (corrected, level) in zip(p_values, holm_levels(p_values, alpha), strict=True):
        if abs(p - level) > 1e-12:
            assert (p < level) == (corrected < alpha), "the interval at this level excludes zero just when p says so"


def test_the_interval_of_one_seed_is_students_t():
    drawn = np.random.default_rng(0).normal(0.2, 0.05, 5000)
    low, high = Estimate.of([0.2], drawn, 20).interval(0.9)
    reach = stats.t.ppf(0.95, 19) * drawn.std() * np.sqrt(20 / 19)
    assert (low, high) == pytest.approx((0.2 - reach, 0.2 + reach))


def test_no_difference_without_any_error_is_not_significant():
    assert Estimate.of([0.0, 0.0], np.zeros(100), 10).p_value() == 1


def best_f1(y: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(y, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


@given(st.integers(0, 10_000), st.integers(2, 9))
def test_the_shift_test_is_the_best_f1_of_all_circular_shifts(seed, levels):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 30, 3)
    ids = np.repeat([0, 4, 7], sizes)
    y, scores = (rng.random(len(ids)) < 0.3).astype(float), rng.integers(0, levels, len(ids)) / levels
    y[0] = 1
    expected = []
    for share in np.linspace(0.1, 0.9, 5):  # as it is rounded there
        moved = [np.roll(y[ids == asset], round(share * size)) for asset, size in zip([0, 4, 7], sizes, strict=True)]
        expected.append(best_f1(np.concatenate(moved), scores))
    assert shift_test_f1(y, scores, ids, 5) == pytest.approx(max(expected))


def autocorrelated(rng: np.random.Generator, assets: int, hours: int) -> np.ndarray:
    """Draw autocorrelated values with a time scale of a day or two, (assets, hours), variance 1; half of it is common."""
    noise = rng.normal(size=(assets + 1, hours + 200))
    volatilities = lfilter([(1 - 0.95**2) ** 0.5], [1, -0.95], noise)[:, 200:]
    return 0.5**0.5 * (volatilities[:1] + volatilities[1:])


@pytest.mark.parametrize(("alike", "knows", "least", "most"), [(0.9, 0.0, 0, 7), (0.7, 0.0, 0, 15), (0.7, 0.8, 95, 100)])
def test_scores_pass_the_shift_test_only_if_they_know_the_time(alike, knows, least, most):
    """Of 100 trainings the best of 20 epochs, which correlate by `alike`; labels cluster in time and differ by asset."""
    assets, hours, exceeded, above_always_positive = 3, 600, 0, 0
    ids = np.repeat(np.arange(assets), hours)
    for trial in range(100):
        rng = np.random.default_rng(trial)
        volatilities = autocorrelated(rng, assets, hours)
        y = (rng.random((assets, hours)) < [[0.06], [0.09], [0.12]] * np.exp(0.8 * volatilities - 0.3)).astype(float).ravel()
        common = autocorrelated(rng, assets, hours) + [[0.0], [0.2], [0.4]] + knows * volatilities
        epochs = [(common + (1 / alike - 1) ** 0.5 * autocorrelated(rng, assets, hours)).ravel() for _ in range(20)]
        f1, best = max((best_f1(y, scores), number) for number, scores in enumerate(epochs))
        exceeded += f1 > shift_test_f1(y, epochs[best], ids, 499)
        above_always_positive += f1 > 2 * y.mean() / (1 + y.mean())
    assert least <= exceeded <= most
    assert above_always_positive == 100, "so beating always-positive shows nothing"


def test_scores_that_only_tell_assets_apart_do_not_pass_the_shift_test():
    rng = np.random.default_rng(0)
    ids = np.repeat([0, 1], 300)
    y = (rng.random(600) < np.where(ids == 0, 0.05, 0.3)).astype(float)
    assert shift_test_f1(y, ids.astype(float), ids, 99) == pytest.approx(best_f1(y, ids.astype(float)))
