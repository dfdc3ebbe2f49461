import pytest
import torch
from torch import nn

from learn.layers import AssetEmbedding, Attention, Dropout, RecurrentStack, TimeConvolution


def test_attention_is_the_softmax_weighted_mean():
    torch.manual_seed(0)
    layer, h = Attention(8, 4), torch.randn(2, 5, 8)
    weighted = layer(h)
    for b in range(2):
        scores = torch.stack([layer.score(torch.tanh(layer.project(h[b, t]))) for t in range(5)]).squeeze(1)
        weights = scores.exp() / scores.exp().sum()
        torch.testing.assert_close(weighted[b], sum(weights[t] * h[b, t] for t in range(5)))


def test_the_stack_without_dropout_is_torchs_own():
    torch.manual_seed(0)
    for cell in (nn.LSTM, nn.GRU):
        stack, reference = RecurrentStack(cell, 3, 8, 2, 0.5).eval(), cell(3, 8, num_layers=2, batch_first=True)
        for number, layer in enumerate(stack.layers):
            for name, parameter in layer.named_parameters():
                getattr(reference, name.replace("l0", f"l{number}")).data.copy_(parameter.data)
        x = torch.randn(4, 6, 3)
        torch.testing.assert_close(stack(x), reference(x)[0])


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 8])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_a_convolution_over_time_is_torchs_own(kernel_size):
    torch.manual_seed(0)
    layer, reference = TimeConvolution(3, 4, kernel_size), nn.Conv1d(3, 4, kernel_size, padding="same", bias=False)
    reference.weight.data = layer.product.weight.detach().view(4, kernel_size, 3).transpose(1, 2)
    x, same = torch.randn(2, 6, 3, requires_grad=True), torch.randn(2, 6, 4)
    ours, theirs = layer(x), reference(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad((y * same).sum(), x)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_the_asset_vector_stands_in_every_row():
    layer, x = AssetEmbedding(3, 2), torch.randn(2, 4, 5)
    out = layer(x, torch.tensor([2, 0]))
    assert torch.equal(out[:, :, :5], x)
    assert torch.equal(out[0, :, 5:], layer.table.weight[2].expand(4, 2))
    assert torch.equal(out[1, :, 5:], layer.table.weight[0].expand(4, 2))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_zeroes_its_share_and_keeps_the_mean(share, dtype):
    torch.manual_seed(0)
    x = torch.ones(1001, 301, dtype=dtype, requires_grad=True)
    dropped = Dropout(share)(x)
    assert dropped.dtype == dtype
    zeroed = (dropped == 0).float().mean().item()
    assert zeroed == pytest.approx(share, abs=0.005)
    assert dropped.float().mean().item() == pytest.approx(1, abs=0.03)
    assert dropped.unique().numel() == 2
    dropped.float().sum().backward()
    assert torch.equal(x.grad, dropped)


def test_dropout_draws_values_apart_from_their_neighbours():
    torch.manual_seed(0)
    zero = (Dropout(0.5)(torch.ones(400_000)) == 0).float() - 0.5
    for step in (1, 2, 3, 4, 8, 64):
        assert abs((zero[:-step] * zero[step:]).mean().item()) < 0.002
    assert not torch.equal(Dropout(0.5)(torch.ones(1000)), Dropout(0.5)(torch.ones(1000)))
