import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import campaign
from scaffold import PROJECT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on PATH")


def make(project: Path, target: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # as not called by make
    command = ["make", target, f"PYTHON={shlex.quote(sys.executable)}"]
    done = subprocess.run(command, cwd=project, env=inherited | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of a project whose path has spaces and quotes, set up over a CPU build of torch, where no index answers."""
    project = tmp_path_factory.mktemp("setup") / "it's my ünïverse"
    project.mkdir()
    shutil.copy(PROJECT / "Makefile", project)
    for name in ("requirements.txt", "constraints.txt"):
        (pinned,) = [line for line in (PROJECT / name).read_text().splitlines() if line.startswith("torch==")]
        (project / name).write_text(pinned)
    venv.create(project / ".venv")
    (packages,) = (project / ".venv/lib").glob("python*/site-packages")
    version = f"{pinned.removeprefix('torch==')}+cpu"
    described = packages / f"torch-{version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    (described / "RECORD").touch()
    make(project, "setup", PIP_NO_INDEX="1")
    return packages


@pytest.mark.slow
def test_a_projects_path_can_have_spaces_and_quotes(packages):
    assert (packages.parents[2] / "ready").exists()


def test_setup_keeps_the_cpu_build_of_torch(packages):
    """It satisfies what requirements.txt and constraints.txt ask for, or pip would have looked for another one."""
    assert [found.name.endswith("+cpu.dist-info") for found in packages.glob("torch-*")] == [True]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is set up, and whose campaign.py prints its arguments."""
    shutil.copy(PROJECT / "Makefile", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/campaign.py").write_text("import sys; print(sys.argv[1:])")
    (tmp_path / ".venv").mkdir()
    for name in ("requirements.txt", "constraints.txt", ".venv/ready"):
        (tmp_path / name).touch()
    return tmp_path


TOOLS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(
    "command", [campaign.command_name(function) for function in campaign.COMMANDS if function is not campaign.import_]
)
def test_every_command_that_needs_no_files_has_a_target_that_prints_its_output_alone(project, command):
    """Without the command line that make runs, so that it can be piped."""
    assert make(project, command, PATH=TOOLS) == f"{[command]}\n"


def test_leaks_are_also_called_audit(project):
    assert make(project, "audit", PATH=TOOLS) == "['leaks']\n"


def test_a_root_of_bars_can_have_spaces_and_quotes(project):
    assert make(project, "bars", PATH=TOOLS, ROOT="it's my/bars") == "['bars', \"it's my/bars\"]\n"


def test_help_lists_every_target():
    printed = subprocess.check_output(["make", "--no-print-directory", "help"], cwd=PROJECT, text=True)
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (PROJECT / "Makefile").read_text().replace("\\\n", ""), re.MULTILINE)
    assert {line.split()[1] for line in printed.splitlines()} == set(phony.split()) - {"audit"}


def test_the_loops_tests_run_again_under_a_lowered_instruction_set():
    printed = subprocess.check_output(["make", "--dry-run", "test"], cwd=PROJECT, text=True).replace("\\\n", " ")
    again = re.findall(r"ONEDNN_MAX_CPU_ISA=\w+ ATEN_CPU_CAPABILITY=\w+ pytest -n 2 ([\w/. ]+);", printed)
    assert len(again) == 2
    assert "tests/learn/test_fit.py" in again[0]
    assert all((PROJECT / path).is_file() for paths in again for path in paths.split())


def test_the_continuous_integration_installs_ray_and_triton_first():
    """So that the tests of both run there."""
    assert (PROJECT / ".ci/run").read_text().splitlines()[-2:] == ["make ray triton", "exec make test"]
    printed = subprocess.check_output(["make", "--dry-run", "ray", "triton"], cwd=PROJECT, text=True)
    assert "-r requirements-ray.txt -c constraints.txt" in printed
    assert "-r requirements-triton.txt" in printed


def test_the_kernels_are_tested_by_their_interpreter_where_there_is_one():
    printed = subprocess.check_output(["make", "--dry-run", "test"], cwd=PROJECT, text=True)
    (line,) = [line for line in printed.splitlines() if "TRITON_INTERPRET=1" in line]
    files = re.findall(r"tests/\S+\.py", line)
    assert files == ["tests/learn/test_kernels.py", "tests/learn/test_stacked.py"]
    assert all((PROJECT / name).is_file() for name in files)


def test_a_pull_request_runs_the_tests_and_compares_the_metrics():
    """By the commands of the workflow itself; actionlint, which is not installed with the tests, found nothing in it."""
    workflow = YAML(typ="safe").load((PROJECT / ".github/workflows/tests.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["tests"]["steps"]]
    assert {"make ray triton", "make test"} <= set(steps)
    (line,) = [line.strip() for step in steps for line in step.splitlines() if "dvc metrics diff" in line]
    command = line.partition(" >")[0].replace(".venv/bin/dvc", f"{shlex.quote(sys.executable)} -m dvc")
    done = subprocess.run(["sh", "-c", command], cwd=PROJECT, env=os.environ | {"BASE": "HEAD"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| metrics/" not in done.stdout, "HEAD's are HEAD's"
    assert '! grep -q "^| metrics/" metrics.md' in "".join(steps)


def test_quick_leaves_out_the_slow_tests_alone():
    printed = subprocess.check_output(["make", "--dry-run", "quick"], cwd=PROJECT, text=True)
    assert re.search(r"^pytest -n 2 --ignore tests/slow -m 'not slow'$", printed, re.MULTILINE)
    assert "ruff check ." in printed
