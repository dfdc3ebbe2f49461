import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from core.calibration import at_temperature, best_temperature, calibration_curve, logit
from core.metrics import log_loss, sigmoid


@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=30, unique=True), st.floats(0.05, 20))
def test_a_temperature_never_changes_the_ranking(scores, temperature):
    scores = np.array(scores)
    scaled = at_temperature(scores, temperature)
    order = np.argsort(scores)
    assert (np.diff(scaled[order]) >= 0).all()


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_again(true):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 40_000)
    y = (rng.random(40_000) < sigmoid(logits)).astype(float)
    distorted = sigmoid(logits * true)
    found = best_temperature(y, distorted)
    assert found == pytest.approx(true, rel=0.05)
    slow = minimize(lambda t: log_loss(y, at_temperature(distorted, float(np.exp(t[0])))), [0.0], method="Nelder-Mead")
    assert found == pytest.approx(float(np.exp(slow.x[0])), rel=1e-3)


def test_certain_scores_do_not_break_it():
    assert np.isfinite(best_temperature(np.array([0.0, 1, 1, 0]), np.array([0.0, 1, 1, 1])))
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


def test_the_curve_has_equally_filled_bins_in_order():
    rng = np.random.default_rng(1)
    scores = rng.random(1000)
    y = (rng.random(1000) < scores).astype(float)
    curve = calibration_curve(y, scores, bins=10)
    assert [count for _, _, count in curve] == [100] * 10
    predicted = [x for x, _, _ in curve]
    assert predicted == sorted(predicted)
    assert all(abs(x - share) < 0.15 for x, share, _ in curve)
