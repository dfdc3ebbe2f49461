"""What the campaign's stages take on 1, 10 and 100 times the default market: time, memory and disk.

Each stage runs as in the pipeline, in a directory of its own, with the default settings but one seed and one epoch. Memory is the
sum of what a stage's processes hold at the same time, shared pages counted in each.

Usage: python benchmarks/market.py [--factors 1 10 100] [--networks mlp lstm gru cnn_lstm] [--json FILE]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

PROJECT = Path(__file__).resolve().parent.parent
SIZES = {1: (2, 13_000), 10: (20, 13_000), 100: (20, 130_000)}  # assets, bars of each
LOOKS = 0.1  # seconds between looks at the memory


def memory(process: psutil.Process) -> int:
    """Bytes that a process and its children hold."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def run_stage(name: str, directory: Path) -> tuple[float, int]:
    """Run a stage's script; returns seconds and the peak of memory in bytes."""
    environment = os.environ | {"CAMPAIGN_TRACKING": "off"}
    began, peak = time.perf_counter(), 0
    process = psutil.Popen([sys.executable, PROJECT / f"src/{name}.py"], cwd=directory, env=environment, stderr=subprocess.PIPE)
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.append(process.stderr.read()))
    reader.start()
    while process.poll() is None:
        try:
            peak = max(peak, memory(process))
        except psutil.NoSuchProcess:
            break
        time.sleep(LOOKS)
    reader.join()
    if process.wait():
        raise SystemExit(b"".join(said).decode())
    return time.perf_counter() - began, peak


def size_of(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def measure(factor: int, networks: list[str], directory: Path) -> list[dict[str, Any]]:
    """Run the stages on `factor` times the default market, in an empty directory; returns a row a stage."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    assets, bars = SIZES[factor]
    params["market"] |= {"assets": assets, "bars": bars}
    params["train"] |= {"seeds": [1], "epochs": 1}
    (directory / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(PROJECT / "dvc.yaml", directory)
    rows = []
    outs = {"simulate_market": "data/simulated", "generate_data": "data/training_data"}
    for name in ("simulate_market", "generate_data", *(f"train_{network}" for network in networks), "fit_references"):
        seconds, peak = run_stage(name, directory)
        disk = size_of(directory / outs[name]) if name in outs else None
        rows.append({"factor": factor, "stage": name, "seconds": seconds, "peak": peak, "disk": disk})
        on_disk = "" if disk is None else f"{disk / 1e6:,.0f}"
        print(f"| {factor} | {assets * bars:,} | `{name}` | {seconds:,.1f} | {peak / 1e9:.2f} | {on_disk} |", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--factors", type=int, nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--networks", nargs="*", default=["mlp", "lstm", "gru", "cnn_lstm"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| times | bars | stage | seconds | memory, GB | disk, MB |\n|---:|---:|---|---:|---:|---:|")
    rows = []
    for factor in options.factors:
        with tempfile.TemporaryDirectory() as temporary:
            rows += measure(factor, options.networks, Path(temporary))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
