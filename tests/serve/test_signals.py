"""Rows of predictions as tables: nothing is lost on the way to a file and back, and a second run adds nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import CampaignError
from scaffold import PROJECT
from serve.signals import COLUMNS, append, key_of, last_bars, locked, read_table, to_text, write_table
from tools.predict import parse_time

ENDINGS = [".csv", ".jsonl", ".parquet"]


def row(hour: int, symbol: str = "AAA", **changed: object) -> dict[str, object]:
    values = {
        "timestamp": f"2024-01-02T{hour:02}:00:00Z",
        "known_from": f"2024-01-02T{hour + 1:02}:00:00Z",
        "symbol": symbol,
        "model": "mlp",
        "score": 0.1 + hour / 3,
        "probability": 0.1 / 3,
        "spread": 1e-17,
        "call": "none",
        "entry_price": 20.8,
        "profit_price": 21.84,
        "stop_price": 20.384,
        "latest_exit": "2024-01-03T00:00:00Z",
        "fingerprint": "0123abcd",
        "worth_a_trade": False,
    }
    return values | changed


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_is_read_back_to_the_bit(tmp_path, ending):
    rows = [row(1), row(2, "BRK.B", spread=None, profit_price=None, worth_a_trade=True, call="trade")]
    write_table(tmp_path / f"p{ending}", rows)
    assert read_table(tmp_path / f"p{ending}") == rows
    assert tuple(rows[0]) == COLUMNS


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_repetition_adds_nothing_and_another_model_or_bar_does(tmp_path, ending):
    path = tmp_path / f"p{ending}"
    assert append(path, [row(1), row(1, "BBB")]) == 2
    before = path.read_bytes()
    assert append(path, [row(1), row(1, "BBB")]) == 0
    assert path.read_bytes() == before
    assert append(path, [row(1), row(2), row(1, fingerprint="f1f1f1f1")]) == 2
    assert [key_of(one)[1:] for one in read_table(path)][2:] == [
        ("2024-01-02T02:00:00Z", "mlp", "0123abcd"), ("2024-01-02T01:00:00Z", "mlp", "f1f1f1f1"),
    ]  # fmt: skip
    assert {symbol: str(time) for symbol, time in last_bars(read_table(path), "0123abcd").items()} == {
        "AAA": "2024-01-02T02:00:00", "BBB": "2024-01-02T01:00:00",
    }  # fmt: skip


def test_processes_that_add_at_once_lose_nothing(tmp_path):
    script = (
        "import sys; sys.path[:0] = sys.argv[2].split(':')\n"
        "from pathlib import Path; from serve.signals import append, locked; from test_signals import row\n"
        "path = Path('p.csv')\n"
        "for hour in range(10):\n"
        "    with locked(path): append(path, [row(hour, sys.argv[1]), row(hour, 'same')])"
    )
    paths = f"{PROJECT / 'src'}:{PROJECT / 'tests'}:{Path(__file__).parent}"
    together = [subprocess.Popen([sys.executable, "-c", script, f"S{number}", paths], cwd=tmp_path) for number in range(4)]
    assert [process.wait(120) for process in together] == [0] * 4
    rows = read_table(tmp_path / "p.csv")
    assert len(rows) == len({key_of(one) for one in rows}) == 50


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("p.csv", "a,b\n1,2\n", "holds no predictions"),
        ("p.csv", "date,open,high\n", "holds no predictions"),
        ("p.jsonl", '{"a": 1}\n', "holds no predictions"),
        ("p.jsonl", "no json\n", "holds no predictions"),
        ("p.parquet", "no parquet", "holds no predictions"),
        ("p.xls", "", r"has no ending that says how to write it; take one of \.csv, \.jsonl, \.parquet"),
    ],
)
def test_another_file_is_refused_and_left_alone(tmp_path, name, content, problem):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(CampaignError, match=problem):
        append(path, [row(1)])
    assert path.read_text() == content


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("changed", "problem"),
    [({"timestamp": "soon"}, "datetime"), ({"probability": None}, "lacks a number")],
    ids=["time", "number"],
)
def test_a_damaged_row_is_one_line(tmp_path, ending, changed, problem):
    write_table(tmp_path / f"p{ending}", [row(1), row(2, **changed)])
    with pytest.raises(CampaignError, match=f"holds no predictions .*{problem}") as error:
        read_table(tmp_path / f"p{ending}")
    assert "\n" not in str(error.value)


def test_standard_output_is_the_same_text_as_the_file(tmp_path):
    write_table(tmp_path / "p.csv", [row(1), row(2)])
    assert (tmp_path / "p.csv").read_text() == to_text([row(1), row(2)], ".csv")
    with locked(tmp_path / "new/p.csv"):
        assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-06-01", "2024-06-01T00:00:00"),
        ("2024-06-01T15:00", "2024-06-01T15:00:00"),
        ("2024-06-01T15:00:00Z", "2024-06-01T15:00:00"),
        ("2024-06-01T15:00+02:00", "2024-06-01T13:00:00"),
    ],
)
def test_a_time_is_utc_where_it_names_no_zone(text, time):
    assert str(parse_time(text)) == time
