"""Prepare what a training runs on, and tell what it can do."""

import ctypes
import faulthandler
import functools
import importlib.metadata
import importlib.util
import os
import warnings
from collections.abc import Callable

import torch
from torch import nn

from core.errors import CampaignError
from core.params import PARAMS

WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")  # values of
# ONEDNN_MAX_CPU_ISA under which oneDNN has no instructions for bfloat16 products


def resolve_precision(precision: str, build: Callable[[], nn.Module], n_features: int, lookback: int) -> str:
    """Resolve `auto` to bfloat16 where the device multiplies it natively and trains the network in it, else to float32.

    Raises:
        CampaignError: bfloat16 is asked for, and this processor cannot train the network in it.
    """
    if device() == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return precision if precision != "auto" else "bfloat16" if native else "float32"
    if precision == "float32" or (precision == "auto" and not multiplies_bfloat16()):
        return "float32"
    if trains_in_bfloat16(build, n_features, lookback):
        return "bfloat16"
    if precision == "auto":
        return "float32"
    lacking = "" if multiplies_bfloat16() else " without bfloat16 instructions"
    found = f"train.precision is bfloat16, in which this processor ({processor()}{lacking}) cannot train this network"
    raise CampaignError(f"{PARAMS}: {found}; set it to auto or float32")


def device() -> str:
    """Name the kind of device that trains: cuda where there is one, else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def environment() -> dict[str, str]:
    """Describe what decides a training's bytes beside code, settings and data: the versions of torch, processor and Triton.

    Triton only on a GPU; "none" where it is missing.
    """
    triton = {"triton": triton_version() or "none"} if device() == "cuda" else {}
    return {"torch": torch.__version__, "processor": processor(), **triton}


def triton_version() -> str | None:
    """Return the version of Triton, which compiles kernels for a GPU; None where it is not installed."""
    if importlib.util.find_spec("triton") is None:
        return None
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return "of another distribution"


def card_count() -> int:
    """Count the GPUs that this process may use."""
    return torch.cuda.device_count() if device() == "cuda" else 0


def processor() -> str:
    """Name what trains: a GPU by its name, a CPU by its instruction set."""
    return torch.cuda.get_device_name() if device() == "cuda" else torch.backends.cpu.get_cpu_capability()


def prepare_process() -> None:
    """Make this process compute the same bits every time, and fast.

    Call it before the first tensor is on a GPU. One CPU thread: more would change the order of sums, and slow these small
    models.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # other values may be refused, or give other bits
    avoid_unusable_amx()
    keep_freed_memory()
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms(True), without its import of the compiler
    torch.set_float32_matmul_precision("highest")  # NVIDIA's containers have TF32 in their environment
    torch.utils.deterministic.fill_uninitialized_memory = False  # a guard against reading it, which costs 6 % of a step
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@functools.cache
def avoid_unusable_amx() -> None:
    """Disable AMX for oneDNN in this process and its children where AMX is announced and does not work.

    Some virtual machines hide the sizes of its tiles; every bfloat16 product then fails or ends the process (SIGILL). Call it
    before the first product; a value set in ONEDNN_MAX_CPU_ISA is kept.
    """
    if "ONEDNN_MAX_CPU_ISA" in os.environ or not torch.cpu.get_capabilities().get("amx_tile"):
        return

    def product() -> None:
        torch.nn.Linear(64, 64, dtype=torch.bfloat16)(torch.ones(128, 64, dtype=torch.bfloat16))

    if not ends_well(product):
        os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_FP16"


def ends_well(trial: Callable[[], object]) -> bool:
    """Tell whether `trial` ends without an error on one thread of a child process.

    A child, because an instruction that the processor lacks ends the process (SIGILL).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside other threads; the child asks nothing of them
        child = os.fork()
    if child == 0:
        status = 1
        try:
            faulthandler.disable()
            torch.set_num_threads(1)
            trial()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def trains_in_bfloat16(build: Callable[[], nn.Module], n_features: int, lookback: int) -> bool:
    """Tell whether this CPU can train a network in bfloat16, by one small step forward and backward.

    Whether oneDNN has a layer in bfloat16 depends on the layer, its input and the processor. A network that fails in float32
    too passes: its training will tell why. Call it before this process multiplies anything.
    """
    avoid_unusable_amx()

    def step(precision: str) -> None:
        model, windows = build(), 2
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(torch.zeros(windows, lookback, n_features), torch.zeros(windows, dtype=torch.int64))
        logits.float().sum().backward()

    return ends_well(lambda: step("bfloat16")) or not ends_well(lambda: step("float32"))


def multiplies_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 natively, and oneDNN may. Emulated products are slower than float32."""
    capabilities, limit = torch.cpu.get_capabilities(), os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_tile")) and limit not in WITHOUT_BFLOAT16


def keep_freed_memory() -> None:
    """Keep the memory of a step's arrays for the next step, instead of returning it to the system.

    glibc returns the end of its heap once it is long and free. Whether it is free depends on what was allocated last, and
    each step then waits for thousands of page faults or for none. Arrays above the second threshold are still returned.
    Does nothing with another C library. Source: mallopt(3); the numbers of its parameters are in malloc.h.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_trim_threshold, 2**31 - 1)
        mallopt(m_mmap_threshold, 2**28)
