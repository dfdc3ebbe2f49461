"""The four networks: shapes, exact sizes, and what they may and may not depend on."""

import inspect

import pytest
import torch

from learn.architecture import find_architecture
from scaffold import read_params

B, T, F, ASSETS = 5, 24, 22, 6

# By hand, for F 22, T 24, 6 assets, embedding 8: embedding table 48 each, attention 64 (128 + 1) + 64 = 8320, head 129.
PARAMETERS = {
    "mlp": 48 + (536 * 256 + 2 * 256) + (256 * 128 + 2 * 128) + (128 * 64 + 2 * 64) + 65,
    "lstm": 48 + 4 * 128 * (30 + 128 + 2) + 4 * 128 * (128 + 128 + 2) + 8320 + 129,
    "gru": 48 + 3 * 128 * (30 + 128 + 2) + 3 * 128 * (128 + 128 + 2) + 8320 + 129,
    "cnn_lstm": 48 + (30 * 32 * 3 + 64) + (32 * 64 * 3 + 128) + 4 * 128 * (64 + 128 + 2) + 8320 + 129,
}


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return find_architecture(name).network(**read_params()[name], n_features=F, n_assets=ASSETS, lookback=T)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_default_network_has_exactly_so_many_parameters(name):
    assert sum(parameter.numel() for parameter in build(name).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_one_logit_a_sample_whatever_else_is_in_the_batch(name):
    model = build(name).eval()
    x, assets = torch.randn(B, T, F), torch.tensor([0, 1, 2, 3, 5])
    logits = model(x, assets)
    assert logits.shape == (B,)
    torch.testing.assert_close(model(x[2:3], assets[2:3]), logits[2:3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_learns_and_asset_and_every_row_count(name):
    model = build(name).eval()  # without dropout
    x, assets = torch.randn(B, T, F, requires_grad=True), torch.arange(B)
    model(x, assets).sum().backward()
    assert (x.grad.abs().sum(dim=(0, 2)) > 0).all(), "a row of the window has no influence"
    assert (x.grad.abs().sum(dim=(0, 1)) > 0).all(), "a feature has no influence"
    assert not torch.equal(model(x, assets), model(x, assets.flip(0)))
    model.train()
    model.zero_grad()
    model(x.detach(), assets).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


@pytest.mark.parametrize("name", PARAMETERS)
def test_dropout_sleeps_in_evaluation_only(name):
    model, x, assets = build(name), torch.randn(B, T, F), torch.arange(B)
    assert not torch.equal(model(x, assets), model(x, assets))
    model.eval()
    assert torch.equal(model(x, assets), model(x, assets))


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_section_of_the_parameters_is_the_constructor(name):
    arguments = set(inspect.signature(find_architecture(name).network).parameters)
    assert set(read_params()[name]) == arguments - {"n_features", "n_assets", "lookback"}
