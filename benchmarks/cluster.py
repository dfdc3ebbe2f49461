"""What Ray costs: 1, 16 and 256 trainings of about a second each, as processes of this machine and on a Ray of this machine.

Each training is an MLP's, with the project's runner, checkpoint and messages. What a training costs more on Ray is the difference
of the two times, divided by the trainings that each core ran; what Ray costs once is the time to start it.

Usage: python benchmarks/cluster.py [--trainings 1 16 256] [--windows 20000] [--epochs 2] [--json FILE]
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]

import numpy as np
from throughput import SETTINGS, F, T

from core.cluster import connect
from core.files import write_array, write_json
from core.machine import core_count
from learn.trainings import Failed, Loop, Training, running

HORIZON = 8  # bars after the last window
ARGUMENTS = {"hidden_sizes": [64, 32], "dropout": 0.3, "asset_embedding": 8, "n_features": F, "n_assets": 3, "lookback": T}


def write_splits(directory: Path, windows: int) -> None:
    """Write random rows for `windows` windows of train, and a fifth of them for validation."""
    rng = np.random.default_rng(0)
    for split, size in (("train", windows + T - 1), ("val", windows // 5 + T - 1)):
        y = (rng.random(size) < 0.1).astype(np.int8)
        y[: T - 1] = y[-HORIZON:] = -1
        times = np.arange(size) * np.timedelta64(1, "h") + np.datetime64("2024-01-01", "s")
        arrays = {"X": rng.standard_normal((size, F), np.float32), "y": y, "timestamps": times}
        for name, array in (arrays | {"asset_ids": rng.integers(0, 3, size, np.int16)}).items():
            write_array(directory / f"{split}_{name}.npy", array)
    write_json(directory / "metadata.json", {"content_hash": "random", "horizon": HORIZON})


def seconds(backend: str, splits: Path, number: int, epochs: int) -> float:
    """Run so many trainings on a backend, and return how long that took."""
    os.environ["CAMPAIGN_BACKEND"] = backend
    loop = Loop(**SETTINGS | {"epochs": epochs, "precision": "float32"})
    began = time.perf_counter()
    with running([Training("train_mlp:MLP", ARGUMENTS, loop, splits, seed) for seed in range(number)]) as runner:
        for outcome in runner.outcomes():
            if isinstance(outcome, Failed):
                raise SystemExit(outcome.reason)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--windows", type=int, default=20_000, help="of train")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)  # checkpoints go there
        splits = Path(temporary, "splits")
        write_splits(splits, options.windows)
        seconds("", splits, 1, options.epochs)  # warms up
        began = time.perf_counter()
        connect()
        starting = time.perf_counter() - began
        print(f"Starting Ray: {starting:.1f} s; {core_count()} cores\n")
        print("| trainings | processes, s | Ray, s | more for each training, s |\n|---:|---:|---:|---:|")
        rows = []
        for number in options.trainings:
            local, ray = (seconds(backend, splits, number, options.epochs) for backend in ("", "ray"))
            more = (ray - local) / max(1, number / core_count())
            rows.append({"trainings": number, "processes": local, "ray": ray, "more": more})
            print(f"| {number} | {local:.1f} | {ray:.1f} | {more:.2f} |", flush=True)
        os.chdir("/")
    if options.json:
        options.json.write_text(json.dumps({"starting": starting, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
