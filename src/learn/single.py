"""Train one member as its network is written."""

import torch
from torch import nn

from learn.cuda_graph import Step, recorded
from learn.loss import focal_loss
from learn.member import Member
from learn.trainer import Trainer


class Single(Trainer):
    """Takes the steps of one member, with PyTorch's own optimizer."""

    def __init__(self, member: Member):
        super().__init__([member])
        self._member, self._rate = member, 0.0

    def begin_epoch(self) -> Step:
        member = self._member
        member.model.train()
        if self._take_step is None or member.rate != self._rate:
            self.close()
            self._take_step, self._rate = recorded(self._step, self._changed), member.rate
        torch.manual_seed(member.epoch_seed)  # dropout
        return self._take_step

    def _step(self) -> tuple[torch.Tensor, torch.Tensor]:
        model, optimizer, loop = self._member.model, self._member.optimizer, self._member.loop
        x, asset_ids, y = self._member.train.gather(self.batch[0])
        with torch.autocast(x.device.type, torch.bfloat16, enabled=loop.precision == "bfloat16"):
            output = model(x, asset_ids).float()
        loss = focal_loss(output, y, alpha=loop.focal_alpha, gamma=loop.focal_gamma)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), loop.gradient_clip)
        optimizer.step()
        return loss.detach(), output.detach()

    def _changed(self) -> list[torch.Tensor]:
        """What a step changes; the optimizer's moments come into being with the first, as zeros."""
        moments = [tensor for state in self._member.optimizer.state.values() for tensor in state.values()]
        return [*self._member.model.state_dict().values(), *moments]
