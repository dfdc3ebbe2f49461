"""The references that are fitted."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fit_references import best_column, logistic_scores


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_column_is_the_one_that_ranks_best_rising_or_falling(sign):
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.2).astype(np.int8)
    X = rng.normal(size=(400, 5)).astype(np.float32)
    X[:, 1] += 0.3 * y
    X[:, 3] += sign * y
    column, area = best_column(X, y)
    assert column == 3
    assert area == pytest.approx(roc_auc_score(y, sign * X[:, 3]))


def test_one_column_alone_keeps_its_ranking():
    rng = np.random.default_rng(1)
    y, x = (rng.random(300) < 0.3).astype(np.int8), rng.normal(size=(300, 1)).astype(np.float32)
    x[:, 0] -= y
    scores = logistic_scores(x, y, {"val": x}, c=0.01, iterations=200)["val"]
    assert roc_auc_score(y, scores) == pytest.approx(roc_auc_score(y, -x[:, 0]))
    assert scores.mean() == pytest.approx(y.mean(), abs=1e-4)
