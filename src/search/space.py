"""The space of a search: which values each setting may take, checked against the schema of the setting."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import CampaignError, format_value
from core.params import PARAMS, check_section
from learn.architecture import Architecture, NetworkSettings
from learn.train_stage import LoopSettings, Train, loop_settings

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

OF_LOOP = "train"  # has the settings of the loop
LOOP = "train."  # what the key of a setting of the loop begins with; others are the network's
RANGE = ("low", "high", "log")
DIGITS = 4  # of a fraction
Values = Mapping[str, Any]  # of settings, by key


def read_space(name: str, entries: Mapping[str, Any]) -> "dict[str, BaseDistribution]":
    """Make a distribution of each entry of ``search.space.<name>``; its values are those that `decode` takes.

    Args:
        name: of the architecture.
        entries: by setting, those of the loop under `train`; a list of choices, or a mapping with `low`, `high` and, if it is to
            be drawn so, ``log: true``.

    Returns:
        By setting; the key of one of the loop begins with `LOOP`.

    Raises:
        CampaignError: an entry is neither, or names no range.
    """
    if not (flat := flat_entries(entries)):
        raise CampaignError(f"{PARAMS}: search.space has nothing for {name}; add '{name}:' there, with the settings to search")
    return {key: _distribution(f"search.space.{name}.{key}", entry) for key, entry in flat.items()}


def flat_entries(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of ``search.space.<name>`` by setting, those of the loop as `LOOP` and their name."""
    of_loop = entries.get(OF_LOOP)
    if not isinstance(of_loop, dict):
        return dict(entries)
    return {key: entry for key, entry in entries.items() if key != OF_LOOP} | {
        LOOP + key: entry for key, entry in of_loop.items()
    }


def _distribution(where: str, entry: Any) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(entry, list) and len(entry) > 1:
        return CategoricalDistribution([json.dumps(choice) for choice in entry])
    ends = (entry.get("low"), entry.get("high")) if isinstance(entry, dict) else ()
    log = entry.get("log", False) if isinstance(entry, dict) else None
    is_range = len(ends) == 2 and all(type(end) in (int, float) for end in ends) and not set(entry) - set(RANGE)
    if not is_range or not isinstance(log, bool):
        raise CampaignError(
            f"{PARAMS}: {where} is {format_value(entry)}; it must be a list of at least 2 choices, or a range such as "
            "{low: 0.1, high: 0.5}, with log: true where it is to be drawn by its order of magnitude"
        )
    low, high = ends
    if not low < high or (log and low <= 0):
        least = ", and low above 0 with log" if log and low <= 0 else ""
        raise CampaignError(f"{PARAMS}: {where} is {format_value(entry)}; low must be below high{least}")
    kind = IntDistribution if type(low) is int and type(high) is int else FloatDistribution
    return kind(low, high, log=log)


def decode(distribution: "BaseDistribution", value: Any) -> Any:
    """Return the setting that a value of its distribution stands for: fractions are cut to `DIGITS`, for people."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(distribution, FloatDistribution):
        return min(max(float(f"{value:.{DIGITS}g}"), distribution.low), distribution.high)
    return json.loads(value) if isinstance(distribution, CategoricalDistribution) else value


def check_space(architecture: Architecture, space: "Mapping[str, BaseDistribution]", own: NetworkSettings, train: Train) -> None:
    """Check the ends of each range, and each choice, against the schema of the setting.

    Args:
        own, train: sections of params.yaml, which the values would replace.

    Raises:
        CampaignError: a setting is unknown, or cannot have such a value.
    """
    from optuna.distributions import CategoricalDistribution

    for key, distribution in space.items():
        if isinstance(distribution, CategoricalDistribution):
            tried = [decode(distribution, choice) for choice in distribution.choices]
        else:
            tried = [distribution.low, distribution.high]
        for value in tried:
            replace(architecture, {key: value}, own, train, where="search.space.")


def replace(
    architecture: Architecture, values: Values, own: NetworkSettings, train: Train, *, where: str = ""
) -> tuple[dict[str, Any], LoopSettings]:
    """Put values in the place of an architecture's settings.

    Args:
        own, train: sections of params.yaml.
        where: goes before the section in errors.

    Returns:
        Settings of the network, and of the loop.

    Raises:
        CampaignError: a setting is unknown, or cannot have that value.
    """
    name = architecture.name
    of_loop = {key.removeprefix(LOOP): value for key, value in values.items() if key.startswith(LOOP)}
    of_network = {key: value for key, value in values.items() if not key.startswith(LOOP)}
    section = own.model_dump()
    network = check_section(f"{where}{name}", section | of_network, architecture.settings).model_dump()
    loop = loop_settings(name, own, train).model_dump() | of_loop
    return network, check_section(f"{where}{name}.train", loop, LoopSettings)


def present_values(space: Sequence[str], network: Mapping[str, Any], loop: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a network and its loop have of the settings in a space."""
    return {key: loop[key.removeprefix(LOOP)] if key.startswith(LOOP) else network[key] for key in space}
