"""Make rows of tables: find zone, scale and symbols, and say what was taken for what."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bars.reading import COLUMNS
from core.errors import CampaignError, format_value, join_first, shorten
from tools.import_columns import (
    MT5_CURE,
    PRICES,
    Columns,
    find_columns,
    has_closing_times,
    is_eastmoney,
    is_metatrader,
    read_numbers,
)
from tools.import_formats import Table, normalize
from tools.import_merging import Rows, format_time, usual_step
from tools.import_times import ZONE_EXAMPLES, Times, read_times, to_utc

SUFFIXES = re.compile(r"(\.(csv|tsv|txt|jsonl?|parquet|pq|feather|arrow|zip|gz|bz2|xz|zst))+$", re.IGNORECASE)
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
MAX_LINE = 1000  # characters of what a table was taken for


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


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a table was taken for.

    columns: where time, prices, volume and symbol are.
    times: of all rows, as they were read.
    zone: of local times; None where times are in UTC.
    is_closing: whether times are those at which bars close.
    divisor: of prices.
    symbols: of each row, object (N,).
    symbol_origin: where the symbols were found, for the user.
    """

    columns: Columns
    times: Times
    zone: str | None
    is_closing: bool
    divisor: float
    symbols: np.ndarray
    symbol_origin: str


@contextlib.contextmanager
def naming(name: object) -> Iterator[None]:
    """Put a symbol or a file before the text of a CampaignError."""
    try:
        yield
    except CampaignError as error:
        if str(error).startswith((f"{name}:", f"{name} ")):
            raise
        raise CampaignError(f"{name}: {error}") from None


def read_rows(table: Table, choices: Choices) -> dict[str, Rows]:
    """Make rows of each symbol of a table, and print what the table was taken for.

    Raises:
        CampaignError: the table may mean several things, or rows of it cannot be read.
    """
    source = f"{table.path} ({table.member})" if table.member else f"{table.path}"
    with naming(source):
        meaning = _find_meaning(table, choices)
        values = _read_values(table, meaning, choices.decimal)
        parts = {
            symbol: _make_rows(meaning, values, rows, choices, source)
            for symbol, rows in pd.Series(meaning.symbols).groupby(meaning.symbols, sort=False).indices.items()
        }
    print(_describe(source, table, meaning, parts))
    return {symbol: rows for symbol, rows in parts.items() if len(rows)}


def _find_meaning(table: Table, choices: Choices) -> Meaning:
    """Find what a table is to be taken for. Raises CampaignError."""
    is_lean = _is_lean(table, choices)
    columns = find_columns(table, choices.columns, choices.extra, no_volume=choices.no_volume, decimal=choices.decimal)
    times = read_times([table.frame.iloc[:, position] for position in columns.time], choices.unit, choices.date_format)
    symbols, origin = _find_symbols(table, columns, is_lean, choices.symbol)
    return Meaning(
        columns,
        times,
        zone=_find_zone(table, columns, times, is_lean, choices),
        is_closing=choices.times == "close" or (choices.times is None and has_closing_times(table, columns)),
        divisor=choices.divisor or (LEAN_DIVISOR if is_lean else 1),
        symbols=symbols,
        symbol_origin=origin,
    )


def _read_values(table: Table, meaning: Meaning, decimal: str | None) -> np.ndarray:
    """Read prices, volume and further columns, float64 (N, C). Raises CampaignError."""

    def read(position: int) -> np.ndarray:
        return read_numbers(table.frame.iloc[:, position], decimal)

    columns = meaning.columns
    prices = [read(getattr(columns, name)) / meaning.divisor for name in PRICES]
    volume = np.zeros(len(table.frame)) if columns.volume is None else read(columns.volume)
    return np.stack([*prices, volume, *(read(position) for position in columns.extra.values())], axis=1)


def _make_rows(meaning: Meaning, values: np.ndarray, rows: np.ndarray, choices: Choices, source: str) -> Rows:
    """Make one symbol's rows; those without any price are left out. Raises CampaignError."""
    rows = rows[~np.isnan(values[rows, : len(PRICES)]).all(axis=1)]
    times = meaning.times.values[rows]
    if np.isnat(times).any():
        raise CampaignError(f"no time in {int(np.isnat(times).sum()):,} of {len(times):,} rows; mend or remove them")
    if meaning.zone is not None:
        times = to_utc(times, meaning.zone, choices.repeated_hour)
    if meaning.is_closing:
        times = _ceil_to_second(times) - usual_step(times)
    return Rows(times, values[rows], (*COLUMNS, *choices.extra), np.full(len(times), source, object))


def _ceil_to_second(times: np.ndarray) -> np.ndarray:
    """Round up, since Binance says that a bar closes a millisecond before the next one."""
    return (times + np.timedelta64(999_999, "us")).astype("datetime64[s]").astype("datetime64[us]")


def _find_zone(table: Table, columns: Columns, times: Times, is_lean: bool, choices: Choices) -> str | None:
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
    names = [normalize(table.frame.columns[position]) for position in columns.time]
    if any(re.search("utc|gmt", name) for name in names) or _is_in_layout(table.path):
        return "UTC"
    cure = MT5_CURE if is_metatrader(table) else ZONE_EXAMPLES
    known = times.values[~np.isnat(times.values)]
    raise CampaignError(f"times such as {format_time(known[0])} do not tell their zone; name it: {cure}")


def _is_in_layout(path: Path) -> bool:
    """Tell whether a file lies as the campaign's bars do, whose times without a zone are in UTC."""
    return path.parent.name == "1Hour" and path.name == "data.parquet"


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
        if chosen is None:
            return symbols, f"by {format_value(str(column.name))}"
        if len(names := pd.unique(symbols)) > 1:
            raise CampaignError(f"holds {len(names)} symbols ({join_first(names)}); leave out --symbol")
    if chosen is not None:
        return np.full(rows, chosen, object), "by --symbol"
    if table.symbol is not None:
        return np.full(rows, table.symbol, object), "as the file says"
    return np.full(rows, _symbol_of_file(table, is_lean), object), "by the file's name"


def _symbol_of_file(table: Table, is_lean: bool) -> str:
    """Take the symbol from the name of a file. Raises CampaignError where the name is a general one."""
    name = SUFFIXES.sub("", Path(table.member).name or table.path.name)
    if _is_in_layout(table.path):
        return table.path.absolute().parent.parent.name
    if match := INTERVAL.fullmatch(name):
        name = match.group(1)
    if name.lower() in GENERAL_NAMES or not name:
        raise CampaignError("neither the file nor its name tells the symbol: --symbol SYMBOL")
    return name.upper() if is_lean else name


# --- what was taken for what --------------------------------------------------------------------------------------------


def _describe(source: str, table: Table, meaning: Meaning, parts: Mapping[str, Rows]) -> str:
    """Say in a line what a table was taken for."""
    columns, names = meaning.columns, list(table.frame.columns)
    roles = {role: getattr(columns, role) for role in (*PRICES, "volume")}
    facts = [f"{table.kind}, {len(table.frame):,} rows", f"time {_describe_time(table, meaning)}"]
    if table.has_names:
        facts += [f"{role} '{names[at]}'" for role, at in roles.items() if at is not None and names[at].lower() != role]
    if meaning.divisor != 1:
        facts.append(f"prices divided by {meaning.divisor:g}")
    if columns.volume is None:
        facts.append("volume 0")
    facts.append(f"{'symbol' if len(parts) == 1 else f'{len(parts)} symbols'} {join_first(parts)} {meaning.symbol_origin}")
    if dropped := len(table.frame) - sum(map(len, parts.values())):
        facts.append(f"{dropped:,} rows without prices left out")
    used = {*columns.time, *roles.values(), columns.symbol, *columns.extra.values()}
    unused = [name for position, name in enumerate(names) if name and position not in used]
    if unused and table.has_names:
        facts.append(f"not taken: {join_first(unused, max_entries=20)}")
    return shorten(f"{source}: {'; '.join(facts)}", MAX_LINE)


def _describe_time(table: Table, meaning: Meaning) -> str:
    names = [table.frame.columns[position] for position in meaning.columns.time]
    where = " and ".join(f"'{name}'" if table.has_names else f"column {name}" for name in names)
    local = f", local times of {meaning.zone}" if meaning.zone else ""
    return f"{where} ({meaning.times.kind}{local}{', the end of the bar' if meaning.is_closing else ''})"
