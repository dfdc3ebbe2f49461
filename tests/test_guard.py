"""The start of a script: Ctrl-C, another python, a shortage of memory, a dvc that is gone."""

import guard

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaffold import PROJECT, Clone

SCRIPTS = sorted(
    path
    for path in (PROJECT / "src").glob("*.py")
    if "    stage.run(main" in path.read_text() or "stage.run(lambda" in path.read_text()
)
HEAD = (
    'import sys\n\nsys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out\nimport guard\n\n'
)


def test_every_script_begins_with_the_guard():
    assert len(SCRIPTS) >= 14
    for script in (*SCRIPTS, PROJECT / "src/mirror.py"):
        assert script.read_text().split('"""', 2)[2].lstrip().startswith(HEAD), script


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_ctrl_c_while_a_script_starts_is_no_traceback(script, tmp_path):
    """Right after the guard is there, and while it imports the packages; `importtime` tells when."""
    for seen in ("guard", "numpy" if script.stem != "verify" else "ruamel.yaml.main"):
        command = [sys.executable, "-X", "importtime", script]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stderr:
                if line.rpartition("|")[2].strip() == seen:
                    break
            process.send_signal(signal.SIGINT)
            said = process.stderr.read() + process.stdout.read()
        assert process.returncode in (-signal.SIGINT, 130)
        assert "Traceback" not in said and "Error" not in said


def test_ctrl_c_is_still_ignored_by_a_script_in_the_background(tmp_path):
    code = f"trap '' INT; exec {sys.executable} {PROJECT}/src/check_data.py"
    with subprocess.Popen(["sh", "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True, process_group=0) as process:
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr.read().startswith("check_data: params.yaml not found")


def test_what_watches_for_dvcs_end_is_not_opened_in_the_place_of_a_closed_stream(tmp_path):
    code = f"DVC_STAGE=check_data {sys.executable} {PROJECT}/src/check_data.py 2>&-; exit $?"
    assert subprocess.run(["sh", "-c", code], cwd=tmp_path).returncode == 1, "as for any refusal"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_python_without_the_packages_is_named_with_the_cure(script, tmp_path):
    done = subprocess.run([sys.executable, "-S", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"{script.stem}: no package '\w+' for {re.escape(sys.executable)}; {re.escape(guard.CURE)}\n", done.stderr
    )


@pytest.mark.parametrize("version", [(3, 8), (3, 10)])
def test_an_older_python_understands_what_refuses_it(version):
    """A system's python, where dvc runs without an activated environment."""
    for file in (*SCRIPTS, PROJECT / "src/guard.py"):
        ast.parse(file.read_text(), feature_version=version)
    code = f"import sys; sys.version_info = {version}; sys.path.insert(0, {str(PROJECT / 'src')!r}); import guard"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    found = f"{sys.executable} is {sys.version.split()[0]}"
    assert done.stderr == f"-c: Python 3.11 or later is needed, {found}; {guard.CURE}\n"


@pytest.mark.slow
def test_dvc_without_the_environment_names_the_cure_which_helps(tmp_path):
    """`.venv/bin/dvc repro`, while the first python of the path has no packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (tmp_path / "campaign").mkdir()
    clone = Clone(tmp_path / "campaign")
    path = f"{tmp_path}/bare/bin:/usr/bin:/bin"
    dvc = f"{sys.executable} -m dvc repro simulate_market"
    refused = clone.run(dvc, fails=True, PATH=path).stderr
    assert f"simulate_market: no package 'numpy' for {tmp_path}/bare/bin/python; {guard.CURE}\n" in refused
    assert "Traceback" not in refused
    os.symlink(Path(sys.prefix), tmp_path / "campaign/.venv")
    clone.run("sh -c 'unset VIRTUAL_ENV; . .venv/bin/activate && PYTHONSAFEPATH=1 dvc repro simulate_market'", PATH=path)


def test_a_search_path_without_the_scripts_directory_is_no_matter(tmp_path):
    for environment, option in (({"PYTHONSAFEPATH": "1"}, []), ({}, ["-P"])):
        command = [sys.executable, *option, PROJECT / "src/simulate_market.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | environment)
        assert done.stderr.startswith("simulate_market: params.yaml not found")


def test_what_cannot_be_imported_is_told_from_a_defect():
    def told(kind: type[ImportError], said: str, name: str | None = None) -> str:
        return guard.explain(kind(said, name=name)) or "a defect"

    mapped = "libtorch_cpu.so: failed to map segment from shared object"
    assert told(ImportError, mapped).startswith(f"out of memory while it starts ({mapped}); ")
    assert told(ImportError, "x.so: cannot allocate memory in static TLS block").startswith("out of memory")
    assert (guard.explain(MemoryError()) or "").startswith("out of memory while it starts (no detail)")
    assert (guard.explain(RuntimeError("can't start new thread")) or "").startswith("out of memory")
    broken = told(ImportError, "libcudart.so.12: cannot open shared object file", "torch._C")
    assert broken == (
        "package torch cannot be imported (libcudart.so.12: cannot open shared object file); install it again: "
        "pip install -r requirements.txt -c constraints.txt --force-reinstall"
    )
    assert told(ImportError, "cannot import name 'x' from 'core.fit'", "core.fit") == "a defect"
    assert told(ModuleNotFoundError, "No module named 'core.fti'", "core.fti") == "a defect"
    assert guard.explain(ValueError("x")) is None


@pytest.mark.skipif(sys.platform != "linux", reason="its limits of memory")
def test_memory_that_runs_out_while_a_script_starts_is_told_as_that(tmp_path):
    command = f"ulimit -v 200000; exec {sys.executable} {PROJECT}/src/train_mlp.py"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"train_mlp: out of memory while it starts \(.*\); end other programs, .*\n", done.stderr)


STAGE = """
import sys
sys.path.insert(0, {source!r})
import os, time
sys.modules["__main__"].__file__ = os.path.join({source!r}, "{name}.py")
import guard
print(os.getpid(), flush=True)
time.sleep(30)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds dvc in /proc")
@pytest.mark.parametrize("between", ["", "sh"])
@pytest.mark.parametrize(
    ("name", "stage", "ends"), [("evaluate", "evaluate", True), ("mirror", "evaluate", False), ("evaluate", "", False)]
)
def test_a_stage_ends_with_its_dvc_and_nothing_else_does(tmp_path, between, name, stage, ends):
    """A stand-in for dvc: what starts the script with DVC_STAGE, itself or by a shell that stays in between."""
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
            assert process.stderr.read().startswith(f"{name}: ended, since the dvc that would record it is gone\n")
            assert not Path(f"/proc/{pid}/exe").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
        else:
            time.sleep(0.3)
            os.kill(pid, signal.SIGKILL)
