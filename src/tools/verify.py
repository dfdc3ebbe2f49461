"""Compare the results here, or those of a second run, with the committed ones."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from core.errors import CampaignError, join_first, print_stderr, to_one_line
from core.machine import cpu_overrides
from core.params import PARAMS
from core.pipeline import parse_generated_yaml, read_stages
from report import committed
from report.committed import git
from tools.consistency import describe_leftovers, find_leftovers

LOCK = Path("dvc.lock")
DIRECTORY_PREFIX = "campaign-verify-"  # of the temporary directories
# Stages whose outs were the same on every kind of processor tried, AVX2 and AVX-512: decimal prices, float32 features.
SAME_ON_EVERY_PROCESSOR = ("simulate_market", "generate_data")
COMMIT_RESULTS = 'git add dvc.lock metrics reports && git commit -m "campaign: the results of this machine"'
SOURCES = ("params.yaml", "dvc.yaml", "src")  # what git holds of a campaign's inputs
RERUN_WITHOUT_EDITS = (f"git stash push -- {' '.join(SOURCES)} && make repro", COMMIT_RESULTS, "git stash pop && make repro")

Stages = dict[str, dict[str, Any]]  # of a dvc.lock


def read_lock(text: str) -> Stages:
    """Parse the stages of a dvc.lock. Raises CampaignError where it is none, such as after a merge with conflicts."""
    try:
        return dict(parse_generated_yaml(text, str(LOCK))["stages"])
    except (CampaignError, KeyError, TypeError, ValueError):
        raise CampaignError(f"{LOCK} is not as DVC writes it; restore it: git checkout HEAD {LOCK}") from None


def hash_outs(stages: Stages) -> dict[str, str]:
    """Return the MD5 of every out that a lock's `stages` record, by path, in running order."""
    return {out["path"]: out["md5"] for entry in stages.values() for out in entry.get("outs", [])}


def collect_inputs(stages: Stages) -> dict[str, Any]:
    """Collect what `stages` read and did not make, by name: code and bars by MD5, parameters by value, commands."""
    inputs: dict[str, Any] = {}
    outs = [Path(out) for out in hash_outs(stages)]
    made = {str(path) for out in outs for path in (out, *out.parents)}  # a dep may be the parent of several stages' outs
    for name, entry in stages.items():
        inputs[f"the command of {name}"] = entry["cmd"]
        inputs |= {dep["path"]: dep.get("md5") for dep in entry.get("deps", []) if dep["path"] not in made}
        for section, values in entry.get("params", {}).get(str(PARAMS), {}).items():
            keys = values if isinstance(values, dict) else {}
            inputs |= {f"{section}.{key}": value for key, value in keys.items()}
    return inputs


def is_finished(stages: Stages) -> bool:
    """Tell whether the last stage read what those before it left, and what it left is here."""
    made, compared = hash_outs(stages), Path(committed.COMPARED)
    if not compared.is_file() or made.get(str(compared)) != hashlib.md5(compared.read_bytes()).hexdigest():
        return False
    return all(made.get(dep["path"], dep["md5"]) == dep["md5"] for dep in stages["compare"]["deps"])


def differing_keys(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """List the keys that one of two mappings lacks, or has with another value."""
    return [key for key in before | after if key not in before or key not in after or before[key] != after[key]]


def check_repository() -> None:
    """Refuse to go on where there is no git, repository, commit or committed dvc.lock. Raises CampaignError."""
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
        raise CampaignError(f"{LOCK} is not committed: {COMMIT_RESULTS}")


# --- the results here against the committed ones ---------------------------------------------------------------------


def report_differences() -> None:
    """Print whether the results here are the committed ones, and if not, why."""
    try:
        print(*compare_with_commit(), sep="\n")
        if leftovers := find_leftovers(read_stages()):
            mismatch = describe_leftovers(leftovers)
            print(f"{mismatch.what}: {mismatch.cure}")
    except CampaignError as error:  # `make repro` ends with this, and has done its work
        print_stderr(f"campaign verify: not compared with the committed results: {to_one_line(error)}")


def compare_with_commit() -> list[str]:
    """Compare the results of `dvc repro` here with those of the last commit.

    Returns:
        Lines that say whether they are the same, else why not and what to do.

    Raises:
        CampaignError: there is nothing to compare.
    """
    if not LOCK.is_file():
        raise CampaignError(f"{LOCK} not found: run dvc repro in the project's root first")
    check_repository()
    before, after = read_lock(git("show", f"HEAD:./{LOCK}")), read_lock(LOCK.read_text(encoding="utf-8"))
    if not is_finished(after):
        raise CampaignError(f"{LOCK} is not of a finished campaign; finish it first: dvc repro")
    results = differing_keys(hash_outs(before), hash_outs(after))
    if not results:
        return ["The results here are the committed ones."]
    there, here = committed.trained_with(), committed.kinds_in(Path(committed.COMPARED).read_text(encoding="utf-8"))
    if edits := differing_keys(collect_inputs(before), collect_inputs(after)):
        return describe_edits(edits, there, here)
    return [*describe_machines(results, there, here), *how_to_commit()]


def describe_edits(edits: list[str], there: committed.Kinds, here: committed.Kinds) -> list[str]:
    """Say that inputs differ, and whether the machine does.

    Args:
        edits: names of the inputs.
        there, here: what the networks of the last commit and those here were trained with.
    """
    lines = [f"The results here differ from the committed ones, as do their inputs: {join_first(edits, max_entries=4)}."]
    differing = join_and(committed.differing(there, here))
    if differing:
        lines += [f"Another {differing}, too: {describe_both(there, here)}."]
    if not git("status", "--porcelain", "--untracked-files=no", "--", *SOURCES):
        return [*lines, *how_to_commit()]
    if differing:
        lines += ["To make those of the last commit on this machine, too, before git checkout . && dvc checkout:"]
        lines += [f"  {line}" for line in RERUN_WITHOUT_EDITS]
    return lines


def describe_machines(results: list[str], there: committed.Kinds, here: committed.Kinds) -> list[str]:
    """Say why the `results` of the same inputs may differ; other arguments as for `describe_edits`."""
    if differing := join_and(committed.differing(there, here)):
        because = f"The results here differ from the committed ones because of another {differing}:"
        return [because, f"{describe_both(there, here)}."]
    named = join_first(results, max_entries=4)
    if not there:
        unknown = f"{committed.COMPARED} does not say what those were trained with; these with {committed.described(here)}"
        return [f"The results here differ from the committed ones: {named}.", f"{unknown}."]
    return [
        f"The results here differ from the committed ones, though made from the same inputs: {named}.",
        f"Both with {committed.described(here)}: another model of processor or other versions of packages can do that.",
    ]


def describe_both(there: committed.Kinds, here: committed.Kinds) -> str:
    return f"committed with {committed.described(there)}; here with {committed.described(here)}"


def how_to_commit() -> list[str]:
    return ["To make these the committed ones:", f"  {COMMIT_RESULTS}"]


def join_and(names: list[str]) -> str:
    """Join names as ``a, b and c``; empty where there is none."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


# --- the committed campaign once more --------------------------------------------------------------------------------


def verify() -> None:
    """Run the committed campaign in a temporary clone, and print for every out whether it is identical.

    Raises:
        CampaignError: outs differ that should not.
    """
    from learn.device import environment  # here, since torch takes seconds, which --committed and the leaderboard need not

    if not LOCK.is_file():
        raise CampaignError(f"{LOCK} not found: run dvc repro in the project's root and commit it first")
    check_repository()
    if uncommitted := [line[3:] for line in git("status", "--porcelain", "--", ".", ":!ledger").splitlines()]:
        say(f"not committed, so not verified: {', '.join(uncommitted)}")
    if overrides := cpu_overrides():
        say(f"{overrides} is set: libraries compute other last digits with it than without")

    lock = read_lock(git("show", f"HEAD:./{LOCK}"))
    there = committed.trained_with()
    here = {network: kind | environment() for network, kind in there.items()}  # the precision is known after training
    differing = committed.differing(there, here)
    stages = comparable_stages(lock, differing)
    if differing:
        say(
            f"{LOCK} was made with {committed.described(there, differing)}, and here is "
            f"{committed.described(here, differing)}. What can be compared is {', '.join(hash_outs(stages))}"
        )
    rerun = rerun_or_exit(stages, bars=read_committed_bars(), made=hash_outs(lock))
    report_rerun(lock, rerun, there, differing or committed.differing(there, rerun.kinds))


def say(text: str) -> None:
    print_stderr(f"campaign verify: {text}")


def rerun_or_exit(stages: Stages, *, bars: str, made: Iterable[str]) -> "Rerun":
    """Run `stages` again, and exit where a signal came. Arguments and errors as for `run_again`."""
    with collect_signals() as signals:
        try:
            rerun = run_again(stages, signals, bars=bars, made=made)
        except CampaignError:  # such as git's, which Ctrl-C ends, too
            if not signals:
                raise
    if signals[:1] == [signal.SIGINT]:
        raise KeyboardInterrupt
    if signals:
        say(f"ended by {signal.Signals(signals[0]).name}")
        sys.exit(128 + signals[0])
    return rerun


def report_rerun(lock: Stages, rerun: "Rerun", there: committed.Kinds, differing: list[str]) -> None:
    """Print for every out of `lock` whether the second run's is identical.

    Args:
        there: what the committed networks were trained with.
        differing: in what of that the second run differs.

    Raises:
        CampaignError: outs differ that should not.
    """
    expected, cause = hash_outs(comparable_stages(lock, differing)), join_and(differing)
    different = differing_keys(expected, {name: rerun.outs.get(name) for name in expected})
    for name in hash_outs(lock):
        if name not in expected:
            print(f"not comparable: another {cause}  {name}")
        else:
            print(f"{'DIFFERENT' if name in different else 'identical'}  {name}{rerun.details.get(name, '')}")
    if different:
        unknown = "" if there else f"; {committed.COMPARED} does not say what they were trained with"
        raise CampaignError(f"{len(different)} of {len(expected)} outs differ from {LOCK}{unknown}")
    if differing:
        count = f"{len(expected)} of {len(hash_outs(lock))}"
        print(f"{count} outs are identical to {LOCK}; the others depend on the {cause}: not compared")
    else:
        print(f"all {len(expected)} outs are identical to {LOCK}")


def read_committed_bars() -> str:
    """Read data.bars of the last commit. Raises CampaignError where it has none."""
    try:
        return str(YAML(typ="safe").load(git("show", f"HEAD:./{PARAMS}"))["data"]["bars"])
    except (YAMLError, KeyError, TypeError, ValueError):
        raise CampaignError(f"the committed {PARAMS} has no data.bars: add it and commit") from None


def comparable_stages(lock: Stages, differing: list[str]) -> Stages:
    """Select the stages whose outs are the same on a machine that is `differing` from the one of `lock`."""
    return {name: entry for name, entry in lock.items() if name in SAME_ON_EVERY_PROCESSOR or not differing}


@dataclasses.dataclass(frozen=True)
class Rerun:
    """What a second run left.

    outs: MD5 by path. kinds: what its networks were trained with. details: for outs that differ, which of their files do.
    """

    outs: dict[str, str] = dataclasses.field(default_factory=dict)
    kinds: committed.Kinds = dataclasses.field(default_factory=dict)
    details: dict[str, str] = dataclasses.field(default_factory=dict)


def run_again(stages: Stages, signals: list[int], *, bars: str, made: Iterable[str]) -> Rerun:
    """Run `stages` of the last commit in a temporary clone, which is removed.

    Args:
        signals: those that came, as `collect_signals` yields them; the first ends the run.
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
        code = run_to_end(command, signals, cwd=there, env=environment, pass_fds=[lock])
        if signals:
            return Rerun()
        if code:
            raise CampaignError(f"dvc repro ended with exit code {code} in the clone; see its output above")
        expected, actual = hash_outs(stages), hash_outs(read_lock((there / LOCK).read_text(encoding="utf-8")))
        both = expected.keys() & actual.keys()
        details = {
            name: list_differing_files(here, there, expected[name], actual[name])
            for name in differing_keys(expected, actual)
            if name in both
        }
        return Rerun(actual, committed.kinds_in((there / committed.COMPARED).read_text(encoding="utf-8")), details)


def link_bars(here: Path, there: Path, *, bars: str, made: Iterable[str]) -> None:
    """Link a user's own bars, at a relative path in `here`, into the clone `there`, where git does not hold them.

    Args:
        bars: `data.bars` of params.yaml.
        made: outs of all stages.
    """
    simulated = any((here / bars).resolve().is_relative_to((here / out).resolve()) for out in made)
    if not (simulated or Path(bars).is_absolute() or (there / bars).exists()):
        (there / bars).parent.mkdir(parents=True, exist_ok=True)
        (there / bars).symlink_to(here / bars)


def list_differing_files(here: Path, there: Path, one: str, other: str) -> str:
    """List in brackets the files in which two versions of a directory differ; empty where a cache lacks one."""
    before, after = read_cached_directory(here, one), read_cached_directory(there, other)
    if not before or not after:
        return ""
    return f" ({', '.join(sorted(differing_keys(before, after)))})"


def read_cached_directory(root: Path, md5: str) -> dict[str, str]:
    """Read the MD5 of each file of a directory from DVC's cache under `root`; empty for a file, or what the cache lacks."""
    if not md5.endswith(".dir"):
        return {}
    try:
        listing: list[dict[str, Any]] = json.loads((root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).read_text())
    except (OSError, ValueError):
        return {}
    return {entry["relpath"]: entry["md5"] for entry in listing}


# --- processes and directories that leave nothing behind --------------------------------------------------------------


@contextlib.contextmanager
def collect_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C, SIGTERM and SIGHUP in the list it yields, instead of ending at once and leaving processes behind."""
    signals: list[int] = []
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    handled = [number for number in numbers if before[number] is not signal.SIG_IGN]  # nohup and a shell's & ignore some
    for number in handled:
        signal.signal(number, lambda number, _: signals.append(number))
    try:
        yield signals
    finally:
        for number in handled:
            signal.signal(number, before[number])


def run_to_end(command: list[str], signals: list[int], **options: Any) -> int:
    """Run `command` and return its exit code; a signal in `signals` ends it and all processes it started."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options) as process:
        while process.poll() is None and not signals:
            time.sleep(0.1)
        for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 2)) if signals else ():
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
    """Yield a new directory, which is removed at the end, and the descriptor of its lock.

    Directories that killed processes left are removed, too. One is in use while a process holds its lock, this one or one that
    inherited the descriptor.
    """
    for lock in Path(tempfile.gettempdir()).glob(f"{DIRECTORY_PREFIX}*/lock"):
        with contextlib.suppress(OSError), lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent)
    with tempfile.TemporaryDirectory(prefix=DIRECTORY_PREFIX, ignore_cleanup_errors=True) as name:
        directory = Path(name).resolve()
        with (directory / "new").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            (directory / "new").rename(directory / "lock")  # it never exists without being locked
            yield directory, file.fileno()
