"""The door all scripts share: a params section in, artefacts out, one-line errors.

Settings stop here: a script reads its own section, checked against a schema, and passes plain keyword arguments on.
"""

from guard import explain, interruptible

import contextlib
import csv
import errno
import io
import itertools
import json
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pydantic

from core import inputs
from core.atomic import replacing
from core.errors import CampaignError
from core.lock import claim

if TYPE_CHECKING:
    import hashlib

    import joblib

PARAMS = Path("params.yaml")
DATA = Path("data/training_data")

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")  # of torch, cuBLAS and cuDNN
SYSTEM_CURES = {
    errno.ENOSPC: "free some disk space, then start again",
    errno.EDQUOT: "free some disk space, then start again",
    errno.EROFS: "make the file system writable",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
    errno.ENOENT: "run the stage that makes it: dvc repro",
}


DISGUISES = ("OPENBLAS_CORETYPE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


class Settings(pydantic.BaseModel):
    """A section of params.yaml: no unknown key, no missing key, no silent conversion."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Section = TypeVar("Section", bound=Settings)


def read_params() -> Any:
    """What params.yaml in the working directory holds, in YAML 1.2 as DVC reads it: ``1e-4`` is a number, ``"1e-4"`` is text.

    Raises:
        CampaignError: the file is missing or not YAML.
    """
    from ruamel.yaml import YAML  # here and below: what a seed's process and a benchmark can do without
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(PARAMS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CampaignError(f"{PARAMS} not found in {Path.cwd().name}/: start in the project's root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise CampaignError(f"{PARAMS} is not valid YAML: {one_line(error)}") from None


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
        problems = "; ".join(_explain(name, problem, schema) for problem in error.errors())
        raise CampaignError(f"{PARAMS}: {problems}") from None


def _explain(section: str, problem: Any, schema: type[Settings]) -> str:
    key = ".".join([section, *(str(part) for part in problem["loc"])])
    if problem["type"] == "missing":
        return f"{key} is missing; add it"
    if problem["type"] == "extra_forbidden":
        return f"{key} is unknown; remove it (known: {', '.join(schema.model_fields)})"
    allowed = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if not problem["loc"]:
        return f"{section}: {allowed}"
    value = problem["input"]
    hint = ", not text in quotes" if isinstance(value, str) and "number" in allowed else ""
    return f"{key} is {value!r}; it must be {allowed}{hint}"


def run(main: Callable[[], None], *, takes_arguments: bool = False) -> None:
    """Call `main`; end with exit code 1 and one line on what a user can cause, 2 on wrong usage, 130 on Ctrl-C.

    A stage of dvc.yaml ends well only where its settings, code and inputs are those it started with (`confirm`), and does not run
    twice at once in one directory. ``--help`` prints the script's docstring. A script that takes no arguments refuses them:
    settings are in params.yaml.
    """
    script, arguments = Path(sys.argv[0]).stem, sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print((sys.modules["__main__"].__doc__ or script).strip())
        sys.exit(0)
    if arguments and not takes_arguments:
        print(f"{script}: takes no arguments, found {' '.join(arguments)}; settings are in {PARAMS}", file=sys.stderr)
        sys.exit(2)
    try:
        with interruptible(), _recorded(script):
            main()
    except CampaignError as error:
        sys.exit(f"{script}: {one_line(error)}")
    except ImportError as error:
        if (said := explain(error)) is None:
            raise
        sys.exit(f"{script}: {said}")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        sys.exit(f"{script}: out of memory ({one_line(error)[:200] or 'no detail'}); use fewer bars, symbols or CAMPAIGN_JOBS")
    except BrokenPipeError:  # whoever read our output has read enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno is None:
            raise
        sys.exit(f"{script}: {system_error(error)}")
    except KeyboardInterrupt:
        print(f"{script}: interrupted", file=sys.stderr)
        sys.exit(130)


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
    where = f" at {error.filename}" if error.filename else ""
    cure = SYSTEM_CURES.get(error.errno or 0, "see the system's message")
    return f"{said}{where}; {cure}"


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own error, or one of torch's, which are RuntimeErrors."""
    said = f"{error} {error.__context__}"  # an error while a CUDA graph is recorded leads to another one
    return isinstance(error, MemoryError) or any(words in said for words in OUT_OF_MEMORY)


def one_line(text: object) -> str:
    """Fold white space, so that any message stays one line."""
    return " ".join(str(text).split())


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
        raise CampaignError(f"CAMPAIGN_JOBS is {wanted!r}; it must be a whole number above zero, or unset")
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
        raise CampaignError(f"CAMPAIGN_BACKEND is {backend!r}; unset it: the seeds are processes already")
    try:
        if backend == "ray":
            from ray.util.joblib import register_ray

            register_ray()
        return joblib.Parallel(n_jobs=jobs(tasks), backend=backend)
    except (ImportError, ValueError) as error:
        raise CampaignError(f"CAMPAIGN_BACKEND is {backend!r}: {one_line(error)}; install it or unset it") from None


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
    except ValueError as error:
        raise CampaignError(f"{path} is no JSON object ({one_line(error)}); restore it: dvc checkout --force") from None


def read_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read a .npy file; never unpickles. `mapped` leaves it on disk. Raises CampaignError on a missing or damaged file."""
    try:
        return np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; run the stage that makes it: dvc repro") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged header fails in many ways
        raise CampaignError(f"{path} is not a plain array ({one_line(error)}); restore it: dvc checkout --force") from None


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
