"""Find which columns of a table hold time, prices, volume and symbol, and convert numbers."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import CampaignError, format_value, join_first
from tools.import_formats import Table, describe_names, normalize

PRICES = ("open", "high", "low", "close")
ROLES = ("date", "time", *PRICES, "volume", "symbol")
SYNONYMS = {  # names in small letters without blanks and signs
    "time": (
        "timestamp time datetime date opentime t ts windowstart start starttime beginsat unix unixtime unixtimestamp epoch "
        "gmttime utctime timeutc timestamputc datetimeutc dateutc localtime tradetime bartime timeperiodstart tsevent day "
        "时间 日期"
    ),
    "open": "open o openprice priceopen 开盘 开盘价",
    "high": "high h highprice pricehigh 最高 最高价",
    "low": "low l lowprice pricelow 最低 最低价",
    "close": "close c last closeprice priceclose 收盘 收盘价",
    "volume": "volume v vol basevolume volumebase realvolume 成交量",
    "ticks": "tickvol tickvolume",
    "symbol": "symbol ticker code tic instrument pair asset secid tscode stockcode 股票代码 代码",
}
ROLE_OF = {name: role for role, names in SYNONYMS.items() for name in names.split()}
CLOSING_TIMES = ("closetime", "endtime", "windowend", "timeperiodend", "periodend")
UNNAMED = ("", "index", "unnamed0", "level0", "indexleveldefault", "indexlevel0")
BINANCE_KLINES = 12  # columns: open time, prices, volume, close time, quote volume, trades, taker volumes, nothing
ORDERS = {  # of prices in rows without names
    "as Coinbase writes them": ("low", "high", "open", "close"),
    "as KuCoin and Bitfinex write them": ("open", "close", "high", "low"),
}
MAX_MISFITS = 0.01  # share of rows with a price outside Low..High; more are columns in another order
NO_NUMBER = ("", "nan", "null", "none", "na", "n/a", "<na>", "nat")
MT5_CURE = "--timezone names the zone of the broker's server, such as EET"


@dataclasses.dataclass(frozen=True)
class Columns:
    """Positions of a table's columns.

    time: one, or two of a date and a time of day.
    volume: None where there is none.
    symbol: None where no column holds it.
    extra: further columns by name, as the user names them.
    """

    time: tuple[int, ...]
    open: int
    high: int
    low: int
    close: int
    volume: int | None
    symbol: int | None
    extra: Mapping[str, int]


def parse_columns(text: str) -> dict[str, str] | tuple[str, ...]:
    """Parse ``--columns``: "volume=Vol,time=Date" is a mapping, "time,open,high,low,close,volume" an order ("-" for others).

    Raises:
        CampaignError: a role is unknown or comes twice.
    """
    entries = [entry.strip() for entry in text.split(",")]
    is_mapping = any("=" in entry for entry in entries)
    roles = [entry.partition("=")[0].strip().lower() if is_mapping else entry.lower() for entry in entries]
    unknown = [role for role in roles if role not in ROLES and (is_mapping or role != "-")]
    twice = [role for role in ROLES if roles.count(role) > 1]
    if unknown or twice or (is_mapping and not all("=" in entry for entry in entries)):
        unknown = join_first(map(format_value, unknown))
        fault = f"{unknown} is none" if unknown else f"{join_first(twice)} comes twice" if twice else "an = is missing"
        raise CampaignError(
            f"--columns takes {', '.join(ROLES)}, where {fault}; as time,open,high,low,close,volume (- for others), "
            "or as time=Date,volume=Vol"
        )
    if is_mapping:
        return {role: entry.partition("=")[2].strip() for role, entry in zip(roles, entries, strict=True)}
    return tuple(roles)


def find_columns(
    table: Table,
    chosen: Mapping[str, str] | Sequence[str] = (),
    extra: Sequence[str] = (),
    *,
    no_volume: bool = False,
    decimal: str | None = None,
) -> Columns:
    """Find the columns by the user's choice, by their names, or by their order where they have none.

    Raises:
        CampaignError: a column is missing, or several may be meant; names the option that settles it.
    """
    by_role = _choose(table, chosen)
    if isinstance(chosen, Mapping) or not chosen:
        found = _find_by_name(table, set(by_role)) if table.has_names else _find_by_order(table, decimal) if not by_role else {}
        by_role = found | by_role
    if no_volume:
        by_role.pop("volume", None)
    times = [by_role[role] for role in ("date", "time") if role in by_role]
    missing = [role for role in PRICES if role not in by_role] + ([] if times else ["time"])
    if missing:
        raise CampaignError(
            f"no column for {join_first(missing)} (found: {describe_names(table)}); name each: --columns {missing[0]}=NAME,…"
        )
    if "volume" not in by_role and not no_volume:
        raise CampaignError(
            f"no column for volume (found: {describe_names(table)}); name it: --columns volume=NAME, or write zeros: --no-volume"
        )
    if hidden := [name for name in extra if _position(table, name, "--extra") in by_role.values()]:
        raise CampaignError(f"--extra names {join_first(hidden)}, which is imported anyway; leave it out")
    if not table.has_names:
        _check_order(table, by_role, decimal)
    return Columns(
        tuple(times),
        *(by_role[role] for role in PRICES),
        volume=by_role.get("volume"),
        symbol=by_role.get("symbol"),
        extra={name: _position(table, name, "--extra") for name in extra},
    )


def _choose(table: Table, chosen: Mapping[str, str] | Sequence[str]) -> dict[str, int]:
    """Find the columns that the user names, by role. Raises CampaignError."""
    if isinstance(chosen, Mapping):
        return {role: _position(table, name, "--columns") for role, name in chosen.items()}
    if chosen and len(chosen) != table.frame.shape[1]:
        raise CampaignError(
            f"--columns names {len(chosen)} columns, the file has {table.frame.shape[1]} ({describe_names(table)}); "
            "name all in their order, with - for others"
        )
    return {role: position for position, role in enumerate(chosen) if role != "-"}


def _position(table: Table, name: str, option: str) -> int:
    positions = [position for position, column in enumerate(table.frame.columns) if column == name]
    if len(positions) != 1:
        found = f"{len(positions)} columns" if positions else "no column"
        raise CampaignError(f"{option}: {found} {format_value(name)} (found: {describe_names(table)}); name one of them")
    return positions[0]


def _find_by_name(table: Table, settled: set[str]) -> dict[str, int]:
    """Find the columns by their names, but for roles that are settled. Raises CampaignError where several may be meant."""
    by_role: dict[str, list[int]] = {}
    for position, name in enumerate(table.frame.columns):
        by_role.setdefault(ROLE_OF.get(normalize(name), ""), []).append(position)
    unnamed = [position for position, name in enumerate(table.frame.columns) if normalize(name) in UNNAMED]
    if "time" not in by_role:
        closing = [position for position, name in enumerate(table.frame.columns) if normalize(name) in CLOSING_TIMES]
        by_role |= {"time": closing} if closing else {"time": unnamed} if len(unnamed) == 1 else {}
    found: dict[str, int] = {}
    for role in (*PRICES, "symbol"):
        if role not in settled and role in by_role:
            found[role] = _single(table, role, by_role[role])
    if not settled & {"time", "date"} and "time" in by_role:
        found |= _find_time(table, by_role["time"])
    if "volume" not in settled:
        found |= _find_volume(table, by_role.get("volume", []), by_role.get("ticks", []))
    return found


def _single(table: Table, role: str, positions: Sequence[int]) -> int:
    if len(positions) > 1:
        names = [table.frame.columns[position] for position in positions]
        cure = f"--columns {role}={_quote(names[0])}" if len(set(names)) > 1 else "drop one of them from the file"
        raise CampaignError(f"several columns may be the {role}: {join_first(names)}; say which: {cure}")
    return positions[0]


def _quote(name: str) -> str:
    return name if re.fullmatch(r"[\w.]+", name) else f"'{name}'"


def _find_time(table: Table, positions: Sequence[int]) -> dict[str, int]:
    """Find the time among columns that are named so: one, or a date and a time of day."""
    if len(positions) == 2:
        dates = [position for position in positions if _all_match(table.frame.iloc[:, position], DATE)]
        hours = [position for position in positions if _all_match(table.frame.iloc[:, position], TIME_OF_DAY)]
        if len(dates) == 1 and len(hours) == 1 and dates != hours:
            return {"date": dates[0], "time": hours[0]}
    numbers = [position for position in positions if pd.api.types.is_numeric_dtype(table.frame.iloc[:, position].dtype)]
    certain = [position for position in positions if getattr(table.frame.iloc[:, position].dtype, "tz", None) is not None]
    if len(positions) > 1 and len(certain or numbers) == 1:
        return {"time": (certain or numbers)[0]}  # an instant, whatever zone the others are in
    return {"time": _single(table, "time", positions)}


DATE = r"\d{8}|\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4}"
DATES_AND_TIMES = (DATE, r"\d{1,2}:\d\d(:\d\d)?")  # of MetaTrader 4's export
TIME_OF_DAY = r"\d{1,2}:\d\d(:\d\d(\.0*)?)?|\d{1,6}"


def _all_match(column: pd.Series, pattern: str) -> bool:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return False
    return bool(column.head(1000).astype(str).str.strip().str.fullmatch(pattern).all())


def _find_volume(table: Table, positions: Sequence[int], ticks: Sequence[int]) -> dict[str, int]:
    """Find the volume. MetaTrader writes two: that of the exchange, zero where there is none, and the number of ticks."""
    if len(positions) > 1 or (not positions and not ticks):
        positions = positions or [i for i, name in enumerate(table.frame.columns) if normalize(name).startswith("vol")]
    if positions and len(ticks) == 1 and len(positions) == 1:
        is_zero = (read_numbers(table.frame.iloc[:, positions[0]], None) == 0).all()
        return {"volume": ticks[0] if is_zero else positions[0]}
    positions = positions or ticks
    return {"volume": _single(table, "volume", positions)} if positions else {}


def is_metatrader(table: Table) -> bool:
    """Tell whether MetaTrader wrote a table; its times are those of the broker's server, also where they count from 1970."""
    return any(normalize(name) in ("tickvol", "tickvolume") for name in table.frame.columns)


def has_closing_times(table: Table, columns: Columns) -> bool:
    """Tell whether a table's times are those at which bars close, by the name of their column or as East Money writes them."""
    name = table.frame.columns[columns.time[-1]]
    return normalize(name) in CLOSING_TIMES or (table.has_names and is_eastmoney(table))


def is_eastmoney(table: Table) -> bool:
    """Tell whether a table is of East Money, as akshare gets it: times in China's zone, at the end of the bar."""
    return {"时间", "开盘", "收盘"} <= set(table.frame.columns)


# --- columns without names ----------------------------------------------------------------------------------------------


def _find_by_order(table: Table, decimal: str | None) -> dict[str, int]:
    """Find columns without names by their usual order. Raises CampaignError where their number is not a usual one."""
    width = table.frame.shape[1]
    has_date = width >= 6 and all(_all_match(table.frame.iloc[:, number], DATES_AND_TIMES[number]) for number in (0, 1))
    times = ("date", "time") if has_date else ("time",)
    usual = (*times, *PRICES, "volume")
    by_role = {role: position for position, role in enumerate(usual[:width])}
    is_binance = width == BINANCE_KLINES and _all_match(table.frame.iloc[:, 0], r"\d{13,16}")
    if width < len(usual) - 1:
        raise CampaignError(f"{width} columns without names are too few for time, open, high, low, close; give another file")
    if width > len(usual) and not is_binance:
        _check_order(table, by_role, decimal)
        raise CampaignError(
            f"{width} columns without names, whose order is not known; name it, such as --columns {_list_roles(by_role, width)}"
        )
    return by_role


def _check_order(table: Table, by_role: Mapping[str, int], decimal: str | None) -> None:
    """Raise CampaignError where High and Low do not enclose Open and Close; names the order that fits."""
    if _misfits(table, by_role, decimal) <= MAX_MISFITS:
        return
    width, first = table.frame.shape[1], min(by_role[role] for role in PRICES)
    for writer, order in ORDERS.items():
        other = {**by_role, **{role: first + place for place, role in enumerate(order)}}
        if first + len(order) <= width and _misfits(table, other, decimal) <= MAX_MISFITS:
            roles = _list_roles(other, width)
            raise CampaignError(f"prices are not in the order open, high, low, close, but {writer}; say so: --columns {roles}")
    raise CampaignError(
        f"prices are not in this order, since High and Low do not enclose the others; name the order of all {width} columns: "
        "--columns with time, open, high, low, close, volume, and - for others"
    )


def _list_roles(by_role: Mapping[str, int], width: int) -> str:
    """Write roles in the order of their columns, as ``--columns`` takes them."""
    at = {position: role for role, position in by_role.items()}
    return ",".join(at.get(position, "-") for position in range(width))


def _misfits(table: Table, by_role: Mapping[str, int], decimal: str | None) -> float:
    """Compute the share of rows in which Open or Close is outside Low..High."""
    try:
        opening, high, low, close = (read_numbers(table.frame.iloc[:, by_role[role]], decimal) for role in PRICES)
    except CampaignError:  # told where all columns are read
        return 0.0
    slack = 1 + 1e-9
    fits = (high * slack >= np.maximum(opening, close)) & (low <= np.minimum(opening, close) * slack)
    return float(np.mean(~fits)) if len(fits) else 0.0


# --- numbers ------------------------------------------------------------------------------------------------------------


def read_numbers(column: pd.Series, decimal: str | None) -> np.ndarray:
    """Convert a column to float64 (N,); empty cells are NaN.

    Args:
        column: numbers, decimals or text.
        decimal: "." or ",", the other one separates thousands; None: a point, and commas are refused.

    Raises:
        CampaignError: a cell is no number.
    """
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        raise CampaignError(f"column {column.name} holds {column.dtype}, not numbers; --columns names another")
    if pd.api.types.is_numeric_dtype(column.dtype) and not isinstance(column.dtype, pd.ArrowDtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    text = pc.utf8_trim_whitespace(pa.array(column.astype("str"), pa.large_string(), from_pandas=True))
    text = pc.if_else(pc.is_in(pc.utf8_lower(text), pa.array(NO_NUMBER, pa.large_string())), None, text)
    if decimal is not None:
        text = _remove_thousands(text, decimal, str(column.name))
    try:
        return pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except pa.ArrowInvalid:
        pass
    row, cell = next((row, cell) for row, cell in enumerate(text.to_pylist()) if cell is not None and not _is_float(cell))
    cure = "say which sign is decimal: --decimal , or --decimal ." if re.fullmatch(r"[+-]?[\d.,]+", cell) else "mend it"
    raise CampaignError(f"column {column.name} holds {format_value(cell)} in row {row + 1}, not a number; {cure}")


def _remove_thousands(text: pa.Array, decimal: str, name: str) -> pa.Array:
    """Write numbers with a decimal point and nothing between thousands. Raises CampaignError where groups are not of three."""
    other = "." if decimal == "," else ","
    groups = rf"^[+-]?[0-9]{{1,3}}([{other}][0-9]{{3}})+([{decimal}][0-9]*)?$"
    is_wrong = pc.and_(pc.match_substring(text, other), pc.invert(pc.match_substring_regex(text, groups)))
    if pc.any(is_wrong).as_py():
        cell = text.filter(is_wrong)[0].as_py()
        raise CampaignError(f"column {name} holds {format_value(cell)}, where {other} separates no thousands; --decimal {other}")
    return pc.replace_substring(pc.replace_substring(text, other, ""), ",", ".")


def _is_float(cell: str) -> bool:
    try:
        pc.cast(pa.array([cell]), pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
