"""Epochs on a GPU at the size of a real campaign, validation included: one training alone, and groups of them.

615,000 training and 130,000 validation windows of 24 x 22, batch 128, as random rows. Members of a group share a process and each
step, as in the pipeline. Needs torch, numpy and pydantic only. Takes at most six minutes on an H100: what there is no time left
for is left out, and told. Prints a Markdown table for docs/performance.md, with the campaigns that its epochs come to, and
writes it and the figures to files.

Usage: python benchmarks/gpu.py [--epochs 2] [--members 1 3 8 16] [--device cuda] [--windows 615000] [--val-windows 130000]
"""

import argparse
import json
import multiprocessing
import platform
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]

import numpy as np
import torch
from throughput import NETWORKS, SETTINGS, F, T, random_rows, synchronise

from learn.dataset import Split
from learn.device import prepare_process, resolve_precision
from learn.fit import choose_trainers, fit_side_by_side
from learn.member import Member
from learn.training import Loop

TARGETS = {  # seconds an epoch on one H100 or H200, by network and members
    "mlp": {1: 0.9, 8: 2.5},
    "lstm": {1: 2.5, 8: 6.0},
    "gru": {1: 2.5, 8: 6.0},
    "cnn_lstm": {1: 2.5, 8: 5.0},
}
SIZES = 615_000, 130_000  # windows to train on and to validate on, that targets are for
MOST_OF_SIXTEEN = 1.6  # times the epoch of eight
CAMPAIGN = 100  # epochs of each network
CAMPAIGNS = {3: 25, 8: 40}  # minutes asked, by seeds


def measure(name: str, members: list[int], sizes: tuple[int, int], epochs: int, device: str, report: Connection) -> None:
    """A network's process: for each number of members an epoch that warms up, then those that are timed."""
    prepare_process()
    train, val = (Split.of(*random_rows(size), lookback=T, device=device) for size in sizes)
    loop = Loop(**SETTINGS, precision=resolve_precision("auto", NETWORKS[name], F, T))
    halves = np.zeros(len(val), np.int8)
    for number in members:
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        group = []
        for seed in range(number):
            torch.manual_seed(seed)
            group.append(Member(NETWORKS[name](), train, val, halves=halves, seed=seed, loop=loop))
        trainers = {type(trainer).__name__ for trainer in choose_trainers(group)}
        running, taken = fit_side_by_side(group), []
        for _ in range(1 + epochs):
            synchronise(device)
            began = time.perf_counter()
            next(running)
            synchronise(device)
            taken.append(time.perf_counter() - began)
        peak = torch.cuda.max_memory_reserved() / 2**30 if device == "cuda" else 0.0
        report.send({"members": number, "epoch_s": statistics.median(taken[1:]), "gib": peak, "trained_by": sorted(trainers)})
        running.close()


def measured(name: str, deadline: float, *arguments: Any) -> list[dict[str, Any]]:
    """What `measure` finds until the deadline, a time of `time.monotonic`."""
    workers = multiprocessing.get_context("spawn")
    receiver, sender = workers.Pipe(duplex=False)
    process = workers.Process(target=measure, args=(name, *arguments, sender), daemon=True)
    process.start()
    sender.close()
    found = []
    try:
        while receiver.poll(max(0.0, deadline - time.monotonic())):
            found.append(receiver.recv())
    except EOFError:
        process.join()
        if process.exitcode:
            sys.exit(f"gpu: the process of {name} ended with exit code {process.exitcode}, see above")
    process.terminate()
    process.join()
    return found


def table(rows: list[dict[str, Any]], *, judged: bool) -> list[str]:
    """A Markdown table: each epoch, with its target where it is one of the size that targets are for."""
    lines = ["| network | members | epoch, s | target | | against one | GiB |", "|---|---:|---:|---:|---|---:|---:|"]
    seconds = {(row["network"], row["members"]): row["epoch_s"] for row in rows}
    for row in rows:
        name, members, own = row["network"], row["members"], row["epoch_s"]
        target = TARGETS[name].get(members)
        if members == 16 and (name, 8) in seconds:
            target = MOST_OF_SIXTEEN * seconds[name, 8]
        target = target if judged else None
        verdict = "" if target is None else "met" if own <= target else "missed"
        against = f"{own / seconds[name, 1]:.2f}" if (name, 1) in seconds else ""
        asked = "" if target is None else f"{target:.2g}"
        lines.append(f"| {name} | {members} | {own:.2f} | {asked} | {verdict} | {against} | {row['gib']:.1f} |")
    return lines


def campaigns(rows: list[dict[str, Any]], *, judged: bool) -> list[str]:
    """What the epochs come to, for each number of seeds that all networks were measured with."""
    lines = []
    for seeds, asked in CAMPAIGNS.items():
        own = [row["epoch_s"] for row in rows if row["members"] == seeds]
        if len(own) == len(NETWORKS):
            minutes = CAMPAIGN * sum(own) / 60
            verdict = f"{asked} | {'met' if minutes <= asked else 'missed'}" if judged else " | "
            lines.append(f"| {seeds} | {minutes:.1f} | {verdict} |")
    head = [
        f"Worked out, not measured: {CAMPAIGN} epochs of each network.",
        "",
        "| seeds | minutes | target | |",
        "|---:|---:|---:|---|",
    ]
    return ["", *head, *lines] if lines else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2, help="that are timed")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 3, 8, 16], help="of a group")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--windows", type=int, default=SIZES[0])
    parser.add_argument("--val-windows", type=int, default=SIZES[1])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--limit", type=float, default=350, help="seconds for all of it")
    parser.add_argument("--out", type=Path, default=Path(".bench"), help="directory for gpu.md and gpu.json")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu: no CUDA device here; to see that the benchmark runs: --device cpu --windows 2000 --val-windows 500")
    deadline = time.monotonic() + options.limit
    sizes = options.windows, options.val_windows
    what = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    precision = resolve_precision("auto", NETWORKS[options.networks[0]], F, T)
    head = f"{what}, torch {torch.__version__}, {precision}, {sizes[0]:,} + {sizes[1]:,} windows"
    rows: list[dict[str, Any]] = []
    for name in options.networks:
        found = measured(name, deadline, options.members, sizes, options.epochs, options.device)
        rows += [{"network": name} | row for row in found]
        for members in options.members[len(found) :]:
            print(f"gpu: no time left for {name} with {members} members", file=sys.stderr)
    judged = options.device == "cuda" and sizes == SIZES
    text = "\n".join([head, "", *table(rows, judged=judged), *campaigns(rows, judged=judged)]) + "\n"
    print(text, end="")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.md").write_text(text)
    (options.out / "gpu.json").write_text(
        json.dumps({"device": what, "torch": torch.__version__, "epochs": rows}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
