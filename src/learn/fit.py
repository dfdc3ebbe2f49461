"""Train networks: the one loop that every architecture shares.

Shapes: B batch, T time, F features, N samples. A model maps x (B, T, F) and asset ids (B,) to logits (B,).
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import nn

from core.errors import CampaignError
from core.machine import core_count
from learn.dataset import Split
from learn.member import Epoch, Member
from learn.single import Single
from learn.stacked import Stacked, why_apart
from learn.training import Loop

SCORING_BATCH = 512  # every batch has this size: what a library computes for a sample depends on how many others there are
SCORING_ROWS = 196_608  # of the windows of a batch on a GPU, where that is more


def fit(
    model: nn.Module,
    train: Split,
    val: Split,
    *,
    halves: np.ndarray,
    seed: int,
    state: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Epoch]:
    """Train `model` in place; yield after every epoch, until `epochs` or `patience` epochs without a better validation F1.

    Args:
        model, train, val, halves, seed, state: as `Member` takes them.
        settings: the fields of `Loop`. Where `precision` is bfloat16 the training step has autocast. Scoring is always float32.

    Raises:
        CampaignError: the loss stopped being finite; names seed, epoch and step.
    """
    member = Member(model, train, val, halves=halves, seed=seed, loop=Loop(**settings), state=state)
    for [outcome] in fit_side_by_side([member]):
        if isinstance(outcome, CampaignError):
            raise outcome
        yield outcome


def fit_side_by_side(members: Sequence[Member]) -> Iterator[list[Epoch | CampaignError | None]]:
    """Train members of a group, as many as are left of them in each step; yield after every epoch what each one's brought.

    An epoch, or why the member cannot go on; None where it has ended before. All of a member's numbers are its own.

    Args:
        members: on one device, with the same number of steps; see `learn.grouping`.
    """
    failed: set[Member] = set()
    trainers: list[Single] | list[Stacked] = []
    while going := [member for member in members if not member.has_ended and member not in failed]:
        if [member for trainer in trainers for member in trainer.members] != going:
            for trainer in trainers:
                trainer.close()
                for member in trainer.members:
                    if member not in going:
                        member.take_out()
            trainers = choose_trainers(going)
        outcomes: dict[Member, Epoch | CampaignError] = {}
        for trainer in trainers:
            losses, logits = (results.cpu() for results in trainer.train_epoch())
            if len(trainers) > 1:
                trainer.close()
            val_logits = [predict(member.model, member.val) for member in trainer.members]
            judged = side_by_side(_end_epoch, trainer.members, losses, logits, val_logits)
            outcomes |= zip(trainer.members, judged, strict=True)
        failed |= {member for member, outcome in outcomes.items() if isinstance(outcome, CampaignError)}
        yield [outcomes.get(member) for member in members]


def choose_trainers(members: Sequence[Member]) -> list[Single] | list[Stacked]:
    """Let one take all members' steps where their networks can be stacked, on a GPU also one member's; else one each."""
    stacked = (len(members) > 1 or members[0].train.X.is_cuda) and why_apart(members) is None
    return [Stacked(members)] if stacked else [Single(member) for member in members]


def side_by_side(function: Callable[..., Any], *values: Sequence[Any]) -> list[Any]:
    """Do what ``list(map(function, *values))`` does; several calls share the cores."""
    if len(values[0]) == 1:
        return [function(*(own[0] for own in values))]
    with ThreadPoolExecutor(min(len(values[0]), core_count())) as threads:
        return list(threads.map(function, *values))


def _end_epoch(member: Member, losses: torch.Tensor, logits: torch.Tensor, val_logits: np.ndarray) -> Epoch | CampaignError:
    try:
        return member.end_epoch(losses, logits, val_logits)
    except CampaignError as error:
        return error


def with_flat_weights(model: nn.Module) -> nn.Module:
    """Copy a network so that each recurrent layer's weights are one block, as cuDNN wants them; a group's are not."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    return model


@torch.no_grad()
def predict(model: nn.Module, split: Split) -> np.ndarray:
    """Compute the logits of all samples of `split` in their order, float32 (N,), in evaluation mode and float32.

    On a CPU a sample's bits depend on its window and asset alone, not on which samples are scored with it.
    """
    model.eval()
    torch.backends.cudnn.allow_tf32 = False
    size = max(SCORING_BATCH, SCORING_ROWS // split.lookback) if split.X.is_cuda else SCORING_BATCH
    model = with_flat_weights(model) if split.X.is_cuda else model
    logits = torch.empty(len(split), device=split.X.device)  # a list of them would pin the memory of freed windows
    for place, (x, asset_ids) in zip(logits.split(size), split.batches(size), strict=True):
        place.copy_(model(x, asset_ids)[: len(place)])
    return logits.cpu().numpy()
