"""The space of a search: read, checked against the settings' own schemas, and put in the place of params.yaml's."""

import re

import pytest

from core.errors import CampaignError
from core.params import read_section
from learn.architecture import find_architecture
from learn.train_stage import Train
from search.settings import Search
from search.space import check_space, decode, present_values, read_space, replace

MLP = find_architecture("mlp")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (0.5, "search.space.mlp.dropout is 0.5; it must be a list of at least 2 choices, or a range"),
        ([0.5], "search.space.mlp.dropout is [0.5]; it must be a list"),
        ({"low": 0.1}, "it must be a list"),
        ({"low": 0.1, "high": 0.5, "stop": 3}, "it must be a list"),
        ({"low": "a", "high": 0.5}, "it must be a list"),
        ({"low": 0.1, "high": 0.5, "log": 1}, "it must be a list"),
        ({"low": 0.5, "high": 0.1}, "low must be below high"),
        ({"low": 0.0, "high": 0.1, "log": True}, "low must be below high, and low above 0 with log"),
    ],
)
def test_an_entry_that_is_no_space_is_refused(entry, problem):
    with pytest.raises(CampaignError, match=re.escape(problem)):
        read_space("mlp", {"dropout": entry})


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"dropout": {"low": 0.0, "high": 1.5}}, "search.space.mlp.dropout is 1.5; it must be less than 1"),
        ({"hidden_sizes": [[64], [0]]}, "search.space.mlp.hidden_sizes is 0; it must be"),
        ({"layers": [1, 2]}, "search.space.mlp.layers is unknown; remove it (known: "),
        ({"train": {"learning_rate": {"low": 0.1, "high": 2.0}}}, "search.space.mlp.train.learning_rate is 2.0; it must be"),
        ({"train": {"seeds": [[1], [2]]}}, "search.space.mlp.train.seeds is unknown"),
        ({"train": [1, 2]}, "search.space.mlp.train is 1; it must be a mapping"),
        (
            {"train": {"focal_gamma": {"low": 0.5, "high": 2.0}}},
            "search.space.mlp.train.focal_gamma is 0.5; it must be 0, or from 1",
        ),
    ],
)
def test_a_value_that_a_setting_cannot_have_is_refused(desk, entries, problem):
    own, train = read_section("mlp", MLP.settings), read_section("train", Train)
    with pytest.raises(CampaignError) as error:
        check_space(MLP, read_space("mlp", entries), own, train)
    found = str(error.value)
    assert problem in found or re.sub(r"item \d of ", "", found).startswith(f"params.yaml: {problem}"), found


def test_the_project_s_own_spaces_suit_the_settings(desk):
    settings, train = read_section("search", Search), read_section("train", Train)
    for name, entries in settings.space.items():
        architecture = find_architecture(name)
        check_space(architecture, read_space(name, entries), read_section(name, architecture.settings), train)


def test_an_architecture_without_a_space_is_refused():
    with pytest.raises(CampaignError, match="search.space has nothing for gru; add 'gru:' there"):
        read_space("gru", {})


def test_values_go_in_the_place_of_the_settings(desk):
    own, train = read_section("mlp", MLP.settings), read_section("train", Train)
    space = read_space("mlp", {"hidden_sizes": [[8], [16, 8]], "train": {"batch_size": {"low": 32, "high": 64}}})
    values = {"hidden_sizes": decode(space["hidden_sizes"], "[16, 8]"), "train.batch_size": 48}
    network, loop = replace(MLP, values, own, train)
    assert network == own.model_dump() | {"hidden_sizes": [16, 8]}
    assert loop.model_dump() == train.model_dump(exclude={"seeds"}) | {"batch_size": 48}
    assert present_values(list(space), network, loop.model_dump()) == values
