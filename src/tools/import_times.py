"""Read times in the forms in which tools write them: their unit, their order of day and month, their zone."""

import dataclasses
import datetime
import difflib
import functools
import re
import shlex
import zoneinfo
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import CampaignError, format_value

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # a second
OLDEST = np.datetime64("1990-01-01", "s")  # hourly bars are not older; what looks so is in another unit
EPOCH_SECONDS = range(365 * 86_400, 130 * 365 * 86_400)  # from 1971 to 2099
ZONE_EXAMPLES = "--timezone UTC or --timezone America/New_York"


@dataclasses.dataclass(frozen=True)
class Times:
    """Times of N rows.

    values: datetime64[us] (N,); NaT where a cell is empty.
    is_utc: False where they are local times of a zone that they do not tell.
    kind: what they were taken for, for the user.
    """

    values: np.ndarray
    is_utc: bool
    kind: str


def latest() -> np.datetime64:
    """Return the time after which no bar can be: clocks may be a day apart."""
    return np.datetime64(datetime.datetime.now(datetime.UTC).replace(tzinfo=None), "s") + np.timedelta64(1, "D")


def read_times(columns: Sequence[pd.Series], unit: str | None = None, date_format: str | None = None) -> Times:
    """Read the times in one column, or in a column of dates and one of times of day.

    Args:
        columns: one or two, N rows each: date-times, numbers since 1970, or text.
        unit: of numbers: "s", "ms", "us" or "ns"; None: by their size, row by row.
        date_format: of text, as strptime takes it; None: by their form.

    Raises:
        CampaignError: they cannot be read, or may mean several things; names the option that settles it.
    """
    if len(columns) == 2:
        return _read_text(_join_date_and_time(*columns), date_format)
    (column,) = columns
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _read_date_times(column)
    if isinstance(column.dtype, pd.ArrowDtype) and pa.types.is_timestamp(arrow := column.dtype.pyarrow_dtype):
        return _read_date_times(column.astype(pd.DatetimeTZDtype("us", arrow.tz) if arrow.tz else column.dtype.numpy_dtype))
    text = _number_text(column) if pd.api.types.is_numeric_dtype(column.dtype) else column.astype("str").str.strip()
    is_empty = text.isna() | text.str.lower().isin(["", "nan", "nat", "none", "<na>", "null"])
    text = text.mask(is_empty, "")
    if is_empty.all():
        raise CampaignError(f"the column {format_value(str(column.name))} holds no times; --columns time=NAME names another")
    if date_format is None and len(text) and text[~is_empty].str.fullmatch(r"\d+(\.0*)?").all():
        return _read_digits(text.str.replace(r"\.0*$", "", regex=True), unit)
    return _read_text(text, date_format)


def _number_text(column: pd.Series) -> pd.Series:
    """Write numbers as whole ones where they are whole, as float64 of a JSON or a CSV with empty cells."""
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.astype("str")
    if np.isfinite(values).all() and (values == np.rint(values)).all() and np.abs(values).max(initial=0) < 2**63:
        return pd.Series(values.astype(np.int64)).astype("str")
    return pd.Series([("" if np.isnan(value) else f"{value:.6f}".rstrip("0").rstrip(".")) for value in values], dtype="str")


def _read_date_times(column: pd.Series) -> Times:
    index = pd.DatetimeIndex(column)
    zone = index.tz
    values = index.values if zone is None else index.tz_convert("UTC").tz_localize(None).values
    values = values.astype("datetime64[us]")
    _check_unit_of_dates(values, "date-times")
    return Times(values, zone is not None, "date-times" if zone is None else f"date-times in {zone}")


def _check_unit_of_dates(values: np.ndarray, kind: str) -> None:
    """Raise CampaignError where date-times were made from numbers in a wrong unit: another one gives years since 1990."""
    known = values[~np.isnat(values)]
    if not len(known):
        return
    seconds = [int(time.astype("datetime64[s]").astype(np.int64)) for time in (known.min(), known.max())]
    oldest, newest = int(OLDEST.astype(np.int64)), int(latest().astype(np.int64))
    too_old = seconds[0] < oldest and any(oldest <= seconds[0] * 1000**power <= newest for power in (1, 2, 3))
    too_new = seconds[1] > newest and any(oldest <= seconds[1] // 1000**power <= newest for power in (1, 2, 3))
    if too_old or too_new:
        first, last = (str(time.astype("datetime64[m]")).replace("T", " ") for time in (known.min(), known.max()))
        raise CampaignError(
            f"{kind} from {first} to {last}, which cannot be: numbers were converted with a wrong unit; import the file with the "
            "numbers themselves, whose unit is found by their size"
        )


# --- numbers ------------------------------------------------------------------------------------------------------------


def _read_digits(text: pd.Series, unit: str | None) -> Times:
    """Read whole numbers: counts since 1970, or digits of a date such as 20240102. Raises CampaignError."""
    values = np.full(len(text), np.datetime64("NaT", "us"))
    filled = (text != "").to_numpy()
    try:
        numbers = text[filled].astype(np.int64).to_numpy()
    except (ValueError, OverflowError):
        raise CampaignError(
            f"times such as {format_value(text[filled].iloc[0])} are too large; --date-format describes them"
        ) from None
    if unit is not None:
        values[filled] = _from_epoch(numbers, unit)
        _check_unit(numbers, values[filled], unit)
        return Times(values, True, f"{unit} since 1970, UTC")
    lengths = set(text[filled].str.len())
    if lengths <= {8, 10, 12, 14} and len(lengths) == 1:
        layout = "%Y%m%d%H%M%S"[: {8: 6, 10: 8, 12: 10, 14: 12}[lengths.pop()]]
        dates = pd.to_datetime(text[filled], format=layout, errors="coerce").to_numpy().astype("datetime64[us]")
        if not np.isnat(dates).any() and dates.min() >= OLDEST and dates.max() <= latest():
            values[filled] = dates
            return Times(values, False, f"digits of a date ({layout})")
    return _by_size(values, filled, numbers)


def _by_size(values: np.ndarray, filled: np.ndarray, numbers: np.ndarray) -> Times:
    """Read counts since 1970, the unit of each row by its size: no two units give a time between 1990 and now."""
    read = np.full(len(numbers), np.datetime64("NaT", "us"))
    units = []
    oldest, newest = OLDEST.astype(np.int64), latest().astype(np.int64)
    for unit, a_second in UNITS.items():
        fits = (numbers >= oldest * a_second) & (numbers <= newest * a_second)
        if fits.any():
            read[fits] = _from_epoch(numbers[fits], unit)
            units.append((int(np.argmax(fits)), unit))
    if np.isnat(read).any():
        number = int(numbers[int(np.isnat(read).argmax())])
        cure = " or ".join(f"--unit {unit}" for unit, a_second in UNITS.items() if number // a_second in EPOCH_SECONDS)
        cure = f"name it: {cure}" if cure else "--columns time=NAME names another column"
        raise CampaignError(f"times such as {number}, which is between 1990 and now in no unit since 1970; {cure}")
    values[filled] = read
    return Times(values, True, " and ".join(unit for _, unit in sorted(units)) + " since 1970, UTC")


def _from_epoch(numbers: np.ndarray, unit: str) -> np.ndarray:
    """Convert counts since 1970 to datetime64[us] (N,). Raises CampaignError where they are beyond all years."""
    if unit == "ns":
        return (numbers // 1000).astype("datetime64[us]")
    factor = UNITS["us"] // UNITS[unit]
    if len(numbers) and int(np.abs(numbers).max()) > 2**62 // factor:
        fitting = _fitting_unit(numbers)
        cure = f"--unit {fitting}" if fitting else "leave out --unit, so that each row is looked at"
        raise CampaignError(f"times such as {numbers[0]} are beyond all years in {unit}; {cure}")
    return (numbers * factor).astype("datetime64[us]")


def _fitting_unit(numbers: np.ndarray) -> str | None:
    """Find the unit in which all numbers are times between 1990 and now; None where there is none."""
    oldest, newest = OLDEST.astype(np.int64), latest().astype(np.int64)
    fits = ((unit, (numbers >= oldest * a_second) & (numbers <= newest * a_second)) for unit, a_second in UNITS.items())
    return next((unit for unit, rows in fits if rows.all()), None)


def _check_unit(numbers: np.ndarray, values: np.ndarray, unit: str) -> None:
    """Raise CampaignError where another unit gives plausible times, and the chosen one does not."""
    fitting = _fitting_unit(numbers)
    if len(numbers) and fitting not in (None, unit):
        first, last = (str(time)[:10] for time in (values.min(), values.max()))
        raise CampaignError(f"in {unit} the times are from {first} to {last}, which cannot be; --unit {fitting}")


# --- text ---------------------------------------------------------------------------------------------------------------

OFFSET = r"\s?(?:Z|UTC|GMT|[+-]99(?::?99(?::99)?)?)"
CLOCK = r"99?:99(?::99)?(?:\.9+)?"
YEAR_FIRST = re.compile(rf"9999([-/.])99?(?:\1)99?(?:[T ]({CLOCK}))?({OFFSET})?")
YEAR_LAST = re.compile(rf"99?([-/.])99?\1(9999)(?:[T ]({CLOCK})(\s?[AP]M)?)?({OFFSET})?")
COMPACT = {"99999999 99:99": "%Y%m%d %H:%M", "99999999 99:99:99": "%Y%m%d %H:%M:%S", "99999999 999999": "%Y%m%d %H%M%S",
           "99999999 9999": "%Y%m%d %H%M"}  # fmt: skip


def _join_date_and_time(date: pd.Series, time: pd.Series) -> pd.Series:
    """Join dates and times of day; a time in digits is filled up with zeros from the left."""
    dates = date.dt.strftime("%Y-%m-%d") if pd.api.types.is_datetime64_any_dtype(date.dtype) else date.astype("str").str.strip()
    times = time.astype("str").str.strip()
    if times.str.fullmatch(r"\d{1,6}").all():
        times = times.str.zfill(4 if times.str.len().max() <= 4 else 6)
    return dates + " " + times


def _read_text(text: pd.Series, date_format: str | None) -> Times:
    """Read times in text. Raises CampaignError."""
    text = text.reset_index(drop=True)
    filled = (text != "").to_numpy()
    values = np.full(len(text), np.datetime64("NaT", "us"))
    layout, is_utc, kind = (date_format, "%z" in date_format, date_format) if date_format else _find_layout(text[filled])
    values[filled] = _parse(text[filled], layout, is_utc)
    _check_unit_of_dates(values, "times")
    return Times(values, is_utc, f"text, {kind}")


def _parse(text: pd.Series, layout: str, is_utc: bool) -> np.ndarray:
    """Parse text to datetime64[us] (N,), in UTC where it tells its offset. Raises CampaignError."""
    try:
        try:
            parsed = pd.to_datetime(text, format=layout, utc=is_utc)
        except ValueError:
            if layout != "ISO8601":
                raise
            parsed = pd.to_datetime(_to_iso(text), format=layout, utc=is_utc)
    except (ValueError, OverflowError) as error:
        found = re.search(r'"(.*?)"', str(error))
        cell = found.group(1) if found else text.iloc[0]
        raise CampaignError(
            f"the time {format_value(cell)} is not of the form {layout}; --date-format describes them, as '%d/%m/%Y %H:%M'"
        ) from None
    if is_utc:
        parsed = parsed.dt.tz_localize(None)
    return parsed.to_numpy().astype("datetime64[us]")


def _to_iso(text: pd.Series) -> pd.Series:
    """Write times that begin with the year by the letter of ISO 8601: two digits each, hyphens, Z for UTC."""
    if not text.str.contains(r":\d\d\.\d").any():  # digits of a fraction keep their place
        text = text.str.replace(r"(?<=\D)(\d)(?=\D|$)", r"0\1", regex=True)
    date, rest = text.str.slice(0, 10).str.replace(r"[./]", "-", regex=True), text.str.slice(10)
    return date + rest.str.replace(r"\s?(?:UTC|GMT)$", "Z", regex=True).str.replace(r" (?=[+-])", "", regex=True)


def _find_layout(text: pd.Series) -> tuple[str, bool, str]:
    """Find the form of times in text: for `pd.to_datetime`, whether they tell their zone, and words. Raises CampaignError."""
    masks = pc.replace_substring_regex(pa.array(text, pa.large_string(), from_pandas=True), r"\d", "9").unique().to_pylist()
    masks = [mask.upper() for mask in masks]
    year_first = [YEAR_FIRST.fullmatch(mask) for mask in masks]
    if all(year_first):
        offsets = {bool(match.group(3)) for match in year_first}
        if len(offsets) > 1:
            raise CampaignError("some times tell their offset from UTC and some do not; write all in one way")
        if not any(match.group(2) for match in year_first):
            raise CampaignError(f"only dates, no times of day, such as {text.iloc[0]}; hourly bars need their hour")
        return "ISO8601", offsets == {True}, "year first, with offset" if offsets == {True} else "year first"
    if len(masks) == 1 and masks[0] in COMPACT:
        return COMPACT[masks[0]], False, COMPACT[masks[0]]
    matches = [YEAR_LAST.fullmatch(mask) for mask in masks]
    if masks and all(matches) and len({(m.group(1), bool(m.group(4)), m.group(5)) for m in matches}) == 1:
        return _find_order(text, masks, matches[0])
    found = [f"--date-format {shlex.quote(layout)}" for layout in _guess_layouts(text)]
    cure = " or ".join(found[:3]) or "--date-format takes it as Python's strptime does"
    raise CampaignError(f"times such as {format_value(text.iloc[0])} are in no known form; describe it: {cure}")


def _guess_layouts(text: pd.Series) -> list[str]:
    """List usual but ambiguous forms that all texts have: years of two digits, names of months and of zones."""
    rest = re.search(r"(?<![AP]M)( [A-Z]{2,5})?$", text.iloc[0])
    suffix = rest.group() if rest and rest.group() not in (" AM", " PM") else ""
    dates = [date.replace("/", sign) for date in ("%d/%m/%y", "%m/%d/%y", "%y/%m/%d", "%d/%b/%Y", "%b/%d/%Y") for sign in "/-. "]
    dates += ["%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%b %d, %Y"]
    clocks = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p", "%I-%p", "%H:%M:%S.%f")
    layouts = [f"{date} {clock}{suffix}" for date in dates for clock in clocks]
    layouts = [layout for layout in layouts if pd.to_datetime(text[:1], format=layout, errors="coerce").notna().all()]
    return [layout for layout in layouts if pd.to_datetime(text, format=layout, errors="coerce").notna().all()]


def _find_order(text: pd.Series, masks: Sequence[str], match: re.Match) -> tuple[str, bool, str]:
    """Tell 31/12/2024 from 12/31/2024 by a part above 12. Raises CampaignError where no date has one."""
    separator = match.group(1)
    parts = text.str.extract(r"^(\d+)\D(\d+)").astype(int)
    day_first, month_first = bool((parts[0] > 12).any()), bool((parts[1] > 12).any())
    with_seconds = {mask.count(":") == 2 for mask in masks}
    if len(with_seconds) > 1 or not match.group(3):
        raise CampaignError(
            f"times such as {format_value(text.iloc[0])} are in no single form with an hour; write all in one way"
        )
    clock = ("%I" if match.group(4) else "%H") + ":%M" + (":%S" if with_seconds == {True} else "")
    clock += ".%f" if "." in match.group(3) else ""
    clock = ("T" if "T" in masks[0] else " ") + clock
    clock += " %p" if match.group(4) and match.group(4).startswith(" ") else "%p" if match.group(4) else ""
    clock += "%z" if match.group(5) else ""
    layouts = {order: separator.join(order) + clock for order in (("%d", "%m", "%Y"), ("%m", "%d", "%Y"))}
    if day_first == month_first:
        choices = " or ".join(f"--date-format '{layout}'" for layout in layouts.values())
        found = "day and month" if not day_first else "both day first and month first"
        raise CampaignError(f"times such as {text.iloc[0]} leave open which part is the day ({found}); say it: {choices}")
    layout = layouts["%d", "%m", "%Y"] if day_first else layouts["%m", "%d", "%Y"]
    return layout, bool(match.group(5)), layout


# --- zones --------------------------------------------------------------------------------------------------------------


@functools.lru_cache
def find_zone(name: str) -> datetime.tzinfo:
    """Find a time zone by its name in the tz database, or by an offset such as +08:00.

    Raises:
        CampaignError: there is none; names similar ones.
    """
    offset = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d\d))?", name)
    if offset:
        minutes = int(offset.group(2)) * 60 + int(offset.group(3) or 0)
        if minutes <= 14 * 60:
            return datetime.timezone(datetime.timedelta(minutes=minutes if offset.group(1) == "+" else -minutes))
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, zoneinfo.ZoneInfoNotFoundError, OSError):
        pass
    known = sorted(zoneinfo.available_timezones())
    inside = [zone for zone in known if name and name.replace(" ", "_").lower() in zone.lower()]
    similar = inside[:3] or difflib.get_close_matches(name, known, 3, 0.5) or ["UTC", "America/New_York"]
    raise CampaignError(f"no time zone {format_value(name)}; such as --timezone {' or '.join(similar)}")


def to_utc(times: np.ndarray, zone: str, repeated_hour: str | None = None) -> np.ndarray:
    """Convert local times to UTC.

    When clocks are set back, an hour comes twice. A row is in the second one where an earlier row of it has the same or a
    later local time.

    Args:
        times: datetime64[us] (N,), in the order of the rows, oldest or newest first.
        zone: as `find_zone` takes it.
        repeated_hour: "first" or "second": which one is meant where the rows do not tell.

    Raises:
        CampaignError: a time does not exist there, or the rows do not tell which of the two hours it is in.
    """
    index = pd.DatetimeIndex(times)
    tz = find_zone(zone)
    early = index.tz_localize(tz, ambiguous=np.ones(len(index), bool), nonexistent="NaT")
    late = index.tz_localize(tz, ambiguous=np.zeros(len(index), bool), nonexistent="NaT")
    missing = np.asarray(early.isna()) & ~np.isnat(times)
    if missing.any():
        first = str(times[int(missing.argmax())])[:16].replace("T", " ")
        raise CampaignError(
            f"{first} does not exist in {zone}, where clocks are set forward then; the times are of another zone: --timezone"
        )
    early, late = (local.tz_convert("UTC").tz_localize(None).values.astype("datetime64[us]") for local in (early, late))
    twofold = (early != late) & ~np.isnat(times)
    return np.where(_find_second_hours(times, twofold, zone, repeated_hour), late, early)


def _find_second_hours(times: np.ndarray, twofold: np.ndarray, zone: str, repeated_hour: str | None) -> np.ndarray:
    """Find the rows in the second one of an hour that comes twice, bool (N,). Raises CampaignError where they do not tell."""
    is_second = np.zeros(len(times), bool)
    rows = np.flatnonzero(twofold)
    if len(rows) and np.median(np.diff(times[~np.isnat(times)]).astype(np.int64)) < 0:  # newest first
        rows = rows[::-1]
    days = times[rows].astype("datetime64[D]")
    for day in np.unique(days):
        rows_of_day = rows[days == day]
        steps_back = np.flatnonzero(np.diff(times[rows_of_day]) <= np.timedelta64(0, "us"))
        if len(steps_back) == 1:
            is_second[rows_of_day[steps_back[0] + 1 :]] = True
        elif len(steps_back) == 0 and repeated_hour is not None:
            is_second[rows_of_day] = repeated_hour == "second"
        else:
            first = str(times[rows_of_day[0]])[:16].replace("T", " ")
            cure = "sort the rows by time, or write UTC"
            cure = cure if len(steps_back) else "where the zone is right, say it: --repeated-hour first or second"
            raise CampaignError(
                f"{first} comes twice in {zone}, where clocks are set back, and the rows do not tell which; {cure}"
            )
    return is_second
