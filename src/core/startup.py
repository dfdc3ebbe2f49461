"""Start a script safely: every one imports this module before anything else.

What the import does where a script of src runs, and nothing elsewhere:
- until `core.run` takes over, Ctrl-C ends the process at once, without a traceback;
- a package that cannot be imported is one line, not a traceback;
- the code is noted as it is (`core.inputs`), so that later edits are noticed;
- a stage ends when the dvc that would record it is gone.

It imports the standard library alone, and has to be parsed by Python 3.8.
"""

import _signal  # signal without its enum, whose import takes as long as Python's own start
import sys

ORIGINAL_HANDLER = _signal.getsignal(_signal.SIGINT)  # ignores Ctrl-C where a shell put the script into the background
_main = getattr(sys.modules["__main__"], "__file__", None) or ""
_source = __file__.rpartition("/core/")[0]
IS_SCRIPT_OF_SRC = _main.startswith(f"{_source}/")
if IS_SCRIPT_OF_SRC and ORIGINAL_HANDLER is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

ACTIVATE_HINT = "source .venv/bin/activate first (make setup makes it)"
if sys.version_info < (3, 11):  # noqa: UP036 - dvc runs the first python of the path
    sys.exit(f"{sys.argv[0]}: Python 3.11 or later is needed, {sys.executable} is {sys.version.split()[0]}; {ACTIVATE_HINT}")

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import core.inputs  # noqa: F401 - notes the code

OUT_OF_MEMORY_STARTING = (  # in small letters: texts of Python, of the loader of libraries and of C libraries
    "cannot allocate memory",
    "can't allocate memory",
    "failed to map segment",
    "can't start new thread",
)
INSTALL_COMMAND = "pip install -r requirements.txt -c constraints.txt"
MAX_SECONDS_TO_END = 5.0  # between SIGTERM and the hard end of a stage without its dvc


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt inside the block; outside it ends the script at once."""
    switch = IS_SCRIPT_OF_SRC and signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if switch:
        signal.signal(signal.SIGINT, ORIGINAL_HANDLER)
    try:
        yield
    finally:
        if switch:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def open_missing_streams() -> None:
    """Open /dev/null as those of descriptors 0 to 2 that are closed.

    Else the next file that is opened would take the number, and messages would be written into it. Messages to a closed
    standard error are lost; writing to a closed standard output stays an error.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.set_inheritable(os.open(os.devnull, mode), True)  # the system gives the lowest free number: this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - open as long as Python is
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def explain_import_error(error: BaseException) -> str | None:
    """Explain in one line why a package cannot be imported: it is missing, broken or too large. None for other errors."""
    text = " ".join(str(error).split())[:200]
    if isinstance(error, MemoryError) or any(words in text.lower() for words in OUT_OF_MEMORY_STARTING):
        return f"out of memory while it starts ({text or 'no detail'}); end other programs, or raise the limit: ulimit -v"
    if not isinstance(error, ImportError) or not error.name or _is_own_module(error.name):
        return None
    package = error.name.partition(".")[0]
    if not isinstance(error, ModuleNotFoundError):
        return f"package {package} cannot be imported ({text}); install it again: {INSTALL_COMMAND} --force-reinstall"
    is_activated = Path(sys.prefix).resolve() == (Path(_source).parent / ".venv").resolve()
    return f"no package {package!r} for {sys.executable}; {INSTALL_COMMAND if is_activated else ACTIVATE_HINT}"


def _is_own_module(name: str) -> bool:
    top = Path(_source, name.partition(".")[0])
    return top.is_dir() or top.with_suffix(".py").is_file()


def _print_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print an uncaught error: a line where `explain_import_error` has one, else the traceback."""
    if (line := explain_import_error(error)) is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        print(f"{Path(_main).stem}: {line}", file=sys.stderr)


# --- the dvc that started this --------------------------------------------------------------------------------------


def _find_dvc() -> int | None:
    """Find the process id of the dvc that runs this script as a stage.

    It is the nearest ancestor without DVC_STAGE in its environment, past a shell between. None where there is none, or where
    it is in another session: a process that someone detached is theirs to end.
    """
    stage = os.environ.get("DVC_STAGE", "")
    if stage.rpartition(":")[2].partition("@")[0] != Path(_main).stem:  # after "@": the item of a matrix
        return None
    variable = f"DVC_STAGE={stage}".encode()
    pid = os.getppid()
    try:
        while variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            pid = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, ValueError):
        pass  # no /proc, or not ours to read: keep the process that was found last
    try:
        return pid if os.getsid(pid) == os.getsid(0) else None
    except OSError:
        return None


def _end_after(dvc: int) -> None:
    """Wait until the process `dvc` has ended, then end this one."""
    try:
        poll = select.poll()
        poll.register(os.pidfd_open(dvc), select.POLLIN)
        poll.poll()
    except (AttributeError, OSError):  # not Linux
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(1)
    with contextlib.suppress(OSError, ValueError):
        print(f"{Path(_main).stem}: ended, since the dvc that would record it is gone", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(MAX_SECONDS_TO_END)
    os._exit(1)


if IS_SCRIPT_OF_SRC:
    open_missing_streams()  # first: else the thread's descriptor could take the number of a closed stream
    sys.excepthook = _print_uncaught
    if (_found := _find_dvc()) is not None:
        threading.Thread(target=_end_after, args=(_found,), daemon=True).start()
