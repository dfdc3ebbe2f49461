"""Groups of trainings in the pipeline, on a CPU that is told to have members: stages, kills, a search, Ray."""

import csv
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from scaffold import Clone

pytestmark = pytest.mark.slow
EPOCHS = 12
SEEDS = [1, 2, 3]
GROUPED = {"CAMPAIGN_MEMBERS": "8"}
FAULTS = Path(__file__).parent / "faults"


@pytest.fixture(scope="module")
def trained(finished_campaign: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone where a group of three seeds of two architectures was trained without disturbance; they end at different epochs."""
    clone = Clone.copy_of(finished_campaign, tmp_path_factory.mktemp("members") / "clone")
    clone.params(train={"epochs": EPOCHS, "seeds": SEEDS, "patience": 3})
    clone.run("dvc repro -s train_mlp train_gru", **GROUPED)
    return clone


def results(directory: Path, name: str) -> dict[str, bytes]:
    files = [*sorted((directory / "models" / name).glob("*")), directory / f"metrics/train/{name}.json"]
    files.append(directory / f"plots/learning_curves/{name}.png")
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}


@pytest.fixture
def copy(trained: Clone, tmp_path: Path) -> Path:
    """Code, settings and data of that clone, without its results."""
    for name in ("src", "data/training_data"):
        shutil.copytree(trained.directory / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(trained.directory / "params.yaml", tmp_path)
    return tmp_path


def start(directory: Path, name: str, **environment: str) -> subprocess.Popen[str]:
    """The stage in a process group of its own, its lines to be read from stderr."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "CAMPAIGN_"))}
    settings = {"CAMPAIGN_TRACKING": "off"} | GROUPED | environment
    command = [sys.executable, f"src/train_{name}.py"]
    return subprocess.Popen(
        command, cwd=directory, stderr=subprocess.PIPE, text=True, env=inherited | settings, start_new_session=True
    )


def finish(directory: Path, name: str, expected: dict[str, bytes]) -> str:
    """Start again by the same command, to the end; returns what it said."""
    with start(directory, name) as process:
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert results(directory, name) == expected
    assert not (directory / ".checkpoints").exists()
    return said


def epochs_of(directory: Path, name: str) -> list[int]:
    with (directory / f"models/{name}/training_history.csv").open() as file:
        seeds = [int(row["seed"]) for row in csv.DictReader(file)]
    return [seeds.count(seed) for seed in SEEDS]


@pytest.mark.parametrize("name", ["mlp", "gru"])
def test_a_group_is_recorded_and_its_members_end_on_their_own(trained, name):
    record = trained.read(f"metrics/train/{name}.json")
    assert [seed["members"] for seed in record["seeds"]] == [[f"{name} seed {seed}" for seed in SEEDS]] * 3
    assert [seed["epochs"] for seed in record["seeds"]] == epochs_of(trained.directory, name)
    assert len(set(epochs_of(trained.directory, name))) > 1


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        # the first checkpoint is written but not yet in place; it is in place, its directory not yet on disk; some later one
        ("mlp", ["worker:fsync:1", "worker:fsync:2", "worker:fsync:9"]),
        # in training; what a member came to is being written; all is trained, a model is being written
        ("gru", ["worker:replace:3", "worker:replace:6", "trainer:replace:3"]),
    ],
)
def test_a_group_that_is_killed_while_it_writes_ends_in_the_same_bytes(trained, copy, name, faults):
    for fault in faults:
        with start(copy, name, FAULT=fault, PYTHONPATH=str(FAULTS)) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL, fault
    assert "goes on after epoch" in finish(copy, name, results(trained.directory, name))


@pytest.mark.parametrize(("name", "moment"), [("mlp", 0), ("gru", 1)])
def test_a_group_that_is_killed_at_a_random_moment_ends_in_the_same_bytes(trained, copy, name, moment):
    """Three times in one training: before and after members have ended; the trainer alone, or its whole group."""
    chance = random.Random(f"{name} {moment}")
    for _ in range(3):
        with start(copy, name) as process:
            assert process.stderr is not None
            for _ in range(chance.randint(1, 3 * EPOCHS)):
                if not process.stderr.readline():
                    break
            time.sleep(chance.uniform(0, 0.2))
            if chance.random() < 0.5:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.communicate()
    finish(copy, name, results(trained.directory, name))


def test_another_group_does_not_go_on_after_this_one_s_epochs(trained, copy):
    """Two of the three seeds are another group, and each of them alone is none."""
    params = (copy / "params.yaml").read_text()
    for environment in ({}, {"CAMPAIGN_MEMBERS": ""}):
        with start(copy, "mlp", FAULT="worker:replace:4", PYTHONPATH=str(FAULTS)) as process:
            process.communicate()
        assert list((copy / ".checkpoints").glob("mlp/*/members-*/state.pt"))
        (copy / "params.yaml").write_text(params.replace("seeds: [1, 2, 3]", "seeds: [1, 2]"))
        assert (copy / "params.yaml").read_text() != params
        with start(copy, "mlp", **environment) as process:
            _, said = process.communicate()
        assert process.returncode == 0, said
        assert "goes on" not in said
        (copy / "params.yaml").write_text(params)


def test_a_member_that_diverges_is_named_and_the_others_go_on(copy):
    source = (copy / "src/learn/member.py").read_text()
    check = "        if not (losses.isfinite()"
    poison = "        if self.seed == 2 and self.epoch == 3:\n            losses = losses * float('nan')\n"
    assert check in source
    (copy / "src/learn/member.py").write_text(source.replace(check, poison + check))
    for again in (False, True):
        with start(copy, "mlp") as process:
            _, said = process.communicate()
        assert process.returncode == 1
        (last,) = [line for line in said.splitlines() if line.startswith("train_mlp: ")]
        assert "mlp seed 2: the loss is nan at seed 2, epoch 3, step 1; likely a learning rate too high" in last
        assert len(re.findall("stopped after epoch", said)) == 2, "the others went on to their ends"
        assert ("mlp seed 1: goes on after epoch" in said) == again


def test_the_report_of_groups_is_that_of_single_trainings_within_the_seeds_spread(finished_campaign, tmp_path):
    """In float32, where rounding alone tells them apart: of the small networks of a test, in bfloat16, so would another seed."""
    clone = Clone.copy_of(finished_campaign, tmp_path / "clone")
    clone.params(train={"precision": "float32"})
    clone.run("dvc repro")
    networks = ("mlp", "lstm", "gru", "cnn_lstm")
    before = {name: clone.read(f"metrics/train/{name}.json") for name in networks}
    tested = {name: clone.read(f"metrics/test/{name}.json") for name in networks}
    pages = {path.name for path in (clone.directory / "reports").iterdir()}
    clone.run("dvc repro --force " + " ".join(f"train_{name}" for name in networks), **GROUPED)
    clone.run("dvc repro")
    assert {path.name for path in (clone.directory / "reports").iterdir()} == pages
    for name in networks:
        alone, grouped = before[name], clone.read(f"metrics/train/{name}.json")
        assert all("members" in seed for seed in grouped["seeds"])
        assert all("members" not in seed for seed in alone["seeds"])
        for key in ("val_f1_score_positive_class", "val_pr_auc"):
            ours, theirs = ([seed[key] for seed in record["seeds"]] for record in (grouped, alone))
            spread = max(statistics.stdev(ours), statistics.stdev(theirs))
            assert abs(statistics.fmean(ours) - statistics.fmean(theirs)) <= spread, (name, key)
        on_test = clone.read(f"metrics/test/{name}.json"), tested[name]
        spread = max(record["test_f1_std_over_seeds"] for record in on_test)
        assert abs(on_test[0]["test_f1_score_positive_class"] - on_test[1]["test_f1_score_positive_class"]) <= spread, name


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: make ray")
def test_a_group_on_ray_has_the_same_bytes(trained, tmp_path):
    clone = Clone.copy_of(trained.directory, tmp_path / "clone")
    expected = results(trained.directory, "mlp")
    done = clone.run("dvc repro --force -s train_mlp", CAMPAIGN_BACKEND="ray", **GROUPED)
    assert "mlp seed 2: epoch 1/" in done.stderr
    assert results(clone.directory, "mlp") == expected


def test_trials_of_a_search_are_members_and_a_kill_changes_nothing(finished_campaign, tmp_path):
    space = {"dropout": {"low": 0.0, "high": 0.5}, "train": {"learning_rate": {"low": 0.0005, "high": 0.05, "log": True}}}
    settings = {"trials": 4, "batch": 3, "startup_trials": 3, "fresh_seeds": [11, 12], "space": {"mlp": space}}
    found = []
    for number, kill in enumerate((False, True)):
        clone = Clone.copy_of(finished_campaign, tmp_path / str(number))
        clone.params(search=settings)
        if kill:
            inherited = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "CAMPAIGN_"))}
            environment = inherited | GROUPED | {"CAMPAIGN_TRACKING": "off"}
            command = [sys.executable, "src/campaign.py", "search", "mlp"]
            with subprocess.Popen(command, cwd=clone.directory, env=environment, start_new_session=True) as process:
                while not list((clone.directory / ".checkpoints").glob("mlp/*/members-*/state.pt")):
                    assert process.poll() is None
                    time.sleep(0.02)
                os.killpg(process.pid, signal.SIGKILL)
        clone.run("python src/campaign.py search mlp", **GROUPED)
        found.append({path.name: path.read_bytes() for path in (clone.directory / "search/by_hand").iterdir()})
        assert not list((clone.directory / ".checkpoints").rglob("state.pt"))
    assert found[0] == found[1]
