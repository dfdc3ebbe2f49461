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
        r_and_z = x_gates.new_empty(steps, batch, 2 * size)
        n, h_n, h = (x_gates.new_empty(steps, batch, size) for _ in range(3))
        before, transposed = x_gates.new_zeros(batch, size), weight.t()
        for t in range(steps):
            h_gates = torch.addmm(bias, before, transposed)
            torch.add(x_gates[t, :, : 2 * size], h_gates[:, : 2 * size], out=r_and_z[t]).sigmoid_()
            r, z = r_and_z[t].chunk(2, dim=1)
            h_n[t] = h_gates[:, 2 * size :]
            torch.addcmul(x_gates[t, :, 2 * size :], r, h_n[t], out=n[t]).tanh_()
            torch.lerp(n[t], before, z, out=h[t])
            before = h[t]
        context.save_for_backward(r_and_z, n, h_n, h, weight)
        return h

    @staticmethod
    def backward(context: Any, dh_out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        r_and_z, n, h_n, h, weight = context.saved_tensors
        steps, batch, size = h.shape
        r, z = r_and_z.chunk(2, dim=2)
        before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
        into_n = (1 - z) * (1 - n * n)
        factors = h.new_empty(steps, batch, 3, size)  # d gate of the hidden state / d h
        torch.mul(into_n * h_n, r * (1 - r), out=factors[:, :, 0])
        torch.mul(before - n, z * (1 - z), out=factors[:, :, 1])
        torch.mul(into_n, r, out=factors[:, :, 2])
        d_gates = torch.empty_like(factors)
        flat = d_gates.view(steps, batch, 3 * size)
        all_dh = torch.empty_like(h)
        dh = dh_out[-1]
        for t in reversed(range(steps)):
            all_dh[t] = dh
            torch.mul(factors[t], dh.unsqueeze(1), out=d_gates[t])
            if t:
                dh = torch.addmm(dh_out[t - 1], flat[t], weight).addcmul_(dh, z[t])
        d_weight = flat.reshape(-1, 3 * size).t() @ before.reshape(-1, size)
        d_x = flat.clone()
        torch.mul(into_n, all_dh, out=d_x[:, :, 2 * size :])
        return d_x, d_weight, flat.sum(dim=(0, 1))


def gru(x: torch.Tensor, w_ih: torch.Tensor, w_hh: torch.Tensor, b_ih: torch.Tensor, b_hh: torch.Tensor) -> torch.Tensor:
    """x (T, B, F) -> hidden states (T, B, H), from parameters as nn.GRU has them."""
    x_gates = functional.linear(x, w_ih, b_ih)
    return _GRU.apply(x_gates, w_hh.to(x_gates.dtype), b_hh.to(x_gates.dtype))
