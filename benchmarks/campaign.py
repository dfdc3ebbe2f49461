"""Where the time of a campaign goes: by stage, outside the training loops, with nothing to do, and for MLflow.

Runs the committed campaign in a temporary clone, once with MLflow and once without, then once more with nothing to do. The
loop of a train stage lasts from its first seed's first step to its last seed's last epoch, scoring and checkpoints included.

Usage: python benchmarks/campaign.py [--rounds 1]
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def timed(clone: Path, command: str, tracking: str) -> list[tuple[float, str]]:
    """Run `command` in `clone`; seconds from its start to each line that it printed, and to its end, an empty line."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CAMPAIGN_TRACKING": tracking, "PYTHONUNBUFFERED": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    began = time.perf_counter()
    with subprocess.Popen(
        command.split(), cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines = [(time.perf_counter() - began, line.rstrip()) for line in process.stdout or ()]
    if process.returncode:
        sys.exit("campaign: " + "\n".join(line for _, line in lines[-20:]))
    return [*lines, (time.perf_counter() - began, "")]


def by_stage(lines: list[tuple[float, str]]) -> dict[str, tuple[float, float]]:
    """Seconds of each stage, and of the training loop in it."""
    starts = [(at, found.group(1)) for at, line in lines if (found := re.match(r"Running stage '(\w+)'", line))]
    ends = [at for at, _ in starts[1:]] + [lines[-1][0]]
    result = {}
    for (began, name), ended in zip(starts, ends, strict=True):
        epochs = [
            (at, int(found.group(1)))
            for at, line in lines
            if began <= at < ended and (found := re.search(r"seed \d+: epoch (\d+)/", line))
        ]
        loop = 0.0
        if epochs:
            first = [at for at, number in epochs if number == 1]
            second = [at for at, number in epochs if number == 2] or first
            loop = epochs[-1][0] - first[0] + max(second[0] - first[0], 0.0)  # the first epoch began about an epoch before
        result[name] = (ended - began, loop)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-") as directory:
        clone = Path(directory) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
        found: dict[str, list[dict[str, tuple[float, float]]]] = {"on": [], "off": []}
        for _ in range(options.rounds):
            for tracking, runs in found.items():
                runs.append(by_stage(timed(clone, "dvc repro --force", tracking)))
        nothing = statistics.median(timed(clone, "dvc repro", "off")[-1][0] for _ in range(3))

    print("| stage | s, with MLflow | its training loop | s, without MLflow |\n|---|---:|---:|---:|")
    total = [0.0, 0.0, 0.0]
    for name in found["on"][0]:
        row = [statistics.median(run[name][0] for run in found["on"]), statistics.median(run[name][1] for run in found["on"])]
        row.append(statistics.median(run[name][0] for run in found["off"]))
        total = [sum(pair) for pair in zip(total, row, strict=True)]
        print(f"| {name} | {row[0]:.1f} | {f'{row[1]:.1f}' if row[1] else '–'} | {row[2]:.1f} |")
    print(f"| all | {total[0]:.1f} | {total[1]:.1f} | {total[2]:.1f} |")
    loops = [{name: statistics.median(run[name][1] for run in runs) for name in runs[0]} for runs in found.values()]
    print(
        f"\noutside the training loops: {1 - total[1] / total[0]:.1%}, without MLflow {1 - sum(loops[1].values()) / total[2]:.1%}"
    )
    ratio = sum(loops[0].values()) / sum(loops[1].values()) - 1
    print(f"training loops with MLflow take {ratio:+.1%}; dvc repro with nothing to do: {nothing:.1f} s")


if __name__ == "__main__":
    main()
