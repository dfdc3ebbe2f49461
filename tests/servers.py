"""Servers on loopback that tests start."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The address of an empty database of a server on loopback, which a password opens."""
    pytest.importorskip("psycopg", reason="no driver for PostgreSQL: pip install 'psycopg[binary]'")
    is_root = os.getuid() == 0  # as which it does not run
    if not all(shutil.which(tool) for tool in ("initdb", "postgres", *(["setpriv"] if is_root else []))):
        pytest.skip("no PostgreSQL on PATH")
    port, ids = free_port(), ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if is_root else []
    with tempfile.TemporaryDirectory() as directory:  # pytest's own is closed to other users
        (Path(directory) / "password").write_text("pa/ss@w0rd")
        if is_root:
            for path in (Path(directory), Path(directory) / "password"):
                os.chown(path, 65534, 65534)
        data = f"{directory}/data"
        initdb = ["initdb", "-D", data, "-U", "bob", "-A", "password", f"--pwfile={directory}/password", "-N"]
        subprocess.run([*ids, *initdb], check=True, capture_output=True)
        command = [*ids, "postgres", "-D", data, "-k", "", "-h", "127.0.0.1", "-p", str(port), "-F"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                for _ in range(240):
                    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                        break
                    time.sleep(0.25)
                yield f"postgresql://bob:pa%2Fss%40w0rd@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGQUIT)
