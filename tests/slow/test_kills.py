"""A training killed at any moment and started again ends with the same bytes as one never killed."""

import csv
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaffold import Clone
from terminal import Terminal

pytestmark = pytest.mark.slow
EPOCHS = 12
FAULTS = Path(__file__).parent / "faults"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone where two architectures were trained without disturbance."""
    clone = Clone(tmp_path_factory.mktemp("kills"), train={"epochs": EPOCHS, "seeds": [1, 2], "patience": 50})
    clone.run("dvc repro train_mlp train_gru")
    return clone


@pytest.fixture
def copy(trained: Clone, tmp_path: Path) -> Path:
    """Code, settings and data of that clone, without its results."""
    for name in ("src", "data/training_data"):
        shutil.copytree(trained.directory / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(trained.directory / "params.yaml", tmp_path)
    return tmp_path


def results(directory: Path, name: str) -> dict[str, bytes]:
    files = [*sorted((directory / "models" / name).glob("*")), directory / f"metrics/train/{name}.json"]
    files.append(directory / f"plots/learning_curves/{name}.png")
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}


def start(directory: Path, name: str, **environment: str) -> subprocess.Popen[str]:
    """The stage in a process group of its own, its lines to be read from stderr."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    return subprocess.Popen(
        [sys.executable, f"src/train_{name}.py"],
        cwd=directory,
        stderr=subprocess.PIPE,
        text=True,
        env=inherited | environment,
        start_new_session=True,
    )


def finish(directory: Path, name: str, expected: dict[str, bytes]) -> str:
    """Start again by the same command, to the end; returns what it said."""
    with start(directory, name) as process:
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert results(directory, name) == expected
    with (directory / f"models/{name}/training_history.csv").open() as file:
        epochs = [(int(row["seed"]), int(row["epoch"])) for row in csv.DictReader(file)]
    assert epochs == [(seed, epoch) for seed in (1, 2) for epoch in range(1, EPOCHS + 1)]
    assert not (directory / ".checkpoints").exists()
    return said


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        # the first checkpoint is written but not yet in place; it is in place, its directory not yet on disk; some later one
        ("mlp", ["worker:fsync:1", "worker:fsync:2", "worker:fsync:9"]),
        ("gru", ["worker:replace:1", "worker:fsync:9"]),
        # in training; all is trained, a model or the last file is being written
        ("mlp", ["worker:replace:7", "trainer:replace:3"]),
        ("gru", [f"worker:replace:{EPOCHS}", "trainer:fsync:1"]),
        ("mlp", [f"worker:replace:{EPOCHS}", "trainer:fsync:11"]),
    ],
)
def test_killed_while_it_writes(trained, copy, name, faults):
    """One training is killed at one fault after the other; what is counted starts anew with each process."""
    for fault in faults:
        with start(copy, name, FAULT=fault, PYTHONPATH=str(FAULTS)) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL, fault
    said_after = finish(copy, name, results(trained.directory, name))
    resumed = [int(epoch) for epoch in re.findall(r"goes on after epoch (\d+)", said_after)]
    if fault.startswith("trainer"):
        assert resumed == [EPOCHS, EPOCHS]
    else:
        assert max(resumed) >= 4, "fsync is called twice a checkpoint"


@pytest.mark.parametrize(("name", "moment"), [("mlp", 0), ("mlp", 1), ("mlp", 2), ("gru", 0), ("gru", 1), ("gru", 2), ("gru", 3)])
def test_killed_at_a_random_moment(trained, copy, name, moment):
    """Three times in one training: while it loads, trains or scores; the trainer alone, or its whole group."""
    chance = random.Random(f"{name} {moment}")
    for _ in range(3):
        with start(copy, name) as process:
            assert process.stderr is not None
            if chance.random() < 0.3:
                time.sleep(chance.uniform(0, 4))
            else:
                for _ in range(chance.randint(1, EPOCHS)):
                    if not process.stderr.readline():
                        break
                time.sleep(chance.uniform(0, 0.2))
            if chance.random() < 0.5:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.communicate()
    finish(copy, name, results(trained.directory, name))


def children(pid: int) -> list[int]:
    """Of all threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_worker_that_dies_is_named_and_the_other_seeds_work_is_kept(trained, copy):
    with start(copy, "gru") as process:
        assert process.stderr is not None
        while "seed 2: epoch 2/" not in (line := process.stderr.readline()):
            assert line
        (server,) = [pid for pid in children(process.pid) if "forkserver" in Path(f"/proc/{pid}/cmdline").read_text()]
        workers = children(server)
        assert len(workers) == 2
        os.kill(workers[-1], signal.SIGKILL)
        _, said = process.communicate()
    assert process.returncode == 1
    (last,) = [line for line in said.splitlines() if line.startswith("train_gru: ")]
    assert re.search(r"gru seed [12]: its process was ended by SIGKILL, often the system short of memory", last)
    assert "finished epochs are kept, the same command goes on after them" in last
    assert len(re.findall("stopped after epoch", said)) == 1, "the other seed went on to its end"
    assert f"goes on after epoch {EPOCHS}" in finish(copy, "gru", results(trained.directory, "gru"))


@pytest.mark.parametrize("how", ["temp", "queue"])
def test_an_experiment_goes_on_after_the_epochs_of_a_killed_training(trained, tmp_path, how):
    """Experiments run in a copy that DVC deletes; their checkpoints are in the project's root all the same."""
    clone = Clone.copy_of(trained.directory, tmp_path)
    params = (tmp_path / "params.yaml").read_text()
    clone.commit()
    (tmp_path / "params.yaml").write_text(params.replace("weight_decay: 0.01", "weight_decay: 0.02"))
    with start(tmp_path, "mlp", FAULT="worker:replace:4", PYTHONPATH=str(FAULTS)) as process:
        process.communicate()
    assert list((tmp_path / ".checkpoints").rglob("state.pt"))
    (tmp_path / "params.yaml").write_text(params)

    said = clone.run(f"dvc exp run --{how} --name again -S train.weight_decay=0.02 train_mlp")
    text = said.stdout + said.stderr
    if how == "queue":
        clone.run("dvc exp run --run-all")
        text = clone.run("dvc queue logs again").stdout
    assert re.search(r"mlp seed [12]: goes on after epoch [2-4]", text)
    assert not (tmp_path / ".checkpoints").exists()


def test_ctrl_c_ends_trainer_and_workers_at_once(trained, copy):
    with start(copy, "gru") as process:
        assert process.stderr is not None
        while "epoch 2/" not in process.stderr.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        began = time.monotonic()
        _, said = process.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert said.splitlines()[-1] == "train_gru: interrupted; finished epochs are kept, the same command goes on after them"
    assert "Traceback" not in said
    finish(copy, "gru", results(trained.directory, "gru"))


def test_ctrl_c_while_the_stage_waits_for_mlflow_loses_no_epoch(trained, copy):
    """The store takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as store:
        uri = f"http://127.0.0.1:{store.getsockname()[1]}"
        with start(copy, "mlp", MLFLOW_TRACKING_URI=uri, CAMPAIGN_TRACKING="") as process:
            curves = copy / "plots/learning_curves/mlp.png"
            while not curves.exists():
                assert process.poll() is None
                time.sleep(0.05)
            time.sleep(0.5)
            os.killpg(process.pid, signal.SIGINT)
            _, said = process.communicate()
    assert process.returncode == 130, said
    assert len(re.findall(f"goes on after epoch {EPOCHS}", finish(copy, "mlp", results(trained.directory, "mlp")))) == 2


def test_ctrl_c_for_others_does_not_end_a_job_in_the_background(trained, copy):
    """A script starts such a job with SIGINT ignored; the terminal sends it to the whole group all the same."""
    start_ignoring = f"trap '' INT; exec {shlex.quote(sys.executable)} src/train_mlp.py"
    with subprocess.Popen(["sh", "-c", start_ignoring], cwd=copy, stderr=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stderr is not None
        while "epoch 2/" not in process.stderr.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert results(copy, "mlp") == results(trained.directory, "mlp")


def test_checkpoints_belong_to_their_settings_code_and_data(trained, copy):
    """Neither changed settings, nor changed code, nor changed data go on after another training's epochs."""
    with start(copy, "mlp", FAULT="worker:replace:4", PYTHONPATH=str(FAULTS)) as process:
        process.communicate()
    state = next((copy / ".checkpoints").rglob("state.pt"))
    params = (copy / "params.yaml").read_text()
    (copy / "params.yaml").write_text(params.replace("weight_decay: 0.01", "weight_decay: 0.02"))
    with start(copy, "mlp") as process:
        _, said = process.communicate()
    assert process.returncode == 0
    assert "goes on" not in said
    (copy / "params.yaml").write_text(params)

    script = copy / "src/learn/loss.py"
    source = script.read_text()
    script.write_text(source + "# other code\n")
    with start(copy, "mlp") as process:
        _, said = process.communicate()
    assert "goes on" not in said
    script.write_text(source)

    assert state.is_file()
    assert "goes on after epoch" in finish(copy, "mlp", results(trained.directory, "mlp"))


def test_a_damaged_checkpoint_is_named_and_ignored(trained, copy):
    with start(copy, "mlp", FAULT="worker:replace:4", PYTHONPATH=str(FAULTS)) as process:
        process.communicate()
    for state in (copy / ".checkpoints").rglob("state.pt"):
        state.write_bytes(state.read_bytes()[:-10] + b"0123456789")
    said = finish(copy, "mlp", results(trained.directory, "mlp"))
    assert re.search(r"checkpoint .*state.pt is damaged; ignored, training starts afresh", said)


def test_a_terminal_shows_what_a_resumed_training_does_and_may_be_closed(trained, copy):
    with start(copy, "mlp", FAULT="worker:replace:4", PYTHONPATH=str(FAULTS)) as process:
        process.communicate()
    terminal = Terminal(60)
    command, environment = [sys.executable, "src/train_mlp.py"], os.environ | {"TERM": "xterm"}
    assert subprocess.run(command, cwd=copy, stderr=terminal.child, env=environment).returncode == 0
    shown = "\n".join(terminal.show())
    assert results(copy, "mlp") == results(trained.directory, "mlp")
    went_on = re.findall(r"^mlp seed ([12]): goes on after epoch (\d+): best 0\.\d+ at (\d+)$", shown, re.MULTILINE)
    assert len({seed for seed, *_ in went_on}) == len(went_on) > 0, "one may have been ended before its first epoch"
    assert all(1 <= int(best) <= int(epochs) < EPOCHS for _, epochs, best in went_on)
    assert all(f"mlp seed {seed}: stopped after epoch {EPOCHS}" in shown for seed in (1, 2))
    assert re.search(r"seed [12] +\d+/12 best 0\.\d{3} at \d+ loss 0\.\d{4} at most 0:\d\d", terminal.written)

    with subprocess.Popen(command, cwd=copy, stderr=terminal.child, env=environment) as process:
        while f" 1/{EPOCHS} " not in terminal.written.split("stopped")[-1]:
            terminal.show(0.02)
            assert process.poll() is None
        terminal.close()
        os.close(terminal.child)
    assert process.returncode == 0
    assert results(copy, "mlp") == results(trained.directory, "mlp")


def test_an_end_by_any_signal_leaves_nothing_among_temporary_files(trained, copy):
    """Nor does a directory for them matter whose path is too long for a socket, which may have some hundred bytes."""
    temporary = copy / ("t" * 100)
    temporary.mkdir()
    for epoch, ending in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGHUP), start=2):
        with start(copy, "mlp", TMPDIR=str(temporary)) as process:
            assert process.stderr is not None
            while f"epoch {2 * epoch}/" not in process.stderr.readline():
                assert process.poll() is None
            os.kill(process.pid, ending)
            process.communicate()
        assert {entry.name.partition("_")[0] for entry in temporary.iterdir()} <= {"torchinductor"}, "which is a cache of torch's"
        assert len(list((copy / ".checkpoints").rglob("listener-*"))) == 1, "the next start has cleared away the last one's"
    finish(copy, "mlp", results(trained.directory, "mlp"))


def test_where_checkpoints_can_hold_no_socket_one_elsewhere_does(copy):
    """As on some shared folders; here by a path that is too long even from the working directory."""
    script = copy / "src/train_mlp.py"
    script.write_text(
        script.read_text().replace("\nimport torch\n", "\nimport os\n\nimport torch\n\nos.environ['DVC_ROOT'] = 'd' * 90\n")
    )
    with start(copy, "mlp") as process:
        _, said = process.communicate()
    assert process.returncode == 0, said


def test_without_any_place_for_a_socket_the_cure_is_named(copy):
    script = copy / "src/train_mlp.py"
    script.write_text(
        script.read_text().replace("\nimport torch\n", "\nimport os\n\nimport torch\n\nos.environ['DVC_ROOT'] = 'd' * 90\n")
    )
    (copy / ("t" * 100)).mkdir()
    with start(copy, "mlp", TMPDIR=str(copy / ("t" * 100))) as process:
        _, said = process.communicate()
    assert process.returncode == 1
    assert re.fullmatch(
        r"train_mlp: no socket can be made in .*d/.checkpoints/mlp/\w+ nor in .*ttt \(AF_UNIX path too long\); set TMPDIR to a "
        r"directory of a short path on a local disk\n", said
    )  # fmt: skip
