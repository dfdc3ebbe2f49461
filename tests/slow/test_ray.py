"""CAMPAIGN_BACKEND=ray: the same bytes on a Ray of this machine and on a cluster of two nodes, and what may go wrong there."""

import contextlib
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from readme import block
from scaffold import PROJECT, Clone
from terminal import Terminal

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: make ray")
pytestmark = pytest.mark.slow
PATIENCE = 240  # seconds for whatever is waited for
OUTS = ("data/training_data", "models", "data/predictions", "metrics", "plots", "reports")


def contents(clone: Clone) -> dict[str, bytes]:
    files = (file for out in OUTS for file in (clone.directory / out).rglob("*") if file.is_file())
    return {str(file.relative_to(clone.directory)): file.read_bytes() for file in files}


class Nodes:
    """A cluster on loopback, with so many CPUs on each node as `ray_nodes` takes them; the first is the head."""

    def __init__(self, *cpus: int | str):
        command = [sys.executable, PROJECT / "tests/ray_nodes.py", *map(str, cpus)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.address = self.process.stdout.readline().strip()
        assert re.fullmatch(r"127\.0\.0\.1:\d+", self.address)

    def remove_last(self) -> None:
        print("remove", file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "removed\n"


@contextlib.contextmanager
def cluster(*cpus: int | str) -> Iterator[Nodes]:
    nodes = Nodes(*cpus)
    try:
        yield nodes
    finally:
        started = psutil.Process(nodes.process.pid).children(recursive=True)
        nodes.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            nodes.process.wait(20)
        nodes.process.stdout.close()
        for process in started:  # what a killed node left
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@contextlib.contextmanager
def running(clone: Clone, command: str, **environment: str) -> Iterator[subprocess.Popen]:
    """Run a command of the clone on Ray beside the block; its standard error is a pipe."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "CAMPAIGN_TRACKING": "off", "CAMPAIGN_BACKEND": "ray", "PYTHONUNBUFFERED": "1"} | environment
    process = subprocess.Popen(
        shlex.split(command),
        cwd=clone.directory,
        env=os.environ | settings,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def wait_for_line(process: subprocess.Popen, pattern: str) -> str:
    """Read standard error until a line has the pattern."""
    for line in process.stderr:
        if re.search(pattern, line):
            return line
    raise AssertionError(f"no line with {pattern!r}")


def wait_for_lines(process: subprocess.Popen, *patterns: str) -> None:
    """Read standard error until each pattern was in a line, whatever their order."""
    left = set(patterns)
    while left:
        line = wait_for_line(process, "|".join(left))
        left = {pattern for pattern in left if not re.search(pattern, line)}


def workers(title: str) -> list[psutil.Process]:
    """Processes in which Ray runs a task of this name."""
    return [process for process in psutil.process_iter() if f"ray::{title}" in " ".join(_command(process))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def listening(pid: int) -> set[str]:
    """Addresses on which a process and its children listen; there are some."""
    found = set()
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            sockets = process.net_connections("inet")
            found |= {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}
    assert found
    return found


def wait_until_none(title: str) -> None:
    end = time.monotonic() + 60
    while found := workers(title):
        assert time.monotonic() < end, f"{found} go on"
        time.sleep(0.2)


@pytest.fixture
def clone(finished_campaign: Path, tmp_path: Path) -> Clone:
    return Clone.copy_of(finished_campaign, tmp_path / "clone")


@pytest.fixture
def long_mlp(clone: Clone) -> Clone:
    """A training that lasts until it is disturbed, and its bytes when nothing disturbs it."""
    clone.params(train={"epochs": 60, "patience": 60, "seeds": [1, 2]})
    return clone


@needs_ray
def test_a_train_stage_has_the_same_bytes_on_ray_and_mlflow_has_every_epoch(clone):
    expected = contents(clone)
    tracking = {"CAMPAIGN_TRACKING": "on", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = clone.run("dvc repro --force -s train_lstm", CAMPAIGN_BACKEND="ray", CAMPAIGN_JOBS="1", **tracking)
    assert "lstm seed 2: epoch 1/" in done.stderr
    assert contents(clone) == expected
    assert not list((clone.directory / ".checkpoints").rglob("state.pt"))
    with contextlib.closing(sqlite3.connect(clone.directory / "mlflow.db")) as store:
        points = "from metrics join tags using (run_uuid) where metrics.key = 'epoch/val_f1' and tags.key = 'mlflow.parentRunId'"
        (epochs,) = store.execute(f"select count(*) {points}").fetchone()
        statuses = store.execute("select distinct status from runs").fetchall()
    assert epochs == sum(seed["epochs"] for seed in clone.read("metrics/train/lstm.json")["seeds"])
    assert statuses == [("FINISHED",)]


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """An empty directory, in which only one process sees what it mounts there."""
    directory = tmp_path / "hidden"
    directory.mkdir()
    done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", directory], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system of its own can be made here: {done.stderr.strip()}")
    return directory


def in_hiding(clone: Clone, hidden: Path, out: Path, *commands: str) -> str:
    """Write a command that runs `commands` in a copy of the clone that no other process sees, and brings its outs to `out`."""
    out.mkdir()
    steps = [f"mount -t tmpfs none {hidden}", f"cp -a {clone.directory} {hidden}", f"cd {hidden}/clone", *commands]
    return f"unshare -m sh -c {shlex.quote(' && '.join([*steps, f'cp -a models data metrics plots {out}']))}"


def without_reports(outs: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in outs.items() if not name.startswith("reports/")}


@needs_ray
def test_two_nodes_give_the_same_bytes_also_where_they_do_not_see_the_files(clone, hidden, tmp_path):
    stages = [f"python src/{stage}.py" for stage in ("generate_data", "train_mlp", "fit_references", "evaluate")]
    command = in_hiding(clone, hidden, tmp_path / "out", "rm -rf models/mlp", *stages)
    with cluster(1, 1) as nodes, running(clone, command, RAY_ADDRESS=nodes.address) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert contents(Clone.of(tmp_path / "out")) == without_reports(contents(clone))


@needs_ray
def test_trainings_share_a_gpu_as_they_are_told_to(clone):
    """Ray takes the node to have a GPU, which is counted; the network is trained on the processor all the same, in a group."""
    clone.run("python src/train_mlp.py", CAMPAIGN_MEMBERS="16")
    expected = contents(clone)
    assert all("members" in seed for seed in clone.read("metrics/train/mlp.json")["seeds"])
    with cluster("4:gpu") as nodes:
        share = {"CAMPAIGN_BACKEND": "ray", "RAY_ADDRESS": nodes.address, "CAMPAIGN_GPUS_PER_TRAINING": "0.5"}
        said = clone.run("python src/campaign.py check", **share).stdout
        assert f"Ray at {nodes.address} with 1 node, 4 CPUs, 1 GPUs of which a training gets 0.5" in said
        clone.run("python src/train_mlp.py", **share)
        assert contents(clone) == expected
        needs = clone.run(
            "python src/train_mlp.py", fails=True, **share | {"CAMPAIGN_GPUS_PER_TRAINING": "2", "CAMPAIGN_RAY_PATIENCE": "3"}
        ).stderr
    assert re.search(r"no room for \d+ s on the Ray cluster .* 1 of 1 GPU free, and each needs 1 CPU and 2 GPU; end what", needs)


@needs_ray
@pytest.mark.parametrize("text", ["0", "none", "inf"])
@pytest.mark.parametrize("name", ["CAMPAIGN_GPUS_PER_TRAINING", "CAMPAIGN_RAY_PATIENCE"])
def test_a_variable_that_is_no_number_above_zero_is_refused(clone, name, text):
    done = clone.run("python src/train_mlp.py", fails=True, CAMPAIGN_BACKEND="ray", **{name: text})
    assert re.fullmatch(rf"train_mlp: {name} is '{text}'; it must be .* above zero.*, or unset\n", done.stderr)


@needs_ray
def test_a_training_whose_worker_is_killed_starts_again(long_mlp):
    clone = long_mlp
    clone.run("python src/train_mlp.py")
    expected = contents(clone)
    with running(clone, "python src/train_mlp.py") as process:
        wait_for_line(process, "mlp seed 1: epoch 5/60")
        assert listening(process.pid) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        for worker in workers("mlp seed 1"):
            worker.kill()
        assert "mlp seed 1: its worker ended; it starts again" in wait_for_line(process, "starts again")
        wait_for_line(process, "mlp seed 1: goes on after epoch")
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert contents(clone) == expected


@needs_ray
@pytest.mark.parametrize("where", ["shared", "of the node"])
def test_the_trainings_of_a_killed_node_run_again_on_another(long_mlp, hidden, tmp_path, where):
    """After their finished epochs where CAMPAIGN_CHECKPOINTS names a directory that both nodes see, else anew."""
    clone = long_mlp
    clone.run("python src/train_mlp.py")
    command = in_hiding(clone, hidden, tmp_path / "out", "python src/train_mlp.py")
    with cluster(1, 1) as nodes:
        settings = {"CAMPAIGN_CHECKPOINTS": str(tmp_path / "checkpoints")} if where == "shared" else {}
        with running(clone, command, RAY_ADDRESS=nodes.address, **settings) as process:
            wait_for_lines(process, "mlp seed 1: epoch 5/60", "mlp seed 2: epoch 5/60")
            nodes.remove_last()
            lost = wait_for_line(process, "its node is gone; it starts again").partition(":")[0]
            again = wait_for_line(process, rf"{lost}: (goes on after epoch|epoch 1/60)")
            _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert ("goes on" in again) == (where == "shared")
    assert contents(Clone.of(tmp_path / "out")) == without_reports(contents(clone))
    left = [file for file in (tmp_path / "checkpoints").rglob("*") if file.is_file()]
    assert not left, "checkpoints of trainings that are done"


@needs_ray
@pytest.mark.skipif("avx512" not in Path("/proc/cpuinfo").read_text(), reason="no processor that can pass for a lesser one")
def test_a_report_tells_where_seeds_were_trained_on_unlike_processors(clone):
    clone.params(train={"precision": "float32"})
    trained = [f"train_{name}" for name in ("mlp", "lstm", "gru", "cnn_lstm")]
    with cluster(1, "1:avx2") as nodes:
        for stage in trained:
            clone.run(f"dvc repro -s {stage}", CAMPAIGN_BACKEND="ray", RAY_ADDRESS=nodes.address)
    record = clone.read("metrics/train/mlp.json")["environment"]
    assert sorted(re.findall(r"(AVX\w+) \(seeds \d\)", record["processor"])) == ["AVX2", "AVX512"]
    clone.run("dvc repro -s evaluate compare")
    assert "Not trained alike: processor " in (clone.directory / "reports/comparison.md").read_text()


@needs_ray
def test_what_waits_for_room_says_so_and_ends_after_a_while(clone):
    clone.params(train={"epochs": 10_000, "patience": 10_000})
    with cluster(1) as nodes, running(clone, "python src/train_mlp.py", RAY_ADDRESS=nodes.address) as first:
        wait_for_line(first, "epoch 2/")
        environment = {"CAMPAIGN_BACKEND": "ray", "RAY_ADDRESS": nodes.address, "CAMPAIGN_RAY_PATIENCE": "15"}
        done = clone.run("python src/fit_references.py", fails=True, **environment)
    waits, ends = done.stderr.splitlines()[-2:]
    shortage = rf"no room for \d+ s on the Ray cluster at {nodes.address}, which has 0 of 1 CPU free, and each needs 1 CPU"
    assert re.fullmatch(rf"references on data/training_data: {shortage}; waiting, 15 s at most", waits)
    assert re.fullmatch(
        rf"fit_references: references on data/training_data: {shortage}; end what else runs there, or .*=90", ends
    )
    assert done.returncode == 1


@needs_ray
def test_no_training_outlives_the_process_that_sent_it(long_mlp):
    clone = long_mlp
    with cluster(2) as nodes, running(clone, "python src/train_mlp.py", RAY_ADDRESS=nodes.address) as process:
        wait_for_line(process, "mlp seed 1: epoch 5/60")
        os.kill(process.pid, signal.SIGKILL)
        wait_until_none("mlp seed")
    with running(clone, "python src/train_mlp.py") as process:
        assert "goes on after epoch" in wait_for_line(process, "mlp seed 1")
        os.kill(process.pid, signal.SIGKILL)
        wait_until_none("mlp seed")


@needs_ray
def test_ctrl_c_ends_it_and_the_same_command_goes_on(long_mlp):
    clone = long_mlp
    with running(clone, "python src/train_mlp.py") as process:
        wait_for_line(process, "mlp seed 1: epoch 5/60")
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(60) == 130
    assert said.splitlines()[-1] == ("train_mlp: interrupted; finished epochs are kept, the same command goes on after them")
    wait_until_none("mlp seed")
    done = clone.run("python src/train_mlp.py")  # without Ray
    assert "mlp seed 1: goes on after epoch" in done.stderr


@needs_ray
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "where nothing answers .*; start Ray there, or unset it"),
        ("ray://127.0.0.1:1", "it must be host:port of the head node, as ray start prints it, or auto"),
        ("auto", "cannot use Ray at auto .*"),
    ],
)
def test_a_wrong_address_is_refused_in_one_line(clone, address, reason):
    done = clone.run("python src/train_mlp.py", fails=True, CAMPAIGN_BACKEND="ray", RAY_ADDRESS=address)
    assert done.returncode == 1
    assert re.fullmatch(f"train_mlp: .*{reason}\n", done.stderr)


def test_without_ray_one_line_names_the_command_that_installs_it(clone, tmp_path):
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing/ray.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\", name='ray')")
    environment = {"CAMPAIGN_BACKEND": "ray", "PYTHONPATH": str(tmp_path / "missing")}
    done = clone.run("python src/train_mlp.py", fails=True, **environment)
    assert done.returncode == 1
    assert done.stderr == "train_mlp: CAMPAIGN_BACKEND is 'ray', which is not installed (No module named 'ray'); make ray\n"


@needs_ray
def test_check_says_what_the_cluster_has_as_readme_shows(clone):
    done = clone.run("python src/campaign.py check", CAMPAIGN_BACKEND="ray")
    (said,) = (line for line in done.stdout.splitlines() if "cluster" in line)
    (shown,) = (line for line in block("ok       cluster").splitlines() if "cluster  " in line)
    assert re.sub(r"\d+ CPUs", "2 CPUs", said) == shown


@needs_ray
def test_on_a_terminal_ray_s_trainings_have_bars_too(clone):
    terminal = Terminal(100)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "CAMPAIGN_TRACKING": "off", "CAMPAIGN_BACKEND": "ray", "TERM": "xterm"}
    command = [sys.executable, "src/train_mlp.py"]
    ended = subprocess.run(command, cwd=clone.directory, stdout=terminal.child, stderr=terminal.child, env=os.environ | settings)
    lines = terminal.show()
    terminal.close()
    assert ended.returncode == 0, lines
    assert re.search(r"mlp seed [12] \|█+\|  2/2  best 0\.\d{3} at \d  loss 0\.\d{4}  at most +0:00 ", terminal.written)
    assert sum("stopped after epoch 2: all epochs done" in line for line in lines) == 2
    assert clone.repro("train_mlp") == [], "the bytes of this machine"


@needs_ray
def test_a_search_on_ray_leaves_the_bytes_of_a_local_one(clone, tmp_path):
    space = {"mlp": {"dropout": {"low": 0.0, "high": 0.5}, "hidden_sizes": [[4], [8]]}}
    clone.params(search={"trials": 3, "batch": 2, "fresh_seeds": [11, 12], "space": space})
    local = Clone.copy_of(clone.directory, tmp_path / "local")
    local.run("python src/campaign.py search mlp")
    clone.run("python src/campaign.py search mlp", CAMPAIGN_BACKEND="ray")
    files = ("mlp.html", "mlp.json", "mlp.md", "mlp_trials.csv")
    for name in files:
        own, other = (each.directory / "search/by_hand" / name for each in (clone, local))
        assert own.read_bytes() == other.read_bytes(), name
