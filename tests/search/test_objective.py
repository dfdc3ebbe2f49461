"""What a trial is worth: each objective against an independent computation, and thresholds of the other half."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

from core.metrics import sigmoid
from drawn_search import draw_logits, draw_validation
from search import objective
from search.objective import OBJECTIVES, score


@pytest.fixture
def drawn():
    rng = np.random.default_rng(3)
    val = draw_validation(21, rng)
    return val, draw_logits(val, rng, edge=1.0)[0]


def test_pr_auc_is_that_of_each_half_by_the_other_half_s_epoch(drawn):
    val, logits = drawn
    logits = np.round(logits, 1)  # ties
    y, expected, positives = val.trades.y, 0.0, 0.0
    for own, other in ((0, 1), (1, 0)):
        here = val.half == own
        expected += y[here].sum() * average_precision_score(y[here], logits[other, here])
        positives += y[here].sum()
    assert score("pr_auc", [val], logits) == pytest.approx(expected / positives, abs=1e-12)


def test_pr_auc_counts_the_samples_of_the_mask_alone(drawn):
    val, logits = drawn
    mask = np.random.default_rng(0).random(len(val.half)) < 0.4
    expected, positives = 0.0, 0.0
    for own, other in ((0, 1), (1, 0)):
        here = mask & (val.half == own)
        y = val.trades.y[here]
        expected += y.sum() * average_precision_score(y, logits[other, here])
        positives += y.sum()
    assert objective.pr_auc(val, logits, mask[None])[0] == pytest.approx(expected / positives, abs=1e-12)
    assert objective.pr_auc(val, logits, np.zeros((1, len(mask)), bool)).tolist() == [0.0]


def test_f1_takes_each_half_s_threshold_from_the_other(drawn):
    val, logits = drawn
    y, called = val.trades.y, np.zeros(len(val.half), bool)
    for own, other in ((0, 1), (1, 0)):
        there, here = val.half == other, val.half == own
        scores = sigmoid(logits[other].astype(np.float64))
        best = max(np.unique(scores[there]), key=lambda least: (f1_score(y[there], scores[there] >= least), least))
        below = scores[there & (scores < best)].max()
        called[here] = scores[here] >= (best + below) / 2
    judged = val.half >= 0
    assert score("f1", [val], logits) == pytest.approx(f1_score(y[judged], called[judged]), abs=1e-12)


def test_log_loss_is_after_a_calibration_from_the_other_half(drawn):
    val, logits = drawn
    y, losses = val.trades.y, []
    for own, other in ((0, 1), (1, 0)):
        there, here = val.half == other, val.half == own
        fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[other, there][:, None], y[there])
        p = fitted.predict_proba(logits[other, here][:, None])[:, 1]
        losses.append(-np.where(y[here] > 0, np.log(p), np.log(1 - p)))
    assert score("log_loss", [val], logits) == pytest.approx(-np.concatenate(losses).mean(), abs=1e-5)


def test_return_is_that_of_the_trades_that_the_other_half_s_threshold_enters(drawn):
    val, logits = drawn
    entered = objective.entered(val, logits)
    days = len(np.unique(val.trades.days[val.half >= 0]))
    assert entered.any()
    assert not entered[val.half < 0].any()
    assert score("return", [val], logits) == pytest.approx(val.trades.net[entered].sum() / days, abs=1e-15)
    assert objective.daily_returns(val, logits).sum() == pytest.approx(val.trades.net[entered].sum(), abs=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_better_trial_scores_higher(name):
    rng = np.random.default_rng(1)
    val = draw_validation(60, rng)
    worse, better = (np.mean([score(name, [val], row) for row in draw_logits(val, rng, edge, seeds=3)]) for edge in (0.2, 1.5))
    assert better > worse


def test_over_folds_it_is_the_mean_of_each_fold_s_own():
    rng = np.random.default_rng(4)
    vals = [draw_validation(days, rng) for days in (21, 30)]
    logits = [draw_logits(val, rng, edge=1.0)[0] for val in vals]
    for name in OBJECTIVES:
        apart = [score(name, [val], own) for val, own in zip(vals, logits, strict=True)]
        assert score(name, vals, np.concatenate(logits, axis=1)) == pytest.approx(np.mean(apart), abs=1e-15)
