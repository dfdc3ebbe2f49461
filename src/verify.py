"""Compare the campaign with what is committed. For people; no stage runs it.

Usage: python src/verify.py            run the committed campaign again in a temporary clone, compare every out (make verify)
       python src/verify.py committed  tell whether the results here are the committed ones, and if not, why (after make repro)
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

import stage
from core import committed
from core.committed import git
from core.errors import CampaignError

LOCK = Path("dvc.lock")
PREFIX = "campaign-verify-"  # of the temporary directories
# Stages whose outs came out the same on every kind of processor tried, AVX2 and AVX-512: decimal prices, float32 features.
SAME_ON_EVERY_PROCESSOR = ("simulate_market", "generate_data")
BASELINE = 'git add dvc.lock metrics reports && git commit -m "campaign: the results of this machine"'
SOURCES = ("params.yaml", "dvc.yaml", "src")  # what git holds of a campaign's inputs
EDITS_ASIDE = (f"git stash push -- {' '.join(SOURCES)} && make repro", BASELINE, "git stash pop && make repro")

Stages = dict[str, dict[str, Any]]  # of a dvc.lock


def read_lock(text: str) -> Stages:
    """Stages of the text of a dvc.lock. Raises CampaignError where it is none, such as after a merge with conflicts."""
    try:
        return dict(YAML(typ="safe").load(text)["stages"])
    except (YAMLError, KeyError, TypeError, ValueError):
        raise CampaignError(f"{LOCK} is not as DVC writes it; restore it: git checkout HEAD {LOCK}") from None


def outs(stages: Stages) -> dict[str, str]:
    """MD5 of every out that a lock's `stages` record, by path, in running order."""
    return {out["path"]: out["md5"] for entry in stages.values() for out in entry.get("outs", [])}


def inputs(stages: Stages) -> dict[str, Any]:
    """Everything that `stages` read and did not make, by name: code and bars by MD5, parameters by value, commands."""
    made, found = outs(stages), {}
    for name, entry in stages.items():
        found[f"the command of {name}"] = entry["cmd"]
        found |= {dep["path"]: dep.get("md5") for dep in entry.get("deps", []) if dep["path"] not in made}
        for section, values in entry.get("params", {}).get(str(stage.PARAMS), {}).items():
            keys = values if isinstance(values, dict) else {}
            found |= {f"{section}.{key}": value for key, value in keys.items()}
    return found


def is_finished(stages: Stages) -> bool:
    """Whether the last stage read what those before it left, and what it left is here."""
    made, compared = outs(stages), Path(committed.COMPARED)
    if not compared.is_file() or made.get(str(compared)) != hashlib.md5(compared.read_bytes()).hexdigest():
        return False
    return all(made.get(dep["path"], dep["md5"]) == dep["md5"] for dep in stages["compare"]["deps"])


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Keys that one of two mappings lacks, or has with another value."""
    return [key for key in before | after if key not in before or key not in after or before[key] != after[key]]


def check_repository() -> None:
    """Raises CampaignError where there is no git, no repository or no commit."""
    git("--version")
    try:
        git("rev-parse", "--git-dir")
    except CampaignError as error:
        if "not a git repository" not in str(error):
            raise
        raise CampaignError("this is not a git repository: git init, git add -A and git commit first") from None
    try:
        git("rev-parse", "--verify", "--quiet", "HEAD")
    except CampaignError:
        raise CampaignError("nothing is committed yet: git add -A and git commit first") from None
    if not git("ls-tree", "HEAD", str(LOCK)):
        raise CampaignError(f"{LOCK} is not committed: {BASELINE}")


# --- the results here against the committed ones ---------------------------------------------------------------------


def compare_with_commit() -> list[str]:
    """Return lines that tell how the results of `dvc repro` here stand to those of the last commit.

    Raises:
        CampaignError: there is nothing to compare.
    """
    if not LOCK.is_file():
        raise CampaignError(f"{LOCK} not found: run dvc repro in the project's root first")
    check_repository()
    before, after = read_lock(git("show", f"HEAD:./{LOCK}")), read_lock(LOCK.read_text(encoding="utf-8"))
    if not is_finished(after):
        raise CampaignError(f"{LOCK} is not of a finished campaign; finish it first: dvc repro")
    results = changed(outs(before), outs(after))
    if not results:
        return ["The results here are the committed ones."]
    there, here = committed.trained_with(), committed.kinds_in(Path(committed.COMPARED).read_text(encoding="utf-8"))
    differing = together(committed.differing(there, here))
    kinds = f"committed with {committed.described(there)}; here with {committed.described(here)}"
    to_baseline = ["To make these the committed ones:", f"  {BASELINE}"]
    if edits := changed(inputs(before), inputs(after)):
        lines = [f"The results here differ from the committed ones, as do their inputs: {short(edits)}."]
        if differing:
            lines += [f"Another {differing}, too: {kinds}."]
        if not git("status", "--porcelain", "--untracked-files=no", "--", *SOURCES):
            return lines + to_baseline
        if differing:
            lines += ["To make those of the last commit on this machine, too, before git checkout . && dvc checkout:"]
            lines += [f"  {line}" for line in EDITS_ASIDE]
        return lines
    if differing:
        return [f"The results here differ from the committed ones because of another {differing}:", f"{kinds}.", *to_baseline]
    if not there:
        unknown = f"{committed.COMPARED} does not tell what those were trained with; these with {committed.described(here)}"
        return [f"The results here differ from the committed ones: {short(results)}.", f"{unknown}.", *to_baseline]
    return [
        f"The results here differ from the committed ones, though made from the same inputs: {short(results)}.",
        f"Both with {committed.described(here)}: another model of processor or other versions of packages can do that.",
        *to_baseline,
    ]


def together(names: list[str]) -> str:
    """``a, b and c``; empty where there is none."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def short(names: list[str]) -> str:
    """The first few of them, and how many more."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


# --- the committed campaign once more --------------------------------------------------------------------------------


def verify() -> None:
    """Run the committed campaign in a temporary clone and print for every out whether it is identical.

    Raises:
        CampaignError: outs differ that should not.
    """
    if not LOCK.is_file():
        raise CampaignError(f"{LOCK} not found: run dvc repro in the project's root and commit it first")
    check_repository()
    if uncommitted := [line[3:] for line in git("status", "--porcelain").splitlines()]:
        stage.say(f"verify: not committed, so not verified: {', '.join(uncommitted)}")
    if found := stage.disguises():
        stage.say(f"verify: {found} is set: libraries compute other last digits with it than without")

    bars = committed_bars()
    lock = read_lock(git("show", f"HEAD:./{LOCK}"))
    there = committed.trained_with()
    differing = committed.differing(there, here := kinds_here(there))
    stages = comparable(lock, differing)
    if differing:
        stage.say(
            f"verify: {LOCK} was made with {committed.described(there, differing)}, and here is "
            f"{committed.described(here, differing)}. What can be compared is {', '.join(outs(stages))}"
        )
    with noted_signals() as noted:
        try:
            again = run_again(stages, noted, bars=bars, made=outs(lock))
        except CampaignError:  # such as git's, which Ctrl-C ends, too
            if not noted:
                raise
    if noted[:1] == [signal.SIGINT]:
        raise KeyboardInterrupt
    if noted:
        stage.say(f"verify: ended by {signal.Signals(noted[0]).name}")
        sys.exit(128 + noted[0])

    differing = differing or committed.differing(there, again.kinds)  # such as the precision, known when it has trained
    expected, cause = outs(comparable(lock, differing)), together(differing)
    different = changed(expected, {name: again.outs.get(name) for name in expected})
    for name in outs(lock):
        if name not in expected:
            print(f"not comparable: another {cause}  {name}")
        else:
            print(f"{'DIFFERENT' if name in different else 'identical'}  {name}{again.details.get(name, '')}")
    if different:
        unknown = "" if there else f"; {committed.COMPARED} does not tell what they were trained with"
        raise CampaignError(f"{len(different)} of {len(expected)} outs differ from {LOCK}{unknown}")
    if differing:
        print(
            f"{len(expected)} of {len(outs(lock))} outs are identical to {LOCK}; the others depend on the {cause}: not compared"
        )
    else:
        print(f"all {len(expected)} outs are identical to {LOCK}")


def committed_bars() -> str:
    try:
        return str(YAML(typ="safe").load(git("show", f"HEAD:./{stage.PARAMS}"))["data"]["bars"])
    except (YAMLError, KeyError, TypeError, ValueError):
        raise CampaignError(f"the committed {stage.PARAMS} has no data.bars: add it and commit") from None


def kinds_here(there: committed.Kinds) -> committed.Kinds:
    """What the networks of `there` would be trained with here, but for the precision: that is known when they are trained."""
    if not there:
        return {}
    import training  # torch takes seconds

    return {network: kind | training.environment() for network, kind in there.items()}


def comparable(lock: Stages, differing: list[str]) -> Stages:
    """Stages whose outs are the same on a machine that is `differing` from the one of `lock`."""
    return {name: entry for name, entry in lock.items() if name in SAME_ON_EVERY_PROCESSOR or not differing}


@dataclasses.dataclass(frozen=True)
class Again:
    """What a second run left: MD5 by out, what its networks were trained with, and for outs that differ which files do."""

    outs: dict[str, str] = dataclasses.field(default_factory=dict)
    kinds: committed.Kinds = dataclasses.field(default_factory=dict)
    details: dict[str, str] = dataclasses.field(default_factory=dict)


def run_again(stages: Stages, noted: list[int], *, bars: str, made: Iterable[str]) -> Again:
    """Run `stages` of the last commit in a temporary clone, which is removed.

    Args:
        noted: signals that came, as `noted_signals` yields it; the first ends the run.
        bars, made: as for `link_bars`.

    Raises:
        CampaignError: git or dvc fails.
    """
    here = Path.cwd()
    top = Path(git("rev-parse", "--show-toplevel").removesuffix("\n"))
    with temporary_directory() as (directory, lock):
        base = directory.joinpath(*["_"] * os.path.normpath(bars).split(os.sep).count(".."))
        there = base / here.relative_to(here.anchor)  # as deep as here: bars at ../../bars are in `directory`, too
        git("clone", "--quiet", str(top), str(base / top.relative_to(top.anchor)))
        link_bars(here, there, bars=bars, made=made)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
        environment |= {
            "CAMPAIGN_TRACKING": "off",
            "DVC_SITE_CACHE_DIR": str(directory / "site-cache"),  # else DVC leaves a directory for every clone it sees
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        command = [sys.executable, "-m", "dvc", "repro", "--force", *stages]
        code = run_to_end(command, noted, cwd=there, env=environment, pass_fds=[lock])
        if noted:
            return Again()
        if code:
            raise CampaignError(f"dvc repro ended with exit code {code} in the clone; see its output above")
        expected, found = outs(stages), outs(read_lock((there / LOCK).read_text(encoding="utf-8")))
        details = {
            name: difference(here, there, expected[name], found[name])
            for name in changed(expected, found)
            if name in expected.keys() & found.keys()
        }
        return Again(found, committed.kinds_in((there / committed.COMPARED).read_text(encoding="utf-8")), details)


def link_bars(here: Path, there: Path, *, bars: str, made: Iterable[str]) -> None:
    """Have the clone `there` find bars of a user's own that lie in `here`, at a relative path, and git does not hold.

    Args:
        bars: `data.bars` of params.yaml.
        made: outs of all stages.
    """
    simulated = any((here / bars).resolve().is_relative_to((here / out).resolve()) for out in made)
    if not (simulated or Path(bars).is_absolute() or (there / bars).exists()):
        (there / bars).parent.mkdir(parents=True, exist_ok=True)
        (there / bars).symlink_to(here / bars)


def difference(here: Path, there: Path, one: str, other: str) -> str:
    """Names of the files that make two versions of a directory differ, where both caches have them."""
    before, after = files_of(here, one), files_of(there, other)
    if not before or not after:
        return ""
    return f" ({', '.join(sorted(changed(before, after)))})"


def files_of(root: Path, md5: str) -> dict[str, str]:
    """MD5 by file of a directory in the DVC cache under `root`; empty where it is a file, or the cache does not have it."""
    if not md5.endswith(".dir"):
        return {}
    try:
        listing: list[dict[str, Any]] = json.loads((root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).read_text())
    except (OSError, ValueError):
        return {}
    return {entry["relpath"]: entry["md5"] for entry in listing}


# --- processes and directories that leave nothing behind --------------------------------------------------------------


@contextlib.contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Note Ctrl-C, SIGTERM and SIGHUP in the list it yields, instead of ending at once and leaving processes behind."""
    noted: list[int] = []
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    heeded = [number for number in numbers if before[number] is not signal.SIG_IGN]  # nohup and a shell's & have some ignored
    for number in heeded:
        signal.signal(number, lambda number, _: noted.append(number))
    try:
        yield noted
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def run_to_end(command: list[str], noted: list[int], **options: Any) -> int:
    """Run `command` and return its exit code; a signal in `noted` ends it and all processes it started."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options) as process:
        while process.poll() is None and not noted:
            time.sleep(0.1)
        for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 2)) if noted else ():
            until = time.monotonic() + seconds
            with contextlib.suppress(ProcessLookupError):  # the last of the group has ended
                os.killpg(process.pid, number)
                while time.monotonic() < until:
                    process.poll()
                    os.killpg(process.pid, 0)
                    time.sleep(0.05)
    return process.returncode


@contextlib.contextmanager
def temporary_directory() -> Iterator[tuple[Path, int]]:
    """Yield a new directory, removed at the end, and the descriptor of its lock. Remove those that killed processes left.

    A directory is in use while a process, here or one that inherited the descriptor, holds the lock.
    """
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/lock"):
        with contextlib.suppress(OSError), lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent)
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        directory = Path(name).resolve()
        with (directory / "new").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            (directory / "new").rename(directory / "lock")  # never there without being held
            yield directory, file.fileno()


def main() -> None:
    if sys.argv[1:] not in ([], ["committed"]):
        print((__doc__ or "").rpartition("\n\n")[2].strip(), file=sys.stderr)
        sys.exit(2)
    if not sys.argv[1:]:
        verify()
        return
    try:
        print(*compare_with_commit(), sep="\n")
    except CampaignError as error:  # `make repro` ends with this, and has done its work
        stage.say(f"verify: not compared with the committed results: {stage.one_line(error)}")


if __name__ == "__main__":
    stage.run(main, takes_arguments=True)
