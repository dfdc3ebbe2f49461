"""Run the committed campaign again in a temporary clone and compare every out with dvc.lock. For people; no stage runs it.

Usage: python src/verify.py    (make verify)
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import stage
from core.errors import CampaignError

LOCK = Path("dvc.lock")


def outs(lock: Path) -> dict[str, str]:
    """MD5 of every out that `lock` records, by path, in running order."""
    stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"]
    return {out["path"]: out["md5"] for entry in stages.values() for out in entry.get("outs", [])}


def git(*arguments: str) -> str:
    """Raises CampaignError with git's own words."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise CampaignError(f"git {arguments[0]}: {stage.one_line(done.stderr)}")
    return done.stdout


def files_of(root: Path, md5: str) -> dict[str, str]:
    """MD5 by file of a directory in the DVC cache under `root`; empty where it is a file, or the cache does not have it."""
    if not md5.endswith(".dir"):
        return {}
    try:
        listing: list[dict[str, Any]] = json.loads((root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).read_text())
    except (OSError, ValueError):
        return {}
    return {entry["relpath"]: entry["md5"] for entry in listing}


def difference(here: Path, there: Path, one: str, other: str) -> str:
    """Names of the files that make two versions of a directory differ, where both caches have them."""
    before, after = files_of(here, one), files_of(there, other)
    if not before or not after:
        return ""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return f" ({', '.join(names)})"


def link_bars(here: Path, there: Path, *, made: Iterable[str]) -> None:
    """Have the clone `there` find bars of a user's own that lie in `here`, at a relative path, and git does not hold.

    Args:
        made: outs of the stages.
    """
    bars = YAML(typ="safe").load((there / "params.yaml").read_text(encoding="utf-8"))["data"]["bars"]
    simulated = any((here / bars).resolve().is_relative_to((here / out).resolve()) for out in made)
    if not (simulated or Path(bars).is_absolute() or (there / bars).exists()):
        (there / bars).parent.mkdir(parents=True, exist_ok=True)
        (there / bars).symlink_to(here / bars)


def main() -> None:
    if not LOCK.is_file():
        raise CampaignError(f"{LOCK} not found: run dvc repro in the project's root and commit it first")
    if changed := [line[3:] for line in git("status", "--porcelain").splitlines()]:
        stage.say(f"verify: not committed, so not verified: {', '.join(changed)}")

    if found := stage.disguises():
        stage.say(f"verify: {found} is set: libraries compute other last digits with it than without")

    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="verify-") as directory:
        there = Path(directory) / "campaign"
        git("clone", "--quiet", str(here), str(there))
        expected = outs(there / LOCK)
        link_bars(here, there, made=expected)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
        environment["CAMPAIGN_TRACKING"] = "off"
        command = [sys.executable, "-m", "dvc", "repro", "--force"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        if code := subprocess.run(command, cwd=there, env=environment | {"PATH": path}).returncode:
            raise CampaignError(f"dvc repro ended with exit code {code} in the clone; see its output above")
        found = outs(there / LOCK)
        different = 0
        for name, md5 in expected.items():
            same = found.get(name) == md5
            different += not same
            detail = "" if same else difference(here, there, md5, found.get(name, ""))
            print(f"{'identical' if same else 'DIFFERENT'}  {name}{detail}")
    if different:
        raise CampaignError(f"{different} of {len(expected)} outs differ from {LOCK}")
    print(f"all {len(expected)} outs are identical to {LOCK}")


if __name__ == "__main__":
    stage.run(main)
