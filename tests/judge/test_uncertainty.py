"""Draws, standard errors and the shift test are what they claim to be; coverage: tests/slow/test_verdict_simulations.py."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter
from sklearn.metrics import precision_recall_curve

import drawn_scores
from judge.uncertainty import FEWEST_BLOCKS, Blocks, DrawnDays, Estimate, SeedVariance, draw_days, shift_test_f1


def test_the_spread_over_seeds_widens_the_interval():
    """Seeds differ by chance, days do not: the interval covers the truth only if it counts the seeds."""
    rng, covered, ignored, trials = np.random.default_rng(3), 0, 0, 1000
    for _ in range(trials):
        networks = rng.normal(0.3, 0.02, (4, 3))
        of_seeds = SeedVariance.pool(networks)
        low, high = Estimate.of(networks[0], np.zeros(100), Blocks(30), of_seeds).interval(0.95)
        covered += low <= 0.3 <= high
        low, high = Estimate.of(networks[0], np.zeros(100), Blocks(30)).interval(0.95)
        ignored += low <= 0.3 <= high
    assert covered / trials == pytest.approx(0.95, abs=3.29 * (0.95 * 0.05 / trials) ** 0.5)
    assert ignored == 0


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), max_size=5))
def test_seed_variance_is_pooled_over_networks_with_several_seeds(by_seed):
    pooled = SeedVariance.pool(by_seed)
    several = [own for own in by_seed if len(own) > 1]
    assert pooled.degrees_of_freedom == sum(len(own) - 1 for own in several)
    weighted = sum((len(own) - 1) * statistics.variance(own) for own in several)
    assert pooled.variance == pytest.approx(weighted / pooled.degrees_of_freedom if several else 0, abs=1e-12)


def test_days_and_seeds_add_up_by_welch():
    deviations = np.array([-0.02, 0.02])
    found = Estimate.of([0.3, 0.4], deviations, Blocks(9), SeedVariance(0.002, 8))
    days, seeds = 0.0004 * 9 / 8, 0.002 / 2
    assert found.value == pytest.approx(0.35)
    assert found.standard_error == pytest.approx((days + seeds) ** 0.5)
    assert found.degrees_of_freedom == pytest.approx((days + seeds) ** 2 / (days**2 / 12 + seeds**2 / 8))


def test_the_bootstrap_is_too_small_by_what_the_blocks_say():
    """Each part has a mean of its own: the variance of a mean over days is understated by one block a part."""
    rng, days, block = np.random.default_rng(0), [20, 20], 5
    ratios = []
    drawn = DrawnDays.of(days, block, 400, 0)
    for _ in range(300):
        values = rng.standard_normal(40)
        ratios.append(np.var(drawn.weights @ values / 40) * 40)
    assert drawn.blocks == Blocks(8, parts=2)
    assert np.mean(ratios) * drawn.blocks.inflation == pytest.approx(1, abs=0.06)
    assert np.mean(ratios) * Blocks(8).inflation < 0.9, "so the halves may not be counted as one part"


@pytest.mark.parametrize(
    ("blocks", "free", "enough"),
    [(Blocks(1), 1, False), (Blocks(2), 1, True), (Blocks(9.5), 8.5, True), (Blocks(2, 2), 2, False), (Blocks(4, 2), 2, True)],
)
def test_blocks_of_few_days(blocks, free, enough):
    assert (blocks.degrees_of_freedom, blocks.are_enough) == (1.5 * free, enough)
    assert blocks.inflation == 1 + blocks.parts / free


def test_the_variance_varies_as_the_degrees_of_freedom_say():
    """Of a chi-square over its degrees of freedom the variance is 2 through them; blocks that do not overlap have 11."""
    rng, variances = np.random.default_rng(0), []
    for trial in range(2000):
        drawn = DrawnDays.of([120], 10, 400, trial)
        variances.append(np.var(drawn.weights @ rng.standard_normal(120)))
    relative = np.var(variances) / np.mean(variances) ** 2 - 2 / 400  # the second term is due to the number of draws
    assert 2 / relative == pytest.approx(drawn.blocks.degrees_of_freedom, rel=0.12)


@given(st.integers(2, 400), st.one_of(st.none(), st.integers(1, 365)))
def test_halves_are_drawn_apart_in_at_least_four_blocks(days, block_days):
    parts = [days // 2, days - days // 2]
    drawn = DrawnDays.of(parts, block_days, 20, 3)
    assert drawn.weights.shape == (20, days) and drawn.days == days
    assert (drawn.weights[:, : parts[0]].sum(axis=1) == parts[0]).all()
    assert (drawn.weights[:, parts[0] :].sum(axis=1) == parts[1]).all()
    assert drawn.block == 1 or parts[0] / drawn.block >= FEWEST_BLOCKS
    if block_days and block_days <= parts[0] // FEWEST_BLOCKS:
        assert drawn.block == block_days


def test_halves_are_drawn_independently():
    drawn = DrawnDays.of([30, 30], 1, 4000, 0).weights
    first = drawn[:, :15].sum(axis=1)
    assert abs(np.corrcoef(first, drawn[:, 30:45].sum(axis=1))[0, 1]) < 3.29 / 4000**0.5


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


def test_the_interval_of_one_seed_is_students_t():
    drawn = np.random.default_rng(0).normal(0, 0.05, 5000)
    low, high = Estimate.of([0.2], drawn, Blocks(20)).interval(0.9)
    half_width = stats.t.ppf(0.95, 1.5 * 19) * drawn.std() * np.sqrt(20 / 19)
    assert (low, high) == pytest.approx((0.2 - half_width, 0.2 + half_width))


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


@pytest.mark.slow
@pytest.mark.parametrize(("alike", "knows", "least", "most"), [(0.9, 0.0, 0, 0.07), (0.7, 0.0, 0, 0.1), (0.7, 0.8, 0.95, 1)])
def test_scores_pass_the_shift_test_only_if_they_know_the_time(alike, knows, least, most):
    """Of trainings the best of 20 epochs, which correlate by `alike`; labels cluster in time and differ by asset."""
    assets, hours, exceeded, above_always_positive, trials = 3, 600, 0, 0, 1000
    ids = np.repeat(np.arange(assets), hours)
    for trial in range(trials):
        rng = np.random.default_rng([trial, 1])
        volatilities = autocorrelated(rng, assets, hours)
        y = (rng.random((assets, hours)) < [[0.06], [0.09], [0.12]] * np.exp(0.8 * volatilities - 0.3)).astype(float).ravel()
        common = autocorrelated(rng, assets, hours) + [[0.0], [0.2], [0.4]] + knows * volatilities
        epochs = np.stack([(common + (1 / alike - 1) ** 0.5 * autocorrelated(rng, assets, hours)).ravel() for _ in range(20)])
        f1 = drawn_scores.best_f1(y, epochs)
        exceeded += f1.max() > shift_test_f1(y, epochs[f1.argmax()], ids, 499)
        above_always_positive += f1.max() > 2 * y.mean() / (1 + y.mean())
    assert least - band(least, trials) <= exceeded / trials <= most + band(most, trials)
    assert above_always_positive >= 0.99 * trials, "so beating always-positive shows nothing"


def band(share: float, trials: int) -> float:
    return 3.29 * (share * (1 - share) / trials) ** 0.5


def test_scores_that_only_tell_assets_apart_do_not_pass_the_shift_test():
    rng = np.random.default_rng(0)
    ids = np.repeat([0, 1], 300)
    y = (rng.random(600) < np.where(ids == 0, 0.05, 0.3)).astype(float)
    assert shift_test_f1(y, ids.astype(float), ids, 99) == pytest.approx(best_f1(y, ids.astype(float)))
