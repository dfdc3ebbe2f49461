"""Notice that a stage's code, inputs or settings changed while it ran.

DVC hashes all three after the command. An edit made meanwhile would stand in dvc.lock as what made the outs, and the run cache
would serve them for it. Import this module before any other of src: its import notes the code, and what is edited later shows.
"""

import dataclasses
import hashlib
import os
import platform
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import cache_from_source
from itertools import accumulate
from pathlib import Path
from types import CodeType
from typing import Any

from core.errors import CampaignError

SOURCE = Path(__file__).resolve().parents[1]
PIPELINE = Path("dvc.yaml")
READ_AGAIN = 64 * 2**20  # bytes of inputs that are hashed at the start, smallest files first; larger ones are known by their stat
NAMED = 3  # changes in one message
YOUNG = 60.0  # seconds since an edit that Python may have read half of the script before


class Changed(CampaignError):
    """A stage's code, inputs or settings are not those it started with."""


@dataclasses.dataclass(frozen=True)
class Mark:
    """A file as it was: size and times, and where it was cheap the content.

    No device or inode: a shared folder may number them anew while a stage runs, and whatever replaces a file has its own ctime.
    """

    size: int
    mtime: int
    ctime: int
    digest: str | None


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What dvc.yaml declares as a stage's deps, as it was when the stage started.

    deps: paths. code: digest of each file under src. files: mark of each other file under `deps`.
    node: the machine that took the marks; another one may have another copy.
    """

    deps: tuple[str, ...]
    code: Mapping[str, str]
    files: Mapping[str, Mark]
    node: str

    @classmethod
    def of(cls, deps: tuple[str, ...]) -> "Inputs":
        return cls(deps, CODE, _mark(_files(deps)), platform.node())

    def changes(self) -> list[str]:
        """Name what is no longer as it was; compares content where the stat differs and the content is known."""
        code = [Path(dep).resolve() for dep in self.deps if _is_code(dep)]
        now = {_name(file): _digest(file) for dep in code for file in _sources(dep)}
        then = {name: self.code[name] for name in self.code if any((SOURCE / name).is_relative_to(dep) for dep in code)}
        found = [f"src/{name}" for name in _differences(then, now)]
        if self.node == platform.node():
            present = {str(path): path for path in _files(self.deps)}
            found += _differences(self.files, {name: self._now(name, path) for name, path in present.items()})
        return found

    def _now(self, name: str, path: Path) -> Mark | None:
        """The mark it had where nothing has changed, or only the stat; else another one.

        Of a large file ctime alone does not count: another experiment's link to DVC's cache changes it.
        """
        before, now = self.files.get(name), _stat(path)
        if before is None or now is None:
            return now
        if (now.size, now.mtime) == (before.size, before.mtime) and (now.ctime == before.ctime or before.digest is None):
            return before
        return before if before.digest is not None and _digest(path) == before.digest else now


def changed_settings(used: Mapping[str, Any], params: Any) -> list[str]:
    """Name the keys of the sections `used` that params.yaml has otherwise now; comments and other sections do not count."""
    found = []
    for name, then in used.items():
        now = params.get(name) if isinstance(params, dict) else None
        if not isinstance(now, dict):
            found += [f"section '{name}' of params.yaml"] if now != then else []
            continue
        for key in dict.fromkeys([*then, *now]):
            if (before := _text(then, key)) != (after := _text(now, key)):
                found.append(f"{name}.{key} in params.yaml ({before} then, {after} now)")
    return found


def _text(section: Mapping[str, Any], key: str) -> str:
    """A value such that 1, 1.0 and true differ, as they do in dvc.lock."""
    text = repr(section[key]) if key in section else "nothing"
    return text if len(text) < 60 else f"{text[:40]}… {hashlib.sha256(text.encode()).hexdigest()[:6]}"


def told(changes: list[str]) -> str:
    """One line: what changed, and what to do."""
    more = f" and {len(changes) - NAMED} more" if len(changes) > NAMED else ""
    what = ", ".join(changes[:NAMED]) + more
    return f"changed while this ran: {what}; nothing is recorded: undo the change or keep it, then dvc repro"


# --- code -----------------------------------------------------------------------------------------------------------


def _note_code() -> dict[str, str]:
    """Digest every source file, and drop bytecode that is not younger than its source.

    Python takes bytecode for current by its source's size and whole second of mtime, and would run what stood there before an
    edit that kept both.
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
    return code | _edited_before_it_was_noted()


def _edited_before_it_was_noted() -> dict[str, str]:
    """The script itself, where its file is no longer what Python compiled some milliseconds ago."""
    main = sys.modules["__main__"]
    file = Path(getattr(main, "__file__", None) or SOURCE).resolve()
    if file.parent != SOURCE or time.time() - file.stat().st_ctime > YOUNG:
        return {}
    running = _running_code(vars(main))
    try:
        same = running is None or compile(file.read_bytes(), str(file), "exec", dont_inherit=True) == running
    except (SyntaxError, ValueError):
        same = False
    return {} if same else {_name(file): "another version"}


def _running_code(names: dict[str, Any]) -> CodeType | None:
    frame = sys._getframe()
    while frame is not None and frame.f_globals is not names:
        frame = frame.f_back
    return frame.f_code if frame is not None else None


def _name(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def _sources(path: Path) -> Iterator[Path]:
    """Python files under `path`, or `path` itself."""
    if path.is_dir():
        yield from sorted(path.rglob("*.py"))
    elif path.is_file():
        yield path


def _is_code(dep: str) -> bool:
    return Path(dep).resolve().is_relative_to(SOURCE)


# --- inputs ---------------------------------------------------------------------------------------------------------


def declared(stage: str, read_params: Callable[[], Any]) -> tuple[str, ...]:
    """The deps of `stage` in dvc.yaml, templates such as ``${data.bars}`` filled in; empty where there is no such stage.

    Raises:
        CampaignError: dvc.yaml cannot be read.
    """
    try:
        text = PIPELINE.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ()
    if f" {stage}:" not in text:
        return ()
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        entry = YAML(typ="safe").load(text)["stages"].get(stage) or {}
        deps = [dep if isinstance(dep, str) else next(iter(dep)) for dep in entry.get("deps") or []]
    except (YAMLError, TypeError, KeyError, AttributeError) as error:
        raise CampaignError(f"{PIPELINE} cannot be read ({' '.join(str(error).split())[:200]}); mend it") from None
    params = read_params() if any("${" in dep for dep in deps) else {}
    return tuple(_fill_in(dep, params) for dep in deps)


def _fill_in(dep: str, params: Any) -> str:
    def value(match: re.Match[str]) -> str:
        found = params
        for key in match[1].split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return str(found)

    return re.sub(r"\$\{\s*([\w.]+)\s*\}", value, dep)


def _files(deps: tuple[str, ...]) -> Iterator[Path]:
    """Every file under the deps that are not code, links followed, without what .dvcignore leaves out."""
    seen = set()
    for dep in deps:
        if _is_code(dep):
            continue
        if not os.path.isdir(dep):
            yield Path(dep)
        for folder, folders, names in os.walk(dep, followlinks=True):
            status = os.stat(folder)
            if (where := (status.st_dev, status.st_ino)) in seen:  # a link back
                folders.clear()
                continue
            seen.add(where)
            folders[:] = [name for name in folders if name != "__pycache__"]
            yield from (Path(folder, name) for name in names if not name.endswith(".tmp"))


def _mark(paths: Iterator[Path]) -> dict[str, Mark]:
    marks = {str(path): mark for path in paths if (mark := _stat(path)) is not None}
    by_size = sorted(marks, key=lambda name: marks[name].size)
    sizes = accumulate(marks[name].size for name in by_size)
    cheap = [name for name, size in zip(by_size, sizes, strict=True) if size <= READ_AGAIN]
    return marks | {name: dataclasses.replace(marks[name], digest=_digest(Path(name))) for name in cheap}


def _stat(path: Path) -> Mark | None:
    """Without the content; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Mark(status.st_size, status.st_mtime_ns, status.st_ctime_ns, None)


def _digest(path: Path) -> str:
    """Of a regular file's content; what cannot be read is empty, and never waited for."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return hashlib.file_digest(file, "sha256").hexdigest() if regular else ""
    except OSError:
        return ""


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names whose value is another one; "(new)" and "(removed)" beside those that stand on one side alone."""
    names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    return [name if name in then and name in now else f"{name} ({'removed' if name in then else 'new'})" for name in names]


CODE = _note_code()
