"""What tests are made from: bars, parameters, a stage that must refuse."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from bars.reading import Bars
from core.run import run

PROJECT = Path(__file__).parent.parent
PATIENCE = 600  # seconds for one command
REAL_BARS = PROJECT.parent / "shared" / "data" / "historical"


def make_frame(size: int, seed: int = 0, *, start: str = "2024-01-01", volatility: float = 0.01) -> pd.DataFrame:
    """A random walk of `size` hourly bars, volatile enough for both labels."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, volatility, size)))
    opening = np.append(100.0, close[:-1])
    wick = np.abs(rng.normal(0, volatility, (2, size)))
    return pd.DataFrame(
        {
            "Open": opening,
            "High": np.maximum(opening, close) * (1 + wick[0]),
            "Low": np.minimum(opening, close) * (1 - wick[1]),
            "Close": close,
            "Volume": rng.gamma(2, 500, size),
        },
        index=pd.date_range(start, periods=size, freq="h", tz="UTC", name="timestamp"),
    )


def to_bars(frame: pd.DataFrame) -> Bars:
    times = frame.index.tz_convert("UTC").tz_localize(None).values.astype("datetime64[s]")
    return Bars(times, **{name.lower(): frame[name].to_numpy(np.float64) for name in ("Open", "High", "Low", "Close", "Volume")})


def write_symbol(root: Path, symbol: str, frame: pd.DataFrame) -> Path:
    path = root / symbol / "1Hour" / "data.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)
    return path


def read_params() -> dict:
    return YAML(typ="safe").load((PROJECT / "params.yaml").read_text())


def write_params(directory: Path, **sections: dict) -> dict:
    """The project's params.yaml with some keys of some sections changed."""
    params = read_params()
    for section, keys in sections.items():
        params[section] |= keys
    with (directory / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(params, file)
    return params


def refusal(main: Callable[[], object]) -> str:
    """Run a stage that must end with one line; anything but that is an error of the test."""
    with pytest.raises(SystemExit) as stop:
        run(main)
    message = stop.value.code
    assert isinstance(message, str), "exit code 1 with a line"
    assert "\n" not in message
    assert "Traceback" not in message
    return message


SMALL = {
    "market": {"assets": 2, "bars": 900},
    "data": {"profit": 0.02, "stop": 0.01},
    "train": {"seeds": [2, 1], "epochs": 3, "batch_size": 64},  # seeds in any order
    "mlp": {"hidden_sizes": [16, 8]},
    "lstm": {"hidden_size": 8, "attention_size": 4},
    "gru": {"hidden_size": 8, "attention_size": 4},
    "cnn_lstm": {"channels": [4, 4], "hidden_size": 8, "attention_size": 4},
    "references": {"boosting_rounds": 5, "boosting_min_leaf": 20},
    "compare": {"draws": 200},
}


@contextlib.contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    """A small file system of its own at `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


class Clone:
    """A copy of the working tree in a git repository of its own, with a campaign small enough for a test."""

    def __init__(self, directory: Path, **sections: dict):
        self.directory = directory
        files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, capture_output=True, text=True)
        for name in files.stdout.splitlines():
            if (PROJECT / name).is_file() or (PROJECT / name).is_symlink():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, directory / name, follow_symlinks=False)
        write_params(directory, **{name: SMALL.get(name, {}) | sections.get(name, {}) for name in {**SMALL, **sections}})
        self.run("git init -q .")
        self.run("git config user.name test")
        self.run("git config user.email test@example.org")
        self.commit()

    @classmethod
    def of(cls, directory: Path) -> "Clone":
        """Around a repository that is already there."""
        clone = cls.__new__(cls)
        clone.directory = directory
        return clone

    @classmethod
    def copy_of(cls, other: Path, directory: Path) -> "Clone":
        """A copy of another clone with all that lies in it, also what git and DVC ignore."""
        shutil.copytree(other, directory, symlinks=True, dirs_exist_ok=True)
        clone = cls.of(directory)
        clone.run("git status --short")  # takes note of the new files, which git reset would write again
        return clone

    def commit(self) -> None:
        self.run("git add -A")
        self.run("git -c user.name=test -c user.email=test@example.org commit -qm test")

    def run(self, command: str, *, fails: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `command` with the project's tools first on the path; its exit code must be 0, or must not where it `fails`."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "CAMPAIGN_", "GIT_"))}
        with tempfile.TemporaryFile("w+", newline="") as stdout, tempfile.TemporaryFile("w+", newline="") as stderr:
            # files and not pipes: what it leaves in the background, such as DVC's queue workers, holds a pipe open
            ended = subprocess.run(
                shlex.split(command),
                cwd=self.directory,
                env=inherited | {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "CAMPAIGN_TRACKING": "off"} | environment,
                stdout=stdout,
                stderr=stderr,
                timeout=PATIENCE,
            )
            for file in (stdout, stderr):
                file.seek(0)
            done = subprocess.CompletedProcess(ended.args, ended.returncode, stdout.read(), stderr.read())
        assert (done.returncode != 0) == fails, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def repro(self, arguments: str = "", **environment: str) -> list[str]:
        """Stages that `dvc repro` really ran, in order."""
        done = self.run(f"dvc repro {arguments}", **environment)
        return re.findall(r"^Running stage '(\w+)'", done.stdout, re.MULTILINE)

    def read(self, name: str) -> Any:
        return json.loads((self.directory / name).read_text())

    def params(self, **sections: dict) -> None:
        """Change keys of the clone's params.yaml."""
        path = self.directory / "params.yaml"
        params = YAML(typ="safe").load(path.read_text())
        for section, keys in sections.items():
            params[section] |= keys
        with path.open("w") as file:
            YAML(typ="safe").dump(params, file)

    def lock(self) -> str:
        return (self.directory / "dvc.lock").read_text()
