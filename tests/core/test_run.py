"""Scripts end with one line and an exit code for what a user or the system can cause, and hide no defect."""

import os
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.files import project_root
from core.pipeline import Stage
from core.run import run, stage_inputs
from scaffold import PROJECT, refusal


def np_memory_error() -> BaseException:
    with pytest.raises(MemoryError) as error:
        np.empty(1 << 62, np.uint8)
    return error.value


def after(first: BaseException, error: BaseException) -> BaseException:
    error.__context__ = first
    return error


def raises(error: BaseException) -> Any:
    def main() -> None:
        raise error

    return main


def test_errors_of_the_system_name_the_path_and_the_cure(desk):
    assert refusal(raises(OSError(28, "x", "data/a.npy"))) == (
        "stage: No space left on device at data/a.npy; free some disk space, then start again"
    )
    assert "Permission denied at models/x; check the permissions" in refusal(raises(PermissionError(13, "x", "models/x")))
    assert refusal(raises(OSError(24, "x"))) == "stage: Too many open files; raise the limit of open files: ulimit -n"
    assert "out of memory (no detail); use fewer bars" in refusal(raises(MemoryError()))


@pytest.mark.parametrize(
    ("error", "explained"),
    [
        (RuntimeError("can't start new thread"), "out of memory, or of processes (can't start new thread); set CAMPAIGN_JOBS=1"),
        (after(RuntimeError("can't start new thread"), AttributeError("terminate")), "out of memory, or of processes"),
        (pa.ArrowMemoryError("malloc of size 64 failed"), "out of memory (malloc of size 64 failed); use fewer bars"),
        (np_memory_error(), "out of memory (Unable to allocate "),
        (OSError(12, "Cannot allocate memory"), "out of memory ([Errno 12] Cannot allocate memory); use fewer bars"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "out of memory (libtorch.so: failed to map"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory ("),
        (RuntimeError("std::bad_alloc"), "out of memory ("),
        (BlockingIOError(11, "x"), "Resource temporarily unavailable; set CAMPAIGN_JOBS=1, or raise the limit of proc"),
        (IsADirectoryError(21, "x", "models/mlp"), "Is a directory at models/mlp; a directory stands where a file belongs"),
        (OSError(36, "x", "x" * 9999), f"File name too long at {'x' * 200}…; choose a shorter one"),
        (FileNotFoundError(2, "x"), "No such file or directory; start in the project's root"),
        (FileNotFoundError(2, "x", "models/x"), "No such file or directory at models/x; run the stage that makes it: dvc repro"),
    ],
    ids=str,
)  # fmt: skip
def test_errors_of_memory_processes_and_disks_are_explained(desk, error, explained):
    assert refusal(raises(error)).startswith(f"stage: {explained}")


def test_a_disk_without_space_for_temporary_files_is_one_line(desk, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(desk / "nowhere")])
    said = "stage: no directory for temporary files can be written; free some disk space, or set TMPDIR to one that can"
    assert refusal(tempfile.mkdtemp) == said


def test_an_import_that_fails_for_another_reason_is_a_defect(desk):
    with pytest.raises(ImportError):
        run(raises(ImportError("no name in module")))


STREAMS = """
import sys
sys.path.insert(0, {source!r})
from core.errors import print_stderr
from core.files import write_text
from core.run import run
def main():
    print_stderr("said")
    write_text(__import__("pathlib").Path("result"), "written")
    with open("first", "w") as file:
        print_stderr("said")
        file.write("alone")
    {last}
run(main)
"""


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "0<&- 1>&- 2>&-", "2> >(true)"])
def test_a_stage_goes_on_when_its_messages_cannot_be_printed(tmp_path, redirection):
    (tmp_path / "stage_.py").write_text(STREAMS.format(source=str(PROJECT / "src"), last="pass"))
    command = ["bash", "-c", f"sleep 0.1; {shlex.quote(sys.executable)} stage_.py {redirection}"]
    assert subprocess.run(command, cwd=tmp_path, timeout=60).returncode == 0
    assert (tmp_path / "result").read_text() == "written"
    assert (tmp_path / "first").read_text() == "alone"


@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        (">/dev/full", "stage_: No space left on device; free some disk space, then start again\n"),
        (">&-", "stage_: Bad file descriptor; do not close standard output: results go there\n"),
        ("| true", ""),
    ],
)
def test_results_that_cannot_be_printed_are_an_error(tmp_path, redirection, said):
    """Also when only the last flush fails."""
    (tmp_path / "stage_.py").write_text(STREAMS.format(source=str(PROJECT / "src"), last="print('result ± 1')"))
    command = f"set -o pipefail; {shlex.quote(sys.executable)} stage_.py {redirection}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"said\nsaid\n{said}")


@pytest.mark.parametrize(
    ("arguments", "begins"), [("simulate_market.py --help", "simulate_market"), ("campaign.py --help", "campaign")]
)
def test_help_that_cannot_be_printed_is_one_line(tmp_path, arguments, begins):
    command = f"unset PYTHONUNBUFFERED; {shlex.quote(sys.executable)} {PROJECT}/src/{arguments} >/dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    line = f"{begins}: No space left on device; free some disk space, then start again\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_a_defect_keeps_its_traceback(desk):
    with pytest.raises(ZeroDivisionError):
        run(raises(ZeroDivisionError()))


def test_ctrl_c_ends_with_exit_code_130(desk, capsys):
    with pytest.raises(SystemExit) as stop:
        run(raises(KeyboardInterrupt()))
    assert stop.value.code == 130
    assert capsys.readouterr().err == "stage: interrupted\n"


BELOW = Stage(Path("below/dvc.yaml"), "train")


@pytest.fixture
def below(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project in a directory of the working directory, whose stage `train` has a matrix of a and b."""
    (desk / "below/.dvc").mkdir(parents=True)
    deps = "[data, ../src, '../${data.bars}']"
    BELOW.pipeline.write_text(f"stages:\n  train:\n    matrix: {{architecture: [a, b]}}\n    deps: {deps}\n")
    for name in ("below/data", "src", "bars"):
        (desk / name).mkdir()
        (desk / name / "file").touch()
    monkeypatch.setattr(sys, "argv", ["src/below/train.py", "b"])
    return desk


def test_a_stage_of_another_pipeline_is_locked_there_and_its_inputs_are_noted(below, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(below / "below"))
    seen = []

    def main(item: str) -> None:
        seen.append((item, stage_inputs().deps, project_root(), os.listdir("below/.dvc/tmp/stages")))

    run(main, stage=BELOW, takes_item=True)
    assert seen == [("b", ("below/data", "src", "bars"), below, ["train@b"])]
    assert os.environ["DVC_ROOT"] == str(below / "below")


@pytest.mark.parametrize("name", ["below/data/file", "src/file", "bars/file"])
def test_a_stage_of_another_pipeline_fails_where_an_input_changed(below, name):
    def main(item: str) -> None:
        Path(name).write_text("changed")

    with pytest.raises(SystemExit, match=f"^train b: changed while this ran: {name}; nothing is recorded"):
        run(main, stage=BELOW, takes_item=True)


@pytest.mark.parametrize("arguments", [[], ["c"], ["a", "b"]])
def test_what_is_no_item_of_the_matrix_is_wrong_usage(below, monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        run(raises(AssertionError()), stage=BELOW, takes_item=True)
    found = " ".join(arguments) or "nothing"
    assert (stop.value.code, capsys.readouterr().err) == (
        2, f"train: takes one of a, b, found {found}; settings are in params.yaml\n"
    )  # fmt: skip


SCRIPTS = sorted(path.name for path in (PROJECT / "src").glob("*.py"))
STAGES = [name for name in SCRIPTS if name != "campaign.py"]
FOLD_STAGES = sorted(f"walk_forward/{path.name}" for path in (PROJECT / "src/walk_forward").glob("*_folds.py"))


@pytest.mark.slow
@pytest.mark.parametrize("command", [[name] for name in STAGES] + [["campaign.py", "bars"]], ids=lambda command: command[-1])
def test_a_refusal_is_exit_code_1_and_one_line_on_standard_error(tmp_path, command):
    script, *arguments = command
    done = subprocess.run([sys.executable, PROJECT / "src" / script, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(" ".join([script.removesuffix(".py"), *arguments]) + ": params.yaml not found")
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("script", SCRIPTS + FOLD_STAGES)
def test_every_script_has_help_and_refuses_unknown_arguments(desk, monkeypatch, capsys, script):
    """In this process, which has torch already; `test_a_refusal_is_exit_code_1...` starts them as users do."""

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(PROJECT / "src" / script), run_name="__main__")
        return stop.value.code, *capsys.readouterr()

    code, out, err = call("--help")
    assert (code, err) == (0, "")
    assert len(out) > 15
    if script in FOLD_STAGES:
        Path("walk_forward").mkdir()
        shutil.copy(PROJECT / "walk_forward/dvc.yaml", "walk_forward")  # says which items train_folds takes
    code, out, err = call("--epochs", "3")
    assert (code, out) == (2, "")
    if script in STAGES:
        assert err == f"{script[:-3]}: takes no arguments, found --epochs 3; settings are in params.yaml\n"
