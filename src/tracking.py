"""Mirror what the stages do into MLflow, from the side. DVC's files stay the truth; a run can be written from them at any time.

Here is what stages call. Nothing in it can harm a training: MLflow is used in processes of its own (`mirror.py`), which nobody
waits for longer than `PATIENCE`, and what goes wrong is one warning. ``CAMPAIGN_TRACKING=off`` does without.

Usage: python src/tracking.py backfill    write what MLflow lacks of the models, metrics and plots that are here
       python src/tracking.py ui          open MLflow's pages on them (make ui)
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import contextlib
import json
import os
import queue
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

import progress
import stage
from core.errors import CampaignError

MIRROR = Path(__file__).with_name("mirror.py")
PATIENCE = 180.0  # seconds that a stage waits for its mirror at the end
GO = b"go"
SECRET = re.compile("(PASSWORD|TOKEN|SECRET|SECRET_ACCESS_KEY)$")  # at the end of a variable's name
KEYS = {"user", "password", "host", "port", "sslmode", "token"}  # of a query, common enough to be shown
CURE = "python src/tracking.py backfill writes it later"


class Live:
    """Tells a training's mirror what happens; costs a training nothing but the putting into a queue.

    In a worker on another machine it tells nothing: the end of the stage is mirrored all the same.
    """

    def __init__(self, process: "subprocess.Popen[bytes] | None" = None):
        self.process = process
        self.messages: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self.courier = threading.Thread(target=self._pass_on, daemon=True)
        self.listener = threading.Thread(target=self._say, daemon=True)
        if process is not None:
            self.courier.start()
            self.listener.start()

    def __reduce__(self) -> tuple[type["Live"], tuple[()]]:
        return Live, ()

    def tell(self, *message: Any) -> None:
        """Never waits, also where the mirror hangs."""
        self.messages.put([*message])

    def _pass_on(self) -> None:
        pipe = self.process.stdin
        with contextlib.suppress(OSError):  # the mirror gave up, and has said so
            while (message := self.messages.get())[0] != "close":
                pipe.write(json.dumps(message).encode() + b"\n")
                pipe.flush()
        with contextlib.suppress(OSError):
            pipe.close()

    def _say(self) -> None:
        """Write what the mirror says above the bars of the training, which it does not know of."""
        with self.process.stderr as pipe:
            for line in pipe:
                progress.say(line.decode(errors="replace").rstrip())

    def close(self, *, wait: bool) -> None:
        """Have all messages sent and, where `wait`, the mirror done."""
        self.tell("close")
        if self.process is None:
            return
        self.courier.join(2.0)
        if wait:
            _wait(self.process)
            self.listener.join(2.0)


@contextlib.contextmanager
def live(architecture: str, seeds: list[int], parameters: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[Live]:
    """Mirror a training while it runs and, when the block ends well, the files it left.

    Args:
        architecture: its run's `model_type`.
        seeds: each gets a child run.
        parameters: sections of settings, nested.
        tags: further ones of the run and its children; `fingerprint` finds the run of an interrupted training again.
    """
    told = Live(None if is_off() else _start("follow", stderr=subprocess.PIPE))
    told.tell("start", architecture, seeds, parameters, {**tags, "process": this_process()})
    ending = "FAILED"
    try:
        yield told
        stage.confirm()
        ending = "FINISHED"
    except KeyboardInterrupt:
        ending = "KILLED"
        raise
    finally:
        told.tell("end", ending)
        told.close(wait=ending == "FINISHED")


def _start(command: str, stderr: int | None = None) -> "subprocess.Popen[bytes] | None":
    """In a process group of its own: what ends the trainer leaves its mirror the time to say so."""
    try:
        return subprocess.Popen([sys.executable, MIRROR, command], stdin=subprocess.PIPE, stderr=stderr, process_group=0)
    except OSError as error:
        warn(error)
        return None


@contextlib.contextmanager
def mirroring() -> Iterator[None]:
    """Bring MLflow up to date with the files that are here when the block has ended well.

    Its process starts with the block, since its imports and the export of models can take as long as a stage does.
    """
    process = None if is_off() else _start("update")
    try:
        yield
        stage.confirm()
    except BaseException:
        if process is not None:
            process.stdin.close()
        raise
    if process is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # if it gave up, it has said so
            pipe.write(GO)
        _wait(process)


def _wait(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        warn(f"the store did not answer within {PATIENCE:g} s")


def is_off() -> bool:
    return os.environ.get("CAMPAIGN_TRACKING", "").lower() in ("off", "0", "no", "false")


def warn(problem: object) -> None:
    what = without_password(stage.one_line(problem))[:300]
    stage.say(f"tracking: warning: not in MLflow, and nothing else is touched: {what}; {CURE}")


def without_password(text: str) -> str:
    """Hide users, passwords and queries in the addresses of `text`, and what the environment keeps secret anywhere in it.

    Anywhere, since libraries quote pieces of an address that they could not parse.
    """
    for secret in sorted(_secrets(), key=len, reverse=True):
        alone = rf"(?<!\w){re.escape(secret)}(?!\w)"  # a short one may be part of any word
        text = re.sub(alone if len(secret) < 12 else re.escape(secret), "…", text)
    return re.sub(r"[\w+.-]+://[^\s'\"]*", lambda found: _address(found[0]), text)


def _address(address: str) -> str:
    """Return an address without its user, password and query; of one that can be read in two ways only the scheme."""
    scheme, _, rest = address.partition("://")
    is_file = scheme.startswith(("sqlite", "file"))
    place, mark, query = re.fullmatch(r"([^?]*)(\??)(.*)" if is_file else r"([^?#;]*)([?#;]?)(.*)", rest).groups()
    if not is_file and "@" in query:
        return f"{scheme}://…"
    if not is_file and "@" in place:
        place = f"…@{place.rpartition('@')[2]}"
    return f"{scheme}://{place}{mark}{'…' if query else ''}"


def _secrets() -> set[str]:
    """Return what the environment and the store's address keep secret, as written and decoded, whole and in its words."""
    scheme, _, rest = os.environ.get("MLFLOW_TRACKING_URI", "").partition("://")
    found = [value for name, value in os.environ.items() if SECRET.search(name)]
    if not scheme.startswith(("sqlite", "file")):
        user = rest.rpartition("@")[0]
        found += [user, user.partition(":")[2]]
        for part in re.split("[?#&;]", rest)[1:]:
            key, _, value = part.partition("=")
            found += [value] if key in KEYS else [key, value]
    whole = {form for text in found for form in (text, unquote(text), unquote_plus(text), quote(text, safe=""))}
    return (whole | {word for text in whole for word in re.split(r"\W+", text)}) - {""}


def this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def main() -> None:
    if sys.argv[1:] not in ([], ["backfill"], ["ui"]):
        print((__doc__ or "").rpartition("\n\n")[2].strip(), file=sys.stderr)
        sys.exit(2)
    import mirror

    try:
        mirror.ui() if sys.argv[1:] == ["ui"] else mirror.backfill()
    except CampaignError:
        raise
    except Exception as error:  # whatever a store, a network or a disk can do
        raise CampaignError(without_password(f"the store {mirror.store_uri()} failed: {error}")) from None


if __name__ == "__main__":
    stage.run(main, takes_arguments=True)
