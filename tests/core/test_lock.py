"""A directory is locked for one process at a time."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from core import lock
from core.errors import CampaignError
from core.lock import lock_directory

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "MAX_WAIT", 0.3)


@contextlib.contextmanager
def holder(path: Path, working_directory: Path, *, orphan: bool = False) -> Iterator[int]:
    """Start another process that locks `path`, and yield its id. An orphan's parent has died."""
    code = (
        f"import os, sys, time; sys.path.insert(0, {str(SOURCE)!r}); os.chdir({str(working_directory)!r})\n"
        "from pathlib import Path; from core import lock\n"
        f"with lock.lock_directory(Path({str(path)!r})) as slot: print(os.getpid(), slot, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code]
    if orphan:
        shell = f"exec 3>&1; {shlex.join(command)} >&3 & wait"
        command = ["sh", "-c", shell]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, slot = process.stdout.readline().split()
        assert slot == str(path)
        if orphan:
            process.kill()
        try:
            yield int(pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def test_a_second_process_of_the_same_directory_is_refused_until_the_first_dies(tmp_path):
    path = tmp_path / "a"
    with holder(path, Path.cwd()) as pid, pytest.raises(CampaignError) as refused, lock_directory(path):
        pass
    assert str(refused.value).startswith(f"this training already runs as process {pid}; wait for its end, or end it (kill {pid})")
    with lock_directory(path) as slot:
        assert slot == path


def test_a_lock_file_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """Its owner ends after we opened the file and before we lock it; another process would lock a new file."""
    opened = []

    def cleared_once(slot: Path) -> TextIO:
        file = open_lock(slot)
        if not opened:
            (slot / "lock").unlink()
        opened.append(file)
        return file

    open_lock = lock._open_lock
    monkeypatch.setattr(lock, "_open_lock", cleared_once)
    with (
        lock_directory(tmp_path / "a") as slot,
        pytest.raises(CampaignError, match="already runs"),
        lock_directory(tmp_path / "a"),
    ):
        pass
    assert slot == tmp_path / "a" and len(opened) > 2


def test_an_orphan_is_named_wherever_it_runs(tmp_path):
    with holder(tmp_path / "a", tmp_path, orphan=True) as pid:
        time.sleep(0.2)
        with pytest.raises(CampaignError, match=f"already runs as process {pid}"):
            lock_directory(tmp_path / "a").__enter__()


@pytest.mark.parametrize("orphan", [False, True])
def test_the_end_of_the_holder_is_waited_for(tmp_path, monkeypatch, orphan):
    """After a kill of dvc the stage needs a moment to end."""
    monkeypatch.setattr(lock, "MAX_WAIT", 30.0)
    with holder(tmp_path / "a", tmp_path if orphan else Path.cwd(), orphan=orphan) as pid:
        time.sleep(0.2)
        ending = threading.Timer(0.3, os.kill, (pid, signal.SIGTERM))
        ending.start()
        with lock_directory(tmp_path / "a") as slot:
            assert slot == tmp_path / "a"
        ending.join()


def test_a_second_experiment_gets_a_directory_of_its_own(tmp_path):
    with holder(tmp_path / "a", tmp_path), lock_directory(tmp_path / "a") as slot:
        assert slot == tmp_path / "a-2"
    with lock_directory(tmp_path / "a") as slot:
        assert slot == tmp_path / "a"


@pytest.mark.parametrize("before", ["", "999999999\n1\n/"])
def test_a_holder_that_has_not_yet_written_its_id_is_waited_for(tmp_path, before):
    """The file is empty, or holds the id of a process that was killed."""
    path = tmp_path / "a"
    path.mkdir()
    (path / "lock").write_text(before)
    code = (
        f"import fcntl, os, time; os.chdir('/'); file = open({str(path / 'lock')!r}, 'a+'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print(flush=True); time.sleep(0.3); file.truncate(0)\n"
        "file.write(f'{os.getpid()}\\n{os.getppid()}\\n{os.getcwd()}'); file.flush(); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            with lock_directory(path) as slot:
                assert slot == tmp_path / "a-2"
        finally:
            process.kill()
