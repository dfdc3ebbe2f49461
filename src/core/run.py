"""Run a script: errors that a user can cause are one line and an exit code.

A stage that DVC would record fails where its settings, code or inputs changed while it ran.
"""

from core.startup import OUT_OF_MEMORY_STARTING, explain_import_error, interruptible, open_missing_streams

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from core import inputs, params
from core.errors import CampaignError, join_first, print_stderr, shorten, to_one_line
from core.lock import lock_directory
from core.params import PARAMS
from core.pipeline import PIPELINE, Stage, read_deps, read_items

THREAD_REFUSED = "can't start new thread"  # Python's text where the system refuses one, for want of memory or by a limit
OUT_OF_MEMORY = (*OUT_OF_MEMORY_STARTING, "unable to allocate", "out of memory", "bad_alloc", "status_alloc_failed")

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


def run(
    main: Callable[[], None] | Callable[[str], None],
    *,
    name: str | None = None,
    stage: Stage | None = None,
    takes_item: bool = False,
) -> None:
    """Call `main`, and turn errors into exit codes.

    1 is for errors that a user can cause, with one line on standard error; 2 for wrong usage, 130 for Ctrl-C. ``--help``
    prints the script's docstring. A stage of a pipeline runs once at a time in a directory, and fails where its settings, code
    or inputs changed while it ran (`check_unchanged`).

    Args:
        name: beginning of error lines, for a command that parses its arguments itself. None: the script's name, and arguments
            are refused.
        stage: what DVC records the script as. None: the stage of dvc.yaml that is called as the script, where there is one.
        takes_item: the script takes one argument, an item of the matrix of `stage`; `main` is called with it, and the stage is
            ``<stage>@<item>``.
    """
    program, arguments = name or Path(sys.argv[0]).stem, [] if name else sys.argv[1:]
    wants_help = bool({"-h", "--help"} & set(arguments))
    if not wants_help and not takes_item and arguments:
        found = join_first(arguments, separator=" ")
        _exit_for_usage(f"{program}: takes no arguments, found {found}; settings are in {PARAMS}")
    try:
        open_missing_streams()
        if wants_help:
            print((sys.modules["__main__"].__doc__ or program).strip(), flush=True)
            sys.exit(0)
        with interruptible():
            if takes_item and stage:
                item = _find_item(program, arguments, read_items(stage))
                program, stage = f"{program} {item}", Stage(stage.pipeline, f"{stage.name}@{item}")
                main = functools.partial(main, item)
            with _stage(stage or Stage(PIPELINE, program)), _flushed_output():
                main()
    except CampaignError as error:
        sys.exit(f"{program}: {to_one_line(error)}")
    except BrokenPipeError:  # the reader of our output has enough, as head does
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        print_stderr("; ".join([f"{program}: interrupted", *map(str, interrupt.args)]))
        sys.exit(130)
    except Exception as error:
        if (line := explain_error(error) or explain_import_error(error)) is None:
            raise
        sys.exit(f"{program}: {line}")
    finally:
        _discard_unwritten_output()


def _exit_for_usage(line: str) -> NoReturn:
    print_stderr(line)
    sys.exit(2)


def _find_item(program: str, arguments: list[str], items: list[str]) -> str:
    """Return the script's one argument. Exits with code 2 where it is none of the `items`."""
    if len(arguments) == 1 and arguments[0] in items:
        return arguments[0]
    found = join_first(arguments, separator=" ") or "nothing"
    _exit_for_usage(f"{program}: takes one of {', '.join(items)}, found {found}; settings are in {PARAMS}")


@contextlib.contextmanager
def _flushed_output() -> Iterator[None]:
    """Flush standard output at the end, also after argparse's --help. At Python's exit an error would get no line."""
    try:
        yield
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _discard_unwritten_output() -> None:
    """Discard output that cannot be written. Python would try again at exit, with a text and exit code of its own."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


# --- a stage of a pipeline ------------------------------------------------------------------------------------------

_inputs: inputs.Inputs | None = None


def stage_inputs() -> inputs.Inputs | None:
    """Return the inputs of the running stage, for its workers; None outside a stage."""
    return _inputs


def check_unchanged() -> None:
    """Check that settings, code and inputs are those the running stage started with, as DVC will record them.

    Raises:
        InputsChanged: names the changes.
    """
    if changes := _changes():
        raise inputs.InputsChanged(inputs.describe_changes(changes))


@contextlib.contextmanager
def _stage(stage: Stage) -> Iterator[None]:
    """Lock `stage` in this working directory, and check its inputs at the end. Does nothing where there is no such stage.

    An error while inputs changed, such as a half-written file causes, names the changes too.
    """
    global _inputs
    with contextlib.ExitStack() as stack:
        stack.enter_context(_root_of(stage))
        params.forget_used_sections()
        deps = read_deps(stage, params.read_params)
        if deps and (kept := stage.pipeline.parent / ".dvc").is_dir():
            stack.enter_context(lock_directory(kept / "tmp/stages" / stage.name, "this stage"))
        _inputs = inputs.Inputs.note(deps) if deps else None
        try:
            yield
        except (OSError, MemoryError, inputs.InputsChanged):
            raise
        except Exception as error:
            changes = _changes()
            if not changes or inputs.describe_changes(changes) in str(error):
                raise
            text = str(error) if isinstance(error, CampaignError) else f"{type(error).__name__}: {error}"
            raise inputs.InputsChanged(f"{text}; besides, {inputs.describe_changes(changes)}") from error
        else:
            check_unchanged()
        finally:
            _inputs = None


@contextlib.contextmanager
def _root_of(stage: Stage) -> Iterator[None]:
    """Set DVC_ROOT to this project's root inside the block, where DVC set it to that of the project that holds the pipeline.

    What a stage keeps beside its outs, such as checkpoints, belongs there (`core.files.project_root`).
    """
    root, below = os.environ.get("DVC_ROOT"), stage.pipeline.parent
    if root is None or below == Path() or Path(root).parts[-len(below.parts) :] != below.parts:
        yield
        return
    os.environ["DVC_ROOT"] = str(Path(root).parents[len(below.parts) - 1])
    try:
        yield
    finally:
        os.environ["DVC_ROOT"] = root


def _changes() -> list[str]:
    if _inputs is None:
        return []
    try:
        return _inputs.changes() + inputs.changed_settings(params.used_sections(), params.read_params())
    except CampaignError as error:
        return [str(error)]


# --- errors of the system -------------------------------------------------------------------------------------------


def explain_error(error: BaseException) -> str | None:
    """Say in one line what the system refused, and the cure; None for a defect of the program."""
    text = to_one_line(error)
    if THREAD_REFUSED in f"{text} {error.__context__}":  # a ThreadPool then fails again while it cleans up
        return f"out of memory, or of processes ({THREAD_REFUSED}); set CAMPAIGN_JOBS=1, or raise the limit: ulimit -u"
    if is_out_of_memory(error):
        return f"out of memory ({text[:200] or 'no detail'}); use fewer bars, symbols or CAMPAIGN_JOBS"
    if isinstance(error, OSError) and error.errno is not None:
        return describe_system_error(error)
    return None


def describe_system_error(error: OSError) -> str:
    """Say what the system refused, for which file, and the cure."""
    if "temporary directory" in str(error):  # tempfile has tried all of them, and raises ENOENT
        return "no directory for temporary files can be written; free some disk space, or set TMPDIR to one that can"
    text = os.strerror(error.errno) if error.errno is not None else to_one_line(error)
    if error.errno == errno.ENOENT and not error.filename:
        return f"{text}; start in the project's root, where it still is"
    where = f" at {shorten(error.filename, 200)}" if error.filename else ""
    return f"{text}{where}; {SYSTEM_CURES.get(error.errno or 0, 'check what is there')}"


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise Python's MemoryError, ENOMEM, and the texts by which libraries say it in RuntimeError or ImportError."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    text = f"{error} {error.__context__}".lower()  # the context: an error in a CUDA graph's recording leads to another one
    return isinstance(error, RuntimeError | ImportError | OSError) and any(words in text for words in OUT_OF_MEMORY)
