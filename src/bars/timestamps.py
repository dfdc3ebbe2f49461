"""Find the opening times of bars in a frame, and convert them to UTC."""

import re
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bars.cures import TimeColumn, describe_unfinished, format_time, quote, refuse_rows
from bars.epoch import (
    EARLIEST,
    EARLIEST_DATE,
    LATEST_DATE,
    UNIT_NAMES,
    UNITS,
    TimeNumbers,
    WrongUnit,
    describe_numbers,
    epoch_units,
    find_wrong_unit,
    unit_pairs,
)
from core.errors import CampaignError, join_first, shorten

HOUR = np.timedelta64(3600, "s")
TIME_NAMES = ("datetime", "opentime", "time", "date", "begin", "start", "t", "ts", "unix", "epoch", "index", "unnamed")
UNLIKELY = 99  # rank of a name that is of no times
SAMPLE_ROWS = 1000  # of times as text, to find out how to read them


# --- which column -----------------------------------------------------------------------------------------------------


def is_time_name(name: str) -> bool:
    """Tell whether a column of this name may hold opening times, whatever its type."""
    return name_rank(name) < UNLIKELY


def name_rank(name: object) -> int:
    """Tell how likely a column of this name holds opening times, 0 for the likeliest, `UNLIKELY` where it does not."""
    simple = simplify(name)
    if simple in (names := ("timestamp", *TIME_NAMES)):
        return names.index(simple)
    words = {*re.split(r"[^a-z]+", str(name).lower())}
    has_time = not {"time", "date"}.isdisjoint(words) or simple.startswith(("time", "date")) or simple.endswith(("time", "date"))
    is_other = any(word in simple for word in ("clos", "end", "update"))
    return UNLIKELY - 1 if has_time and not is_other else UNLIKELY


def simplify(name: object) -> str:
    """Reduce a name to its letters in lower case."""
    return "".join(letter for letter in str(name).lower() if letter.isalpha())


def find_times(frame: pd.DataFrame) -> TimeColumn:
    """Find the opening times: a `timestamp` column, else a date-time index, else the only date-time column.

    Raises:
        CampaignError: there are none, or several of equal rank; says what to convert or rename.
    """
    columns = [TimeColumn(name, frame.iloc[:, number], None) for number, name in enumerate(frame.columns)]
    named = [column for column in columns if str(column.name).lower() == "timestamp"]
    if len(named) > 1:
        names = " and ".join(str(column.name) for column in named)
        raise CampaignError(f"column names are ambiguous ({names}); keep one of each")
    count = frame.index.nlevels
    levels = [
        TimeColumn(frame.index.names[level], frame.index.get_level_values(level), level, count)  # type: ignore[arg-type]
        for level in range(count)
    ]
    named_levels = [level for level in levels if str(level.name).lower() == "timestamp"]
    for rank in (named, named_levels, levels, columns):
        found = [column for column in rank if column.is_date_time]
        if len(found) == 1:
            _check_time_of_day(columns, found[0])
            _check_one_symbol(levels, found[0])
            return found[0]
        if found:
            raise CampaignError(_describe_several(found))
    raise CampaignError(_describe_no_times(columns, levels))


def _check_time_of_day(columns: Sequence[TimeColumn], found: TimeColumn) -> None:
    """Raise CampaignError where the dates lack the time of day, which another column has."""
    time = next((column for column in columns if simplify(column.name) == "time" and not column.is_date_time), None)
    if time is None or found.level is not None or not len(found.values) or found.values.isna().any():
        return
    if (found.values.dt.normalize() == found.values).all() and (joined := _join_date_and_time(found, time)):
        raise CampaignError(f"date and time stand in two columns, {found.name} and {time.name}; join them: {joined}")


def _check_one_symbol(levels: Sequence[TimeColumn], times: TimeColumn) -> None:
    """Raise CampaignError where another level of the index tells several assets apart."""
    for level in levels:
        if level.level != times.level and level.levels > 1 and level.values.nunique() > 1:
            names = join_first(level.values.unique().tolist(), max_entries=3)
            example = quote(level.values[0])
            raise CampaignError(
                f"{level.place} has several values ({names}), as of several assets in one file; write one file each: "
                f"frame = frame.xs({example}, level={level.level})"
            )


def _describe_several(found: Sequence[TimeColumn]) -> str:
    """Say which columns could be the opening times, and how to choose one."""
    opening = min(found, key=lambda column: ("open" not in simplify(column.name), "start" not in simplify(column.name)))
    names = join_first([column.name for column in found])
    if opening.level is None:
        cure = f'frame = frame.rename(columns={{{quote(opening.name)}: "timestamp"}})'
    else:
        cure = f"frame.index = {opening.code}"
    return f"several date-time columns ({names}); rename the one with the bars' opening times to timestamp, for example: {cure}"


def _describe_no_times(columns: Sequence[TimeColumn], levels: Sequence[TimeColumn]) -> str:
    """Say what could be converted to opening times, and how."""
    date, time = (next((c for c in columns if simplify(c.name) == name), None) for name in ("date", "time"))
    if date and time and (joined := _join_date_and_time(date, time)):
        return f"date and time stand in two columns, {date.name} and {time.name}; join them: {joined}"
    rated = [(name_rank(column.name), column) for column in columns if name_rank(column.name) < UNLIKELY]
    rated += [(name_rank(level.name), level) for level in levels if not _is_count(level)]
    if not rated:
        found = join_first([column.name for column in columns], max_entries=20)
        return f"no date-time column or index (found: {found}); add the bars' opening times as column timestamp"
    chosen = min(rated, key=lambda pair: pair[0])[1]
    values = pd.Series(chosen.values).reset_index(drop=True)
    head = f"no date-time column or index ({chosen.place} holds {chosen.values.dtype}"
    if values.isna().any():
        return f"{head} and {int(values.isna().sum())} empty values); remove those rows: {chosen.drop_empty()}"
    if not len(values):
        return "the file has no rows; remove the symbol or write its bars"
    if pd.api.types.is_numeric_dtype(values.dtype) and values.dtype.kind in "iuf":
        return f"{head}, {values.iloc[0]} to {values.iloc[-1]}, {_explain_numbers(chosen, values, '{times}')}"
    if isinstance(values.dtype, pd.PeriodDtype):
        return f"{head}); convert it: {_assign(chosen, f'{chosen.code}{chosen.dt}.to_timestamp()')}"
    return f"{head}, such as {shorten(repr(values.iloc[0]), 40)}); convert it: {_conversion(chosen, '{times}')}"


def _join_date_and_time(date: TimeColumn, time: TimeColumn) -> str | None:
    """Write the statement that joins a column of dates and one of times of day; None where no way makes hourly bars of them."""
    days, times = (column.values.iloc[:SAMPLE_ROWS].astype(str) for column in (date, time))
    day_code, time_code = f"{date.code}.astype(str)", f"{time.code}.astype(str)"
    ways = [
        (days.str[:10] + " " + times, f'{day_code}.str[:10] + " " + {time_code}', ("", ", dayfirst=True")),
        (days + times.str.zfill(4), f"{day_code} + {time_code}.str.zfill(4)", (', format="%Y%m%d%H%M"',)),
        (days + times.str.zfill(6), f"{day_code} + {time_code}.str.zfill(6)", (', format="%Y%m%d%H%M%S"',)),
    ]
    tried = [(_hourly_share(texts, options), code, options) for texts, code, choices in ways for options in choices]
    share, code, options = max(tried, key=lambda way: way[0])
    return f'frame["timestamp"] = pd.to_datetime({code}{options})' if share > 0 else None


def _is_count(level: TimeColumn) -> bool:
    """Tell whether an index only numbers the rows."""
    values = level.values
    return pd.api.types.is_integer_dtype(values.dtype) and (values == np.arange(len(values))).all()


def _explain_numbers(chosen: TimeColumn, values: pd.Series, template: str) -> str:
    """Say what numbers count and how to convert them, after an opening bracket."""
    if meaning := describe_numbers(values):
        return f"{meaning.meaning}); convert it: {_assign(chosen, _fill(meaning, chosen, template))}"
    is_odd = epoch_units(values.to_numpy(np.float64)) == ""
    if is_odd.mean() < 0.5:
        odd = join_first(values[is_odd].tolist(), max_entries=3)
        return f"of which {int(is_odd.sum())} give no date from 1971 to now: {odd}); correct or remove those rows"
    return "which in no unit are dates from 1971 to now); write the bars' opening times as column timestamp"


def _fill(meaning: TimeNumbers, chosen: TimeColumn, template: str) -> str:
    return meaning.call.replace("{times}", template.replace("{times}", chosen.code)).replace("{dt}", chosen.dt)


def _assign(chosen: TimeColumn, code: str) -> str:
    """Write the statement that makes converted times the timestamps."""
    if chosen.level is None and str(chosen.name).lower() != "timestamp":
        return f'frame["timestamp"] = {code}'
    return chosen.replace(code)


def _conversion(chosen: TimeColumn, template: str) -> str:
    """Write the statement that converts times as text, found by trying on some of them."""
    values = pd.Series(chosen.values).reset_index(drop=True)
    source = template.replace("{times}", chosen.code)
    numbers = pd.to_numeric(values.astype(str), errors="coerce")
    if len(numbers) and numbers.notna().all() and (meaning := describe_numbers(numbers)):
        return _assign(chosen, _fill(meaning, chosen, f"pd.to_numeric({template})"))
    sample = values.iloc[np.unique(np.linspace(0, len(values) - 1, SAMPLE_ROWS).astype(int))]
    shares = {
        options: _hourly_share(values.iloc[:SAMPLE_ROWS], options) if _parse(sample, options) is not None else -1.0
        for options in ("", ", utc=True", ", dayfirst=True", ', format="%Y%m%d %H:%M"', ', format="mixed", utc=True')
    }
    best = max(shares, key=lambda options: shares[options])
    if shares[best] < 0:
        return _assign(chosen, f"pd.to_datetime({source}, format=…)") + ", with the format of its text in place of the dots"
    return _assign(chosen, f"pd.to_datetime({source}{best})")


def _hourly_share(texts: pd.Series, options: str) -> float:
    """Return the share of steps of one hour in times as text; below 0 where they cannot be read."""
    times = _parse(texts, options)
    if times is None:
        return -1.0
    return float((np.diff(times.values.astype("datetime64[s]")) == HOUR).mean()) if len(times) > 1 else 0.0


def _parse(texts: pd.Series, options: str) -> pd.DatetimeIndex | None:
    """Read times as text; None where that fails. `options` stand as in the call."""
    keywords = {
        "": {},
        ", utc=True": {"utc": True},
        ", dayfirst=True": {"dayfirst": True},
        ', format="%Y%m%d %H:%M"': {"format": "%Y%m%d %H:%M"},
        ', format="%Y%m%d%H%M"': {"format": "%Y%m%d%H%M"},
        ', format="%Y%m%d%H%M%S"': {"format": "%Y%m%d%H%M%S"},
        ', format="mixed", utc=True': {"format": "mixed", "utc": True},
    }[options]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return drop_zone(pd.DatetimeIndex(pd.to_datetime(texts, **keywords)))  # type: ignore[call-overload]
    except Exception:  # texts of another kind fail in many ways
        return None


# --- to UTC -----------------------------------------------------------------------------------------------------------


def to_utc(column: TimeColumn, *, simulated: bool) -> np.ndarray:
    """Convert opening times to UTC, datetime64[s] (N,); those without a zone are taken for UTC.

    Args:
        column: of a date-time type.
        simulated: whether they may lie in 1970 and in the future, as those of the simulated market.

    Raises:
        CampaignError: times are empty, of a wrong unit, or not on the second.
    """
    times = pd.DatetimeIndex(column.values)
    if times.hasnans:
        raise CampaignError(f"{int(times.isna().sum())} empty timestamps; remove those rows: {column.drop_empty()}")
    times = drop_zone(times)
    if not simulated:
        _check_unit(times, column)
    seconds = times.values.astype("datetime64[s]")
    outside = (seconds < EARLIEST_DATE) | (seconds > LATEST_DATE)
    cure = "convert them again, with the unit and the origin of the source's numbers"
    refuse_rows(outside, seconds, "timestamps before 1700 or after 2262", cure)
    _check_seconds(times, seconds, column)
    return seconds


def drop_zone(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Convert to UTC without a zone; times without one stay."""
    return times if times.tz is None else times.tz_convert(None)


def _check_unit(times: pd.DatetimeIndex, column: TimeColumn) -> None:
    """Raise CampaignError where timestamps are of 1970, or of a future that another unit explains."""
    unit = times.unit
    whole = times.values.astype("datetime64[s]")
    wrong = find_wrong_unit(times.values.astype(np.int64) / UNITS[unit])
    if wrong is None:
        is_1970 = (whole >= np.datetime64(0, "s")) & (whole < EARLIEST)
        if not (whole < np.datetime64(0, "s")).any():
            cure = "no unit makes them plausible; write the bars' opening times, or remove those rows"
            refuse_rows(is_1970, whole, "timestamps of 1970", cure)
        return
    pairs = " or ".join(
        f'{UNIT_NAMES[true]} ("{true}") read as {UNIT_NAMES[read]}' for true, read in unit_pairs(wrong.factor, unit)
    )
    year = str(whole[int(wrong.rows.argmax())].astype("datetime64[Y]"))
    refuse_rows(wrong.rows, whole, f"timestamps of {year}, a wrong unit ({pairs}),", _unit_cure(times, wrong, column))


def _unit_cure(times: pd.DatetimeIndex, wrong: WrongUnit, column: TimeColumn) -> str:
    """Say how to bring timestamps of a wrong unit to the right one."""
    counts = times.values.astype(np.int64)
    grow = wrong.factor > 1
    power = round(abs(np.log10(wrong.factor)))
    part = counts[wrong.rows]
    if grow and 10**power > UNITS[times.unit]:  # more than a second between two counts: digits are lost
        return 'convert the source again, with the unit of its numbers (10 digits: "s", 13: "ms", 16: "us", 19: "ns")'
    change = f"{'*' if grow else '//'} 10**{power}"
    numbers = f'{column.code}.astype("int64")'
    if wrong.rows.all():
        changed = f"{numbers} {change}"
    else:
        limit = len(str(int(part.max()))) if grow else len(str(int(part.min()))) - 1
        changed = f"{numbers}.map(lambda n: n {change} if n {'<' if grow else '>='} 10**{limit} else n)"
    return f"convert them: {column.replace(f'pd.to_datetime({changed}, unit={quote(times.unit)})')}"


def _check_seconds(times: pd.DatetimeIndex, seconds: np.ndarray, column: TimeColumn) -> None:
    """Raise CampaignError where times have fractions of a second, or are a second short of the hour's end."""
    fractions = times.values != seconds
    if len(seconds) > 1 and ((seconds.astype(np.int64) + 1) % 60 == 0).all():
        cure = column.replace(f'{column.code}{column.dt}.floor("s") - pd.Timedelta("3599s")')
        first = format_time(seconds[0])
        raise CampaignError(f"timestamps are closing times, the first {first} UTC; go back to the opening: {cure}")
    if not fractions.any():
        return
    if len(seconds) > 1 and not fractions[:-1].any():
        raise CampaignError(describe_unfinished(seconds))
    cure = f"hourly bars open on the second: {column.round('s')}"
    refuse_rows(fractions, seconds, "timestamps with fractions of a second", cure)
