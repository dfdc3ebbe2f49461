"""Take the steps of an epoch, for one member or for several at once."""

from collections.abc import Sequence

import torch

from learn.cuda_graph import Step
from learn.member import Member


class Trainer:
    """What walks over the batches of an epoch. A subclass says what a step is.

    Shapes: M members, B batch, steps of an epoch.

    members: that it trains, on one device and with the same number of steps.
    batch: int64 (M, B), numbers of the samples of the step, always in this place.
    """

    def __init__(self, members: Sequence[Member]):
        self.members, first = list(members), members[0]
        self.device = first.train.X.device
        shape = first.steps, len(members), first.batch_size
        self.batch = torch.zeros(shape[1:], dtype=torch.int64, device=self.device)
        self._order = torch.empty(shape, dtype=torch.int64, device=self.device)
        self._logits = torch.empty(shape, device=self.device)
        self._losses = torch.empty(shape[:2], device=self.device)
        self._take_step: Step | None = None

    def train_epoch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Train for each member's next epoch -> losses (M, steps) and logits (M, steps, B)."""
        self._order.copy_(self.draw_orders())
        torch.backends.cudnn.allow_tf32 = self.members[0].loop.precision == "bfloat16"  # recurrent layers on a GPU
        take_step = self.begin_epoch()
        for at, samples in enumerate(self._order):
            self.batch.copy_(samples)
            self._losses[at], self._logits[at] = take_step()
        return self._losses.transpose(0, 1), self._logits.transpose(0, 1)

    def draw_orders(self) -> torch.Tensor:
        """Shuffle each member's samples, int64 (steps, M, B)."""
        return torch.stack([member.order() for member in self.members], dim=1)

    def close(self) -> None:
        """Free the CUDA graph: no other may be recorded, or freed, while it lives (pytorch#193402)."""
        self._take_step = None

    def begin_epoch(self) -> Step:
        """Prepare all that a member's epoch depends on, and return what takes a step: -> losses (M,) and logits (M, B)."""
        raise NotImplementedError
