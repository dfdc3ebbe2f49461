"""What compare reads and writes; what it decides is tested in tests/judge."""

import json
import subprocess
from pathlib import Path

import pytest

import compare
from core.errors import CampaignError
from core.places import CAMPAIGN
from judge.evaluation import Evaluation
from judge.names import Roster
from sample import PRECISION


def test_networks_with_different_seeds_are_refused():
    compare.check_seeds({"mlp": [1, 2], "gru": [1, 2]})
    with pytest.raises(CampaignError, match=r"mlp has \[1, 2\], gru has \[1, 3\]; train all of them with the same: dvc repro"):
        compare.check_seeds({"mlp": [1, 2], "gru": [1, 3]})


def test_a_missing_csv_file_is_one_line(tmp_path):
    with pytest.raises(CampaignError, match=r"pr_curves.csv not found; run the stage that makes it: dvc repro"):
        compare.read_csv(tmp_path / "pr_curves.csv")


def test_a_model_that_evaluate_has_not_measured_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Evaluation(break_even_precision=0.3, cost_per_trade=0.003, one_column="atr_14", buy_and_hold={}, models={}, data="").write()
    with pytest.raises(CampaignError, match=r"metrics/evaluate.json lacks new, logistic_regression, .*: dvc repro evaluate"):
        compare.load(CAMPAIGN, Roster({"new": "New"}))


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose last commit holds a network trained with `PRECISION`."""
    monkeypatch.chdir(tmp_path)
    Path("metrics").mkdir()
    Path("metrics/compare.json").write_text(json.dumps({"trained_with": {"mlp": PRECISION}}))
    for command in ("init -q", "add -A", "-c user.name=test -c user.email=test@example.org commit -qm test"):
        subprocess.run(["git", *command.split()], check=True)
    return tmp_path


@pytest.mark.usefixtures("committed")
def test_another_kind_of_machine_than_the_committed_ones_is_noted():
    assert compare.machine_note({"mlp": PRECISION}) == ""
    assert compare.machine_note({"new": PRECISION | {"processor": "H200"}}) == "", "nothing to compare it with"
    assert compare.machine_note({"mlp": PRECISION | {"processor": "H200"}}) == (
        "the committed networks were trained with precision float32, torch 2.13.0, processor AVX2, these with precision float32, "
        "torch 2.13.0, processor H200; what that means for git checkout: python src/campaign.py verify --committed"
    )


def test_without_a_commit_there_is_nothing_to_note(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compare.machine_note({"mlp": PRECISION}) == ""
