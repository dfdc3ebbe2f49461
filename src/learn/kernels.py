"""Layers, loss and optimizer of many networks of one shape in Triton: one kernel does a layer of all of them.

A program of the LSTM or GRU walks over time for one member and `ROWS` rows of its batch, with the recurrent weights held on the
multiprocessor. Products are of the inputs' type (bfloat16 on a GPU, float32 under Triton's interpreter); sums, states and
derivatives between steps are float32.

Each layer takes all members' tensors stacked; under `torch.vmap` over members it takes one member's.

Shapes: M members, B batch, T time, F inputs, H hidden, A inner size of the attention, C columns, P parameters.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import nn
from triton import next_power_of_2

from core.errors import to_one_line
from learn.stackable import HIDDEN_SIZES, ROWS

WARPS = 8
BLOCK = 1024  # values that a program of the optimizer or of dropout takes
COLUMNS = 16  # that a program of batch norm takes
SHARED_BYTES = {  # that the derivative of a layer takes of a multiprocessor's shared memory, as Triton 3.8 compiles it
    nn.LSTM: {64: 51_200, 128: 167_936},
    nn.GRU: {64: 32_768, 128: 114_688},
}
LONGEST_ATTENTION = 256  # rows of a window
LARGEST_ATTENTION = 2**15  # rows of a window times width


def is_power_of_2(number: int) -> bool:
    """Tell whether a block of a kernel can have that many columns."""
    return number & (number - 1) == 0


@functools.cache
def find_problem(device: torch.device, layers: tuple[tuple[type[nn.Module], int], ...] = ()) -> str | None:
    """Say why the kernels cannot run on a device, such as for want of a C compiler; None where they can.

    Args:
        layers: kinds of recurrent layers with the largest hidden size of each.
    """
    if device.type == "cuda":
        there = torch.cuda.get_device_properties(device).shared_memory_per_block_optin
        for kind, size in layers:
            if SHARED_BYTES[kind].get(size, 0) > there:
                return f"{kind.__name__} layers with a hidden size of {size} do not fit a multiprocessor of this GPU"
    try:
        focal_loss(*torch.ones(2, 1, ROWS, device=device), *torch.ones(2, 1, device=device))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # compilers fail in many ways
        return f"Triton cannot compile a kernel here ({to_one_line(error)[:200]})"
    return None


def fits(hidden_size: int, batch: int) -> bool:
    """Tell whether the kernels can run a recurrent layer."""
    return hidden_size in HIDDEN_SIZES and batch % ROWS == 0


def attends(shape: torch.Size, lookback: int) -> bool:
    """Tell whether the kernels can run an attention of `shape`, (A, H), over T rows."""
    size = next_power_of_2(lookback) * max(shape)
    return all(map(is_power_of_2, shape)) and lookback <= LONGEST_ATTENTION and size <= LARGEST_ATTENTION


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _tanh(x):
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


@triton.jit
def _lstm_forward(xg, w, bias, hs, befores, cs, gates, T, B, H: tl.constexpr, ROWS: tl.constexpr):
    member, tile = tl.program_id(0), tl.program_id(1)
    rows, k, n = tile * ROWS + tl.arange(0, ROWS), tl.arange(0, H), tl.arange(0, H)
    at_w = w + member * 4 * H * H + n[None, :] * H + k[:, None]  # w (M, 4H, H), read as its transpose (H, H) four times
    w_i, w_f, w_g, w_o = tl.load(at_w), tl.load(at_w + H * H), tl.load(at_w + 2 * H * H), tl.load(at_w + 3 * H * H)
    at_b = bias + member * 4 * H + n
    b_i, b_f = tl.load(at_b).to(tl.float32)[None, :], tl.load(at_b + H).to(tl.float32)[None, :]
    b_g, b_o = tl.load(at_b + 2 * H).to(tl.float32)[None, :], tl.load(at_b + 3 * H).to(tl.float32)[None, :]
    h, c = tl.zeros((ROWS, H), xg.dtype.element_ty), tl.zeros((ROWS, H), tl.float32)
    row = ((member.to(tl.int64) * B + rows) * T)[:, None]
    wide, narrow = row * (4 * H) + n[None, :], row * H + n[None, :]
    x_i, x_f, x_g, x_o = tl.load(xg + wide), tl.load(xg + wide + H), tl.load(xg + wide + 2 * H), tl.load(xg + wide + 3 * H)
    for t in range(T):
        following = xg + wide + (4 * H) * ((t + 1) < T)  # the next step's inputs are under way while this one computes
        next_i, next_f = tl.load(following), tl.load(following + H)
        next_g, next_o = tl.load(following + 2 * H), tl.load(following + 3 * H)
        tl.store(befores + narrow, h)
        i = _sigmoid(tl.dot(h, w_i, acc=x_i.to(tl.float32) + b_i, input_precision="ieee"))
        f = _sigmoid(tl.dot(h, w_f, acc=x_f.to(tl.float32) + b_f, input_precision="ieee"))
        g = _tanh(tl.dot(h, w_g, acc=x_g.to(tl.float32) + b_g, input_precision="ieee"))
        o = _sigmoid(tl.dot(h, w_o, acc=x_o.to(tl.float32) + b_o, input_precision="ieee"))
        c = f * c + i * g
        h = (o * _tanh(c)).to(h.dtype)
        tl.store(gates + wide, i.to(h.dtype))
        tl.store(gates + wide + H, f.to(h.dtype))
        tl.store(gates + wide + 2 * H, g.to(h.dtype))
        tl.store(gates + wide + 3 * H, o.to(h.dtype))
        tl.store(hs + narrow, h)
        tl.store(cs + narrow, c)
        wide, narrow = wide + 4 * H, narrow + H
        x_i, x_f, x_g, x_o = next_i, next_f, next_g, next_o


@triton.jit
def _lstm_backward(dhs, w, cs, gates, dgates, dbias, T, B, H: tl.constexpr, ROWS: tl.constexpr):
    member, tile = tl.program_id(0), tl.program_id(1)
    rows, k, n = tile * ROWS + tl.arange(0, ROWS), tl.arange(0, H), tl.arange(0, H)
    at_w = w + member * 4 * H * H + k[:, None] * H + n[None, :]  # four times (H gates, H inputs)
    w_i, w_f, w_g, w_o = tl.load(at_w), tl.load(at_w + H * H), tl.load(at_w + 2 * H * H), tl.load(at_w + 3 * H * H)
    dh, dc = tl.zeros((ROWS, H), tl.float32), tl.zeros((ROWS, H), tl.float32)
    s_i, s_f, s_g, s_o = (
        tl.zeros((H,), tl.float32),
        tl.zeros((H,), tl.float32),
        tl.zeros((H,), tl.float32),
        tl.zeros((H,), tl.float32),
    )
    row = ((member.to(tl.int64) * B + rows) * T + T - 1)[:, None]
    wide, narrow = row * (4 * H) + n[None, :], row * H + n[None, :]
    i, f, g, o = tl.load(gates + wide), tl.load(gates + wide + H), tl.load(gates + wide + 2 * H), tl.load(gates + wide + 3 * H)
    c, d = tl.load(cs + narrow), tl.load(dhs + narrow)
    for back in range(T):
        more = (back + 1) < T
        earlier = gates + wide - (4 * H) * more
        next_i, next_f, next_g, next_o = (
            tl.load(earlier),
            tl.load(earlier + H),
            tl.load(earlier + 2 * H),
            tl.load(earlier + 3 * H),
        )
        before = tl.load(cs + narrow - H * more) * more.to(tl.float32)
        next_d = tl.load(dhs + narrow - H * more)
        i, f, g, o = i.to(tl.float32), f.to(tl.float32), g.to(tl.float32), o.to(tl.float32)
        tanh_c = _tanh(c)
        dh = dh + d.to(tl.float32)
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        di, df = dc * g * i * (1 - i), dc * before * f * (1 - f)
        dg, do = dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)
        s_i, s_f, s_g, s_o = s_i + tl.sum(di, 0), s_f + tl.sum(df, 0), s_g + tl.sum(dg, 0), s_o + tl.sum(do, 0)
        low = w.dtype.element_ty
        di, df, dg, do = di.to(low), df.to(low), dg.to(low), do.to(low)
        dc = dc * f
        tl.store(dgates + wide, di)
        tl.store(dgates + wide + H, df)
        tl.store(dgates + wide + 2 * H, dg)
        tl.store(dgates + wide + 3 * H, do)
        dh = tl.dot(di, w_i, input_precision="ieee")
        dh = tl.dot(df, w_f, acc=dh, input_precision="ieee")
        dh = tl.dot(dg, w_g, acc=dh, input_precision="ieee")
        dh = tl.dot(do, w_o, acc=dh, input_precision="ieee")
        wide, narrow = wide - 4 * H, narrow - H
        i, f, g, o, c, d = next_i, next_f, next_g, next_o, before, next_d
    at = dbias + (member * tl.num_programs(1) + tile) * 4 * H + n
    tl.store(at, s_i)
    tl.store(at + H, s_f)
    tl.store(at + 2 * H, s_g)
    tl.store(at + 3 * H, s_o)


@triton.jit
def _gru_forward(xg, w, b_ih, b_hh, hs, befores, gates, T, B, H: tl.constexpr, ROWS: tl.constexpr):
    member, tile = tl.program_id(0), tl.program_id(1)
    rows, k, n = tile * ROWS + tl.arange(0, ROWS), tl.arange(0, H), tl.arange(0, H)
    at_w = w + member * 3 * H * H + n[None, :] * H + k[:, None]
    w_r, w_z, w_n = tl.load(at_w), tl.load(at_w + H * H), tl.load(at_w + 2 * H * H)
    at_b, at_x = b_hh + member * 3 * H + n, b_ih + member * 3 * H + n
    b_r = (tl.load(at_b).to(tl.float32) + tl.load(at_x).to(tl.float32))[None, :]
    b_z = (tl.load(at_b + H).to(tl.float32) + tl.load(at_x + H).to(tl.float32))[None, :]
    b_h, b_x = tl.load(at_b + 2 * H).to(tl.float32)[None, :], tl.load(at_x + 2 * H).to(tl.float32)[None, :]
    h = tl.zeros((ROWS, H), tl.float32)
    row = ((member.to(tl.int64) * B + rows) * T)[:, None]
    x_at, gate_at, narrow = row * (3 * H) + n[None, :], row * (4 * H) + n[None, :], row * H + n[None, :]
    x_r, x_z, x_n = tl.load(xg + x_at), tl.load(xg + x_at + H), tl.load(xg + x_at + 2 * H)
    for t in range(T):
        following = xg + x_at + (3 * H) * ((t + 1) < T)
        next_r, next_z, next_n = tl.load(following), tl.load(following + H), tl.load(following + 2 * H)
        before = h.to(xg.dtype.element_ty)
        tl.store(befores + narrow, before)
        r = _sigmoid(tl.dot(before, w_r, acc=x_r.to(tl.float32) + b_r, input_precision="ieee"))
        z = _sigmoid(tl.dot(before, w_z, acc=x_z.to(tl.float32) + b_z, input_precision="ieee"))
        hidden = tl.dot(before, w_n, input_precision="ieee") + b_h
        new = _tanh(x_n.to(tl.float32) + b_x + r * hidden)
        h = new + z * (h - new)
        low = before.dtype
        tl.store(gates + gate_at, r.to(low))
        tl.store(gates + gate_at + H, z.to(low))
        tl.store(gates + gate_at + 2 * H, new.to(low))
        tl.store(gates + gate_at + 3 * H, hidden.to(low))
        tl.store(hs + narrow, h.to(low))
        x_at, gate_at, narrow = x_at + 3 * H, gate_at + 4 * H, narrow + H
        x_r, x_z, x_n = next_r, next_z, next_n


@triton.jit
def _gru_backward(dhs, w, befores, gates, dx, dhidden, db_ih, db_hh, T, B, H: tl.constexpr, ROWS: tl.constexpr):
    member, tile = tl.program_id(0), tl.program_id(1)
    rows, k, n = tile * ROWS + tl.arange(0, ROWS), tl.arange(0, H), tl.arange(0, H)
    at_w = w + member * 3 * H * H + k[:, None] * H + n[None, :]
    w_r, w_z, w_n = tl.load(at_w), tl.load(at_w + H * H), tl.load(at_w + 2 * H * H)
    dh = tl.zeros((ROWS, H), tl.float32)
    s_r, s_z, s_n, s_h = (
        tl.zeros((H,), tl.float32),
        tl.zeros((H,), tl.float32),
        tl.zeros((H,), tl.float32),
        tl.zeros((H,), tl.float32),
    )
    row = ((member.to(tl.int64) * B + rows) * T + T - 1)[:, None]
    x_at, gate_at, narrow = row * (3 * H) + n[None, :], row * (4 * H) + n[None, :], row * H + n[None, :]
    r, z, new, hidden = (
        tl.load(gates + gate_at),
        tl.load(gates + gate_at + H),
        tl.load(gates + gate_at + 2 * H),
        tl.load(gates + gate_at + 3 * H),
    )
    before, d = tl.load(befores + narrow), tl.load(dhs + narrow)
    for back in range(T):
        more = (back + 1) < T
        earlier = gates + gate_at - (4 * H) * more
        next_r, next_z, next_n, next_hidden = (
            tl.load(earlier),
            tl.load(earlier + H),
            tl.load(earlier + 2 * H),
            tl.load(earlier + 3 * H),
        )
        next_before, next_d = tl.load(befores + narrow - H * more), tl.load(dhs + narrow - H * more)
        r, z, new, hidden = r.to(tl.float32), z.to(tl.float32), new.to(tl.float32), hidden.to(tl.float32)
        dh = dh + d.to(tl.float32)
        dn = dh * (1 - z) * (1 - new * new)
        dr, dz, dn_h = dn * hidden * r * (1 - r), dh * (before.to(tl.float32) - new) * z * (1 - z), dn * r
        s_r, s_z, s_n, s_h = s_r + tl.sum(dr, 0), s_z + tl.sum(dz, 0), s_n + tl.sum(dn, 0), s_h + tl.sum(dn_h, 0)
        low = w.dtype.element_ty
        dr, dz, dn_h = dr.to(low), dz.to(low), dn_h.to(low)
        tl.store(dx + x_at, dr)
        tl.store(dx + x_at + H, dz)
        tl.store(dx + x_at + 2 * H, dn.to(low))
        tl.store(dhidden + x_at, dr)
        tl.store(dhidden + x_at + H, dz)
        tl.store(dhidden + x_at + 2 * H, dn_h)
        dh = tl.dot(dr, w_r, acc=dh * z, input_precision="ieee")
        dh = tl.dot(dz, w_z, acc=dh, input_precision="ieee")
        dh = tl.dot(dn_h, w_n, acc=dh, input_precision="ieee")
        x_at, gate_at, narrow = x_at - 3 * H, gate_at - 4 * H, narrow - H
        r, z, new, hidden, before, d = next_r, next_z, next_n, next_hidden, next_before, next_d
    at = (member * tl.num_programs(1) + tile) * 3 * H + n
    tl.store(db_ih + at, s_r)
    tl.store(db_ih + at + H, s_z)
    tl.store(db_ih + at + 2 * H, s_n)
    tl.store(db_hh + at, s_r)
    tl.store(db_hh + at + H, s_z)
    tl.store(db_hh + at + 2 * H, s_h)


@triton.jit
def _attention_forward(u, v, h, weights, pooled, T, A: tl.constexpr, H: tl.constexpr, STEPS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    t, a, n = tl.arange(0, STEPS), tl.arange(0, A), tl.arange(0, H)
    mask = t < T
    at = (row * T + t)[:, None]
    inner = _tanh(tl.load(u + at * A + a[None, :], mask=mask[:, None], other=0.0).to(tl.float32))
    scores = tl.sum(inner * tl.load(v + tl.program_id(0) * A + a).to(tl.float32)[None, :], 1)
    scores = tl.where(mask, scores, -float("inf"))
    e = tl.exp(scores - tl.max(scores, 0))
    share = e / tl.sum(e, 0)
    states = tl.load(h + at * H + n[None, :], mask=mask[:, None], other=0.0).to(tl.float32)
    tl.store(pooled + row * H + n, tl.sum(share[:, None] * states, 0))
    tl.store(weights + row * T + t, share, mask=mask)


@triton.jit
def _attention_backward(dpooled, u, v, h, weights, du, dh, dv, T, A: tl.constexpr, H: tl.constexpr, STEPS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    t, a, n = tl.arange(0, STEPS), tl.arange(0, A), tl.arange(0, H)
    mask = t < T
    at = (row * T + t)[:, None]
    share = tl.load(weights + row * T + t, mask=mask, other=0.0)
    d = tl.load(dpooled + row * H + n).to(tl.float32)
    states = tl.load(h + at * H + n[None, :], mask=mask[:, None], other=0.0).to(tl.float32)
    dshare = tl.sum(states * d[None, :], 1)
    dscore = share * (dshare - tl.sum(share * dshare, 0))
    inner = _tanh(tl.load(u + at * A + a[None, :], mask=mask[:, None], other=0.0).to(tl.float32))
    vector = tl.load(v + tl.program_id(0) * A + a).to(tl.float32)
    slope = dscore[:, None] * vector[None, :] * (1 - inner * inner)
    tl.store(du + at * A + a[None, :], slope.to(du.dtype.element_ty), mask=mask[:, None])
    tl.store(dh + at * H + n[None, :], (share[:, None] * d[None, :]).to(dh.dtype.element_ty), mask=mask[:, None])
    tl.store(dv + row * A + a, tl.sum(dscore[:, None] * inner, 0))


def stacked(in_dims, tensors):
    """Return every tensor with its members first."""
    return [t.movedim(d, 0).contiguous() for t, d in zip(tensors, in_dims, strict=True)]


class LSTM(torch.autograd.Function):
    """x (M, B, T, F), w_ih (M, 4H, F), w_hh (M, 4H, H), bias (M, 4H), the sum of both -> h (M, B, T, H); under vmap without M."""

    @staticmethod
    def forward(x, w_ih, w_hh, bias):
        M, B, T, F = x.shape
        H = w_hh.shape[2]
        x_gates = torch.bmm(x.view(M, B * T, F), w_ih.transpose(1, 2))
        h, before, gates = x.new_empty(M, B, T, H), x.new_empty(M, B, T, H), torch.empty_like(x_gates)
        c = torch.empty(M, B, T, H, device=h.device)
        _lstm_forward[(M, B // ROWS)](x_gates, w_hh, bias, h, before, c, gates, T, B, H, ROWS, num_warps=WARPS)
        return h, before, c, gates

    @staticmethod
    def setup_context(context, inputs, output):
        _h, before, c, gates = output
        context.save_for_backward(*inputs[:3], before, c, gates)
        context.mark_non_differentiable(before, c, gates)
        context.set_materialize_grads(False)

    @staticmethod
    def backward(context, dh, *_):
        x, w_ih, w_hh, before, c, gates = context.saved_tensors
        M, B, T, H = before.shape
        dgates, dbias = torch.empty_like(gates), torch.empty(M, B // ROWS, 4 * H, device=x.device)
        _lstm_backward[(M, B // ROWS)](dh.contiguous(), w_hh, c, gates, dgates, dbias, T, B, H, ROWS, num_warps=WARPS)
        dx = torch.bmm(dgates, w_ih).view(x.shape) if context.needs_input_grad[0] else None
        over = dgates.transpose(1, 2)
        return dx, torch.bmm(over, x.view(M, B * T, -1)), torch.bmm(over, before.view(M, B * T, H)), dbias.sum(1)

    @staticmethod
    def vmap(info, in_dims, *tensors):
        return LSTM.apply(*stacked(in_dims, tensors)), (0, 0, 0, 0)


class GRU(torch.autograd.Function):
    """x (M, B, T, F), w_ih (M, 3H, F), w_hh (M, 3H, H), b_ih, b_hh (M, 3H) -> h (M, B, T, H); under vmap without M."""

    @staticmethod
    def forward(x, w_ih, w_hh, b_ih, b_hh):
        M, B, T, F = x.shape
        H = w_hh.shape[2]
        x_gates = torch.bmm(x.view(M, B * T, F), w_ih.transpose(1, 2))
        h, before, gates = x.new_empty(M, B, T, H), x.new_empty(M, B, T, H), x.new_empty(M, B, T, 4 * H)
        _gru_forward[(M, B // ROWS)](x_gates, w_hh, b_ih, b_hh, h, before, gates, T, B, H, ROWS, num_warps=WARPS)
        return h, before, gates

    @staticmethod
    def setup_context(context, inputs, output):
        _h, before, gates = output
        context.save_for_backward(*inputs[:3], before, gates)
        context.mark_non_differentiable(before, gates)
        context.set_materialize_grads(False)

    @staticmethod
    def backward(context, dh, *_):
        x, w_ih, w_hh, before, gates = context.saved_tensors
        M, B, T, H = before.shape
        dx_gates, dhidden = (x.new_empty(M, B * T, 3 * H) for _ in range(2))
        db_ih, db_hh = (torch.empty(M, B // ROWS, 3 * H, device=x.device) for _ in range(2))
        _gru_backward[(M, B // ROWS)](
            dh.contiguous(), w_hh, before, gates, dx_gates, dhidden, db_ih, db_hh, T, B, H, ROWS, num_warps=WARPS
        )
        dx = torch.bmm(dx_gates, w_ih).view(x.shape) if context.needs_input_grad[0] else None
        dw_ih = torch.bmm(dx_gates.transpose(1, 2), x.view(M, B * T, -1))
        return dx, dw_ih, torch.bmm(dhidden.transpose(1, 2), before.view(M, B * T, H)), db_ih.sum(1), db_hh.sum(1)

    @staticmethod
    def vmap(info, in_dims, *tensors):
        return GRU.apply(*stacked(in_dims, tensors)), (0, 0, 0)


class Attention(torch.autograd.Function):
    """h (M, B, T, H), w (M, A, H), bias (M, A), v (M, 1, A) -> weighted mean (M, B, H) float32; under vmap without M."""

    @staticmethod
    def forward(h, w, bias, v):
        M, B, T, H = h.shape
        A = w.shape[1]
        u = torch.baddbmm(bias.to(h.dtype).unsqueeze(1), h.view(M, B * T, H), w.transpose(1, 2))
        weights, pooled = torch.empty(M, B, T, device=h.device), torch.empty(M, B, H, device=h.device)
        _attention_forward[(M, B)](u, v, h, weights, pooled, T, A, H, next_power_of_2(T))
        return pooled, u, weights

    @staticmethod
    def setup_context(context, inputs, output):
        _pooled, u, weights = output
        context.save_for_backward(inputs[0], inputs[1], inputs[3], u, weights)
        context.mark_non_differentiable(u, weights)
        context.set_materialize_grads(False)

    @staticmethod
    def backward(context, dpooled, *_):
        h, w, v, u, weights = context.saved_tensors
        M, B, T, H = h.shape
        A = w.shape[1]
        du, dh, dv = torch.empty_like(u), torch.empty_like(h), torch.empty(M, B, A, device=h.device)
        _attention_backward[(M, B)](dpooled.contiguous(), u, v, h, weights, du, dh, dv, T, A, H, next_power_of_2(T))
        dw = torch.bmm(du.transpose(1, 2), h.view(M, B * T, H))
        dh = torch.baddbmm(dh.view(M, B * T, H), du, w).view(h.shape)
        return dh, dw, du.sum(1, dtype=torch.float32), dv.sum(1).unsqueeze(1).to(v.dtype)

    @staticmethod
    def vmap(info, in_dims, *tensors):
        return Attention.apply(*stacked(in_dims, tensors)), (0, 0, 0)


@triton.jit
def _norm_forward(
    z,
    weight,
    bias,
    mean,
    variance,
    keys,
    shares,
    out,
    keep,
    inverse,
    centre,
    site,
    B,
    C: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    member, block = tl.program_id(0), tl.program_id(1)
    r, c = tl.arange(0, ROWS), block * COLUMNS + tl.arange(0, COLUMNS)
    mask = (r < B)[:, None] & (c < C)[None, :]
    at = (member.to(tl.int64) * B + r)[:, None] * C + c[None, :]
    x = tl.load(z + at, mask=mask, other=0.0).to(tl.float32)
    mu = tl.sum(x, 0) / B
    off = tl.where(mask, x - mu[None, :], 0.0)
    var = tl.sum(off * off, 0) / B
    inv = 1 / tl.sqrt(var + 1e-5)
    of = member * C + c
    fits = c < C
    tl.store(mean + of, 0.9 * tl.load(mean + of, mask=fits) + 0.1 * mu, mask=fits)
    tl.store(variance + of, 0.9 * tl.load(variance + of, mask=fits) + 0.1 * var * B / (B - 1), mask=fits)
    y = off * inv[None, :] * tl.load(weight + of, mask=fits)[None, :] + tl.load(bias + of, mask=fits)[None, :]
    share = tl.load(shares + member)
    drawn = tl.rand(tl.load(keys + member) + site, r[:, None] * C + c[None, :])
    passes = (y > 0) & (drawn >= share)
    y = tl.where(passes, y / (1 - share), 0.0)
    tl.store(out + at, y.to(out.dtype.element_ty), mask=mask)
    tl.store(keep + at, passes.to(tl.int8), mask=mask)
    tl.store(inverse + of, inv, mask=fits)
    tl.store(centre + of, mu, mask=fits)


@triton.jit
def _norm_backward(
    dy,
    z,
    weight,
    shares,
    keep,
    inverse,
    centre,
    dz,
    dweight,
    dbias,
    B,
    C: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    member, block = tl.program_id(0), tl.program_id(1)
    r, c = tl.arange(0, ROWS), block * COLUMNS + tl.arange(0, COLUMNS)
    mask = (r < B)[:, None] & (c < C)[None, :]
    at, of, fits = (member.to(tl.int64) * B + r)[:, None] * C + c[None, :], member * C + c, c < C
    inv, mu = tl.load(inverse + of, mask=fits, other=0.0), tl.load(centre + of, mask=fits, other=0.0)
    x = tl.load(z + at, mask=mask, other=0.0).to(tl.float32)
    normal = tl.where(mask, (x - mu[None, :]) * inv[None, :], 0.0)
    passes = tl.load(keep + at, mask=mask, other=0)
    d = tl.where(passes != 0, tl.load(dy + at, mask=mask, other=0.0).to(tl.float32) / (1 - tl.load(shares + member)), 0.0)
    s, sn = tl.sum(d, 0), tl.sum(d * normal, 0)
    tl.store(dbias + of, s, mask=fits)
    tl.store(dweight + of, sn, mask=fits)
    scale = tl.load(weight + of, mask=fits, other=0.0) * inv
    tl.store(dz + at, (scale[None, :] * (d - s[None, :] / B - normal * sn[None, :] / B)).to(dz.dtype.element_ty), mask=mask)


class NormReluDropout(torch.autograd.Function):
    """z (M, B, C), weight, bias, mean, variance (M, C), keys int64, shares (M,), site -> dropout(relu(batch norm)).

    Under vmap without M. A member's dropout is drawn from its key and the number `site`, which tells the places of a network
    apart. Gives four tensors, of which the first is the result.
    """

    @staticmethod
    def forward(z, weight, bias, mean, variance, keys, shares, site):
        M, B, C = z.shape
        out, keep = torch.empty_like(z), torch.empty(z.shape, dtype=torch.int8, device=z.device)
        inverse, centre = torch.empty(M, C, device=z.device), torch.empty(M, C, device=z.device)
        _norm_forward[(M, -(-C // COLUMNS))](
            z, weight, bias, mean, variance, keys, shares, out, keep, inverse, centre, site, B, C, next_power_of_2(B), COLUMNS
        )
        return out, keep, inverse, centre

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(inputs[0], inputs[1], inputs[6], *output[1:])
        context.mark_non_differentiable(*output[1:])
        context.set_materialize_grads(False)

    @staticmethod
    def backward(context, dy, *_):
        z, weight, shares, keep, inverse, centre = context.saved_tensors
        M, B, C = z.shape
        dz, dweight, dbias = torch.empty_like(z), torch.empty_like(weight), torch.empty_like(weight)
        _norm_backward[(M, -(-C // COLUMNS))](
            dy.contiguous(), z, weight, shares, keep, inverse, centre, dz, dweight, dbias, B, C, next_power_of_2(B), COLUMNS
        )
        return dz, dweight, dbias, None, None, None, None, None

    @staticmethod
    def vmap(info, in_dims, *tensors):
        return NormReluDropout.apply(*stacked(in_dims[:7], tensors[:7]), tensors[7]), (0, 0, 0, 0)


@triton.jit
def _dropout(x, keys, shares, out, site, N, BLOCK: tl.constexpr):
    member, at = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    share, mask = tl.load(shares + member), at < N
    keep = tl.rand(tl.load(keys + member) + site, at) >= share
    at = member.to(tl.int64) * N + at
    value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32) / (1 - share)
    tl.store(out + at, tl.where(keep, value, 0.0).to(out.dtype.element_ty), mask=mask)


class Dropout(torch.autograd.Function):
    """x (M, ...), keys int64, shares (M,), site -> dropout of x, drawn as by `NormReluDropout`; under vmap without M."""

    @staticmethod
    def forward(x, keys, shares, site):
        out, size = torch.empty_like(x), x[0].numel()
        _dropout[(len(x), -(-size // BLOCK))](x, keys, shares, out, site, size, BLOCK)
        return out

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(*inputs[1:3])
        context.site = inputs[3]

    @staticmethod
    def backward(context, dy):
        return Dropout.forward(dy.contiguous(), *context.saved_tensors, context.site), None, None, None

    @staticmethod
    def vmap(info, in_dims, *tensors):
        return Dropout.apply(*stacked(in_dims[:3], tensors[:3]), tensors[3]), 0


@triton.jit
def _square_sums(gradient, sums, first, P, blocks, BLOCK: tl.constexpr):
    """Leave the sum of squares of `BLOCK` gradients of a member, (M, blocks); added up by `_adamw`, always in one order."""
    member, block = tl.program_id(0), tl.program_id(1)
    at = block * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(gradient + member.to(tl.int64) * P + at, mask=at < P, other=0.0).to(tl.float32)
    tl.store(sums + member * blocks + first + block, tl.sum(values * values))


@triton.jit
def _adamw(
    w, low, gradient, m, v, sums, rates, steps, clips, decays, P, blocks,
    SUMS: tl.constexpr, HAS_LOW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Clip by the member's norm and update, as torch.optim.AdamW does with its default betas; `low` gets a rounded copy."""
    member, block = tl.program_id(0), tl.program_id(1)
    s = tl.arange(0, SUMS)
    norm = tl.sqrt(tl.sum(tl.load(sums + member * blocks + s, mask=s < blocks, other=0.0)))
    rate, step = tl.load(rates + member), tl.load(steps + member)
    at = block * BLOCK + tl.arange(0, BLOCK)
    mask = at < P
    at = member.to(tl.int64) * P + at
    scale = tl.minimum(tl.load(clips + member) / (norm + 1e-6), 1.0)
    g = tl.load(gradient + at, mask=mask, other=0.0).to(tl.float32) * scale
    first, second = tl.load(m + at, mask=mask, other=0.0), tl.load(v + at, mask=mask, other=0.0)
    first, second = first + 0.1 * (g - first), 0.999 * second + 0.001 * g * g
    unbias_first, unbias_second = 1 - tl.exp(step * tl.log(0.9)), 1 - tl.exp(step * tl.log(0.999))
    value = tl.load(w + at, mask=mask, other=0.0) * (1 - rate * tl.load(decays + member))
    value = value - rate / unbias_first * first / (tl.sqrt(second) / tl.sqrt(unbias_second) + 1e-8)
    tl.store(m + at, first, mask=mask)
    tl.store(v + at, second, mask=mask)
    tl.store(w + at, value, mask=mask)
    if HAS_LOW:
        tl.store(low + at, value.to(low.dtype.element_ty), mask=mask)


def clip_and_update(parts, rates, steps, clips, decays):
    """Clip each member's gradient to its norm, and update by AdamW, all in four launches.

    Args:
        parts: lists of five: weights float32, their copy in the products' type (the weights where that is float32), gradients
            in it, and both moments float32, each (M, P). All parts together are a member's parameters.
        rates, steps, clips, decays: learning rate, number of the step from 1, largest norm and weight decay, float32 (M,).
    """
    own = [-(-part[0].shape[1] // BLOCK) for part in parts]
    blocks, first = sum(own), 0
    sums = torch.empty(len(rates), blocks, device=rates.device)
    for (_w, _low, gradient, *_), number in zip(parts, own, strict=True):
        _square_sums[(len(rates), number)](gradient, sums, first, gradient.shape[1], blocks, BLOCK)
        first += number
    for (w, low, *rest), number in zip(parts, own, strict=True):
        _adamw[(len(rates), number)](
            w, low, *rest, sums, rates, steps, clips, decays, w.shape[1], blocks, next_power_of_2(blocks), w is not low, BLOCK
        )


@triton.jit
def _focal_loss(logits, y, losses, derivative, alphas, gammas, B, BLOCK: tl.constexpr):
    """Leave each member's mean focal loss and its derivative by the logits, in closed form."""
    member, b = tl.program_id(0), tl.arange(0, BLOCK)
    mask, alpha, gamma = b < B, tl.load(alphas + member), tl.load(gammas + member)
    sign = 2 * tl.load(y + member * B + b, mask=mask, other=0.0) - 1
    true_logit = sign * tl.load(logits + member * B + b, mask=mask, other=0.0).to(tl.float32)
    entropy = tl.maximum(-true_logit, 0.0) + tl.log(1 + tl.exp(-tl.abs(true_logit)))
    p = tl.exp(-entropy)
    weight = tl.where(sign > 0, alpha, 1 - alpha) * tl.exp(gamma * tl.log(tl.maximum(1 - p, 1e-30)))
    tl.store(derivative + member * B + b, sign * weight * (p - 1 - gamma * p * entropy) / B, mask=mask)
    tl.store(losses + member, tl.sum(tl.where(mask, weight * entropy, 0.0)) / B)


def focal_loss(logits, y, alphas, gammas):
    """Return each member's focal loss (M,), as `learn.loss.focal_loss`, and its derivative by the logits, float32 (M, B).

    Args:
        logits, y: (M, B). alphas, gammas: float32 (M,).
    """
    losses, derivative = torch.empty(len(y), device=y.device), torch.empty(y.shape, device=y.device)
    _focal_loss[(len(y),)](logits.contiguous(), y, losses, derivative, alphas, gammas, y.shape[1], next_power_of_2(y.shape[1]))
    return losses, derivative
