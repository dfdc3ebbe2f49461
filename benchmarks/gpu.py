"""Epochs on a GPU at the size of a real campaign, validation included, one seed alone and several side by side.

615,000 training and 130,000 validation windows of 24 x 22, batch 128, as random rows. Needs torch, numpy and pydantic only.
Seeds are processes, as in the pipeline. Prints a Markdown table for docs/performance.md.

Usage: python benchmarks/gpu.py [--epochs 5] [--seeds 8] [--device cuda] [--windows 615000] [--val-windows 130000]
"""

import argparse
import platform
import statistics
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]

import numpy as np
import torch
from throughput import NETWORKS, SETTINGS, F, T, random_rows, synchronise

from learn.dataset import Split
from learn.device import prepare_process, resolve_precision
from learn.fit import fit
from learn.trainings import WORKERS, start_forkserver

TARGETS = {"mlp": 0.6, "lstm": 5.0, "gru": 5.0, "cnn_lstm": 4.0}  # seconds an epoch on one H200
WORKPLACE = Path(".bench")  # for the socket of the seeds' processes
CAMPAIGN = 100  # epochs of each network


def train(name: str, seed: int, sizes: tuple[int, int], epochs: int, device: str, start: Barrier, report: Connection) -> None:
    """One seed's process: an epoch that warms up, then, all seeds together, those that are timed."""
    prepare_process()
    splits = [Split.of(*random_rows(size), lookback=T, device=device) for size in sizes]
    torch.manual_seed(seed)
    precision = resolve_precision("auto", NETWORKS[name], F, T)
    halves = np.zeros(len(splits[1]), np.int8)
    running = fit(NETWORKS[name](), *splits, halves=halves, seed=seed, precision=precision, **SETTINGS)
    next(running)
    start.wait()
    taken = []
    for _ in range(epochs):
        synchronise(device)
        began = time.perf_counter()
        next(running)
        synchronise(device)
        taken.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_reserved() / 2**30 if device == "cuda" else 0.0
    report.send((statistics.median(taken), peak))


def side_by_side(name: str, seeds: int, sizes: tuple[int, int], epochs: int, device: str) -> tuple[float, float]:
    """Seconds an epoch, the slowest seed's median, and GiB of device memory of one seed."""
    start, pipes, processes = WORKERS.Barrier(seeds), [], []
    for seed in range(seeds):
        receiver, sender = WORKERS.Pipe(duplex=False)
        process = WORKERS.Process(target=train, args=(name, seed, sizes, epochs, device, start, sender), daemon=True)
        process.start()
        sender.close()
        pipes.append(receiver)
        processes.append(process)
    found = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    return max(seconds for seconds, _ in found), max(peak for _, peak in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5, help="that are timed")
    parser.add_argument("--seeds", type=int, default=8, help="side by side")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--windows", type=int, default=615_000)
    parser.add_argument("--val-windows", type=int, default=130_000)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu: no CUDA device here; to see that the benchmark runs: --device cpu --windows 2000 --val-windows 500")
    WORKPLACE.mkdir(exist_ok=True)
    start_forkserver(WORKPLACE)
    sizes = options.windows, options.val_windows
    what = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    precision = resolve_precision("auto", NETWORKS[options.networks[0]], F, T)
    print(f"{what}, torch {torch.__version__}, {precision}, {sizes[0]:,} + {sizes[1]:,} windows\n")
    print(f"| network | epoch, s | target | GiB | {options.seeds} seeds at once, epoch, s | against one |")
    print("|---|---:|---:|---:|---:|---:|")
    total = 0.0
    for name in options.networks:
        one, peak = side_by_side(name, 1, sizes, options.epochs, options.device)
        many, _ = side_by_side(name, options.seeds, sizes, options.epochs, options.device)
        total += one
        print(f"| {name} | {one:.2f} | {TARGETS[name]} | {peak:.1f} | {many:.2f} | {many / one:.2f} |", flush=True)
    print(f"\n{CAMPAIGN} epochs of each, one seed, from these: {total * CAMPAIGN / 60:.1f} minutes")


if __name__ == "__main__":
    main()
