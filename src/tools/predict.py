"""Score new bars with a trained model, and say of each what the model calls."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bars.reading import SIMULATED_MARKER, find_symbols
from core.errors import CampaignError, join_first, print_stderr
from core.params import read_params
from serve.calendar import bars_missed
from serve.drift import describe_drift
from serve.model import Model
from serve.predicting import choose_rows, predict
from serve.scoring import SETTLED, AssetBars, read_assets
from serve.signals import Row, Signal, append, check_ending, last_bars, locked, read_table, to_text, write_table

NOTHING_NEW = 3  # exit code
MAX_MISSED = 2  # bars that may be late


def main(
    root: Path | None,
    *,
    model: str,
    symbols: str | None,
    since: str | None,
    to: str,
    append_to: Path | None,
) -> None:
    """Score the newest bar of each symbol, or all from a time on, and write a row for each.

    Args:
        root: directory of bars; None takes data.bars. model: as `serve.model.Model.read` takes it. symbols: separated by commas.
        since: first bar, as 2024-06-01 or 2024-06-01T15:00, UTC.
        to: a file, or "-" for standard output. append_to: a file that gets what it lacks, from its newest bars on.

    Raises:
        CampaignError: model, bars or a file cannot be used.
        SystemExit: with `NOTHING_NEW` where there is no bar to score.
    """
    if append_to is not None and to != "-":
        raise CampaignError("--to and --append cannot be given together; --append writes to its own file")
    for path in (Path(to) if to != "-" else None, append_to):
        if path is not None:
            check_ending(path)
    first = parse_time(since) if since else None
    scoring = Model.read(model)
    chosen_by_settings = read_params()["data"]["symbols"] if root is None else None
    root = Path(read_params()["data"]["bars"]) if root is None else root
    now = None if (root / SIMULATED_MARKER).is_file() else np.datetime64("now", "s")
    named = list(dict.fromkeys(map(str.strip, symbols.split(",")))) if symbols else chosen_by_settings
    assets = read_assets(root, named or find_symbols(root), scoring.recipe, now)
    say_warnings(scoring, assets, now)
    if append_to is None:
        wanted = {asset.symbol: choose_rows(asset, first) for asset in assets}
        say_warnings_of_rows(scoring, assets, wanted)
        signals = predict(scoring, assets, wanted)
        write(signals, to)
        count = len(signals)
    else:
        with locked(append_to):
            last = last_bars(read_table(append_to), scoring.fingerprint) if append_to.exists() else {}
            after = {symbol: time + np.timedelta64(1, "s") for symbol, time in last.items()}
            wanted = {asset.symbol: choose_rows(asset, first or after.get(asset.symbol)) for asset in assets}
            say_warnings_of_rows(scoring, assets, wanted)
            count = append(append_to, rows_of(predict(scoring, assets, wanted)))
        print_stderr(f"predict: {count} new rows in {append_to}")
    if not count:
        sys.exit(NOTHING_NEW)


def parse_time(text: str) -> np.datetime64:
    """Read a time, in UTC where it names no zone. Raises CampaignError."""
    try:
        time = datetime.fromisoformat(text)
        return np.datetime64(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time, "s")
    except (ValueError, OverflowError):
        raise CampaignError(f"--since is {text!r}; write a time in UTC, as 2024-06-01 or 2024-06-01T15:00") from None


def rows_of(signals: Sequence[Signal]) -> list[Row]:
    return [dataclasses.asdict(signal) for signal in signals]


def write(signals: Sequence[Signal], to: str) -> None:
    """Write signals to a file, or as CSV to standard output."""
    if to == "-":
        sys.stdout.write(to_text(rows_of(signals), ".csv"))
    else:
        write_table(Path(to), rows_of(signals))


def say_warnings(model: Model, assets: Sequence[AssetBars], now: np.datetime64 | None) -> None:
    """Tell on standard error what speaks against acting on the scores; `now` as `serve.scoring.prepare_assets` takes it."""
    if not model.worth_a_trade:
        print_stderr(f"predict: warning: the report does not call {model.label} worth a trade (reports/comparison.md)")
    if model.recipe.simulated:
        print_stderr("predict: warning: the model was trained on the simulated market")
    late = [asset.symbol for asset in assets if now is not None and bars_missed(asset.bars.timestamps, now) > MAX_MISSED]
    if late:
        print_stderr(f"predict: warning: {join_first(late)}: more than {MAX_MISSED} bars are late; bring newer ones")
    skipped = [asset.symbol for asset in assets if not asset.has_window[-1] or asset.rows[-1] != len(asset.bars) - 1]
    if skipped:
        print_stderr(f"predict: warning: {join_first(skipped)}: the newest bar has no window yet, after a break; not scored")
    for warning in describe_drift(assets, model.recipe):
        print_stderr(f"predict: warning: {warning}")


def say_warnings_of_rows(model: Model, assets: Sequence[AssetBars], wanted: Mapping[str, np.ndarray]) -> None:
    """Tell on standard error what speaks against the scores of chosen rows."""
    fresh = [asset.symbol for asset in assets if (wanted[asset.symbol] & ~asset.is_settled).any()]
    if fresh:
        print_stderr(
            f"predict: warning: {join_first(fresh)}: bars with fewer than {SETTLED} before them; averages still remember where "
            "the file begins, so that scores differ from those with longer histories"
        )
    test = np.datetime64(model.recipe.test_from.removesuffix("Z"), "s")
    seen = sum(int((wanted[asset.symbol] & (asset.bars.timestamps[asset.rows] < test)).sum()) for asset in assets)
    if seen:
        known = f"{seen:,} of the bars lie in train and validation, before {test}"
        print_stderr(f"predict: warning: {known}: the model has seen what came of them")
