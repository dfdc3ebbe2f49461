"""Full disks, read-only directories, missing permissions, poisoned files: one line, exit code 1, earlier results whole."""

import hashlib
import multiprocessing
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from core.errors import CampaignError
from core.files import open_atomically
from core.run import run
from learn import checkpoint, trainings
from learn.models import load_model
from learn.worker import Note
from scaffold import PROJECT, Clone, mounted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the data is made and the MLP is trained."""
    clone = Clone(tmp_path_factory.mktemp("faults"), train={"seeds": [1, 2]})
    clone.run("dvc repro train_mlp")
    clone.commit()
    return clone


FULL = "No space left on device at"
READ_ONLY = "Read-only file system at"


def tree(directory: Path) -> dict[str, str]:
    return {
        str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }


def results(directory: Path) -> dict[str, str]:
    return tree(directory / "models") | tree(directory / "data") | tree(directory / "metrics")


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


def write_in_a_process(before: str, write: str) -> subprocess.CompletedProcess[str]:
    """Evaluate the expression `write` as a stage would, after the statement `before`."""
    imports = f"import os, sys; sys.path.insert(0, {str(PROJECT / 'src')!r})\nfrom pathlib import Path; import numpy"
    imports += "\nfrom core import files; from core.run import run"
    code = f"{imports}\n{before}\nrun(lambda: {write})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("script", "disks"),
    [
        (
            "train_mlp",
            [
                (".checkpoints", "size=40k", FULL),
                ("models/mlp", "size=40k", f"{FULL} models/mlp/"),
                ("models/mlp", "ro", f"{READ_ONLY} models/mlp/seed_1.pt; make the file system writable"),
                ("plots/learning_curves", "size=4k", f"{FULL} plots/learning_curves/mlp.png; free some disk space"),
            ],
        ),
        (
            "generate_data",
            [
                ("data/training_data", "size=60k", f"{FULL} data/training_data/train_X.npy"),
                ("data/training_data", "ro", f"{READ_ONLY} data/training_data/train_X.npy"),
                ("metrics", "ro", f"{READ_ONLY} metrics/generate_data.json"),
            ],
        ),
        ("simulate_market", [("data/simulated", "size=20k", f"{FULL} data/simulated/SIM01/1Hour/data.parquet")]),
    ],
)
def test_a_full_or_read_only_disk_is_one_line_and_harms_no_result(trained, script, disks):
    before = results(trained.directory)
    for directory, options, finding in disks:
        shutil.rmtree(trained.directory / ".checkpoints", ignore_errors=True)
        with mounted(trained.directory / directory, options):
            line = last_line(trained.run(f"python src/{script}.py", fails=True))
            assert line.startswith(f"{script}: ")
            assert finding in line
            assert not list((trained.directory / directory).rglob("*.tmp")), "no half-written file stays"
        assert results(trained.directory) == before
    trained.run(f"python src/{script}.py")  # a training goes on after the epochs that the last disk left it
    assert results(trained.directory) == before


def test_an_array_whose_last_bytes_do_not_fit_is_an_error(tmp_path):
    """numpy writes into a real file by C's buffers, and does not check that the last one was written."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    done = write_in_a_process(limit, f"files.write_array(Path({str(tmp_path / 'y.npy')!r}), numpy.ones(504))")
    assert f"File too large at {tmp_path / 'y.npy'}" in last_line(done)
    assert os.listdir(tmp_path) == []


def test_a_seed_of_an_earlier_run_does_not_stay_among_the_models(trained, tmp_path):
    clone = Clone(tmp_path, train={"seeds": [2]})
    for name in ("data", "models"):
        shutil.copytree(trained.directory / name, tmp_path / name, dirs_exist_ok=True)
    assert (tmp_path / "models/mlp/seed_1.pt").exists()
    clone.run("python src/train_mlp.py")
    left = sorted(file.name for file in (tmp_path / "models/mlp").glob("seed_*"))
    assert left == ["seed_2.pt", "seed_2_val_half_logits.npy"]


def test_a_half_written_file_of_a_killed_process_is_ignored_and_removed(trained):
    """Git and DVC ignore it; the next run by hand overwrites or removes it."""
    halves = [
        "metrics/train/mlp.json.tmp",
        "models/mlp/seed_1.pt.tmp",
        "models/mlp/seed_9.pt.tmp",
        "data/training_data/train_y.npy.tmp",
    ]
    for name in halves:
        (trained.directory / name).write_bytes(b"half")
    assert trained.run("git status --porcelain").stdout == ""
    assert trained.repro("train_mlp") == []
    trained.run("dvc commit --force train_mlp")
    assert trained.run("git status --porcelain").stdout == ""
    for script in ("generate_data", "train_mlp"):
        trained.run(f"python src/{script}.py")
    assert not any((trained.directory / name).exists() for name in halves)


def test_outs_that_dvc_removed_for_a_stage_that_failed_can_be_checked_out(trained):
    before = tree(trained.directory / "models")
    source = (trained.directory / "src/train_mlp.py").read_text()
    (trained.directory / "src/train_mlp.py").write_text(source.replace("return self.head", "return float('nan') * self.head"))
    failed = trained.run("dvc repro train_mlp", fails=True)
    assert "mlp seed 1: the loss is nan at seed 1, epoch 1, step 1; likely a learning rate too high" in failed.stderr
    assert "Traceback" not in failed.stderr
    (trained.directory / "src/train_mlp.py").write_text(source)
    trained.run("dvc checkout train_mlp")
    assert tree(trained.directory / "models") == before
    assert trained.repro("train_mlp") == []


def test_a_missing_permission_is_one_line(tmp_path):
    """Root may write everywhere, and so becomes another user first."""
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "file").write_text("earlier")
    locked.chmod(0o555)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    other_user = "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)"
    done = write_in_a_process(other_user, f"files.write_text(Path({str(locked / 'file')!r}), 'new')")
    assert f"Permission denied at {locked / 'file'}; check the permissions" in last_line(done)
    assert (locked / "file").read_text() == "earlier"


def test_out_of_memory_in_the_middle_of_a_write_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("earlier")

    def main() -> None:
        with open_atomically(path) as file:
            file.write(b"half")
            np.empty(1 << 62, np.uint8)

    monkeypatch.setattr(sys, "argv", ["train_mlp.py"])
    line = re.escape(f"train_mlp: out of memory (while writing {path}); use fewer bars, symbols or CAMPAIGN_JOBS")
    with pytest.raises(SystemExit, match=line):
        run(main)
    assert path.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["file"]


MEMORY_CURE = "start fewer seeds at once (CAMPAIGN_JOBS=1) or lower train.batch_size (now 64)"


@pytest.mark.parametrize(
    ("error", "finding"),
    [
        ("raise torch.cuda.OutOfMemoryError('stub')", f"mlp seed 1: the GPU is out of memory; {MEMORY_CURE}"),
        ("raise MemoryError()", f"mlp seed 1: out of memory; {MEMORY_CURE}"),
        ("torch.empty(1 << 46)", f"mlp seed 1: out of memory; {MEMORY_CURE}"),
    ],
    ids=["on a GPU", "in Python", "in torch"],
)
def test_out_of_memory_in_training_names_the_seed_and_the_cure(trained, error, finding):
    script = trained.directory / "src/train_mlp.py"
    source = script.read_text()
    head = '        """x (B, T, F), asset_ids (B,) -> logits (B,)."""\n'
    assert source.count(head) == 1
    script.write_text(source.replace(head, f"{head}        {error}\n"))
    try:
        assert finding in last_line(trained.run("python src/train_mlp.py", fails=True))
    finally:
        script.write_text(source)
        shutil.rmtree(trained.directory / ".checkpoints", ignore_errors=True)


def test_half_a_message_of_a_worker_that_died_is_dropped():
    receiver, sender = multiprocessing.Pipe(duplex=False)
    sender.send(Note("whole"))
    os.write(sender.fileno(), struct.pack("!i", 100) + b"half of a message")
    sender.close()
    assert list(trainings._messages(receiver)) == [Note("whole")]


class Poison:
    """Run a command when unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


def test_code_planted_in_data_or_models_is_never_run(trained, tmp_path, monkeypatch):
    mark = tmp_path / "poisoned"
    pickle.loads(pickle.dumps(Poison(tmp_path / "works")))
    assert (tmp_path / "works").exists(), "the poison is real"

    place = tmp_path / "campaign"
    for name in ("src", "data", "models", "metrics"):
        shutil.copytree(trained.directory / name, place / name)
    shutil.copy(trained.directory / "params.yaml", place)
    monkeypatch.chdir(place)
    torch.save({"weights": Poison(mark)}, place / "models/mlp/seed_1.pt")
    with pytest.raises(CampaignError, match="seed_1.pt is not a model of this campaign"):
        load_model(Path("models/mlp/seed_1.pt"))
    (place / "models/mlp/seed_1.pt").write_bytes(pickle.dumps(Poison(mark), protocol=2))
    with pytest.raises(CampaignError, match="seed_1.pt is not a model of this campaign"):
        load_model(Path("models/mlp/seed_1.pt"))
    (place / "models/mlp/seed_1.pt").unlink()
    (place / "models/mlp/seed_1.pt").mkdir()
    with pytest.raises(IsADirectoryError):  # what the system says is not taken for the file's fault
        load_model(Path("models/mlp/seed_1.pt"))
    (place / "models/mlp/seed_1.pt").rmdir()

    joblib.dump(Poison(mark), place / "data/training_data/scalers.joblib")
    assert subprocess.run([sys.executable, "src/train_mlp.py"], capture_output=True).returncode == 0
    np.save(place / "data/training_data/train_y.npy", np.array([Poison(mark)], dtype=object), allow_pickle=True)
    done = subprocess.run([sys.executable, "src/train_mlp.py"], capture_output=True, text=True)
    assert "train_y.npy is not a plain array" in last_line(done)

    state = tmp_path / "state.pt"
    data = pickle.dumps(Poison(mark), protocol=2)
    state.write_bytes(hashlib.sha256(data).digest() + data)
    with pytest.raises(checkpoint.Corrupt):
        checkpoint.load(state)
    assert not mark.exists()
