"""The references, fitted on small data whose best answer is known."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from fit_references import best_column, logistic_scores, prior_scores
from scaffold import PROJECT


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_column_is_the_one_that_ranks_best_rising_or_falling(sign):
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.2).astype(np.int8)
    X = rng.normal(size=(400, 5)).astype(np.float32)
    X[:, 1] += 0.3 * y
    X[:, 3] += sign * y
    best = best_column(X, y)
    assert best.number == 3
    assert best.roc_auc == pytest.approx(roc_auc_score(y, sign * X[:, 3]))


def test_logistic_regression_on_one_column_keeps_its_ranking():
    rng = np.random.default_rng(1)
    y, x = (rng.random(300) < 0.3).astype(np.int8), rng.normal(size=(300, 1)).astype(np.float32)
    x[:, 0] -= y
    scores = logistic_scores(x, y, {"val": x}, c=0.01, iterations=200)["val"]
    assert roc_auc_score(y, scores) == pytest.approx(roc_auc_score(y, -x[:, 0]))
    assert scores.mean() == pytest.approx(y.mean(), abs=1e-4)


def test_the_prior_of_an_asset_that_train_lacks_is_that_of_all_assets():
    train_y, train_ids = np.array([1, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 0, 2, 2])
    assert prior_scores(train_y, train_ids, np.array([2, 0, 1, 3, 0])).tolist() == [1.0, 0.25, 0.5, 0.5, 0.25]


@pytest.mark.parametrize("columns", [40, 2100])  # one for each solver
def test_logistic_regression_is_at_its_optimum(columns):
    """At the optimum the weights are c X'(y - p), so the intercept that follows from the scores is the same for every sample."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, columns)).cumsum(axis=1)  # neighbouring columns correlate, as the hours of a window do
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    y = (rng.random(2000) < 1 / (1 + np.exp(2 - x[:, 0]))).astype(np.int8)
    scores = logistic_scores(x, y, {"val": x}, c=0.01, iterations=200)["val"]
    exact = x.astype(np.float64)
    intercept = logit(scores) - exact @ (0.01 * exact.T @ (y - scores))
    assert np.ptp(intercept) < 2e-3
    assert (y - scores).sum() == pytest.approx(0, abs=1e-2)


def test_a_logistic_regression_that_did_not_converge_is_a_warning(capfd):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(300, 5)).astype(np.float32), (rng.random(300) < 0.3).astype(np.int8)
    logistic_scores(x, y, {}, c=1, iterations=1)
    assert capfd.readouterr().err.splitlines() == [
        "fit_references: warning: logistic regression did not converge in 1 iterations; lower "
        "references.logistic_c or raise references.logistic_iterations"
    ]


@pytest.mark.slow
def test_openmp_threads_do_not_spin_while_they_wait():
    """By default they do, which on busy cores takes a hundred times the work."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": str(PROJECT / "src")}
    command = [sys.executable, "-c", "import fit_references"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
    if "GOMP_SPINCOUNT" not in told:
        pytest.skip("scikit-learn has another OpenMP than GNU's here")
    assert "GOMP_SPINCOUNT = '0'" in told
