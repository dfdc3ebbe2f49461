"""List the looks at the present test set, and say what the best of so many is worth by luck."""

import dataclasses
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import CampaignError, format_value
from core.splits import DATA
from report.numbers import fixed
from search.overfitting import probability_above, sharpe_by_luck
from tools.leaderboard import read_label
from watch.ledger import LEDGER, Earned, Look, TestSet, looks_at, read_ledger, settings_of

MAX_SETTINGS = 3  # that a row names
FEWEST_COLUMNS = 60


def main() -> None:
    """Print them. Raises CampaignError where there are no data, no looks, or a damaged one."""
    if not (DATA / "metadata.json").is_file():
        raise CampaignError(f"{DATA}/metadata.json not found; run the stage that makes it: dvc repro generate_data")
    test = TestSet.of(DATA)
    if not (looks := looks_at(test, read_ledger())):
        raise CampaignError(
            f"{LEDGER}/ has no look at this test set, {test.first[:10]} to {test.last[:10]}; compare notes one: dvc repro"
        )
    print(format_looks(looks, shutil.get_terminal_size().columns))


def format_looks(looks: Sequence[Look], width: int) -> str:
    """Lay out a row for each look, the best first, and below what luck makes of so many, in `width` columns."""
    earned = distinct(looks)
    sharpes = [own.sharpe for own in earned]
    by_luck = sharpe_by_luck(len(earned), float(np.var(sharpes)) if sharpes else 0.0)
    ranked = sorted(looks, key=lambda look: -(best_of(look)[1].sharpe or 0.0))
    rows = [("look", "best model", "test F1", "Sharpe a day", "deflated", "settings that differ from params.yaml")]
    for look in ranked:
        name, own = best_of(look)
        deflated = (
            None
            if own.sharpe is None
            else probability_above(own.sharpe, by_luck, periods=own.days, skewness=own.skewness, kurtosis=own.kurtosis)
        )
        rows.append(
            (look.kind, read_label(name), fixed(look.f1[name]), fixed(own.sharpe), fixed(deflated), describe_settings(look))
        )
    return "\n".join([*lay_out(rows, max(width, FEWEST_COLUMNS)), *textwrap.wrap(summary(looks, len(earned), by_luck), width)])


def distinct(looks: Sequence[Look]) -> list[Earned]:
    """Return what all models that trade earned, equal ones once: looks that differ in one network share the other models."""
    earned = {own for look in looks for own in look.money.values() if own.sharpe is not None}
    return sorted(earned, key=dataclasses.astuple)


def best_of(look: Look) -> tuple[str, Earned]:
    """Return the model with the highest Sharpe ratio, and what it earned."""
    return max(look.money.items(), key=lambda item: -np.inf if item[1].sharpe is None else item[1].sharpe)


def describe_settings(look: Look) -> str:
    """Name what a look was made with, where params.yaml has something else now."""
    present = settings_of(*{key.partition(".")[0] for key in look.settings})
    changed = [key for key, value in look.settings.items() if key not in present or present[key] != value]
    named = [f"{key} {_short(look.settings[key])}" for key in changed[:MAX_SETTINGS]]
    more = [f"and {len(changed) - MAX_SETTINGS} more"] if len(changed) > MAX_SETTINGS else []
    return ", ".join([*named, *more]) or "none"


def _short(value: Any) -> str:
    return textwrap.shorten(format_value(value), 24, placeholder="…")


def lay_out(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Align the columns; numbers to the right, and the last one wrapped below itself."""
    *columns, _ = zip(*rows, strict=True)
    sizes = [max(map(len, column)) for column in columns]
    indent = sum(sizes) + 2 * len(sizes)
    lines = []
    for *cells, last in rows:
        sized = enumerate(zip(cells, sizes, strict=True))
        left = [cell.ljust(size) if number < 2 else cell.rjust(size) for number, (cell, size) in sized]
        wrapped = textwrap.wrap(last, max(width - indent, 20))
        lines.append("  ".join([*left, wrapped[0]]))
        lines += [" " * indent + line for line in wrapped[1:]]
    return lines


def summary(looks: Sequence[Look], models: int, by_luck: float) -> str:
    """Say how often test was looked at, and what that is worth."""
    test = looks[0].test
    often = "once" if len(looks) == 1 else f"{len(looks)} times"
    trading = "1 model that trades" if models == 1 else f"{models} models that trade"
    return (
        f"Test, {test.first[:10]} to {test.last[:10]}, was looked at {often}, with {trading}. If none of them had an edge, "
        f"the best would have a Sharpe ratio of {fixed(by_luck)} a day by luck. Deflated: the probability that a model's true "
        "ratio is above that."
    )
