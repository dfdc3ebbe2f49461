"""The GRU against nn.GRU, values and gradients."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from learn.gru import gru


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_values_and_gradients_are_torchs(steps, batch, features, hidden, seed):
    torch.manual_seed(seed)
    reference = nn.GRU(features, hidden).double()
    x = torch.randn(steps, batch, features, dtype=torch.float64, requires_grad=True)
    weights, parameters = torch.randn(steps, batch, hidden, dtype=torch.float64), list(reference.parameters())
    expected, found = reference(x)[0], gru(x, *parameters)
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), [x, *parameters]),
        torch.autograd.grad((expected * weights).sum(), [x, *parameters]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_in_bfloat16_it_is_as_near_to_float32_as_torchs():
    torch.manual_seed(0)
    reference, x = nn.GRU(128, 128), torch.randn(24, 64, 128)
    exact = reference(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        torchs, ours = reference(x)[0], gru(x, *reference.parameters())
    assert ours.dtype == torch.bfloat16
    assert (ours - exact).square().mean() <= 1.5 * (torchs - exact).square().mean()
