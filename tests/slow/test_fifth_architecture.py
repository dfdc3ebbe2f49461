"""A fifth architecture, added as docs/architectures.md says: three parts, and everything shows it."""

import csv
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from judge.names import REFERENCES, Roster
from readme import file_blocks
from scaffold import Clone

pytestmark = pytest.mark.slow
PARTS = file_blocks("docs/architectures.md")


def add(clone: Clone, *, without: str = "") -> None:
    """Add the parts of the page to `clone`, all but the file named `without`."""
    if without != "src/train_tcn.py":
        (clone.directory / "src/train_tcn.py").write_text(PARTS["src/train_tcn.py"])
    if without != "params.yaml":
        with (clone.directory / "params.yaml").open("a") as file:
            file.write(f"\n{PARTS['params.yaml']}")
    if without != "dvc.yaml":
        pipeline = clone.directory / "dvc.yaml"
        assert pipeline.read_text().count("\n  fit_references:\n") == 1
        pipeline.write_text(pipeline.read_text().replace("\n  fit_references:\n", f"\n{PARTS['dvc.yaml']}\n  fit_references:\n"))


@pytest.fixture(scope="module")
def campaign(finished_campaign: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with the four architectures trained, where the fifth is added then and the pipeline run once more."""
    clone = Clone.copy_of(finished_campaign, tmp_path_factory.mktemp("fifth"))
    add(clone)
    checked = clone.run("python src/campaign.py check").stdout
    assert re.search(r"^ok +train_tcn ", checked, re.MULTILINE), checked
    ran = clone.repro(CAMPAIGN_TRACKING="on", MLFLOW_TRACKING_URI="")
    assert ran == ["train_tcn", "evaluate", "compare"], "the other four are not trained again"
    return clone


def test_leaderboard_report_plots_and_metrics_show_the_fifth(campaign):
    assert set(campaign.read("metrics/test/tcn.json")) == set(campaign.read("metrics/test/lstm.json"))
    assert re.search(r"^TCN +0\.\d", campaign.run("python src/campaign.py leaderboard").stdout, re.MULTILINE)
    for page in ("reports/comparison.md", "reports/comparison.html"):
        assert "TCN" in (campaign.directory / page).read_text(), page
    for curves in ("learning", "pr", "roc", "calibration", "threshold"):
        with (campaign.directory / f"plots/{curves}_curves.csv").open() as file:
            assert "TCN" in {row["model"] for row in csv.DictReader(file)}, curves
    campaign.run("dvc plots show")
    assert "TCN" in (campaign.directory / "dvc_plots/index.html").read_text()
    shown = json.loads(campaign.run("dvc metrics show --json").stdout)[""]["data"]
    assert "metrics/test/tcn.json" in shown
    assert (campaign.directory / "plots/confusion/tcn.png").exists()


def test_each_model_has_a_colour_of_its_own(campaign):
    labels = [campaign.read(f"models/{name}/network.json")["label"] for name in ("mlp", "lstm", "gru", "cnn_lstm", "tcn")]
    colours = Roster({label: label for label in labels}).colours
    assert len(set(colours.values())) == len(labels) + len(REFERENCES)
    page = (campaign.directory / "reports/comparison.html").read_text()
    assert all(colour in page for colour in colours.values())


def test_mlflow_has_a_run_of_the_fifth(campaign):
    with sqlite3.connect(campaign.directory / "mlflow.db") as store:
        tagged = store.execute("select value from tags where key = 'model_type'").fetchall()
    assert {"tcn"} <= {value for (value,) in tagged}


def test_its_seeds_share_each_step_where_they_are_told_to_and_a_line_says_why_not(campaign, tmp_path):
    clone = Clone.copy_of(campaign.directory, tmp_path / "clone")
    said = clone.run("python src/train_tcn.py", CAMPAIGN_MEMBERS="8").stderr
    assert "shares no step" not in said
    assert clone.read("metrics/train/tcn.json")["seeds"][0]["members"] == ["tcn seed 1", "tcn seed 2"]
    script = clone.directory / "src/train_tcn.py"
    script.write_text(
        script.read_text().replace("        return self.head(", "        assert x.mean().item() < 9\n        return self.head(")
    )
    said = clone.run("python src/train_tcn.py", CAMPAIGN_MEMBERS="8").stderr
    assert "tcn seed 1: shares no step with others: torch.vmap cannot run its network" in said


def test_git_sees_the_three_parts_and_the_results_alone(campaign):
    changed = {line[3:] for line in campaign.run("git status --short --untracked-files=all").stdout.splitlines()}
    assert {"src/train_tcn.py", "params.yaml", "dvc.yaml", "dvc.lock", "metrics/test/tcn.json"} <= changed
    others = {name for name in changed if not name.startswith(("ledger/", "metrics/", "reports/"))}
    assert others == {"src/train_tcn.py", "params.yaml", "dvc.yaml", "dvc.lock"}


@pytest.mark.parametrize("forgotten", ["src/train_tcn.py", "params.yaml", "dvc.yaml"])
def test_a_forgotten_part_is_named_by_the_quick_tests_and_by_check(tmp_path, forgotten):
    clone = Clone(tmp_path)
    add(clone, without=forgotten)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/test_pipeline.py"]
    done = subprocess.run(command, cwd=clone.directory, capture_output=True, text=True)
    assert done.returncode, "the tests pass without it"
    assert f"{Path(forgotten).name} lacks" in done.stdout or f"{forgotten} not found" in done.stdout, done.stdout
    checked = clone.run("python src/campaign.py check", fails=forgotten != "dvc.yaml")  # without its stage, nothing stops
    assert "tcn" in checked.stdout
    assert "Traceback" not in checked.stderr


def test_an_edit_of_forward_is_seen_by_evaluate_and_a_removed_architecture_is_named(campaign):
    """Last, since it takes the fifth away again."""
    script = campaign.directory / "src/train_tcn.py"
    script.write_text(script.read_text().replace("h[:, -1]", "h[:, -2]"))
    refused = campaign.run("python src/evaluate.py", fails=True).stderr
    assert "models/tcn was trained with another src/train_tcn.py" in refused
    assert campaign.repro() == ["train_tcn", "evaluate", "compare"]
    script.unlink()
    campaign.run("git checkout -q dvc.yaml params.yaml")
    said = campaign.run("python src/campaign.py verify --committed").stdout
    (cure,) = re.findall(r"rm -r [\w./ ]+", said)
    assert cure.split()[2:] == ["metrics/train/tcn.json", "models/tcn"]
    campaign.run(cure)
    assert campaign.repro()[-1] == "compare", "evaluate's results without it are in DVC's run cache"
    assert not (campaign.directory / "metrics/test/tcn.json").exists()
    assert "TCN" not in campaign.run("python src/campaign.py leaderboard").stdout
