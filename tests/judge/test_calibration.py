"""Calibration errors by hand, and maps of scores against scikit-learn."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from core.metrics import brier_score, log_loss, sigmoid
from judge.calibration import Calibration, calibration_curve, equal_count_bins, expected_calibration_error, logit

SCORES = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])
SAMPLES = st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=30)


def unpack(samples: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    scores, y = (np.array(column, float) for column in zip(*samples, strict=True))
    return scores, y


@pytest.mark.parametrize(("slope", "intercept"), [(0.4, -1.0), (1.0, 0.0), (3.0, 2.0)])
def test_the_map_is_scikit_learns_logistic_regression_without_penalty(slope, intercept):
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, 5000)
    y = (rng.random(5000) < sigmoid((logits - intercept) / slope)).astype(float)
    found = Calibration.fit(y, sigmoid(logits))
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits[:, None], y)
    assert (found.slope, found.intercept) == pytest.approx((reference.coef_[0, 0], reference.intercept_[0]), rel=1e-4)
    assert (found.slope, found.intercept) == pytest.approx((1 / slope, -intercept / slope), abs=0.2)
    assert found.apply(sigmoid(logits)) == pytest.approx(reference.predict_proba(logits[:, None])[:, 1], abs=1e-5)


@given(SAMPLES, st.integers(0, 99))
def test_no_other_rising_map_has_a_lower_log_loss(samples, seed):
    """Whatever the samples; the loss is convex, so that it is enough to try maps near by."""
    scores, y = unpack(samples)
    found = Calibration.fit(y, scores)
    assert found.slope >= 0
    assert np.isfinite([found.slope, found.intercept]).all()
    best = log_loss(y, found.apply(scores))
    rng = np.random.default_rng(seed)
    for size in (0.01, 1.0):
        factor, shift = rng.normal(1, size / 10), rng.normal(0, size)
        other = Calibration(abs(found.slope * factor), found.intercept + shift)
        assert best <= log_loss(y, other.apply(scores)) + 1e-6


@given(SAMPLES)
def test_a_map_never_changes_the_ranking(samples):
    scores, y = unpack(samples)
    mapped = Calibration.fit(y, scores).apply(scores)
    assert (np.diff(mapped[np.argsort(scores, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("constant", [1.0, 0.0, 0.1, 0.7])
def test_constant_scores_get_the_share_of_positives(constant):
    y = np.repeat([0.0, 1.0], [88, 12])
    found = Calibration.fit(y, np.full(100, constant))
    assert found.slope == 0
    assert found.apply(np.full(5, constant)) == pytest.approx(np.full(5, 0.12))


def test_scores_that_rank_the_wrong_way_get_the_share_of_positives():
    y = np.repeat([0.0, 1.0], [75, 25])
    assert Calibration.fit(y, np.linspace(0.9, 0.1, 100)).apply(np.array([0.2, 0.8])) == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_samples_of_one_label_give_a_finite_map(label):
    found = Calibration.fit(np.full(4, label), np.array([0.1, 0.2, 0.3, 0.4]))
    assert np.isfinite([found.slope, found.intercept]).all()
    assert found.apply(np.array([0.1, 0.9])) == pytest.approx([label, label])


@pytest.mark.parametrize("size", [2, 10, 1000])
def test_separable_samples_give_a_steep_finite_map(size):
    y = np.repeat([0.0, 1.0], size // 2)
    scores = np.append(np.linspace(0.1, 0.3, size // 2), np.linspace(0.4, 0.9, size // 2))
    found = Calibration.fit(y, scores)
    assert np.isfinite([found.slope, found.intercept]).all()
    assert brier_score(y, found.apply(scores)) < 0.01 < brier_score(y, scores)


def test_a_wrong_base_rate_is_mended():
    """Which a temperature cannot do: these scores are 0.5 on average, and a tenth of the samples are positive."""
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.1).astype(float)
    scores = sigmoid(rng.normal(2 * y - 0.2, 1))
    mapped = Calibration.fit(y, scores).apply(scores)
    assert mapped.mean() == pytest.approx(0.1, abs=0.005)
    assert expected_calibration_error(y, mapped) < 0.02 < 0.3 < expected_calibration_error(y, scores)
    assert brier_score(y, mapped) < brier_score(y, np.full(20_000, y.mean())) < brier_score(y, scores)


def test_scores_of_zero_and_one_are_clipped():
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
