import numpy as np
import pandas as pd
import pytest

from bars.adjustment import adjust_bars
from bars.durations import Duration, Durations
from bars.findings import (
    Finding,
    examine_bars,
    find_longer_bars,
    find_short_history,
    find_splits,
    find_survivorship,
    summarise_findings,
)
from bars.reading import Bars, bars_path, find_symbols, read_bars
from scaffold import make_frame, to_bars

PRICES = ["Open", "High", "Low", "Close"]
SPLITS = {  # of the real bars, as their readme lists them
    "AAPL": {"2000-06-21 13:00": 2, "2005-02-28 14:00": 2, "2014-06-09 13:00": 7, "2020-08-31 13:00": 4},
    "BAC": {"2004-08-30 13:00": 2},
    "VXX": {f"{time}:00": 1 / 4 for time in (
        "2010-11-09 14", "2012-10-05 13", "2013-11-08 14", "2016-08-09 13", "2017-08-23 13",
    )},
}  # fmt: skip


def split_at(frame: pd.DataFrame, position: int, ratio: float) -> pd.DataFrame:
    """Divide all prices from `position` on."""
    frame = frame.copy()
    frame.iloc[position:, frame.columns.get_indexer(PRICES)] /= ratio
    return frame


def kinds(bars: Bars) -> list[tuple[str, str]]:
    return [(finding.kind, finding.where) for finding in examine_bars("AAA", bars)]


def time_at(frame: pd.DataFrame, position: int) -> str:
    return str(frame.index[position])[:16]


# --- splits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("volatility", [0.001, 0.005, 0.01, 0.02])
@pytest.mark.parametrize("n", [2, 3, 4, 7, 10, 20])
@pytest.mark.parametrize("is_reverse", [False, True])
def test_a_split_is_found_at_its_bar_with_its_ratio(n, is_reverse, volatility):
    ratio = 1 / n if is_reverse else float(n)
    for seed in range(5):
        frame = make_frame(1500, seed, volatility=volatility)
        (split,) = find_splits(to_bars(split_at(frame, 700, ratio)))
        assert (str(split.timestamp), split.ratio) == (time_at(frame, 700).replace(" ", "T") + ":00", ratio)
        assert not find_splits(to_bars(frame))


@pytest.mark.parametrize(("moved", "is_found"), [(1.04, True), (0.96, True), (1.05, False), (0.95, False)])
@pytest.mark.parametrize("ratio", [2, 4, 1 / 2, 1 / 4])
def test_the_opening_may_differ_from_the_ratio_by_the_move_of_a_night(ratio, moved, is_found):
    frame = split_at(make_frame(1500, 1, volatility=0.002), 700, ratio / moved)
    assert [split.ratio for split in find_splits(to_bars(frame))] == [ratio] * is_found


def test_a_round_number_is_preferred_where_several_are_near():
    for opening, ratio in ((103, 100), (20.8, 20), (14, 14), (12, 12), (49, 50), (1030, 1000)):
        frame = split_at(make_frame(1500, 1, volatility=0.002), 700, 1 / opening)
        assert [split.ratio for split in find_splits(to_bars(frame))] == [1 / ratio]


@pytest.mark.parametrize("hours", [5, 16, 66, 300, 1000])
def test_a_split_at_a_gap_is_found(hours):
    frame = split_at(make_frame(1500, 3), 700, 2)
    frame.index = frame.index[:700].append(frame.index[700:] + pd.Timedelta(hours=hours))
    bars = to_bars(frame)
    assert [(split.timestamp, split.ratio) for split in find_splits(bars)] == [(bars.timestamps[700], 2)]
    assert "changed series" not in dict(kinds(bars))


@pytest.mark.parametrize("apart", [1, 2, 7, 23, 24, 30])
@pytest.mark.parametrize(("first", "second"), [(2, 2), (3, 2), (1 / 4, 1 / 4), (2, 1 / 10), (10, 1 / 4)])
def test_two_splits_in_a_row_are_found(first, second, apart):
    frame = split_at(split_at(make_frame(1500, 2, volatility=0.003), 700, first), 700 + apart, second)
    bars = to_bars(frame)
    assert [(split.timestamp, split.ratio) for split in find_splits(bars)] == [
        (bars.timestamps[700], first),
        (bars.timestamps[700 + apart], second),
    ]
    assert find_splits(adjust_bars(bars, find_splits(bars))) == []


@pytest.mark.parametrize("volatility", [0.002, 0.01, 0.02])
def test_a_crash_is_no_split(volatility):
    """Within an hour by 48 %, and over a night to 0.5257 of the close before, as AAPL on 2000-09-29."""
    for seed in range(10):
        frame = make_frame(1500, seed, volatility=volatility)
        hour = split_at(frame, 701, 1 / 0.52)
        hour.iloc[700, hour.columns.get_indexer(["Close", "Low"])] *= 0.52
        night = split_at(frame, 700, 1 / 0.5257)
        for crashed in (hour, night):
            assert "split" not in " ".join(kind for kind, _ in kinds(to_bars(crashed)))


@pytest.mark.parametrize(("ratio", "opening"), [("3 for 2", 2 / 3), ("5 for 4", 4 / 5), ("2 for 3", 3 / 2)])
def test_other_ratios_are_not_found_as_the_pages_say(ratio, opening):
    frame = split_at(make_frame(1500, 1), 700, 1 / opening)
    assert find_splits(to_bars(frame)) == []


@pytest.mark.parametrize(("position", "is_found"), [(6, False), (7, True), (1493, True), (1494, False)])
def test_a_split_has_a_session_of_bars_on_either_side(position, is_found):
    bars = to_bars(split_at(make_frame(1500, 1, volatility=0.003), position, 2))
    assert bool(find_splits(bars)) == is_found


# --- single prices ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.01, 0.5, 2, 3, 100])
@pytest.mark.parametrize("bars_long", [1, 3, 10])
def test_a_print_that_is_gone_a_day_later_is_no_split(factor, bars_long):
    frame = make_frame(1500, 1)
    frame.iloc[700 : 700 + bars_long, frame.columns.get_indexer(PRICES)] *= factor
    bars = to_bars(frame)
    assert find_splits(bars) == []
    assert kinds(bars) == [("bad print", time_at(frame, 700))]


def test_the_bad_price_of_a_print_is_named():
    frame = make_frame(1500, 1)
    frame.iloc[700, frame.columns.get_indexer(["High", "Close"])] *= 100
    close = frame["Close"].iloc[700]
    (finding,) = (finding for finding in examine_bars("AAA", to_bars(frame)) if finding.kind == "bad print")
    assert (finding.symbol, finding.where, finding.must_mend) == ("AAA", time_at(frame, 700), False)
    assert finding.what.startswith(f"Close {close:.6g}, ")


@pytest.mark.parametrize(("column", "factor"), [("Low", 0.2), ("High", 5.0)])
def test_a_lone_high_or_low_is_named(column, factor):
    frame = make_frame(1500, 1)
    frame.iloc[700, frame.columns.get_loc(column)] *= factor
    (finding,) = examine_bars("AAA", to_bars(frame))
    assert (finding.kind, finding.where) == ("lone High or Low", time_at(frame, 700))
    assert finding.what.startswith(f"{column} {frame[column].iloc[700]:.6g}, ")


# --- time and volume --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "jump", "found"),
    [
        (14, 0.6, []),
        (15, 0.6, ["long gap"]),
        (30, 0.6, ["long gap"]),
        (31, 0.6, ["changed series"]),
        (31, 0.9, ["long gap"]),
        (31, 1.3, ["changed series"]),
    ],
)
def test_a_pause_is_a_long_gap_or_a_changed_series(days, jump, found):
    frame = make_frame(1500, 1, volatility=0.001)
    frame = split_at(frame, 700, 1 / jump)
    frame.index = frame.index[:700].append(frame.index[700:] + pd.Timedelta(days=days, hours=-1))
    where = {"long gap": 699, "changed series": 700}
    assert kinds(to_bars(frame)) == [(kind, time_at(frame, where[kind])) for kind in found]


def test_only_the_longest_gap_is_named_and_the_others_counted():
    frame = make_frame(3000, 1, volatility=0.001)
    bars = to_bars(frame.drop(frame.index[500:900]).drop(frame.index[1500:2100]))
    (finding,) = examine_bars("AAA", bars)
    assert finding.what == "25 days without bars, the longest of 2 such gaps"
    assert finding.where == time_at(frame, 1499)


def test_bars_that_repeat_the_prices_before_are_stale():
    frame = make_frame(1500, 1)
    for start, count in ((300, 30), (800, 24), (1000, 23)):
        frame.iloc[start : start + count, frame.columns.get_indexer(PRICES)] = frame[PRICES].iloc[start].to_numpy()
    (finding,) = examine_bars("AAA", to_bars(frame))
    assert (finding.kind, finding.where) == ("stale prices", time_at(frame, 300))
    assert finding.what == "54 bars with the prices of the bar before in 2 stretches, the longest of 30"


@pytest.mark.parametrize(("share", "is_found"), [(0.05, False), (0.06, True), (1.0, True)])
def test_bars_without_volume_are_named_where_they_are_many(share, is_found):
    frame = make_frame(1500, 1)
    frame.iloc[10 : 10 + round(1500 * share), frame.columns.get_loc("Volume")] = 0
    assert kinds(to_bars(frame)) == [("no volume", time_at(frame, 10))] * is_found


@pytest.mark.parametrize(("minutes", "is_found"), [(59, True), (60, False), (-300, True)])
def test_a_last_bar_is_unfinished_where_its_file_was_written_before_its_end(minutes, is_found):
    bars = to_bars(make_frame(1500, 1))
    written = bars.timestamps[-1] + np.timedelta64(minutes, "m")
    assert [finding.kind for finding in examine_bars("AAA", bars, written)] == ["unfinished last bar"] * is_found


def test_a_few_bars_are_a_short_history():
    assert find_short_history("AAA", np.datetime64("2024-01-01T05", "s"), 2000) == []
    (finding,) = find_short_history("AAA", np.datetime64("2024-01-01T05", "s"), 1999)
    assert (finding.what, finding.where) == ("1,999 bars, fewer than 2,000", "2024-01-01 05:00")


@pytest.mark.parametrize(("percentiles", "is_found"), [((36.0, 12.0), False), ((37.0, 8.0), True), ((24.0, 13.0), True)])
def test_bars_are_not_hours_where_one_in_twenty_lasts_longer(percentiles, is_found):
    durations = Durations(Duration(24, 24.0, percentiles[0]), Duration(8, 8.0, percentiles[1]))
    found = find_longer_bars("AAA", np.datetime64("2024-01-01", "s"), durations)
    assert len(found) == is_found
    if found:
        text = f"24 bars 24 h (95 %: {percentiles[0]:.0f} h), 8 bars 8 h (95 %: {percentiles[1]:.0f} h)"
        assert found[0].what == text


@pytest.mark.parametrize(
    ("ends", "is_found"),
    [
        (["2024-06-30", "2024-06-30"], True),
        (["2024-06-30", "2024-06-25", "2024-06-19"], True),
        (["2024-06-30", "2024-06-22"], False),
        (["2024-06-30", "2024-06-30", "2021-03-31", "2021-03-31"], True),
        (["2024-06-30", "2024-06-30", "2021-03-31"], False),
        (["2024-06-30"], False),
    ],
)
def test_a_universe_without_an_asset_that_ends_alone_is_named(ends, is_found):
    found = find_survivorship({f"S{number}": np.datetime64(end, "s") for number, end in enumerate(ends)})
    assert [finding.symbol for finding in found] == [None] * is_found


# --- all of it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("volatility", [0.001, 0.01, 0.03])
def test_a_random_walk_has_no_finding(volatility):
    for seed in range(20):
        assert examine_bars("AAA", to_bars(make_frame(1500, seed, volatility=volatility))) == []


def test_a_coin_that_moves_by_ticks_has_no_finding():
    """Between 0.00000001 and 0.00000009, where one tick doubles or halves the price."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        frame = make_frame(1500, seed)
        ticks = np.clip(np.cumsum(rng.integers(-1, 2, 2 * 1500)), -3, 3) + rng.integers(4, 6)
        opening, close = ticks.reshape(-1, 2).T
        frame[PRICES] = np.transpose([opening, np.maximum(opening, close) + 1, np.minimum(opening, close), close]) * 1e-8
        frame.loc[frame.index[700:], PRICES] = frame[PRICES].iloc[700:].clip(upper=1e-8)
        frame.iloc[700, frame.columns.get_indexer(PRICES)] = 2e-8
        found = [kind for kind, _ in kinds(to_bars(frame))]
        assert found in ([], ["stale prices"])


@pytest.mark.filterwarnings("error")
def test_any_price_of_float64_can_be_examined():
    frame = make_frame(300)
    prices = frame.columns.get_indexer(PRICES)
    frame.iloc[100:200, prices] *= 1e303
    frame.iloc[200:, prices] *= 1e-310
    assert [split.ratio for split in find_splits(to_bars(frame))] == []
    examine_bars("AAA", to_bars(frame))


def test_one_and_two_bars_have_no_finding():
    for size in (1, 2):
        assert examine_bars("AAA", to_bars(make_frame(size))) == []


def test_findings_of_a_kind_are_one_line_of_the_first_ones():
    found = [Finding(symbol, "moon", f"what {symbol}", "then", "cure") for symbol in "ABCDE"]
    assert summarise_findings([*found, Finding(None, "sun", "bright", "now", "shade")]) == [
        "moon: A then (what A), B then (what B), C then (what C) and 2 more; python src/campaign.py bars lists all; cure",
        "sun: all now (bright); shade",
    ]


def test_on_real_bars_exactly_what_is_known_of_them_is_found(real_bars):
    found: dict[str, list[tuple[str, str]]] = {}
    for symbol in find_symbols(real_bars):
        for finding in examine_bars(symbol, read_bars(bars_path(real_bars, symbol))):
            found.setdefault(finding.kind, []).append((symbol, finding.where))
    assert found == {
        "split not adjusted for": [(symbol, time) for symbol, times in SPLITS.items() for time in times],
        "bad print": [("ETHUSDT", "2017-08-22 04:00")],
        "changed series": [("VXX", "2019-05-02 13:00")],
        "lone High or Low": [
            *(("AAPL", time) for time in ("2009-09-21 13:00", "2010-08-31 18:00", "2011-01-03 18:00")),
            ("LINKUSDT", "2020-03-12 10:00"),  # 0.0001 while it traded above 2
        ],
    }


def test_the_ratios_of_the_real_splits_are_found(real_bars):
    for symbol, splits in SPLITS.items():
        found = find_splits(read_bars(bars_path(real_bars, symbol)))
        assert [split.ratio for split in found] == list(splits.values())
