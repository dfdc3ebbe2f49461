"""params.yaml as it is: each section has a schema, and each key is checked."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from core.errors import CampaignError
from core.params import Settings, read_section
from learn.architecture import find_architecture
from scaffold import PROJECT, read_params, write_params
from tools import check

STAGES = YAML(typ="safe").load(PROJECT / "dvc.yaml")["stages"]
ARCHITECTURES = [stage.removeprefix("train_") for stage in STAGES if stage.startswith("train_")]
SCHEMAS: dict[str, type[Settings]] = check.SCHEMAS | {name: find_architecture(name).settings for name in ARCHITECTURES}


def test_the_defaults_pass_their_schemas_and_every_section_has_one(desk):
    assert set(read_params()) == set(SCHEMAS)
    for name, schema in SCHEMAS.items():
        read_section(name, schema)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [("focal_gamma", 0.5, "0, or from 1 to 10"), ("seeds", [1, 2**63], "a list of whole numbers from 0 up, below 2^63")],
)
def test_values_that_would_fail_far_into_a_training_are_refused_before_it(desk, key, value, allowed):
    write_params(desk, train={key: value})
    with pytest.raises(CampaignError, match=rf"train\.{key} is .*; it must be {re.escape(allowed)}"):
        read_section("train", SCHEMAS["train"])


@pytest.mark.parametrize("section", SCHEMAS)
def test_each_key_of_every_section_is_needed_typed_and_known(desk, section):
    params = read_params()[section]
    for key in params:
        write_params(desk, **{section: {key: {"a": "mapping"}}})
        with pytest.raises(CampaignError, match=rf"params.yaml: {section}\.{key}(\.a)? is .*; it must be"):
            read_section(section, SCHEMAS[section])
    first = next(iter(params))
    Path("params.yaml").write_text(json.dumps({section: {key: value for key, value in params.items() if key != first}}))
    with pytest.raises(CampaignError, match=rf"{section}\.{first} is missing; add it"):
        read_section(section, SCHEMAS[section])
    Path("params.yaml").write_text(json.dumps({section: params | {"typo": 1}}))
    with pytest.raises(CampaignError, match=rf"{section}\.typo is unknown; remove it \(known: .*{first}"):
        read_section(section, SCHEMAS[section])
