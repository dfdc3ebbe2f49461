"""Sections of params.yaml: each key is needed, typed and known; errors name key, value and what is allowed."""

import datetime
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from core import params
from core.errors import CampaignError, format_value
from core.params import Settings, check_section, read_section
from scaffold import refusal


class Sample(Settings):
    rate: float = Field(gt=0)
    steps: int = Field(ge=1)


def text(content: str) -> None:
    Path("params.yaml").write_text(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sample: {rate: '1e-4', steps: 3}", "sample.rate is '1e-4'; it must be a valid number, not text in quotes"),
        ("sample: {rate: 0, steps: 3}", "sample.rate is 0; it must be greater than 0"),
        ("sample: {rate: .nan, steps: 3}", "sample.rate is nan; it must be a finite number"),
        ("sample: {rate: 1, steps: 3.0}", "sample.steps is 3.0; it must be a valid integer"),
        ("sample: {rate: 1, steps: yes}", "sample.steps is 'yes'; it must be a valid integer"),
        ("sample: {rate: 0, steps: 0}", "sample.rate is 0; it must be greater than 0; sample.steps is 0; it must be"),
        ("sample:", "section 'sample' expected, nothing found; add 'sample:' with its keys"),
        ("sample: [1, 2]", "section 'sample' expected, no mapping found"),
        ("other: {}", "section 'sample' expected, nothing found"),
        ("sample: {rate: 1, rate: 2}", "params.yaml is not valid YAML"),
        ("sample: {rate: [1", "params.yaml is not valid YAML"),
        ("", "section 'sample' expected, nothing found"),
        ("sample: !!python/object:os.system {}", "params.yaml"),
    ],
)
def test_bad_sections_are_refused_with_their_keys(desk, content, message):
    text(content)
    assert message in refusal(lambda: read_section("sample", Sample))


def test_numbers_are_those_of_yaml_1_2(desk):
    text("sample: {rate: 1e-4, steps: 3}")
    assert read_section("sample", Sample) == Sample(rate=1e-4, steps=3)


def test_a_missing_file_and_bytes_that_are_no_text_are_refused(desk):
    Path("params.yaml").write_bytes(b"\xff\xfe\x00sample")
    assert "params.yaml is not valid YAML" in refusal(lambda: read_section("sample", Sample))
    Path("params.yaml").unlink()
    assert "params.yaml not found" in refusal(lambda: read_section("sample", Sample))


class Kinds(Settings):
    """One key of each kind that sections have."""

    count: int | None = Field(ge=1, le=10)
    name: str = Field(min_length=1)
    names: list[str] = Field(min_length=1, max_length=3)
    choice: Literal["a", "b"]


def nested(levels: int) -> list:
    value: list = ["x"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("name", "", "sample.name is ''; it must be text that is not empty"),
        ("name", None, "sample.name is null; it must be text"),
        ("name", nested(30), "sample.name is [[[…], […], […], […], […], … (10 in all)], "),
        ("name", 0xF << 99_999, "sample.name is a whole number of 100003 bits; it must be text"),
        ("count", True, "sample.count is true; it must be a valid integer, or null"),
        ("count", "3", "sample.count is '3'; it must be a valid integer, or null, not text in quotes"),
        ("count", "yes", "sample.count is 'yes'; it must be a valid integer, or null"),
        ("count", 11, "sample.count is 11; it must be less than or equal to 10, or null"),
        ("count", "x" * 10**6, f"sample.count is '{'x' * 80}'… (1,000,000 characters); it must be"),
        ("count", datetime.date(2022, 1, 3), "sample.count is 2022-01-03; it must be"),
        ("names", "a", "sample.names is 'a'; it must be a list"),
        ("names", [], "sample.names is []; it must be a list of at least 1"),
        ("names", ["a"] * 4, "sample.names is ['a', 'a', 'a', 'a']; it must be a list of at most 3"),
        ("names", ["a", 3], 'item 2 of sample.names is 3; it must be text, in quotes: "3" or "000003"'),
        ("names", [600519], 'item 1 of sample.names is 600519; it must be text, in quotes: "600519"'),
        ("names", [True], "item 1 of sample.names is true; it must be text, in quotes"),
        ("names", [datetime.date(2024, 1, 1)], "item 1 of sample.names is 2024-01-01; it must be text, in quotes"),
        ("choice", {"a": {"b": {"c": 1}}}, "sample.choice is {'a': {'b': {…}}}; it must be 'a' or 'b'"),
        ("x" * 10**6, 1, f"sample.{'x' * 80}… is unknown; remove it (known: count, name, names, choice)"),
        ("a\n\x1b[1m", 1, "sample.a \\x1b[1m is unknown"),
    ],
    ids=format_value,
)
def test_allowed_values_are_described_in_the_words_of_params_yaml(key, value, said):
    good = {"count": 1, "name": "n", "names": ["n"], "choice": "a"}
    with pytest.raises(CampaignError) as error:
        check_section("sample", good | {key: value}, Kinds)
    assert str(error.value).startswith(f"params.yaml: {said}")
    assert len(str(error.value)) < 800


def test_of_many_wrong_values_the_first_are_named_and_the_others_counted():
    class Names(Settings):
        names: list[str]

    with pytest.raises(
        CampaignError, match=r"item 1 of sample.names is 3; it must be text, in quotes: .*; and 2,995 more$"
    ) as error:
        check_section("sample", {"names": [3] * 3000}, Names)
    assert len(str(error.value)) < 400


def test_sections_are_kept_as_they_were_first_read(desk):
    params.forget_used_sections()
    text("sample: {rate: 1, steps: 3}\nother: {}")
    read_section("sample", Sample)
    text("sample: {rate: 1, steps: 4}")
    read_section("sample", Sample)
    assert params.used_sections() == {"sample": {"rate": 1, "steps": 3}}
    params.forget_used_sections()
    assert params.used_sections() == {}
