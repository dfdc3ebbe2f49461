"""Which trainings become members of one group, and what a group's checkpoint is found by."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from core.errors import CampaignError
from core.files import write_json
from learn import grouping
from learn.grouping import LARGEST, fingerprint_of, group_trainings, largest_group, name_of
from learn.training import Loop, Training
from scaffold import read_params

ARGUMENTS = {"hidden_sizes": [8], "dropout": 0.1, "asset_embedding": 2, "n_features": 2, "n_assets": 2, "lookback": 3}


@pytest.fixture(autouse=True)
def splits(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three folds, of which two have the same number of samples; a card."""
    for name, samples in (("a", 900), ("b", 900), ("c", 901)):
        write_json(Path(name) / "metadata.json", {"content_hash": name, "splits": {"train": {"samples": samples}}})
    monkeypatch.setattr(grouping, "device", lambda: "cuda")


def one(seed: int, splits: str = "a", dropout: float = 0.1, hidden: int = 0, **settings: Any) -> Training:
    """An MLP, or a GRU of a hidden size."""
    loop = {name: value for name, value in read_params()["train"].items() if name != "seeds"} | {"precision": "bfloat16"}
    arguments = ARGUMENTS | {"dropout": dropout}
    network = "train_mlp:MLP"
    if hidden:
        network = "train_gru:GRUAttention"
        del arguments["hidden_sizes"]
        arguments |= {"hidden_size": hidden, "layers": 1, "attention_size": 8}
    return Training(network, arguments, Loop(**loop | settings), Path(splits), seed)


def test_seeds_folds_of_a_length_and_trials_of_the_same_shapes_are_members():
    trainings = [
        one(1),
        one(1, hidden=16),
        one(2, learning_rate=0.5, weight_decay=0.5, gradient_clip=9.0, focal_alpha=0.5, focal_gamma=0.0, dropout=0.5),
        one(3, "b", epochs=7, patience=3, lr_factor=0.1, lr_patience=1),
        one(4, "c"),
        one(5, batch_size=64),
        one(6, precision="float32"),
        dataclasses.replace(one(7), arguments=ARGUMENTS | {"hidden_sizes": [9]}),
    ]
    assert group_trainings(trainings) == [[0, 2, 3], [1], [4], [5], [6], [7]]


def test_what_a_gpu_cannot_take_in_one_step_is_alone(monkeypatch):
    assert group_trainings([one(seed, hidden=64) for seed in (1, 2)]) == [[0, 1]]
    for settings in ({"precision": "float32"}, {"batch_size": 100}, {"batch_size": 2048}):
        assert group_trainings([one(seed, hidden=64, **settings) for seed in (1, 2)]) == [[0], [1]], settings
    assert group_trainings([one(1, hidden=96), one(2, hidden=96), one(3), one(4)]) == [[0], [1], [2, 3]]
    assert group_trainings([one(seed, precision="float32", batch_size=100) for seed in (1, 2)]) == [[0, 1]], "an MLP can be"
    monkeypatch.setattr(grouping, "reason_against", lambda *network: "for the test")
    assert group_trainings([one(1), one(2)]) == [[0], [1]]


def test_groups_follow_from_the_list_alone_and_have_a_largest_size(monkeypatch):
    trainings = [one(seed) for seed in range(2 * LARGEST + 3)]
    expected = [list(range(LARGEST)), list(range(LARGEST, 2 * LARGEST)), list(range(2 * LARGEST, 2 * LARGEST + 3))]
    assert group_trainings(trainings) == expected
    monkeypatch.setenv("CAMPAIGN_MEMBERS", "2")
    monkeypatch.setenv("CAMPAIGN_JOBS", "1")
    assert group_trainings(trainings) == expected
    assert group_trainings([*trainings, one(99)])[:2] == expected[:2], "a longer list leaves full groups as they are"


def test_on_a_cpu_each_is_alone_unless_a_test_asks_for_more(monkeypatch):
    monkeypatch.setattr(grouping, "device", lambda: "cpu")
    trainings = [one(seed) for seed in range(5)]
    assert group_trainings(trainings) == [[0], [1], [2], [3], [4]]
    monkeypatch.setenv("CAMPAIGN_MEMBERS", "3")
    assert group_trainings(trainings) == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize("value", ["0", "many", "-1", "1.5", "1000", "²"])
def test_a_number_that_cannot_be_is_refused(monkeypatch, value):
    monkeypatch.setenv("CAMPAIGN_MEMBERS", value)
    with pytest.raises(CampaignError, match=f"CAMPAIGN_MEMBERS is '{value}'; it must be a whole number from 1 to 999, or unset"):
        largest_group(on_gpu=False)


def test_a_group_s_checkpoint_is_found_by_all_its_members():
    seeds = [one(seed) for seed in (1, 2, 3)]
    assert name_of(seeds[:1]) == "seed-1"
    names = {name_of(own) for own in (seeds, seeds[:2], seeds[1:], [*seeds, one(4)], [one(1, "b"), *seeds[1:]], seeds[::-1])}
    names.add(name_of([one(1, learning_rate=0.5), *seeds[1:]]))
    assert len(names) == 7
    assert name_of(seeds) == name_of([one(seed) for seed in (1, 2, 3)])


def test_what_is_tracked_as_one_run_is_told_by_its_groups(monkeypatch):
    seeds = [one(seed) for seed in (1, 2, 3)]
    grouped = fingerprint_of(seeds)
    assert grouped != fingerprint_of(seeds[:2])
    assert fingerprint_of(seeds[:1]) == seeds[0].fingerprint()
    monkeypatch.setattr(grouping, "device", lambda: "cpu")
    assert fingerprint_of(seeds) == fingerprint_of(seeds[:2]) == seeds[0].fingerprint()
