"""Import bars from files of other tools into the campaign's layout."""

import dataclasses
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bars.adjustment import Split, adjust_bars, format_ratio, format_split_time, read_splits
from bars.findings import find_splits
from bars.reading import COLUMNS, SIMULATED_MARKER, bars_path
from core.errors import CampaignError, format_value, join_first
from tools import import_merging as merging
from tools.import_columns import PRICES
from tools.import_formats import read_tables
from tools.import_merging import Rows, format_time
from tools.import_rows import Choices, naming, read_rows
from tools.import_times import find_zone


def main(
    files: Sequence[Path],
    choices: Choices,
    *,
    root: Path,
    resample: bool = False,
    splits: str | None = None,
    keep: str | None = None,
    drop_last: bool = False,
) -> None:
    """Import `files` into `root`, and print what was taken for what.

    Args:
        files: at least one.
        choices: what the user says about them.
        root: directory of the symbols.
        resample: make hourly bars of finer ones.
        splits: file of splits, or "detect"; None: prices stay as they are.
        keep: "old" or "new", of rows that contradict each other; None refuses them.
        drop_last: leave out each symbol's last bar of the files.

    Raises:
        CampaignError: nothing was written. A file cannot be read, may mean several things or contradicts what is there.
    """
    _check_root(root)
    if choices.timezone is not None:
        find_zone(choices.timezone)
    if choices.divisor is not None and not 0 < choices.divisor < np.inf:
        raise CampaignError(f"--price-divisor is {choices.divisor:g}; give a number above zero, such as 100")
    listed = read_splits(Path(splits)) if splits not in (None, "detect") else None
    assets = {}
    for symbol, parts in _read_files(files, choices).items():
        with naming(symbol):
            rows = _make_hourly(symbol, merging.combine(parts, keep), resample=resample, drop_last=drop_last)
            assets[symbol] = _adjust(symbol, rows, listed) if splits else rows
    resolved = {path.resolve() for path in files}
    with merging.locked_root(root):
        merged = {}
        for symbol, rows in assets.items():
            present = merging.read_present(root, symbol, choices.extra)
            is_source = bars_path(root, symbol).resolve() in resolved  # such as to adjust bars where they are
            merged[symbol] = _merge(symbol, present, rows, keep, splits, replaces=is_source)
        merging.write_bars(root, {symbol: result.rows for symbol, result in merged.items() if result.is_new})
    for symbol, result in merged.items():
        print(f"{symbol}: {result.news}")
    print(f"look at them: python src/campaign.py bars {shlex.quote(str(root))}")


@dataclasses.dataclass(frozen=True)
class _Merged:
    """One asset's bars after the merge, whether they have to be written, and what is new, for the user."""

    rows: Rows
    is_new: bool
    news: str


def _read_files(files: Sequence[Path], choices: Choices) -> dict[str, list[Rows]]:
    """Read the rows of each symbol, by the name of its directory. Raises CampaignError."""
    parts: dict[str, list[Rows]] = {}
    for path in files:
        tables = [table for table in read_tables(path, choices.encoding) if len(table.frame)]
        symbols = {table.symbol for table in tables}
        if choices.symbol is not None and len(symbols) > 1:
            raise CampaignError(
                f"{path}: holds {len(symbols)} symbols ({join_first(sorted(map(str, symbols)))}); leave out --symbol"
            )
        for table in tables:
            for symbol, rows in read_rows(table, choices).items():
                parts.setdefault(symbol, []).append(rows)
    if not parts:
        raise CampaignError("the files hold no bars; name others")
    names: dict[str, str] = {}
    for symbol in parts:
        name = _directory_name(symbol)
        if name in names:
            raise CampaignError(
                f"{names[name]} and {symbol} would be one directory; import their files one by one, with --symbol"
            )
        names[name] = symbol
    return {name: parts[symbol] for name, symbol in names.items()}


def _check_root(root: Path) -> None:
    if (root / SIMULATED_MARKER).exists() or root.resolve() == Path("data/simulated").resolve():
        raise CampaignError(
            f"{root} holds the simulated market, which DVC makes anew; choose another directory: --to data/historical"
        )
    if root.exists() and not root.is_dir():
        raise CampaignError(f"{root} is a file; choose a directory: --to data/historical")


def _directory_name(symbol: str) -> str:
    """Make the name of a symbol's directory: BTC/USDT is BTC_USDT. Raises CampaignError."""
    name = re.sub(r"[/:\\]", "_", symbol.strip())
    if not name or name.startswith(".") or not name.isprintable() or len(name.encode()) > 255:
        raise CampaignError(f"the symbol {format_value(symbol)} cannot be the name of a directory; name another: --symbol SYMBOL")
    return name


# --- from rows to bars --------------------------------------------------------------------------------------------------


def _make_hourly(symbol: str, rows: Rows, *, resample: bool, drop_last: bool) -> Rows:
    """Resample rows where they are finer than an hour. Raises CampaignError where they must not be, or cannot."""
    _check_numbers(rows)
    if merging.ends_unfinished(rows.timestamps) and not drop_last:
        last = format_time(rows.timestamps[-1])
        raise CampaignError(
            f"the last bar, {last} UTC, is less than an hour after the one before, and so unfinished: --drop-last"
        )
    if merging.ends_unfinished(rows.timestamps):
        return rows[:-1]
    if merging.is_finer_than_hourly(rows.timestamps):
        last, step = rows.timestamps[-1], merging.usual_step(rows.timestamps)
        if step >= merging.HOUR:
            early = rows.timestamps[1:][np.diff(rows.timestamps) < merging.HOUR][0]
            raise CampaignError(
                f"most bars last an hour, but that of {format_time(early)} UTC opens before the one before has ended; leave out "
                "such rows, or import finer bars with --resample"
            )
        if not resample:
            raise CampaignError(f"bars of {merging.format_step(step)}; make bars of an hour of them: --resample")
        rows = merging.resample(rows)
        if last + step < rows.timestamps[-1] + merging.HOUR and not drop_last:
            end = format_time(last + step)
            print(f"{symbol}: the last hour has bars up to {end} UTC only; where trading went on, --drop-last leaves it out")
    return rows[:-1] if drop_last else rows


def _check_numbers(rows: Rows) -> None:
    """Raise CampaignError for empty cells and prices of zero, which resampling would hide."""
    for number, name in enumerate(COLUMNS):  # further columns may be empty at first
        column = rows.values[:, number]
        bad = np.isnan(column) | (column <= 0) if name in PRICES else np.isnan(column)
        if bad.any():
            where = f"{rows.sources[int(bad.argmax())]}, first at {format_time(rows.timestamps[int(bad.argmax())])} UTC"
            what = "empty, zero or negative" if name in PRICES else "empty"
            raise CampaignError(f"{name} is {what} in {int(bad.sum()):,} of {len(rows):,} rows ({where}); mend or remove them")


def _adjust(symbol: str, rows: Rows, listed: Mapping[str, Sequence[Split]] | None) -> Rows:
    """Adjust prices for splits, and say so; None: for those that are found in the prices. Raises CampaignError."""
    bars = rows.to_bars()
    splits = find_splits(bars) if listed is None else listed.get(symbol, [])
    if splits:
        print(f"{symbol}: prices before these splits are adjusted: {_list_splits(splits)}")
    elif listed is not None:
        print(f"{symbol}: the file of splits has no split of it")
    return dataclasses.replace(Rows.of_bars(adjust_bars(bars, splits), ""), sources=rows.sources)


def _merge(symbol: str, present: Rows | None, rows: Rows, keep: str | None, splits: str | None, *, replaces: bool) -> _Merged:
    """Merge rows with the bars that are there, or replace them, and check all. Raises CampaignError."""
    with naming(symbol):
        is_alone = present is None or replaces
        merged = merging.combine([rows] if is_alone else [present, rows], keep)
        merging.check_usable(merged)
        if remaining := find_splits(merged.to_bars()):
            _tell_splits(symbol, remaining, splits, is_alone=is_alone)
    is_new = not merging.equal_rows(present, merged)
    first, last = (format_time(merged.timestamps[row]) for row in (0, -1))
    added = len(merged) - (0 if present is None else len(present))
    news = f"{added:,} new" if added > 0 else "some changed" if is_new else "nothing new"
    return _Merged(merged, is_new, f"{news}; {len(merged):,} bars from {first} to {last} UTC")


def _list_splits(splits: Sequence[Split]) -> str:
    return join_first((f"{format_split_time(split)} {format_ratio(split.ratio)}" for split in splits), max_entries=20)


def _tell_splits(symbol: str, splits: Sequence[Split], option: str | None, *, is_alone: bool) -> None:
    """Warn of splits that are left in the prices, or raise CampaignError where they lie in bars that were there before."""
    anew = "import all files of the symbol in one command, into an empty directory: --to"
    if option == "detect" and not is_alone:
        raise CampaignError(f"what looks like splits is left in the prices that are there ({_list_splits(splits)}); {anew}")
    cure = f"add them to the file of splits, or {anew}" if option else "--splits detect or a file of splits adjusts prices"
    print(f"warning: {symbol}: prices jump as by splits: {_list_splits(splits)}; {cure}")
