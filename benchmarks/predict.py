"""What scoring new bars takes from a cold start, imports included, on one core: time and memory.

Random walks stand for the assets, and an MLP that was trained on them for one epoch for the model. The other networks take longer
by what they take to score a batch. The whole campaign runs first, in a directory of its own.

Usage: python benchmarks/predict.py [--assets 16 1000] [--bars 600]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import yaml

PROJECT = Path(__file__).resolve().parent.parent
SMALL = {
    "data": {"bars": "bars", "profit": 0.02, "stop": 0.01, "splits": [0.5, 0.25, 0.25]},
    "train": {"seeds": [1], "epochs": 1},
    "references": {"boosting_rounds": 5, "max_windows": 10_000},
    "compare": {"draws": 100},
}


def write_walk(root: Path, symbol: str, bars: int, seed: int) -> None:
    """Write a random walk of hourly bars."""
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.01, bars))), 4)
    opening = np.append(100.0, close[:-1])
    wick = np.abs(rng.normal(0, 0.005, (2, bars)))
    columns = {
        "Open": opening,
        "High": np.maximum(opening, close) * (1 + wick[0]),
        "Low": np.minimum(opening, close) * (1 - wick[1]),
        "Close": close,
        "Volume": rng.gamma(2, 500, bars),
    }
    path = root / symbol / "1Hour/data.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame(columns, pd.date_range("2024-01-01", periods=bars, freq="h", tz="UTC", name="timestamp")).to_parquet(path)


def train(directory: Path, assets: int, bars: int) -> None:
    """Make the data of so many assets, and train and judge what scores them."""
    for number in range(assets):
        write_walk(directory / "bars", f"A{number:04}", bars, number)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for name, keys in SMALL.items():
        params[name] |= keys
    (directory / "params.yaml").write_text(yaml.safe_dump(params))
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())
    stages["stages"] = {
        name: own for name, own in stages["stages"].items() if not name.startswith("train_") or name == "train_mlp"
    }
    (directory / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages["stages"]}))
    for stage in ("generate_data", "train_mlp", "fit_references", "evaluate", "compare"):
        command = [sys.executable, str(PROJECT / f"src/{stage}.py")]
        done = subprocess.run(
            command, cwd=directory, env=os.environ | {"CAMPAIGN_TRACKING": "off"}, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(done.stderr)


def measure(directory: Path) -> tuple[float, int, int]:
    """Score the newest bars; returns seconds, peak memory in bytes, and rows."""
    command = [
        "taskset",
        "-c",
        "0",
        sys.executable,
        str(PROJECT / "src/campaign.py"),
        "predict",
        "--model",
        "mlp",
        "--to",
        "p.csv",
    ]
    began, peak = time.perf_counter(), 0
    process = psutil.Popen(command, cwd=directory, stderr=subprocess.PIPE)
    while process.poll() is None:
        try:
            peak = max(peak, sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    said = process.stderr.read().decode()
    if process.wait():
        raise SystemExit(said)
    return time.perf_counter() - began, peak, len((directory / "p.csv").read_text().splitlines()) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=int, nargs="+", default=[16, 1000])
    parser.add_argument("--bars", type=int, default=600)
    options = parser.parse_args()
    print("| assets | bars of each | seconds | memory, MB |\n|---:|---:|---:|---:|", flush=True)
    for assets in options.assets:
        directory = Path(tempfile.mkdtemp())
        try:
            train(directory, assets, options.bars)
            runs = [measure(directory) for _ in range(3)]
            assert {rows for *_, rows in runs} == {assets}
            seconds, peak, _ = min(runs)
            print(f"| {assets:,} | {options.bars:,} | {seconds:.1f} | {peak / 1e6:,.0f} |", flush=True)
        finally:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
