"""A real dvc beside a Python without the packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import startup
from scaffold import Clone

pytestmark = pytest.mark.slow


def test_dvc_without_the_environment_names_the_cure_and_the_cure_works(tmp_path):
    """`.venv/bin/dvc repro`, while the first python of the path has no packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (tmp_path / "campaign").mkdir()
    clone = Clone(tmp_path / "campaign")
    path = f"{tmp_path}/bare/bin:/usr/bin:/bin"
    dvc = f"{sys.executable} -m dvc repro simulate_market"
    refused = clone.run(dvc, fails=True, PATH=path).stderr
    assert f"simulate_market: no package 'numpy' for {tmp_path}/bare/bin/python; {startup.ACTIVATE_HINT}\n" in refused
    assert "Traceback" not in refused
    os.symlink(Path(sys.prefix), tmp_path / "campaign/.venv")
    clone.run("sh -c 'unset VIRTUAL_ENV; . .venv/bin/activate && PYTHONSAFEPATH=1 dvc repro simulate_market'", PATH=path)
