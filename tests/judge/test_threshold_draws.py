"""Drawn F1 is that of the drawn days, at the threshold that is best on the drawn days of the samples it is chosen on."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from judge import threshold_draws
from judge.threshold_draws import Choice, Scored, candidate_thresholds, cross_fitted_choices, drawn_f1
from judge.uncertainty import draw_days


def make(rng: np.random.Generator, days: int, levels: int, share: float = 0.3) -> Scored:
    """Twelve samples a day on average, with scores of so many levels."""
    number = np.sort(np.append(np.arange(days), rng.integers(0, days, 11 * days)))
    return Scored((rng.random(len(number)) < share).astype(float), rng.integers(0, levels, len(number)) / levels, number, days)


def slow_choice(chosen_on: Scored, weights: np.ndarray) -> float:
    """The threshold that a drawn repetition of the samples chooses among the candidates; of equals the highest."""
    repeated = np.repeat(np.arange(len(chosen_on.y)), weights[chosen_on.days].astype(int))
    y, scores = chosen_on.y[repeated], chosen_on.scores[repeated]
    return max(candidate_thresholds(chosen_on.scores), key=lambda least: plain_f1(y, scores >= least))


def plain_f1(y: np.ndarray, called: np.ndarray) -> float:
    return 2 * y[called].sum() / max(called.sum() + y.sum(), 1)


def slow_f1(parts: list[tuple[Scored, float]], weights: np.ndarray) -> float:
    """F1 of what is called in all parts together, each at its threshold, every sample as often as its day is drawn."""
    y, called = [], []
    for samples, least in parts:
        repeated = np.repeat(np.arange(len(samples.y)), weights[samples.days].astype(int))
        y.append(samples.y[repeated])
        called.append(samples.scores[repeated] >= least)
    return f1_score(np.concatenate(y), np.concatenate(called), zero_division=0.0)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 9), st.sampled_from([1, 2, 7, 1000]), st.sampled_from([0.0, 0.3, 1.0]))
def test_drawn_f1_is_that_of_repeated_samples(seed, days, levels, share):
    rng = np.random.default_rng(seed)
    val, test = make(rng, days, levels, share), make(rng, days + 3, levels, share)
    val_weights, test_weights = draw_days(days, 1, 4, seed), draw_days(days + 3, 2, 4, seed)
    drawn = drawn_f1([Choice.of(val, test)], val_weights, test_weights)
    for f1, on_val, on_test in zip(drawn, val_weights, test_weights, strict=True):
        assert f1 == pytest.approx(slow_f1([(test, slow_choice(val, on_val))], on_test))


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, 1000]))
def test_cross_fitted_f1_chooses_on_the_other_half_of_the_same_draw(seed, levels):
    rng = np.random.default_rng(seed)
    samples = make(rng, 8, levels)
    scores = np.stack([samples.scores, rng.permutation(samples.scores)])
    halves = np.select([samples.days < 3, samples.days > 3], [0, 1], -1)
    weights = draw_days(8, 1, 4, seed)
    drawn = drawn_f1(cross_fitted_choices(samples, halves, scores), weights, weights)
    for f1, own in zip(drawn, weights, strict=True):
        parts = []
        for half in (0, 1):
            of_epoch = dataclasses.replace(samples, scores=scores[half])
            parts.append((of_epoch.where(halves == 1 - half), slow_choice(of_epoch.where(halves == half), own)))
        assert f1 == pytest.approx(slow_f1(parts, own))


def test_the_threshold_follows_the_drawn_days():
    """On day 0 only high scores are positive, on day 1 all are."""
    val = Scored(np.array([1, 0, 1, 1]), np.array([0.9, 0.1, 0.9, 0.1]), np.array([0, 0, 1, 1]), 2)
    test = Scored(np.array([1.0, 0.0]), np.array([0.9, 0.1]), np.array([0, 0]), 1)
    drawn = drawn_f1([Choice.of(val, test)], np.array([[2.0, 0.0], [0.0, 2.0]]), np.ones((2, 1)))
    assert drawn.tolist() == [1.0, pytest.approx(2 / 3)]


def test_constant_scores_call_everything_in_every_draw():
    rng = np.random.default_rng(1)
    samples = dataclasses.replace(make(rng, 6, 5), scores=np.ones(72))
    weights = draw_days(6, 1, 20, 0)
    positives = weights @ np.bincount(samples.days, samples.y, 6)
    drawn = drawn_f1([Choice.of(samples, samples)], weights, weights)
    assert drawn == pytest.approx(2 * positives / (positives + weights @ np.bincount(samples.days, minlength=6)))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_class_alone_has_the_f1_that_follows(share):
    samples = make(np.random.default_rng(2), 6, 5, share)
    weights = draw_days(6, 1, 10, 0)
    assert drawn_f1([Choice.of(samples, samples)], weights, weights).tolist() == [share] * 10


@pytest.mark.parametrize("empty", [0, 1])
def test_a_half_without_samples_calls_nothing_on_the_other(empty):
    samples = make(np.random.default_rng(3), 6, 5)
    halves = np.full(len(samples.y), 1 - empty)
    everything = np.ones((1, 6))
    choices = cross_fitted_choices(samples, halves, np.stack([samples.scores] * 2))
    assert drawn_f1(choices, everything, everything).tolist() == [0.0]


def test_a_draw_without_a_positive_has_no_f1_and_no_error():
    samples = Scored(np.array([1.0, 0.0]), np.array([0.9, 0.1]), np.array([0, 1]), 2)
    assert drawn_f1([Choice.of(samples, samples)], np.array([[0.0, 2.0]]), np.array([[0.0, 2.0]])).tolist() == [0.0]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=900))
def test_candidates_are_scores_that_part_the_samples_evenly(numbers):
    scores = np.array(numbers, float)
    candidates = candidate_thresholds(scores)
    assert (np.diff(candidates) < 0).all() and len(candidates) <= threshold_draws.THRESHOLDS
    assert candidates[-1] == scores.min() and np.isin(candidates, scores).all()
    called = [0, *(int((scores >= least).sum()) for least in candidates)]
    most = np.unique(scores, return_counts=True)[1].max()  # a tie cannot be parted
    assert np.diff(called).max() <= max(-(-len(scores) // threshold_draws.THRESHOLDS) + most - 1, 1)


def test_the_bits_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(4)
    val, test = make(rng, 90, 1000), make(rng, 120, 1000)
    drawn = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            drawn.append(drawn_f1([Choice.of(val, test)], draw_days(90, 5, 1200, 0), draw_days(120, 5, 1200, 1)))
    assert np.array_equal(*drawn)


def test_draws_are_the_same_in_any_chunks(monkeypatch):
    rng = np.random.default_rng(5)
    samples, weights = make(rng, 20, 50), draw_days(20, 3, 50, 0)
    whole = drawn_f1([Choice.of(samples, samples)], weights, weights)
    monkeypatch.setattr(threshold_draws, "CHUNK", 7)
    assert np.array_equal(drawn_f1([Choice.of(samples, samples)], weights, weights), whole)
