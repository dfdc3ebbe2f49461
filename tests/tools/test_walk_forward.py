"""What is checked before walk-forward starts; tests/slow/test_walk_forward.py runs it."""

import os
import re
import shutil
from pathlib import Path

import pytest

from core.errors import CampaignError
from core.files import write_json
from scaffold import PROJECT, read_params, write_params
from tools import walk_forward


@pytest.fixture
def project(desk: Path) -> Path:
    """The working directory with a dvc.yaml of each project, the link to src, and bars."""
    for name in ("dvc.yaml", "walk_forward/dvc.yaml"):
        (desk / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, desk / name)
    (desk / "src").symlink_to(PROJECT / "src")
    (desk / "walk_forward/src").symlink_to("../src")
    (desk / "bars").mkdir()
    return desk


def test_a_project_as_it_is_committed_is_in_order(project, capsys):
    walk_forward.check()
    assert capsys.readouterr().out == ""


def refused(said: str) -> None:
    with pytest.raises(CampaignError, match=f"^{re.escape(said)}$"):
        walk_forward.check()


def test_the_bars_must_be_there_and_relative(project):
    write_params(project, data={"bars": str(project / "bars")})
    found = f"data.bars in params.yaml is {project}/bars, and walk_forward/dvc.yaml can name relative paths alone"
    refused(f"{found}; write it so: bars: bars")
    os.rmdir("bars")
    write_params(project, data={"bars": "bars"})
    refused("no directory at bars, which data.bars names; python src/campaign.py import, or data.bars in params.yaml")


def test_a_simulated_market_must_be_the_one_that_is_set(project):
    write_params(project)
    refused("no directory at data/simulated, which data.bars names; dvc repro simulate_market")
    marker, market = project / "data/simulated/SIMULATED.json", read_params()["market"]
    write_json(marker, {"market": market})
    walk_forward.check()
    write_json(marker, {"market": market | {"seed": market["seed"] + 1}})
    refused("data/simulated is not the market that params.yaml describes; dvc repro simulate_market")


def test_settings_of_later_stages_are_checked_before_the_first(project):
    write_params(project, data={"bars": "bars"}, compare={"draws": 1})
    with pytest.raises(CampaignError, match="compare.draws is 1; it must be"):
        walk_forward.check()


def test_a_copy_that_kept_no_links_gets_a_cure(project):
    Path("walk_forward/src").unlink()
    Path("walk_forward/src").write_text("../src")
    refused("walk_forward/src is no link to src; make it one: ln -sfT ../src walk_forward/src")


def test_an_architecture_that_is_left_out_is_named(project, capsys):
    pipeline = project / "walk_forward/dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("[mlp, lstm, gru, cnn_lstm]", "[mlp, gru]"))
    walk_forward.check()
    line = "not in walk-forward: lstm, cnn_lstm; to train them there, add them to the matrix in walk_forward/dvc.yaml\n"
    assert capsys.readouterr().out == line
