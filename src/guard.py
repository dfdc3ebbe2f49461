"""Guard the start of a script: every one imports this before anything else. Needs the standard library alone.

Its import, where a script of this directory is what runs, has Ctrl-C end the process at once and without a traceback until
`stage.run` takes over, turns a package that cannot be imported into one line, notes the code as it is (`core.inputs`), and ends
a stage whose dvc is gone.
"""

import _signal  # signal without its enum, whose import is as long as Python's own start
import sys

INTERRUPTIBLE = _signal.getsignal(_signal.SIGINT)  # one that a shell put into the background ignores Ctrl-C
_main = getattr(sys.modules["__main__"], "__file__", None) or ""
IS_SCRIPT = _main.rpartition("/")[0] == __file__.rpartition("/")[0]
if IS_SCRIPT and INTERRUPTIBLE is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

CURE = "source .venv/bin/activate first (make setup makes it)"
if sys.version_info < (3, 11):  # noqa: UP036 - dvc runs the first python of the path
    sys.exit(f"{sys.argv[0]}: Python 3.11 or later is needed, {sys.executable} is {sys.version.split()[0]}; {CURE}")

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

NO_MEMORY = ("cannot allocate memory", "can't allocate memory", "failed to map segment", "can't start new thread")
INSTALL = "pip install -r requirements.txt -c constraints.txt"
GRACE = 5.0  # seconds from the signal that a stage without its dvc gets to its end


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt inside the block, and end the script at once outside."""
    ours = IS_SCRIPT and signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGINT, INTERRUPTIBLE)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def hold_streams() -> None:
    """Have descriptors 0 to 2 open: in the place of a closed one the next file would be opened, and what is said go into it.

    What is said to a closed standard error is lost; writing to a closed standard output is an error.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.set_inheritable(os.open(os.devnull, mode), True)  # the lowest number that is free, and so this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - open as long as Python is
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def explain(error: BaseException) -> str | None:
    """One line on a package that cannot be imported, or on too little memory to import it; None for anything else."""
    said = " ".join(str(error).split())[:200]
    if isinstance(error, MemoryError) or any(words in said.lower() for words in NO_MEMORY):
        return f"out of memory while it starts ({said or 'no detail'}); end other programs, or raise the limit: ulimit -v"
    if not isinstance(error, ImportError) or not error.name or _is_ours(error.name):
        return None
    package = error.name.partition(".")[0]
    if not isinstance(error, ModuleNotFoundError):
        return f"package {package} cannot be imported ({said}); install it again: {INSTALL} --force-reinstall"
    inside = Path(sys.prefix).resolve() == (Path(__file__).parents[1] / ".venv").resolve()
    return f"no package {package!r} for {sys.executable}; {INSTALL if inside else CURE}"


def _is_ours(module: str) -> bool:
    top = Path(__file__).with_name(module.partition(".")[0])
    return top.is_dir() or top.with_suffix(".py").is_file()


def _hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if (line := explain(error)) is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        print(f"{Path(_main).stem}: {line}", file=sys.stderr)


# --- the dvc that started this --------------------------------------------------------------------------------------


def _dvc() -> int | None:
    """Process id of the dvc that runs this script as a stage: the nearest ancestor without its variable, past a shell between.

    None where there is none, or it is in another session: what someone detached is theirs to end.
    """
    stage = os.environ.get("DVC_STAGE", "")
    if stage.rpartition(":")[2] != Path(_main).stem:
        return None
    variable = f"DVC_STAGE={stage}".encode()
    pid = os.getppid()
    try:
        while variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            pid = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, ValueError):
        pass  # no /proc, or not ours to read: the process that was found last
    try:
        return pid if os.getsid(pid) == os.getsid(0) else None
    except OSError:
        return None


def _end_after(dvc: int) -> None:
    """Wait until the process `dvc` is gone, then end this one."""
    try:
        poll = select.poll()
        poll.register(os.pidfd_open(dvc), select.POLLIN)
        poll.poll()
    except (AttributeError, OSError):  # another system than Linux
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(1)
    with contextlib.suppress(OSError, ValueError):
        print(f"{Path(_main).stem}: ended, since the dvc that would record it is gone", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


if IS_SCRIPT:
    hold_streams()  # before the thread's descriptor takes the place of one
    sys.excepthook = _hook
    if (_found := _dvc()) is not None:
        threading.Thread(target=_end_after, args=(_found,), daemon=True).start()
