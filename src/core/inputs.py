"""Notice that a stage's code, inputs or settings changed while it ran.

DVC hashes all three after the command. Without this check dvc.lock would record an edit made meanwhile as what made the outs,
and the run cache would serve them for it. The import of this module hashes the code, so it has to come before any other of src.
"""

import dataclasses
import hashlib
import os
import platform
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.util import cache_from_source
from itertools import accumulate
from pathlib import Path
from types import CodeType
from typing import Any

from core.errors import CampaignError

SOURCE = Path(__file__).resolve().parents[1]
MAX_HASHED_BYTES = 64 * 2**20  # of inputs, smallest files first; of larger files size and times are compared
MAX_NAMED_CHANGES = 3  # in one message
RECENT_EDIT = 60.0  # seconds; a script edited longer ago was not edited while Python read it


class InputsChanged(CampaignError):
    """Settings, code or inputs are not those that the stage started with."""


@dataclasses.dataclass(frozen=True)
class FileState:
    """Size, times and content of a file.

    Times are in ns; `digest` is the SHA-256, None where hashing would take too long. Device and inode are left out: a shared
    folder may renumber them while a stage runs. A replaced file has a ctime of its own.
    """

    size: int
    mtime: int
    ctime: int
    digest: str | None


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The deps of a stage of a pipeline, as they were when it started.

    deps: paths.
    code: digest of each file under src, by name below src.
    files: state of each file under the other deps, by path.
    node: name of this machine; on another one the files may be copies, and are not compared.
    """

    deps: tuple[str, ...]
    code: Mapping[str, str]
    files: Mapping[str, FileState]
    node: str

    @classmethod
    def note(cls, deps: tuple[str, ...]) -> "Inputs":
        """Note the state of all files under `deps`."""
        return cls(deps, CODE_DIGESTS, _states(_files(deps)), platform.node())

    def changes(self) -> list[str]:
        """Name the files that changed, are new or were removed; empty where all are as they were."""
        code = [Path(dep).resolve() for dep in self.deps if _is_code(dep)]
        now = {_name(file): _digest(file) for dep in code for file in _sources(dep)}
        then = {name: self.code[name] for name in self.code if any((SOURCE / name).is_relative_to(dep) for dep in code)}
        changed = [f"src/{name}" for name in _differences(then, now)]
        if self.node == platform.node():
            present = {str(path): path for path in _files(self.deps)}
            changed += _differences(self.files, {name: self._state_now(name, path) for name, path in present.items()})
        return changed

    def _state_now(self, name: str, path: Path) -> FileState | None:
        """Return the noted state where the content is unchanged, else the present one.

        The content is hashed only where size or times differ. A large file's ctime does not count: another experiment's link to
        DVC's cache changes it.
        """
        before, now = self.files.get(name), _stat(path)
        if before is None or now is None:
            return now
        if (now.size, now.mtime) == (before.size, before.mtime) and (now.ctime == before.ctime or before.digest is None):
            return before
        return before if before.digest is not None and _digest(path) == before.digest else now


def changed_settings(used: Mapping[str, Any], params: Any) -> list[str]:
    """Name the keys whose values changed in params.yaml, with both values.

    Args:
        used: sections by name, as they were. Other sections and comments do not count.
        params: what params.yaml holds now.
    """
    changed = []
    for name, then in used.items():
        now = params.get(name) if isinstance(params, dict) else None
        if not isinstance(now, dict):
            changed += [f"section '{name}' of params.yaml"] if now != then else []
            continue
        for key in dict.fromkeys([*then, *now]):
            if (before := _format_setting(then, key)) != (after := _format_setting(now, key)):
                changed.append(f"{name}.{key} in params.yaml ({before} then, {after} now)")
    return changed


def _format_setting(section: Mapping[str, Any], key: str) -> str:
    """Format a value so that 1, 1.0 and true differ, as they do in dvc.lock."""
    text = repr(section[key]) if key in section else "nothing"
    return text if len(text) < 60 else f"{text[:40]}… {hashlib.sha256(text.encode()).hexdigest()[:6]}"


def describe_changes(changes: list[str]) -> str:
    """Say in one line what changed, and what to do."""
    more = f" and {len(changes) - MAX_NAMED_CHANGES} more" if len(changes) > MAX_NAMED_CHANGES else ""
    names = ", ".join(changes[:MAX_NAMED_CHANGES]) + more
    return f"changed while this ran: {names}; nothing is recorded: undo the change or keep it, then dvc repro"


# --- code -----------------------------------------------------------------------------------------------------------


def _hash_code() -> dict[str, str]:
    """Hash every source file, and remove bytecode that is not newer than its source.

    Python compares bytecode with its source by size and by mtime in whole seconds. After an edit that kept both it would run
    the code from before.
    """
    code = {}
    for file in _sources(SOURCE):
        code[_name(file)] = _digest(file)
        try:
            bytecode = cache_from_source(str(file))
            if os.stat(bytecode).st_mtime_ns <= file.stat().st_ctime_ns:
                os.unlink(bytecode)
        except (OSError, NotImplementedError):
            continue
    return code | _script_edited_before_hashing()


def _script_edited_before_hashing() -> dict[str, str]:
    """Give the script a digest that no file has, where its file is no longer what Python compiled."""
    main = sys.modules["__main__"]
    file = Path(getattr(main, "__file__", None) or SOURCE).resolve()
    if not file.is_relative_to(SOURCE) or not file.is_file() or time.time() - file.stat().st_ctime > RECENT_EDIT:
        return {}
    running = _running_code(vars(main))
    try:
        same = running is None or compile(file.read_bytes(), str(file), "exec", dont_inherit=True) == running
    except (SyntaxError, ValueError):
        same = False
    return {} if same else {_name(file): "another version"}


def _running_code(names: dict[str, Any]) -> CodeType | None:
    """Find the code that runs with the global `names`, among those that called this module."""
    frame = sys._getframe()
    while frame is not None and frame.f_globals is not names:
        frame = frame.f_back
    return frame.f_code if frame is not None else None


def _name(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def _sources(path: Path) -> Iterator[Path]:
    """List the Python files under `path`, or `path` itself where it is a file."""
    if path.is_dir():
        yield from sorted(path.rglob("*.py"))
    elif path.is_file():
        yield path


def _is_code(dep: str) -> bool:
    return Path(dep).resolve().is_relative_to(SOURCE)


# --- inputs ---------------------------------------------------------------------------------------------------------


def _files(deps: tuple[str, ...]) -> Iterator[Path]:
    """List the files under the deps that are not code. Follows links; leaves out what .dvcignore does."""
    seen = set()
    for dep in deps:
        if _is_code(dep):
            continue
        if not os.path.isdir(dep):
            yield Path(dep)
        for folder, folders, names in os.walk(dep, followlinks=True):
            status = os.stat(folder)
            if (where := (status.st_dev, status.st_ino)) in seen:  # a link to a folder above it
                folders.clear()
                continue
            seen.add(where)
            folders[:] = [name for name in folders if name != "__pycache__"]
            yield from (Path(folder, name) for name in names if not name.endswith(".tmp"))


def _states(paths: Iterator[Path]) -> dict[str, FileState]:
    """Note the state of each file, with its content for the smallest up to `MAX_HASHED_BYTES` in all."""
    states = {str(path): state for path in paths if (state := _stat(path)) is not None}
    by_size = sorted(states, key=lambda name: states[name].size)
    totals = accumulate(states[name].size for name in by_size)
    hashed = [name for name, total in zip(by_size, totals, strict=True) if total <= MAX_HASHED_BYTES]
    return states | {name: dataclasses.replace(states[name], digest=_digest(Path(name))) for name in hashed}


def _stat(path: Path) -> FileState | None:
    """Return the state without the content; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return FileState(status.st_size, status.st_mtime_ns, status.st_ctime_ns, None)


def _digest(path: Path) -> str:
    """Hash a regular file's content. Empty for what cannot be read or is no regular file; never blocks on a pipe."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return hashlib.file_digest(file, "sha256").hexdigest() if regular else ""
    except OSError:
        return ""


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the names whose values differ, with "(new)" or "(removed)" where one side lacks the name."""
    names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    return [name if name in then and name in now else f"{name} ({'removed' if name in then else 'new'})" for name in names]


CODE_DIGESTS = _hash_code()  # of each file under src, by its name below src
