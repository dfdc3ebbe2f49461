"""Scores against scikit-learn, ties and one-sided thresholds included."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference

from core import metrics
from core.metrics import Ranking


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and scores with many ties."""
    rows = draw(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=2, max_size=60))
    y, level = np.array(rows).T
    assume(0 < y.sum() < len(y))
    return y.astype(float), level / 12


@given(scored())
def test_areas_and_errors_agree_with_scikit_learn(data):
    y, scores = data
    ranking = Ranking.of(y, scores)
    assert ranking.pr_auc() == pytest.approx(reference.average_precision_score(y, scores))
    assert ranking.roc_auc() == pytest.approx(reference.roc_auc_score(y, scores))
    assert metrics.brier_score(y, scores) == pytest.approx(reference.brier_score_loss(y, scores))
    assert metrics.log_loss(y, scores) == pytest.approx(reference.log_loss(y, scores, labels=[0, 1]))


@given(scored(), st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.1]))
def test_f1_precision_recall_and_confusion_agree_with_scikit_learn(data, threshold):
    y, scores = data
    called = scores >= threshold
    f1, precision, recall = metrics.f1_precision_recall(y, scores, threshold)
    assert f1 == pytest.approx(reference.f1_score(y, called, zero_division=0))
    assert precision == pytest.approx(reference.precision_score(y, called, zero_division=0))
    assert recall == pytest.approx(reference.recall_score(y, called, zero_division=0))
    tn, fp, fn, tp = reference.confusion_matrix(y, called, labels=[0, 1]).ravel()
    assert metrics.confusion(y, scores, threshold) == (tp, fp, fn, tn)


@given(scored())
def test_no_threshold_has_a_better_f1_than_the_best(data):
    y, scores = data
    best = Ranking.of(y, scores).best_threshold()
    f1 = metrics.f1_precision_recall(y, scores, best)[0]
    assert f1 == pytest.approx(max(metrics.f1_precision_recall(y, scores, t)[0] for t in np.append(scores, 2)))
    assert f1 == pytest.approx(Ranking.of(y, scores).f1().max())


def test_between_neighbouring_floats_the_threshold_is_the_upper():
    """Midway would be rounded to the lower."""
    y, scores = np.array([1.0, 0.0]), np.array([1 - 2**-53, 1 - 2**-52])
    assert metrics.f1_precision_recall(y, scores, Ranking.of(y, scores).best_threshold())[0] == 1


def test_the_best_threshold_lies_midway_to_the_next_score_and_is_the_higher_of_two_as_good():
    assert Ranking.of(np.array([1.0, 0]), np.array([0.8, 0.4])).best_threshold() == pytest.approx(0.6)
    assert Ranking.of(np.array([0, 1.0]), np.array([0.8, 0.4])).best_threshold() == pytest.approx(0.2), "none is lower: to zero"
    y, scores = np.array([1, 0, 0, 1.0]), np.array([0.9, 0.7, 0.6, 0.2])
    f1 = [reference.f1_score(y, scores >= score) for score in scores]
    assert f1[0] == f1[3] > max(f1[1:3])
    assert Ranking.of(y, scores).best_threshold() == pytest.approx(0.8)


@given(scored(), st.integers(2, 30))
def test_thinned_curves_keep_their_ends_and_lie_on_the_curve(data, points):
    y, scores = data
    recall, precision = Ranking.of(y, scores).pr_curve(points)
    fpr, tpr = Ranking.of(y, scores).roc_curve(points)
    exact = {(round(r, 9), round(p, 9)) for p, r, _ in zip(*reference.precision_recall_curve(y, scores), strict=False)}
    assert {(round(r, 9), round(p, 9)) for r, p in zip(recall, precision, strict=True)} <= exact
    assert (recall[-1], fpr[0], tpr[0], fpr[-1], tpr[-1]) == (1, 0, 0, 1, 1)


def test_calibration_error_is_the_distance_of_a_wrong_constant():
    y = np.array([0, 0, 0, 1.0])
    assert metrics.expected_calibration_error(y, np.full(4, 0.25), bins=1) == pytest.approx(0)
    assert metrics.expected_calibration_error(y, np.full(4, 0.75), bins=1) == pytest.approx(0.5)
    exact = np.repeat([0.1, 0.9], 10)
    outcome = np.concatenate([np.eye(10)[0], 1 - np.eye(10)[0]])
    assert metrics.expected_calibration_error(outcome, exact, bins=2) == pytest.approx(0)


def test_the_calibration_error_of_the_tables_has_fifteen_bins():
    rng = np.random.default_rng(0)
    y, scores = rng.integers(0, 2, 60).astype(float), np.sort(rng.random(60))
    by_hand = np.mean(np.abs((y - scores).reshape(15, 4).mean(axis=1)))
    assert metrics.score_table(y, scores, 0.5)["expected_calibration_error"] == pytest.approx(by_hand)


def test_equal_scores_share_a_bin_in_whatever_order_they_come():
    rng = np.random.default_rng(0)
    y = np.repeat([0.0, 1.0, 0.0], [400, 100, 500])  # sorted, as a market with a good month is
    assert metrics.expected_calibration_error(y, np.full(1000, 0.12)) == pytest.approx(0.02)
    scores = rng.choice([0.05, 0.1, 0.2, 0.4], 1000)
    shuffled = rng.permutation(1000)
    for bins in (1, 3, 15, 5000):
        parts = metrics.bins_by_score(scores, bins)
        assert sorted(np.concatenate(parts)) == list(range(1000))
        assert all(before[-1] < after[0] for before, after in pairwise([np.sort(scores[part]) for part in parts]))
        found = [metrics.expected_calibration_error(y[order], scores[order], bins) for order in (np.arange(1000), shuffled)]
        assert found[0] == pytest.approx(found[1])


def test_break_even_is_where_trades_pay_nothing():
    p = metrics.break_even_precision(0.05, 0.02, 0.003)
    assert p == pytest.approx(0.3286, abs=1e-4)
    assert p * (0.05 - 0.003) - (1 - p) * (0.02 + 0.003) == pytest.approx(0)
