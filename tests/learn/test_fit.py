"""The training loop on small data: what it watches, when it stops, and that a resume is no difference."""

import functools
import os
import platform
import re
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import nn

from core.errors import CampaignError
from core.metrics import Ranking, f1_precision_recall, sigmoid
from learn import checkpoint, cuda_graph
from learn import fit as loop
from learn.architecture import find_architecture
from learn.dataset import Split
from learn.device import ends_well, multiplies_bfloat16, trains_in_bfloat16
from learn.fit import predict
from recorder import recorder
from scaffold import PROJECT, read_params
from train_cnn_lstm import CNNLSTM
from train_gru import GRUAttention
from train_lstm import LSTMAttention
from train_mlp import MLP

T, F = 4, 3
SETTINGS = {
    "seed": 5,
    "epochs": 6,
    "batch_size": 16,
    "learning_rate": 0.003,
    "weight_decay": 0.01,
    "focal_alpha": 0.25,
    "focal_gamma": 2.0,
    "gradient_clip": 1.0,
    "patience": 15,
    "lr_factor": 0.5,
    "lr_patience": 1,
    "precision": "float32",
}


def split(seed: int, size: int = 210, signal: float = 2.0) -> Split:
    """Positives where the last row's first feature is high, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(size, F)).astype(np.float32)
    y = (signal * X[:, 0] + rng.normal(size=size) > 1.5).astype(np.int8)
    y[: T - 1] = -1
    return Split.of(X, y, rng.integers(0, 2, size), lookback=T)


def halved(val: Split) -> np.ndarray:
    """The first samples, some that are purged, and the others."""
    size = len(val)
    return np.repeat(np.array([0, -1, 1], np.int8), [size // 2 - 9, 9, size - size // 2])


def fit(model: nn.Module, train: Split, val: Split, **settings: Any) -> Iterator[loop.Epoch]:
    """The loop with the halves of `halved`."""
    return loop.fit(model, train, val, **{"halves": halved(val)} | settings)


def mlp(dropout: float = 0.2) -> MLP:
    torch.manual_seed(0)
    return MLP(hidden_sizes=[16], dropout=dropout, asset_embedding=2, n_features=F, n_assets=2, lookback=T)


SIZES = {
    "hidden_size": 8,
    "attention_size": 4,
    "dropout": 0.2,
    "asset_embedding": 2,
    "n_features": F,
    "n_assets": 2,
    "lookback": T,
}


def lstm() -> LSTMAttention:
    torch.manual_seed(0)
    return LSTMAttention(layers=2, **SIZES)


def gru() -> GRUAttention:
    torch.manual_seed(0)
    return GRUAttention(layers=2, **SIZES)


def cnn_lstm() -> CNNLSTM:
    torch.manual_seed(0)
    return CNNLSTM(channels=[4, 4], kernel_size=3, **SIZES)


def same(one: Any, other: Any) -> bool:
    """Bit for bit. Not by the pickled bytes: those also tell which strings were one object."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@functools.cache
def trains(build: Callable[[], nn.Module], precision: str) -> bool:
    return precision == "float32" or trains_in_bfloat16(build, F, T)


def skip_unless_trained(build: Callable[[], nn.Module], precision: str) -> None:
    if not trains(build, precision):
        pytest.skip(f"this processor cannot train the {build.__name__} in {precision}")


@pytest.mark.parametrize("build", [mlp, lstm])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_training_ends_in_the_same_bytes(build, precision):
    skip_unless_trained(build, precision)
    settings, train, val = SETTINGS | {"precision": precision}, split(1), split(2)
    *_, never = fit(build(), train, val, **settings)
    for stopped_after in (1, 3, 5):
        *_, before = islice(fit(build(), train, val, **settings), stopped_after)
        torch.manual_seed(99)  # whatever the process did before
        read_back = checkpoint.from_bytes(checkpoint.to_bytes(before.state))
        *_, after = fit(build(), train, val, **settings, state=read_back)
        assert same(after.state, never.state)
        assert [row["epoch"] for row in after.state["history"]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("build", [mlp, lstm])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_reads_nothing_back_and_can_be_repeated_without_python(monkeypatch, build, precision):
    """What a CUDA graph asks for. The learning rate falls on the way and a resume starts in the middle: recorded anew."""
    skip_unless_trained(build, precision)
    settings = SETTINGS | {"precision": precision, "lr_patience": 0, "epochs": 9}
    parts = split(1, signal=0.0), split(2, signal=0.0)
    *_, plain = fit(build(), *parts, **settings)
    assert len({row["learning_rate"] for row in plain.state["history"]}) > 1
    monkeypatch.setitem(cuda_graph.RECORDERS, "cpu", recorder)
    *_, repeated = fit(build(), *parts, **settings)
    assert same(repeated.state, plain.state)
    *_, half = islice(fit(build(), *parts, **settings), 3)
    *_, resumed = fit(build(), *parts, **settings, state=checkpoint.from_bytes(checkpoint.to_bytes(half.state)))
    assert same(resumed.state, plain.state)


def test_a_recording_is_gone_before_the_next_is_made_and_there_is_a_way_without(monkeypatch):
    alive, alive_before = weakref.WeakSet(), []

    def record(step: cuda_graph.Step) -> cuda_graph.Step:
        alive_before.append(len(alive))

        def repeat() -> tuple:
            return step()

        alive.add(repeat)
        return repeat

    settings = SETTINGS | {"lr_patience": 0, "epochs": 9}
    parts = split(1, signal=0.0), split(2, signal=0.0)
    monkeypatch.setitem(cuda_graph.RECORDERS, "cpu", record)
    *_, recorded = fit(mlp(), *parts, **settings)
    assert len(alive_before) > 1
    assert not any(alive_before)
    alive_before.clear()
    monkeypatch.setenv("CAMPAIGN_CUDA_GRAPH", "No")
    *_, anew = fit(mlp(), *parts, **settings)
    assert not alive_before
    assert same(anew.state, recorded.state)


def test_it_learns_and_the_record_is_the_models():
    train, val, model = split(1, 800), split(2, 400), mlp()
    for epoch in fit(model, train, val, **SETTINGS):
        scores = sigmoid(predict(model, val))
        y = val.y.numpy()
        threshold = epoch.record["threshold"]
        assert threshold == Ranking.of(y, scores).best_threshold()
        assert epoch.record["val_f1"] == f1_precision_recall(y, scores, threshold)[0] == Ranking.of(y, scores).f1().max()
        assert epoch.record["val_pr_auc"] == Ranking.of(y, scores).pr_auc()
    assert epoch.state["best"]["f1"] > 0.65  # always-positive: 0.40
    assert epoch.state["best"]["f1"] == max(row["val_f1"] for row in epoch.state["history"])


def focal(logits: torch.Tensor, y: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
    p = torch.where(y > 0, logits.sigmoid(), (-logits).sigmoid())
    return (-torch.where(y > 0, alpha, 1 - alpha) * (1 - p) ** gamma * p.log()).mean()


def test_an_epoch_is_so_many_steps_of_adamw_on_clipped_gradients_of_the_focal_loss():
    """F1 at a tuned threshold hides what of these is missing; here each would move the weights by 1e-3 and more."""
    unusual = {"epochs": 1, "gradient_clip": 0.01, "weight_decay": 0.5, "focal_alpha": 0.9, "focal_gamma": 1.0}
    model, slow, train = mlp(), mlp(), split(1)
    (epoch,) = fit(model, train, split(2), **SETTINGS | unusual)
    optimizer = torch.optim.AdamW(slow.parameters(), SETTINGS["learning_rate"], weight_decay=0.5)
    seed = int(np.random.SeedSequence([SETTINGS["seed"], 1]).generate_state(1, np.uint64)[0] >> 1)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)
    losses = []
    for samples in order[: len(train) // 16 * 16].split(16):
        x, assets, y = train.gather(samples)
        loss = focal(slow(x, assets), y, 0.9, 1.0)
        optimizer.zero_grad()
        loss.backward()
        norm = sum((p.grad**2).sum() for p in slow.parameters()) ** 0.5
        for p in slow.parameters():
            p.grad *= min(1, 0.01 / norm)
        optimizer.step()
        losses.append(loss.item())
    for name, tensor in slow.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=1e-6)
    assert epoch.record["train_loss"] == pytest.approx(np.mean(losses), abs=1e-6)


def test_the_history_is_what_scikit_learn_finds_in_the_epochs_logits():
    """The whole of train in one batch and a rate of nothing: what is trained on can be had before."""
    train, val, model = split(1, signal=1.0), split(2, signal=1.0), mlp(dropout=0.0)
    x, assets, y = train.gather(torch.arange(len(train)))
    logits = model.train()(x, assets).detach()
    still = {"epochs": 1, "batch_size": len(train), "learning_rate": 1e-12, "focal_alpha": 0.9, "focal_gamma": 1.0}
    (epoch,) = fit(model, train, val, **SETTINGS | still)
    record, judged = epoch.record, torch.as_tensor(predict(model, val))
    called, threshold = judged.sigmoid() >= record["threshold"], record["threshold"]
    assert 0 < called.sum() < len(val)
    assert record["train_loss"] == pytest.approx(focal(logits, y, 0.9, 1.0).item(), rel=1e-5)
    assert record["val_loss"] == pytest.approx(focal(judged, val.y, 0.9, 1.0).item(), rel=1e-5)
    assert record["train_f1"] == pytest.approx(reference.f1_score(y, logits.sigmoid() >= threshold))
    assert record["val_precision"] == pytest.approx(reference.precision_score(val.y, called))
    assert record["val_recall"] == pytest.approx(reference.recall_score(val.y, called))
    assert record["val_f1_at_0.5"] == pytest.approx(reference.f1_score(val.y, judged >= 0, zero_division=0))


def test_of_epochs_with_equal_f1_the_first_is_the_best(monkeypatch):
    monkeypatch.setattr("learn.fit.predict", lambda model, split: np.linspace(-1, 1, len(split)))
    model, val = mlp(), split(2)
    epochs = fit(model, split(1), val, **SETTINGS | {"epochs": 50, "patience": 4})
    next(epochs)
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    *_, last = epochs
    assert (last.record["epoch"], last.state["best"]["epoch"]) == (5, 1)
    assert [half["epoch"] for half in last.state["half_best"]] == [1, 1]
    assert same(dict(last.state["best"]["weights"]), first)


def best_f1(y: np.ndarray, logits: np.ndarray) -> float:
    return max(reference.f1_score(y, logits >= threshold) for threshold in logits)


def test_each_half_of_validation_keeps_the_logits_of_all_samples_at_its_own_best_epoch():
    """Stopped and resumed in the middle, as a killed training is."""
    parts, settings = (split(1, signal=0.5), split(2, signal=0.5)), SETTINGS | {"learning_rate": 0.01, "epochs": 8}
    val, half, state, scores, logits, chosen = parts[1], halved(parts[1]), None, [], [], []
    for last_epoch in (4, 8):
        model = mlp()
        for epoch in islice(fit(model, *parts, **settings, state=state), last_epoch - len(scores)):
            logits.append(predict(model, val))
            scores.append([best_f1(val.y.numpy()[half == number], logits[-1][half == number]) for number in (0, 1)])
            assert [epoch.record["val_f1_first_half"], epoch.record["val_f1_second_half"]] == pytest.approx(scores[-1])
            best = np.argmax(scores, axis=0)
            chosen.append((best + 1).tolist())
            for number, kept in enumerate(epoch.state["half_best"]):
                assert (kept["epoch"], kept["f1"]) == (best[number] + 1, pytest.approx(scores[best[number]][number]))
                assert kept["logits"].dtype == torch.float32
                assert np.array_equal(kept["logits"].numpy(), logits[best[number]])
        state = checkpoint.from_bytes(checkpoint.to_bytes(epoch.state))
    assert len(scores) == 8
    assert chosen[3] != chosen[7] and chosen[7][0] != chosen[7][1], "else nothing was shown"


def test_training_does_not_depend_on_the_halves():
    parts = split(1), split(2)
    *_, one = fit(mlp(), *parts, **SETTINGS)
    *_, other = fit(mlp(), *parts, **SETTINGS, halves=np.zeros(len(parts[1]), np.int8))
    assert same(dict(one.state["model"]), dict(other.state["model"]))
    assert same(one.state["best"], other.state["best"])
    assert [row["val_f1_second_half"] for row in other.state["history"]] == [0.0] * 6
    assert other.state["half_best"][1]["epoch"] == 1


def test_the_best_weights_are_those_of_the_best_epoch():
    train, val, model = split(1), split(2), mlp()
    *_, last = fit(model, train, val, **SETTINGS)
    best = last.state["best"]
    model.load_state_dict(best["weights"])
    scores = sigmoid(predict(model, val))
    assert f1_precision_recall(val.y.numpy(), scores, best["threshold"])[0] == best["f1"]


def test_it_stops_after_patience_and_lowers_the_rate_before():
    noise = split(3, signal=0.0)
    records = [epoch.record for epoch in fit(mlp(), split(1, signal=0), noise, **SETTINGS | {"epochs": 200, "patience": 5})]
    scores = [row["val_f1"] for row in records]
    best = scores.index(max(scores))
    assert len(records) == best + 1 + 5
    rates = [row["learning_rate"] for row in records]
    assert rates[0] == SETTINGS["learning_rate"]
    for before, after in pairwise(rates):
        assert after in (before, before * 0.5)
    assert min(rates) < rates[0]


def test_scoring_is_float32_whatever_training_was():
    skip_unless_trained(mlp, "bfloat16")
    val, model = split(2), mlp()
    next(fit(model, split(1), val, **SETTINGS | {"precision": "bfloat16"}))
    x, assets, _ = val.gather(torch.arange(len(val)))
    model.eval()
    np.testing.assert_allclose(predict(model, val), model(x, assets).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_every_epoch_has_its_own_order_from_seed_and_epoch_alone(monkeypatch):
    seen: list[torch.Tensor] = []
    gather = Split.gather

    def spy(self: Split, order: torch.Tensor) -> tuple:
        seen.append(order.clone())
        return gather(self, order)

    train, val = split(1), split(2)
    monkeypatch.setattr(Split, "gather", spy)
    monkeypatch.setattr("learn.fit.predict", lambda model, split: np.linspace(-1, 1, len(split)))
    for seed in (5, 5, 6):
        list(fit(mlp(), train, val, **SETTINGS | {"epochs": 2, "seed": seed}))
    steps = len(train) // 16
    runs = torch.stack(seen).view(3, 2, steps * 16)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0, 0], runs[0, 1])
    assert not torch.equal(runs[0], runs[2])
    assert all(len(set(epoch.tolist())) == steps * 16 for run in runs for epoch in run)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_with_seed_epoch_and_step(poison):
    train = split(1)
    epochs = fit(mlp(), train, split(2), **SETTINGS)
    next(epochs)
    train.X[100] = poison
    with pytest.raises(CampaignError, match=r"the loss is nan at seed 5, epoch 2, step \d+; likely .*train.learning_rate"):
        next(epochs)


def test_weights_that_the_last_step_ruined_stop_it_too():
    """Every loss of the epoch is finite, and its checkpoint would be good for nothing."""
    train, model, calls = split(1), mlp(), []
    steps = len(train) // SETTINGS["batch_size"]

    def ruin(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return gradient * (np.inf if len(calls) == 2 * steps else 1)

    model.head.weight.register_hook(ruin)
    epochs = fit(model, train, split(2), **SETTINGS)
    next(epochs)
    with pytest.raises(CampaignError, match=rf"the weights are not finite after seed 5, epoch 2, step {steps}; likely"):
        next(epochs)


def test_a_batch_larger_than_the_split_is_the_split():
    *_, last = fit(mlp(), split(1), split(2), **SETTINGS | {"batch_size": 100_000})
    assert last.record["epoch"] == 6


TWICE = """
import hashlib
from itertools import islice
import torch
from learn import checkpoint
from learn.dataset import Split
from learn.device import prepare_process
prepare_process()
from test_fit import SETTINGS, cnn_lstm, fit, gru, lstm, mlp, split, trains

parts = []
for part in (split(1, signal=0.0), split(2, signal=0.0)):
    fields = (part.X, part.y, part.asset_ids, part.ends)
    parts.append(Split(*(tensor.to({device!r}) for tensor in fields), lookback=part.lookback))
for build in (mlp, lstm, gru, cnn_lstm):
    for precision in ("float32", "bfloat16"):
        if {device!r} == "cpu" and not trains(build, precision):
            continue
        settings = SETTINGS | {{"precision": precision, "lr_patience": 0, "epochs": 9}}
        state = None
        if {stopped_after}:
            *_, half = islice(fit(build(), *parts, **settings), {stopped_after})
            state = checkpoint.from_bytes(checkpoint.to_bytes(half.state))
        *_, last = fit(build(), *parts, **settings, state=state)
        assert len({{row["learning_rate"] for row in last.state["history"]}}) > 1
        digest = hashlib.sha256()
        for tensor in last.state["model"].values():
            digest.update(tensor.cpu().numpy().tobytes())
        print(build.__name__, precision, digest.hexdigest(), last.state["history"][-1])
"""


def train_in_a_process(device: str, *, stopped_after: int = 0, **environment: str) -> str:
    """Digests of all four networks in each precision that the device trains; the learning rate falls on the way."""
    path = os.pathsep.join(map(str, (PROJECT / "src", PROJECT / "tests", Path(__file__).parent)))
    command = [sys.executable, "-c", TWICE.format(device=device, stopped_after=stopped_after)]
    environment = os.environ | {"PYTHONPATH": path} | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained_twice() -> list[dict[tuple[str, str], str]]:
    """What two processes trained, by network and precision; the second was stopped and went on."""
    outputs = train_in_a_process("cpu"), train_in_a_process("cpu", stopped_after=3)
    return [{tuple(line.split()[:2]): line for line in output.splitlines()} for output in outputs]


@pytest.mark.parametrize("build", [mlp, lstm, gru, cnn_lstm])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.slow
def test_two_processes_train_the_same_bytes(trained_twice, build, precision):
    skip_unless_trained(build, precision)
    one, other = (trained[build.__name__, precision] for trained in trained_twice)
    assert one == other
    digests = {line.split()[2] for line in trained_twice[0].values()}
    assert len(digests) == len(trained_twice[0])


def test_a_trial_that_ends_its_process_or_fails_is_told_from_one_that_ends_well(capfd):
    assert ends_well(lambda: None)
    assert not ends_well(lambda: os.kill(os.getpid(), signal.SIGILL))
    assert not ends_well(lambda: torch.ones(2) @ torch.ones(3))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("capabilities", "limit", "native"),
    [
        ({"avx512_bf16": True}, None, True),
        ({"amx_tile": True}, "AVX512_CORE_AMX", True),
        ({"avx512_bf16": True}, "avx2", False),
        ({"avx2": True}, None, False),
    ],
)
def test_bfloat16_is_native_where_the_processor_has_it_and_onednn_may_use_it(monkeypatch, capabilities, limit, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert multiplies_bfloat16() == native


def test_a_network_that_fails_in_any_precision_is_left_to_its_training():
    assert trains_in_bfloat16(mlp, F + 1, T)


@pytest.mark.skipif("ATEN_CPU_CAPABILITY" not in os.environ, reason="the processor's own instruction set; make test lowers it")
def test_a_lowered_instruction_set_is_the_one_in_use():
    assert torch.backends.cpu.get_cpu_capability() == os.environ["ATEN_CPU_CAPABILITY"].upper()
    code = "import torch; torch.nn.LSTM(4, 4)(torch.ones(2, 2, 4))"
    told = subprocess.check_output([sys.executable, "-c", code], env=os.environ | {"ONEDNN_VERBOSE": "1"}, text=True)
    assert re.search(r"cpu,isa:Intel (.*)", told)[1] == os.environ["ONEDNN_MAX_CPU_ISA"]


def test_a_containers_tf32_is_switched_off():
    code = "import torch; from learn import device; device.prepare_process(); print(torch.backends.cuda.matmul.fp32_precision)"
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src"), "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "ieee\n"


PAGES = """
import resource, sys
sys.path[:0] = {path!r}
import torch
from learn import device
if not {kept}:
    device.keep_freed_memory = lambda: None
device.prepare_process()
taken = []
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(3 * 2**23)
    taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(taken[20:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep what is freed")
@pytest.mark.slow
def test_a_step_finds_the_memory_that_the_one_before_freed():
    """Pages of memory that a process takes for an array of 96 MB, again and again: without it all of them each time."""
    kept, returned = (
        int(subprocess.check_output([sys.executable, "-c", PAGES.format(path=[str(PROJECT / "src")], kept=kept)]))
        for kept in (True, False)
    )
    assert 4 * kept < returned


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here, and a CPU can show nothing of it")


@pytest.mark.gpu
@on_a_gpu
def test_two_processes_train_the_same_bytes_on_a_gpu():
    assert train_in_a_process("cuda") == train_in_a_process("cuda")


@pytest.mark.gpu
@on_a_gpu
def test_a_cuda_graph_trains_the_bytes_that_single_launches_train():
    assert train_in_a_process("cuda") == train_in_a_process("cuda", CAMPAIGN_CUDA_GRAPH="off")


@pytest.mark.gpu
@on_a_gpu
def test_a_resume_on_a_gpu_is_no_difference():
    assert train_in_a_process("cuda") == train_in_a_process("cuda", stopped_after=3)


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("build", [lstm, gru, cnn_lstm])
def test_recurrent_layers_are_float32_on_a_gpu_and_scored_as_on_a_cpu(build):
    part = split(1)
    fields = (part.X, part.y, part.asset_ids, part.ends)
    there, model = Split(*(tensor.cuda() for tensor in fields), lookback=T), build()
    here = predict(model, part)
    model.cuda()
    np.testing.assert_allclose(predict(model, there), here, atol=1e-6)  # TF32 would be off by 1e-5 and more
    rows = torch.zeros(8, T, model.recurrent.layers[0].input_size, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        assert model.recurrent(rows).dtype == torch.float32


@pytest.mark.parametrize("name", ["mlp", "lstm", "gru", "cnn_lstm"])
def test_a_sample_s_bits_do_not_depend_on_the_samples_scored_with_it(name):
    """Else what is scored bar by bar would not be what was judged in one go."""
    rng = np.random.default_rng(0)
    rows, lookback, features = 700, 6, 5
    X = rng.standard_normal((rows, features)).astype(np.float32)
    torch.manual_seed(0)
    architecture = find_architecture(name)
    arguments = read_params()[name] | {"n_features": features, "n_assets": 2, "lookback": lookback}
    model = architecture.network(**arguments)
    ids = rng.integers(0, 2, rows)
    ends = np.arange(lookback - 1, rows)
    labels = np.full(rows, -1, np.int8)
    labels[ends] = 0
    together = predict(model, Split.of(X, labels, ids, lookback=lookback))
    for chosen in ([0], [3, 500], rng.choice(len(ends), 13, replace=False), np.arange(511, 530)):
        own = np.full(rows, -1, np.int8)
        own[ends[np.sort(chosen)]] = 0
        alone = predict(model, Split.of(X, own, ids, lookback=lookback))
        np.testing.assert_array_equal(alone, together[np.sort(chosen)])
