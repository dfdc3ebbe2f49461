"""Track trainings in MLflow from the side. DVC's files stay the truth: runs can be written from them at any time.

Here is what stages call. Nothing in it can harm a training. MLflow is used in processes of its own, the writers
(`mlflow_writer.py`); a stage waits for its writer at most `WRITER_TIMEOUT`, and what goes wrong is one warning.
``CAMPAIGN_TRACKING=off`` disables it.
"""

import contextlib
import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from core.errors import print_stderr, to_one_line
from core.run import check_unchanged
from watch import progress

WRITER_SCRIPT = Path(__file__).with_name("mlflow_writer.py")
WRITER_TIMEOUT = 180.0  # seconds that a stage waits for its writer at the end
COURIER_TIMEOUT = 2.0  # seconds for the last messages to reach the writer, and for its last lines to be shown
STAGE_ENDED_WELL = b"ended well"  # what a writer that updates runs is sent
SECRET_VARIABLE = re.compile("(PASSWORD|TOKEN|SECRET|SECRET_ACCESS_KEY)$")  # at the end of a variable's name
QUERY_KEYS = {"user", "password", "host", "port", "sslmode", "token"}  # common enough to be shown
MIN_UNMISTAKABLE = 12  # characters; a shorter secret may by chance be part of a word
BACKFILL_CURE = "python src/campaign.py backfill writes it later"


class Writer:
    """A process that writes a training's run, and the threads that pass messages to it and its lines on.

    Without a process messages are dropped: so it is where tracking is off, and in a worker on another machine. The end of the
    stage is tracked all the same.
    """

    def __init__(self, process: "subprocess.Popen[bytes] | None" = None):
        self.process = process
        self.messages: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self.courier = threading.Thread(target=self._pass_on_messages, daemon=True)
        self.listener = threading.Thread(target=self._show_lines, daemon=True)
        if process is not None:
            self.courier.start()
            self.listener.start()

    def __reduce__(self) -> tuple[type["Writer"], tuple[()]]:
        return Writer, ()

    def send(self, *message: Any) -> None:
        """Put a message into the queue. Never waits, even if the writer hangs."""
        self.messages.put([*message])

    def _pass_on_messages(self) -> None:
        pipe = self.process.stdin
        with contextlib.suppress(OSError):  # the writer gave up, and has said so
            while (message := self.messages.get())[0] != "close":
                pipe.write(json.dumps(message).encode() + b"\n")
                pipe.flush()
        with contextlib.suppress(OSError):
            pipe.close()

    def _show_lines(self) -> None:
        """Show the writer's lines above the progress bars, which it does not know of."""
        with self.process.stderr as pipe:
            for line in pipe:
                progress.say(line.decode(errors="replace").rstrip())

    def close(self, *, wait: bool) -> None:
        """Have all messages sent, and if `wait` wait until the writer is done."""
        self.send("close")
        if self.process is None:
            return
        self.courier.join(COURIER_TIMEOUT)
        if wait:
            _wait(self.process)
            self.listener.join(COURIER_TIMEOUT)


@contextlib.contextmanager
def update_at_end(*command: str) -> Iterator[None]:
    """Update MLflow from the files that are here when the block has ended well.

    The writer starts with the block, since its imports and the export of models can take as long as a stage does.

    Args:
        command: of the writer, with its arguments: ``update`` writes the campaign's runs and is the default,
            ``update_walk_forward`` those of walk-forward, ``update_search`` those of the search whose result follows.
    """
    process = None if is_off() else start_writer(*command or ("update",))
    try:
        yield
        check_unchanged()
    except BaseException:
        if process is not None:
            process.stdin.close()
        raise
    if process is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # the writer gave up, and has said so
            pipe.write(STAGE_ENDED_WELL)
        _wait(process)


def start_writer(*command: str, stderr: int | None = None) -> "subprocess.Popen[bytes] | None":
    """Start a writer in a process group of its own, so that a signal to the trainer's group leaves it time to finish."""
    try:
        return subprocess.Popen([sys.executable, WRITER_SCRIPT, *command], stdin=subprocess.PIPE, stderr=stderr, process_group=0)
    except OSError as error:
        warn(error)
        return None


def _wait(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a writer to end, and kill it after `WRITER_TIMEOUT`."""
    try:
        process.wait(WRITER_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        warn(f"the store did not answer within {WRITER_TIMEOUT:g} s")


def is_off() -> bool:
    return os.environ.get("CAMPAIGN_TRACKING", "").lower() in ("off", "0", "no", "false")


def warn(problem: object) -> None:
    """Print a warning in one line, with no password in it."""
    what = without_password(to_one_line(problem))[:300]
    print_stderr(f"tracking: warning: not in MLflow, and nothing else is touched: {what}; {BACKFILL_CURE}")


def without_password(text: str) -> str:
    """Hide users, passwords and queries in the addresses of `text`, and the environment's secrets anywhere in it.

    Secrets are hidden outside addresses too, since libraries quote pieces of an address that they could not parse.
    """
    for secret in sorted(_secrets(), key=len, reverse=True):
        whole_word = rf"(?<!\w){re.escape(secret)}(?!\w)"
        text = re.sub(whole_word if len(secret) < MIN_UNMISTAKABLE else re.escape(secret), "…", text)
    return re.sub(r"[\w+.-]+://[^\s'\"]*", lambda match: _hide_in_address(match[0]), text)


def _hide_in_address(address: str) -> str:
    """Return an address without its user, password and query; of an ambiguous one only the scheme."""
    scheme, _, rest = address.partition("://")
    is_file = scheme.startswith(("sqlite", "file"))
    place, mark, query = re.fullmatch(r"([^?]*)(\??)(.*)" if is_file else r"([^?#;]*)([?#;]?)(.*)", rest).groups()
    if not is_file and "@" in query:
        return f"{scheme}://…"
    if not is_file and "@" in place:
        place = f"…@{place.rpartition('@')[2]}"
    return f"{scheme}://{place}{mark}{'…' if query else ''}"


def _secrets() -> set[str]:
    """Collect the secrets of the environment and of the store's address, as written and decoded, whole and by word."""
    scheme, _, rest = os.environ.get("MLFLOW_TRACKING_URI", "").partition("://")
    secrets = [value for name, value in os.environ.items() if SECRET_VARIABLE.search(name)]
    if not scheme.startswith(("sqlite", "file")):
        user = rest.rpartition("@")[0]
        secrets += [user, user.partition(":")[2]]
        for part in re.split("[?#&;]", rest)[1:]:
            key, _, value = part.partition("=")
            secrets += [value] if key in QUERY_KEYS else [key, value]
    whole = {form for text in secrets for form in (text, unquote(text), unquote_plus(text), quote(text, safe=""))}
    return (whole | {word for text in whole for word in re.split(r"\W+", text)}) - {""}


def this_process() -> str:
    """Name this process, as host:id."""
    return f"{socket.gethostname()}:{os.getpid()}"
