"""What a checkpoint after every epoch costs: the share of an epoch's time, at full baseline settings of the networks.

Epochs of the project's loop and `checkpoint.save` alternate in one run. A small epoch is the
hard case, since a checkpoint takes as long after a short epoch as after a long one.

Usage: python benchmarks/checkpoint.py [--windows 8192] [--rounds 5] [--directory .bench]
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]

import torch
from scaling import LARGER, epochs
from throughput import NETWORKS, T

from learn import checkpoint
from learn.device import prepare_process


def measure(name: str, windows: int, rounds: int, path: Path) -> tuple[float, float, int]:
    """Medians of an epoch's and a save's seconds, and the checkpoint's bytes."""
    torch.manual_seed(0)
    loop = epochs(NETWORKS[name](), windows, T)
    next(loop)  # warms up
    trained, saved = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        state = next(loop).state
        trained.append(time.perf_counter() - began)
        began = time.perf_counter()
        checkpoint.save(path, state)
        saved.append(time.perf_counter() - began)
    return statistics.median(trained), statistics.median(saved), path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=8192, help="train windows of an epoch; MLP a multiple")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    prepare_process()
    print("| network | epoch, s | checkpoint, ms | MB | share |\n|---|---:|---:|---:|---:|")
    for name in NETWORKS:
        windows = options.windows * LARGER.get(name, 1)
        epoch, save, size = measure(name, windows, options.rounds, options.directory / name / "state.pt")
        print(f"| {name} | {epoch:.2f} | {save * 1e3:.1f} | {size / 1e6:.1f} | {save / epoch:.2%} |", flush=True)


if __name__ == "__main__":
    main()
