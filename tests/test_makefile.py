import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from scaffold import PROJECT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on PATH")


def test_the_loops_tests_run_again_under_a_lowered_instruction_set():
    printed = subprocess.check_output(["make", "--dry-run", "test"], cwd=PROJECT, text=True).replace("\\\n", " ")
    again = re.findall(r"ONEDNN_MAX_CPU_ISA=\w+ ATEN_CPU_CAPABILITY=\w+ pytest ([\w/. ]+);", printed)
    assert len(again) == 2
    assert "tests/core/test_fit.py" in again[0]
    assert all((PROJECT / path).is_file() for paths in again for path in paths.split())


def test_a_projects_path_can_have_spaces_and_quotes(tmp_path):
    project = tmp_path / "it's my ünïverse"
    project.mkdir()
    shutil.copy(PROJECT / "Makefile", project)
    for name in ("requirements.txt", "constraints.txt"):
        (project / name).touch()
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    command = ["make", "setup", f"PYTHON={shlex.quote(sys.executable)}"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (project / ".venv/ready").exists()
