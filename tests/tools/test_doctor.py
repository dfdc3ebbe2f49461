import re
from pathlib import Path

from scaffold import make_frame, refusal, write_params, write_symbol
from tools import doctor


def test_it_lists_what_is_there_and_what_would_be_refused(desk, capsys):
    frame = make_frame(900, seed=1, volatility=0.015)
    frame.iloc[5:8, frame.columns.get_loc("Volume")] = 0
    frame.iloc[600, frame.columns.get_indexer(["High", "Close"])] *= 100  # a wrong tick
    write_symbol(desk / "elsewhere", "AAA", frame.drop(frame.index[300:500]))
    write_symbol(desk / "elsewhere", "BBB", frame)
    doctor.main(Path("elsewhere"))
    good = capsys.readouterr().out.splitlines()
    heads = ["symbol", "first bar, UTC", "last bar", "bars", "gaps over 96 h", "no volume", "largest move", "positive"]
    assert re.split(r"  +", good[0]) == heads
    first = good[1].split()
    assert first[:8] == ["AAA", "2024-01-01", "00:00", "2024-02-07", "11:00", "700", "1", "3"]
    move = frame["Close"].iloc[600] / frame["Close"].iloc[599] - 1
    assert first[8] == f"{move:+,.1%}"
    assert move > 90
    assert 5 < float(first[9].rstrip("%")) < 40
    assert good[3].startswith("validation from 2024-")

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
