"""The list of looks: rows, widths, and Sharpe ratios deflated by the number of models that were looked at."""

import re

import numpy as np
import pytest

from core.errors import CampaignError
from looked import look as noted
from looked import write_test
from readme import shown
from scaffold import PROJECT
from search.overfitting import deflate
from tools import ledger
from watch.ledger import Earned, Look, TestSet, note

TEST = TestSet("real", ["AAA", "BBB"], "2024-01-01T00:00:00Z", "2024-03-31T23:00:00Z")
REFERENCE = np.random.default_rng(9).normal(0.0, 0.01, 90)


def look(seed: int, **settings: object) -> Look:
    """A look whose network earns what `seed` draws, beside a reference that earns the same in all looks."""
    daily = {"mlp": np.random.default_rng(seed).normal(0.001 * seed, 0.01, 90), "prior": REFERENCE, "never": np.zeros(90)}
    f1 = {"mlp": 0.3 + seed / 100, "prior": 0.2, "never": 0.0}
    return Look("campaign", TEST, ["x"], settings, f1, {name: Earned.of(own) for name, own in daily.items()})


@pytest.fixture(autouse=True)
def at_the_project(desk):
    (desk / "params.yaml").write_text((PROJECT / "params.yaml").read_text())


def test_models_that_earn_the_same_in_several_looks_count_once_and_those_without_a_trade_not():
    assert len(ledger.distinct([look(1)])) == 2
    assert len(ledger.distinct([look(1), look(2), look(3)])) == 4


def test_the_best_is_deflated_by_all_models_as_a_search_deflates_its_trials():
    looks = [look(seed) for seed in (1, 2, 3)]
    text = ledger.format_looks(looks, 120)
    daily = [np.random.default_rng(seed).normal(0.001 * seed, 0.01, 90) for seed in (1, 2, 3)]
    sharpes = [own.mean() / own.std(ddof=1) for own in (*daily, REFERENCE)]
    best = max(daily, key=lambda own: own.mean() / own.std(ddof=1))
    expected = deflate(best, trials=4, variance=float(np.var(sharpes)))
    first = text.splitlines()[1].split()
    assert [float(first[3]), float(first[4])] == [round(expected.sharpe, 3), round(expected.probability, 3)]
    assert f"Sharpe ratio of {expected.by_luck:.3f} a day by luck" in " ".join(text.split())
    ratios = [float(line.split()[3]) for line in text.splitlines()[1:4]]
    assert ratios == sorted(ratios, reverse=True)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_rows_name_the_settings_that_differ_and_fit_the_terminal(width):
    changed = {
        "mlp.dropout": 0.5,
        "data.features": ["return_1", "return_4", "rsi_14"],
        "train.epochs": 7,
        "gru.layers": 9,
        "x.y": 1,
    }
    text = ledger.format_looks([look(1, **changed), look(2, **{"mlp.dropout": 0.3})], width)
    assert max(map(len, text.splitlines())) <= max(width, 80)
    words = " ".join(text.split())
    assert "mlp.dropout 0.5" in words
    assert "and 2 more" in words
    assert "was looked at 2 times, with 3 models that trade" in words
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("campaign") and "0.320" in line] == ["none"]


def test_without_data_or_a_look_it_says_what_makes_them(desk):
    with pytest.raises(CampaignError, match=r"metadata.json not found; run the stage that makes it: dvc repro generate_data"):
        ledger.main()
    write_test(desk / "data/training_data")
    with pytest.raises(CampaignError, match=r"ledger/ has no look at this test set, 2024-01-01 to 2024-01-30; compare notes one"):
        ledger.main()


def test_the_command_prints_the_present_test_sets_looks(desk, capsys):

    note(noted(write_test(desk / "data/training_data")))
    note(noted(write_test(desk / "other", first="2023-01-01")))
    capsys.readouterr()
    ledger.main()
    assert "was looked at once, with 1 model that trades" in " ".join(capsys.readouterr().out.split())


def test_the_page_shows_the_list_as_it_is():
    shown_lines = shown("python src/campaign.py ledger")
    head, *_ = ledger.format_looks([look(1)], 132).splitlines()
    assert shown_lines[0].split() == head.split()
    assert re.match("Test, .* was looked at 3 times, with 19 models that trade", shown_lines[4])
