"""DVC records what really ran, by a real dvc: edits while a stage runs, and a dvc that is killed."""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import CampaignError
from learn.training import Loop, Training
from scaffold import PATIENCE, Clone, read_params
from watch import tracking, watcher

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")]
EPOCHS = 40
BARS = Path("data/simulated/SIM01/1Hour/data.parquet")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose MLP was trained without an edit or a kill."""
    clone = Clone(tmp_path_factory.mktemp("records"), train={"epochs": EPOCHS, "seeds": [1], "patience": 50})
    clone.run("dvc repro train_mlp")
    return clone


@pytest.fixture
def clone(done: Clone, tmp_path: Path) -> Clone:
    """A copy in which the bars are made and nothing else has run."""
    for name in ("src", ".dvc", "data/simulated"):
        shutil.copytree(done.directory / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "tmp", "cache"))
    for name in ("params.yaml", "dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(done.directory / name, tmp_path)
    copied = Clone.of(tmp_path)
    copied.run("git init -q .")
    copied.run("dvc commit --force simulate_market")
    return copied


def tree(directory: Path, *names: str) -> dict[str, str]:
    files = [file for name in names for file in [directory / name, *(directory / name).rglob("*")] if file.is_file()]
    return {str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


CURE = "nothing is recorded: undo the change or keep it, then dvc repro"
DATA = ("data/training_data", "metrics/generate_data.json")
MLP = ("models/mlp", "metrics/train/mlp.json", "plots/learning_curves/mlp.png")


@contextlib.contextmanager
def repro(clone: Clone, target: str, *, apart: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Start `dvc repro -s target`, and kill it at the end; with its children where `apart`, in a process group of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")} | {"PATH": path}
    command = [sys.executable, "-m", "dvc", "repro", "-s", target]
    with subprocess.Popen(
        command,
        cwd=clone.directory,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0 if apart else None,
    ) as dvc:
        try:
            yield dvc
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(dvc.pid, signal.SIGKILL) if apart else dvc.kill()


def stop_while_it_writes(clone: Clone, dvc: subprocess.Popen[str]) -> int:
    """Stop generate_data after its first file, when all bars are read. Returns its process id."""
    first = clone.directory / "data/training_data/train_X.npy"
    while not first.exists():
        assert dvc.poll() is None
        time.sleep(0.001)
    pid = int((clone.directory / ".dvc/tmp/stages/generate_data/lock").read_text().split()[0])
    os.kill(pid, signal.SIGSTOP)
    assert not (clone.directory / "data/training_data/metadata.json").exists()
    return pid


def refusal_of(dvc: subprocess.Popen[str], name: str) -> str:
    """Wait for dvc to end, and return the one line in which the stage `name` refused to be recorded; empty where it did not."""
    out, err = dvc.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    lines = [line for line in err.splitlines() if line.startswith(f"{name}: changed")]
    assert len(lines) == (dvc.returncode != 0), out + err
    return "".join(lines)


def overwrite_bars(clone: Clone) -> None:
    other = clone.directory / "older.parquet"
    shutil.copy(clone.directory / "data/simulated/SIM02/1Hour/data.parquet", other)
    os.utime(other, (0, 0))
    os.replace(other, clone.directory / BARS)


def test_edits_while_a_stage_runs_are_named_and_not_recorded(done, clone):
    content = {name: (clone.directory / name).read_bytes() for name in (str(BARS), "src/bars/labels.py", "params.yaml")}
    with repro(clone, "generate_data") as dvc:
        pid = stop_while_it_writes(clone, dvc)
        overwrite_bars(clone)
        with (clone.directory / "src/bars/labels.py").open("a") as file:
            file.write("# edited\n")
        clone.params(data={"lookback": 23})
        os.kill(pid, signal.SIGCONT)
        line = refusal_of(dvc, "generate_data")
    assert dvc.returncode != 0
    named = ["src/bars/labels.py", str(BARS), "data.lookback in params.yaml (24 then, 23 now)"]
    assert line == f"generate_data: changed while this ran: {', '.join(named)}; {CURE}"
    assert "generate_data:" not in clone.lock()
    for name, before in content.items():
        (clone.directory / name).write_bytes(before)
    assert clone.repro("-s generate_data") == ["generate_data"]
    assert tree(clone.directory, *DATA) == tree(done.directory, *DATA)


def test_edits_that_dvc_does_not_record_are_allowed(done, clone):
    params = clone.directory / "params.yaml"
    with repro(clone, "generate_data") as dvc:
        pid = stop_while_it_writes(clone, dvc)
        clone.params(compare={"draws": 300}, mlp={"dropout": 0.1})
        params.write_text("# a comment\n" + params.read_text())
        os.utime(clone.directory / BARS)
        (clone.directory / "src/bars/labels.py~").touch()
        (clone.directory / "src/judge/uncertainty.py").write_text("# not a dep of this stage")
        with (clone.directory / "dvc.yaml").open("a") as file:
            file.write("\n# edited\n")
        os.kill(pid, signal.SIGCONT)
        refusal_of(dvc, "generate_data")
    assert dvc.returncode == 0
    assert tree(clone.directory, *DATA) == tree(done.directory, *DATA)


@pytest.fixture
def ready(done: Clone, clone: Clone) -> Clone:
    """A copy in which the training data is made and recorded, too."""
    (clone.directory / "metrics").mkdir()
    for name in DATA:
        (shutil.copytree if (done.directory / name).is_dir() else shutil.copy)(done.directory / name, clone.directory / name)
    clone.run("dvc commit --force generate_data")
    return clone


def until_epoch(dvc: subprocess.Popen[str], number: int) -> None:
    """Read what dvc prints until a line of epoch `number`."""
    while f"epoch {number}/" not in (line := dvc.stderr.readline()):
        assert line


EDITS: dict[str, tuple[Callable[[Clone], object], str]] = {
    "params": (
        lambda clone: clone.params(train={"learning_rate": 0.01}),
        "train.learning_rate in params.yaml (0.001 then, 0.01 now)",
    ),
    "code": (
        lambda clone: (clone.directory / "src/learn/loss.py").write_text("import missing"),  # imported long ago
        "src/learn/loss.py",
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_epochs_before_an_edit_are_kept_until_the_edit_is_undone(done, ready, what):
    edit, named = EDITS[what]
    source = {name: (ready.directory / name).read_text() for name in ("params.yaml", "src/learn/loss.py")}
    with repro(ready, "train_mlp") as dvc:
        until_epoch(dvc, 3)
        edit(ready)
        line = refusal_of(dvc, "train_mlp")
    assert dvc.returncode != 0
    assert line == f"train_mlp: changed while this ran: {named}; {CURE}"
    assert "train_mlp:" not in ready.lock()
    if what == "params":
        assert ready.repro("-s train_mlp") == ["train_mlp"], "the edited value trains a network of its own"
        assert ready.read("metrics/train/mlp.json")["settings"]["learning_rate"] == 0.01
        assert "up to date" in ready.run("dvc status train_mlp").stdout
    for name, text in source.items():
        (ready.directory / name).write_text(text)
    resumed = ready.run("dvc repro -s train_mlp").stderr
    assert f"mlp seed 1: goes on after epoch {EPOCHS}" in resumed
    assert tree(ready.directory, *MLP) == tree(done.directory, *MLP)


def test_a_seed_that_starts_after_an_edit_leaves_no_checkpoint_of_other_code(done, ready):
    """With one seed at a time the second imports its code after the first has ended."""
    ready.params(train={"seeds": [1, 2]})
    loss = ready.directory / "src/learn/loss.py"
    source = loss.read_text()
    with repro_one_at_a_time(ready) as dvc:
        until_epoch(dvc, 2)
        loss.write_text(f"{source}\n# edited\n")
        dvc.communicate(timeout=PATIENCE)
    assert dvc.returncode != 0
    assert {path.parent.name for path in (ready.directory / ".checkpoints").rglob("state.pt")} == {"seed-1"}
    loss.write_text(source)


@contextlib.contextmanager
def repro_one_at_a_time(clone: Clone) -> Iterator[subprocess.Popen[str]]:
    os.environ["CAMPAIGN_JOBS"] = "1"
    try:
        with repro(clone, "train_mlp") as dvc:
            yield dvc
    finally:
        del os.environ["CAMPAIGN_JOBS"]


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_stage_ends_with_its_killed_dvc_and_the_next_dvc_waits_for_that(done, clone):
    """The first stage is stopped, so that it still exists when the second begins. The system continues an orphaned group."""
    with repro(clone, "generate_data", apart=False) as first:
        pid = stop_while_it_writes(clone, first)
        first.kill()
        first.wait()
        with repro(clone, "generate_data") as second:
            while "generate_data.py" not in second.stdout.readline():
                assert second.poll() is None
            os.kill(pid, signal.SIGCONT)
            refusal_of(second, "generate_data")
        assert second.returncode == 0
        assert not is_alive(pid)
    assert tree(clone.directory, *DATA) == tree(done.directory, *DATA)
    assert not list((clone.directory / "data").rglob("*.tmp"))


def test_a_training_ends_with_its_killed_dvc_and_the_next_one_resumes_it(done, ready):
    with repro(ready, "train_mlp") as first:
        until_epoch(first, 3)
        pid = int((ready.directory / ".dvc/tmp/stages/train_mlp/lock").read_text().split()[0])
        first.kill()
        first.wait()
        resumed = ready.run("dvc repro -s train_mlp").stderr
        assert not is_alive(pid)
        assert "train_mlp: ended, since the dvc that would record it is gone" in first.stderr.read(), "no process holds the pipe"
    assert re.search(r"mlp seed 1: goes on after epoch \d+", resumed)
    assert tree(ready.directory, *MLP) == tree(done.directory, *MLP)


def follow_one_training() -> contextlib.AbstractContextManager[tracking.Writer]:
    settings = {name: value for name, value in read_params()["train"].items() if name != "seeds"}
    return watcher.following([Training("train_mlp:MLP", {}, Loop(**settings), Path("data/training_data"), 1)], {})


@pytest.mark.parametrize("track", [follow_one_training, tracking.update_at_end])
def test_a_run_whose_stage_is_not_recorded_is_not_finished_in_mlflow(monkeypatch, track):
    def changed() -> None:
        raise CampaignError("changed")

    sent: list[tuple] = []
    for module in (tracking, watcher):
        monkeypatch.setattr(module, "check_unchanged", changed)
    monkeypatch.setattr(tracking.Writer, "send", lambda self, *message: sent.append(message))
    with pytest.raises(CampaignError, match="changed"), track():
        pass
    assert ("end", "FINISHED") not in sent
