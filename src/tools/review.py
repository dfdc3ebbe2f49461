"""Print what came of earlier predictions."""

from collections.abc import Mapping
from pathlib import Path

from core.errors import CampaignError, join_first
from core.params import read_params
from judge.uncertainty import FEWEST_BLOCKS
from report.numbers import fixed
from serve.model import Recipe
from serve.review import ALL, FEWEST_TRADES, Figure, Outcome, Promise, describe_drift, review
from serve.signals import read_table


def main(file: Path, root: Path | None) -> None:
    """Print what came of the predictions in a file.

    Args:
        root: directory of bars that reach further than the predictions; None takes data.bars.

    Raises:
        CampaignError: the file holds no predictions, those of several models, or the bars lack them.
    """
    rows = read_table(file)
    if not rows:
        raise CampaignError(f"{file} has no predictions yet; predict --append adds them")
    if len(models := sorted({row["model"] for row in rows})) > 1:
        raise CampaignError(f"{file} has predictions of {join_first(models)}; keep a file for each model")
    found = review(Path(read_params()["data"]["bars"]) if root is None else root, rows, Recipe.read())
    promise = Promise.of(models[0])
    print("\n".join(format_review(models[0], found, promise)))


def format_review(model: str, found: Mapping[str, Outcome], promise: Promise) -> list[str]:
    """Lay out a row for all assets, for each, and for what test showed; below it, what drifted."""
    rows = [("", "bars", "profits", "probability less", "trades", "hit rate", "return a trade")]
    for name, own in found.items():
        profits, hits = (format_figure(figure, ".1f") for figure in (own.profits, own.hit_rate))
        excess, returns = format_figure(own.excess, "+.1f"), format_figure(own.mean_return, "+.2f")
        rows.append((name, f"{own.bars:,}", profits, excess, f"{own.trades:,}", hits, returns))
    rows.append(
        (
            "on test",
            "",
            *(format_share(promise.profits, ".1f"), format_share(promise.excess, ".0f")),
            "",
            format_share(promise.hit_rate, ".1f"),
            format_share(promise.mean_return, "+.2f"),
        )
    )
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(sizes[0]), *(cell.rjust(size) for cell, size in zip(row[1:], sizes[1:], strict=True))]).rstrip()
        for row in rows
    ]
    everything = found[ALL]
    drifted = describe_drift(everything, promise)
    few = "" if everything.days >= FEWEST_BLOCKS else "; too few days for them"
    lines.append(
        f"{model}: {everything.bars:,} bars of {everything.days} days with a known outcome, {everything.open:,} without one yet. "
        f"Returns: after costs. 95% intervals, by blocks of days, of trades from {FEWEST_TRADES} on{few}."
    )
    if drifted:
        return [*lines, f"further from test than chance explains: {'; '.join(drifted)}"]
    return [*lines, "nothing is further from test than chance explains"]


def format_figure(figure: Figure, form: str) -> str:
    """Write a share in percent with its interval."""
    text = format_share(figure.value, form)
    ends = figure.interval or ()
    return f"{text} [{', '.join(format_share(end, form).rstrip('%') for end in ends)}]" if ends else text


def format_share(value: float | None, form: str) -> str:
    return fixed(None if value is None else 100 * value, form) + ("" if value is None else "%")
