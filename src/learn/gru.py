"""GRU over time on a CPU: one matrix product a step, the derivative's factors for all steps at once.

nn.GRU records some twenty small operations a step there. Here the input's products are one large product, a step is one
more and five element-wise operations, and backward multiplies with factors computed for all steps together. The numbers are
nn.GRU's up to rounding; an LSTM is left to PyTorch, which has a fused one.

Shapes: T time, B batch, F features, H hidden; time comes first, so that a step is contiguous.
"""

from typing import Any

import torch
from torch.autograd import Function
from torch.nn import functional


class _GRU(Function):
    """r, z = sigmoid(x + h W^T); n = tanh(x_n + r (h W_n^T + b_n)); h = n + z (h - n). Source: Cho et al. (2014)."""

    @staticmethod
    def forward(context: Any, x_gates: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """x_gates (T, B, 3H) in the order r, z, n; weight (3H, H), bias (3H,) of the hidden state -> h (T, B, H)."""
        steps, batch, width = x_gates.shape
        size = width // 3
        gates = torch.empty_like(x_gates)  # r, z, and the hidden state's part of n
        n, h = (x_gates.new_empty(steps, batch, size) for _ in range(2))
        before, transposed = x_gates.new_zeros(batch, size), weight.t()
        for t in range(steps):
            torch.addmm(bias, before, transposed, out=gates[t])
            r_and_z, h_n = gates[t].split([2 * size, size], dim=1)
            x_r_and_z, x_n = x_gates[t].split([2 * size, size], dim=1)
            r, z = r_and_z.add_(x_r_and_z).sigmoid_().chunk(2, dim=1)
            torch.addcmul(x_n, r, h_n, out=n[t]).tanh_()
            before = torch.lerp(n[t], before, z, out=h[t])
        context.save_for_backward(gates, n, h, weight)
        return h

    @staticmethod
    def backward(context: Any, dh_out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        gates, n, h, weight = context.saved_tensors
        steps, batch, size = h.shape
        r, z, h_n = gates.chunk(3, dim=2)
        not_z = 1 - z
        into_n = torch.addcmul(not_z, not_z * n, n, value=-1)  # (1 - z) (1 - n^2)
        factors = torch.empty_like(gates).view(steps, batch, 3, size)  # d gate of the hidden state / d h
        into_r, into_z, into_h_n = factors.unbind(dim=2)
        torch.mul(into_n, r, out=into_h_n)
        torch.mul(into_h_n, h_n, out=into_r).addcmul_(into_r, r, value=-1)
        torch.mul(h - n, not_z, out=into_z)  # h - n is z (h before - n)
        d_gates = torch.empty_like(factors)
        flat = d_gates.view(steps, batch, 3 * size)
        dh = torch.empty_like(h)
        dh[-1] = dh_out[-1]
        for t in reversed(range(steps)):
            torch.mul(factors[t], dh[t].unsqueeze(1), out=d_gates[t])
            if t:
                torch.addmm(dh_out[t - 1], flat[t], weight, out=dh[t - 1]).addcmul_(dh[t], z[t])
        d_weight = flat[1:].view(-1, 3 * size).t() @ h[:-1].view(-1, size)
        d_x = flat.clone()
        torch.mul(into_n, dh, out=d_x[:, :, 2 * size :])
        return d_x, d_weight, flat.sum(dim=(0, 1))


def gru(x: torch.Tensor, w_ih: torch.Tensor, w_hh: torch.Tensor, b_ih: torch.Tensor, b_hh: torch.Tensor) -> torch.Tensor:
    """x (T, B, F) -> hidden states (T, B, H), from parameters as nn.GRU has them."""
    x_gates = functional.linear(x, w_ih, b_ih)
    return _GRU.apply(x_gates, w_hh.to(x_gates.dtype), b_hh.to(x_gates.dtype))
