"""Three and ten times the bars: time per window of the training loop stays flat, memory grows with bars alone.

Time is measured with the networks of params.yaml, one epoch with its validation. Memory is the peak of a process that
trains a tiny network for one epoch, at two lookbacks: windows written out would take 24 or 96 rows for each bar.

Usage: python benchmarks/scaling.py [--windows 2048] [--rounds 3] [--bars 60000] [--json FILE]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]

import numpy as np
import torch
from throughput import ASSETS, BASE, NETWORKS, SETTINGS, F, T

from learn.dataset import Split
from learn.device import prepare_process
from learn.fit import Epoch, fit
from train_mlp import MLP

TIMES = (1, 3, 10)
LOOKBACKS = (24, 96)
LARGER = {"mlp": 8, "lstm": 1}  # the MLP's windows as a multiple of the LSTM's: it is that much faster, and more


def random_split(bars: int, lookback: int) -> Split:
    """One window ends at every bar but the first `lookback` - 1."""
    rng = np.random.default_rng(0)
    y = (rng.random(bars) < 0.1).astype(np.int8)
    y[: lookback - 1] = -1
    X = rng.standard_normal((bars, F), np.float32)
    return Split.of(X, y, rng.integers(0, ASSETS, bars, np.int16), lookback=lookback)


def epochs(model: torch.nn.Module, windows: int, lookback: int) -> Iterator[Epoch]:
    """The project's loop on `windows` windows, and 15 of validation for 70 of train as in params.yaml."""
    train, val = (random_split(size + lookback - 1, lookback) for size in (windows, windows * 15 // 70))
    return fit(model, train, val, halves=np.zeros(len(val), np.int8), seed=1, precision="float32", **SETTINGS)


def seconds(step: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds; one thread, so that the second is what a quiet machine would take."""
    wall, processor = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - processor


def measure_time(name: str, windows: int, rounds: int) -> list[dict[str, float]]:
    """Milliseconds per window for each of `TIMES`: medians of interleaved rounds, and ratios to 1x within the rounds."""
    loops, taken = [], [[] for _ in TIMES]
    for factor in TIMES:
        torch.manual_seed(0)
        loops.append(epochs(NETWORKS[name](), windows * factor, T))
    for number in range(rounds + 1):  # the first warms up
        for factor, loop, durations in zip(TIMES, loops, taken, strict=True):
            wall, processor = seconds(lambda loop=loop: next(loop))
            if number:
                durations.append((wall / windows / factor * 1e3, processor / windows / factor * 1e3))
    rows = []
    for factor, durations in zip(TIMES, taken, strict=True):
        wall, processor = (statistics.median(column) for column in zip(*durations, strict=True))
        ratios = [[d[i] / base[i] for d, base in zip(durations, taken[0], strict=True)] for i in (0, 1)]
        wall_ratio, ratio = (statistics.median(column) for column in ratios)
        rows.append({"windows": windows * factor, "wall": wall, "processor": processor, "wall_ratio": wall_ratio, "ratio": ratio})
    return rows


def peak(bars: int, lookback: int) -> int:
    """Bytes of the largest resident set of a process that trains one epoch; a process of its own."""
    child = [sys.executable, __file__, "--peak", str(bars), str(lookback)]
    return int(subprocess.run(child, check=True, stdout=subprocess.PIPE).stdout)


def train_and_print_peak(bars: int, lookback: int) -> None:
    model = MLP(hidden_sizes=[8], **BASE | {"lookback": lookback})
    next(epochs(model, bars - lookback + 1, lookback))
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) * 1024)  # ru_maxrss would count the parent before exec too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=2048, help="of the LSTM at 1x; the MLP takes eight times as many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bars", type=int, default=60_000, help="at 1x, for memory")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    prepare_process()
    if options.peak:
        return train_and_print_peak(*options.peak)

    print("network   windows    s per 1,000    ratio   processor s    ratio")
    timed = {}
    for name, larger in LARGER.items():
        timed[name] = measure_time(name, options.windows * larger, options.rounds)
        for row in timed[name]:
            print(
                f"{name:6} {row['windows']:>10,} {row['wall']:>14.4f} {row['wall_ratio']:>8.2f} {row['processor']:>13.4f} "
                f"{row['ratio']:>8.2f}",
                flush=True,
            )

    print("\nlookback      bars    peak MB    bytes per bar more than at 1x    written out")
    peaks = {}
    for lookback in LOOKBACKS:
        for factor in TIMES:
            bars = options.bars * factor
            peaks[f"{lookback}, {bars}"] = peak(bars, lookback)
            added = peaks[f"{lookback}, {bars}"] - peaks[f"{lookback}, {options.bars}"]
            per_bar = f"{added / (bars - options.bars):.0f}" if factor > 1 else "–"
            print(
                f"{lookback:>8} {bars:>9,} {peaks[f'{lookback}, {bars}'] / 1e6:>10.0f} {per_bar:>32} {lookback * F * 4:>14,}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"seconds_per_1000_windows": timed, "peak_bytes": peaks}, indent=2) + "\n")


if __name__ == "__main__":
    main()
