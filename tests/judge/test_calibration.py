"""Calibration errors by hand, and temperatures against a slow search."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from core.metrics import log_loss, sigmoid
from judge.calibration import (
    apply_temperature,
    calibration_curve,
    equal_count_bins,
    expected_calibration_error,
    fit_temperature,
    logit,
)


@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=30, unique=True), st.floats(0.05, 20))
def test_a_temperature_never_changes_the_ranking(scores, temperature):
    scores = np.array(scores)
    scaled = apply_temperature(scores, temperature)
    order = np.argsort(scores)
    assert (np.diff(scaled[order]) >= 0).all()


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_recovered(true):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 40_000)
    y = (rng.random(40_000) < sigmoid(logits)).astype(float)
    distorted = sigmoid(logits * true)
    found = fit_temperature(y, distorted)
    assert found == pytest.approx(true, rel=0.05)
    slow = minimize(lambda t: log_loss(y, apply_temperature(distorted, float(np.exp(t[0])))), [0.0], method="Nelder-Mead")
    assert found == pytest.approx(float(np.exp(slow.x[0])), rel=1e-3)


def test_scores_of_zero_and_one_are_clipped():
    assert np.isfinite(fit_temperature(np.array([0.0, 1, 1, 0]), np.array([0.0, 1, 1, 1])))
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


def test_the_curve_has_bins_of_equal_size_in_order():
    rng = np.random.default_rng(1)
    scores = rng.random(1000)
    y = (rng.random(1000) < scores).astype(float)
    curve = calibration_curve(y, scores, bins=10)
    assert [count for _, _, count in curve] == [100] * 10
    predicted = [x for x, _, _ in curve]
    assert predicted == sorted(predicted)
    assert all(abs(x - share) < 0.15 for x, share, _ in curve)


def test_the_calibration_error_of_a_constant_is_its_distance_from_the_share_of_positives():
    y = np.array([0, 0, 0, 1.0])
    assert expected_calibration_error(y, np.full(4, 0.25), bins=1) == pytest.approx(0)
    assert expected_calibration_error(y, np.full(4, 0.75), bins=1) == pytest.approx(0.5)
    exact = np.repeat([0.1, 0.9], 10)
    outcome = np.concatenate([np.eye(10)[0], 1 - np.eye(10)[0]])
    assert expected_calibration_error(outcome, exact, bins=2) == pytest.approx(0)


def test_the_calibration_error_has_fifteen_bins_by_default():
    rng = np.random.default_rng(0)
    y, scores = rng.integers(0, 2, 60).astype(float), np.sort(rng.random(60))
    by_hand = np.mean(np.abs((y - scores).reshape(15, 4).mean(axis=1)))
    assert expected_calibration_error(y, scores) == pytest.approx(by_hand)


def test_equal_scores_share_a_bin_whatever_the_order_of_samples():
    rng = np.random.default_rng(0)
    y = np.repeat([0.0, 1.0, 0.0], [400, 100, 500])  # sorted, as a market with a good month is
    assert expected_calibration_error(y, np.full(1000, 0.12)) == pytest.approx(0.02)
    scores = rng.choice([0.05, 0.1, 0.2, 0.4], 1000)
    shuffled = rng.permutation(1000)
    for bins in (1, 3, 15, 5000):
        parts = equal_count_bins(scores, bins)
        assert sorted(np.concatenate(parts)) == list(range(1000))
        assert all(before[-1] < after[0] for before, after in pairwise([np.sort(scores[part]) for part in parts]))
        found = [expected_calibration_error(y[order], scores[order], bins) for order in (np.arange(1000), shuffled)]
        assert found[0] == pytest.approx(found[1])
