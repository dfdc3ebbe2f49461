"""Bars of other tools, as their libraries write them, against the frame that they were made from."""

import contextlib
import gzip
import json
import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import campaign
from bars.reading import bars_path, find_symbols, read_bars
from core.errors import CampaignError, to_one_line
from scaffold import make_frame, refusal
from tools import import_merging

COLUMNS = ["Open", "High", "Low", "Close", "Volume"]
LOWER = [name.lower() for name in COLUMNS]


def market(size: int = 1000, seed: int = 1, start: str = "2024-10-01", digits: int = 2) -> pd.DataFrame:
    """Hourly bars with decimal prices, over the days at which clocks are set back in Europe and the USA."""
    return make_frame(size, seed, start=start).round(dict.fromkeys(COLUMNS[:4], digits) | {"Volume": 1})


A, B = market(), market(seed=2, start="2024-10-02")


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["campaign import"])


def start(*arguments: object) -> None:
    parsed = campaign.parse(["import", *map(str, arguments)])
    parsed.start(parsed)


def refused(*arguments: object) -> str:
    """Import what must be refused, and return the line; nothing may have been written."""
    before = contents()
    message = refusal(lambda: start(*arguments))
    assert contents() == before
    return message


def contents(root: str = "data") -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def imported(symbol: str = "AAA", root: str | Path = "data/historical") -> pd.DataFrame:
    return pd.read_parquet(Path(root) / symbol / "1Hour/data.parquet")


def check_equal(frame: pd.DataFrame, expected: pd.DataFrame, rtol: float = 0.0) -> None:
    assert list(frame.columns) == list(expected.columns)
    assert frame.index.equals(expected.index.tz_convert("UTC").as_unit(frame.index.unit))
    np.testing.assert_allclose(frame.to_numpy(), expected.to_numpy(), rtol=rtol)


def epoch(frame: pd.DataFrame, unit: str) -> np.ndarray:
    return frame.index.tz_convert("UTC").tz_localize(None).values.astype(f"datetime64[{unit}]").astype(np.int64)


def with_time(frame: pd.DataFrame, name: str, times: object) -> pd.DataFrame:
    made = frame.reset_index(drop=True).rename(columns=str.lower)
    made.insert(0, name, times)
    return made


def klines(frame: pd.DataFrame, unit: str = "ms") -> pd.DataFrame:
    """Rows as Binance writes them: 12 columns."""
    made = with_time(frame, "open_time", epoch(frame, unit))
    hour = 3600 * {"ms": 10**3, "us": 10**6}[unit]
    extra = {"close_time": made["open_time"] + hour - 1, "quote_volume": made["volume"] * 100, "count": 7}
    return made.assign(**extra, taker_buy_volume=1.5, taker_buy_quote_volume=150.25, ignore=0)


def naive(frame: pd.DataFrame, zone: str) -> pd.DatetimeIndex:
    return frame.index.tz_convert(zone).tz_localize(None)


def stacked(a: str = "AAA", b: str = "000001") -> pd.DataFrame:
    """Two symbols in one frame, indexed as Alpaca's bars are."""
    frame = pd.concat({a: A, b: B}, names=["symbol"]).rename(columns=str.lower)
    return frame.assign(trade_count=3.0, vwap=frame["close"])


# --- shapes: each writes files of A as AAA (and of B as 000001), and returns the command's arguments ------------------------

Shape = Callable[[], list[object]]
SHAPES: dict[str, Shape] = {}
TWO_SYMBOLS: set[str] = set()


def shape(function: Shape) -> Shape:
    SHAPES[function.__name__.replace("_", " ")] = function
    return function


def two_symbols(function: Shape) -> Shape:
    TWO_SYMBOLS.add(function.__name__.replace("_", " "))
    return shape(function)


@shape
def csv_of_pandas():
    A.to_csv("AAA.csv")
    return ["AAA.csv"]


@shape
def csv_in_any_order_with_semicolons_and_decimal_commas():
    made = with_time(A, "date", naive(A, "UTC").strftime("%d.%m.%Y %H:%M")).sample(frac=1, random_state=0)
    made.rename(columns={"volume": "Vol"}).to_csv("AAA.csv", sep=";", decimal=",", index=False)
    return ["AAA.csv", "--timezone", "UTC", "--decimal", ","]


@shape
def csv_with_thousands_and_american_dates():
    made = with_time(A, "Date", naive(A, "UTC").strftime("%m/%d/%Y %I:%M %p"))
    made["volume"] = made["volume"].map("{:,.1f}".format)
    made.to_csv("AAA.csv", index=False)
    return ["AAA.csv", "--timezone", "UTC", "--decimal", "."]


@shape
def csv_in_local_times_newest_first():
    with_time(A, "date", naive(A, "America/New_York")).iloc[::-1].to_csv("AAA.csv", index=False)
    return ["AAA.csv", "--timezone", "America/New_York"]


@shape
def csv_with_other_names():
    with_time(A, "When", naive(A, "UTC")).rename(columns={"close": "Last", "volume": "Amount, shares"}).to_csv(
        "AAA.csv", index=False
    )
    return ["AAA.csv", "--timezone", "UTC", "--columns", "time=When,close=Last", "--no-volume"]


@shape
def csv_of_two_time_columns():
    made = with_time(A, "Date", naive(A, "Europe/Berlin").strftime("%Y%m%d"))
    made.insert(1, "Time", naive(A, "Europe/Berlin").hour * 10_000)
    made.to_csv("AAA.csv", index=False)
    return ["AAA.csv", "--timezone", "Europe/Berlin"]


@shape
def dukascopy():
    with_time(A, "Gmt time", naive(A, "UTC").strftime("%d.%m.%Y %H:%M:%S.000")).to_csv("AAA.csv", index=False)
    return ["AAA.csv"]


@shape
def histdata():
    made = with_time(A, "time", naive(A, "Etc/GMT+5").strftime("%Y%m%d %H%M%S"))
    made.to_csv("AAA.csv", sep=";", header=False, index=False)
    return ["AAA.csv", "--timezone", "EST"]


@shape
def cryptodatadownload():
    made = with_time(A, "unix", epoch(A, "ms"))
    made.insert(1, "date", naive(A, "UTC").strftime("%Y-%m-%d %H:%M:%S"))
    made.insert(2, "symbol", "AAA")
    made = made.rename(columns={"volume": "Volume AAA"}).assign(**{"Volume USDT": 1.0}).iloc[::-1]
    Path("Binance_AAA_1h.csv").write_text("https://www.CryptoDataDownload.com\n" + made.to_csv(index=False))
    return ["Binance_AAA_1h.csv", "--columns", "time=unix,volume=Volume AAA"]


@shape
def binance_csv_in_milliseconds():
    klines(A).to_csv("AAA-1h-2024-10.csv", header=False, index=False)
    return ["AAA-1h-2024-10.csv"]


@shape
def binance_zips_in_milliseconds_and_then_microseconds():
    for month, part, unit in (("2024-10", A[:600], "ms"), ("2024-11", A[600:], "us")):
        with zipfile.ZipFile(f"AAA-1h-{month}.zip", "w") as archive:
            archive.writestr(f"AAA-1h-{month}.csv", klines(part, unit).to_csv(header=False, index=False))
    return sorted(Path().glob("AAA-*.zip"))


@shape
def binance_csv_whose_unit_changes():
    text = klines(A[:500]).to_csv(index=False) + klines(A[500:], "us").to_csv(header=False, index=False)
    Path("AAA.csv").write_text(text)
    return ["AAA.csv"]


@shape
def binance_frame_with_the_closing_time_alone():
    klines(A).drop(columns="open_time").to_parquet("AAA.parquet")
    return ["AAA.parquet"]


@shape
def binance_answer():
    rows = klines(A).astype(object).to_numpy().tolist()
    Path("AAA.json").write_text(json.dumps([[row[0], *map(str, row[1:6]), row[6], *map(str, row[7:])] for row in rows]))
    return ["AAA.json"]


@shape
def freqtrade_json():
    Path("AAA-1h.json").write_text(json.dumps(with_time(A, "date", epoch(A, "ms")).to_numpy().tolist()))
    return ["AAA-1h.json"]


@shape
def freqtrade_feather():
    with_time(A, "date", A.index).to_feather("AAA-1h.feather")
    return ["AAA-1h.feather"]


@shape
def ccxt_with_text_of_okx():
    rows = with_time(A, "ts", epoch(A, "ms")).astype(str).iloc[::-1].to_numpy().tolist()
    Path("okx.json").write_text(json.dumps({"code": "0", "msg": "", "data": [[*row, "1", "1", "1"] for row in rows]}))
    return ["okx.json", "--symbol", "AAA", "--columns", "time,open,high,low,close,volume,-,-,-"]


@shape
def coinbase_candles():
    made = with_time(A, "time", epoch(A, "s"))[["time", "low", "high", "open", "close", "volume"]]
    Path("AAA.json").write_text(json.dumps(made.to_numpy().tolist()))
    return ["AAA.json", "--columns", "time,low,high,open,close,volume"]


@shape
def kraken_answer():
    rows = [
        [*map(str, row), 3]
        for row in with_time(A, "t", epoch(A, "s")).assign(vwap=1.5)[["t", *LOWER[:4], "vwap", "volume"]].values
    ]
    rows = [[int(float(row[0])), *row[1:]] for row in rows]
    Path("kraken.json").write_text(json.dumps({"error": [], "result": {"AAA": rows, "last": 1}}))
    return ["kraken.json", "--columns", "time,open,high,low,close,-,volume,-"]


@shape
def tradingview_columns():
    made = with_time(A, "t", epoch(A, "s")).set_axis(["t", "o", "h", "l", "c", "v"], axis=1)
    Path("AAA.json").write_text(json.dumps({"s": "ok", **made.to_dict("list")}))
    return ["AAA.json"]


@pytest.fixture(params=["records", "split", "index", "columns", "table", "lines", "iso"])
def orient(request: pytest.FixtureRequest) -> str:
    return request.param


@shape
def parquet_of_pandas():
    A.to_parquet("AAA.parquet")
    return ["AAA.parquet"]


@shape
def parquet_in_arrow_types():
    A.reset_index().convert_dtypes(dtype_backend="pyarrow").to_parquet("AAA.parquet", index=False)
    return ["AAA.parquet"]


@shape
def parquet_with_decimals():
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(with_time(A, "t", epoch(A, "ns")))
    fields = [pa.field("t", pa.int64()), *(pa.field(name, pa.decimal128(18, 4)) for name in LOWER)]
    columns = [table["t"], *(table[name].cast(pa.string()).cast(pa.decimal128(18, 4)) for name in LOWER)]
    pq.write_table(pa.Table.from_arrays(columns, schema=pa.schema(fields)), "AAA.parquet")
    return ["AAA.parquet"]


@shape
def parquet_of_the_projects_layout():
    path = Path("other/AAA/1Hour/data.parquet")
    path.parent.mkdir(parents=True)
    A.tz_localize(None).to_parquet(path)
    return [path]


@shape
def parquet_of_polars():
    polars = pytest.importorskip("polars")
    polars.from_pandas(with_time(A, "timestamp", naive(A, "UTC"))).write_parquet("AAA.parquet")
    return ["AAA.parquet", "--timezone", "UTC"]


@two_symbols
def csv_of_polars():
    polars = pytest.importorskip("polars")
    frame = polars.from_pandas(stacked().tz_localize(None, level="timestamp").reset_index())
    frame.with_columns(polars.col("timestamp").dt.replace_time_zone("UTC")).write_csv("bars.csv")
    return ["bars.csv"]


@two_symbols
def parquet_of_duckdb():
    duckdb = pytest.importorskip("duckdb")
    frame = stacked().reset_index()  # noqa: F841 - duckdb finds it by its name
    duckdb.sql("COPY (SELECT * FROM frame ORDER BY random()) TO 'bars.parquet'")
    return ["bars.parquet"]


@shape
def arrow_stream_of_polars():
    polars = pytest.importorskip("polars")
    polars.from_pandas(with_time(A, "timestamp", naive(A, "UTC"))).write_ipc_stream("AAA.arrow")
    return ["AAA.arrow", "--timezone", "UTC"]


@shape
def csv_of_duckdb_with_offsets_of_hours():
    duckdb = pytest.importorskip("duckdb")
    frame = with_time(A, "timestamp", naive(A, "UTC"))  # noqa: F841 - duckdb finds it by its name
    duckdb.sql("SET timezone = 'America/New_York'")
    duckdb.sql("COPY (SELECT timestamp AT TIME ZONE 'UTC' AS t, * EXCLUDE timestamp FROM frame) TO 'AAA.csv'")
    return ["AAA.csv"]


@shape
def parquet_of_fastparquet():
    fastparquet = pytest.importorskip("fastparquet")
    with warnings.catch_warnings(action="ignore"):  # it uses what pandas deprecates
        fastparquet.write("AAA.parquet", with_time(A, "timestamp", A.index))
    return ["AAA.parquet"]


def yahoo(order: tuple[str, str]) -> pd.DataFrame:
    """A frame as yfinance.download returns it: the union of both symbols' times, NaN where one has none."""
    frame = pd.concat({"AAA": A, "000001": B}, axis=1, names=["Ticker", "Price"]).tz_convert("America/New_York")
    return frame.rename_axis("Datetime").reorder_levels(order, axis=1)


@two_symbols
def yfinance_parquet():
    yahoo(("Price", "Ticker")).to_parquet("yahoo.parquet")
    return ["yahoo.parquet"]


@two_symbols
def yfinance_csv():
    yahoo(("Price", "Ticker")).to_csv("yahoo.csv")
    return ["yahoo.csv"]


@two_symbols
def yfinance_csv_grouped_by_ticker():
    yahoo(("Ticker", "Price")).to_csv("yahoo.csv")
    return ["yahoo.csv"]


@shape
def yfinance_history():
    A.tz_convert("America/New_York").rename_axis("Datetime").assign(Dividends=0.0, **{"Stock Splits": 0.0}).to_csv("AAA.csv")
    return ["AAA.csv"]


@two_symbols
def alpaca_parquet():
    stacked().to_parquet("alpaca.parquet")
    return ["alpaca.parquet"]


@two_symbols
def alpaca_csv():
    stacked().to_csv("alpaca.csv")
    return ["alpaca.csv"]


@two_symbols
def alpaca_answer():
    def bars_of(frame: pd.DataFrame) -> list[dict]:
        made = with_time(frame, "t", frame.index.strftime("%Y-%m-%dT%H:%M:%SZ"))
        return made.set_axis(["t", "o", "h", "l", "c", "v"], axis=1).assign(n=3, vw=1.5).to_dict("records")

    Path("alpaca.json").write_text(json.dumps({"bars": {"AAA": bars_of(A), "000001": bars_of(B)}, "next_page_token": None}))
    return ["alpaca.json"]


@shape
def polygon_answer():
    made = with_time(A, "t", epoch(A, "ms")).set_axis(["t", "o", "h", "l", "c", "v"], axis=1).assign(vw=1.5, n=3)
    Path("polygon.json").write_text(json.dumps({"ticker": "AAA", "status": "OK", "results": made.to_dict("records")}))
    return ["polygon.json"]


@two_symbols
def polygon_flat_file():
    parts = [
        with_time(f, "window_start", epoch(f, "ns")).assign(ticker=s, transactions=3) for s, f in (("AAA", A), ("000001", B))
    ]
    with gzip.open("2024.csv.gz", "wt") as file:
        pd.concat(parts)[["ticker", "volume", "open", "close", "high", "low", "window_start", "transactions"]].to_csv(
            file, index=False
        )
    return ["2024.csv.gz"]


@shape
def akshare():
    made = with_time(A, "时间", (naive(A, "Asia/Shanghai") + pd.Timedelta("1h")).strftime("%Y-%m-%d %H:%M:%S"))
    made = made.rename(columns=dict(zip(LOWER, ["开盘", "最高", "最低", "收盘", "成交量"], strict=True))).assign(
        成交额=1.0, 换手率=0.1
    )
    made[["时间", "开盘", "收盘", "最高", "最低", "成交量", "成交额", "换手率"]].to_csv(
        "AAA.csv", index=False, encoding="utf_8_sig"
    )
    return ["AAA.csv"]


@shape
def quantconnect_zip():
    made = with_time(A, "time", naive(A, "America/New_York").strftime("%Y%m%d %H:%M"))
    made[LOWER[:4]] = (made[LOWER[:4]] * 10_000).round().astype(int)
    with zipfile.ZipFile("aaa.zip", "w") as archive:
        archive.writestr("aaa.csv", made.to_csv(header=False, index=False))
    return ["aaa.zip"]


def metatrader(volume: int, ticks: int) -> pd.DataFrame:
    local = naive(A, "EET")
    made = A.reset_index(drop=True).set_axis(["<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<VOL>"], axis=1)
    made.insert(0, "<DATE>", local.strftime("%Y.%m.%d"))
    made.insert(1, "<TIME>", local.strftime("%H:%M:%S"))
    made.insert(6, "<TICKVOL>", made["<VOL>"] * ticks)
    return made.assign(**{"<VOL>": made["<VOL>"] * volume, "<SPREAD>": 2})


@shape
def metatrader_5_export():
    metatrader(0, 1).to_csv("AAA_H1_202410010000_202411110000.csv", sep="\t", index=False)
    return ["AAA_H1_202410010000_202411110000.csv", "--timezone", "EET"]


@shape
def metatrader_5_export_of_an_exchange_in_utf_16():
    metatrader(1, 9).to_csv("AAA_H1.csv", sep="\t", index=False, encoding="utf-16")
    return ["AAA_H1.csv", "--timezone", "EET"]


@shape
def metatrader_5_frame():
    made = with_time(A, "time", naive(A, "EET").values.astype("datetime64[s]").astype(np.int64))
    made.rename(columns={"volume": "tick_volume"}).assign(spread=1, real_volume=0).to_parquet("AAA.parquet")
    return ["AAA.parquet", "--timezone", "EET"]


@shape
def metatrader_4_export():
    made = with_time(A, "time", naive(A, "EET").strftime("%H:%M"))
    made.insert(0, "date", naive(A, "EET").strftime("%Y.%m.%d"))
    made.to_csv("AAA60.csv", header=False, index=False)
    return ["AAA60.csv", "--timezone", "EET", "--symbol", "AAA"]


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_comes_in_as_the_frame_it_was_made_from(name, capsys):
    arguments = SHAPES[name]()
    start(*arguments)
    check_equal(imported(), A.assign(Volume=0.0) if "--no-volume" in arguments else A, rtol=0)
    assert find_symbols(Path("data/historical")) == (["000001", "AAA"] if name in TWO_SYMBOLS else ["AAA"])
    if name in TWO_SYMBOLS:
        check_equal(imported("000001"), B)
    before, said = contents(), capsys.readouterr().out
    assert "AAA: 1,000 new; 1,000 bars from 2024-10-01 00:00 to 2024-11-11 15:00 UTC" in said
    start(*arguments)
    assert contents() == before, "repeated"
    assert "AAA: nothing new" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The default formatting")
def test_every_orient_of_pandas_json_comes_in(orient):
    frame = A.reset_index() if orient in ("records", "lines") else A
    options = {"orient": "records", "lines": True} if orient == "lines" else {"orient": orient}
    options = {"orient": "columns", "date_format": "iso"} if orient == "iso" else options
    frame.to_json("AAA.json", double_precision=10, **options)
    start("AAA.json")
    check_equal(imported(), A)


# --- what is said and refused ---------------------------------------------------------------------------------------------


def test_a_file_is_told_what_it_was_taken_for(capsys):
    start(*SHAPES["akshare"]())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("AAA.csv")]
    assert line == (
        "AAA.csv: CSV, 1,000 rows; time '时间' (text, year first, local times of Asia/Shanghai, the end of the bar); "
        "open '开盘'; high '最高'; low '最低'; close '收盘'; volume '成交量'; "
        "symbol AAA by the file's name; not taken: 成交额, 换手率"
    )


def write(frame: pd.DataFrame, name: str = "AAA.csv", **options: object) -> str:
    frame.to_csv(name, index=False, **options)
    return name


LOCAL = with_time(A, "date", naive(A, "America/New_York"))
UTC = with_time(A, "date", A.index)
AMBIGUOUS = {
    "zone": (lambda: write(LOCAL), "do not tell their zone; name it: --timezone UTC or", ["--timezone", "America/New_York"]),
    "wrong zone": (
        lambda: write(LOCAL),
        "AAA.csv contradicts itself at 2024-11-03 01:00 UTC",
        ["--timezone", "America/New_York"],
        ["--timezone", "UTC"],
    ),
    "zone of UTC": (lambda: write(UTC), "not local ones; leave out --timezone Asia/Tokyo", [], ["--timezone", "Asia/Tokyo"]),
    "day or month": (
        lambda: write(with_time(A[:200], "date", naive(A[:200], "UTC").strftime("%d/%m/%Y %H:%M"))),
        "leave open which part is the day (day and month); say it: --date-format '%d/%m/%Y %H:%M' or",
        ["--timezone", "UTC", "--date-format", "%d/%m/%Y %H:%M"],
    ),
    "form": (
        lambda: write(with_time(A, "date", naive(A, "UTC").strftime("%d %b %Y %H h"))),
        "are in no known form; describe it: --date-format",
        ["--timezone", "UTC", "--date-format", "%d %b %Y %H h"],
    ),
    "unit": (
        lambda: write(with_time(A, "time", epoch(A, "ms"))),
        "in us the times are from 1970-01-20 to 1970-01-21, which cannot be; --unit ms",
        ["--unit", "ms"],
        ["--unit", "us"],
    ),
    "unit of the future": (
        lambda: write(with_time(A, "time", epoch(A, "ms") + 3652 * 86_400_000)),
        "is between 1990 and now in no unit since 1970; name it: --unit ms",
        ["--unit", "ms"],
    ),
    "two volumes": (
        lambda: write(UTC.assign(vol=1.0)),
        "several columns may be the volume: volume, vol; say which: --columns volume=volume",
        ["--columns", "volume=volume"],
    ),
    "two times": (
        lambda: write(with_time(A, "date", A.index).assign(timestamp=A.index.tz_convert("Asia/Tokyo"))),
        "several columns may be the time: date, timestamp; say which: --columns time=date",
        ["--columns", "time=date"],
    ),
    "order": (
        lambda: write(with_time(A, "t", epoch(A, "s"))[["t", "low", "high", "open", "close", "volume"]], header=False),
        "but as Coinbase writes them; say so: --columns time,low,high,open,close,volume",
        ["--columns", "time,low,high,open,close,volume"],
    ),
    "nine columns": (
        lambda: write(with_time(A, "t", epoch(A, "s")).assign(a=1, b=2, c=3), header=False),
        "9 columns without names, whose order is not known; name it, such as --columns time,open,high,low,close,volume,-,-,-",
        ["--columns", "time,open,high,low,close,volume,-,-,-"],
    ),
    "quotes of Lean": (
        lambda: write(
            with_time(A, "t", naive(A, "UTC").strftime("%Y%m%d %H:%M")).assign(a=1, b=2, c=3, d=4, e=5),
            header=False,
        ),
        "11 columns without names, whose order is not known",
        ["--columns", "time,open,high,low,close,volume,-,-,-,-,-", "--timezone", "UTC"],
    ),
    "names": (
        lambda: write(UTC.rename(columns={"open": "Erster"})),
        "no column for open (found: date, Erster, high, low, close, volume); name each: --columns open=NAME",
        ["--columns", "open=Erster"],
    ),
    "symbol": (lambda: write(UTC, "ohlcv.csv"), "neither the file nor its name tells the symbol: --symbol", ["--symbol", "AAA"]),
    "decimal": (
        lambda: write(UTC, sep=";", decimal=","),
        ", not a number; say which sign is decimal: --decimal ,",
        ["--decimal", ","],
    ),
    "thousands": (
        lambda: write(UTC),
        "column open holds '100.0', where . separates no thousands; --decimal .",
        ["--decimal", "."],
        ["--decimal", ","],
    ),
    "prices of Lean": (
        lambda: write(
            with_time(A, "t", naive(A, "UTC").strftime("%Y%m%d %H:%M")).assign(
                **{name: (A[name.capitalize()].to_numpy() * 10_000).round().astype(int) for name in LOWER[:4]}
            ),
            header=False,
        ),
        "where QuantConnect wrote them in 1/10,000 dollar: --price-divisor 10000, else --price-divisor 1",
        ["--price-divisor", "10000", "--timezone", "UTC"],
    ),
    "encoding": (lambda: write(UTC.assign(名=1), encoding="gb18030"), "as --encoding gb18030", ["--encoding", "gb18030"]),
    "metatrader": (
        lambda: str(SHAPES["metatrader 5 frame"]()[0]),
        "MetaTrader counts seconds in the zone of its server",
        ["--timezone", "EET"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_is_ambiguous_is_refused_and_the_named_option_settles_it(case):
    make, finding, cure, *wrong = AMBIGUOUS[case]
    name = make()
    message = refused(name, *(wrong[0] if wrong else []))
    assert name in message
    assert finding in message
    start(name, *cure)
    expected = A.set_axis(A.index + pd.Timedelta("3652 days")) if case == "unit of the future" else A
    check_equal(imported(), expected[:200] if case == "day or month" else expected)


BAD = {
    "missing": ("gone.csv", None, "gone.csv not found; name files that are there"),
    "directory": (".", None, "is a directory; name the files in it"),
    "empty": ("AAA.csv", b"", "no table of bars"),
    "prose": ("AAA.csv", b"<html>not found</html>\n", "no table of bars"),
    "header alone": ("AAA.csv", b"time,open,high,low,close,volume\n", "holds no rows below the header"),
    "short header": ("AAA.csv", A.to_csv(index_label=False).encode(), "the header names 5 columns, rows have 6; mend the header"),
    "torn row": ("AAA.csv", A.to_csv()[:-30].encode(), "damaged CSV (CSV parse error: Expected 6 columns, got"),
    "pickle": ("AAA.pkl", b"\x80\x04\x95\x00", "a pickle, which can run any code; write the frame as parquet"),
    "Excel": ("AAA.xls", b"\xd0\xcf\x11\xe0\x00", "an Excel workbook; save the sheet as CSV"),
    "HDF5": ("AAA.h5", b"\x89HDF\r\n", "an HDF5 file; write the frame as parquet"),
    "torn parquet": ("AAA.parquet", b"PAR1\x00\x00", "damaged ("),
    "torn feather": ("AAA.feather", b"ARROW1\x00\x00", "damaged ("),
    "torn zip": ("AAA.zip", b"PK\x03\x04\x00\x00", "damaged or encrypted zip ("),
    "torn gzip": ("AAA.csv.gz", gzip.compress(A.to_csv().encode())[:500], "damaged gzip ("),
    "torn JSON": ("AAA.json", b"[[1,2,3,4", "damaged JSON ("),
    "other JSON": ("AAA.json", b'{"error": "no such symbol"}', "no bars in the JSON ("),
    "uneven JSON": ("AAA.json", b"[[1,2,3,4,5,6],[1,2]]", "rows of the JSON have different lengths"),
    "no encoding": ("AAA.csv", b"\xff\xfa\xfa", "no text in utf-8, and no format that is known"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_read_is_refused_by_name(case):
    name, content, finding = BAD[case]
    if content is not None:
        Path(name).write_bytes(content)
    message = refused(name)
    assert f"{name}" in message
    assert finding in message


def change(row: int, column: str, value: object) -> pd.DataFrame:
    made = UTC.astype(object)
    made.loc[row, column] = value
    return made


BAD_ROWS = {
    "text": (change(5, "close", "n.a."), "column close holds 'n.a.' in row 6, not a number; mend it"),
    "empty price": (change(5, "high", ""), "high is empty, zero or negative in 1 of 1,000 rows (AAA.csv, first at 2024"),
    "zero": (change(5, "low", 0), "low is empty, zero or negative in 1 of 1,000 rows (AAA.csv, first at 2024-10-01 05:00 UTC)"),
    "no time": (change(5, "date", ""), "no time in 1 of 1,000 rows; mend or remove them"),
    "close above high": (change(5, "close", 1e6), "AAA: Close outside Low..High in 1 of 1000 rows, first at 2024-10-01 05:00"),
    "daily": (UTC[::24], "AAA: not hourly bars"),
    "dates": (UTC.assign(date=A.index.strftime("%Y-%m-%d")), "only dates, no times of day, such as 2024-10-01"),
    "mixed offsets": (change(5, "date", "2024-10-01 05:00"), "some times tell their offset from UTC and some do not"),
    "1970": (UTC.assign(date=pd.to_datetime(epoch(A, "s"), unit="ms")), "converted with a wrong unit"),
    "too small": (UTC.assign(date=np.arange(1000)), "times such as 0, which is between 1990 and now in no unit since 1970"),
    "symbol": (UTC.assign(symbol="."), "the symbol '.' cannot be the name of a directory; name another: --symbol SYMBOL"),
    "no symbol": (change(5, "volume", 1).assign(symbol=["AAA"] * 999 + [""]), "no symbol in 1 of 1,000 rows of 'symbol'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ROWS)
def test_rows_that_cannot_be_used_are_refused_with_their_place(case):
    frame, finding = BAD_ROWS[case]
    options = ["--timezone", "UTC"] if case in ("dates", "1970") else []
    assert finding in refused(write(frame), *options)


def test_an_unknown_zone_is_refused_with_similar_ones():
    assert "no time zone 'new york'; such as --timezone America/New_York" in refused(write(LOCAL), "--timezone", "new york")
    assert "no time zone 'US/Easter'; such as --timezone US/Eastern" in refused(write(LOCAL), "--timezone", "US/Easter")


def test_wrong_columns_are_refused_with_the_roles():
    assert "--columns takes date, time, open, high, low, close, volume, symbol, where 'first' is none" in refused(
        write(UTC), "--columns", "first,open,high,low,close,volume"
    )
    assert "no column 'Vol' (found: date, open, high, low, close, volume); name one of them" in refused(
        write(UTC), "--columns", "volume=Vol"
    )


def test_a_time_that_does_not_exist_shows_a_wrong_zone():
    frame = market(3000, start="2024-01-01")
    name = write(with_time(frame, "date", naive(frame, "UTC")))
    assert "2024-03-10 02:00 does not exist in America/New_York" in refused(name, "--timezone", "America/New_York")


def test_an_hour_that_comes_once_though_clocks_are_set_back_is_asked_for():
    thin = A.drop(A.index[(A.index >= "2024-11-03 06:00") & (A.index < "2024-11-03 07:00")])
    name = write(with_time(thin, "date", naive(thin, "America/New_York")))
    zone = ["--timezone", "America/New_York"]
    assert "2024-11-03 01:00 comes twice in America/New_York" in refused(name, *zone)
    start(name, *zone, "--repeated-hour", "first")
    check_equal(imported(), thin)


def test_several_symbols_are_not_renamed_to_one():
    stacked().to_csv("bars.csv")
    assert "holds 2 symbols (AAA, 000001); leave out --symbol" in refused("bars.csv", "--symbol", "X")
    yahoo(("Price", "Ticker")).to_csv("yahoo.csv")
    assert "yahoo.csv: holds 2 symbols (000001, AAA); leave out --symbol" in refused("yahoo.csv", "--symbol", "X")


def test_a_pair_with_a_slash_gets_a_directory_of_its_own():
    stacked("BTC/USD", "ETH/USD:USD").to_csv("bars.csv")
    start("bars.csv")
    assert find_symbols(Path("data/historical")) == ["BTC_USD", "ETH_USD_USD"]


def test_two_symbols_of_one_directory_are_refused():
    stacked("BTC/USD", "BTC:USD").to_csv("bars.csv")
    assert "BTC/USD and BTC:USD would be one directory; import their files one by one, with --symbol" in refused("bars.csv")


def test_the_simulated_market_is_not_written_over():
    assert "holds the simulated market, which DVC makes anew" in refused(write(UTC), "--to", "data/simulated")


ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Sydney", "America/St_Johns")
LAYOUTS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y/%m/%d %H:%M", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p", "%Y%m%d%H%M%S")
FORMS = {  # how times are written, and whether they tell that they are in UTC
    **{unit: (lambda local, frame, unit=unit: epoch(frame, unit), True) for unit in ("s", "ms", "us", "ns")},
    **{layout: (lambda local, _, layout=layout: local.strftime(layout), layout.endswith("%z")) for layout in LAYOUTS},
}


@pytest.mark.slow
@given(
    first=st.datetimes(pd.Timestamp("1995-01-01"), pd.Timestamp("2025-06-01")),
    size=st.integers(320, 2000),
    form=st.sampled_from(sorted(FORMS)),
    zone=st.sampled_from(ZONES),
    delimiter=st.sampled_from(",;\t|"),
    has_names=st.booleans(),
    newest_first=st.booleans(),
)
@settings(max_examples=60)
def test_any_unit_form_zone_and_order_gives_the_same_bars(first, size, form, zone, delimiter, has_names, newest_first):
    frame = market(size, start=pd.Timestamp(first).floor("h").isoformat())
    write_times, tells_utc = FORMS[form]
    made = with_time(frame, "date", write_times(frame.index.tz_convert(zone), frame))
    made = made.iloc[::-1] if newest_first else made
    made.to_csv("AAA.csv", sep=delimiter, index=False, header=has_names)
    options = [] if tells_utc else ["--timezone", zone]
    shutil.rmtree("data", ignore_errors=True)
    try:
        start("AAA.csv", *options)
    except CampaignError as error:  # the frame begins or ends between the two equal hours
        assert "comes twice" in str(error) and "where the zone is right, say it: --repeated-hour" in str(error)
        wanted = frame.index.tz_convert(zone)
        repeated = wanted.tz_localize(None).tz_localize(zone, ambiguous="NaT").isna()
        start("AAA.csv", *options, "--repeated-hour", "first" if wanted[repeated][0] == wanted[-1] else "second")
    check_equal(imported(), frame)


DAMAGED = ("binance csv in milliseconds", "yfinance csv", "polygon answer", "alpaca parquet", "quantconnect zip")


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut, repeat, or change some bytes."""
    first, last = sorted(rng.integers(0, len(data), 2))
    kind = rng.integers(4)
    if kind == 0:
        return data[:last]
    if kind == 1:
        return data[:first] + data[last:]
    if kind == 2:
        return data[:last] + data[first:]
    changed = bytearray(data)
    for position in rng.integers(0, len(data), 1 + rng.integers(20)):
        changed[position] = rng.integers(256)
    return bytes(changed)


@pytest.mark.parametrize(
    "name", ["binance csv in milliseconds", "yfinance csv", "polygon answer", "alpaca parquet", "quantconnect zip"]
)
def test_a_damaged_file_is_refused_with_a_line_or_comes_in(name, capsys):
    """Whatever comes in is usable; nothing ends in a traceback."""
    path, *options = SHAPES[name]()
    data, rng = Path(path).read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        shutil.rmtree("data", ignore_errors=True)
        Path(path).write_bytes(damage(data, rng))
        try:
            start(path, *options)
        except CampaignError as error:
            assert "\n" not in to_one_line(error)
            assert not Path("data/historical").exists()
        else:
            assert all(
                len(read_bars(bars_path(Path("data/historical"), symbol))) for symbol in find_symbols(Path("data/historical"))
            )


# --- merging ------------------------------------------------------------------------------------------------------------


def test_files_that_overlap_are_merged_and_equal_rows_are_there_once(capsys):
    start(write(UTC[:600], "AAA-1h-1.csv"))
    start(write(UTC[400:], "AAA-1h-2.csv"))
    check_equal(imported(), A)
    assert "AAA: 400 new; 1,000 bars" in capsys.readouterr().out
    shutil.rmtree("data")
    start("AAA-1h-2.csv", "AAA-1h-1.csv", "AAA-1h-1.csv")
    check_equal(imported(), A)


@pytest.mark.parametrize(("keep", "expected"), [("old", 0), ("new", 1)])
def test_contradictions_with_what_is_there_are_refused_by_file_and_time(keep, expected):
    start(write(UTC))
    other = UTC.copy()
    other.loc[[7, 9], "volume"] += 1
    message = refused(write(other, "other.csv"), "--symbol", "AAA")
    found = f"volume {UTC['volume'][7]:.10g} and {other['volume'][7]:.10g}; 2 such rows"
    assert (
        f"data/historical/AAA/1Hour/data.parquet and other.csv contradict each other at 2024-10-01 07:00 UTC ({found})" in message
    )
    assert message.endswith("--keep old keeps the first of them, --keep new the last")
    start("other.csv", "--symbol", "AAA", "--keep", keep)
    assert imported()["Volume"].iloc[7] == [UTC, other][expected]["volume"][7]


def test_contradictions_between_files_are_refused_by_their_names():
    message = refused(write(UTC, "AAA-1h-a.csv"), write(UTC.assign(volume=1.0), "AAA-1h-b.csv"))
    assert "AAA: AAA-1h-a.csv and AAA-1h-b.csv contradict each other at 2024-10-01 00:00 UTC" in message


def test_an_unfinished_last_bar_is_refused_and_can_be_left_out():
    late = change(999, "date", "2024-11-11 14:23:07+00:00")
    assert (
        "the last bar, 2024-11-11 14:23 UTC, is less than an hour after the one before, and so unfinished: --drop-last"
        in refused(write(late))
    )
    start("AAA.csv", "--drop-last")
    check_equal(imported(), A[:-1])


def test_further_columns_come_in_by_name_and_stay():
    stacked().loc[["AAA"]].to_csv("bars.csv")
    start("bars.csv", "--extra", "vwap,trade_count")
    check_equal(imported(), A.assign(vwap=A["Close"], trade_count=3.0))
    start("bars.csv", "--extra", "vwap,trade_count")
    assert "has further columns; import them too: --extra vwap,trade_count" in refused("bars.csv")
    assert read_bars(Path("data/historical/AAA/1Hour/data.parquet"), ["vwap"]).extra["vwap"].tolist() == A["Close"].tolist()
    stacked().loc[["AAA"]].assign(count=1).to_csv("more.csv")
    assert "lacks count; leave out --extra count" in refused("more.csv", "--extra", "vwap,trade_count,count")


# --- hours ----------------------------------------------------------------------------------------------------------------


def minutes(step: int = 5) -> pd.DataFrame:
    """Bars of `step` minutes over some days, without those of 15:00 to 17:59 UTC and of some single times."""
    frame = market(6000, seed=3)
    frame.index = pd.date_range("2024-10-01", periods=len(frame), freq=f"{step}min", tz="UTC", name="timestamp")
    gone = (frame.index.hour >= 15) & (frame.index.hour < 18) | (np.arange(len(frame)) % 17 == 3)
    return frame[~gone]


def hours_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Hourly bars, one hour at a time."""
    rows = {}
    for hour in sorted({time.floor("h") for time in frame.index}):
        inside = frame[(frame.index >= hour) & (frame.index < hour + pd.Timedelta("1h"))]
        highest, lowest, volume = max(inside["High"]), min(inside["Low"]), sum(inside["Volume"])
        rows[hour] = [inside["Open"].iloc[0], highest, lowest, inside["Close"].iloc[-1], volume]
    index = pd.DatetimeIndex(list(rows), name="timestamp").tz_convert("UTC")
    return pd.DataFrame(list(rows.values()), index=index, columns=COLUMNS)


@pytest.mark.parametrize("step", [1, 5, 15, 30])
def test_finer_bars_become_hours_and_hours_without_trades_are_left_out(step):
    frame = minutes(step)
    name = write(with_time(frame, "date", frame.index))
    assert f"AAA: bars of {step} minutes; make bars of an hour of them: --resample" in refused(name)
    start(name, "--resample")
    check_equal(imported(), hours_of(frame), rtol=1e-12)
    assert not {15, 16, 17} & set(imported().index.hour)


def test_times_at_the_end_of_finer_bars_are_shifted_before(capsys):
    frame = minutes(5)
    start(write(with_time(frame, "date", frame.index + pd.Timedelta("5min"))), "--resample", "--times", "close")
    check_equal(imported(), hours_of(frame), rtol=1e-12)


def test_an_hour_that_ends_early_is_told(capsys):
    frame = minutes(5)
    frame = frame[frame.index < "2024-10-19 10:25"]
    start(write(with_time(frame, "date", frame.index)), "--resample")
    assert "AAA: the last hour has bars up to 2024-10-19 10:25 UTC only" in capsys.readouterr().out
    shutil.rmtree("data")
    start("AAA.csv", "--resample", "--drop-last")
    check_equal(imported(), hours_of(frame)[:-1], rtol=1e-12)


def test_bars_that_cross_an_hour_are_not_resampled():
    frame = A[:400].set_axis(pd.date_range("2024-10-01", periods=400, freq="45min", tz="UTC", name="timestamp"))
    message = refused(write(with_time(frame, "date", frame.index)), "--resample")
    assert "bars of 45 minutes cannot be made bars of an hour: that of 2024-10-01 00:45 UTC belongs to two hours" in message


def test_hourly_bars_that_overlap_are_not_resampled():
    """As those of a session that opens at half past, with bars of full hours before it."""
    times = [
        f"2024-01-{day:02d} {hour}" for day in range(1, 29) for hour in ("08:00", "09:00", "09:30", "10:30", "11:30", "12:30")
    ]
    frame = A[: len(times)].set_axis(pd.DatetimeIndex(times, tz="UTC"))
    name = write(with_time(frame, "date", frame.index))
    for options in ([], ["--resample"]):
        assert "that of 2024-01-01 09:30 UTC opens before the one before has ended" in refused(name, *options)


def test_hourly_bars_stay_as_they_are_with_resample():
    half = A.set_axis(A.index + pd.Timedelta("30min"))
    start(write(with_time(half, "date", half.index)), "--resample")
    check_equal(imported(), half)


# --- splits ---------------------------------------------------------------------------------------------------------------


def split_frame(position: int = 500, ratio: float = 4) -> pd.DataFrame:
    """The frame A in raw prices, with a split at a row."""
    raw = A.copy()
    raw.iloc[:position, :4] *= ratio
    raw.iloc[:position, 4] /= ratio
    return raw


@pytest.mark.parametrize("how", ["detect", "splits.csv"])
def test_prices_are_adjusted_for_splits_and_repeating_changes_nothing(how, capsys):
    raw = split_frame()
    Path("splits.csv").write_text(f"symbol,timestamp,ratio\nAAA,{A.index[500]},4\nBBB,2020-01-01,2\n")
    name = write(with_time(raw, "date", raw.index))
    start(name, "--splits", how)
    check_equal(imported(), A, rtol=1e-12)
    assert "AAA: prices before these splits are adjusted: 2024-10-21 20:00 UTC 4 for 1" in capsys.readouterr().out
    before = contents()
    start(name, "--splits", how)
    assert contents() == before


def test_splits_that_are_left_are_told_and_with_detect_refused(capsys):
    raw = split_frame()
    name = write(with_time(raw, "date", raw.index))
    start(name)
    assert "warning: AAA: prices jump as by splits: 2024-10-21 20:00 UTC 4 for 1; --splits detect or" in capsys.readouterr().out
    shutil.rmtree("data")
    start(write(with_time(raw[:500], "date", raw.index[:500]), "AAA-1h-1.csv"), "--splits", "detect")
    later = write(with_time(raw[500:], "date", raw.index[500:]), "AAA-1h-2.csv")
    assert "what looks like splits is left in the prices that are there" in refused(later, "--splits", "detect")
    start("AAA-1h-1.csv", later, "--splits", "detect", "--to", "data/fresh")
    check_equal(imported(root="data/fresh"), A, rtol=1e-12)


def test_bars_that_are_there_are_adjusted_in_place(capsys):
    raw = split_frame()
    start(write(with_time(raw, "date", raw.index)))
    path = "data/historical/AAA/1Hour/data.parquet"
    start(path, "--splits", "detect")
    check_equal(imported(), A, rtol=1e-12)
    assert "AAA: some changed; 1,000 bars" in capsys.readouterr().out
    before = contents()
    start(path, "--splits", "detect")
    assert contents() == before


# --- nothing half done ------------------------------------------------------------------------------------------------------


def test_an_error_in_one_symbol_writes_none():
    frame = pd.concat([UTC.assign(symbol="AAA"), UTC.assign(symbol="BBB", close=1e6)])
    assert "BBB: Close outside Low..High" in refused(write(frame, "two.csv"))
    assert not Path("data/historical").exists()


class Killed(BaseException):
    """The process ends here, without any cleaning up."""


@pytest.mark.parametrize("point", range(1, 9))
def test_a_kill_leaves_each_symbol_as_it_was_or_as_it_will_be(point, monkeypatch):
    """At each sync and rename. AAA is there before, BBB is not."""
    start(write(UTC[:600]))
    frame = pd.concat([UTC.assign(symbol="AAA"), UTC.assign(symbol="BBB")])
    left = [point]

    def dying(function: Callable) -> Callable:
        def call(*arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                return None  # dead: cleaning up does nothing
            if left[0] == 0:
                raise Killed
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dying(os.fsync))
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(Path, "replace", dying(Path.replace))
        patch.setattr(Path, "unlink", lambda *_, **__: None if left[0] <= 0 else pytest.fail("nothing is removed before"))
        remove = shutil.rmtree
        patch.setattr(import_merging.shutil, "rmtree", lambda *a, **o: remove(*a, **o) if left[0] > 0 else None)
        with contextlib.suppress(Killed):
            start(write(frame, "two.csv"))
    root = Path("data/historical")
    for symbol in find_symbols(root):
        assert len(read_bars(root / symbol / "1Hour/data.parquet")) in ((600, 1000) if symbol == "AAA" else (1000,))
    start("two.csv")
    check_equal(imported("AAA"), A)
    check_equal(imported("BBB"), A)
    assert sorted(path.name for path in root.iterdir()) == ["AAA", "BBB"]


def test_a_full_disk_changes_nothing(monkeypatch):
    start(write(UTC[:600]))

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    message = refused(write(UTC))
    assert "No space left on device" in message


def test_two_imports_at_once_into_one_directory_are_refused():
    with import_merging.locked_root(Path("data/historical")):
        assert "another import into data/historical runs; wait for its end" in refused(write(UTC))


def test_what_is_imported_is_listed_by_bars(desk, capsys):
    frame = make_frame(900, seed=1, volatility=0.015)
    start(write(with_time(frame, "date", frame.index)))
    campaign.parse(["bars", "data/historical"]).start(campaign.parse(["bars", "data/historical"]))
    assert re.search("^AAA +2024-01-01", capsys.readouterr().out, re.MULTILINE)


# --- real bars ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_real_bars_exported_to_two_shapes_come_back(real_bars):
    """As one CSV of all in milliseconds, and as a feather file each in local time."""
    symbols = find_symbols(real_bars)
    frames = {symbol: pd.read_parquet(real_bars / symbol / "1Hour/data.parquet") for symbol in symbols}
    together = pd.concat(
        {symbol: with_time(frame, "t", epoch(frame, "ms")) for symbol, frame in frames.items()}, names=["ticker"]
    )
    import pyarrow as pa
    import pyarrow.csv

    pyarrow.csv.write_csv(pa.Table.from_pandas(together.reset_index("ticker"), preserve_index=False), "all.csv")
    start("all.csv", "--to", "one")
    for symbol, frame in frames.items():
        with_time(frame, "Datetime", frame.index.tz_convert("America/New_York")).to_feather(f"{symbol}.feather")
    start(*(f"{symbol}.feather" for symbol in symbols), "--to", "two")
    for root in (Path("one"), Path("two")):
        for symbol in symbols:
            written = read_bars(root / symbol / "1Hour/data.parquet")
            original = read_bars(real_bars / symbol / "1Hour/data.parquet")
            assert np.array_equal(written.timestamps, original.timestamps)
            for name in LOWER:
                assert np.array_equal(getattr(written, name), getattr(original, name)), (symbol, name)


def test_the_ten_splits_of_the_real_bars_are_adjusted(real_bars, capsys):
    """Closes of days around a split against the ratio of each, from the data's README."""
    start(*(real_bars / symbol / "1Hour/data.parquet" for symbol in ("AAPL", "BAC", "VXX", "SPY")), "--splits", "detect")
    said = capsys.readouterr().out
    assert len(re.findall(r" \d+ for 1| 1 for 4", said)) == 10
    assert "warning" not in said
    raw, adjusted = pd.read_parquet(real_bars / "AAPL/1Hour/data.parquet"), imported("AAPL")
    factor = raw["Close"] / adjusted["Close"]
    expected = {"2000-06-20": 112, "2000-06-22": 56, "2005-03-01": 28, "2014-06-10": 4, "2020-09-01": 1}
    for day, value in expected.items():
        np.testing.assert_allclose(factor.loc[day], value)
    assert (imported("SPY")["Close"] == pd.read_parquet(real_bars / "SPY/1Hour/data.parquet")["Close"]).all()
