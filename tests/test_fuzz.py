"""Bars and parameters of any content: success, or one line and earlier results untouched."""

import decimal
import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import generate_data
from bars.reading import read_bars
from core.errors import CampaignError
from core.params import read_section
from core.run import run
from learn.train_stage import Train
from scaffold import PROJECT, make_frame, write_params, write_symbol

FRAME = make_frame(800, seed=4, volatility=0.015)
FEATURES = ["return_1", "rsi_14", "volume_sma_20"]


def examples(number: int) -> settings:
    """Settings for tests whose examples share the directory of a fixture."""
    return settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


GOOD = parquet(FRAME)
SCHEMAS = {"data": generate_data.Data, "train": Train}


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """Change, cut out, double or insert a few bytes."""
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        if draw(st.booleans()):  # the footer decides how the rest is read
            at = max(0, len(content) - 1 - draw(st.integers(0, 600)))
        kind = draw(st.sampled_from(["change", "cut", "double", "insert", "end"]))
        span = draw(st.integers(1, 64))
        if kind == "change" and content:
            content[at] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del content[at : at + span]
        elif kind == "double":
            content[at:at] = content[at : at + span]
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=span))
        else:
            del content[at:]
    return bytes(content)


COLUMNS = st.sampled_from(list(FRAME.columns))
TYPES = st.sampled_from(
    ["str", "int64", "float32", "bool", "category", "datetime64[ns]", "object", "complex128", "Int64", "Float32"]
)
VALUES = st.one_of(st.floats(), st.integers(-10, 10**12), st.none(), st.text(max_size=3), st.booleans())


@st.composite
def odd_frame(draw: st.DrawFn) -> pd.DataFrame:
    """Draw bars with a column of another type, odd values, other names, another index or odd timestamps."""
    frame = FRAME.copy()
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["type", "value", "rename", "drop", "index", "shift", "rows", "nested"]))
        column = draw(COLUMNS)
        if column not in frame.columns:
            continue
        if kind == "type":
            through = "int64" if draw(st.booleans()) else "str"
            frame[column] = frame[column].astype(through, errors="ignore").astype(draw(TYPES), errors="ignore")
        elif kind == "value":
            frame[column] = ([draw(VALUES)] * 3 + frame[column].tolist()[3:])[: len(frame)]
        elif kind == "rename":
            frame = frame.rename(columns={column: draw(st.sampled_from(["open", "OPEN", "High", "x", "", "timestamp"]))})
        elif kind == "drop":
            frame = frame.drop(columns=column)
        elif kind == "index":
            frame = frame.reset_index(drop=draw(st.booleans()))
        elif kind == "shift" and len(frame) and isinstance(frame.index, pd.DatetimeIndex):
            times = frame.index.to_series()
            times.iloc[draw(st.integers(0, len(times) - 1))] += pd.Timedelta(draw(st.integers(-200, 200)), "min")
            frame.index = pd.DatetimeIndex(times).rename("timestamp")
        elif kind == "rows":
            frame = frame.iloc[: draw(st.integers(0, 200))]
        else:
            frame[column] = [[1, 2]] * len(frame)
    return frame


@pytest.fixture
def place(desk: Path) -> Path:
    """A working directory with results of an earlier success."""
    write_params(desk, data={"bars": "bars", "features": FEATURES})
    write_symbol(desk / "bars", "AAA", FRAME)
    generate_data.main()
    return desk


def outputs(directory: Path) -> dict[str, bytes]:
    return {
        str(file): file.read_bytes() for part in ("data", "metrics") for file in (directory / part).rglob("*") if file.is_file()
    }


def check_stage_survives(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the stage: it succeeds, or ends with one line and leaves earlier results. Restores these after a success."""
    before = outputs(place)
    try:
        run(generate_data.main)
    except SystemExit as stop:
        assert isinstance(stop.code, str)
        assert "\n" not in stop.code
        assert 20 < len(stop.code) < 2000
        assert outputs(place) == before
    else:
        shutil.rmtree(place / "data")
        for name, content in before.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(content)
    capsys.readouterr()


@pytest.mark.slow
@examples(200)
@given(content=mutated(GOOD))
def test_bars_of_any_bytes(place, capsys, content):
    (place / "bars/AAA/1Hour/data.parquet").write_bytes(content)
    check_stage_survives(place, capsys)


@pytest.mark.slow
@examples(120)
@given(frame=odd_frame())
def test_bars_of_any_columns(place, capsys, frame):
    try:
        content = parquet(frame)
    except Exception:  # what cannot be written need not be read
        return
    (place / "bars/AAA/1Hour/data.parquet").write_bytes(content)
    check_stage_survives(place, capsys)


UNIT_COUNTS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
ZONES = ["UTC", "America/New_York", "Europe/London", "Europe/Berlin", "Australia/Sydney", "Asia/Kolkata"]
CURE = re.compile(r": (frame(?:\.index|\[[^]]*\])? = .*?)(?:; where they are UTC, say so: .*)?$")


@st.composite
def odd_times(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw bars, and the same bars with times of other units, types and names, at another place.

    A part of the rows, or all, counts in another unit than the one that the times are read in.
    """
    start = draw(st.datetimes(pd.Timestamp("1980-01-01").to_pydatetime(), pd.Timestamp("2026-01-01").to_pydatetime()))
    frame = FRAME[: draw(st.integers(20, 300))]
    frame = frame.set_axis(
        pd.date_range(pd.Timestamp(start).floor("h"), periods=len(frame), freq="h", tz="UTC", name="timestamp")
    )
    seconds = (frame.index - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1s")
    units = [draw(st.sampled_from(list(UNIT_COUNTS))) for _ in range(draw(st.integers(1, 3)))]
    parts = np.array_split(np.arange(len(frame)), len(units))
    numbers = np.concatenate([seconds.to_numpy()[rows] * UNIT_COUNTS[unit] for unit, rows in zip(units, parts, strict=True)])
    kind = draw(st.sampled_from(["numbers", "floats", "digits", "date-time", "zone", "text", "decimal"]))
    if kind == "text":
        zone = draw(st.sampled_from(ZONES))
        times = pd.Series(frame.index.tz_convert(zone).map(draw(st.sampled_from([str, lambda time: time.isoformat()]))))
    elif kind in ("date-time", "zone"):
        try:
            times = pd.Series(pd.to_datetime(numbers, unit=draw(st.sampled_from(list(UNIT_COUNTS)))))
        except (OverflowError, pd.errors.OutOfBoundsDatetime):
            times = pd.Series(frame.index)
        if kind == "zone" and times.dt.tz is None:
            times = times.dt.tz_localize("UTC").dt.tz_convert(draw(st.sampled_from(ZONES)))
    else:
        make = {"numbers": int, "floats": float, "digits": str, "decimal": decimal.Decimal}[kind]
        times = pd.Series([make(number) for number in numbers.tolist()])
    name = draw(st.sampled_from(["timestamp", "Timestamp", "open_time", "date", "time", "index", "Unnamed: 0", "t"]))
    if draw(st.booleans()):
        return frame, frame.set_axis(pd.Index(times, name=name))
    return frame, frame.reset_index(drop=True).assign(**{name: times})


@examples(250)
@given(frames=odd_times())
@pytest.mark.slow
def test_bars_of_any_times_and_units(place, capsys, frames):
    """Accepted times are right, at once or after the cures were followed; else the bars are refused in one line."""
    frame, written = frames
    path = place / "bars/AAA/1Hour/data.parquet"
    for cures in range(6):
        try:
            written.to_parquet(path)
        except pa.ArrowException:  # what cannot be written need not be read
            return
        if not cures:
            check_stage_survives(place, capsys)
        try:
            bars = read_bars(path)
        except CampaignError as error:
            message = str(error)
        else:
            expected = frame.index.tz_convert(None).to_numpy().astype("datetime64[s]")
            np.testing.assert_array_equal(bars.timestamps, expected)
            np.testing.assert_array_equal(bars.close, frame["Close"])
            return
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        cure = CURE.search(message)
        if cure is None:
            assert re.search("; (convert|write|correct|the rows contradict)", message), message
            return
        names = {"frame": pd.read_parquet(path), "pd": pd}
        exec(cure[1], names)
        written = names["frame"]
    raise AssertionError(message)


@examples(150)
@given(content=mutated((PROJECT / "params.yaml").read_bytes()))
@pytest.mark.slow
def test_parameters_of_any_bytes(place, capsys, content):
    (place / "params.yaml").write_bytes(content.replace(b"data/simulated", b"bars"))
    check_stage_survives(place, capsys)
    for name, schema in SCHEMAS.items():
        try:
            run(lambda name=name, schema=schema: read_section(name, schema))
        except SystemExit as stop:
            assert isinstance(stop.code, str)
            assert "\n" not in stop.code


KEYS = st.sampled_from(
    [f"data.{key}" for key in generate_data.Data.model_fields] + [f"train.{key}" for key in Train.model_fields]
)
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.floats(0, 1), max_size=4), st.just({})
)


@pytest.mark.slow
@examples(100)
@given(key=KEYS, value=ODD)
def test_parameters_of_any_value(place, capsys, key, value):
    section, name = key.split(".")
    if key == "data.bars" and isinstance(value, str):
        value = os.path.join("nowhere", value.replace("\0", ""))
    sections: dict[str, dict] = {"data": {"bars": "bars", "features": FEATURES}, "train": {}}
    sections[section][name] = value
    write_params(place, **sections)
    if section == "data":
        check_stage_survives(place, capsys)
    else:
        try:
            run(lambda: read_section("train", Train))
        except SystemExit as stop:
            assert key in str(stop.code)
            assert "\n" not in str(stop.code)
