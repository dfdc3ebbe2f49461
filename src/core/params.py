"""Read sections of params.yaml, each checked against its schema."""

import contextlib
import datetime
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from core.errors import CampaignError, format_value, join_first, shorten

PARAMS = Path("params.yaml")


class Settings(pydantic.BaseModel):
    """A section of params.yaml: no unknown key, no missing key, no silent conversion."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Section = TypeVar("Section", bound=Settings)
_used_sections: dict[str, Any] = {}


def used_sections() -> dict[str, Any]:
    """Return the sections that `read_section` has read, by name, as params.yaml had them then."""
    return dict(_used_sections)


def forget_used_sections() -> None:
    """Begin anew with what `used_sections` returns."""
    _used_sections.clear()


def read_params() -> Any:
    """Read params.yaml in the working directory.

    Raises:
        CampaignError: the file is missing or not YAML.
    """
    from core import yaml_file  # lazy: workers and benchmarks never read YAML

    try:
        return yaml_file.read_yaml(PARAMS)
    except FileNotFoundError:
        raise CampaignError(f"{PARAMS} not found in {Path.cwd().name}/: start in the project's root") from None


def read_section(name: str, schema: type[Section]) -> Section:
    """Read one section of params.yaml.

    Raises:
        CampaignError: the file or section is missing or not YAML, or values break the schema; names every such key.
    """
    document = read_params()
    if not isinstance(document, dict) or not isinstance(document.get(name), dict):
        found = "nothing" if not isinstance(document, dict) or document.get(name) is None else "no mapping"
        raise CampaignError(f"{PARAMS}: section '{name}' expected, {found} found; add '{name}:' with its keys")
    _used_sections.setdefault(name, document[name])
    return check_section(name, document[name], schema)


def check_section(name: str, values: Mapping[str, Any], schema: type[Section]) -> Section:
    """Check plain `values` against `schema`.

    Args:
        name: of the section, for errors.

    Raises:
        CampaignError: values break the schema; names every such key.
    """
    try:
        return schema.model_validate(values)
    except pydantic.ValidationError as error:
        problems = [_describe_problem(name, problem, schema) for problem in error.errors(include_url=False)]
        raise CampaignError(f"{PARAMS}: {join_first(problems, max_characters=400, separator='; ')}") from None


ALLOWED_BY_TYPE = {  # for types of error whose text by pydantic does not say which values are allowed
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "list_type": "a list",
    "dict_type": "a mapping",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}


def _describe_problem(section: str, problem: Any, schema: type[Settings]) -> str:
    """Say which key has which value, and what it must be, of one of pydantic's errors."""
    keys = [shorten(part) for part in problem["loc"]]
    if not keys:
        return f"{section}: {problem['msg'].removeprefix('Value error, ')}"
    field = schema.model_fields.get(keys[0])
    key = ".".join([section, *keys])
    if len(problem["loc"]) == 2 and isinstance(problem["loc"][1], int):
        key = f"item {problem['loc'][1] + 1} of {section}.{keys[0]}"
    if problem["type"] == "missing":
        return f"{key} is missing; add it"
    if field is None:
        return f"{key} is unknown; remove it (known: {', '.join(schema.model_fields)})"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    allowed = ALLOWED_BY_TYPE.get(problem["type"], message).format(**problem.get("ctx", {}))
    if len(keys) == 1 and type(None) in typing.get_args(field.annotation):
        allowed += ", or null"
    value = problem["input"]
    return f"{key} is {format_value(value)}; it must be {allowed}{_quotes_hint(value, problem['type'])}"


def _quotes_hint(value: object, problem: str) -> str:
    """Say what to do about quotes where their lack, or their presence, has made a value another type."""
    if isinstance(value, str) and problem in ("int_type", "float_type", "int_parsing", "float_parsing") and _is_number(value):
        return ", not text in quotes"
    if problem == "string_type" and isinstance(value, bool | int | float | datetime.date):
        if type(value) is int and 0 <= value < 10**6:  # YAML drops the zeros in front
            return f', in quotes: "{value}"' + (f' or "{value:06}"' if value < 10**5 else "")
        return ", in quotes"
    return ""


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(text) and float(text) is not None
    return False
