"""Run a script: errors that a user can cause are one line and an exit code.

A stage that DVC would record fails where its settings, code or inputs changed while it ran.
"""

from core.startup import OUT_OF_MEMORY_STARTING, explain_import_error, interruptible, open_missing_streams

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from core import inputs, params
from core.errors import CampaignError, join_first, print_stderr, shorten, to_one_line
from core.lock import lock_directory
from core.params import PARAMS
from core.pipeline import read_deps

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


def run(main: Callable[[], None], *, name: str | None = None) -> None:
    """Call `main`, and turn errors into exit codes.

    1 is for errors that a user can cause, with one line on standard error; 2 for wrong usage, 130 for Ctrl-C. ``--help``
    prints the script's docstring. A stage of dvc.yaml runs once at a time in a directory, and fails where its settings, code
    or inputs changed while it ran (`check_unchanged`).

    Args:
        name: beginning of error lines, for a command that parses its arguments itself. None: the script's name, and arguments
            are refused.
    """
    program, arguments = name or Path(sys.argv[0]).stem, [] if name else sys.argv[1:]
    wants_help = bool({"-h", "--help"} & set(arguments))
    if arguments and not wants_help:
        found = join_first(arguments, separator=" ")
        print_stderr(f"{program}: takes no arguments, found {found}; settings are in {PARAMS}")
        sys.exit(2)
    try:
        open_missing_streams()
        if wants_help:
            print((sys.modules["__main__"].__doc__ or program).strip(), flush=True)
            sys.exit(0)
        with interruptible(), _stage(program), _flushed_output():
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


# --- a stage of dvc.yaml --------------------------------------------------------------------------------------------

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
def _stage(name: str) -> Iterator[None]:
    """Lock the stage `name` in this working directory, and check its inputs at the end. Does nothing where it is no stage.

    An error while inputs changed, such as a half-written file causes, names the changes too.
    """
    global _inputs
    with contextlib.ExitStack() as stack:
        params.forget_used_sections()
        deps = read_deps(name, params.read_params)
        if deps and Path(".dvc").is_dir():
            stack.enter_context(lock_directory(Path(".dvc/tmp/stages") / name, "this stage"))
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
