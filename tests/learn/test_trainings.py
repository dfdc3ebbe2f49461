"""A training as a value, its process, its checkpoint and its outcome."""

import contextlib
import csv
import dataclasses
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

import train_mlp
from core import inputs
from core.errors import CampaignError
from core.files import write_array, write_bytes, write_json
from core.metrics import sigmoid
from core.splits import DATA
from learn import checkpoint, device, worker
from learn.architecture import find_architecture
from learn.dataset import Split
from learn.device import environment, resolve_precision
from learn.fit import predict
from learn.member import Member
from learn.models import write_models
from learn.train_stage import Train, join_environments, plan_trainings, train_record
from learn.trainings import Cards, Failed, Loop, Trained, Training, running
from learn.worker import Begun, EpochEnded, Message
from scaffold import PROJECT, read_params, write_params

HORIZON = 2
ARGUMENTS = {"hidden_sizes": [8], "dropout": 0.0, "asset_embedding": 2, "n_features": 2, "n_assets": 2, "lookback": 3}


def arrays(seed: int, size: int = 120) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(size, 2)).astype(np.float32)
    y = (X[:, 0] + rng.normal(size=size) > 1).astype(np.int8)
    y[:2] = -1
    y[-HORIZON:] = -1
    times = np.arange(size) * np.timedelta64(1, "h") + np.datetime64("2024-01-01", "s")
    return {"X": X, "y": y, "asset_ids": rng.integers(0, 2, size).astype(np.int16), "timestamps": times}


def write_data(directory: Path, content_hash: str = "1", first_seed: int = 1) -> None:
    for split, seed in (("train", first_seed), ("val", first_seed + 1)):
        for name, array in arrays(seed).items():
            write_array(directory / f"{split}_{name}.npy", array)
    write_json(directory / "metadata.json", {"content_hash": content_hash, "horizon": HORIZON})


def as_split(seed: int) -> Split:
    return Split.of(**{name: array for name, array in arrays(seed).items() if name != "timestamps"}, lookback=3)


def one(seed: int, splits: Path = DATA, **settings: Any) -> Training:
    loop = {name: value for name, value in read_params()["train"].items() if name != "seeds"}
    loop |= {"epochs": 1, "batch_size": 16, "precision": "float32"} | settings
    return Training("train_mlp:MLP", ARGUMENTS, Loop(**loop), splits, seed)


def test_a_seed_decides_the_weights_that_its_training_starts_from(desk, monkeypatch):
    write_data(DATA)
    starts = []

    class Spy(Member):
        def __init__(self, model: torch.nn.Module, *parts: Split, **settings: Any):
            starts.append((settings["seed"], torch.cat([weight.detach().flatten().clone() for weight in model.parameters()])))
            super().__init__(model, *parts, **settings)

    monkeypatch.setattr(worker, "Member", Spy)
    told = []
    for number, seed in enumerate((1, 1, 2)):
        torch.manual_seed(number)  # whatever the process did before
        messages = worker.train_from_checkpoint([one(seed)], desk / str(number) / "state.pt")
        told.append([type(message) for own, message in messages if own == 0])
    assert [seed for seed, _ in starts] == [1, 1, 2]
    assert torch.equal(starts[0][1], starts[1][1])
    drawn = ~torch.isin(starts[0][1], torch.tensor([0.0, 1.0]))  # all but batch norm's
    assert drawn.sum() == 2 * 2 + 8 * (3 * 2 + 2) + 8 + 1
    assert not (starts[0][1] == starts[2][1])[drawn].any()
    assert told == [[Begun, EpochEnded, Trained]] * 3


def ended(history: list[float], best: int, patience: int) -> tuple[dict[str, Any], dict[str, Any], Split]:
    """Model file and summary of a training with these F1 on validation, whose best epoch's threshold is none for train."""
    torch.manual_seed(3)
    weights, split = train_mlp.MLP(**ARGUMENTS).state_dict(), as_split(1)
    rows = [{"val_f1": f1, "val_pr_auc": f1 / 2, "val_loss": 1 - f1} for f1 in history]
    state = {"history": rows, "best": {"epoch": best, "f1": history[best - 1], "threshold": 0.99, "weights": weights}}
    state["half_best"] = [{"epoch": epoch, "f1": 0.3, "logits": torch.full((5,), float(epoch))} for epoch in (4, 2)]
    model = train_mlp.MLP(**ARGUMENTS)
    trained = worker.summarise([one(7, patience=patience)], 0, model, split, state)
    assert trained.half_logits.dtype == np.float32
    assert trained.half_logits.tolist() == [[4.0] * 5, [2.0] * 5]
    return checkpoint.from_bytes(trained.model), trained.summary, split


@pytest.mark.parametrize(("best", "stopped_early"), [(7, True), (8, False)])
def test_a_summary_is_that_of_the_best_epoch_and_says_how_it_ended(best, stopped_early):
    history = [0.9, 0.1, 0.31, 0.42, 0.4, 0.41, 0.5, 0.5, 0.44, 0.43, 0.42, 0.41]
    content, summary, split = ended(history, best, patience=5)
    model = train_mlp.MLP(**ARGUMENTS)
    model.load_state_dict(content["weights"])
    y, scores = split.y.numpy(), sigmoid(predict(model, split))
    assert summary == {
        "seed": 7,
        "epochs": 12,
        "best_epoch": best,
        "stopped_early": stopped_early,
        "threshold": 0.99,
        "val_f1_score_positive_class": 0.5,
        "val_pr_auc": 0.25,
        "val_loss": 0.5,
        "train_f1_score_positive_class": pytest.approx(max(f1_score(y, scores >= score) for score in scores)),
        "val_f1_spread_last_10_epochs": pytest.approx(0.5 - 0.31),
        "half_best_epochs": [4, 2],
    }
    torch.manual_seed(3)
    for name, weight in train_mlp.MLP(**ARGUMENTS).state_dict().items():
        assert torch.equal(content["weights"][name], weight), "not the last epoch's"
    assert (content["seed"], content["epoch"], content["threshold"], content["arguments"]) == (7, best, 0.99, ARGUMENTS)


def test_what_is_written_of_all_seeds_is_their_mean_their_sample_deviation_and_the_best_on_validation(desk):
    write_bytes(DATA / "scalers.joblib", b"scaler")
    val, train = [0.3, 0.39, 0.3], [0.8, 0.5, 0.6]
    outcomes = []
    for number, (on_val, on_train) in enumerate(zip(val, train, strict=True)):
        history = [
            {"epoch": epoch, "train_loss": 0.1, "val_loss": 0.2, "train_f1": on_train, "val_f1": on_val} for epoch in (1, 2)
        ]
        summary = {"seed": 4 + number, "best_epoch": 1, "val_f1_score_positive_class": on_val}
        summary |= {"train_f1_score_positive_class": on_train}
        logits = np.full((2, 3), 4 + number, np.float32)
        outcomes.append(Trained(f"model {4 + number}".encode(), history, summary, logits, environment()))
    for left in ("seed_3.pt", "seed_3_val_half_logits.npy", "seed_3.pt.tmp"):
        write_bytes(Path("models/mlp") / left, b"of an earlier run")
    write_models(train_mlp.ARCHITECTURE, outcomes, Path("models/mlp"), DATA)
    written = train_record([one(seed, learning_rate=0.25) for seed in (4, 5, 6)], outcomes)
    assert written == {
        "val_f1_score_positive_class": pytest.approx(0.33),
        "val_f1_score_positive_class_std": pytest.approx(0.03 * 3**0.5),  # the root of (0.03² + 0.06² + 0.03²) / 2
        "train_f1_score_positive_class": pytest.approx(1.9 / 3),
        "best_seed": 5,
        "precision": "float32",
        "environment": environment(),
        "settings": read_params()["train"]
        | {"seeds": [4, 5, 6], "epochs": 1, "batch_size": 16, "precision": "float32", "learning_rate": 0.25},
        "architecture": {"hidden_sizes": [8], "dropout": 0.0, "asset_embedding": 2},
        "seeds": [outcome.summary for outcome in outcomes],
    }
    for seed in (4, 5, 6):
        written = np.load(f"models/mlp/seed_{seed}_val_half_logits.npy")
        assert (written.dtype, written.tolist()) == (np.float32, [[seed] * 3] * 2)
    assert len(list(Path("models/mlp").glob("seed_*"))) == 6
    models = {path.name: path.read_bytes() for path in Path("models/mlp").glob("*.*") if path.suffix in (".pt", ".joblib")}
    by_seed = {f"seed_{seed}.pt": f"model {seed}".encode() for seed in (4, 5, 6)}
    assert models == by_seed | {"best_model.pt": b"model 5", "scalers.joblib": b"scaler"}
    with Path("models/mlp/training_history.csv").open() as file:
        assert [(row["seed"], row["epoch"]) for row in csv.DictReader(file)] == [(s, e) for s in "456" for e in "12"]


def test_an_architecture_s_own_section_overrides_settings_of_the_loop_for_it_alone(desk):
    write_json(DATA / "metadata.json", {"content_hash": "1", "features": ["a"], "assets": ["b"], "lookback": 3})
    settings, own = Train(**read_params()["train"] | {"precision": "float32"}), {"learning_rate": 0.25, "epochs": 7}
    write_params(desk, mlp={"train": own})
    changed, plain = (plan_trainings(find_architecture(name), settings, [DATA], [1])[0].loop for name in ("mlp", "lstm"))
    assert vars(plain) == settings.model_dump(exclude={"seeds"})
    assert vars(changed) == vars(plain) | own


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        ({"learning_rate": 5}, "mlp.train.learning_rate is 5; it must be less than or equal to 1"),
        ({"rate": 1}, "mlp.train.rate is unknown; remove it (known: epochs, batch_size"),
        ({"seeds": [1]}, "mlp.train.seeds is unknown; remove it"),
        ([1], "mlp.train is [1]; it must be a mapping"),
    ],
)
def test_an_override_that_the_loop_cannot_have_is_refused(desk, own, problem):
    write_params(desk, mlp={"train": own})
    settings = Train(**read_params()["train"])
    with pytest.raises(CampaignError, match=re.escape(f"params.yaml: {problem}")):
        plan_trainings(find_architecture("mlp"), settings, [DATA], [1])


def test_what_trained_each_seed_is_recorded_where_they_differ():
    places = [{"torch": "2", "processor": processor} for processor in ("AVX512", "AVX2", "AVX512")]
    trained = [Trained(b"", [], {"seed": seed}, np.zeros(0), place) for seed, place in enumerate(places, 1)]
    assert join_environments(trained) == {"torch": "2", "processor": "AVX512 (seeds 1, 3), AVX2 (seeds 2)"}
    assert join_environments(trained[:1]) == places[0]


@pytest.mark.parametrize(
    ("seeds", "cure"),
    [
        ((1,), "start fewer seeds at once (CAMPAIGN_JOBS=1) or lower train.batch_size (now 16)"),
        ((1, 2), "train fewer together (now 2 seeds, folds or trials) or lower train.batch_size (now 16)"),
    ],
)
def test_a_gpu_out_of_memory_is_one_line_for_each_training_that_says_what_to_lower(desk, monkeypatch, seeds, cure):
    def need_too_much(members: list[Member]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB.")

    write_data(DATA)
    monkeypatch.setattr(worker, "fit_side_by_side", need_too_much)
    messages = list(worker.train([one(seed) for seed in seeds], desk / "place", None))
    outcomes = {number: message.reason for number, message in messages if isinstance(message, Failed)}
    assert outcomes == dict.fromkeys(range(len(seeds)), f"the GPU is out of memory; {cure}")


def test_trainings_share_the_gpus_evenly():
    cards = Cards(2)
    with cards.deal() as one, cards.deal() as other:
        assert (one, other) == (0, 1)
        with cards.deal() as third:
            assert third == 0
    with cards.deal(), cards.deal() as other:
        pass
    with cards.deal() as one:
        assert one == 0, "they are free again"
    for number in (0, 1):
        with Cards(number).deal() as card:
            assert card is None, "there is nothing to choose"


def test_the_halves_of_a_training_are_those_of_its_validation(desk):
    """Five days: the cut is at 48 hours, and a trade lasts up to two bars."""
    write_data(DATA)
    assert worker.load_halves(one(1)).tolist() == [0] * 44 + [-1] * 2 + [1] * 70


LESSER = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}  # a processor without bfloat16


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only an x86-64 processor can be made to pass for a lesser one")
def test_bfloat16_is_refused_in_one_line_before_anything_starts_where_the_network_cannot_train_in_it(desk):
    metadata = {"features": ["a"], "assets": ["A"], "lookback": 3, "content_hash": "1", "source": "bars"}
    write_json(DATA / "metadata.json", metadata)
    write_params(desk, train={"precision": "bfloat16"})
    before = sorted(desk.rglob("*"))
    environment = os.environ | LESSER | {"CAMPAIGN_TRACKING": "on", "MLFLOW_TRACKING_URI": ""}
    command = [sys.executable, PROJECT / "src/train_lstm.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "train_lstm: params.yaml: train.precision is bfloat16, in which this processor (AVX2 without bfloat16 instructions) "
        "cannot train this network; set it to auto or float32\n"
    )
    assert sorted(desk.rglob("*")) == before


@pytest.mark.parametrize(
    ("wanted", "native", "trained", "tried", "resolved"),
    [
        ("float32", True, True, False, "float32"),
        ("auto", False, True, False, "float32"),  # emulated bfloat16 is slower
        ("auto", True, True, True, "bfloat16"),
        ("auto", True, False, True, "float32"),
        ("bfloat16", False, True, True, "bfloat16"),
    ],
)
def test_the_precision_is_one_that_this_processor_trains_in_and_tried_where_that_decides(
    monkeypatch, wanted, native, trained, tried, resolved
):
    trials = []
    monkeypatch.setattr(device, "device", lambda: "cpu")
    monkeypatch.setattr(device, "multiplies_bfloat16", lambda: native)
    monkeypatch.setattr(device, "trains_in_bfloat16", lambda *network: trials.append(network) or trained)
    assert resolve_precision(wanted, train_mlp.MLP, 2, 3) == resolved
    assert trials == [(train_mlp.MLP, 2, 3)] * tried


def test_the_fingerprint_covers_all_that_decides_a_trainings_bytes_but_the_seed(desk, monkeypatch):
    """What is not code; `test_kills` has that in a real run."""

    def of(content_hash: str = "1", *, seed: int = 1, arguments: dict | None = None, **settings: Any) -> str:
        write_json(DATA / "metadata.json", {"content_hash": content_hash})
        training = one(seed, **settings)
        return dataclasses.replace(training, arguments=ARGUMENTS | (arguments or {})).fingerprint()

    assert of() == of() == of(seed=8)
    found = [
        of(),
        of("2"),
        of(arguments={"lookback": 4}),
        of(arguments={"dropout": 0.1}),
        of(precision="bfloat16"),
        of(focal_alpha=0.3),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.0.0")
        found.append(of())
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "abacus")
        patch.setattr(torch.cuda, "get_device_name", lambda: "abacus")
        found.append(of())
    assert len(set(found)) == 8


def test_the_fingerprint_covers_the_code_of_a_train_stage_and_no_other(desk, monkeypatch):
    write_json(DATA / "metadata.json", {"content_hash": "1"})
    before = one(1).fingerprint()
    for name, outdates in (
        ("train_mlp.py", True),
        ("learn/fit.py", True),
        ("core/metrics.py", True),
        ("train_lstm.py", False),
        ("watch/progress.py", False),
        ("judge/money.py", False),
    ):
        assert name in inputs.CODE_DIGESTS
        with monkeypatch.context() as patch:
            patch.setitem(inputs.CODE_DIGESTS, name, "another version")
            assert (one(1).fingerprint() != before) == outdates, name


def test_code_that_is_reached_by_a_link_is_in_the_fingerprint(tmp_path):
    (tmp_path / "link").symlink_to(PROJECT / "src")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'link')!r}); import train_mlp; from core import inputs; "
        "assert {'learn/fit.py', 'core/metrics.py', 'train_mlp.py'} <= set(inputs.CODE_DIGESTS)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
def test_trainings_are_run_in_order_and_their_checkpoints_kept_until_the_block_ends_well(desk):
    """Two equal trainings with different seeds in two different sets of splits, as folds are; real processes."""
    for fold, offset in (("a", 0), ("b", 10)):
        write_data(Path(fold), fold, 1 + offset)
    trainings = [one(seed, Path(fold)) for fold in "ab" for seed in (2, 1)]
    first = []
    with contextlib.suppress(ZeroDivisionError), running(trainings) as runner:
        first = list(runner.outcomes())
        assert runner.kept() == ["finished epochs are kept, the same command goes on after them"]
        raise ZeroDivisionError
    assert len(list(Path(".checkpoints/mlp").glob("*/seed-*/state.pt"))) == 4
    with running(trainings) as runner:
        began = []

        def watch(training: Training) -> contextlib.AbstractContextManager:
            return contextlib.nullcontext(lambda message: began.append((training, message)))

        again = list(runner.outcomes(watch))
    assert [outcome.summary["seed"] for outcome in again] == [2, 1, 2, 1]
    assert [outcome.model for outcome in again] == [outcome.model for outcome in first]
    assert len({outcome.model for outcome in again}) == 4
    assert all(np.array_equal(one.half_logits, other.half_logits) for one, other in zip(again, first, strict=True))
    resumed = {id(training): len(message.history) for training, message in began if isinstance(message, Begun)}
    assert resumed == {id(training): 1 for training in trainings}, "each went on after its checkpoint"
    assert not list(Path(".checkpoints").rglob("state.pt"))


@pytest.mark.slow
def test_kept_trainings_are_not_run_again_and_one_more_fold_runs_alone(desk):
    """Their outcomes lie in the checkpoints: not even their data are read again."""
    for fold, offset in (("a", 0), ("b", 10), ("c", 20)):
        write_data(Path(fold), fold, 1 + offset)

    def run(*folds: str) -> tuple[list[Trained | Failed], list[str]]:
        trained: list[str] = []

        def watch(training: Training) -> contextlib.AbstractContextManager:
            def note(message: Message) -> None:
                trained.extend([training.title] if isinstance(message, EpochEnded) else [])

            return contextlib.nullcontext(note)

        with running([one(1, Path(fold)) for fold in folds], keep=True) as runner:
            return list(runner.outcomes(watch)), sorted(trained)

    first, trained = run("a", "b")
    assert trained == ["mlp a seed 1", "mlp b seed 1"]
    Path("a/train_X.npy").unlink()
    again, trained = run("c", "a", "b")
    assert trained == ["mlp c seed 1"]
    for one_of_two, kept in zip(first, again[1:], strict=True):
        assert (one_of_two.model, one_of_two.history, one_of_two.summary) == (kept.model, kept.history, kept.summary)
        assert np.array_equal(one_of_two.half_logits, kept.half_logits)
    assert again[0].model not in (first[0].model, first[1].model)


@pytest.mark.slow
def test_a_failed_training_is_an_outcome_among_the_others(desk):
    write_data(DATA)
    with running([one(1), one(2, learning_rate=1e30)]) as runner:
        good, bad = runner.outcomes()
    assert isinstance(good, Trained)
    assert isinstance(bad, Failed)
    assert bad.reason.startswith("mlp seed 2: ")
