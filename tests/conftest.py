import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before OpenMP is loaded: tests side by side keep all cores busy

import hypothesis
import pytest
import torch

from learn.device import avoid_unusable_amx
from scaffold import REAL_BARS, Clone, write_params

hypothesis.settings.register_profile("reproducible", deadline=None, derandomize=True)
hypothesis.settings.load_profile("reproducible")
avoid_unusable_amx()
torch.set_num_threads(1)  # as in the project's processes; two threads that wait for each other beside another test take minutes
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts in the background ignore Ctrl-C
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup the end of the terminal
os.environ.pop("CAMPAIGN_CUDA_GRAPH", None)
os.environ["CAMPAIGN_TRACKING"] = "off"  # but where it is the matter


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that processes side by side end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def finished_campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a small campaign that has run and is committed, to be copied (`Clone.copy_of`).

    It runs once for all files, also where they are spread over processes.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    directory, making = shared / "finished", shared / "making"
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            shutil.rmtree(making, ignore_errors=True)  # of a process that failed
            making.mkdir()
            clone = Clone(making, train={"epochs": 2}, evaluate={"min_trades": 2})  # with the default no network would trade
            clone.repro()
            clone.commit()
            making.rename(directory)
    return directory


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory with the default params.yaml, as working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage"])
    write_params(tmp_path, data={"bars": "bars"})
    return tmp_path


@pytest.fixture
def real_bars() -> Path:
    if not REAL_BARS.is_dir():
        pytest.skip("no real bars at shared/data/historical beside the project")
    return REAL_BARS
