"""Find out how much of this machine to use, and whether to use it at all."""

import os

from core.errors import CampaignError, format_value

CPU_OVERRIDES = ("OPENBLAS_CORETYPE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


def core_count() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def job_count(tasks: int) -> int:
    """Choose how many of `tasks` run side by side: ``CAMPAIGN_JOBS``, else by the cores this process may use.

    Up to two tasks a core all start at once: three tasks that share two cores end after 1.5 task times, where two and then one
    take 2. The number changes no result.

    Raises:
        CampaignError: CAMPAIGN_JOBS is not a whole number above zero.
    """
    wanted = os.environ.get("CAMPAIGN_JOBS", "")
    if wanted and not (wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted) > 0):
        raise CampaignError(f"CAMPAIGN_JOBS is {format_value(wanted)}; it must be a whole number above zero, or unset")
    if wanted:
        limit = int(wanted)
    elif tasks <= 2 * core_count():
        limit = tasks
    else:
        limit = core_count()
    return max(1, min(tasks, limit))


def cpu_overrides() -> str:
    """List environment variables that make a numeric library pretend to run on another CPU, as ``NAME=value, …``.

    Results then differ in the last digits. Empty where none is set.
    """
    return ", ".join(f"{name}={os.environ[name]}" for name in CPU_OVERRIDES if os.environ.get(name))


def on_cluster() -> bool:
    """Tell whether ``CAMPAIGN_BACKEND`` sends tasks to a Ray cluster.

    Raises:
        CampaignError: it names something else.
    """
    backend = os.environ.get("CAMPAIGN_BACKEND", "")
    if backend not in ("", "ray"):
        raise CampaignError(f"CAMPAIGN_BACKEND is {format_value(backend)}; it must be ray, or unset for this machine")
    return backend == "ray"
