"""The ledger of looks at test: what counts as one, and that nothing is lost or counted twice."""

import dataclasses
import json
import math
import subprocess

import numpy as np
import pytest
from scipy import stats

from core.errors import CampaignError
from looked import look, write_test
from scaffold import PROJECT
from watch.ledger import LEDGER, Earned, Look, TestSet, looks_at, looks_tag, note, read_ledger


def test_a_repetition_adds_none_and_another_figure_adds_one(desk, capsys):
    data = write_test(desk / "data")
    note(look(data))
    note(look(data))
    assert len(list((desk / LEDGER).iterdir())) == 1
    note(look(data, f1=0.31))
    note(look(data, f1=0.31, epochs=120))  # other settings, and not a figure changed: nothing new was seen
    assert len(list((desk / LEDGER).iterdir())) == 3
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["ledger: this test set has been looked at once"] * 2
    assert (
        said[2:]
        == ["ledger: this test set has been looked at 2 times; what luck makes of that: python src/campaign.py ledger"] * 2
    )
    assert looks_tag(data) == {"test_looks": "2"}


@pytest.mark.parametrize(
    ("other", "overlaps"),
    [
        ({}, True),
        ({"first": "2024-01-20"}, True),  # new bars, or other cuts
        ({"first": "2024-01-30T23:00:00"}, True),  # one hour
        ({"first": "2024-01-31"}, False),
        ({"first": "2024-01-10", "hours": 5}, True),
        ({"symbols": ("BBB", "CCC")}, True),
        ({"symbols": (*map("A{}".format, range(40)), "BBB")}, True),
        ({"symbols": ("CCC",)}, False),
        ({"simulated": True}, False),
    ],
)
def test_test_sets_are_one_where_they_share_an_asset_and_an_hour(desk, other, overlaps):
    (desk / "params.yaml").write_text("market: {seed: 7}")
    one, two = TestSet.of(write_test(desk / "one")), TestSet.of(write_test(desk / "two", **other))
    assert one.overlaps(two) is overlaps
    assert two.overlaps(one) is overlaps


def test_another_simulated_market_is_another_test_set(desk):
    """The same days and symbols, other prices."""
    data, found = write_test(desk / "data", simulated=True), []
    for seed in (7, 8, 7):
        (desk / "params.yaml").write_text(f"market: {{seed: {seed}}}")
        found.append(TestSet.of(data))
    assert found[0] == found[2]
    assert not found[0].overlaps(found[1])


def test_folds_reach_from_the_first_test_to_the_last(desk):
    parts = [write_test(desk / first, first=first, hours=24 * 14) for first in ("2024-01-15", "2024-01-01")]
    together = TestSet.of(*parts)
    assert (together.first, together.last) == ("2024-01-01T00:00:00Z", "2024-01-28T23:00:00Z")
    assert together.symbols == ["AAA", "BBB"]


def test_the_figures_of_daily_returns_are_scipys():
    daily = np.random.default_rng(5).standard_t(4, 90) * 0.01 + 0.002
    own = Earned.of(daily)
    assert math.isclose(own.sharpe, daily.mean() / daily.std(ddof=1), rel_tol=1e-5)
    assert math.isclose(own.skewness, stats.skew(daily), rel_tol=1e-5)
    assert math.isclose(own.kurtosis, stats.kurtosis(daily, fisher=False), rel_tol=1e-5)
    assert Earned.of(np.zeros(90)) == Earned(None, None, None, 90)


def test_what_was_noted_is_read_back_and_two_ledgers_merge_in_git_without_a_conflict(desk):
    data = write_test(desk / "data")
    git = "git -c user.name=a -c user.email=a@b.c"
    shell = f"{git} init -q -b main . && {git} commit -q --allow-empty -m one && {git} checkout -q -b other"
    subprocess.run(shell, shell=True, check=True, cwd=desk)
    ours, both, theirs = look(data), look(data, f1=0.4), look(data, f1=0.5, dropout=0.5)
    for looks, following in (((ours, both), f"{git} checkout -q main"), ((both, theirs), f"{git} merge -q --no-edit other")):
        for each in looks:
            note(each)
        subprocess.run(f"{git} add ledger && {git} commit -q -m looks && {following}", shell=True, check=True, cwd=desk)
    assert {each.seen for each in read_ledger()} == {each.seen for each in (ours, both, theirs)}
    assert [each for each in read_ledger() if each.settings] == [theirs]


def test_processes_that_note_at_once_lose_none(desk):
    data = write_test(desk / "data")
    script = (
        "import sys; sys.path[:0] = sys.argv[1].split(':')\n"
        "from pathlib import Path; from looked import look; from watch.ledger import note\n"
        "for number in range(8): note(look(Path('data'), f1=0.1 + number / 100))"
    )
    paths = f"{PROJECT / 'tests'}:{PROJECT / 'src'}"
    together = [subprocess.Popen(["python", "-c", script, paths], cwd=desk, stderr=subprocess.PIPE) for _ in range(4)]
    assert ["warning" in process.communicate()[1].decode() for process in together] == [False] * 4
    assert [process.returncode for process in together] == [0] * 4
    assert len(looks_at(TestSet.of(data), read_ledger())) == 8
    assert not list((desk / LEDGER).glob("*.tmp"))


def test_an_experiments_copy_notes_in_the_original(desk, monkeypatch, tmp_path):
    (tmp_path / "copy").mkdir()
    data = write_test(desk / "data")
    monkeypatch.setenv("DVC_ROOT", str(desk))
    monkeypatch.chdir(tmp_path / "copy")
    note(look(data))
    assert len(list((desk / LEDGER).iterdir())) == 1


@pytest.mark.parametrize("damage", [lambda text: text[:-20], lambda text: text.replace("0.3", "0.2", 1), lambda text: "[]"])
def test_a_look_that_was_changed_is_named(desk, damage, capsys):
    data = write_test(desk / "data")
    note(look(data))
    [file] = (desk / LEDGER).iterdir()
    file.write_text(damage(file.read_text()))
    with pytest.raises(CampaignError, match=rf"ledger/{file.name} is no look as this project writes it .*restore it from git"):
        read_ledger()
    note(look(data, f1=0.5))
    assert "ledger: warning: looks at test are not counted, and nothing else is touched: " in capsys.readouterr().err
    assert looks_tag(data) == {}
    file.unlink()
    assert len(read_ledger()) == 1


def test_a_ledger_that_cannot_be_written_is_a_warning(desk, capsys):
    data = write_test(desk / "data")
    (desk / LEDGER).write_text("a file")
    note(look(data))
    assert (
        "ledger: warning: looks at test are not counted, and nothing else is touched: File exists at" in capsys.readouterr().err
    )


def test_a_look_holds_the_settings_it_was_made_with(desk):
    data = write_test(desk / "data")
    note(look(data, **{"mlp.dropout": 0.5}))
    [file] = (desk / LEDGER).iterdir()
    content = json.loads(file.read_text())
    assert content["settings"] == {"mlp.dropout": 0.5}
    assert set(content) == {field.name for field in dataclasses.fields(Look)}
