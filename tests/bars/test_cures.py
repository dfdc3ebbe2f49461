"""Bars as other tools write them: what is refused, and that its cure, followed to the letter, gives the right bars."""

import decimal
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import simulate_market
from bars.reading import Bars, bars_from_frame, read_bars
from core.errors import CampaignError
from scaffold import make_frame, write_symbol

CURE = re.compile(r": (frame(?:\.index|\[[^]]*\])? = .*?)(?:; where they are UTC, say so: (.*))?$")
HOURS = 24 * 400
YEAR = make_frame(HOURS, start="2023-02-01")  # of all hours, over three changes of the clocks
SHORT = make_frame(300)
UNIT_COUNTS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def follow(tmp_path: Path, frame: pd.DataFrame, *, extra: tuple[str, ...] = (), as_utc: bool = False) -> tuple[Bars, list[str]]:
    """Write bars and read them, and follow the cure of each refusal as a user would. Returns the bars and the refusals."""
    refusals = []
    for _ in range(6):
        path = write_symbol(tmp_path, "AAA", frame)
        try:
            return read_bars(path, extra), refusals
        except CampaignError as error:
            message = str(error)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        assert len(message) < 700
        cure = CURE.search(message)
        assert cure, message
        refusals.append(message)
        names = {"frame": pd.read_parquet(path), "pd": pd}
        exec(cure[2] if as_utc else cure[1], names)
        frame = names["frame"]
    raise AssertionError(refusals)


def assert_same(bars: Bars, frame: pd.DataFrame) -> None:
    """Compare with the frame that they were made from: index in UTC."""
    expected = frame.index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[s]")
    np.testing.assert_array_equal(bars.timestamps, expected)
    for name in ("Open", "High", "Low", "Close", "Volume"):
        np.testing.assert_array_equal(getattr(bars, name.lower()), frame[name])


def numbers(frame: pd.DataFrame, unit: str) -> np.ndarray:
    """Return the opening times as numbers since 1970, by plain arithmetic."""
    return frame.index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64) * UNIT_COUNTS[unit]


def as_column(frame: pd.DataFrame, values: object, name: str = "timestamp") -> pd.DataFrame:
    return frame.reset_index(drop=True).assign(**{name: values})


# --- units ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNIT_COUNTS)
@pytest.mark.parametrize("name", ["timestamp", "open_time", "time", "index"])
@pytest.mark.parametrize("dtype", ["int64", "float64", "Int64", "str", "int64[pyarrow]", "string[pyarrow]"])
def test_numbers_are_converted_by_the_unit_that_is_named(tmp_path, unit, name, dtype):
    values = pd.Series(numbers(SHORT, unit)).astype(dtype)
    frame = as_column(SHORT, values, name) if name != "index" else SHORT.set_axis(pd.Index(values))
    bars, (refusal,) = follow(tmp_path, frame)
    assert f'unit="{unit}")' in refusal
    assert_same(bars, SHORT)


@pytest.mark.parametrize("units", [("ms", "us"), ("s", "ms"), ("us", "ns"), ("s", "us"), ("s", "ms", "us", "ns"), ("us", "ms")])
def test_numbers_of_several_units_are_converted_by_their_size(tmp_path, units):
    parts = np.array_split(np.arange(len(SHORT)), len(units))
    values = np.concatenate([numbers(SHORT, unit)[rows] for unit, rows in zip(units, parts, strict=True)])
    bars, (refusal,) = follow(tmp_path, as_column(SHORT, values))
    assert "seconds since 1970, by their size" in refusal
    assert_same(bars, SHORT)


OTHER_NUMBERS = {
    "hour as digits": (lambda times: times.strftime("%Y%m%d%H").astype("int64"), "date and hour as digits"),
    "minute as digits": (lambda times: times.strftime("%Y%m%d%H%M").astype("int64"), "date and time as digits"),
    "second as digits": (lambda times: times.strftime("%Y%m%d%H%M%S").astype("int64"), "date and time, as digits"),
    "minutes": (lambda times: (times - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1min"), "minutes since 1970"),
    "hours": (lambda times: (times - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1h"), "hours since 1970"),
    "days": (lambda times: (times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta("1D"), "days since 1970"),
    "spreadsheet": (lambda times: (times - pd.Timestamp("1899-12-30", tz="UTC")) / pd.Timedelta("1D"), "as in spreadsheets"),
}


@pytest.mark.parametrize("case", OTHER_NUMBERS)
@pytest.mark.parametrize("place", ["column", "index"])
def test_numbers_of_other_kinds_are_named(tmp_path, case, place):
    make, words = OTHER_NUMBERS[case]
    values = np.asarray(make(SHORT.index))
    frame = as_column(SHORT, values) if place == "column" else SHORT.set_axis(pd.Index(values, name="timestamp"))
    bars, (refusal,) = follow(tmp_path, frame)
    assert words in refusal
    assert_same(bars, SHORT)


def test_a_column_that_only_sounds_like_a_time_is_none(tmp_path):
    with pytest.raises(CampaignError, match=r"no date-time column or index \(found: .*\); add the bars' opening times as column"):
        read_bars(write_symbol(tmp_path, "AAA", as_column(SHORT, numbers(SHORT, "s"), "sentiment")))


def test_rows_without_a_time_are_removed(tmp_path):
    for unit, dtype in (("ms", "Int64"), ("ms", "float64"), ("s", "datetime64[s]")):
        values = pd.Series(numbers(SHORT, unit)).astype(dtype)
        values[[3, 7]] = None
        bars, refusals = follow(tmp_path, as_column(SHORT, values))
        assert "2 empty" in refusals[0]
        assert_same(bars, SHORT.drop(SHORT.index[[3, 7]]))


def test_numbers_that_are_no_times_are_not_converted(tmp_path):
    with pytest.raises(CampaignError, match=r"0 to 598, which in no unit are dates from 1971 to now\); write the bars' opening"):
        read_bars(write_symbol(tmp_path, "AAA", as_column(SHORT, np.arange(300) * 2)))
    zeros = numbers(SHORT, "ms") * (np.arange(300) > 2)
    with pytest.raises(CampaignError, match=r"of which 3 give no date from 1971 to now: 0, 0, 0\); correct or remove those rows"):
        read_bars(write_symbol(tmp_path, "AAA", as_column(SHORT, zeros)))
    with pytest.raises(CampaignError, match=r"no date-time column or index \(found: Open, .*\); add the bars' opening times as"):
        read_bars(write_symbol(tmp_path, "AAA", SHORT.reset_index(drop=True)))


WRONG = [(true, read) for true in UNIT_COUNTS for read in UNIT_COUNTS if true != read]


@pytest.mark.parametrize(("true", "read"), WRONG)
@pytest.mark.parametrize(
    ("place", "part"),
    [(place, "second half") for place in ("column", "index", "zone", "date", "level", "ns", "ms")]
    + [(place, part) for place in ("column", "ns", "ms") for part in ("all", "first half", "last bar")],
)
def test_a_wrong_unit_is_named_and_mended(tmp_path, true, read, part, place):
    rows = {"all": slice(None), "second half": slice(150, None), "first half": slice(150), "last bar": slice(-1, None)}[part]
    values = numbers(SHORT, read)
    values[rows] = numbers(SHORT, true)[rows]
    try:
        times = pd.DatetimeIndex(pd.to_datetime(values, unit=read))
    except pd.errors.OutOfBoundsDatetime:
        return  # pandas refuses it itself
    assert pd.DatetimeIndex(times).unit == ("ns" if read == "ns" else "us"), "as pandas 3 has it; the message relies on it"
    times = times.tz_localize("UTC") if place == "zone" else times
    if place in ("ns", "ms"):
        try:
            converted = times.as_unit(place)
        except pd.errors.OutOfBoundsDatetime:  # dates of ns end in 2262
            return
        if (converted.as_unit(times.unit) != times).any():
            with pytest.raises(CampaignError, match="; convert the source again, with the unit of its numbers"):
                read_bars(write_symbol(tmp_path, "AAA", SHORT.set_axis(converted)))
            return
        times = converted
    if place in ("index", "zone", "ns", "ms"):
        frame = SHORT.set_axis(times.rename("timestamp"))
    elif place == "level":
        frame = SHORT.set_axis(pd.MultiIndex.from_arrays([["AAA"] * 300, times], names=["symbol", "timestamp"]))
    else:
        frame = as_column(SHORT, times, "timestamp" if place == "column" else "Date")
    bars, refusals = follow(tmp_path, frame)
    names = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
    assert f'{names[true]} ("{true}") read as {names[read]}' in refusals[0]
    assert f" in {len(values[rows])} of 300 rows, first at " in refusals[0]
    assert_same(bars, SHORT)


def test_real_bars_whose_second_half_counts_microseconds_are_refused(tmp_path, real_bars):
    bars = pd.read_parquet(real_bars / "SOLUSDT/1Hour/data.parquet")
    values = np.where(np.arange(len(bars)) < len(bars) // 2, numbers(bars, "ms"), numbers(bars, "us"))
    mended, (refusal,) = follow(tmp_path, as_column(bars, pd.to_datetime(values, unit="ms")))
    assert "timestamps of 5" in refusal
    assert 'microseconds ("us") read as milliseconds' in refusal
    assert_same(mended, bars)


def test_only_the_simulated_market_may_lie_in_1970_and_nothing_after_2262(tmp_path):
    early = make_frame(200, start="1970-01-01")
    path = write_symbol(tmp_path, "AAA", early)
    with pytest.raises(CampaignError, match="timestamps of 1970"):
        read_bars(path)
    (tmp_path / "SIMULATED.json").write_text("{}")
    assert_same(read_bars(path), early)
    late = make_frame(200, start="2120-01-01")
    assert_same(read_bars(write_symbol(tmp_path, "AAA", late)), late)
    far = as_column(SHORT, pd.to_datetime(numbers(SHORT, "us"), unit="ms"))
    with pytest.raises(CampaignError, match="timestamps before 1700 or after 2262 in 300 of 300 rows"):
        read_bars(write_symbol(tmp_path, "AAA", far))


def test_bars_of_1970_in_no_unit_and_bars_before_it(tmp_path):
    with pytest.raises(CampaignError, match="timestamps of 1970 in 200 of 200 rows, .*; no unit makes them plausible"):
        read_bars(write_symbol(tmp_path, "AAA", make_frame(200, start="1970-06-01")))
    old = make_frame(20_000, start="1969-01-01")
    assert_same(read_bars(write_symbol(tmp_path, "AAA", old)), old)


# --- local times ----------------------------------------------------------------------------------------------------

CHANGING_ZONES = ["America/New_York", "America/Chicago", "Europe/London", "Europe/Berlin", "Europe/Athens", "Australia/Sydney"]


def localized_cure(message: str, zone: str) -> str:
    """Return the cure with the user's own zone; the message can only give an example of the same clock changes."""
    return re.sub(r'tz_localize\("[^"]+", amb', f'tz_localize("{zone}", amb', CURE.search(message)[1])


def follow_in_zone(tmp_path: Path, frame: pd.DataFrame, zone: str) -> tuple[Bars, str]:
    path = write_symbol(tmp_path, "AAA", frame)
    with pytest.raises(CampaignError) as error:
        read_bars(path)
    names = {"frame": pd.read_parquet(path), "pd": pd}
    exec(localized_cure(str(error.value), zone), names)
    return read_bars(write_symbol(tmp_path, "AAA", names["frame"])), str(error.value)


@pytest.mark.parametrize("zone", CHANGING_ZONES)
@pytest.mark.parametrize("place", ["column", "index"])
def test_the_hour_of_the_clock_change_is_no_copy(tmp_path, zone, place):
    times = YEAR.index.tz_convert(zone).tz_localize(None)
    frame = YEAR.set_axis(times) if place == "index" else as_column(YEAR, times, "date")
    bars, message = follow_in_zone(tmp_path, frame, zone)
    assert f"the hour of the clock change comes twice, as in local time without a zone, in 1 of {HOURS} rows" in message
    assert_same(bars, YEAR)


def test_local_times_that_were_called_utc_are_told_by_their_repeated_hour(tmp_path):
    times = YEAR.index.tz_convert("America/New_York").tz_localize(None).tz_localize("UTC")
    bars, message = follow_in_zone(tmp_path, YEAR.set_axis(times), "America/New_York")
    assert "comes twice, as in local time taken for UTC, in 1 of " in message
    assert_same(bars, YEAR)


@pytest.mark.parametrize("zone", CHANGING_ZONES)
def test_local_times_are_recognised_by_the_hour_that_spring_lacks(tmp_path, zone):
    """As after the removal of the second of two equal hours."""
    local = YEAR.set_axis(YEAR.index.tz_convert(zone).tz_localize(None))
    repeated = local.index.duplicated()
    bars, message = follow_in_zone(tmp_path, local[~repeated], zone)
    assert "local times without a zone: the hour that the clocks skip in spring is missing, as in " in message
    assert_same(bars, YEAR[~repeated])
    as_utc, _ = follow(tmp_path, local[~repeated], as_utc=True)
    assert_same(as_utc, local[~repeated].tz_localize("UTC"))


def sessions(zone: str, times: list[str], days: int = 300) -> pd.DataFrame:
    """Make bars that open at the same local times of each working day."""
    dates = pd.bdate_range("2022-01-03", periods=days)
    local = pd.DatetimeIndex([day + pd.Timedelta(f"{time}:00") for day in dates for time in times], name="timestamp")
    index = local.tz_localize(zone).tz_convert("UTC")
    return make_frame(len(index)).set_axis(index)


def clock(first: int, last: int, minute: int = 0) -> list[str]:
    return [f"{hour:02}:{minute:02}" for hour in range(first, last + 1)]


DAYS = {
    "New York": ("America/New_York", clock(9, 15)),
    "New York at half": ("America/New_York", clock(9, 15, 30)),
    "New York, extended": ("America/New_York", clock(4, 19)),
    "Chicago": ("America/Chicago", clock(8, 14, 30)),
    "London": ("Europe/London", clock(8, 16)),
    "Xetra": ("Europe/Berlin", clock(9, 17)),
    "Sydney": ("Australia/Sydney", clock(10, 15)),
}


@pytest.mark.parametrize("case", DAYS)
def test_local_times_are_recognised_by_sessions_that_never_move(tmp_path, case):
    zone, times = DAYS[case]
    frame = sessions(zone, times)
    bars, message = follow_in_zone(tmp_path, frame.set_axis(frame.index.tz_convert(zone).tz_localize(None)), zone)
    assert "local times without a zone: sessions open at the same hour in summer and winter, as in " in message
    assert_same(bars, frame)
    assert_same(read_bars(write_symbol(tmp_path, "AAA", frame.tz_localize(None))), frame)


@pytest.mark.parametrize(
    ("zone", "market"),
    [
        ("Europe/Berlin", "New York at half"),
        ("Europe/London", "New York"),
        ("America/New_York", "London"),
        ("America/New_York", "Xetra"),
        ("Australia/Sydney", "New York"),
    ],
)
def test_local_times_of_another_zone_than_the_markets_are_recognised(tmp_path, zone, market):
    frame = sessions(*DAYS[market], days=500)
    bars, message = follow_in_zone(tmp_path, frame.set_axis(frame.index.tz_convert(zone).tz_localize(None)), zone)
    assert f"local times without a zone: sessions move with the clocks of two zones, as in {zone} and others" in message
    assert_same(bars, frame)


@pytest.mark.parametrize(
    ("zone", "times"),
    [
        ("Asia/Tokyo", ["09:00", "10:00", "11:00", "12:30", "13:30", "14:30"]),
        ("Asia/Shanghai", ["09:30", "10:30", "13:00", "14:00"]),
        ("Asia/Kolkata", clock(9, 15, 15)),
        ("Europe/Moscow", clock(10, 18)),
    ],
)
def test_markets_without_clock_changes_are_taken_in_utc(tmp_path, zone, times):
    frame = sessions(zone, times)
    assert_same(read_bars(write_symbol(tmp_path, "AAA", frame.tz_localize(None))), frame)


@pytest.mark.slow
def test_real_bars_without_a_zone_are_taken_for_utc_and_refused_in_local_time(tmp_path, real_bars):
    for symbol in sorted(path.name for path in real_bars.iterdir() if path.is_dir()):
        frame = pd.read_parquet(real_bars / symbol / "1Hour/data.parquet")
        assert_same(read_bars(write_symbol(tmp_path, "AAA", frame.tz_localize(None))), frame)
        local = frame.set_axis(frame.index.tz_convert("America/New_York").tz_localize(None))
        for case in (local, local[~local.index.duplicated()]):
            with pytest.raises(CampaignError, match="without a zone"):
                read_bars(write_symbol(tmp_path, "AAA", case))
        bars, _ = follow_in_zone(tmp_path, local, "America/New_York")
        assert (bars.timestamps != frame.index.tz_localize(None)).mean() < 1e-3, "but where one of two equal hours is missing"


def test_only_equal_rows_are_copies(tmp_path):
    copies = pd.concat([SHORT[:50], SHORT[45:]]).sort_index(kind="stable")
    bars, refusals = follow(tmp_path, copies)
    assert "duplicate timestamps in 5 of 305 rows" in refusals[0]
    assert "the rows are equal, remove the copies: frame = frame[~frame.index.duplicated()]" in refusals[0]
    assert_same(bars, SHORT)
    copies["Volume"] += np.arange(len(copies)) * (copies.index == SHORT.index[48])
    with pytest.raises(CampaignError, match="duplicate timestamps in 1 of 305 rows, .*; the rows contradict each other; find"):
        read_bars(write_symbol(tmp_path, "AAA", copies))


@pytest.mark.parametrize("place", ["column", "index"])
def test_order_is_mended(tmp_path, place):
    frames = {
        "turn them round": SHORT[::-1],
        "sort by time": pd.concat([SHORT[200:], SHORT[:200]]),
    }
    for words, frame in frames.items():
        bars, refusals = follow(tmp_path, frame if place == "index" else frame.reset_index(names="Date"))
        assert words in refusals[0]
        assert_same(bars, SHORT)


# --- where the time stands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["date", "open_time", "datetime", "Datetime", "Date", "time", "t", "Opened at", "close_time"])
@pytest.mark.parametrize("kind", ["column", "index", "level"])
def test_the_only_date_time_column_is_taken_whatever_its_name(tmp_path, name, kind):
    frame = SHORT.rename_axis(name)
    if kind == "column":
        frame = frame.reset_index().assign(timestamp_of_file="2024-01-01", number=1)
    elif kind == "level":
        frame = frame.assign(symbol="AAA").set_index("symbol", append=True).swaplevel()
    assert_same(read_bars(write_symbol(tmp_path, "AAA", frame)), SHORT)


def test_an_index_comes_before_other_date_time_columns_and_a_timestamp_before_all(tmp_path):
    later = SHORT.index + pd.Timedelta("1h")
    assert_same(read_bars(write_symbol(tmp_path, "AAA", SHORT.rename_axis("open_time").assign(close_time=later))), SHORT)
    frame = SHORT.assign(timestamp=SHORT.index).set_axis(later.rename("closed"))
    assert_same(read_bars(write_symbol(tmp_path, "AAA", frame)), SHORT)
    numbered = SHORT.reset_index(names="datetime").assign(timestamp=numbers(SHORT, "ms"))
    assert_same(read_bars(write_symbol(tmp_path, "AAA", numbered)), SHORT)


def test_of_several_date_time_columns_one_has_to_be_renamed(tmp_path):
    frame = as_column(SHORT, SHORT.index + pd.Timedelta("1h"), "close_time").assign(open_time=SHORT.index)
    bars, (refusal,) = follow(tmp_path, frame)
    assert "several date-time columns (close_time, open_time)" in refusal
    assert_same(bars, SHORT)
    levels = pd.MultiIndex.from_arrays([SHORT.index + pd.Timedelta("1h"), SHORT.index], names=["end", "start"])
    bars, (refusal,) = follow(tmp_path, SHORT.set_axis(levels))
    assert "several date-time columns (end, start)" in refusal
    assert_same(bars, SHORT)


def test_several_assets_in_one_file_are_named(tmp_path):
    both = pd.concat({"AAA": SHORT, "BBB": SHORT * 2}, names=["symbol"])
    bars, (refusal,) = follow(tmp_path, both)
    assert "the index symbol has several values (AAA, BBB), as of several assets in one file; write one file each" in refusal
    assert_same(bars, SHORT)


TEXTS = {
    "ISO": lambda times: times.strftime("%Y-%m-%d %H:%M:%S"),
    "with T and Z": lambda times: times.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "with offset": lambda times: times.tz_convert("America/New_York").map(lambda time: time.isoformat()),
    "day first": lambda times: times.strftime("%d.%m.%Y %H:%M"),
    "month first": lambda times: times.strftime("%m/%d/%Y %I:%M %p"),
    "MetaTrader": lambda times: times.strftime("%Y.%m.%d %H:%M"),
    "Lean": lambda times: times.strftime("%Y%m%d %H:%M"),
    "midnight without a time": lambda times: [str(time)[:19].removesuffix(" 00:00:00") for time in times],
}


@pytest.mark.parametrize("case", TEXTS)
@pytest.mark.parametrize("name", ["timestamp", "Date"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_times_as_text_are_converted_by_a_call_that_was_tried(tmp_path, case, name):
    frame = make_frame(600, start="2024-03-01")
    bars, refusals = follow(tmp_path, as_column(frame, np.asarray(TEXTS[case](frame.index), object), name))
    assert "no date-time column or index (the column " in refusals[0]
    assert_same(bars, frame)


DATE_AND_TIME = {
    "text": lambda times: (times.strftime("%Y.%m.%d"), times.strftime("%H:%M:%S")),
    "day first": lambda times: (times.strftime("%d/%m/%Y"), times.strftime("%H:%M")),
    "hours and minutes as digits": lambda times: (times.strftime("%Y%m%d").astype(int), times.strftime("%H%M").astype(int)),
    "seconds as digits": lambda times: (times.strftime("%Y%m%d").astype(int), times.strftime("%H%M%S").astype(int)),
    "objects": lambda times: (times.date, times.time),
    "date-time": lambda times: (times.tz_localize(None).normalize(), times.strftime("%H:%M:%S")),
}


@pytest.mark.parametrize("case", DATE_AND_TIME)
def test_date_and_time_in_two_columns_are_joined(tmp_path, case):
    frame = make_frame(600, start="2024-03-01")
    dates, times = DATE_AND_TIME[case](frame.index)
    bars, (refusal,) = follow(tmp_path, as_column(frame, dates, "<DATE>").assign(**{"<TIME>": times}))
    assert "date and time stand in two columns, <DATE> and <TIME>; join them: " in refusal
    assert_same(bars, frame)


@pytest.mark.parametrize("name", ["Gmt time", "Unnamed: 0", "time_utc", "Kline open time", "bar_start_date"])
def test_times_as_text_are_found_under_other_names(tmp_path, name):
    frame = as_column(SHORT, SHORT.index.strftime("%Y-%m-%d %H:%M:%S"), name).assign(close_time="2024-01-01", update_date="x")
    bars, (refusal,) = follow(tmp_path, frame)
    assert f"(the column {name} holds str" in refusal
    assert_same(bars, SHORT)


@pytest.mark.parametrize("place", ["column", "index"])
def test_periods_are_converted(tmp_path, place):
    periods = SHORT.index.tz_localize(None).to_period("h")
    frame = SHORT.set_axis(periods.rename("timestamp")) if place == "index" else as_column(SHORT, periods)
    bars, (refusal,) = follow(tmp_path, frame)
    assert "holds period[h])" in refusal
    assert_same(bars, SHORT)


@pytest.mark.parametrize("place", ["column", "index"])
def test_cures_hold_for_dates_of_arrow(tmp_path, place):
    def write(frame: pd.DataFrame) -> pd.DataFrame:
        written = frame.reset_index(names="Date").convert_dtypes(dtype_backend="pyarrow")
        return written if place == "column" else written.set_index("Date")

    wrong = SHORT.set_axis(pd.to_datetime(numbers(SHORT, "us"), unit="ms"))
    copies = pd.concat([SHORT[:50], SHORT[45:]]).sort_index(kind="stable")
    late = SHORT.set_axis(SHORT.index + pd.Timedelta("3599.999s"))
    half = pd.concat([SHORT, SHORT[-1:].set_axis(SHORT.index[-1:] + pd.Timedelta("5min"))])
    for frame in (wrong, copies, late, half, SHORT[::-1]):
        bars, refusals = follow(tmp_path, write(frame))
        assert len(refusals) == 1
        assert_same(bars, SHORT)
    local = YEAR.set_axis(YEAR.index.tz_convert("Europe/Berlin").tz_localize(None))
    bars, _ = follow_in_zone(tmp_path, write(local), "Europe/Berlin")
    assert_same(bars, YEAR)


# --- the grid -------------------------------------------------------------------------------------------------------


def thin(share: float, frequency: str = "h") -> pd.DataFrame:
    """Make bars of which only a share was traded."""
    size = int(3000 / share)
    index = pd.date_range("2024-01-01", periods=size, freq=frequency, tz="UTC", name="timestamp")
    rows = np.random.default_rng(0).random(size) < share
    return make_frame(int(rows.sum())).set_axis(index[rows])


HOURLY = {
    "all hours": lambda: SHORT,
    "at half": lambda: SHORT.set_axis(SHORT.index + pd.Timedelta("30min")),
    "half of the hours": lambda: thin(0.5),
    "a tenth of the hours": lambda: thin(0.1),
    "one in 30 hours": lambda: thin(0.033),
    "New York": lambda: sessions("America/New_York", clock(9, 15, 30)),
    "New York on the hour, short first bar": lambda: sessions("America/New_York", ["09:30", *clock(10, 15)]),
    "New York at half, closing bar": lambda: sessions("America/New_York", [*clock(9, 15, 30), "16:00"]),
    "two weeks of New York, short first bar": lambda: sessions("America/New_York", ["09:30", *clock(10, 15)], 10),
    "Hong Kong": lambda: sessions("Asia/Hong_Kong", ["09:30", "10:30", "11:30", "13:00", "14:00", "15:00"]),
    "Hong Kong on the hour, short first bar": lambda: sessions("Asia/Hong_Kong", ["09:30", *clock(10, 11), *clock(13, 15)]),
    "Shanghai": lambda: sessions("Asia/Shanghai", ["09:30", "10:30", "13:00", "14:00"]),
    "Tokyo": lambda: sessions("Asia/Tokyo", ["09:00", "10:00", "11:00", "12:30", "13:30", "14:30"]),
    "India on the hour, short first bar": lambda: sessions("Asia/Kolkata", ["09:15", *clock(10, 15)]),
    "two bars a day": lambda: sessions("Europe/London", ["10:00", "11:00"]),
    "currencies": lambda: YEAR[(YEAR.index.day_of_week < 5) & ~((YEAR.index.day_of_week == 4) & (YEAR.index.hour > 20))],
    "futures": lambda: sessions("America/Chicago", [*clock(0, 15), *clock(17, 23)]),
    "one bar": lambda: SHORT[:1],
    "two bars": lambda: SHORT[:2],
}


@pytest.mark.parametrize("case", HOURLY)
def test_hourly_bars_are_told_by_their_grid(tmp_path, case):
    frame = HOURLY[case]()
    assert_same(read_bars(write_symbol(tmp_path, "AAA", frame)), frame)


def every(frequency: str) -> pd.DataFrame:
    return SHORT.set_axis(pd.date_range("2020-01-01", periods=300, freq=frequency, tz="UTC", name="timestamp"))


LONGER = {
    "2 h": lambda: every("2h"),
    "3 h": lambda: every("3h"),
    "4 h": lambda: every("4h"),
    "8 h": lambda: every("8h"),
    "12 h": lambda: every("12h"),
    "24 h": lambda: every("D"),
    "168 h": lambda: every("7D"),
    "1.5 h": lambda: every("90min"),
    "2 h, thin": lambda: thin(0.6, "2h"),
    "4 h, thin": lambda: thin(0.6, "4h"),
    "2 h of New York": lambda: sessions("America/New_York", ["09:30", "11:30", "13:30", "15:30"]),
    "4 h of New York": lambda: sessions("America/New_York", ["09:30", "13:30"]),
    "24 h of New York": lambda: sessions("America/New_York", ["00:00"]),
    "2 h of Hong Kong": lambda: sessions("Asia/Hong_Kong", ["09:30", "11:30", "13:30"]),
    "4 h of local days": lambda: sessions("America/New_York", ["00:00", "04:00", "08:00", "12:00", "16:00", "20:00"]),
}


@pytest.mark.parametrize("case", LONGER)
def test_longer_bars_are_refused_by_their_length(tmp_path, case):
    length = re.match(r"[\d.]+ h", case)[0]
    with pytest.raises(CampaignError, match=rf"not hourly bars: the usual step is {length}; longer bars cannot be divided: get"):
        read_bars(write_symbol(tmp_path, "AAA", LONGER[case]()))


def resampled(frame: pd.DataFrame) -> pd.DataFrame:
    """Make hourly bars one at a time."""
    rows: dict[pd.Timestamp, list[float]] = {}
    for time, opening, high, low, close, volume, *others in frame.itertuples():
        hour = time.tz_convert("UTC").floor("h")
        bar = rows.setdefault(hour, [opening, high, low, close, 0.0])
        rows[hour] = [bar[0], max(bar[1], high), min(bar[2], low), close, bar[4] + volume, *others]
    return pd.DataFrame(list(rows.values()), pd.DatetimeIndex(list(rows), name="timestamp"), frame.columns)


FINER = {
    "30 minutes": lambda: every("30min"),
    "15 minutes": lambda: every("15min"),
    "5 minutes": lambda: every("5min"),
    "1 minute": lambda: every("min"),
    "30 minutes, thin": lambda: thin(0.7, "30min"),
    "15 minutes, thin": lambda: thin(0.3, "15min"),
    "30 minutes of New York": lambda: sessions(
        "America/New_York", [t for h in clock(9, 15) for t in (h[:3] + "00", h[:3] + "30")][1:]
    ),
    "15 minutes of India": lambda: sessions(
        "Asia/Kolkata", [f"{h:02}:{m:02}" for h in range(9, 15) for m in (0, 15, 30, 45)][1:]
    ),
}


@pytest.mark.parametrize("case", FINER)
@pytest.mark.parametrize("place", ["column", "index"])
def test_shorter_bars_are_resampled(tmp_path, case, place):
    frame = FINER[case]()
    frame["Mood"] = np.arange(len(frame)) + 1.0
    written = frame.rename(columns=str.lower) if place == "index" else frame.reset_index(names="Date").assign(note="x")
    name = "mood" if place == "index" else "Mood"
    bars, (refusal,) = follow(tmp_path, written, extra=(name,))
    assert (
        f"not hourly bars: the usual step is {case.partition(',')[0].partition(' of')[0]}; resample them to one hour" in refusal
    )
    expected = resampled(frame)
    np.testing.assert_array_equal(bars.extra[name], expected["Mood"])
    np.testing.assert_allclose(bars.volume, expected["Volume"], rtol=1e-12)
    assert_same(bars, expected.assign(Volume=bars.volume))


def test_a_stray_bar_is_merged_into_its_hour(tmp_path):
    stray = SHORT[100:101].set_axis(SHORT.index[100:101] + pd.Timedelta("17min"))
    frame = pd.concat([SHORT, stray]).sort_index()
    bars, (refusal,) = follow(tmp_path, frame)
    assert "steps shorter than an hour in 2 of 301 rows, first at 2024-01-05 04:17 UTC; resample them" in refusal
    assert_same(bars, resampled(frame))


UNFINISHED = {
    "minute": (SHORT, "23min"),
    "microseconds": (SHORT, "1421.417123s"),
    "New York": (sessions("America/New_York", clock(9, 15, 30), 30), "30min"),
    "the next morning": (sessions("America/New_York", clock(9, 15, 30), 30), "18h 17min 12s"),
    "short first bars": (sessions("America/New_York", ["09:30", *clock(10, 15)], 30), "12min"),
    "at half": (SHORT.set_axis(SHORT.index + pd.Timedelta("30min")), "30min"),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_an_unfinished_last_bar_is_removed(tmp_path, case):
    frame, since = UNFINISHED[case]
    last = frame[-1:].set_axis(frame.index[-1:] + pd.Timedelta(since))
    bars, (refusal,) = follow(tmp_path, pd.concat([frame, last]))
    assert "as an unfinished bar of live data does; remove it: frame = frame.iloc[:-1]" in refusal
    assert_same(bars, frame)


@pytest.mark.parametrize("place", ["column", "index"])
def test_times_beside_the_grid_are_moved_to_it(tmp_path, place):
    rng = np.random.default_rng(0)
    moves = {
        "closing times": [pd.Timedelta("3599.999s")] * 300,
        "closing times, the first": [pd.Timedelta("3599s")] * 300,
        "fractions of a second": pd.to_timedelta(rng.integers(1, 400, 300), unit="ms"),
        "a little off the hour": pd.to_timedelta(rng.integers(-20, 20, 300), unit="s"),
    }
    for words, move in moves.items():
        frame = SHORT.set_axis(SHORT.index + pd.TimedeltaIndex(move))
        bars, refusals = follow(tmp_path, frame if place == "index" else frame.reset_index(names="Date"))
        assert words in refusals[0]
        assert_same(bars, SHORT)


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [-1, 1])
def test_prices_outside_the_range_by_rounding_are_clipped(tmp_path, direction):
    """Up to a billionth of the price, as prices have that were multiplied with a factor."""
    bound = SHORT["High" if direction > 0 else "Low"].to_numpy()
    for close in (np.nextafter(bound, np.inf * direction), bound * (1 + direction * 9e-10)):
        bars = read_bars(write_symbol(tmp_path, "AAA", SHORT.assign(Close=close)))
        np.testing.assert_array_equal(bars.close, bound)
        np.testing.assert_array_equal(bars.high, SHORT["High"])
        np.testing.assert_array_equal(bars.open, SHORT["Open"])
    with pytest.raises(CampaignError, match="Close outside Low..High in 300 of 300 rows"):
        read_bars(write_symbol(tmp_path, "AAA", SHORT.assign(Close=bound * (1 + direction * 2e-9))))


def test_adjusted_flat_bars_are_accepted(tmp_path):
    """High below Low by rounding, where all prices of a bar were one."""
    flat = SHORT.assign(Open=20.8, High=np.nextafter(20.8, 0), Low=20.8, Close=20.8)
    bars = read_bars(write_symbol(tmp_path, "AAA", flat))
    assert (bars.low <= bars.high).all()
    for prices in (bars.open, bars.close):
        assert ((prices >= bars.low) & (prices <= bars.high)).all()
        np.testing.assert_allclose(prices, 20.8, rtol=1e-15)


def test_prices_of_a_factor_are_accepted(tmp_path):
    """Each price multiplied by itself: rounding is monotonic, but not that of a ratio to the Close."""
    ratio = 0.1234567 / SHORT["Close"]
    adjusted = SHORT.assign(**{name: SHORT[name] * ratio for name in ("Open", "High", "Low")}, Close=0.1234567)
    bars = read_bars(write_symbol(tmp_path, "AAA", adjusted))
    assert (bars.close <= bars.high).all()
    assert (bars.close >= bars.low).all()


def indicator(leading: int, *others: int) -> pd.DataFrame:
    values = np.linspace(0, 1, len(SHORT))
    values[:leading] = np.nan
    values[list(others)] = np.nan
    return SHORT.assign(mood=values)


def test_empty_values_of_a_column_are_accepted_in_its_warm_up(tmp_path):
    bars = read_bars(write_symbol(tmp_path, "AAA", indicator(100, 40)), ["mood"])
    np.testing.assert_array_equal(np.isnan(bars.extra["mood"]), np.arange(300) < 100)
    infinite = SHORT.assign(mood=np.where(np.arange(300) < 20, np.inf, 1.0))
    assert len(read_bars(write_symbol(tmp_path, "AAA", infinite), ["mood"])) == 300


@pytest.mark.parametrize(
    ("leading", "others", "finding"),
    [
        (101, (), "in 1 of 300 rows, first at 2024-01-05 04:00 UTC; its first 101 values are empty; remove"),
        (150, (200, 299), "in 52 of 300 rows, first at 2024-01-05 04:00 UTC; its first 150 values are empty; remove"),
        (14, (100, 200, 201), "in 3 of 300 rows, first at 2024-01-05 04:00 UTC; repeat the last known value"),
    ],
)
def test_later_empty_values_of_a_column_are_counted(tmp_path, leading, others, finding):
    bars, refusals = follow(tmp_path, indicator(leading, *others), extra=("mood",))
    assert f"NaN in mood, not counted those of the first 100 bars, {finding}" in refusals[0]
    assert np.isfinite(bars.extra["mood"][100:]).all()


def test_an_empty_column_is_named(tmp_path):
    with pytest.raises(CampaignError, match="in 200 of 300 rows, .*; the column is empty; take mood out of data.features"):
        read_bars(write_symbol(tmp_path, "AAA", indicator(300)), ["mood"])


def test_decimals_become_the_nearest_floats(tmp_path):
    texts = SHORT.map(lambda value: f"{value:.8f}")
    decimals = texts.map(decimal.Decimal)
    assert_same(read_bars(write_symbol(tmp_path, "AAA", decimals)), texts.map(float))
    decimals.iloc[7, 2] = None
    with pytest.raises(CampaignError, match="NaN in Low in 1 of 300 rows, first at 2024-01-01 07:00 UTC"):
        read_bars(write_symbol(tmp_path, "AAA", decimals))


TEXT_NUMBERS = {
    "plain": lambda value: f"{value:.4f}",
    "thousands": lambda value: f"{value * 1000:,.1f}",
    "currency": lambda value: f"${value:.2f}",
}


@pytest.mark.parametrize("case", TEXT_NUMBERS)
def test_numbers_as_text_are_converted(tmp_path, case):
    texts = SHORT.map(TEXT_NUMBERS[case])
    bars, refusals = follow(tmp_path, texts)
    assert "column Open holds str, not numbers; convert it: " in refusals[0]
    assert_same(bars, texts.map(lambda text: float(text.replace(",", "").replace("$", ""))))


# --- bars that are right --------------------------------------------------------------------------------------------


def test_real_bars_are_read_to_the_last_bit(real_bars):
    for path in sorted(real_bars.glob("*/1Hour/data.parquet")):
        assert_same(read_bars(path), pd.read_parquet(path))


@pytest.mark.parametrize("start", ["1970-01-01", "2022-01-03", "2099-12-31"])
def test_the_simulated_market_is_read_to_the_last_bit(tmp_path, start):
    market = dict(simulate_market.simulate(seed=7, assets=2, bars=2000, start=start, signal=0.3))
    (tmp_path / "SIMULATED.json").touch()
    for symbol, frame in market.items():
        assert_same(read_bars(write_symbol(tmp_path, symbol, frame)), frame)
        assert_same(bars_from_frame(frame, simulated=True), frame)
