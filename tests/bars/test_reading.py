"""Bars that are read, and every kind that is refused in one line: file, finding, cure."""

import os
import re
import resource
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bars import reading
from bars.reading import find_symbols, read_bars, split_at_gaps
from core.errors import CampaignError
from scaffold import make_frame, write_symbol


def change(frame: pd.DataFrame, column: str, rows: slice | int, value: object) -> pd.DataFrame:
    frame = frame.copy()
    frame.iloc[rows, frame.columns.get_loc(column)] = value
    return frame


def reorder(frame: pd.DataFrame) -> pd.DataFrame:
    order = np.arange(len(frame))
    order[[50, 51]] = order[[51, 50]]
    return frame.iloc[order]


GOOD = make_frame(200)


def at(times: pd.DatetimeIndex) -> pd.DataFrame:
    """Give the good bars other times."""
    return GOOD.set_axis(times.rename("timestamp"))


TWICE = pd.concat([GOOD[:50], GOOD[49:]])
EPOCH = GOOD.reset_index().assign(timestamp=lambda frame: (frame["timestamp"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1s"))
UNTIMED = GOOD.reset_index().assign(timestamp=lambda frame: frame["timestamp"].where(frame.index != 3))
BAD_FRAMES = {
    "no volume column": (GOOD.drop(columns="Volume"), "no column Volume (found: Open, High, Low, Close); add what is missing"),
    "two columns gone": (GOOD[["Open", "Close"]], "no column High, Low, Volume"),
    "ambiguous": (GOOD.assign(close=1.0), "ambiguous (Close and close); keep one of each"),
    "text": (GOOD.assign(Close=GOOD["Close"].astype(str)), "column Close holds str, not numbers; convert it"),
    "NaN": (change(GOOD, "High", slice(3, 5), np.nan), "NaN in High in 2 of 200 rows, first at 2024-01-01 03:00 UTC; remove"),
    "infinite": (change(GOOD, "Volume", 9, np.inf), "infinite Volume in 1 of 200 rows, first at 2024-01-01 09:00 UTC"),
    "zero price": (change(GOOD, "Low", 4, 0.0), "zero or negative Low in 1 of 200 rows"),
    "negative price": (change(GOOD, "Open", 4, -1.0), "zero or negative Open in 1 of 200 rows"),
    "negative volume": (change(GOOD, "Volume", 4, -1.0), "negative Volume in 1 of 200 rows"),
    "high below low": (change(GOOD, "High", 4, 1.0), "High below Low in 1 of 200 rows"),
    "close above high": (change(GOOD, "Close", 4, 1e6), "Close outside Low..High in 1 of 200 rows"),
    "open below low": (change(GOOD, "Open", 4, 1e-3), "Open outside Low..High in 1 of 200 rows"),
    "twice the same hour": (TWICE, "duplicate timestamps in 1 of 201 rows, first at 2024-01-03 01:00"),
    "decreasing": (reorder(GOOD), "decreasing timestamps in 1 of 200 rows, first at 2024-01-03 02:00 UTC; sort by time"),
    "daily": (at(pd.date_range("2020", periods=200)), "not hourly bars: the usual step is 24 h"),
    "minutes": (at(pd.date_range("2020", periods=200, freq="min")), "not hourly bars: the usual step is 1 minute; resample"),
    "one short step": (at(GOOD.index[:99].append(GOOD.index[98:-1] + pd.Timedelta("30min"))), "steps shorter than an hour in 1"),
    "unfinished": (at(GOOD.index[:-1].append(GOOD.index[-2:-1] + pd.Timedelta("30min"))), "opens 30 minutes after the one"),
    "fractions": (at(GOOD.index + pd.Timedelta("1ms")), "timestamps with fractions of a second"),
    "no time": (GOOD.reset_index(drop=True), "add the bars' opening times as column timestamp"),
    "time as seconds": (EPOCH, "(the column timestamp holds int64, 1704067200 to 1704783600, seconds since"),
    "time as nanoseconds": (EPOCH.assign(timestamp=pd.to_datetime(EPOCH["timestamp"])), '1970, a wrong unit (seconds ("s")'),
    "time as text": (GOOD.reset_index().astype({"timestamp": str}), "(the column timestamp holds str, such as"),
    "two times": (GOOD.reset_index().assign(TIMESTAMP=1), "ambiguous (timestamp and TIMESTAMP); keep one of each"),
    "no rows": (GOOD[:0], "the file has no rows; remove the symbol or write its bars"),
    "empty time": (UNTIMED, "1 empty timestamps; remove those rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_bars_are_refused_with_file_finding_and_cure(tmp_path, case):
    frame, finding = BAD_FRAMES[case]
    path = write_symbol(tmp_path, "AAA", frame)
    with pytest.raises(CampaignError) as error:
        read_bars(path)
    assert str(error.value).startswith(f"{path}: ")
    assert finding in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 3, 100, -100])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = write_symbol(tmp_path, "AAA", GOOD)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CampaignError, match=r"data.parquet is not a readable parquet file \(.*\); write it again"):
        read_bars(path)


def test_a_file_that_is_not_parquet_is_refused(tmp_path):
    path = write_symbol(tmp_path, "AAA", GOOD)
    path.write_text("timestamp,Open\n2024-01-01,1\n")
    with pytest.raises(CampaignError, match="is not a readable parquet file"):
        read_bars(path)
    path.unlink()
    with pytest.raises(CampaignError, match="not found; put the bars there, or have data.symbols name those that are meant"):
        read_bars(path)
    path.mkdir()
    with pytest.raises(CampaignError, match="is a directory, not a parquet file"):
        read_bars(path)


@pytest.mark.parametrize(
    "variant",
    [
        GOOD,
        GOOD.rename(columns=str.upper),
        GOOD.reset_index(),
        GOOD.reset_index().rename(columns={"timestamp": "Timestamp"}),
        GOOD.tz_localize(None),
        GOOD.tz_convert("America/New_York"),
        GOOD.rename_axis(None),
        GOOD.assign(Comment="ignored"),
        GOOD.astype(np.float32).astype(np.float64),
        GOOD.reset_index().convert_dtypes(dtype_backend="pyarrow"),
    ],
    ids=["plain", "upper", "column", "Column", "naive", "zone", "nameless", "more", "float32", "arrow"],
)
def test_variants_of_the_same_frame_are_read_alike(tmp_path, variant):
    bars = read_bars(write_symbol(tmp_path, "AAA", variant))
    assert bars.timestamps[0] == np.datetime64("2024-01-01T00:00:00")
    np.testing.assert_allclose(bars.close, GOOD["Close"], rtol=1e-6)
    assert len(bars) == 200


def test_integers_and_extra_columns_become_float64(tmp_path):
    frame = GOOD.assign(Volume=np.arange(200), sentiment=np.linspace(-1, 1, 200))
    bars = read_bars(write_symbol(tmp_path, "AAA", frame), ["sentiment"])
    assert bars.volume.dtype == np.float64
    assert bars.extra["sentiment"][-1] == 1
    assert bars[10:20].extra["sentiment"][0] == frame["sentiment"].iloc[10]
    with pytest.raises(CampaignError, match="no column mood"):
        read_bars(tmp_path / "AAA/1Hour/data.parquet", ["mood"])


def test_a_root_without_symbols_is_refused(tmp_path):
    with pytest.raises(CampaignError, match=r"no bars at .*nowhere: put <SYMBOL>/1Hour/data.parquet files there"):
        find_symbols(tmp_path / "nowhere")
    (tmp_path / ".git").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(CampaignError, match="no symbol directory under"):
        find_symbols(tmp_path)


def test_symbols_that_lead_out_of_the_root_are_refused(tmp_path):
    outside = write_symbol(tmp_path / "elsewhere", "AAA", GOOD)
    root = tmp_path / "bars"
    write_symbol(root, "BBB", GOOD)
    (root / "LINK").symlink_to(outside.parents[1])
    with pytest.raises(CampaignError, match="LINK leads out of the directory; replace the link by the files"):
        find_symbols(root)
    (root / "LINK").unlink()
    (root / "CCC" / "1Hour").mkdir(parents=True)
    (root / "CCC" / "1Hour" / "data.parquet").symlink_to(outside)
    with pytest.raises(CampaignError, match="CCC leads out"):
        find_symbols(root)


@given(st.lists(st.integers(1, 8), max_size=30), st.integers(1, 6))
def test_sequences_break_at_long_steps_and_lose_no_row(steps, max_gap):
    hours = np.cumsum([0, *steps])
    parts = list(split_at_gaps(np.datetime64("2024-01-01", "s") + hours * np.timedelta64(3600, "s"), max_gap))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(len(hours)))
    starts = {part.start for part in parts}
    assert starts == {0} | {row for row in range(1, len(hours)) if hours[row] - hours[row - 1] > max_gap}


def test_all_real_bars_are_usable(real_bars: Path):
    symbols = find_symbols(real_bars)
    assert len(symbols) == 16
    assert sum(len(read_bars(real_bars / symbol / "1Hour" / "data.parquet")) for symbol in symbols) > 500_000


def test_a_root_one_directory_too_high_is_named_with_the_right_one(tmp_path):
    write_symbol(tmp_path / "historical", "AAA", GOOD)
    with pytest.raises(CampaignError, match=r"no symbol directory under .*, but under .*/historical: set data.bars to that"):
        find_symbols(tmp_path)
    assert find_symbols(tmp_path / "historical") == ["AAA"]


@pytest.mark.parametrize(
    ("make", "finding"),
    [
        (os.mkfifo, "is a pipe or a device, not a parquet file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a pipe or a device, not a parquet file"),
        (
            lambda path: path.symlink_to(path),
            "cannot be reached (Too many levels of symbolic links); put the symbol's bars there",
        ),
        (lambda path: path.symlink_to("nowhere"), "not found; put the bars there"),
    ],
    ids=["pipe", "device", "loop", "nowhere"],
)
def test_a_path_that_is_no_file_is_refused_without_blocking(tmp_path, make, finding):
    path = write_symbol(tmp_path, "AAA", GOOD)
    path.unlink()
    make(path)
    with pytest.raises(CampaignError, match=re.escape(f"{path} {finding}")):
        read_bars(path)


def test_a_file_where_a_directory_belongs_is_refused(tmp_path):
    (tmp_path / "AAA").mkdir()
    (tmp_path / "AAA/1Hour").touch()
    with pytest.raises(CampaignError, match=r"cannot be reached \(Not a directory\)"):
        read_bars(tmp_path / "AAA/1Hour/data.parquet")


def test_broken_and_circular_links_are_named(tmp_path):
    write_symbol(tmp_path, "AAA", GOOD)
    (tmp_path / "LOOP").symlink_to("LOOP")
    (tmp_path / "GONE").symlink_to("nowhere")
    with pytest.raises(CampaignError, match="GONE, LOOP leads nowhere; mend the link or remove it"):
        find_symbols(tmp_path)
    (tmp_path / "GONE").unlink()
    (tmp_path / "LOOP").unlink()
    (tmp_path / "AAA/1Hour/data.parquet").unlink()
    (tmp_path / "AAA/1Hour/data.parquet").symlink_to("data.parquet")
    assert find_symbols(tmp_path) == ["AAA"]
    (tmp_path / "root").symlink_to("root")
    with pytest.raises(CampaignError, match=r"no bars at .*root: the link leads nowhere; mend it, or change data.bars"):
        find_symbols(tmp_path / "root")


@pytest.mark.parametrize("name", [b"A\xff", b"A\nB", b"A\x1b[1m"], ids=["no UTF-8", "line", "control"])
def test_a_directory_whose_name_cannot_be_printed_is_refused(tmp_path, name):
    write_symbol(tmp_path, "AAA", GOOD)
    (tmp_path / "AAA").rename(tmp_path / os.fsdecode(name))
    with pytest.raises(CampaignError, match="is no name of printable UTF-8 characters; rename the directory") as error:
        find_symbols(tmp_path)
    assert str(error.value).isprintable()


def test_a_symbol_may_have_the_longest_file_name(tmp_path):
    write_symbol(tmp_path, "A" * 255, GOOD)
    assert find_symbols(tmp_path) == ["A" * 255]
    with pytest.raises(CampaignError) as error:
        read_bars(write_symbol(tmp_path, "A" * 255, GOOD[:0]))
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(("written", "variable"), [("~/bars", "HOME"), ("$BARS/bars", "BARS"), ("${BARS}/bars", "BARS")])
def test_a_root_with_unexpanded_variables_is_refused_with_the_expanded_path(tmp_path, monkeypatch, written, variable):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, str(tmp_path))
    write_symbol(tmp_path / "bars", "AAA", GOOD)
    with pytest.raises(CampaignError) as error:
        find_symbols(Path(written))
    assert str(error.value).startswith(f"no bars at {written}: ~ and variables are not expanded there")
    assert find_symbols(Path(str(error.value).rpartition("set data.bars to ")[2])) == ["AAA"]
    shutil.copytree("bars", written)
    assert find_symbols(Path(written)) == ["AAA"], "a directory of that very name"


def test_a_small_file_of_millions_of_rows_is_refused_before_it_is_read(tmp_path):
    path = write_symbol(tmp_path, "AAA", GOOD)
    row = pa.table({name: [1.0] for name in ("Open", "High", "Low", "Close", "Volume")})
    rows = pa.table(
        {name: pa.DictionaryArray.from_arrays(np.zeros(10**6, np.int8), row[name].combine_chunks()) for name in row.column_names}
    )
    with pq.ParquetWriter(path, rows.schema) as writer:
        for _ in range(5):
            writer.write_table(rows)
    assert path.stat().st_size < 500_000
    began = pa.total_allocated_bytes()
    with pytest.raises(CampaignError, match="the file says it has 5,000,000 rows, more than there are hours in 500 years"):
        read_bars(path)
    assert pa.total_allocated_bytes() == began


def test_only_needed_columns_are_read_and_counted(tmp_path, monkeypatch):
    """Other columns may be damaged or large. The size that the file states is checked before reading."""
    path = write_symbol(tmp_path, "AAA", GOOD.assign(note="x" * 10_000, **{"a.b": 1.5}))
    group = pq.ParquetFile(path).metadata.row_group(0)
    (number,) = (n for n in range(group.num_columns) if group.column(n).path_in_schema == "note")
    content = bytearray(path.read_bytes())
    first = group.column(number).dictionary_page_offset
    content[first : first + group.column(number).total_compressed_size] = bytes(group.column(number).total_compressed_size)
    path.write_bytes(content)
    monkeypatch.setattr(reading, "MAX_BYTES", 20_000)
    assert read_bars(path, ["a.b"]).extra["a.b"].tolist() == [1.5] * 200
    monkeypatch.setattr(reading, "MAX_BYTES", 10**6)
    with pytest.raises(CampaignError, match="is not a readable parquet file"):
        read_bars(path, ["note"])
    monkeypatch.setattr(reading, "MAX_BYTES", 5_000)
    with pytest.raises(CampaignError, match=r"the file says its columns take [\d,]+ bytes, for 200 rows; write it again"):
        read_bars(path)


def test_too_little_memory_is_not_blamed_on_the_file(tmp_path, monkeypatch):
    path = write_symbol(tmp_path, "AAA", GOOD)

    def fail(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr(pd, "read_parquet", fail)
    with pytest.raises(MemoryError, match=re.escape(f"while reading {path}: malloc of size 64 failed")):
        read_bars(path)


def test_too_many_open_files_are_not_blamed_on_the_file(tmp_path):
    path = write_symbol(tmp_path, "AAA", GOOD)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    read_bars(path)  # what is imported on the way is then there
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files") as error:
            read_bars(path)
        assert str(error.value.filename) == str(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
