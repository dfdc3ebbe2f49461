"""Say which trainings share a process and each step of it: the members of a group.

On a GPU a group costs little more than one training. On a CPU every training has a process of its own.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from core.errors import CampaignError, format_value
from core.files import read_json
from core.machine import on_cluster
from learn.device import device
from learn.stackable import constants, reason_against, reason_against_on_gpu
from learn.training import Training

LARGEST = 16  # trainings of a group on a GPU; a fixed number, since the others can change a training's last digits


def group_trainings(trainings: Sequence[Training]) -> list[list[int]]:
    """Return the positions in `trainings` of each group, in order of the first of each.

    Groups follow from the list alone: trainings of one architecture, with the same sizes, batch size, precision and number of
    samples to train on, in their order. Members may differ in seed, splits, dropout, and all other settings of the loop. A
    training whose network cannot be stacked (`learn.stackable`) is alone.

    Raises:
        CampaignError: CAMPAIGN_MEMBERS is not a whole number above zero, or splits have no metadata.
    """
    on_gpu = _on_gpus()
    largest = largest_group(on_gpu=on_gpu)
    if largest == 1 or len(trainings) == 1:
        return [[position] for position in range(len(trainings))]
    alike: dict[str, list[int]] = {}
    networks = [training.build() for training in trainings]
    for position, (training, network) in enumerate(zip(trainings, networks, strict=True)):
        alike.setdefault(_shapes(training, network), []).append(position)
    for key, own in list(alike.items()):
        if not _can_be_stacked(trainings[own[0]], networks[own[0]], on_gpu=on_gpu):
            alike |= {f"{key} {position}": [position] for position in alike.pop(key)}
    groups = [own[at : at + largest] for own in alike.values() for at in range(0, len(own), largest)]
    return sorted(groups)


def largest_group(*, on_gpu: bool) -> int:
    """Return how many trainings a group has at most: `LARGEST` on a GPU, else one.

    ``CAMPAIGN_MEMBERS`` sets another number for a CPU, where groups gain nothing: to test them.

    Raises:
        CampaignError: it is not a whole number above zero.
    """
    wanted = os.environ.get("CAMPAIGN_MEMBERS", "")
    if wanted and not (wanted.isascii() and wanted.isdigit() and len(wanted) < 4 and int(wanted) > 0):
        raise CampaignError(f"CAMPAIGN_MEMBERS is {format_value(wanted)}; it must be a whole number from 1 to 999, or unset")
    return LARGEST if on_gpu else int(wanted or 1)


def _on_gpus() -> bool:
    if on_cluster():
        from core.cluster import connect

        return connect().gpus > 0
    return device() == "cuda"


def name_of(group: Sequence[Training]) -> str:
    """Name a group's directory below that of its first training's fingerprint: by all that decides its bytes."""
    if len(group) == 1:
        return f"seed-{group[0].seed}"
    return f"members-{_digest([[training.fingerprint(), training.seed] for training in group])}"


def fingerprint_of(trainings: Sequence[Training]) -> str:
    """Hash all that decides the bytes of trainings that differ by seed alone, but their seeds: 16 hexadecimal digits."""
    own, groups = trainings[0].fingerprint(), group_trainings(trainings)
    if all(len(group) == 1 for group in groups):
        return own
    return _digest([own, [[trainings[position].seed for position in group] for group in groups]])


def _shapes(training: Training, network: nn.Module) -> str:
    samples = read_json(training.splits / "metadata.json")["splits"]["train"]["samples"]
    lookback = training.arguments["lookback"]
    return json.dumps([constants(network), lookback, training.loop.batch_size, training.loop.precision, samples])


def _can_be_stacked(training: Training, network: nn.Module, *, on_gpu: bool) -> bool:
    batch_size, precision = training.loop.batch_size, training.loop.precision
    if on_gpu and reason_against_on_gpu(network, batch_size=batch_size, precision=precision):
        return False
    x = torch.zeros(2, training.arguments["lookback"], training.arguments["n_features"])
    return reason_against(network, x, torch.zeros(2, dtype=torch.int64)) is None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
