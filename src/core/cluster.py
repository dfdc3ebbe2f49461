"""Run tasks on a Ray cluster: find it, send code and files, wait for room, and run again what was lost.

The only file that imports Ray, and only where CAMPAIGN_BACKEND is ray. The code goes as Ray's runtime environment: a worker's
working directory is a copy of src. A task is named by module and name and its result is yielded, so that a training tells of
its epochs while it runs.
"""

import contextlib
import fcntl
import functools
import hashlib
import importlib
import inspect
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Any, TextIO

from core.errors import CampaignError, collecting_lines, format_value, print_stderr, shorten
from core.files import write_bytes
from core.inputs import CODE_DIGESTS, SOURCE
from core.machine import CPU_OVERRIDES, core_count, job_count
from core.task import Task

if TYPE_CHECKING:
    import ray

INSTALL_COMMAND = "make ray"
MAX_LOSSES = 5  # of one task, with its worker or its node
PATIENCE_BEFORE_SAYING = 10.0  # seconds without room, until it is said
DEFAULT_PATIENCE = 600.0  # seconds without room, until the task fails
POLL = 0.5  # seconds between looks at what else happens
CONNECTING = 5.0  # seconds for the address to answer
KEPT_DAYS = 7  # that a machine keeps a copy of files after its last use


@dataclass(frozen=True)
class Files:
    """A file or a directory that a task reads, as the machine that sends the task sees it.

    path: absolute.
    digests: SHA-256 of the file by "", or of each file in the directory by its name below it.
    """

    path: str
    digests: Mapping[str, str]

    @classmethod
    def at(cls, path: Path) -> "Files":
        """Hash what lies at `path`."""
        path = path.resolve()
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        return cls(str(path), {_name_below(file, path): _digest(file) for file in files})

    @property
    def copy(self) -> Path:
        """Where this machine's copy lies, if it has one."""
        content = hashlib.sha256(repr(sorted(self.digests.items())).encode()).hexdigest()[:16]
        return home() / "copies" / content / Path(self.path).name

    def find(self) -> Path | None:
        """Find files with this content: where they are on the machine that sent the task, or this machine's copy."""
        for place in (Path(self.path), self.copy):
            with contextlib.suppress(OSError):
                if all(_digest(place / name if name else place) == digest for name, digest in self.digests.items()):
                    if place == self.copy:
                        os.utime(place.parent)
                    return place
        return None

    def write_copy(self, contents: Mapping[str, Any]) -> None:
        """Write this machine's copy, from a reference to the bytes of each digest; does nothing where another task did."""
        import ray

        place, copies = self.copy, self.copy.parent.parent
        copies.mkdir(parents=True, exist_ok=True)
        with place.parent.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.find() is None:
                for name, digest in self.digests.items():
                    write_bytes(place / name if name else place, ray.get(contents[digest]))
        for left in copies.iterdir():
            if time.time() - left.stat().st_mtime > KEPT_DAYS * 86_400:
                shutil.rmtree(left, ignore_errors=True)


def home() -> Path:
    """Return the directory in which this machine keeps copies and checkpoints between tasks."""
    return Path(gettempdir()) / f"campaign-{os.getuid()}"


def _name_below(file: Path, directory: Path) -> str:
    return "" if file == directory else file.relative_to(directory).as_posix()


def _digest(file: Path) -> str:
    status = file.stat()
    return _digest_of_version(str(file), status.st_size, status.st_mtime_ns, status.st_ino)


@functools.lru_cache(10_000)
def _digest_of_version(file: str, *version: int) -> str:
    """Hash a file, once for each version of it."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


# --- on a worker ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Started:
    """The first item of a task that runs."""


@dataclass(frozen=True)
class Lacking:
    """The only item of a task whose files the worker's machine lacks, by number."""

    inputs: list[int]


@dataclass(frozen=True)
class Line:
    """What a task would have printed on standard error."""

    text: str


@dataclass(frozen=True)
class Restarted:
    """A task was lost, and starts again; `reason` is the end of a line."""

    reason: str


def serve(
    function: str, code: str, inputs: Sequence[Files], contents: Mapping[str, Any], arguments: tuple[Any, ...]
) -> Iterator[Any]:
    """Run a task on a worker: yield `Started`, then what its function prints, and yields or returns; or `Lacking`.

    Args:
        function: as ``module:name``. code: digest of all code, as `code_digest`.
        contents: references to the bytes of files, by digest.

    Raises:
        CampaignError: the code is not the sender's.
    """
    if code != code_digest():
        raise CampaignError(f"the code on {socket.gethostname()} is not the code that was started; start again")
    for files in inputs:
        if contents and files.find() is None:
            files.write_copy(contents)
    places = [files.find() for files in inputs]
    if lacking := [number for number, place in enumerate(places) if place is None]:
        yield Lacking(lacking)
        return
    found = [place for place in places if place is not None]
    yield Started()
    module, _, name = function.partition(":")
    with collecting_lines() as lines, _naming_originals(inputs, found):
        result = getattr(importlib.import_module(module), name)(*found, *arguments)
        for line in lines:
            yield Line(line)
        if inspect.isgenerator(result):
            yield from result
        else:
            yield result


@contextlib.contextmanager
def _naming_originals(inputs: Sequence[Files], found: Sequence[Path]) -> Iterator[None]:
    """Name in errors what the sender has, not this machine's copies."""
    try:
        yield
    except CampaignError as error:
        text = str(error)
        for files, place in zip(inputs, found, strict=True):
            text = text.replace(str(place), files.path)
        raise CampaignError(text) from error


def node_id() -> str:
    """Return the id of the node that this worker runs on."""
    import ray

    return ray.get_runtime_context().get_node_id()


def code_digest() -> str:
    """Hash all code under src, as it was when this process started."""
    return hashlib.sha256(repr(sorted(CODE_DIGESTS.items())).encode()).hexdigest()


# --- on the machine that sends the tasks ------------------------------------------------------------------------------


class Cluster:
    """A connected Ray cluster. Its methods may be called from several threads.

    gpus: that a task which uses one gets, 0 where the cluster has none.
    patience: seconds without room until a task fails.
    """

    def __init__(self, *, address: str, gpus: float, patience: float):
        import ray

        self.ray, self.address, self.gpus, self.patience = ray, address, gpus, patience
        self._serve = ray.remote(serve)
        self._lock = threading.Lock()
        self._contents: dict[str, ray.ObjectRef] = {}
        self._stopped = threading.Event()
        self._sent = self._running = 0
        self._last_event = time.monotonic()
        self._said = False

    def describe(self) -> str:
        """Say what the cluster has: nodes, CPUs and GPUs."""
        total, nodes = self.ray.cluster_resources(), sum(node["Alive"] for node in self.ray.nodes())
        gpus = f", {total['GPU']:g} GPUs of which a training gets {self.gpus:g}" if self.gpus else ""
        return f"{nodes} node{'s' * (nodes > 1)}, {total.get('CPU', 0):g} CPUs{gpus}"

    def job_count(self, tasks: Sequence[Task]) -> int:
        """Count how many of `tasks` run at once: as many as the cluster has room for, at most ``CAMPAIGN_JOBS``."""
        total = self.ray.cluster_resources()
        rooms = [total.get("CPU", 0.0)]
        if self.gpus and any(task.uses_gpu for task in tasks):
            rooms.append(total.get("GPU", 0.0) / self.gpus)
        limit = job_count(len(tasks)) if os.environ.get("CAMPAIGN_JOBS") else len(tasks)
        return max(1, min(limit, int(min(rooms) + 1e-9)))

    def run(self, task: Task) -> Any:
        """Run a task whose function returns its result, and return it; says where it starts again. Raises as `stream` does."""
        result = None
        for result in self.stream(task):
            if isinstance(result, Restarted):
                print_stderr(f"{task.title}: {result.reason}")
        return result

    def stream(self, task: Task) -> Iterator[Any]:
        """Run a task, and yield what it yields, or its result; `Restarted` where it was lost and starts again.

        Raises:
            CampaignError: there is no room for it, or it was lost too often. And what the task raises.
        """
        inputs = [Files.at(path) for path in task.inputs]
        contents: dict[str, Any] = {}
        losses = 0
        while True:
            try:
                lacking = yield from self._run(task, inputs, contents)
            except self.ray.exceptions.RayTaskError:  # its own error
                raise
            except self.ray.exceptions.RayError as error:
                losses += 1
                reason = _describe_loss(error)
                if losses == MAX_LOSSES:
                    raise CampaignError(f"{task.title}: {reason}, {losses} times; look at the nodes with: ray status") from None
                yield Restarted(f"{reason}; it starts again")
                continue
            if lacking is None:
                return
            for number in lacking.inputs:
                contents |= self._put(inputs[number])

    def _run(self, task: Task, inputs: Sequence[Files], contents: Mapping[str, Any]) -> Iterator[Any]:
        """Send a task once; yield its items. Returns `Lacking` where the worker's machine lacks files, else None."""
        gpus = self.gpus if task.uses_gpu else 0
        options = {"num_cpus": 1, "num_gpus": gpus, "max_retries": 0, "num_returns": "streaming", "name": task.title}
        with self._counted() as started:
            sent = self._serve.options(**options).remote(name_of(task.function), code_digest(), inputs, contents, task.arguments)
            try:
                while True:
                    ready, _ = self.ray.wait([sent], timeout=POLL)
                    if self._stopped.is_set():
                        raise CampaignError(f"{task.title}: stopped")
                    if not ready:
                        if not started.is_set():
                            self._wait_for_room(task, gpus)
                        continue
                    try:
                        item = self.ray.get(next(sent))
                    except StopIteration:
                        return None
                    except self.ray.exceptions.RayTaskError as error:
                        raise _cause(error) from None
                    if isinstance(item, Lacking):
                        return item
                    self._note_event()
                    match item:
                        case Started():
                            self._start(started)
                        case Line(text):
                            print_stderr(text)
                        case _:
                            yield item
            finally:
                with contextlib.suppress(Exception):  # it has ended, or Ray has
                    self.ray.cancel(sent, force=True)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[threading.Event]:
        """Count a task that is sent for the block, and as running after `_start` with the event that is yielded."""
        started = threading.Event()
        with self._lock:
            self._last_event = max(self._last_event, time.monotonic() if not self._sent else 0.0)
            self._sent += 1
        try:
            yield started
        finally:
            with self._lock:
                self._sent -= 1
                self._running -= started.is_set()
            self._note_event()

    def _start(self, started: threading.Event) -> None:
        with self._lock:
            self._running += 1
        started.set()

    def _note_event(self) -> None:
        with self._lock:
            self._last_event, self._said = time.monotonic(), False

    def _wait_for_room(self, task: Task, gpus: float) -> None:
        """Say what waits for what where none of our tasks runs, and fail after a while. Raises CampaignError.

        Where there is room, a worker is being started.
        """
        with self._lock:
            quiet = 0.0 if self._running else time.monotonic() - self._last_event
            say = quiet > PATIENCE_BEFORE_SAYING and not self._said
            self._said |= say
            others = self._sent - 1
        if not say and quiet <= self.patience:
            return
        total, free = self.ray.cluster_resources(), self.ray.available_resources()
        wanted = {"CPU": 1} | ({"GPU": gpus} if gpus else {})
        if all(free.get(name, 0) >= amount for name, amount in wanted.items()):
            return self._note_event()
        needs = " and ".join(f"{amount:g} {name}" for name, amount in wanted.items())
        has = ", ".join(f"{free.get(name, 0):g} of {total.get(name, 0):g} {name}" for name in wanted)
        found = f"{task.title}{f' and {others} more' if others else ''}: no room for {quiet:.0f} s on the Ray cluster"
        text = f"{found} at {self.address}, which has {has} free, and each needs {needs}"
        if quiet > self.patience:
            raise CampaignError(f"{text}; end what else runs there, or wait longer: CAMPAIGN_RAY_PATIENCE={self.patience * 6:g}")
        print_stderr(f"{text}; waiting, {self.patience:g} s at most")

    def _put(self, files: Files) -> dict[str, Any]:
        """Put the bytes of files into Ray's object store, each content once; returns references by digest.

        Raises:
            CampaignError: a file is no longer what was hashed.
        """
        with self._lock:
            for name, digest in files.digests.items():
                if digest not in self._contents:
                    file = Path(files.path, name) if name else Path(files.path)
                    content = file.read_bytes()
                    if hashlib.sha256(content).hexdigest() != digest:
                        raise CampaignError(f"{file} changed while it was sent to the cluster; start again")
                    self._contents[digest] = self.ray.put(content)
            return {digest: self._contents[digest] for digest in files.digests.values()}

    def run_on(self, node: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Run a function on one node, without waiting for it; nothing happens where the node is gone."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node, soft=False)
        options = {"num_cpus": 0, "max_retries": 0, "num_returns": "streaming", "scheduling_strategy": there}
        sent = self._serve.options(**options).remote(name_of(function), code_digest(), (), {}, arguments)
        with contextlib.suppress(Exception):
            self.ray.wait([sent], timeout=CONNECTING)

    def stop(self) -> None:
        """End all tasks that were sent, for good: no more can be sent."""
        self._stopped.set()
        end = time.monotonic() + CONNECTING
        while self._sent and time.monotonic() < end:
            time.sleep(POLL / 10)


def name_of(function: Callable[..., Any]) -> str:
    """Name a function of src as ``module:name``, one of the running script by the script's module."""
    module = function.__module__
    if module == "__main__":
        file = Path(sys.modules["__main__"].__file__ or "").resolve()
        module = ".".join(file.relative_to(SOURCE).with_suffix("").parts)
    return f"{module}:{function.__qualname__}"


def _cause(error: "ray.exceptions.RayTaskError") -> BaseException:
    """Return what a task raised, where that says it all; else Ray's error, which has the worker's traceback."""
    return error.cause if isinstance(error.cause, CampaignError | OSError | MemoryError) else error


def _describe_loss(error: "ray.exceptions.RayError") -> str:
    """Say in the end of a line how a task was lost."""
    import ray

    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "Ray ended its worker, since its node was short of memory"
    if isinstance(error, ray.exceptions.NodeDiedError):
        return "its node is gone"
    if isinstance(error, ray.exceptions.WorkerCrashedError):
        return "its worker ended"
    return f"lost ({shorten(error, 300)})"


# --- finding the cluster ------------------------------------------------------------------------------------------------


@functools.cache
def connect() -> Cluster:
    """Connect to the Ray cluster at ``RAY_ADDRESS``, or start a Ray on this machine that ends with this process.

    A Ray that is started here listens on loopback only. Ray's reports on its use and its dashboard are off.

    Raises:
        CampaignError: Ray is not installed, nothing answers at the address, or it is another version.
    """
    address = os.environ.get("RAY_ADDRESS") or "local"
    gpus = _read_number("CAMPAIGN_GPUS_PER_TRAINING", 1.0, "a number above zero, such as 0.5")
    patience = _read_number("CAMPAIGN_RAY_PATIENCE", DEFAULT_PATIENCE, "seconds above zero")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # a thread that still asks when all has ended would start another Ray
    if address.rpartition(":")[0] in ("", "127.0.0.1", "localhost") and address != "auto":
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # its name in Ray: stay on 127.0.0.1, on any system
    try:
        import ray
    except ImportError as error:
        raise CampaignError(f"CAMPAIGN_BACKEND is 'ray', which is not installed ({error}); {INSTALL_COMMAND}") from None
    _check_address(address)
    settings = {name: os.environ[name] for name in (*CPU_OVERRIDES, "CAMPAIGN_CUDA_GRAPH") if name in os.environ}
    runtime = {"working_dir": str(SOURCE), "excludes": ["**/__pycache__/"], "env_vars": settings}
    own = {"num_cpus": core_count(), "include_dashboard": False} if address == "local" else {}
    with _collecting_stderr() as said:
        try:
            ray.init(address=address, runtime_env=runtime, log_to_driver=False, logging_level="ERROR", **own)
        except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            raise CampaignError(f"cannot use Ray at {address} ({_describe_refusal(error, said)})") from None
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    return Cluster(address="this machine" if address == "local" else address, gpus=gpus if has_gpus else 0, patience=patience)


def _describe_refusal(error: Exception, said: TextIO) -> str:
    """Say why there is no connection, and what to do; `said`: what Ray has written on standard error."""
    said.seek(0)
    if "InvalidAuthToken" in said.read():
        return "it wants another token; set RAY_AUTH_MODE=token here, and bring ~/.ray/auth_token from its head node"
    if "Version mismatch" in str(error):
        return f"{shorten(error, 200)}; install the same Ray and Python on all nodes: {INSTALL_COMMAND}"
    return f"{shorten(error, 300)}; see ray status, or unset RAY_ADDRESS for this machine"


@contextlib.contextmanager
def _collecting_stderr() -> Iterator[TextIO]:
    """Collect in a file what is written on standard error in the block, also by Ray's C++, which Python cannot redirect."""
    before = os.dup(2)
    try:
        with TemporaryFile("w+", errors="replace") as file:
            os.dup2(file.fileno(), 2)
            try:
                yield file
            finally:
                os.dup2(before, 2)
    finally:
        os.close(before)


def _check_address(address: str) -> None:
    """Check that something listens at an address ``host:port``: Ray itself would try for long. Raises CampaignError."""
    if address in ("local", "auto"):
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise CampaignError(
            f"RAY_ADDRESS is {format_value(address)}; it must be host:port of the head node, as ray start prints it, or auto"
        )
    try:
        socket.create_connection((host, int(port)), CONNECTING).close()
    except (OSError, OverflowError) as error:
        raise CampaignError(
            f"RAY_ADDRESS is {format_value(address)}, where nothing answers ({error}); start Ray there, or unset it"
        ) from None


def _read_number(name: str, default: float, what: str) -> float:
    """Read a number above zero from the environment. Raises CampaignError."""
    text = os.environ.get(name, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise CampaignError(f"{name} is {format_value(text)}; it must be {what}, or unset")
    return number
