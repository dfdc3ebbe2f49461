"""Run tasks side by side: in threads of this process, or on a Ray cluster."""

import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from core.machine import job_count, on_cluster
from core.task import Task


def fan_out(tasks: Sequence[Task], *, jobs: int | None = None, here: bool = False) -> list[Any]:
    """Run `tasks` side by side, and return their results in the same order.

    Args:
        jobs: that run at once on this machine; None: as `core.machine.job_count` says. On a cluster as many as it has room for.
        here: on this machine, even where others run on a cluster.

    Raises:
        CampaignError: the cluster cannot be used, or loses a task again and again. And what a task raises, of the first that
            fails.
    """
    if on_cluster() and not here:
        from core.cluster import connect

        cluster = connect()
        limit, run, stop = cluster.job_count(tasks), cluster.run, cluster.stop
    else:
        limit, run, stop = jobs or job_count(len(tasks)), _run_here, _do_nothing
    if limit == 1:
        return [run(task) for task in tasks]
    with ThreadPoolExecutor(limit) as threads:  # joins its threads: an exit amid a matrix product aborts
        try:
            return list(threads.map(run, tasks))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would interrupt the join
            stop()
            raise


def _run_here(task: Task) -> Any:
    return task.function(*task.inputs, *task.arguments)


def _do_nothing() -> None:
    pass
