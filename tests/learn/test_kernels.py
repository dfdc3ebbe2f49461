"""The kernels of `learn.kernels` in float32, run by Triton's interpreter, against PyTorch's own in float64.

`make test` runs this file with TRITON_INTERPRET=1, which has to be there before Triton is imported.
"""

import os
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from learn.loss import focal_loss

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("Triton's interpreter is off: TRITON_INTERPRET=1 (make test)", allow_module_level=True)
pytest.importorskip("triton", reason="Triton is not installed (make triton)")

from learn import kernels

M, B, T, F, H = 2, 32, 5, 7, 16


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize(("kind", "kernel"), [(nn.LSTM, kernels.LSTM), (nn.GRU, kernels.GRU)])
def test_a_recurrent_layer_and_its_derivatives_are_those_of_pytorch_in_float64(kind, kernel):
    layers = [kind(F, H, batch_first=True, dtype=torch.float64) for _ in range(M)]
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    held = [torch.stack([getattr(layer, name).detach().float() for layer in layers]).requires_grad_() for name in names]
    x, incoming = draw(M, B, T, F), draw(M, B, T, H, seed=1).detach()
    biases = held[2:] if kind is nn.GRU else [held[2] + held[3]]
    h = kernel.apply(x, *held[:2], *biases)[0]
    h.backward(incoming)
    for member, layer in enumerate(layers):
        own = x[member].detach().double().requires_grad_()
        expected = layer(own)[0]
        expected.backward(incoming[member].double())
        torch.testing.assert_close(h[member].double(), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(x.grad[member].double(), own.grad, rtol=0, atol=1e-5)
        for name, stacked in zip(names, held, strict=True):
            off = (stacked.grad[member].double() - getattr(layer, name).grad).abs().max()
            assert off < 1e-5 * max(1.0, getattr(layer, name).grad.abs().max().item()), name


def test_small_derivatives_survive():
    """The reason why float16 was refused: here the sums stay float32."""
    layer = nn.LSTM(F, H, batch_first=True, dtype=torch.float64)
    x = draw(1, B, T, F)
    held = [getattr(layer, name).detach().float().unsqueeze(0) for name in ("weight_ih_l0", "weight_hh_l0")]
    bias = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().float().unsqueeze(0)
    kernels.LSTM.apply(x, *held, bias)[0].backward(torch.full((1, B, T, H), 1e-8))
    own = x[0].detach().double().requires_grad_()
    layer(own)[0].backward(torch.full((B, T, H), 1e-8, dtype=torch.float64))
    torch.testing.assert_close(x.grad[0].double(), own.grad, rtol=1e-3, atol=1e-13)


def test_attention_and_its_derivatives():
    A = 8
    h, w, bias, v = draw(M, B, T, H), draw(M, A, H, seed=1), draw(M, A, seed=2), draw(M, 1, A, seed=3)
    incoming = draw(M, B, H, seed=4).detach()
    pooled = kernels.Attention.apply(h, w, bias, v)[0]
    pooled.backward(incoming)
    own = [tensor.detach().double().requires_grad_() for tensor in (h, w, bias, v)]
    scores = torch.tanh(own[0] @ own[1].transpose(1, 2).unsqueeze(1) + own[2][:, None, None]) @ own[3].transpose(1, 2).unsqueeze(
        1
    )
    expected = (torch.softmax(scores, dim=2) * own[0]).sum(dim=2)
    expected.backward(incoming.double())
    torch.testing.assert_close(pooled.double(), expected, rtol=0, atol=1e-5)
    for ours, theirs in zip((h, w, bias, v), own, strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-5, atol=2e-5)


def norm_of(z: torch.Tensor, share: float, **changed: torch.Tensor) -> tuple[torch.Tensor, ...]:
    C = z.shape[2]
    held = {
        "weight": 1 + 0.1 * draw(M, C, seed=1).detach(),
        "bias": draw(M, C, seed=2).detach(),
        "mean": torch.zeros(M, C),
        "variance": torch.ones(M, C),
        "keys": torch.tensor([2**60 + 5, 77]),
        "shares": torch.full((M,), share),
    } | changed
    return held, kernels.NormReluDropout.apply(z, *held.values(), 3)[0]


def test_batch_norm_with_relu_its_derivatives_and_what_it_remembers():
    z, incoming = draw(M, B, 24), draw(M, B, 24, seed=5).detach()
    weight, bias = draw(M, 24, seed=1), draw(M, 24, seed=2)
    held, out = norm_of(z, 0.0, weight=weight, bias=bias)
    out.backward(incoming)
    for member in range(M):
        norm = nn.BatchNorm1d(24, dtype=torch.float64)
        norm.load_state_dict({**norm.state_dict(), "weight": weight[member].detach(), "bias": bias[member].detach()})
        own = z[member].detach().double().requires_grad_()
        expected = norm(own).relu()
        expected.backward(incoming[member].double())
        torch.testing.assert_close(out[member].double(), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(z.grad[member].double(), own.grad, rtol=0, atol=1e-5)
        torch.testing.assert_close(weight.grad[member].double(), norm.weight.grad, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(bias.grad[member].double(), norm.bias.grad, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(held["mean"][member].double(), norm.running_mean, rtol=0, atol=1e-6)
        torch.testing.assert_close(held["variance"][member].double(), norm.running_var, rtol=1e-5, atol=1e-6)


def dropped(keys: list[int], shares: list[float], site: int = 0, size: int = 4096) -> torch.Tensor:
    """Where ones become zeros, bool (M, size)."""
    out = kernels.Dropout.apply(torch.ones(len(keys), size), torch.tensor(keys), torch.tensor(shares), site)
    assert all(set(row.unique().tolist()) <= {0.0, torch.tensor(1 / (1 - s)).item()} for row, s in zip(out, shares, strict=True))
    return out == 0


def test_dropout_is_a_member_s_own_and_as_frequent_as_asked():
    key, shares = 2**62 + 12345, [0.1, 0.3, 0.5]
    found = dropped([key, 8, 9], shares)
    for row, share in zip(found, shares, strict=True):
        assert abs(row.double().mean() - share) < 4 * (share * (1 - share) / 4096) ** 0.5
    assert torch.equal(dropped([9, key], [0.5, 0.1])[1], found[0]), "wherever it is, and whoever is beside it"
    others = [dropped([key], [0.1], site=1)[0], dropped([key + 64], [0.1])[0], dropped([key + 2**40], [0.1])[0]]
    for other in others:  # another place, another step, another epoch: independent
        both = (found[0] & other).double().mean()
        assert abs(both - 0.01) < 4 * (0.01 * 0.99 / 4096) ** 0.5


def test_dropout_s_derivative_is_zero_where_it_is():
    x, keys, shares = torch.ones(M, 700, requires_grad=True), torch.tensor([5, 6]), torch.tensor([0.25, 0.5])
    out = kernels.Dropout.apply(x, keys, shares, 2)
    out.backward(torch.full((M, 700), 3.0))
    torch.testing.assert_close(x.grad, 3 * out.detach())
    z = draw(M, B, 16)
    _, normed = norm_of(z, 0.5, bias=torch.full((M, 16), 9.0))  # above zero everywhere
    kept = normed != 0
    assert 0.3 < kept.double().mean() < 0.7
    _, plain = norm_of(z, 0.0, bias=torch.full((M, 16), 9.0))
    torch.testing.assert_close(normed[kept], 2 * plain[kept])


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
def test_the_loss_and_its_derivative(gamma):
    logits, y = 4 * draw(M, 19).detach(), (torch.rand(M, 19, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    alphas, gammas = torch.tensor([0.25, 0.7]), torch.full((M,), gamma)
    losses, derivative = kernels.focal_loss(logits, y, alphas, gammas)
    for member in range(M):
        own = logits[member].double().requires_grad_()
        expected = focal_loss(own, y[member].double(), alpha=alphas[member].item(), gamma=gamma)
        expected.backward()
        torch.testing.assert_close(losses[member].double(), expected, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(derivative[member].double(), own.grad, rtol=1e-4, atol=1e-8)


def test_clipping_and_adamw():
    """Five steps of two members with settings of their own, parameters in two parts that are no multiples of a block."""
    sizes, rates, clips, decays = (1500, 70), [1e-2, 3e-3], [0.5, 1e6], [0.01, 0.3]
    start = [draw(M, size, seed=size).detach() for size in sizes]
    parts = [[w.clone(), w.clone(), torch.empty_like(w), torch.zeros_like(w), torch.zeros_like(w)] for w in start]
    for part in parts:
        part[1] = part[0]
    own = [[nn.Parameter(w[member].double()) for w in start] for member in range(M)]
    optimizers = [
        torch.optim.AdamW(parameters, rate, weight_decay=decay)
        for parameters, rate, decay in zip(own, rates, decays, strict=True)
    ]
    for step in range(1, 6):
        for part, size in zip(parts, sizes, strict=True):
            part[2].copy_(draw(M, size, seed=step * size).detach() * 10.0 ** (1 - step))
        settings = (torch.tensor(values) for values in (rates, [float(step)] * M, clips, decays))
        kernels.clip_and_update(parts, *settings)
        for member in range(M):
            for parameter, part in zip(own[member], parts, strict=True):
                parameter.grad = part[2][member].double()
            nn.utils.clip_grad_norm_(own[member], clips[member])
            optimizers[member].step()
    for member in range(M):
        for parameter, part in zip(own[member], parts, strict=True):
            torch.testing.assert_close(part[0][member].double(), parameter.detach(), rtol=1e-5, atol=1e-6)


def test_triton_that_cannot_compile_is_no_reason_to_fail(monkeypatch):
    def compile_nothing(*_: torch.Tensor) -> None:
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable.")

    kernels.find_problem.cache_clear()
    assert kernels.find_problem(torch.device("cpu")) is None
    kernels.find_problem.cache_clear()
    monkeypatch.setattr(kernels, "focal_loss", compile_nothing)
    problem = kernels.find_problem(torch.device("cpu"))
    kernels.find_problem.cache_clear()
    assert problem.startswith("Triton cannot compile a kernel here (Failed to find C compiler.")
    assert "\n" not in problem


def test_a_gpu_whose_multiprocessors_are_too_small_is_told(monkeypatch):
    """An A100's have 163 KB for a program; what H100s have is enough."""
    card = torch.device("cuda")

    def there(kilobytes: int) -> str | None:
        kernels.find_problem.cache_clear()
        properties = SimpleNamespace(shared_memory_per_block_optin=kilobytes * 1024)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        monkeypatch.setattr(kernels, "focal_loss", lambda *tensors: None)
        monkeypatch.setattr(torch, "ones", lambda *shape, device: [torch.zeros(1)] * shape[0])
        return kernels.find_problem(card, ((nn.LSTM, 128), (nn.GRU, 64)))

    assert there(163) == "LSTM layers with a hidden size of 128 do not fit a multiprocessor of this GPU"
    assert there(227) is None
    kernels.find_problem.cache_clear()


def test_what_the_kernels_can_run_is_told():
    assert all(kernels.fits(size, 128) and kernels.is_power_of_2(size) for size in kernels.HIDDEN_SIZES)
    assert not kernels.fits(24, 128)
    assert not kernels.fits(16, 24)
    shapes = [(64, 128), (128, 64), (60, 128), (64, 120)]
    assert [kernels.attends(torch.Size(shape), 24) for shape in shapes] == [True, True, False, False]
    assert [kernels.attends(torch.Size((64, 128)), lookback) for lookback in (128, 256, 257, 1000)] == [True, True, False, False]
    assert not kernels.attends(torch.Size((64, 512)), 128)
    assert [number for number in range(1, 70) if kernels.is_power_of_2(number)] == [1, 2, 4, 8, 16, 32, 64]


def test_a_window_of_one_row_and_one_program_for_several_tiles():
    layer = nn.GRU(F, H, batch_first=True)
    held = [getattr(layer, f"{name}_l0").detach().unsqueeze(0) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    x = draw(1, 3 * kernels.ROWS, 1, F).detach()
    torch.testing.assert_close(kernels.GRU.apply(x, *held)[0][0], layer(x[0])[0].detach(), rtol=0, atol=1e-5)
