"""The benchmarks of training run on a bare machine: torch, numpy and pydantic, and what those need."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scaffold import PROJECT

pytestmark = pytest.mark.slow


def closure(*names: str) -> set[str]:
    """Distributions that `names` need, themselves included."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needs = map(Requirement, importlib.metadata.requires(name) or ())
            waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of packages with nothing but those."""
    directory = tmp_path_factory.mktemp("bare")
    for name in closure("torch", "numpy", "pydantic"):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            (directory / top).symlink_to(distribution.locate_file(top))
    return directory


def run(bare: Path, *command: str) -> str:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(bare), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-S", *command], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_machine_is_bare(bare):
    code = "import importlib.util as u; print([n for n in ('dvc', 'mlflow', 'talib', 'pandas', 'joblib') if u.find_spec(n)])"
    assert run(bare, "-c", code) == "[]\n"


def test_epochs_on_a_device(bare, tmp_path):
    small = f"--device cpu --windows 600 --val-windows 200 --epochs 1 --members 1 3 --out {tmp_path}"
    said = run(bare, "benchmarks/gpu.py", *small.split())
    rows = re.findall(r"^\| (\w+) \| (\d) \| ([\d.]+) \|  \|  \| ([\d.]+) \| 0\.0 \|$", said, re.MULTILINE)
    assert [row[:2] for row in rows] == [(name, members) for name in ("mlp", "lstm", "gru", "cnn_lstm") for members in "13"]
    [minutes] = re.findall(r"^\| 3 \| ([\d.]+) \|  \|  \|$", said, re.MULTILINE)
    written = json.loads((tmp_path / "gpu.json").read_text())["epochs"]
    assert [row["trained_by"] for row in written] == [["Single"], ["Stacked"]] * 4
    of_three = [row["epoch_s"] for row in written if row["members"] == 3]
    assert float(minutes) == pytest.approx(100 * sum(of_three) / 60, abs=0.1)
    assert "Worked out, not measured: 100 epochs of each network." in said
    assert (tmp_path / "gpu.md").read_text() == said


def test_epochs_that_there_is_no_time_for_are_told(bare, tmp_path):
    command = f"benchmarks/gpu.py --device cpu --windows 600 --val-windows 200 --networks mlp --limit 0 --out {tmp_path}"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(bare)}
    command = [sys.executable, "-S", *command.split()]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [f"gpu: no time left for mlp with {members} members" for members in (1, 3, 8, 16)]


def test_throughput(bare):
    said = run(bare, *["benchmarks/throughput.py", "--windows", "256", "--rounds", "1", "--device", "cpu", "--networks", "mlp"])
    rates = re.findall(r"^mlp +(.+?) {2,}([\d,]+) windows/s", said, re.MULTILINE)
    assert {label for label, _ in rates} >= {"ours, float32", "plain, 1 thread"}
    assert all(int(rate.replace(",", "")) > 0 for _, rate in rates)


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: make ray")
def test_what_ray_costs_is_measured():
    command = [sys.executable, "benchmarks/cluster.py", "--trainings", "1", "2", "--windows", "400", "--epochs", "1"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Starting Ray: [\d.]+ s; \d+ cores$", done.stdout, re.MULTILINE)
    assert re.findall(r"^\| (\d) \| [\d.]+ \| [\d.]+ \| -?[\d.]+ \|$", done.stdout, re.MULTILINE) == ["1", "2"]


def test_stages_on_a_market_are_measured():
    command = [sys.executable, "benchmarks/market.py", "--factors", "1", "--networks", "mlp"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| 1 \| 26,000 \| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| (\d*) \|$", done.stdout, re.MULTILINE)
    assert [name for name, *_ in rows] == ["simulate_market", "generate_data", "train_mlp", "fit_references"]
    assert all(float(seconds) > 0 and float(memory) > 0 for _, seconds, memory, _ in rows)
    assert [bool(disk) for *_, disk in rows] == [True, True, False, False]


def test_scoring_of_new_bars_is_measured():
    command = [sys.executable, "benchmarks/predict.py", "--assets", "2"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [(seconds, memory)] = re.findall(r"^\| 2 \| 600 \| ([\d.]+) \| (\d+) \|$", done.stdout, re.MULTILINE)
    assert float(seconds) > 0
    assert 100 < float(memory) < 2000


def test_real_searches_are_run_and_their_reports_quoted():
    command = [sys.executable, "benchmarks/search.py", "--markets", "0", "--trials", "1"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    row = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"\| with signal, learning rate 0\.00001 \| 7 \| \d+ \| (Better|Not shown|None|Worse).*\. \|", row)
