"""What real searches say where there is nothing to find, and where there is: a baseline that learns too slowly.

Each search is the MLP's, from the command, in a directory of its own. Without signal no search should be called better, but for
one in forty; where the baseline's learning rate is a hundredth of the default and it may train for five epochs, it should.

Usage: python benchmarks/search.py [--markets 5] [--trials 12]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parent.parent


def search(directory: Path, trials: int, **sections: dict[str, Any]) -> tuple[str, float]:
    """Simulate a market, make its data, and search; returns the sentence that stands above the report, and the seconds."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for name, keys in sections.items():
        params[name] |= keys
    (directory / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(PROJECT / "dvc.yaml", directory)
    began = time.perf_counter()
    said = ""
    for command in ("simulate_market.py", "generate_data.py", f"campaign.py search mlp --trials {trials}"):
        script, *arguments = command.split()
        environment = os.environ | {"CAMPAIGN_TRACKING": "off"}
        whole = [sys.executable, str(PROJECT / "src" / script), *arguments]
        done = subprocess.run(whole, cwd=directory, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        said = done.stdout
    return said.splitlines()[0], time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markets", type=int, default=5, help="without signal")
    parser.add_argument("--trials", type=int, default=12)
    options = parser.parse_args()
    slow = {"train": {"learning_rate": 0.00001, "epochs": 5, "patience": 5}}
    cases = [("without signal", number, {"market": {"seed": number, "signal": 0}}) for number in range(1, options.markets + 1)]
    cases.append(("with signal, learning rate 0.00001", 7, slow))
    print("| market | seed | seconds | the report says |\n|---|---:|---:|---|", flush=True)
    for name, number, sections in cases:
        with tempfile.TemporaryDirectory() as temporary:
            sentence, seconds = search(Path(temporary), options.trials, **sections)
        print(f"| {name} | {number} | {seconds:.0f} | {sentence} |", flush=True)


if __name__ == "__main__":
    main()
