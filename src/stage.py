"""The door all scripts share: a params section in, artefacts out, one-line errors.

Settings stop here: a script reads its own section, checked against a schema, and passes plain keyword arguments on.
"""

from guard import explain, hold_streams, interruptible

import contextlib
import csv
import errno
import io
import itertools
import json
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pydantic

from core import inputs
from core.atomic import replacing
from core.errors import CampaignError, few, shortened, shown
from core.lock import claim

if TYPE_CHECKING:
    import hashlib

    import joblib

PARAMS = Path("params.yaml")
DATA = Path("data/training_data")

NO_THREAD = "can't start new thread"  # Python's words where the system refuses one, for want of memory or by a limit
OUT_OF_MEMORY = (  # in small letters; of torch, cuBLAS, cuDNN, C++, and the system, also by the loader of libraries
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "out of memory",
    "bad_alloc",
    "failed to map segment",
    "status_alloc_failed",
    NO_THREAD,
)
SYSTEM_CURES = {
    errno.ENOSPC: "free some disk space, then start again",
    errno.EDQUOT: "free some disk space, then start again",
    errno.EFBIG: "raise the limit of a file's size: ulimit -f",
    errno.EROFS: "make the file system writable",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
    errno.ENFILE: "close programs: the system has no more files to open",
    errno.EAGAIN: "set CAMPAIGN_JOBS=1, or raise the limit of processes: ulimit -u",
    errno.ENOMEM: "use fewer bars, symbols or CAMPAIGN_JOBS",
    errno.ENOENT: "run the stage that makes it: dvc repro",
    errno.ELOOP: "replace the link, which leads back to itself, by what is meant",
    errno.EISDIR: "a directory stands where a file belongs; move it away",
    errno.ENOTDIR: "a file stands where a directory belongs; move it away",
    errno.ENAMETOOLONG: "choose a shorter one",
    errno.EIO: "check the disk: reading or writing it failed",
    errno.ESTALE: "mount the file system again",
    errno.EBADF: "do not close standard output: results go there",
}


DISGUISES = ("OPENBLAS_CORETYPE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


class Settings(pydantic.BaseModel):
    """A section of params.yaml: no unknown key, no missing key, no silent conversion."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Section = TypeVar("Section", bound=Settings)


def read_params() -> Any:
    """What params.yaml in the working directory holds.

    Raises:
        CampaignError: the file is missing or not YAML.
    """
    from core import params  # here and below: what a seed's process and a benchmark can do without

    try:
        return params.read(PARAMS)
    except FileNotFoundError:
        raise CampaignError(f"{PARAMS} not found in {Path.cwd().name}/: start in the project's root") from None


def read_section(name: str, schema: type[Section]) -> Section:
    """Read one section of params.yaml.

    Raises:
        CampaignError: the file or section is missing or not YAML, or a value breaks the schema; names every such key.
    """
    document = read_params()
    if not isinstance(document, dict) or not isinstance(document.get(name), dict):
        found = "nothing" if not isinstance(document, dict) or document.get(name) is None else "no mapping"
        raise CampaignError(f"{PARAMS}: section '{name}' expected, {found} found; add '{name}:' with its keys")
    _used.setdefault(name, document[name])
    return check(name, document[name], schema)


def check(name: str, values: Mapping[str, Any], schema: type[Section]) -> Section:
    """Check plain `values` against `schema`; `name` is the section named in errors. Raises CampaignError."""
    try:
        return schema.model_validate(values)
    except pydantic.ValidationError as error:
        problems = [_explain(name, problem, schema) for problem in error.errors(include_url=False)]
        raise CampaignError(f"{PARAMS}: {few(problems, longest=400, between='; ')}") from None


ALLOWED = {  # where pydantic's own words are not about the value
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "list_type": "a list",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}


def _explain(section: str, problem: Any, schema: type[Settings]) -> str:
    keys = [shortened(part) for part in problem["loc"]]
    if not keys:
        return f"{section}: {problem['msg'].removeprefix('Value error, ')}"
    known = schema.model_fields.get(keys[0])
    key = ".".join([section, *keys])
    if len(problem["loc"]) == 2 and isinstance(problem["loc"][1], int):
        key = f"item {problem['loc'][1] + 1} of {section}.{keys[0]}"
    if problem["type"] == "missing":
        return f"{key} is missing; add it"
    if known is None:
        return f"{key} is unknown; remove it (known: {', '.join(schema.model_fields)})"
    said = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    allowed = ALLOWED.get(problem["type"], said).format(**problem.get("ctx", {}))
    if len(keys) == 1 and type(None) in typing.get_args(known.annotation):
        allowed += ", or null"
    value = problem["input"]
    hint = ", not text in quotes" if isinstance(value, str) and allowed.startswith("a valid") and _is_number(value) else ""
    return f"{key} is {shown(value)}; it must be {allowed}{hint}"


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(text) and float(text) is not None
    return False


def run(main: Callable[[], None], *, takes_arguments: bool = False) -> None:
    """Call `main`; end with exit code 1 and one line on what a user can cause, 2 on wrong usage, 130 on Ctrl-C.

    A stage of dvc.yaml ends well only where its settings, code and inputs are those it started with (`confirm`), and does not run
    twice at once in one directory. ``--help`` prints the script's docstring. A script that takes no arguments refuses them:
    settings are in params.yaml.
    """
    script, arguments = Path(sys.argv[0]).stem, sys.argv[1:]
    asks = bool({"-h", "--help"} & set(arguments))
    if arguments and not takes_arguments and not asks:
        say(f"{script}: takes no arguments, found {few(arguments, between=' ')}; settings are in {PARAMS}")
        sys.exit(2)
    try:
        hold_streams()
        if asks:
            print((sys.modules["__main__"].__doc__ or script).strip(), flush=True)
            sys.exit(0)
        with interruptible(), _recorded(script):
            main()
        sys.stdout.flush()  # or the end of Python would find that the last lines cannot be written
    except CampaignError as error:
        sys.exit(f"{script}: {one_line(error)}")
    except BrokenPipeError:  # whoever read our output has read enough, as head does
        sys.exit(1)
    except KeyboardInterrupt as stop:
        say("; ".join([f"{script}: interrupted", *map(str, stop.args)]))
        sys.exit(130)
    except Exception as error:
        if (said := line_about(error) or explain(error)) is None:
            raise
        sys.exit(f"{script}: {said}")
    finally:
        _drop_unwritten()


def _drop_unwritten() -> None:
    """Leave Python's end nothing that it would try to write once more, with words and an exit code of its own."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def line_about(error: BaseException) -> str | None:
    """One line on what the system or the machine refused, and the cure; None for a defect of the program."""
    said, earlier = one_line(error), error.__context__
    if NO_THREAD in f"{said} {earlier}":  # `ThreadPool` stumbles over its own clearing up
        return f"out of memory, or of processes ({NO_THREAD}); set CAMPAIGN_JOBS=1, or raise the limit: ulimit -u"
    if is_out_of_memory(error):
        return f"out of memory ({said[:200] or 'no detail'}); use fewer bars, symbols or CAMPAIGN_JOBS"
    if isinstance(error, OSError) and error.errno is not None:
        return system_error(error)
    return None


_used: dict[str, Any] = {}  # sections of params.yaml that were read, as they stood there
_inputs: inputs.Inputs | None = None  # of the stage that runs


@contextlib.contextmanager
def _recorded(script: str) -> Iterator[None]:
    """Around a stage of dvc.yaml: alone in this working directory, and on what DVC will record at its end."""
    global _inputs
    with contextlib.ExitStack() as stack:
        _used.clear()
        deps = inputs.declared(script, read_params)
        if deps and Path(".dvc").is_dir():
            stack.enter_context(claim(Path(".dvc/tmp/stages") / script, "this stage"))
        _inputs = inputs.Inputs.of(deps) if deps else None
        try:
            yield
        except (OSError, MemoryError, inputs.Changed):
            raise
        except Exception as error:  # such as a half-written file leads to
            changes = _changes()
            if not changes or inputs.told(changes) in str(error):
                raise
            said = str(error) if isinstance(error, CampaignError) else f"{type(error).__name__}: {error}"
            raise inputs.Changed(f"{said}; besides, {inputs.told(changes)}") from error
        else:
            confirm()
        finally:
            _inputs = None


def confirm() -> None:
    """Make sure that settings, code and inputs still are what this stage started with, as DVC will record them.

    Raises:
        CampaignError: names what changed.
    """
    if changes := _changes():
        raise inputs.Changed(inputs.told(changes))


def running_on() -> inputs.Inputs | None:
    """The inputs of the stage that runs, for its other processes; None outside a stage."""
    return _inputs


def _changes() -> list[str]:
    if _inputs is None:
        return []
    try:
        return _inputs.changes() + inputs.changed_settings(_used, read_params())
    except CampaignError as error:
        return [str(error)]


def system_error(error: OSError) -> str:
    """What the system said, about which file, and the cure."""
    said = os.strerror(error.errno) if error.errno is not None else one_line(error)
    if "temporary directory" in str(error):  # of `tempfile`, which has tried them all, and says ENOENT of it
        return "no directory for temporary files can be written; free some disk space, or set TMPDIR to one that can"
    where = f" at {shortened(error.filename, 200)}" if error.filename else ""
    if error.errno == errno.ENOENT and not where:
        return f"{said}; start in the project's root, where it still is"
    return f"{said}{where}; {SYSTEM_CURES.get(error.errno or 0, 'check what is there')}"


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own error, one of a library's, which come as RuntimeError and ImportError, or one of the system's."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    said = f"{error} {error.__context__}".lower()  # an error while a CUDA graph is recorded leads to another one
    return isinstance(error, RuntimeError | ImportError | OSError) and any(words in said for words in OUT_OF_MEMORY)


def one_line(text: object) -> str:
    """Fold white space and name what cannot be printed, so that any message stays one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(str(text).split()))


def say(text: str) -> None:
    """A line for whoever watches, on standard error, so that it never mixes with results; where that is closed or full, none."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:  # where it is, `print` would write to standard output
            print(text, file=sys.stderr, flush=True)


def jobs(tasks: int) -> int:
    """How many of `tasks` run side by side: ``CAMPAIGN_JOBS``, else by the cores this process may use.

    Up to two tasks a core all start at once: three tasks that share two cores end after 1.5 task times, one after the
    other pair after 2. Where and how fast something runs lives in the environment: it changes no result.

    Raises:
        CampaignError: CAMPAIGN_JOBS is not a whole number above zero.
    """
    wanted = os.environ.get("CAMPAIGN_JOBS", "")
    if wanted and not (wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted) > 0):
        raise CampaignError(f"CAMPAIGN_JOBS is {shown(wanted)}; it must be a whole number above zero, or unset")
    most = int(wanted) if wanted else tasks if tasks <= 2 * cores() else cores()
    return max(1, min(tasks, most))


def disguises() -> str:
    """Variables of the environment that have a numeric library take the machine for another, to other last digits; or empty."""
    return ", ".join(f"{name}={os.environ[name]}" for name in DISGUISES if os.environ.get(name))


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel(tasks: int) -> "joblib.Parallel":
    """A joblib.Parallel for `tasks`: threads of this machine, or the backend named by ``CAMPAIGN_BACKEND``.

    ``ray`` sends the tasks to a Ray cluster (pip install ray); every backend gives the same results.

    Raises:
        CampaignError: the backend is unknown or not installed.
    """
    import joblib

    backend = os.environ.get("CAMPAIGN_BACKEND") or "threading"
    if backend in ("loky", "multiprocessing"):  # their processes may start none of their own
        raise CampaignError(f"CAMPAIGN_BACKEND is {shown(backend)}; unset it: the seeds are processes already")
    try:
        if backend == "ray":
            from ray.util.joblib import register_ray

            register_ray()
        return joblib.Parallel(n_jobs=jobs(tasks), backend=backend)
    except (ImportError, ValueError) as error:
        raise CampaignError(f"CAMPAIGN_BACKEND is {shown(backend)}: {one_line(error)}; install it or unset it") from None


class _Fields(dict):
    """A JSON object of a file; to ask for a field that it lacks is the user's error: other code wrote the file."""

    def __init__(self, path: Path, fields: dict[str, Any]):
        super().__init__(fields)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise CampaignError(f"{self.path} lacks {key!r}, other code wrote it; make it anew: dvc repro")


def read_json(path: Path) -> dict[str, Any]:
    """Raises CampaignError when the file is missing or holds no JSON object, and later for a field that it lacks."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_hook=lambda fields: _Fields(path, fields))
        if not isinstance(found, dict):
            raise ValueError("no object")
        return found
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; run the stage that makes it: dvc repro") from None
    except (ValueError, RecursionError) as error:
        raise CampaignError(f"{path} is no JSON object ({shortened(error, 160)}); restore it: dvc checkout --force") from None


def read_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read a .npy file; never unpickles. `mapped` leaves it on disk. Raises CampaignError on a missing or damaged file."""
    try:
        return np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; run the stage that makes it: dvc repro") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged header fails in many ways
        raise CampaignError(f"{path} is not a plain array ({shortened(error, 160)}); restore it: dvc checkout --force") from None


def read_split(split: str, *names: str) -> dict[str, np.ndarray]:
    """Arrays of one split as `generate_data` left them, by name. Raises as `read_array` does."""
    return {name: read_array(DATA / f"{split}_{name}.npy") for name in names}


def root() -> Path:
    """The project's root, also for an experiment that DVC runs in a temporary copy and deletes."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def write_bytes(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Keys keep their order; NaN becomes an error, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_array(path: Path, array: np.ndarray) -> None:
    with replacing(path) as file:
        by_write = types.SimpleNamespace(write=file.write)  # into a real file numpy writes by C, and misses that a disk is full
        np.save(by_write, array, allow_pickle=False)


def write_rows(path: Path, pieces: Iterable[np.ndarray], *, rows: int, digest: "hashlib._Hash") -> None:
    """Write `pieces` below each other as one .npy file of `rows` rows, never all at once; `digest` takes in their bytes."""
    pieces = iter(pieces)
    first = next(pieces)
    header = {"descr": first.dtype.str, "fortran_order": False, "shape": (rows, *first.shape[1:])}
    written = 0
    with replacing(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in itertools.chain([first], pieces):
            data = piece.view(np.uint8).data
            file.write(data)
            digest.update(data)
            written += len(piece)
        assert written == rows


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One line a row; the first row's keys are the header. Floats keep every digit (repr), None is empty."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
