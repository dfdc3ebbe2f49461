import shutil
import subprocess

import pytest

from scaffold import PROJECT


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on PATH")
def test_a_project_can_lie_under_any_name(tmp_path):
    project = tmp_path / "it's my ünïverse"
    project.mkdir()
    shutil.copy(PROJECT / "Makefile", project)
    for name in ("requirements.txt", "constraints.txt"):
        (project / name).touch()
    done = subprocess.run(["make", "setup"], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (project / ".venv/ready").exists()
