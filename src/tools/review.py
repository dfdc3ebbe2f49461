"""Print what came of earlier predictions."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.errors import CampaignError, join_first
from core.params import read_params
from core.pipeline import MODELS
from judge.uncertainty import FEWEST_BLOCKS
from report.numbers import fixed
from serve.model import Model
from serve.review import ALL, FEWEST_TRADES, Figure, Outcome, describe_drift, review
from serve.signals import read_table


def main(file: Path, root: Path | None) -> None:
    """Print what came of the predictions in a file.

    Args:
        root: directory of bars that reach further than the predictions; None takes data.bars.

    Raises:
        CampaignError: the file holds no predictions, those of several models, or of another than is here; or the bars lack them.
    """
    rows = read_table(file)
    if not rows:
        raise CampaignError(f"{file} has no predictions yet; predict --append adds them")
    if len(models := sorted({(row["model"], row["fingerprint"]) for row in rows})) > 1:
        named = join_first([f"{name} {fingerprint}" for name, fingerprint in models])
        raise CampaignError(f"{file} has predictions of {named}; keep a file for each model")
    [(title, fingerprint)] = models
    model = Model.read(file_of(title))
    if model.fingerprint != fingerprint:
        found = f"{file} was predicted by {title} {fingerprint}, here is {model.fingerprint}"
        raise CampaignError(f"{found}; review it where those models are: git checkout, then dvc checkout")
    new = [row for row in rows if row["timestamp"] >= model.recipe.test_from]
    if not new:
        raise CampaignError(
            f"{file} has bars of train and validation alone, which the model has seen; test begins {test_day(model)}"
        )
    found, test = review(Path(read_params()["data"]["bars"]) if root is None else root, new, model)
    print("\n".join(format_review(title, found, test)))
    if left := len(rows) - len(new):
        print(f"left out: {left:,} bars of train and validation, before {test_day(model)}, which the model has seen")


def file_of(title: str) -> str:
    """Return what `Model.read` takes of a model as predictions name it: by its architecture, or that and a seed."""
    name, _, seed = title.partition(" seed ")
    return str(MODELS / name / f"seed_{seed}.pt") if seed else name


def test_day(model: Model) -> str:
    return model.recipe.test_from[:10]


def format_review(title: str, found: Mapping[str, Outcome], test: Outcome) -> list[str]:
    """Lay out a row for all assets, for each, and for test; below it, what differs from test."""
    rows = [("", "bars", "profits", "probability less", "trades", "hit rate", "return a trade")]
    for name, own in [*found.items(), ("on test", test)]:
        profits, hits = (format_figure(figure, ".1f", least=0.0, most=1.0) for figure in (own.profits, own.hit_rate))
        excess, returns = format_figure(own.excess, "+.1f"), format_figure(own.mean_return, "+.2f")
        rows.append((name, f"{own.bars:,}", profits, excess, f"{own.trades:,}", hits, returns))
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(sizes[0]), *(cell.rjust(size) for cell, size in zip(row[1:], sizes[1:], strict=True))]).rstrip()
        for row in rows
    ]
    everything = found[ALL]
    few = "" if everything.days >= FEWEST_BLOCKS else "; too few days for them"
    lost = f", {everything.lost:,} without one for ever, at breaks" if everything.lost else ""
    known = f"{everything.bars:,} bars of {everything.days} days with a known outcome"
    lines.append(
        f"{title}: {known}, {everything.open:,} without one yet{lost}. "
        f"Returns: after costs. 95% intervals, by blocks of days, of trades from {FEWEST_TRADES} on{few}."
    )
    drifted = describe_drift(everything, test)
    if drifted:
        return [*lines, f"differs from test beyond chance: {'; '.join(drifted)}"]
    return [*lines, "nothing differs from test beyond chance"]


def format_figure(figure: Figure, form: str, *, least: float = -np.inf, most: float = np.inf) -> str:
    """Write a share in percent with its interval, cut off at the least and the most that there can be."""
    text = format_share(figure.value, form)
    ends = figure.interval or ()
    written = ", ".join(format_share(min(max(end, least), most), form).rstrip("%") for end in ends)
    return f"{text} [{written}]" if ends else text


def format_share(value: float | None, form: str) -> str:
    return fixed(None if value is None else 100 * value, form) + ("" if value is None else "%")
