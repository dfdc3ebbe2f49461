"""The start of a script: Ctrl-C, another Python, too little memory, a dvc that is gone."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import startup
from scaffold import PROJECT

SCRIPTS = sorted((PROJECT / "src").glob("*.py"))
ARGUMENTS = {"campaign": ["bars"]}  # of scripts that take some
START = """import sys

sys.path.insert(0, __file__.rpartition("{folder}")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

"""


def test_every_script_begins_with_the_same_lines():
    assert len(SCRIPTS) >= 10
    others = [PROJECT / "src/watch/mlflow_writer.py", *(PROJECT / "src/walk_forward").glob("*_folds.py")]
    for script, folder in [*((script, "/") for script in SCRIPTS), *((script, f"/{script.parent.name}/") for script in others)]:
        assert script.read_text().split('"""', 2)[2].lstrip().startswith(START.format(folder=folder)), script


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_ctrl_c_while_a_script_starts_is_no_traceback(script, tmp_path):
    """Right after `core.startup` is imported, and while the packages are; `importtime` prints each module's end."""
    for module in ("core.startup", "numpy"):
        command = [sys.executable, "-X", "importtime", script, *ARGUMENTS.get(script.stem, [])]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stderr:
                if line.rpartition("|")[2].strip() == module:
                    break
            process.send_signal(signal.SIGINT)
            output = process.stderr.read() + process.stdout.read()
        assert process.returncode in (-signal.SIGINT, 130)
        assert "Traceback" not in output and "Error" not in output


def test_ctrl_c_is_still_ignored_by_a_script_in_the_background(tmp_path):
    code = f"trap '' INT; exec {sys.executable} {PROJECT}/src/campaign.py bars"
    with subprocess.Popen(["sh", "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True, process_group=0) as process:
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr.read().startswith("campaign bars: params.yaml not found")


def test_the_descriptor_that_waits_for_dvc_does_not_replace_a_closed_stream(tmp_path):
    code = f"DVC_STAGE=campaign {sys.executable} {PROJECT}/src/campaign.py bars 2>&-; exit $?"
    assert subprocess.run(["sh", "-c", code], cwd=tmp_path).returncode == 1, "as for any refusal"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_python_without_the_packages_is_named_with_the_cure(script, tmp_path):
    done = subprocess.run([sys.executable, "-S", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"{script.stem}: no package '\w+' for {re.escape(sys.executable)}; {re.escape(startup.ACTIVATE_HINT)}\n", done.stderr
    )


@pytest.mark.parametrize("version", [(3, 8), (3, 10)])
def test_an_older_python_parses_the_code_that_refuses_it(version):
    """A system's python, where dvc runs without an activated environment."""
    for file in (*SCRIPTS, PROJECT / "src/core/startup.py"):
        ast.parse(file.read_text(), feature_version=version)
    code = f"import sys; sys.version_info = {version}; sys.path.insert(0, {str(PROJECT / 'src')!r}); import core.startup"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    found = f"{sys.executable} is {sys.version.split()[0]}"
    assert done.stderr == f"-c: Python 3.11 or later is needed, {found}; {startup.ACTIVATE_HINT}\n"


def test_scripts_run_where_their_directory_is_not_on_the_search_path(tmp_path):
    for environment, option in (({"PYTHONSAFEPATH": "1"}, []), ({}, ["-P"])):
        command = [sys.executable, *option, PROJECT / "src/simulate_market.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | environment)
        assert done.stderr.startswith("simulate_market: params.yaml not found")


def test_a_package_that_cannot_be_imported_is_told_apart_from_a_defect():
    def explain(kind: type[ImportError], said: str, name: str | None = None) -> str:
        return startup.explain_import_error(kind(said, name=name)) or "a defect"

    mapped = "libtorch_cpu.so: failed to map segment from shared object"
    assert explain(ImportError, mapped).startswith(f"out of memory while it starts ({mapped}); ")
    assert explain(ImportError, "x.so: cannot allocate memory in static TLS block").startswith("out of memory")
    assert (startup.explain_import_error(MemoryError()) or "").startswith("out of memory while it starts (no detail)")
    assert (startup.explain_import_error(RuntimeError("can't start new thread")) or "").startswith("out of memory")
    broken = explain(ImportError, "libcudart.so.12: cannot open shared object file", "torch._C")
    assert broken == (
        "package torch cannot be imported (libcudart.so.12: cannot open shared object file); install it again: "
        "pip install -r requirements.txt -c constraints.txt --force-reinstall"
    )
    assert explain(ImportError, "cannot import name 'x' from 'learn.fit'", "learn.fit") == "a defect"
    assert explain(ModuleNotFoundError, "No module named 'core.fti'", "core.fti") == "a defect"
    assert startup.explain_import_error(ValueError("x")) is None


@pytest.mark.skipif(sys.platform != "linux", reason="its limits of memory")
def test_too_little_memory_while_a_script_starts_is_one_line(tmp_path):
    command = f"ulimit -v 200000; exec {sys.executable} {PROJECT}/src/train_mlp.py"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"train_mlp: out of memory while it starts \(.*\); end other programs, .*\n", done.stderr)


STAGE = """
import sys
sys.path.insert(0, {source!r})
import os, time
sys.modules["__main__"].__file__ = os.path.join({source!r}, "{name}.py")
import core.startup
print(os.getpid(), flush=True)
time.sleep(30)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds dvc in /proc")
@pytest.mark.parametrize("between", ["", "sh"])
@pytest.mark.parametrize(
    ("name", "stage", "ends"),
    [
        ("evaluate", "evaluate", True),
        ("walk_forward/train_folds", "train_folds@mlp", True),
        ("campaign", "evaluate", False),
        ("evaluate", "", False),
    ],
)
def test_a_stage_ends_with_its_dvc_and_no_other_script_does(tmp_path, between, name, stage, ends):
    """A stand-in for dvc starts the script with DVC_STAGE, directly or by a shell that stays in between."""
    (tmp_path / "script.py").write_text(STAGE.format(source=str(PROJECT / "src"), name=name))
    run = f"[{sys.executable!r}, {str(tmp_path / 'script.py')!r}]"
    command = f"['sh', '-c', 'exec 3>&1; ' + ' '.join({run}) + ' >&3; true']" if between else run
    environment = f"{{**os.environ, 'DVC_STAGE': {stage!r}}}" if stage else "None"
    dvc = f"import os, subprocess; subprocess.run({command}, env={environment})"
    inherited = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    with subprocess.Popen(
        [sys.executable, "-c", dvc], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=inherited
    ) as process:
        pid = int(process.stdout.readline())
        process.kill()
        process.wait()
        if ends:
            assert process.stderr.read().startswith(f"{Path(name).name}: ended, since the dvc that would record it is gone\n")
            assert not Path(f"/proc/{pid}/exe").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
        else:
            time.sleep(0.3)
            os.kill(pid, signal.SIGKILL)
