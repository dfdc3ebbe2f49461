"""Cut the bars into folds, each a directory as data/training_data, purged and scaled by itself."""

import sys

sys.path.insert(0, __file__.rpartition("/walk_forward/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bars.findings import summarise_findings
from bars.reading import HOUR, SIMULATED_MARKER
from bars.rows import AssetRows, Cuts, choose_symbols, collect_findings, read_asset_rows, split_and_fit_scaler, without_untrained
from core.errors import CampaignError, join_first, print_stderr
from core.files import write_json
from core.params import read_section
from core.pipeline import WALK_FORWARD, Stage
from core.run import run
from generate_data import Data, report_splits, require_usable, write_data
from walk_forward.folds import DATA, FOLDS, WalkForward
from walk_forward.planning import plan_folds


@contextlib.contextmanager
def naming(fold: str) -> Iterator[None]:
    """Name the fold in an error."""
    try:
        yield
    except CampaignError as error:
        raise CampaignError(f"fold {fold}: {error}") from None


def when(metadata: Mapping[str, Any], cuts: Cuts, last: np.datetime64) -> dict[str, str]:
    """Say when a fold's splits begin and test ends, ISO texts in UTC: the fields of `judge.walk_forward.FoldCuts`.

    Args:
        metadata: of the fold. last: when the last bar has closed.
    """
    return {
        "train_from": metadata["splits"]["train"]["first_bar"].removesuffix("Z"),
        "val_from": str(cuts.val),
        "test_from": str(cuts.test),
        "test_until": str(min(cuts.end, last)),
    }


def write_fold(
    out: Path, data: Data, symbols: Sequence[str], assets: Sequence[AssetRows], cuts: Cuts, *, lengths: str
) -> tuple[dict[str, Any], list[str]]:
    """Cut the rows of all assets, and write the splits to the directory `out`.

    Args:
        lengths: the settings that say how long the splits are, for errors.

    Returns:
        What metadata.json holds, and warnings of one line each.

    Raises:
        CampaignError: the splits cannot be used.
    """
    rules = data.row_rules()
    used, left_out = without_untrained(assets, symbols, cuts, lookback=rules.lookback)
    prepared = split_and_fit_scaler(used, symbols, cuts, rules, lengths=lengths)
    metadata = write_data(out, Path(data.bars), symbols, used, rules, cuts, prepared, clip=data.clip)
    left = [f"{join_first(left_out)}: no training sample, left out of this fold"] if left_out else []
    return metadata, [*prepared.warnings, *left]


def main() -> None:
    data, settings = read_section("data", Data), read_section("walk_forward", WalkForward)
    root, rules = Path(data.bars), data.row_rules()
    symbols = choose_symbols(root, data.symbols)
    assets = require_usable(read_asset_rows(root, symbols, rules))
    findings = collect_findings(dict(zip(symbols, assets, strict=True)), simulated=(root / SIMULATED_MARKER).is_file())
    for warning in summarise_findings(findings):
        print_stderr(f"cut_folds: warning: {warning}")
    first = min(rows.timestamps[0] for rows in assets)
    last = max(rows.timestamps[-1] for rows in assets) + HOUR
    folds = plan_folds(
        first,
        last,
        folds=settings.folds if isinstance(settings.folds, int) else [np.datetime64(day, "s") for day in settings.folds],
        until=None if settings.until is None else np.datetime64(settings.until, "s"),
        val_days=settings.val_days,
        test_days=settings.test_days,
        train_days=settings.train_days,
        rolling=settings.train == "rolling",
        embargo=settings.embargo_hours * HOUR,
    )

    lengths = "walk_forward.val_days, test_days or train_days"
    if settings.embargo_hours:
        lengths = "walk_forward.val_days, test_days, train_days or embargo_hours"
    described = {}
    for fold in folds:
        with naming(fold.name):
            metadata, warnings = write_fold(DATA / fold.name, data, symbols, assets, fold.cuts, lengths=lengths)
        for warning in warnings:
            print_stderr(f"cut_folds: warning: fold {fold.name}: {warning}")
        report_splits(f"cut_folds: fold {fold.name}", metadata["splits"])
        described[fold.name] = when(metadata, fold.cuts, last)
    for left in DATA.iterdir() if DATA.is_dir() else ():  # DVC clears them, a script started by hand does not
        if left.is_dir() and left.name not in {fold.name for fold in folds}:
            shutil.rmtree(left)
    write_json(FOLDS, described)


if __name__ == "__main__":
    run(main, stage=Stage(WALK_FORWARD, "cut_folds"))
