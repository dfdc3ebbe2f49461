import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from scaffold import PROJECT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on PATH")


def make(project: Path, target: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
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


def test_a_projects_path_can_have_spaces_and_quotes(packages):
    assert (packages.parents[2] / "ready").exists()


def test_setup_keeps_the_cpu_build_of_torch(packages):
    """It satisfies what requirements.txt and constraints.txt ask for, or pip would have looked for another one."""
    assert [found.name.endswith("+cpu.dist-info") for found in packages.glob("torch-*")] == [True]


def test_the_leaderboard_and_the_experiments_are_printed_alone(tmp_path):
    """Without the command that make runs, so that they can be piped."""
    shutil.copy(PROJECT / "Makefile", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/leaderboard.py").write_text("import sys; print(*sys.argv[1:], 'asked')")
    (tmp_path / ".venv").mkdir()
    for name in ("requirements.txt", "constraints.txt", ".venv/ready"):
        (tmp_path / name).touch()
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert make(tmp_path, "leaderboard", PATH=tools) == "asked\n"
    assert make(tmp_path, "experiments", PATH=tools) == "experiments asked\n"


def test_the_loops_tests_run_again_under_a_lowered_instruction_set():
    printed = subprocess.check_output(["make", "--dry-run", "test"], cwd=PROJECT, text=True).replace("\\\n", " ")
    again = re.findall(r"ONEDNN_MAX_CPU_ISA=\w+ ATEN_CPU_CAPABILITY=\w+ pytest ([\w/. ]+);", printed)
    assert len(again) == 2
    assert "tests/core/test_fit.py" in again[0]
    assert all((PROJECT / path).is_file() for paths in again for path in paths.split())
