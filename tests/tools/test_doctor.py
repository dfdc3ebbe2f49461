import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import simulate_market
from bars.adjustment import adjust_bars
from bars.findings import find_splits
from bars.reading import bars_path, find_symbols, read_bars
from scaffold import make_frame, refusal, write_params, write_symbol
from tools import doctor

PRICES = ["Open", "High", "Low", "Close"]
TWO_ENDS = "warning: no asset that ends early"


def split_at(frame: pd.DataFrame, position: int, ratio: float) -> pd.DataFrame:
    frame = frame.copy()
    frame.iloc[position:, frame.columns.get_indexer(PRICES)] /= ratio
    return frame


def heads(out: str) -> list[str]:
    """The first lines of each kind of findings."""
    return [line for line in out.splitlines() if line.startswith(("to mend: ", "warning: "))]


def test_it_lists_what_is_there_and_what_would_be_refused(desk, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    frame = make_frame(900, seed=1, volatility=0.015)
    frame.iloc[5:8, frame.columns.get_loc("Volume")] = 0
    frame.iloc[600, frame.columns.get_indexer(["High", "Close"])] *= 100  # a wrong tick
    write_symbol(desk / "elsewhere", "AAA", frame.drop(frame.index[300:500]))
    write_symbol(desk / "elsewhere", "BBB", frame)
    doctor.main(Path("elsewhere"))
    out = capsys.readouterr().out
    good = out.splitlines()
    columns = ["symbol", "first bar, UTC", "last bar", "bars", "gaps over 96 h", "no volume", "largest move", "positive"]
    assert re.split(r"  +", good[0]) == columns
    first = good[1].split()
    assert first[:8] == ["AAA", "2024-01-01", "00:00", "2024-02-07", "11:00", "700", "1", "3"]
    move = frame["Close"].iloc[600] / frame["Close"].iloc[599] - 1
    assert first[8] == f"{move:+,.1%}"
    assert move > 90
    assert 5 < float(first[9].rstrip("%")) < 40
    assert good[3].startswith("validation from 2024-")
    assert good[4] == "median duration: 24 bars 24 h (95 %: 24 h), 8 bars 8 h (95 %: 8 h)"
    assert heads(out) == ["warning: bad print", "warning: short history", TWO_ENDS]
    assert f"  AAA  {str(frame.index[600])[:16]}  Close " in out

    write_symbol(desk / "elsewhere", "BAD", frame[:60])
    (desk / "elsewhere" / "EMPTY").mkdir()
    write_params(desk, data={"bars": "elsewhere"})
    message = refusal(doctor.main)
    assert "2 of 4 symbols under elsewhere would be refused; mend them, or have data.symbols name the others" in message
    out = capsys.readouterr().out
    assert "refused: elsewhere/BAD/1Hour/data.parquet: 60 bars" in out
    assert "refused: elsewhere/EMPTY/1Hour/data.parquet not found" in out
    assert "AAA" in out


def test_without_a_root_it_looks_where_the_parameters_say(desk, capsys):
    assert "no bars at bars" in refusal(doctor.main)
    write_symbol(desk / "bars", "AAA", make_frame(900, seed=1, volatility=0.015))
    doctor.main()
    assert "AAA" in capsys.readouterr().out
    write_symbol(desk / "bars", "BAD", make_frame(60, seed=2))
    refusal(doctor.main)
    write_params(desk, data={"bars": "bars", "symbols": ["AAA"]})
    doctor.main()
    assert "BAD" not in capsys.readouterr().out.partition("validation from")[0].rpartition("symbol")[2]


def test_splits_must_be_mended_and_other_findings_are_warnings(desk, capsys):
    frame = make_frame(2500, seed=1)
    write_symbol(desk / "bars", "AAA", split_at(frame, 1200, 4))
    write_symbol(desk / "bars", "BBB", frame)
    write_symbol(desk / "bars", "CCC", split_at(split_at(frame, 800, 1 / 10), 1600, 1 / 10))
    message = refusal(doctor.main)
    assert message.startswith("stage: split not adjusted for: AAA, CCC under bars; adjust the prices: ")
    out = capsys.readouterr().out
    assert heads(out) == ["to mend: split not adjusted for", TWO_ENDS]
    entries = [line.split(maxsplit=3) for line in out.splitlines() if " a split of " in line]
    assert [(symbol, f"{day} {time}", what) for symbol, day, time, what in entries] == [
        ("AAA", str(frame.index[1200])[:16], "a split of 4 for 1"),
        ("CCC", str(frame.index[800])[:16], "a split of 1 for 10"),
        ("CCC", str(frame.index[1600])[:16], "a split of 1 for 10"),
    ]


def test_all_that_must_be_mended_stands_in_the_last_line(desk, capsys):
    write_params(desk, data={"bars": "bars", "profit": 0.9})
    write_symbol(desk / "bars", "AAA", split_at(make_frame(2500, seed=1, volatility=0.005), 1200, 4))
    write_symbol(desk / "bars", "BAD", make_frame(60))
    parts = (
        "1 of 2 symbols under bars would be refused",
        "only label 0 in its samples",
        "split not adjusted for: AAA under bars",
    )
    message = refusal(doctor.main)
    assert [message.index(part) for part in parts] == sorted(message.index(part) for part in parts)


@pytest.mark.parametrize(("columns", "symbol"), [(80, "AAA"), (60, "AAA"), (40, "AAA"), (20, "AAA"), (80, "ALONGSYMBOLNAME")])
def test_lines_fit_the_terminal_and_no_figure_is_torn_from_its_unit(desk, capsys, monkeypatch, columns, symbol):
    monkeypatch.setenv("COLUMNS", str(columns))
    frame = make_frame(1500, seed=1, volatility=0.015)
    frame.iloc[600, frame.columns.get_indexer(["High", "Close"])] *= 100
    write_symbol(desk / "bars", symbol, split_at(frame, 1200, 4))
    refusal(doctor.main)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= max(columns, 40)
    assert lines == [line.rstrip() for line in lines]
    words = " ".join(line.strip() for line in lines)
    for text in (
        "2024-01-01",
        "1,500",
        "24 bars 24 h (95 %: 24 h)",
        "a split of 4 for 1",
        "is gone a day later",
        "no asset that ends",
    ):
        assert (text in words) == (text != "no asset that ends")
    assert not any(re.match(r" *(h|%|bars)\b", line) for line in lines)


def test_in_80_columns_the_table_has_days_and_heads_of_two_lines(desk, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    write_symbol(desk / "bars", "AAA", make_frame(2500, seed=1, volatility=0.015))
    doctor.main()
    first, second, figures, *_ = capsys.readouterr().out.splitlines()
    assert first.split() == ["gaps", "no", "largest"]
    assert re.split(r"  +", second) == ["symbol", "first bar", "last bar", "bars", "> 96 h", "volume", "move", "positive"]
    assert figures.split()[:6] == ["AAA", "2024-01-01", "2024-04-14", "2,500", "0", "0"]
    for head in ("gaps", "no", "largest"):  # each ends above the end of the line below
        assert (second + " ")[first.index(head) + len(head)] == " "


def test_assets_in_which_bars_last_differently_are_told_apart(desk, capsys):
    frame = make_frame(2100, seed=1)
    write_symbol(desk / "bars", "CLOCK", frame)
    sessions = frame.copy()
    days = pd.bdate_range("2024-01-01", periods=300, tz="UTC")
    sessions.index = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in days for hour in range(7)], name="timestamp")
    write_symbol(desk / "bars", "SHORT", sessions[:900])
    doctor.main()
    out = capsys.readouterr().out
    assert "median duration in CLOCK: 24 bars 24 h (95 %: 24 h), 8 bars 8 h (95 %: 8 h)\n" in out
    assert "  SHORT  2024-01-01 00:00  24 bars 123 h (95 %: 140 h), 8 bars 25 h (95 %: 90 h)\n" in out


def test_a_file_that_was_written_before_its_last_bar_ended_is_named(desk, capsys):
    frame = make_frame(2500)
    path = write_symbol(desk / "bars", "AAA", frame)
    doctor.main()
    assert "unfinished" not in capsys.readouterr().out
    written = (frame.index[-1] + pd.Timedelta(minutes=12)).timestamp()
    os.utime(path, (written, written))
    doctor.main()
    out = capsys.readouterr().out
    assert "warning: unfinished last bar\n" in out
    assert f"  AAA  {str(frame.index[-1])[:16]}  " in out


def test_the_simulated_market_has_no_finding_though_short_and_in_the_future(desk, capsys):
    write_params(desk, market={"assets": 3, "bars": 900, "start": "2090-01-02"})
    simulate_market.main()
    doctor.main(Path("data/simulated"))
    assert heads(capsys.readouterr().out) == []


def test_json_holds_all_figures(desk, capsys):
    frame = make_frame(2500, seed=1)
    write_symbol(desk / "bars", "AAA", split_at(frame, 1200, 4).drop(frame.index[300:500]))
    write_symbol(desk / "bars", "BAD", frame[:60])
    message = refusal(lambda: doctor.main(as_json=True))
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["root", "symbols", "refused", "cuts", "warnings", "findings", "problems"]
    (asset,) = found["symbols"]
    assert {key: asset[key] for key in ("symbol", "first_bar", "last_bar", "bars", "gaps", "bars_without_volume")} == {
        "symbol": "AAA",
        "first_bar": "2024-01-01T00:00:00Z",
        "last_bar": "2024-04-14T03:00:00Z",
        "bars": 2300,
        "gaps": 1,
        "bars_without_volume": 0,
    }
    assert asset["largest_move"] == pytest.approx(frame["Close"].iloc[1200] / 4 / frame["Close"].iloc[1199] - 1)
    assert asset["hours"]["window"] == {"bars": 24, "median": 24.0, "percentile_95": 24.0}
    assert [entry["symbol"] for entry in found["refused"]] == ["BAD"]
    (finding,) = found["findings"]
    assert finding == {
        "symbol": "AAA",
        "kind": "split not adjusted for",
        "what": "a split of 4 for 1",
        "where": "2024-02-20 00:00",
        "cure": finding["cure"],
        "must_mend": True,
    }
    assert message == f"stage: {'; '.join(found['problems'])}"
    assert len(found["problems"]) == 2


def test_json_without_a_usable_symbol_has_no_cuts(desk, capsys):
    write_symbol(desk / "bars", "BAD", make_frame(60))
    refusal(lambda: doctor.main(as_json=True))
    found = json.loads(capsys.readouterr().out)
    assert (found["symbols"], found["cuts"], len(found["refused"])) == ([], None, 1)


@pytest.mark.slow
def test_real_bars_have_nothing_to_mend_once_their_splits_are_adjusted_for(real_bars, desk, capsys):
    assert refusal(lambda: doctor.main(real_bars)).startswith("stage: split not adjusted for: AAPL, BAC, VXX under ")
    raw = capsys.readouterr().out
    assert len(re.findall(r" a split of ", raw)) == 10
    for symbol in find_symbols(real_bars):
        bars = read_bars(bars_path(real_bars, symbol))
        bars = adjust_bars(bars, find_splits(bars))
        columns = {name: getattr(bars, name.lower()) for name in (*PRICES, "Volume")}
        index = pd.DatetimeIndex(bars.timestamps.astype("datetime64[ns]"), tz="UTC", name="timestamp")
        write_symbol(desk / "adjusted", symbol, pd.DataFrame(columns, index))
    doctor.main(Path("adjusted"))
    adjusted = capsys.readouterr().out
    assert heads(raw) == [heads(raw)[0], "to mend: split not adjusted for", *heads(adjusted)[1:]]
    assert np.isin(["warning: bad print", "warning: changed series", TWO_ENDS], heads(adjusted)).all()
