"""Trainings that share each step against the same trainings alone.

`make test` runs this file twice where Triton is installed: as it is, and in part with the layers' kernels run by Triton's
interpreter (TRITON_INTERPRET=1). The kernels draw their own dropout, so there is none in comparisons then.
"""

import functools
import itertools
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from core.errors import CampaignError
from learn import checkpoint, cuda_graph, fit, stacked
from learn.dataset import Split
from learn.device import trains_in_bfloat16
from learn.layers import Dropout
from learn.member import Epoch, Member
from learn.single import Single
from learn.stacked import Stacked
from learn.training import Loop
from recorder import recorder
from scaffold import PROJECT
from train_cnn_lstm import CNNLSTM
from train_gru import GRUAttention
from train_lstm import LSTMAttention
from train_mlp import MLP

F, T, B = 5, 4, 16
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
SHARES = [0.0, 0.0, 0.0] if INTERPRETED else [0.2, 0.0, 0.4]
LOOP = {
    "epochs": 5,
    "batch_size": B,
    "learning_rate": 0.003,
    "weight_decay": 0.01,
    "focal_alpha": 0.25,
    "focal_gamma": 2.0,
    "gradient_clip": 1.0,
    "patience": 9,
    "lr_factor": 0.5,
    "lr_patience": 9,
    "precision": "float32",
}
OWN = [
    {"lr_patience": 0, "lr_factor": 0.1},  # the learning rate falls on the way
    {"learning_rate": 0.001, "epochs": 2, "focal_gamma": 0.0},  # ends first
    {"weight_decay": 0.5, "gradient_clip": 0.02, "focal_alpha": 0.6, "patience": 3},
]
BASE = {"asset_embedding": 3, "n_features": F, "n_assets": 3, "lookback": T}
RECURRENT = {"hidden_size": 16, "attention_size": 8}
NETWORKS: dict[str, Callable[[float], nn.Module]] = {
    "mlp": lambda share: MLP(hidden_sizes=[16, 8], dropout=share, **BASE),
    "lstm": lambda share: LSTMAttention(layers=2, dropout=share, **RECURRENT, **BASE),
    "gru": lambda share: GRUAttention(layers=2, dropout=share, **RECURRENT, **BASE),
    "cnn_lstm": lambda share: CNNLSTM(channels=[4, 6], kernel_size=3, dropout=share, **RECURRENT, **BASE),
}


def split(seed: int, samples: int = 50, assets: int = 3) -> Split:
    rng = np.random.default_rng(seed)
    rows = samples + T - 1
    X = rng.normal(size=(rows, F)).astype(np.float32)
    y = (2 * X[:, 0] + rng.normal(size=rows) > 1.5).astype(np.int8)
    y[: T - 1] = -1
    return Split.of(X, y, rng.integers(0, assets, rows), lookback=T)


one_way = pytest.mark.skipif(INTERPRETED, reason="the same with the interpreter, which is slow")
FOLDS = [(split(1), split(2, 60)), (split(3), split(4, 70))]  # of the same length to train on


def member(number: int, name: str, state: dict[str, Any] | None = None, **settings: Any) -> Member:
    """One of three that differ in all that members may differ in; the first and the last have the same data."""
    torch.manual_seed(number)
    train, val = FOLDS[number % 2]
    half = np.repeat(np.array([0, 1], np.int8), [len(val) // 2, len(val) - len(val) // 2])
    loop = Loop(**LOOP | OWN[number] | settings)
    return Member(NETWORKS[name](SHARES[number]), train, val, halves=half, seed=number + 1, loop=loop, state=state)


def three(name: str, states: Sequence[dict[str, Any] | None] = (None, None, None), **settings: Any) -> list[Member]:
    return [member(number, name, state, **settings) for number, state in enumerate(states)]


def run(members: Sequence[Member]) -> list[list[Epoch]]:
    """All epochs of each member."""
    brought = list(fit.fit_side_by_side(members))
    return [[epoch for row in brought if isinstance(epoch := row[number], Epoch)] for number in range(len(members))]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors and numbers of nested dictionaries and lists, by where they are."""
    if isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{path}/{key}")
    else:
        yield path, value


def furthest(one: Any, other: Any, *, moments: bool = True) -> float:
    """The largest difference of two states; an infinite one where they are not of one shape."""
    found, expected = dict(leaves(one)), dict(leaves(other))
    if found.keys() != expected.keys():
        return float("inf")
    off = [0.0]
    for path, value in found.items():
        if isinstance(value, torch.Tensor | float | int) and not isinstance(value, bool) and (moments or "optimizer" not in path):
            ours, theirs = (torch.as_tensor(v, dtype=torch.float64) for v in (value, expected[path]))
            off.append((ours - theirs).abs().max().item() if ours.numel() else 0.0)
    return max(off)


def same(one: Any, other: Any) -> bool:
    found, expected = dict(leaves(one)), dict(leaves(other))
    return list(found) == list(expected) and all(
        torch.equal(value, expected[path]) if isinstance(value, torch.Tensor) else value == expected[path]
        for path, value in found.items()
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_members_train_as_they_would_alone(name):
    """Over a falling learning rate and stops at different epochs: what is left is narrowed twice, in the end to one."""
    assert isinstance(fit.choose_trainers(three(name))[0], Stacked)
    together = run(three(name))
    assert [len(own) for own in together][:2] == [5, 2]
    assert len({epoch.record["learning_rate"] for epoch in together[0]}) > 1
    for number, epochs in enumerate(together):
        (alone,) = run([member(number, name)])
        assert len(epochs) == len(alone)
        for ours, theirs in zip(epochs, alone, strict=True):
            assert furthest(ours.state["model"], theirs.state["model"]) < 1e-5
            assert furthest(ours.state["optimizer"], theirs.state["optimizer"]) < 1e-5
            assert abs(ours.record["train_loss"] - theirs.record["train_loss"]) < 1e-5
            assert abs(ours.record["val_f1"] - theirs.record["val_f1"]) < 1e-5
        assert furthest(epochs[-1].state["half_best"], alone[-1].state["half_best"]) < 1e-5


@pytest.mark.parametrize("name", ["mlp"] if INTERPRETED else NETWORKS)
def test_a_group_of_one_is_the_loop_as_it_is(monkeypatch, name):
    (alone,) = run([member(0, name)])
    monkeypatch.setattr(fit, "choose_trainers", lambda members: [Stacked(members)])
    (grouped,) = run([member(0, name)])
    assert furthest(grouped[-1].state["model"], alone[-1].state["model"]) < 1e-5
    assert furthest(grouped[-1].state["optimizer"], alone[-1].state["optimizer"]) < 1e-5


@one_way
@pytest.mark.parametrize("name", ["mlp", "gru"])
@pytest.mark.parametrize("stopped_after", [1, 2, 3])
def test_a_group_that_is_resumed_ends_in_the_same_bytes(name, stopped_after):
    never = run(three(name))
    last: list[Epoch] = [None] * 3
    for row in islice(fit.fit_side_by_side(three(name)), stopped_after):
        last = [epoch or before for epoch, before in zip(row, last, strict=True)]
    torch.manual_seed(99)  # whatever the process did before
    states = checkpoint.from_bytes(checkpoint.to_bytes([epoch.state for epoch in last]))
    left = [number for number in range(3) if not member(number, name, states[number]).has_ended]
    resumed = run([member(number, name, states[number]) for number in left])
    for number, epochs in zip(left, resumed, strict=True):
        assert same(epochs[-1].state, never[number][-1].state)


@one_way
def test_a_state_holds_a_member_s_own_memory_alone():
    """A part of all members' matrices would take the others' along into the file."""
    (epochs, *_), one = run(three("lstm")), run([member(0, "lstm")])[0]
    assert len(checkpoint.to_bytes(epochs[0].state)) < 1.05 * len(checkpoint.to_bytes(one[0].state))
    assert not torch.equal(epochs[0].state["model"]["head.weight"], epochs[1].state["model"]["head.weight"])


@one_way
def test_the_place_of_a_member_decides_nothing():
    plain = run(three("mlp"))
    for order in itertools.permutations(range(3)):
        for number, epochs in zip(order, run([member(number, "mlp") for number in order]), strict=True):
            assert furthest(epochs[-1].state, plain[number][-1].state) < 1e-5


def roll(trainer: Stacked, name: str) -> None:
    """Give every member what is its neighbour's."""
    if name == "orders":
        own = trainer.draw_orders
        trainer.draw_orders = lambda: own().roll(1, dims=1)
    elif name == "weights":
        trainer._parts[0].weights.copy_(trainer._parts[0].weights.roll(1, dims=0))
    elif name == "moments":
        trainer._parts[0].moments[0].copy_(trainer._parts[0].moments[0].roll(1, dims=0))
    elif name == "learning rates":
        begin = trainer.begin_epoch

        def begin_epoch() -> Any:
            step = begin()
            trainer._rates.copy_(trainer._rates.roll(1))
            return step

        trainer.begin_epoch = begin_epoch
    elif name == "dropout":
        trainer._generators[:] = trainer._generators[1:] + trainer._generators[:1]
    elif name == "shares of dropout":
        for shares in trainer._shares.values():
            shares[:] = shares[1:] + shares[:1]
    elif name == "batch norm's means":
        for buffer in trainer._own_buffers.values():
            if buffer.dim() > 1:
                buffer.copy_(buffer.roll(1, dims=0) + torch.arange(3.0).unsqueeze(1))
    else:
        held = getattr(trainer, name)
        held.copy_(held.roll(1, dims=0))


SWAPS = ["orders", "weights", "moments", "learning rates", "_clips", "_decays", "_alphas", "_gammas", "_starts"]
SWAPS += ["batch norm's means"] + ([] if INTERPRETED else ["dropout", "shares of dropout"])


@pytest.mark.parametrize("swapped", SWAPS)
def test_a_planted_swap_of_members_is_found(monkeypatch, swapped):
    """After the first epoch, when they have moments; what `test_members_train_as_they_would_alone` asks no longer holds."""

    class Swapped(Stacked):
        def __init__(self, members: Sequence[Member]):
            super().__init__(members)
            roll(self, swapped)

    states = [run([member(number, "mlp", epochs=1)])[0][0].state for number in range(3)]
    sound, alone = run(three("mlp", states, epochs=2)), [run([member(n, "mlp", states[n], epochs=2)])[0] for n in range(3)]
    assert max(furthest(s[-1].state["model"], a[-1].state["model"]) for s, a in zip(sound, alone, strict=True)) < 1e-5
    monkeypatch.setattr(fit, "Stacked", Swapped)
    wrong = run(three("mlp", states, epochs=2))
    off = [furthest(w[-1].state, a[-1].state) for w, a in zip(wrong, alone, strict=True)]
    assert max(off) > 1e-3


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the interpreter's numpy
def test_a_member_that_diverges_takes_no_other_with_it():
    members = [member(0, "mlp"), member(1, "mlp", learning_rate=1e30, gradient_clip=1e6, epochs=5), member(2, "mlp")]
    rows = list(fit.fit_side_by_side(members))
    (failed,) = {str(row[1]) for row in rows if isinstance(row[1], CampaignError)}
    assert "seed 2, epoch" in failed
    assert rows[-1][1] is None
    for number in (0, 2):
        (alone,) = run([member(number, "mlp")])
        (last,) = [row[number] for row in rows if row[number] is not None][-1:]
        assert furthest(last.state["model"], alone[-1].state["model"]) < 1e-5


def test_the_kernels_dropout_is_drawn_anew_at_each_place_step_and_epoch():
    """From keys that move on: a member's own, and with room for all places of a network between two steps."""
    members = three("lstm")
    trainer = Stacked(members)
    seeds = [own.epoch_seed for own in members]
    assert (
        len({*seeds, *(int(np.random.SeedSequence([own.seed, 2]).generate_state(1, np.uint64)[0] >> 1) for own in members)}) == 6
    )
    trainer.train_epoch()
    assert trainer._keys.tolist() == [seed + stacked.SITES * members[0].steps for seed in seeds]
    assert 1 < next(trainer._sites) < stacked.SITES


@one_way
def test_what_has_ended_is_trained_no_further():
    members = three("mlp")
    for row in fit.fit_side_by_side(members):
        if row[1] is not None:
            last = {name: tensor.clone() for name, tensor in members[1].model.state_dict().items()}
    assert all(torch.equal(tensor, last[name]) for name, tensor in members[1].model.state_dict().items())


class Own(MLP):
    """A network of someone else."""

    def __init__(self, kind: str, share: float = 0.0):
        super().__init__(hidden_sizes=[8], dropout=0.0, **BASE)
        self.kind, self._share = kind, share
        if kind == "layer of its own":
            self.hidden[2] = OwnDropout(0.5)
        elif kind == "frozen":
            self.from_asset.weight.requires_grad_(False)
        elif kind == "unused":
            self.more = nn.Linear(2, 2)
        elif kind == "recurrent":
            self.lstm = nn.LSTM(F, F, batch_first=True)

    def forward(self, x: torch.Tensor, asset_ids: torch.Tensor) -> torch.Tensor:
        x = self.lstm(x)[0] if self.kind == "recurrent" else x
        logits = super().forward(x, asset_ids)
        if self.kind == "branch on its input" and x.mean().item() > 9:
            return -logits
        if self.kind == "branch on its output" and logits.mean() > 0:
            return -logits
        return functional.dropout(logits, 0.1, self.training) if self.kind == "torch's dropout" else logits + self._share


class OwnDropout(Dropout):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.share


def own(kind: str, number: int = 0, share: float = 0.0) -> Member:
    torch.manual_seed(number)
    train, val = FOLDS[0]
    loop = Loop(**LOOP | {"epochs": 2})
    return Member(Own(kind, share), train, val, halves=np.zeros(len(val), np.int8), seed=number, loop=loop)


@one_way
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("as it is", None),
        ("branch on its input", "torch.vmap cannot run its network"),
        ("branch on its output", "torch.vmap cannot run its network"),
        ("torch's dropout", "torch.vmap cannot run its network"),
        ("layer of its own", "its layer hidden.2 derives from Dropout of learn.layers"),
        ("frozen", "some of its parameters are not trained"),
        ("unused", "torch.vmap cannot run its network"),
        ("recurrent", "its layer lstm is not in a learn.layers.RecurrentStack"),
    ],
)
def test_networks_that_cannot_be_stacked_take_turns_as_alone(kind, reason):
    members = [own(kind, number) for number in range(2)]
    assert stacked.why_apart(members) == reason
    assert {type(found) for found in fit.choose_trainers(members)} == {Single if reason else Stacked}
    if reason:
        for number, epochs in enumerate(run(members)):
            (alone,) = run([own(kind, number)])
            assert same(epochs[-1].state, alone[-1].state)


@one_way
def test_members_that_differ_in_more_than_members_can_take_turns():
    members = [member(0, "mlp"), member(0, "mlp")]
    members[1].model.head = nn.Linear(8, 1, bias=False)
    assert stacked.why_apart(members).startswith("its network differs from the others")
    assert stacked.why_apart([own("as it is", share=0.0), own("as it is", share=0.5)]).startswith("its network differs")
    assert stacked.why_apart([own("as it is", share=0.5), own("as it is", share=0.5)]) is None


@one_way
def test_a_recorded_step_of_a_group_needs_no_python_and_is_gone_before_the_next(monkeypatch):
    """What CUDA graphs ask for; a learning rate falls on the way, and the group is narrowed twice. Without dropout, a draw of
    Python's on a CPU."""
    monkeypatch.setattr(sys.modules[__name__], "SHARES", [0.0, 0.0, 0.0])
    plain = run(three("mlp"))
    alive, alive_before = weakref.WeakSet(), []

    def record(step: cuda_graph.Step) -> cuda_graph.Step:
        alive_before.append(len(alive))
        replay = recorder(step)

        def repeat() -> tuple[torch.Tensor, ...]:
            return replay()

        alive.add(repeat)
        return repeat

    monkeypatch.setitem(cuda_graph.RECORDERS, "cpu", record)
    replayed = run(three("mlp"))
    assert len(alive_before) > 2
    assert not any(alive_before)
    for ours, theirs in zip(replayed, plain, strict=True):
        assert same(ours[-1].state, theirs[-1].state)
    monkeypatch.setattr(fit, "why_apart", lambda members: "for the test")
    alive_before.clear()
    run(three("mlp"))
    assert len(alive_before) > 3
    assert not any(alive_before), "those that take turns record anew"


@one_way
@pytest.mark.parametrize("name", NETWORKS)
def test_members_train_in_bfloat16_too(name):
    """Rounded elsewhere than alone: near it, and far nearer to it than to another seed."""
    if not trains_in_bfloat16(lambda: NETWORKS[name](0.2), F, T):
        pytest.skip(f"this processor cannot train the {name} in bfloat16")
    together = run(three(name, precision="bfloat16"))
    alone = [run([member(number, name, precision="bfloat16")])[0] for number in range(3)]
    for number in range(3):
        ours, theirs = together[number][0].state["model"], alone[number][0].state["model"]
        other = alone[(number + 1) % 3][0].state["model"]
        assert 10 * furthest(ours, theirs) < furthest(ours, other)


GROUPS = """
import hashlib
from itertools import islice
import torch
from learn import checkpoint, cuda_graph, fit, stacked
from learn.device import prepare_process
prepare_process()
import test_stacked
from test_stacked import NETWORKS, Split, three

def on_device(part):
    return Split(*(tensor.to({device!r}) for tensor in (part.X, part.y, part.asset_ids, part.ends)), lookback=part.lookback)

test_stacked.FOLDS[:] = [tuple(map(on_device, fold)) for fold in test_stacked.FOLDS]
if not {together}:
    fit.why_apart = lambda members: "for the test"
for name in NETWORKS:
    for precision in {precisions!r}:
        settings = {{"precision": precision, "batch_size": 16}}
        states = [None] * 3
        for row in islice(fit.fit_side_by_side(three(name, **settings)), {stopped_after}):
            states = [epoch.state if epoch else state for epoch, state in zip(row, states)]
        states = checkpoint.from_bytes(checkpoint.to_bytes(states))
        left = [member for member in three(name, states, **settings) if not member.has_ended]
        assert [type(own).__name__ for own in fit.choose_trainers(left)][0] == {expected!r}
        for row in fit.fit_side_by_side(left):
            states = [next((e.state for e, m in zip(row, left) if e and m.seed == n + 1), s) for n, s in enumerate(states)]
        for state in states:
            digest = hashlib.sha256()
            for tensor in state["model"].values():
                digest.update(tensor.cpu().numpy().tobytes())
            print(name, precision, digest.hexdigest(), len(state["history"]), state["history"][-1]["val_loss"])
"""


@functools.cache
def train_in_a_process(
    device: str, *precisions: str, stopped_after: int = 0, together: bool = True, **environment: str
) -> list[list[str]]:
    """Network, precision, digest, epochs and last validation loss of each member of a group of each network."""
    values = {"expected": "Stacked" if together else "Single", "stopped_after": stopped_after, "together": together}
    command = [sys.executable, "-c", GROUPS.format(device=device, precisions=precisions, **values)]
    path = os.pathsep.join(map(str, (PROJECT / "src", PROJECT / "tests", Path(__file__).parent)))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path} | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@one_way
def test_two_processes_train_a_group_to_the_same_bytes():
    """The second stops after two epochs, when the first member has ended, and goes on."""
    found = train_in_a_process("cpu", "float32")
    assert len(found) == 3 * len(NETWORKS)
    assert len({digest for _, _, digest, *_ in found}) == len(found)
    assert found == train_in_a_process("cpu", "float32", stopped_after=2)


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here, and a CPU can show nothing of it")


@pytest.mark.gpu
@on_a_gpu
def test_a_group_trains_the_same_bytes_on_a_gpu_resumed_and_without_a_graph():
    found = train_in_a_process("cuda", "bfloat16", together=True)
    assert found == train_in_a_process("cuda", "bfloat16", stopped_after=2)
    assert found == train_in_a_process("cuda", "bfloat16", CAMPAIGN_CUDA_GRAPH="off")


@pytest.mark.gpu
@on_a_gpu
def test_a_group_on_a_gpu_learns_what_cudnn_s_layers_learn():
    """Its kernels draw other dropout, and round elsewhere; the losses stay near those of the same members one by one."""
    together, alone = (train_in_a_process("cuda", "bfloat16", together=own) for own in (True, False))
    for ours, theirs in zip(together, alone, strict=True):
        assert ours[0] == theirs[0]
        assert abs(float(ours[4]) - float(theirs[4])) < 0.1 * float(theirs[4])
