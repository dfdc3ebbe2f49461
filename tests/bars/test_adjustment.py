import dataclasses
import itertools
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from bars.adjustment import Split, adjust_bars, find_first_bar, format_ratio, read_splits
from bars.findings import find_splits
from bars.labels import Barriers
from bars.reading import Bars, bars_path, find_symbols, read_bars
from bars.rows import RowRules, cut_times, read_asset_rows, split_and_fit_scaler
from core.errors import CampaignError
from readme import block
from scaffold import make_frame, to_bars

PRICES = ["Open", "High", "Low", "Close"]


def raw_of(bars: Bars, splits: dict[int, float]) -> Bars:
    """Undo an adjustment bar by bar: the reference for `adjust_bars`."""
    columns = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for bar, (first, ratio) in itertools.product(range(len(bars)), splits.items()):
        if bar < first:
            for name in ("open", "high", "low", "close"):
                columns[name][bar] *= ratio
            columns["volume"][bar] /= ratio
    return dataclasses.replace(bars, **columns)


def assert_alike(bars: Bars, expected: Bars) -> None:
    for field in ("open", "high", "low", "close", "volume"):
        np.testing.assert_allclose(getattr(bars, field), getattr(expected, field), rtol=1e-12)
    np.testing.assert_array_equal(bars.timestamps, expected.timestamps)


# --- adjusting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratios", [(2,), (1 / 4,), (1.5,), (7, 4), (2, 1 / 10, 1.02), (1 / 4, 1 / 4, 1 / 4)])
def test_prices_before_each_split_are_divided_and_volumes_multiplied(ratios):
    bars = to_bars(make_frame(900, 1))
    first_bars = dict(zip((200, 500, 777), ratios, strict=False))
    raw = raw_of(bars, first_bars)
    splits = [Split(bars.timestamps[first], ratio) for first, ratio in first_bars.items()]
    for order in itertools.permutations(splits):
        assert_alike(adjust_bars(raw, order), bars)


def test_turnover_and_extra_columns_stay_as_they_are():
    bars = to_bars(make_frame(300, 1))
    bars = dataclasses.replace(raw_of(bars, {100: 3}), extra={"mood": np.arange(300.0)})
    adjusted = adjust_bars(bars, [Split(bars.timestamps[100], 3)])
    np.testing.assert_allclose(adjusted.close * adjusted.volume, bars.close * bars.volume)
    np.testing.assert_array_equal(adjusted.extra["mood"], bars.extra["mood"])


def test_low_and_high_still_enclose_open_and_close():
    bars = to_bars(make_frame(2000, 1).round(2))
    bars = raw_of(bars, {1500: 7})
    adjusted = adjust_bars(bars, [Split(bars.timestamps[1500], 7)])
    for name in ("open", "close"):
        assert (adjusted.low <= getattr(adjusted, name)).all()
        assert (adjusted.high >= getattr(adjusted, name)).all()


@pytest.mark.parametrize("time", ["2023-12-31", "2024-01-01", "2024-02-10"])
def test_a_split_outside_the_bars_changes_nothing(time):
    bars = to_bars(make_frame(900, 1))
    adjusted = adjust_bars(bars, [Split(np.datetime64(time, "s"), 2)])
    assert_alike(adjusted, bars)


@pytest.mark.parametrize("ratio", [1.5, 2, 4, 1 / 2, 1 / 10])
def test_bars_that_are_adjusted_already_are_refused(ratio):
    bars = to_bars(make_frame(900, 1))
    splits = [Split(bars.timestamps[500], ratio)]
    raw = raw_of(bars, {500: ratio})
    with pytest.raises(CampaignError) as refused:
        adjust_bars(adjust_bars(raw, splits), splits)
    message = str(refused.value)
    assert message.startswith(
        f"the split of {format_ratio(ratio)} at 2024-01-21 20:00 UTC is not in the prices, which open there"
    )
    assert "remove the split if the bars are adjusted already" in message


def test_a_small_ratio_is_not_told_from_a_move_and_taken_as_it_is():
    bars = to_bars(make_frame(900, 1))
    assert_alike(adjust_bars(raw_of(bars, {500: 1.05}), [Split(bars.timestamps[500], 1.05)]), bars)


@pytest.mark.parametrize(
    ("opens", "first"),
    [
        ("14:00", "2024-03-05T14:00:00"),  # New York: the same day in UTC
        ("00:00", "2024-03-05T00:00:00"),  # Tokyo
        ("23:00", "2024-03-04T23:00:00"),  # Sydney in summer: the day before in UTC
    ],
)
def test_a_date_begins_at_the_jump_near_it(opens, first):
    """Sessions of six hours a day; the split's first one begins at `first`."""
    hours = (np.arange(6)[None] + 24 * np.arange(30)[:, None]).ravel()
    start = np.datetime64(f"2024-02-20T{opens}", "s")
    bars = dataclasses.replace(
        to_bars(make_frame(180, 1, volatility=0.005)), timestamps=start + hours * np.timedelta64(3600, "s")
    )
    position = int(np.searchsorted(bars.timestamps, np.datetime64(first, "s")))
    raw = raw_of(bars, {position: 4})
    split = Split(np.datetime64("2024-03-05", "s"), 4, is_date=True)
    assert find_first_bar(raw, split) == position
    assert_alike(adjust_bars(raw, [split]), bars)


def test_a_date_without_a_bar_begins_with_the_next_bar():
    """Such as a Saturday."""
    frame = make_frame(240, 1)
    bars = to_bars(frame.drop(frame.index[96:150]))  # from 2024-01-05 00:00 to 2024-01-07 05:00
    raw = raw_of(bars, {96: 2})
    assert_alike(adjust_bars(raw, [Split(np.datetime64("2024-01-06", "s"), 2, is_date=True)]), bars)


def test_the_real_splits_bring_back_the_spread_of_returns(real_bars):
    """On train, of the shared scaler."""
    rules = RowRules(features=("return_1",), barriers=Barriers("percent", 0.05, 0.02), horizon=8, max_gap=96, lookback=24)
    symbols = find_symbols(real_bars)

    def read_adjusted(path: Path, extra: list[str]) -> Bars:
        bars = read_bars(path, extra)
        return adjust_bars(bars, find_splits(bars))

    spread = []
    for read in (read_bars, read_adjusted):
        assets = read_asset_rows(real_bars, symbols, rules, read=read)
        cuts = cut_times(np.concatenate([rows.timestamps for rows in assets]), (0.7, 0.15, 0.15))
        spread.append(split_and_fit_scaler(assets, symbols, cuts, rules).scaler.scale_[0])
    assert np.round(spread, 4).tolist() == [0.0165, 0.0126]


def test_a_file_of_the_real_splits_adjusts_as_the_detected_ones_do(real_bars, tmp_path):
    lines = [
        "AAPL,2000-06-21,2", "AAPL,2005-02-28,2", "AAPL,2014-06-09,7:1", "AAPL,2020-08-31,4", "BAC,2004-08-30,2:1",
        *(f"VXX,{day},1:4" for day in ("2010-11-09", "2012-10-05", "2013-11-08", "2016-08-09", "2017-08-23")),
    ]  # fmt: skip
    path = tmp_path / "splits.csv"
    path.write_text("\n".join(["symbol,date,ratio", *lines]))
    listed = read_splits(path)
    assert sorted(listed) == ["AAPL", "BAC", "VXX"]
    for symbol, splits in listed.items():
        bars = read_bars(bars_path(real_bars, symbol))
        assert_alike(adjust_bars(bars, splits), adjust_bars(bars, find_splits(bars)))


# --- files of splits --------------------------------------------------------------------------------------------------


def test_ratios_are_written_as_brokers_do():
    assert [format_ratio(ratio) for ratio in (4, 1.5, 0.25, 1 / 3)] == ["4 for 1", "1.5 for 1", "1 for 4", "1 for 3"]


def test_a_file_is_read_by_symbol_in_order_of_time(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text(
        "\ufeffSymbol, Ratio, Date, note\nAAPL, 4, 2020-08-31, \n\nAAPL, 7:1, 2014-06-09, seven\n000001, 3/2, 2007-06-20,\n"
        "600519, 1.1, 2015-07-17,\nVXX, 1-for-4, 2017-08-23,\nVXX, 1 for 4, 2016-08-09,\nBRK,0.25,2010-01-21,\n",
        encoding="utf-8",
    )
    splits = {
        symbol: [(str(split.timestamp)[:10], split.ratio, split.is_date) for split in own]
        for symbol, own in read_splits(path).items()
    }
    assert splits == {
        "AAPL": [("2014-06-09", 7.0, True), ("2020-08-31", 4.0, True)],
        "000001": [("2007-06-20", 1.5, True)],
        "600519": [("2015-07-17", 1.1, True)],
        "VXX": [("2016-08-09", 0.25, True), ("2017-08-23", 0.25, True)],
        "BRK": [("2010-01-21", 0.25, True)],
    }


def test_the_file_that_the_pages_show_is_read(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text(block("symbol,date,ratio"))
    ratios = {symbol: [split.ratio for split in own] for symbol, own in read_splits(path).items()}
    assert ratios == {"AAPL": [7, 4], "VXX": [0.25], "ACME": [1.5]}


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2020-08-31 13:30", "2020-08-31T13:30:00"),
        ("2020-08-31T13:30:00Z", "2020-08-31T13:30:00"),
        ("2020-08-31 09:30:00-04:00", "2020-08-31T13:30:00"),
        ("2020-08-31 09:00+0900", "2020-08-31T00:00:00"),
    ],
)
def test_a_timestamp_is_utc_unless_it_names_a_zone(tmp_path, text, utc):
    path = tmp_path / "splits.csv"
    path.write_text(f"symbol,timestamp,ratio\nAAPL,{text},4\n")
    (split,) = read_splits(path)["AAPL"]
    assert (str(split.timestamp), split.is_date) == (utc, False)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", ": the header is nothing; it must name symbol, date or timestamp, and ratio, once each"),
        (b"AAPL,2020-08-31,4\n", ": the header is aapl, 2020-08-31, 4; it must name symbol"),
        (b"symbol,date,timestamp,ratio\n", ": the header is symbol, date, timestamp, ratio; it must name"),
        (b"symbol;date;ratio\nAAPL;2020-08-31;4\n", ": the header is symbol;date;ratio; it must name"),
        (b"symbol,date,ratio\nAAPL,2020-08-31\n", ", line 2: 2 cells below 3 columns; correct the line"),
        (b"symbol,date,ratio\n,2020-08-31,4\n", ", line 2: no symbol; add it, or remove the line"),
        (b"symbol,date,ratio\nA,08/31/2020,4\n", ", line 2: '08/31/2020' is no date; write 2020-08-31 or"),
        (b"symbol,date,ratio\nA,2020-02-30,4\n", ", line 2: '2020-02-30' is no date"),
        (b"symbol,date,ratio\nA,0000-01-01,4\n", ", line 2: '0000-01-01' is no date"),
        (b"symbol,date,ratio\nA,1598832000,4\n", ", line 2: '1598832000' is no date"),
        (b"symbol,date,ratio\nA,2020-08-31,four\n", ", line 2: 'four' is no ratio of a split from 1/10,000 to 10,000; write"),
        (b"symbol,date,ratio\nA,2020-08-31,-4\n", ", line 2: '-4' is no ratio"),
        (b"symbol,date,ratio\nA,2020-08-31,0\n", ", line 2: '0' is no ratio"),
        (b"symbol,date,ratio\nA,2020-08-31,4:0\n", ", line 2: '4:0' is no ratio"),
        (b"symbol,date,ratio\nA,2020-08-31,nan\n", ", line 2: 'nan' is no ratio"),
        (b"symbol,date,ratio\nA,2020-08-31,10001\n", ", line 2: '10001' is no ratio"),
        (b"symbol,date,ratio\nA,2020-08-31,1:1\n", ", line 2: a ratio of 1 splits nothing; remove the line"),
        (b"symbol,date,ratio\nA,2020-08-31,4\nA,2020-08-31,4\n", ", line 3: a second split of A at 2020-08-31; remove one"),
        (b"symbol,date,ratio\n\xff\xfe\n", " is no text in UTF-8; save it as CSV in UTF-8"),
        (b"PK\x03\x04\x80", " is no text in UTF-8; save it as CSV in UTF-8"),
    ],
)
def test_a_file_that_is_none_of_splits_is_refused_by_its_line(tmp_path, content, refusal):
    path = tmp_path / "splits.csv"
    path.write_bytes(content)
    with pytest.raises(CampaignError) as refused:
        read_splits(path)
    assert str(refused.value).startswith(f"{path}{refusal}")
    assert "\n" not in str(refused.value)


CELLS = st.one_of(
    st.sampled_from(["symbol", "date", "ratio", "AAPL", "2020-08-31", "2020-08-31 09:30-04:00", "4", "1:4", "3/2", '"', ""]),
    st.text(max_size=8),
)


@hypothesis.given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=4), st.booleans())
def test_whatever_stands_in_a_file_it_is_read_or_refused_in_one_line(tmp_path_factory, lines, has_header):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    text = "\n".join(",".join(cells) for cells in ([["symbol", "date", "ratio"]] if has_header else []) + lines)
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    try:
        splits = read_splits(path)
    except CampaignError as error:
        assert str(error).startswith(str(path))
    else:
        assert all(1e-4 <= split.ratio <= 1e4 for own in splits.values() for split in own)


def test_a_path_that_holds_no_file_is_refused(tmp_path):
    for path, found in ((tmp_path, "is no file"), (tmp_path / "none.csv", "not found")):
        with pytest.raises(CampaignError, match=f"{path} {found}; name a CSV file with the columns symbol, date and ratio"):
            read_splits(path)
