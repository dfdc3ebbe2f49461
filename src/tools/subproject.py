"""Run the DVC projects inside this one: walk-forward's, and the search's."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from core.errors import CampaignError

MAX_SECONDS_TO_END = 15.0  # of dvc and its stage, after Ctrl-C


def check_link(directory: Path) -> None:
    """Check that ``src`` in `directory` is a link to this project's. Raises CampaignError."""
    link = directory / "src"
    if not (link.is_dir() and link.samefile("src")):
        raise CampaignError(f"{link} is no link to src; make it one: ln -sfT ../src {link}")


def repro(directory: Path) -> None:
    """Run ``dvc repro`` in the DVC project at `directory`, its output passed through.

    Raises:
        CampaignError: it fails.
        KeyboardInterrupt: after dvc has ended; a terminal sends Ctrl-C to dvc as well.
        SystemExit: SIGTERM came; dvc has ended, too.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # of the python that stages run
    command = [sys.executable, "-m", "dvc", "repro"]
    with subprocess.Popen(command, cwd=directory, env=os.environ | {"PATH": path}) as process, ending_with_sigterm(process):
        try:
            code = process.wait()
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(MAX_SECONDS_TO_END)
            process.terminate()  # where it has not ended, as after kill -INT of this process alone
            raise KeyboardInterrupt("what is finished is kept; the same command goes on") from None
    if code:
        raise CampaignError(f"dvc repro ended with exit code {code} in {directory}/; see its output above")


@contextlib.contextmanager
def ending_with_sigterm(process: subprocess.Popen) -> Iterator[None]:
    """End `process` and this one where SIGTERM comes in the block; else dvc would go on alone."""

    def end(number: int, frame: FrameType | None) -> None:
        process.terminate()
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
