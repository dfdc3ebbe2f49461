import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learn.loss import focal_loss

samples = st.lists(st.tuples(st.floats(-15, 15), st.integers(0, 1)), min_size=1, max_size=20)


@given(samples, st.floats(0.05, 0.95), st.floats(0, 5))
def test_focal_loss_is_its_formula(rows, alpha, gamma):
    terms = []
    for logit, y in rows:
        p = 1 / (1 + math.exp(-logit))
        p_t = p if y else 1 - p
        terms.append(-(alpha if y else 1 - alpha) * (1 - p_t) ** gamma * math.log(p_t))
    logits, y = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    assert focal_loss(logits, y, alpha=alpha, gamma=gamma).item() == pytest.approx(sum(terms) / len(terms), rel=1e-6, abs=1e-12)


def test_gradients_stay_finite_at_certain_logits():
    logits = torch.tensor([-200.0, 200.0, -200.0, 200.0, 0.0], requires_grad=True)
    focal_loss(logits, torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0]), alpha=0.25, gamma=2.0).backward()
    assert logits.grad.isfinite().all()
