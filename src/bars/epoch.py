"""Tell the unit of numbers that count time, and find dates that a wrong unit has made."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # counts a second, as pd.to_datetime names them
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
EARLIEST = np.datetime64("1971-01-01", "s")  # of plausible bars; numbers of two units then never overlap before 2969
EARLIEST_DATE, LATEST_DATE = np.datetime64("1700-01-01", "s"), np.datetime64("2262-01-01", "s")  # of any bar, simulated ones too
LIMITS = {"s": 10, "ms": 13, "us": 16}  # powers of ten between the plausible numbers of a unit and of the next smaller one


@dataclasses.dataclass(frozen=True)
class TimeNumbers:
    """What numbers count, and the call that converts them.

    meaning: in words.
    call: Python, with ``{times}`` where the column or index stands, and ``{dt}`` where a column needs ``.dt``.
    """

    meaning: str
    call: str


@dataclasses.dataclass(frozen=True)
class WrongUnit:
    """Timestamps that another unit explains.

    rows: bool (N,).
    factor: what the time since 1970 must be multiplied with, 10**3 to 10**9 or 10**-3 to 10**-9.
    """

    rows: np.ndarray
    factor: float


def latest_plausible() -> np.datetime64:
    """Return the time after which no bar can open, one day past the machine's clock; datetime64[s]."""
    return np.datetime64("now", "s") + np.timedelta64(86400, "s")


def epoch_units(numbers: np.ndarray) -> np.ndarray:
    """Tell for each number in which unit it gives a plausible date, from 1971 to now.

    Args:
        numbers: integers or float64 (N,), counted from 1970.

    Returns:
        str (N,): a key of `UNITS`, or empty where no unit does.
    """
    first, last = EARLIEST.astype(np.int64), latest_plausible().astype(np.int64)
    values = np.asarray(numbers, np.float64)
    units = np.full(len(values), "", "U2")
    for unit, counts in UNITS.items():
        units[(values >= first * counts) & (values <= last * counts)] = unit
    return units


def describe_numbers(numbers: pd.Series) -> TimeNumbers | None:
    """Tell what `numbers` count, by their size and by which reading makes the bars hourly; None where no reading is plausible.

    Args:
        numbers: of any numeric type (N,), without NaN.
    """
    units = epoch_units(numbers.to_numpy(np.float64))
    present = [unit for unit in UNITS if (units == unit).any()]
    if len(present) > 1 and (units != "").all():
        return _describe_mixed(present)
    plausible = {
        _counted_since_1970(unit): numbers.to_numpy(np.float64) / UNITS[unit] for unit in present if (units == unit).all()
    }
    for reading, convert in OTHER_READINGS.items():
        if (seconds := _try(convert, numbers)) is not None:
            plausible[reading] = seconds
    return max(plausible, key=lambda reading: _hourly_share(plausible[reading]), default=None)


def _counted_since_1970(unit: str) -> TimeNumbers:
    return TimeNumbers(f"{UNIT_NAMES[unit]} since 1970", f'pd.to_datetime({{times}}, unit="{unit}")')


def _describe_mixed(present: list[str]) -> TimeNumbers:
    """Say how to bring numbers of several units to the smallest one."""
    finest = present[-1]
    branches = [f"n * {UNITS[finest] // UNITS[unit]} if n < 10**{LIMITS[unit]}" for unit in present[:-1]]
    meaning = ", then ".join(UNIT_NAMES[unit] for unit in present) + " since 1970, by their size"
    return TimeNumbers(meaning, f'pd.to_datetime({{times}}.map(lambda n: {" else ".join([*branches, "n"])}), unit="{finest}")')


def _read_digits(template: str, length: int) -> Callable[[pd.Series], pd.DatetimeIndex]:
    def convert(numbers: pd.Series) -> pd.DatetimeIndex:
        text = numbers.astype("int64").astype(str)
        if not (text.str.len() == length).all():
            raise ValueError("numbers of another length")
        return pd.DatetimeIndex(pd.to_datetime(text, format=template))

    return convert


def _read_counts(unit: str, origin: str = "unix") -> Callable[[pd.Series], pd.DatetimeIndex]:
    return lambda numbers: pd.DatetimeIndex(pd.to_datetime(numbers, unit=unit, origin=origin)).round("s")  # type: ignore[call-overload]


def _digits(meaning: str, template: str) -> TimeNumbers:
    return TimeNumbers(meaning, f'pd.to_datetime({{times}}.astype("int64").astype(str), format="{template}")')


def _counts(meaning: str, options: str) -> TimeNumbers:
    return TimeNumbers(meaning, f"pd.to_datetime({{times}}, {options}){{dt}}.round('s')")


OTHER_READINGS: dict[TimeNumbers, Callable[[pd.Series], pd.DatetimeIndex]] = {
    _digits("date as digits", "%Y%m%d"): _read_digits("%Y%m%d", 8),
    _digits("date and hour as digits", "%Y%m%d%H"): _read_digits("%Y%m%d%H", 10),
    _digits("date and time as digits", "%Y%m%d%H%M"): _read_digits("%Y%m%d%H%M", 12),
    _digits("date and time, as digits", "%Y%m%d%H%M%S"): _read_digits("%Y%m%d%H%M%S", 14),
    _counts("minutes since 1970", 'unit="m"'): _read_counts("m"),
    _counts("hours since 1970", 'unit="h"'): _read_counts("h"),
    _counts("days since 1970", 'unit="D"'): _read_counts("D"),
    _counts("days since 1899-12-30, as in spreadsheets", 'unit="D", origin="1899-12-30"'): _read_counts("D", "1899-12-30"),
}


def _try(convert: Callable[[pd.Series], pd.DatetimeIndex], numbers: pd.Series) -> np.ndarray | None:
    """Return seconds since 1970, float64 (N,); None where `convert` fails or a date is not plausible."""
    try:
        times = convert(numbers).values.astype("datetime64[s]")
    except Exception:  # numbers of another kind fail in many ways
        return None
    plausible = (times >= EARLIEST).all() and (times <= latest_plausible()).all()
    return times.astype(np.float64) if plausible else None


def _hourly_share(seconds: np.ndarray) -> float:
    """Share of steps of one hour."""
    return float((np.abs(np.diff(seconds) - 3600) < 1).mean()) if len(seconds) > 1 else 0.0


def find_wrong_unit(seconds: np.ndarray) -> WrongUnit | None:
    """Find timestamps of 1970, or later than now, that another unit makes plausible; None where there are none.

    Args:
        seconds: float64 (N,), since 1970.

    Returns:
        The rows that need the same factor as the first one.
    """
    first, last = float(EARLIEST.astype(np.int64)), float(latest_plausible().astype(np.int64))
    suspicious = seconds > last
    if not (seconds < 0).any():  # a history that passes 1970 on its way has bars of that year
        suspicious |= seconds < first
    if not suspicious.any():
        return None
    for factor in (10.0**3, 10.0**6, 10.0**9, 10.0**-3, 10.0**-6, 10.0**-9):
        rows = suspicious & (seconds * factor >= first) & (seconds * factor <= last)
        if rows.any():
            return WrongUnit(rows, factor)
    return None


def unit_pairs(factor: float, stored: str) -> list[tuple[str, str]]:
    """List pairs of the true unit and of the one that it was read in, the likeliest first.

    Args:
        factor: as in `WrongUnit`.
        stored: unit of the date-time type. Since pandas 3 that is "ns" for numbers that were read as nanoseconds, and "us" for
            all others; before, it was "ns" for all.
    """
    likely = ("ns", "us", "ms", "s") if stored == "ns" else ("ms", "us", "s", "ns")
    return [(true, read) for read in likely for true in UNITS if np.isclose(UNITS[read] / UNITS[true], factor, rtol=1e-6)]
