"""A step of benchmarks/members.py against the same networks trained alone, in float32 by Triton's interpreter."""

import os
import subprocess
import sys

import pytest

from scaffold import PROJECT

pytest.importorskip("triton", reason="Triton is not installed (pip install triton)")

STEPS = """
import copy, sys
import torch
from torch import nn
sys.path[:0] = ["benchmarks", "src"]
import members
from learn.loss import focal_loss
from train_cnn_lstm import CNNLSTM
from train_gru import GRUAttention
from train_lstm import LSTMAttention
from train_mlp import MLP

torch.set_num_threads(1)
B, T, F = 16, 4, 5
base = {"dropout": 0.0, "asset_embedding": 3, "n_features": F, "n_assets": 4, "lookback": T}
recurrent = {"hidden_size": 16, "attention_size": 8}
make = {
    "mlp": lambda: MLP(hidden_sizes=[8, 8], **base),
    "lstm": lambda: LSTMAttention(layers=2, **recurrent, **base),
    "gru": lambda: GRUAttention(layers=2, **recurrent, **base),
    "cnn_lstm": lambda: CNNLSTM(channels=[4, 6], kernel_size=3, **recurrent, **base),
}[sys.argv[1]]
torch.manual_seed(1)
alone = [make() for _ in range(2)]
rates, clip = [1e-2, 3e-3], 0.05
group = members.Members(copy.deepcopy(alone), rates, device="cpu", clip=clip, precision=torch.float32)
optimizers = [torch.optim.AdamW(n.parameters(), rate, weight_decay=0.01) for n, rate in zip(alone, rates)]
before = copy.deepcopy(alone)
for _ in range(3):
    x, ids, y = torch.randn(2, B, T, F), torch.randint(4, (2, B)), (torch.rand(2, B) < 0.3).float()
    with members.fused():
        losses = group.step(x, ids, y)
    for m, (network, optimizer) in enumerate(zip(alone, optimizers)):
        loss = focal_loss(network(x[m], ids[m]), y[m], alpha=0.25, gamma=2.0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        assert abs(loss.item() - losses[m].item()) < 1e-6
for m, network in enumerate(alone):
    for name, values in network.named_parameters():
        moved = (values - before[m].get_parameter(name)).abs().max()
        assert moved > 1e-4, name
        assert (group.parameters()[name][m] - values).abs().max() < 1e-5, name
    for name, values in network.named_buffers():
        if "num_batches" not in name:
            assert (group.buffers[name][m] - values).abs().max() < 1e-6, name
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "lstm", "gru", "cnn_lstm"])
def test_members_train_as_they_would_alone(name):
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", STEPS, name], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
