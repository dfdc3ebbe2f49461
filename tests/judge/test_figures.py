"""Figures and their draws against scikit-learn with weights, a draw at a time."""

import dataclasses

import numpy as np
import pytest
from sklearn import metrics
from sklearn.metrics import average_precision_score

from drawn_folds import draw_fold
from judge.calibration import Calibration
from judge.figures import Days, ModelScores, log_loss, pr_auc


@pytest.fixture(scope="module")
def days() -> Days:
    fold = draw_fold(0, {}, np.random.default_rng(4), days=20, share=0.1)
    return Days.of(fold.trades["val"], fold.trades["test"], fold.halves, 5, 60, 7)


def test_pr_auc_is_average_precision_in_each_draw(days):
    rng, y = np.random.default_rng(5), days.test.y
    scores = np.round(rng.normal(0.7 * y, 1, (2, len(y))), 1)  # so few values that each one is a threshold
    figure = pr_auc(ModelScores(scores, np.stack([scores] * 2, axis=1), scores), days, is_network=True)
    on_all = [average_precision_score(y, row) for row in scores]
    assert figure.by_seed == pytest.approx(on_all)
    for weights, deviation in zip(days.test_drawn.weights, figure.deviations, strict=True):
        drawn = [average_precision_score(y, row, sample_weight=weights[days.test.days]) for row in scores]
        assert deviation == pytest.approx(np.mean(drawn) - np.mean(on_all), abs=1e-12)


def test_log_loss_is_scikit_learns_in_each_draw_below_zero(days):
    rng, y = np.random.default_rng(6), days.test.y
    scores = 1 / (1 + np.exp(-rng.normal(0.7 * y - 2, 1, (2, len(y)))))
    calibrations = [Calibration(1.0, 0.0), Calibration(0.5, -1.0)]
    figure = log_loss(ModelScores(scores, np.stack([scores] * 2, axis=1), scores), calibrations, days, is_network=True)
    p = [calibration.apply(row) for calibration, row in zip(calibrations, scores, strict=True)]
    on_all = [-metrics.log_loss(y, row) for row in p]
    assert figure.by_seed == pytest.approx(on_all)
    for weights, deviation in zip(days.test_drawn.weights, figure.deviations, strict=True):
        drawn = [-metrics.log_loss(y, row, sample_weight=weights[days.test.days]) for row in p]
        assert deviation == pytest.approx(np.mean(drawn) - np.mean(on_all), abs=1e-12)


def test_without_a_positive_there_is_no_pr_auc(days):
    none = dataclasses.replace(days, test=dataclasses.replace(days.test, y=np.zeros(len(days.test.y))))
    scores = np.zeros((1, len(days.test.y)))
    assert pr_auc(ModelScores(scores, scores, scores), none, is_network=False) is None
