"""Python imports this at its start where it is on PYTHONPATH: faults for tests, at the n-th call of a function.

FAULT=<where>:<function>:<n>: `where` is trainer (the process that dvc starts) or worker (a seed's own process); at the n-th
call of `function` (fsync, replace) the whole process group is killed, as a power failure would.
"""

import os
import pathlib
import signal
import sys

if os.environ.get("FAULT"):
    where, function, number = os.environ["FAULT"].split(":")
    is_worker = "multiprocessing.forkserver" in " ".join(sys.orig_argv)  # where workers come from
    owner = {"fsync": os, "replace": pathlib.Path}[function]
    original = getattr(owner, function)
    calls = 0

    def fail(*arguments):
        global calls
        calls += 1
        if calls == int(number):
            os.killpg(0, signal.SIGKILL)
        return original(*arguments)

    if is_worker == (where == "worker"):
        setattr(owner, function, fail)
