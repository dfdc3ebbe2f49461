"""Train a network: the one loop that every architecture shares.

Shapes: B batch, T time, F features, N samples. A model maps x (B, T, F) and asset ids (B,) to logits (B,).
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from core.cross_fitting import HalfBest, best_f1_of_halves
from core.errors import CampaignError
from core.metrics import Ranking, f1_precision_recall, sigmoid
from learn.cuda_graph import recorded
from learn.dataset import Split
from learn.loss import focal_loss

SCORING_BATCH = 512  # every batch has this size: what a library computes for a sample depends on how many others there are


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The outcome of one epoch.

    record: a row of the training history.
    state: what ``fit(state=...)`` needs to resume after it, tensors and plain values only: the model, the optimizer, the
        scheduler, `history` (every record), `best` (epoch, f1, threshold and weights of the best epoch so far) and `half_best`
        (of each half of validation epoch, f1 and the logits of all its samples, float32 (N,), as `HalfBest` has them).
    """

    record: dict[str, float]
    state: dict[str, Any]


def fit(
    model: nn.Module,
    train: Split,
    val: Split,
    *,
    halves: np.ndarray,
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
    """Train `model` in place; yield after every epoch, until `epochs` or `patience` epochs without a better validation F1.

    The monitored F1 is that of the positive class at the threshold which is best on validation. With focal loss and rare
    positives, scores rarely cross a fixed 0.5, and early stopping would monitor a constant. All randomness of an epoch comes
    from (seed, epoch), so an epoch after a resume is the epoch it would have been. Each epoch shuffles the samples anew and
    drops the incomplete last batch.

    Args:
        halves: int8 (N,), the half of each sample of `val`, see `core.cross_fitting.halves`. Only recorded: training does not
            depend on it.
        precision: "float32", or "bfloat16" for autocast in the training step, with TF32 in a GPU's recurrent layers. Scoring
            is always float32.
        state: `Epoch.state` to resume after; None starts afresh.

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
    half_best = [HalfBest(), HalfBest()]
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        history, best = list(state["history"]), state["best"]
        half_best = [HalfBest(**half | {"logits": half["logits"].numpy()}) for half in state["half_best"]]

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

    take_step, rate = step, 0.0
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
            take_step = None  # frees the old CUDA graph before the next is recorded: they share memory (pytorch#193402)
            take_step = recorded(step, model, optimizer)
        torch.manual_seed(epoch_seed)  # dropout
        for at, samples in enumerate(order):
            batch.copy_(samples)
            losses[at], logits[at] = take_step()
        val_logits = predict(model, val)
        if not (losses.isfinite().all() and np.isfinite(val_logits).all()):
            raise CampaignError(_diverged(losses, seed, number, learning_rate))
        val_loss = focal_loss(torch.as_tensor(val_logits), val.y.cpu(), alpha=focal_alpha, gamma=focal_gamma)
        scores = sigmoid(val_logits)
        ranking = Ranking.of(val_y, scores)
        threshold = ranking.best_threshold()
        val_f1, val_precision, val_recall = f1_precision_recall(val_y, scores, threshold)
        half_f1 = best_f1_of_halves(val_y, scores, halves)
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
            "val_f1_first_half": half_f1[0],
            "val_f1_second_half": half_f1[1],
        }
        history.append(record)
        if val_f1 > best["f1"]:
            weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            best = {"epoch": number, "f1": val_f1, "threshold": threshold, "weights": weights}
        half_best = [half.after(number, f1, val_logits) for half, f1 in zip(half_best, half_f1, strict=True)]
        scheduler.step(val_f1)
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "history": history,
            "best": best,
            "half_best": [vars(half) | {"logits": torch.as_tensor(half.logits)} for half in half_best],
        }
        yield Epoch(record, state)


@torch.no_grad()
def predict(model: nn.Module, split: Split) -> np.ndarray:
    """Compute the logits of all samples of `split` in their order, float32 (N,), in evaluation mode and float32.

    On a CPU a sample's bits depend on its window and asset alone, not on which samples are scored with it.
    """
    model.eval()
    torch.backends.cudnn.allow_tf32 = False
    logits = torch.empty(len(split), device=split.X.device)  # a list of them would pin the memory of freed windows
    for place, (x, asset_ids) in zip(logits.split(SCORING_BATCH), split.batches(SCORING_BATCH), strict=True):
        place.copy_(model(x, asset_ids)[: len(place)])
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
