"""Metrics against scikit-learn, also with ties and with thresholds beyond all scores."""

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
    predicted = scores >= threshold
    f1, precision, recall = metrics.f1_precision_recall(y, scores, threshold)
    assert f1 == pytest.approx(reference.f1_score(y, predicted, zero_division=0))
    assert precision == pytest.approx(reference.precision_score(y, predicted, zero_division=0))
    assert recall == pytest.approx(reference.recall_score(y, predicted, zero_division=0))
    tn, fp, fn, tp = reference.confusion_matrix(y, predicted, labels=[0, 1]).ravel()
    assert metrics.confusion(y, scores, threshold) == (tp, fp, fn, tn)


@given(scored())
def test_the_best_threshold_has_the_highest_f1(data):
    y, scores = data
    best = Ranking.of(y, scores).best_threshold()
    f1 = metrics.f1_precision_recall(y, scores, best)[0]
    assert f1 == pytest.approx(max(metrics.f1_precision_recall(y, scores, t)[0] for t in np.append(scores, 2)))
    assert f1 == pytest.approx(Ranking.of(y, scores).f1().max())


def test_the_threshold_between_adjacent_floats_is_the_upper_one():
    """The midpoint would be rounded to the lower one."""
    y, scores = np.array([1.0, 0.0]), np.array([1 - 2**-53, 1 - 2**-52])
    assert metrics.f1_precision_recall(y, scores, Ranking.of(y, scores).best_threshold())[0] == 1


def test_the_best_threshold_is_the_highest_of_equally_good_ones_and_midway_to_the_next_score():
    assert Ranking.of(np.array([1.0, 0]), np.array([0.8, 0.4])).best_threshold() == pytest.approx(0.6)
    assert Ranking.of(np.array([0, 1.0]), np.array([0.8, 0.4])).best_threshold() == pytest.approx(0.2), (
        "there is no lower score: midway to zero"
    )
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
