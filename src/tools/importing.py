"""Import bars from files of other tools into the campaign's layout."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bars.adjustment import Split, adjust_bars, read_splits
from bars.adjustment import format_time as format_split_time
from bars.findings import find_splits
from bars.reading import COLUMNS, SIMULATED_MARKER, bars_path
from core.errors import CampaignError, format_value, join_first, shorten
from tools import import_merging as merging
from tools.import_columns import MT5_CURE, PRICES, Columns, find_columns, is_eastmoney, is_metatrader, read_numbers
from tools.import_formats import Table, normalize, read_tables
from tools.import_merging import Rows, format_time
from tools.import_times import ZONE_EXAMPLES, Times, find_zone, read_times, to_utc

SUFFIXES = (
    ".csv",
    ".tsv",
    ".txt",
    ".json",
    ".jsonl",
    ".parquet",
    ".pq",
    ".feather",
    ".arrow",
    ".zip",
    ".gz",
    ".bz2",
    ".xz",
    ".zst",
)
INTERVAL = re.compile(r"(.+?)[-_ .](?:\d+(?:h|m|min|hour|minute)|h1|m\d+|hour(?:ly)?|min(?:ute)?)(?:[-_ .].*)?", re.IGNORECASE)
GENERAL_NAMES = {
    *("data", "bars", "ohlcv", "ohlc", "klines", "candles", "prices", "quotes", "ticks", "market", "history", "historical"),
    *("export", "exported", "download", "output", "result", "results", "input", "table", "frame", "df", "file", "test"),
    *("untitled", "hourly", "1h"),
}
LEAN_DIVISOR = 10_000  # QuantConnect's Lean stores 1/10,000 dollar
LEAN_ZONE = "America/New_York"
LEAN_TIME = r"\d{8} \d\d:\d\d"
EASTMONEY_ZONE = "Asia/Shanghai"


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the user says about the files; None and empty where it has to be found.

    symbol: of all files.
    timezone: of local times.
    unit: of times that are numbers: s, ms, us or ns.
    columns: name by role, or the roles in order, as `parse_columns` returns them.
    date_format: of times in text, as strptime takes it.
    times: "open" or "close": which end of the bar the times are.
    repeated_hour: "first" or "second", where clocks are set back.
    decimal: "." or ",", the other one separates thousands.
    divisor: of prices.
    encoding: of text.
    extra: further columns to import.
    no_volume: write a volume of zero.
    """

    symbol: str | None = None
    timezone: str | None = None
    unit: str | None = None
    columns: Mapping[str, str] | tuple[str, ...] = ()
    date_format: str | None = None
    times: str | None = None
    repeated_hour: str | None = None
    decimal: str | None = None
    divisor: float | None = None
    encoding: str = "utf-8"
    extra: tuple[str, ...] = ()
    no_volume: bool = False


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
    listed = read_splits(Path(splits)) if splits not in (None, "detect") else {}
    parts: dict[str, list[Rows]] = {}
    for path in files:
        for table in (table for table in read_tables(path, choices.encoding) if len(table.frame)):
            for symbol, rows in _read_parts(table, choices):
                parts.setdefault(symbol, []).append(rows)
    _check_symbols(parts)
    assets = {}
    for name, several in parts.items():
        symbol = _directory_name(name)
        with _naming(symbol):
            rows = _make_hourly(symbol, merging.combine(several, keep), resample=resample, drop_last=drop_last)
            assets[symbol] = _adjust(symbol, rows, listed.get(symbol, []) if splits != "detect" else None) if splits else rows
    with merging.locked_root(root):
        merged = {symbol: _merge(root, symbol, rows, choices.extra, keep, splits) for symbol, rows in assets.items()}
        merging.write_bars(root, {symbol: result.rows for symbol, result in merged.items() if result.is_new})
    for symbol, result in merged.items():
        print(f"{symbol}: {result.news}")
    print(f"look at them: python src/campaign.py bars {root}")


@dataclasses.dataclass(frozen=True)
class _Merged:
    """One asset's bars after the merge, whether they have to be written, and what is new, for the user."""

    rows: Rows
    is_new: bool
    news: str


class _naming:
    """Put a symbol or a file before the text of a CampaignError."""

    def __init__(self, name: object):
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, CampaignError) and not str(error).startswith((f"{self.name}:", f"{self.name} ")):
            raise CampaignError(f"{self.name}: {error}") from None


def _check_root(root: Path) -> None:
    if (root / SIMULATED_MARKER).exists() or root.resolve() == Path("data/simulated").resolve():
        raise CampaignError(
            f"{root} holds the simulated market, which DVC makes anew; choose another directory: --to data/historical"
        )
    if root.exists() and not root.is_dir():
        raise CampaignError(f"{root} is a file; choose a directory: --to data/historical")


# --- from a table to rows -----------------------------------------------------------------------------------------------


def _read_parts(table: Table, choices: Choices) -> Iterator[tuple[str, Rows]]:
    """Yield the symbols of a table with their rows, and print what was taken for what. Raises CampaignError."""
    source = f"{table.path}" + (f" ({table.member})" if table.member else "")
    with _naming(source):
        is_lean = _is_lean(table, choices)
        columns = find_columns(table, choices.columns, choices.extra, no_volume=choices.no_volume, decimal=choices.decimal)
        divisor = choices.divisor or (LEAN_DIVISOR if is_lean else 1)
        values = _read_values(table, columns, divisor, choices.decimal)
        times = read_times([table.frame.iloc[:, position] for position in columns.time], choices.unit, choices.date_format)
        names = [table.frame.columns[position] for position in columns.time]
        zone = _find_zone(table, names, times, is_lean, choices)
        closing = (choices.times or ("close" if is_eastmoney(table) else "open")) == "close"
        symbols, origin = _find_symbols(table, columns, is_lean, choices.symbol)
        lines = []
        for symbol, rows in pd.Series(symbols).groupby(symbols, sort=False).indices.items():
            found = _make_rows(times.values[rows], values[rows], zone, closing, choices, source, names[-1])
            lines.append((symbol, found, len(rows) - len(found)))
    print(_describe(source, table, columns, times, zone, divisor, closing, origin, lines))
    yield from ((symbol, found) for symbol, found, _ in lines if len(found))


def _read_values(table: Table, columns: Columns, divisor: float, decimal: str | None) -> np.ndarray:
    """Read prices, volume and further columns, float64 (N, C). Raises CampaignError."""

    def read(position: int) -> np.ndarray:
        return read_numbers(table.frame.iloc[:, position], decimal)

    prices = [read(getattr(columns, name)) / divisor for name in PRICES]
    volume = np.zeros(len(table.frame)) if columns.volume is None else read(columns.volume)
    return np.stack([*prices, volume, *(read(position) for position in columns.extra.values())], axis=1)


def _make_rows(
    times: np.ndarray, values: np.ndarray, zone: str | None, closing: bool, choices: Choices, source: str, time_name: str
) -> Rows:
    """Make one symbol's rows; those without any price are left out. Raises CampaignError."""
    filled = ~np.isnan(values[:, :4]).all(axis=1)
    times, values = times[filled], values[filled]
    if np.isnat(times).any():
        raise CampaignError(
            f"no time in {int(np.isnat(times).sum()):,} of {len(times):,} rows of {format_value(time_name)}; mend or remove them"
        )
    if zone is not None:
        times = to_utc(times, zone, choices.repeated_hour)
    if closing and len(times):
        step = merging.usual_step(times).astype("timedelta64[us]")
        times = (times + np.timedelta64(999_999, "us")).astype("datetime64[s]").astype("datetime64[us]") - step
    return Rows(times, values, (*COLUMNS, *choices.extra), np.full(len(times), source, object))


def _find_zone(table: Table, names: Sequence[str], times: Times, is_lean: bool, choices: Choices) -> str | None:
    """Find the zone of local times; None where times are in UTC. Raises CampaignError where nobody tells."""
    is_epoch = times.is_utc and "since 1970" in times.kind
    if is_epoch and is_metatrader(table):
        if choices.timezone is None:
            raise CampaignError(f"MetaTrader counts seconds in the zone of its server, which the file does not tell; {MT5_CURE}")
        return choices.timezone
    if times.is_utc:
        if choices.timezone not in (None, "UTC"):
            raise CampaignError(f"times are {times.kind}, and so not local ones; leave out --timezone {choices.timezone}")
        return None
    if choices.timezone is not None:
        return choices.timezone
    if is_lean:
        return LEAN_ZONE
    if is_eastmoney(table):
        return EASTMONEY_ZONE
    if any(re.search("utc|gmt", normalize(name)) for name in names):
        return "UTC"
    if bars_path(table.path.parents[2] if len(table.path.parents) > 2 else Path(), table.path.parent.parent.name) == table.path:
        return "UTC"
    cure = MT5_CURE if is_metatrader(table) else ZONE_EXAMPLES
    first = format_time(times.values[~np.isnat(times.values)][0]) if (~np.isnat(times.values)).any() else "none"
    raise CampaignError(f"times such as {first} do not tell their zone; name it: {cure}")


def _is_lean(table: Table, choices: Choices) -> bool:
    """Tell whether QuantConnect's Lean wrote a table of equities. Raises CampaignError where it may have."""
    if table.has_names or table.frame.shape[1] != len(COLUMNS) + 1 or choices.columns:
        return False
    if not table.frame.iloc[:, 0].astype("str").str.fullmatch(LEAN_TIME).all():
        return False
    if not all(table.frame.iloc[:, column].astype("str").str.fullmatch(r"\d+").all() for column in range(1, 5)):
        return False
    if not table.is_zipped and choices.divisor is None:
        raise CampaignError(
            "prices are whole numbers; where QuantConnect wrote them in 1/10,000 dollar: --price-divisor 10000, "
            "else --price-divisor 1"
        )
    return table.is_zipped


# --- symbols ------------------------------------------------------------------------------------------------------------


def _find_symbols(table: Table, columns: Columns, is_lean: bool, chosen: str | None) -> tuple[np.ndarray, str]:
    """Find the symbol of each row, object (N,), and say where it was found. Raises CampaignError."""
    rows = len(table.frame)
    if columns.symbol is not None:
        column = table.frame.iloc[:, columns.symbol]
        symbols = column.astype("object").map(lambda cell: "" if pd.isna(cell) else str(cell).strip()).to_numpy(object)
        if (symbols == "").any():
            count = f"{int((symbols == '').sum()):,} of {rows:,}"
            raise CampaignError(f"no symbol in {count} rows of {format_value(str(column.name))}; mend or remove them")
        several = pd.unique(symbols)
        if chosen is None:
            return symbols, f"by {format_value(str(column.name))}"
        if len(several) > 1:
            raise CampaignError(f"holds {len(several)} symbols ({join_first(several)}); leave out --symbol")
    if chosen is not None:
        return np.full(rows, chosen, object), "by --symbol"
    if table.symbol is not None:
        return np.full(rows, table.symbol, object), "as the file says"
    return np.full(rows, _symbol_of_file(table, is_lean), object), "by the file's name"


def _symbol_of_file(table: Table, is_lean: bool) -> str:
    """Take the symbol from the name of a file. Raises CampaignError where the name is a general one."""
    name = Path(table.member).name or table.path.name
    while name.lower().endswith(SUFFIXES):
        name = name[: name.rindex(".")]
    if table.path.parent.name == "1Hour" and name == "data":
        return table.path.parent.parent.name
    if match := INTERVAL.fullmatch(name):
        name = match.group(1)
    if name.lower() in GENERAL_NAMES or not name:
        raise CampaignError("neither the file nor its name tells the symbol: --symbol SYMBOL")
    return name.upper() if is_lean else name


def _directory_name(symbol: str) -> str:
    """Make the name of a symbol's directory: BTC/USDT is BTC_USDT. Raises CampaignError."""
    name = re.sub(r"[/:\\]", "_", symbol.strip())
    if not name or name.startswith(".") or not name.isprintable() or len(name.encode()) > 255:
        raise CampaignError(f"the symbol {format_value(symbol)} cannot be the name of a directory; name another: --symbol SYMBOL")
    return name


def _check_symbols(parts: Mapping[str, Sequence[Rows]]) -> None:
    """Raise CampaignError where there are no bars, or where two symbols get the same directory."""
    if not parts:
        raise CampaignError("the files hold no bars; name others")
    by_name: dict[str, list[str]] = {}
    for symbol in parts:
        by_name.setdefault(_directory_name(symbol), []).append(symbol)
    for several in by_name.values():
        if len(several) > 1:
            raise CampaignError(f"{join_first(several)} would be one directory; import their files one by one, with --symbol")


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
        minutes = merging.usual_step(rows.timestamps) / np.timedelta64(1, "m")
        if not resample:
            raise CampaignError(f"bars of {minutes:g} minutes; make bars of an hour of them: --resample")
        last, step = rows.timestamps[-1], merging.usual_step(rows.timestamps)
        rows = merging.resample(rows)
        if last + step < rows.timestamps[-1] + merging.HOUR and not drop_last:
            end = format_time(last + step)
            print(f"{symbol}: the last hour has bars up to {end} UTC only; where trading went on, --drop-last leaves it out")
    return rows[:-1] if drop_last else rows


def _check_numbers(rows: Rows) -> None:
    """Raise CampaignError for empty cells and prices of zero, which resampling would hide."""
    for number, name in enumerate(rows.names):
        column = rows.values[:, number]
        bad = np.isnan(column) | (column <= 0) if name in PRICES else np.isnan(column)
        if bad.any():
            where = f"{rows.sources[int(bad.argmax())]}, first at {format_time(rows.timestamps[int(bad.argmax())])} UTC"
            what = "empty, zero or negative" if name in PRICES else "empty"
            raise CampaignError(f"{name} is {what} in {int(bad.sum()):,} of {len(rows):,} rows ({where}); mend or remove them")


def _adjust(symbol: str, rows: Rows, splits: Sequence[Split] | None) -> Rows:
    """Adjust prices for splits, and say so; None: for those that are found in the prices. Raises CampaignError."""
    bars = rows.to_bars()
    if splits is None:
        splits = find_splits(bars)
    elif not splits:
        print(f"{symbol}: the file of splits has none of it")
    if splits:
        print(f"{symbol}: prices before these splits are adjusted: {_list_splits(splits)}")
    adjusted = Rows.of_bars(adjust_bars(bars, splits), "")
    return dataclasses.replace(adjusted, sources=rows.sources)


def _merge(root: Path, symbol: str, rows: Rows, extra: Sequence[str], keep: str | None, splits: str | None) -> _Merged:
    """Merge rows with the bars that are there, and check all. Raises CampaignError."""
    present = merging.read_present(root, symbol, extra)
    with _naming(symbol):
        merged = merging.combine([present, rows] if present is not None else [rows], keep)
        merging.check_usable(merged)
        if left := find_splits(merged.to_bars()):
            _tell_splits(symbol, left, splits)
    is_new = not merging.equal_rows(present, merged)
    first, last = (format_time(merged.timestamps[row]) for row in (0, -1))
    added = len(merged) - (0 if present is None else len(present))
    news = f"{added:,} new" if added else "some changed" if is_new else "nothing new"
    return _Merged(merged, is_new, f"{news}; {len(merged):,} bars from {first} to {last} UTC")


def _list_splits(splits: Sequence[Split]) -> str:
    return join_first((f"{format_split_time(split)} {split.ratio:.4g}:1" for split in splits), max_entries=20)


def _tell_splits(symbol: str, splits: Sequence[Split], option: str | None) -> None:
    """Warn of splits that are left in the prices, or raise CampaignError where all were to be found and adjusted."""
    anew = "import all files of the symbol in one command, into an empty directory: --to"
    if option == "detect":
        raise CampaignError(f"what looks like splits is left in the prices that are there ({_list_splits(splits)}); {anew}")
    cure = f"add them to {option}, or {anew}" if option else "--splits detect or a file of splits adjusts prices"
    print(f"warning: {symbol}: prices jump as by splits: {_list_splits(splits)}; {cure}")


# --- what was taken for what --------------------------------------------------------------------------------------------


def _describe(
    source: str,
    table: Table,
    columns: Columns,
    times: Times,
    zone: str | None,
    divisor: float,
    closing: bool,
    origin: str,
    found: Sequence[tuple[str, Rows, int]],
) -> str:
    """Say in a line what a table was taken for."""
    names = list(table.frame.columns)

    def quote(position: int) -> str:
        return f"'{names[position]}'" if table.has_names else f"column {names[position]}"

    local = f", local times of {zone}" if zone else ""
    time = f"time {' and '.join(map(quote, columns.time))} ({times.kind}{local}{', the end of the bar' if closing else ''})"
    roles = {role: getattr(columns, role) for role in (*PRICES, "volume")}
    plain = [role for role, position in roles.items() if position is not None and names[position].lower() != role]
    others = [f"{role} {quote(roles[role])}" for role in plain]
    used = {*columns.time, *roles.values(), columns.symbol, *columns.extra.values()}
    unused = [names[position] for position in range(len(names)) if position not in used and names[position]]
    symbols = [symbol for symbol, _, _ in found]
    dropped = sum(count for _, _, count in found)
    facts = [f"{table.kind}, {len(table.frame):,} rows", time, *(others if table.has_names else [])]
    facts += [f"prices divided by {divisor:g}"] if divisor != 1 else []
    facts += ["volume 0"] if columns.volume is None else []
    facts += [f"{'symbol' if len(symbols) == 1 else f'{len(symbols)} symbols'} {join_first(symbols)} {origin}"]
    facts += [f"{dropped:,} rows without prices left out"] if dropped else []
    facts += [f"not taken: {join_first(unused, max_entries=20)}"] if unused and table.has_names else []
    return shorten(f"{source}: {'; '.join(facts)}", 1000)
