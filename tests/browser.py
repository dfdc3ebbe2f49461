"""A browser without a window, for what only a browser tells."""

import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--enable-logging=stderr",
)  # fmt: skip
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="neither chromium nor google-chrome on PATH")


def browse(file: Path, profile: Path) -> subprocess.CompletedProcess[str]:
    """The page's elements after its scripts ran (stdout) and its console (stderr)."""
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
