"""What a training keeps for itself in the loop, whoever trains beside it."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import nn

from core.cross_fitting import HalfBest, best_f1_of_halves
from core.errors import CampaignError
from core.metrics import Ranking, f1_precision_recall, sigmoid
from learn.dataset import Split
from learn.loss import focal_loss
from learn.training import Loop


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The outcome of one epoch.

    record: a row of the training history.
    state: what ``Member(state=...)`` needs to resume after it, tensors and plain values only: the model, the optimizer, the
        scheduler, `history` (every record), `best` (epoch, f1, threshold and weights of the best epoch so far) and `half_best`
        (of each half of validation epoch, f1 and the logits of all its samples, float32 (N,), as `HalfBest` has them).
    """

    record: dict[str, float]
    state: dict[str, Any]


class Member:
    """A training in the loop: its network, data, order of samples, learning rate schedule, early stopping and history.

    Args:
        model: is trained in place, on the device of `train`.
        train, val: its data.
        halves: int8 (N,), the half of each sample of `val`, see `core.cross_fitting.halves`. Only recorded: training does not
            depend on it.
        seed: all randomness of an epoch comes from (seed, epoch), so an epoch after a resume is the epoch it would have been.
        loop: the settings.
        state: `Epoch.state` to resume after; None starts afresh.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Split,
        val: Split,
        *,
        halves: np.ndarray,
        seed: int,
        loop: Loop,
        state: dict[str, Any] | None = None,
    ):
        self.model, self.train, self.val, self.halves, self.seed, self.loop = model, train, val, halves, seed, loop
        device = train.X.device
        model.to(device)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), loop.learning_rate, weight_decay=loop.weight_decay, fused=True, capturable=device.type == "cuda"
        )
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, mode="max", factor=loop.lr_factor, patience=loop.lr_patience
        )
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"epoch": 0, "f1": -1.0, "threshold": 0.5, "weights": {}}
        self.half_best = [HalfBest(), HalfBest()]
        if state is not None:
            model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            self.history, self.best = list(state["history"]), state["best"]
            self.half_best = [HalfBest(**half | {"logits": half["logits"].numpy()}) for half in state["half_best"]]
        self.batch_size = min(loop.batch_size, len(train))
        self.steps = len(train) // self.batch_size
        self.train_y, self.val_y = train.y.cpu().numpy(), val.y.cpu().numpy()
        self._order = torch.empty(0, self.batch_size, dtype=torch.int64)

    @property
    def epoch(self) -> int:
        """The number of the epoch that comes next, from 1 on."""
        return len(self.history) + 1

    @property
    def has_ended(self) -> bool:
        """Whether all epochs are done, or `patience` of them without a better validation F1."""
        return self.epoch > self.loop.epochs or self.epoch - self.best["epoch"] > self.loop.patience

    @property
    def rate(self) -> float:
        """The present learning rate."""
        return self.optimizer.param_groups[0]["lr"]

    @property
    def epoch_seed(self) -> int:
        """What the randomness of the next epoch comes from."""
        return int(np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)[0] >> 1)

    def order(self) -> torch.Tensor:
        """Shuffle the samples for the next epoch, int64 (steps, B) on the CPU; drops an incomplete last batch."""
        shuffle = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(self.epoch_seed))
        self._order = shuffle[: self.steps * self.batch_size].view(self.steps, self.batch_size)
        return self._order

    def end_epoch(self, losses: torch.Tensor, logits: torch.Tensor, val_logits: np.ndarray) -> Epoch:
        """Judge the epoch, and take what follows from it: the history, the best weights, the next learning rate.

        The monitored F1 is that of the positive class at the threshold which is best on validation. With focal loss and rare
        positives, scores rarely cross a fixed 0.5, and early stopping would monitor a constant.

        Args:
            losses: (steps,), on the CPU as all here. logits: (steps, B), of the samples of `order` in their steps.
            val_logits: float32 (N,).

        Raises:
            CampaignError: the loss stopped being finite; names seed, epoch and step.
        """
        if not (losses.isfinite().all() and np.isfinite(val_logits).all()):
            raise CampaignError(self._diverged(losses))
        loop, number, rate = self.loop, self.epoch, self.rate
        val_loss = focal_loss(torch.as_tensor(val_logits), self.val.y.cpu(), alpha=loop.focal_alpha, gamma=loop.focal_gamma)
        scores = sigmoid(val_logits)
        ranking = Ranking.of(self.val_y, scores)
        threshold = ranking.best_threshold()
        val_f1, val_precision, val_recall = f1_precision_recall(self.val_y, scores, threshold)
        half_f1 = best_f1_of_halves(self.val_y, scores, self.halves)
        train_f1, *_ = f1_precision_recall(self.train_y[self._order.flatten()], sigmoid(logits.flatten()), threshold)
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
            "val_f1_at_0.5": f1_precision_recall(self.val_y, scores, 0.5)[0],
            "val_f1_first_half": half_f1[0],
            "val_f1_second_half": half_f1[1],
        }
        self.history.append(record)
        if val_f1 > self.best["f1"]:
            self.best = {"epoch": number, "f1": val_f1, "threshold": threshold, "weights": copied(self.model.state_dict())}
        self.half_best = [half.after(number, f1, val_logits) for half, f1 in zip(self.half_best, half_f1, strict=True)]
        self.scheduler.step(val_f1)
        return Epoch(record, self._state())

    def take_out(self) -> None:
        """Give what the network holds memory of its own, and let the optimizer's go: the member has ended, its group goes on."""
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            tensor.data = tensor.data.clone()
        self.optimizer.state.clear()

    def _state(self) -> dict[str, Any]:
        return {
            "model": copied(self.model.state_dict()),
            "optimizer": copied(self.optimizer.state_dict()),
            "scheduler": self.scheduler.state_dict(),
            "history": self.history,
            "best": self.best,
            "half_best": [vars(half) | {"logits": torch.as_tensor(half.logits)} for half in self.half_best],
        }

    def _diverged(self, losses: torch.Tensor) -> str:
        bad = (~losses.isfinite()).nonzero().flatten().tolist()
        what = f"the loss is {losses[bad[0]].item()} at" if bad else "the weights are not finite after"
        step = bad[0] + 1 if bad else len(losses)
        return (
            f"{what} seed {self.seed}, epoch {self.epoch}, step {step}; likely a learning rate too high "
            f"(train.learning_rate is {self.loop.learning_rate:g}: try a tenth), gradients not clipped (train.gradient_clip) or "
            "extreme features (data.clip); the checkpoint of the epoch before is kept"
        )


def copied(value: Any) -> Any:
    """Copy the tensors in dictionaries, each to memory of its own: a member's are parts of all members' in a group."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return {key: copied(item) for key, item in value.items()} if isinstance(value, dict) else value
