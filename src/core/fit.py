"""The one training loop.

Shapes: B batch, T time, F features, N samples. A model maps x (B, T, F) and asset ids (B,) to logits (B,).
"""

import ctypes
import dataclasses
import faulthandler
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from core.dataset import Split
from core.errors import CampaignError
from core.graph import recorded
from core.loss import focal_loss
from core.metrics import Ranking, f1_precision_recall, sigmoid

SCORING_BATCH = 512  # one size wherever a model is scored, so that the same weights give the same bits
WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")  # values of
# ONEDNN_MAX_CPU_ISA under which oneDNN has no instructions for bfloat16 products


def prepare_process() -> None:
    """Have this process compute the same bits every time, and fast; call it before the first tensor is on a GPU.

    One CPU thread: more change the order of sums, and slow these small models.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # another one may be refused, or be other bits
    avoid_unusable_amx()
    keep_freed_memory()
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms(True), without its import of the compiler
    torch.set_float32_matmul_precision("highest")  # NVIDIA's containers have TF32 in their environment
    torch.utils.deterministic.fill_uninitialized_memory = False  # a guard against reading it, which costs 6 % of a step
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def avoid_unusable_amx() -> None:
    """Have oneDNN do without AMX in this process and those it starts, where AMX is announced and does not work.

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
    """Run `trial` on one thread in a child process, which an instruction that the processor lacks may end (SIGILL)."""
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
    """Try one small step of a network in bfloat16 on this CPU, forward and backward.

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
    """Whether this CPU has instructions for bfloat16 products and oneDNN may use them; emulated ones are slower than float32."""
    capabilities, limit = torch.cpu.get_capabilities(), os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_tile")) and limit not in WITHOUT_BFLOAT16


def keep_freed_memory() -> None:
    """Have the C library keep the memory of a step's arrays for the next step.

    glibc gives the end of its heap back to the system once that is long and free, so that by the luck of what lies there
    each step waits for no new page of memory or for thousands. Larger arrays than the second threshold still go back.
    Does nothing with another C library. Source: mallopt(3); the numbers of its parameters are in malloc.h.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_trim_threshold, 2**31 - 1)
        mallopt(m_mmap_threshold, 2**28)


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What one epoch leaves.

    record: a row of the training history.
    state: all that is needed to go on after it (``fit(state=...)``), tensors and plain values only; `best` so far, `history`.
    """

    record: dict[str, float]
    state: dict[str, Any]


def fit(
    model: nn.Module,
    train: Split,
    val: Split,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    focal_alpha: float,
    focal_gamma: float,
    gradient_clip: float,
    patience: int,
    lr_factor: float,
    lr_patience: int,
    precision: str,
    state: dict[str, Any] | None = None,
) -> Iterator[Epoch]:
    """Train `model` in place, one epoch a step of the iterator, until `epochs` or no better validation F1 for `patience`.

    The monitored F1 is that of the positive class at the threshold which is best on validation: at a fixed 0.5 focal loss
    rarely crosses the threshold on rare positives, and stopping would watch a constant. All randomness of an epoch comes
    from (seed, epoch), so an epoch after a resume is the epoch it would have been. Each epoch takes the samples in a new
    order and leaves out the rest that fills no batch.

    Args:
        precision: "float32", or "bfloat16" for autocast in the training step, with TF32 in a GPU's recurrent layers. Scoring
            is always float32.
        state: `Epoch.state` to go on after; None starts afresh.

    Raises:
        CampaignError: the loss stopped being finite; names seed, epoch and step.
    """
    device = train.X.device
    model.to(device)
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=weight_decay, fused=True, capturable=on_gpu)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=lr_factor, patience=lr_patience)
    history: list[dict[str, float]] = []
    best: dict[str, Any] = {"epoch": 0, "f1": -1.0, "threshold": 0.5, "weights": {}}
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        history, best = list(state["history"]), state["best"]

    train_y, val_y = train.y.cpu().numpy(), val.y.cpu().numpy()
    batch_size = min(batch_size, len(train))
    steps = len(train) // batch_size
    order = torch.empty(steps, batch_size, dtype=torch.int64, device=device)
    losses = torch.empty(steps, device=device)
    logits = torch.empty(steps, batch_size, device=device)
    batch = torch.zeros(batch_size, dtype=torch.int64, device=device)  # the step's samples, always in this place

    def step() -> tuple[torch.Tensor, torch.Tensor]:
        x, asset_ids, y = train.gather(batch)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            output = model(x, asset_ids).float()
        loss = focal_loss(output, y, alpha=focal_alpha, gamma=focal_gamma)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), gradient_clip)
        optimizer.step()
        return loss.detach(), output.detach()

    repeat, rate = step, 0.0
    for number in range(len(history) + 1, epochs + 1):
        if number - best["epoch"] > patience:
            break
        epoch_seed = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
        shuffle = torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch_seed))
        order.copy_(shuffle[: steps * batch_size].view(steps, batch_size))
        model.train()
        torch.backends.cudnn.allow_tf32 = precision == "bfloat16"  # recurrent layers on a GPU
        last_rate, rate = rate, optimizer.param_groups[0]["lr"]
        if rate != last_rate:
            repeat = step  # a graph must be gone when the next is recorded: they share memory that it frees (pytorch#193402)
            repeat = recorded(step, model, optimizer)
        torch.manual_seed(epoch_seed)  # dropout
        for at, samples in enumerate(order):
            batch.copy_(samples)
            losses[at], logits[at] = repeat()
        val_logits = predict(model, val)
        if not (losses.isfinite().all() and np.isfinite(val_logits).all()):
            raise CampaignError(_diverged(losses, seed, number, learning_rate))
        val_loss = focal_loss(torch.as_tensor(val_logits), val.y.cpu(), alpha=focal_alpha, gamma=focal_gamma)
        scores = sigmoid(val_logits)
        ranking = Ranking.of(val_y, scores)
        threshold = ranking.best_threshold()
        val_f1, val_precision, val_recall = f1_precision_recall(val_y, scores, threshold)
        train_f1, *_ = f1_precision_recall(train_y[order.flatten().cpu()], sigmoid(logits.flatten().cpu()), threshold)
        record = {
            "epoch": number,
            "learning_rate": rate,
            "train_loss": losses.mean().item(),
            "val_loss": val_loss.item(),
            "train_f1": train_f1,
            "val_f1": val_f1,
            "val_precision": val_precision,
            "val_recall": val_recall,
            "val_pr_auc": ranking.pr_auc(),
            "threshold": threshold,
            "val_f1_at_0.5": f1_precision_recall(val_y, scores, 0.5)[0],
        }
        history.append(record)
        if val_f1 > best["f1"]:
            weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            best = {"epoch": number, "f1": val_f1, "threshold": threshold, "weights": weights}
        scheduler.step(val_f1)
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "history": history,
            "best": best,
        }
        yield Epoch(record, state)


@torch.no_grad()
def predict(model: nn.Module, split: Split) -> np.ndarray:
    """Logits of all samples of `split` in their order, float32 (N,), in evaluation mode and float32."""
    model.eval()
    torch.backends.cudnn.allow_tf32 = False
    logits = torch.empty(len(split), device=split.X.device)  # collected in a list, they would pin freed windows' memory
    for place, (x, asset_ids, _) in zip(logits.split(SCORING_BATCH), split.batches(SCORING_BATCH), strict=True):
        place.copy_(model(x, asset_ids))
    return logits.cpu().numpy()


def _diverged(losses: torch.Tensor, seed: int, epoch: int, learning_rate: float) -> str:
    bad = (~losses.isfinite()).nonzero().flatten().tolist()
    what = f"the loss is {losses[bad[0]].item()} at" if bad else "the weights are not finite after"
    step = bad[0] + 1 if bad else len(losses)
    return (
        f"{what} seed {seed}, epoch {epoch}, step {step}; likely a learning rate too high "
        f"(train.learning_rate is {learning_rate:g}: try a tenth), gradients not clipped (train.gradient_clip) or extreme "
        "features (data.clip); the checkpoint of the epoch before is kept"
    )
