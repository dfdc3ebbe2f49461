"""What is chosen on one half is judged on the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_curve

from core.metrics import Ranking
from judge.cross_fitting import cross_fit, cross_fitted_calls


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores (2, N) with ties, and halves; some samples are of neither."""
    size, levels = draw(st.integers(8, 60)), draw(st.sampled_from([3, 10, 1000]))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    half = rng.permutation(np.append([0, 0, 1, 1], rng.integers(-1, 2, size - 4))).astype(np.int8)
    return (rng.random(size) < 0.4).astype(float), (rng.integers(0, levels, (2, size)) + 1) / (levels + 1), half


@given(samples())
def test_epoch_and_threshold_come_from_one_half_and_calls_from_the_other(data):
    y, scores, half = data
    found = cross_fit(y, scores, half)
    called = np.zeros(len(y), bool)
    for chosen, judged in ((0, 1), (1, 0)):
        threshold = found.thresholds[chosen]
        own, row = half == chosen, scores[chosen]
        assert f1_score(y[own], row[own] >= threshold, zero_division=0) == pytest.approx(best_f1(y[own], row[own]))
        called[half == judged] = row[half == judged] >= threshold
    assert found.f1 == pytest.approx(f1_score(y[half >= 0], called[half >= 0], zero_division=0))
    assert cross_fitted_calls(scores, found.thresholds, half).tolist() == called.tolist()


def best_f1(y: np.ndarray, scores: np.ndarray) -> float:
    if not y.any():
        return 0.0
    precision, recall, _ = precision_recall_curve(y, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


@given(samples(), st.integers(0, 99))
def test_samples_of_neither_half_change_nothing(data, seed):
    y, scores, half = data
    rng, purged = np.random.default_rng(seed), half < 0
    other = np.where(purged, rng.random(scores.shape), scores)
    assert cross_fit(np.where(purged, 1 - y, y), other, half) == cross_fit(y, scores, half)


@given(samples())
def test_the_halves_are_treated_alike(data):
    y, scores, half = data
    swapped = np.select([half == 0, half == 1], [1, 0], -1)
    found, other = cross_fit(y, scores, half), cross_fit(y, scores[::-1], swapped)
    assert (found.f1, found.thresholds) == (other.f1, other.thresholds[::-1])


def test_an_empty_half_is_no_error():
    y, scores = np.array([1.0, 0]), np.array([[0.9, 0.1]] * 2)
    assert cross_fit(y, scores, np.array([0, 0])).f1 == 0
    assert cross_fit(y, scores, np.array([-1, -1])).f1 == 0


def test_choosing_among_epochs_of_noise_is_not_rewarded():
    """Cross-fitted, the best of 20 epochs that know nothing is as good as its calls are by chance."""
    rng, optimistic, honest, by_chance = np.random.default_rng(0), [], [], []
    half = np.repeat([0, 1], 150)
    for _ in range(100):
        y, epochs = (rng.random(300) < 0.2).astype(float), rng.random((20, 300))
        optimistic.append(max(Ranking.of(y, scores).f1().max() for scores in epochs))
        of_halves = [[Ranking.of(y[half == own], scores[half == own]).f1().max() for scores in epochs] for own in (0, 1)]
        chosen = epochs[np.argmax(of_halves, axis=1)]
        found = cross_fit(y, chosen, half)
        honest.append(found.f1)
        by_chance.append(f1_score(rng.permutation(y), cross_fitted_calls(chosen, found.thresholds, half)))
    difference = np.array(honest) - np.array(by_chance)
    assert abs(difference.mean()) < 3.3 * difference.std() / len(difference) ** 0.5
    assert np.mean(optimistic) > np.mean(honest) + 0.03
