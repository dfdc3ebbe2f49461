"""README against the committed campaign, and what it tells to type tried; longer sequences are in test_experiments.py."""

import json
import re
import shlex
import subprocess
import sys

import pytest

import check_data
import leaderboard
from core.names import NETWORKS
from readme import TEXT, block, shown
from scaffold import PROJECT, make_frame

DOCS = {path.name: path.read_text(encoding="utf-8") for path in [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]}
METRICS = {name: json.loads((PROJECT / f"metrics/test/{name}.json").read_text()) for name in NETWORKS}
PASTE = "paste it into README.md: the committed campaign has other figures"


def test_the_leaderboard_is_what_make_leaderboard_prints(monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(sys, "argv", ["leaderboard"])
    leaderboard.main()
    assert shown("make leaderboard") == capsys.readouterr().out.splitlines(), PASTE


def test_the_experiments_are_of_the_committed_campaign():
    lines = shown("make experiments")
    assert max(map(len, lines)) <= 80
    heads = lines[0].split()[2:]
    (val,) = [number for number, line in enumerate(lines) if "HEAD" in line]
    for line, key in zip(lines[val : val + 2], leaderboard.F1.values(), strict=True):
        assert line.split()[-len(heads) :] == [f"{METRICS[name][key]:.3f}" for name in heads], PASTE


def test_the_difference_of_metrics_is_from_the_committed_ones():
    (command,) = re.findall(r"\$ (dvc metrics diff --targets .*)", TEXT)
    _, *lines = shown(command)
    assert lines
    for path, key, head, workspace, change in map(str.split, lines):
        committed = json.loads((PROJECT / path).read_text())[key]
        assert float(head) == pytest.approx(committed, abs=1e-5), PASTE
        assert float(change) == pytest.approx(float(workspace) - float(head), abs=2e-5)


def test_the_table_from_mlflow_has_the_committed_scores():
    keys = ("val_f1_score_positive_class", "val_pr_auc", "test_f1_score_positive_class")
    table = {line.split()[1]: line.split() for line in block("mlflow.search_runs").splitlines() if re.match(r"\d+ ", line)}
    for name in NETWORKS:
        assert {f"{METRICS[name][key]:.6f}" for key in keys} <= set(table[name]), PASTE


def test_bars_come_from_a_csv_by_the_block_as_printed(desk, monkeypatch, capsys):
    """A CSV with other names, in no order of time; then they are looked at."""
    frame = make_frame(900, seed=1, volatility=0.015).reset_index().rename(columns={"timestamp": "date", "Volume": "vol"})
    frame["date"] = frame["date"].dt.strftime("%Y-%m-%d %H:%M")
    frame.rename(columns=str.lower).sample(frac=1, random_state=0).to_csv("acme.csv", index=False)
    code = block("read_csv")
    for tried in (code, code.replace('["timestamp"])  #', '["timestamp"]).dt.tz_localize("America/New_York")  #')):
        subprocess.run([sys.executable, "-c", tried], check=True)
        monkeypatch.setattr(sys, "argv", ["check_data", "data/historical"])
        check_data.main()
        said = capsys.readouterr().out.splitlines()
        assert re.match(r"ACME    2024-01-01 0[05]:00  2024-02-07 1[16]:00   900 ", said[1])
    assert tried != code, "the comment's cure was tried, too"


def test_the_cpu_build_is_of_the_version_that_is_required():
    (command,) = re.findall(r"^\.venv/bin/pip install (.*)$", block("download.pytorch.org"), re.MULTILINE)
    required = (PROJECT / "requirements.txt").read_text().splitlines()
    assert shlex.split(command) == [
        next(line for line in required if line.startswith("torch==")),
        "--index-url",
        "https://download.pytorch.org/whl/cpu",
    ]


@pytest.mark.parametrize("page", DOCS)
def test_targets_scripts_and_links_exist(page):
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:`|^|\$ )make ([a-z-]+)", DOCS[page], re.MULTILINE)) <= set(targets)
    assert all((PROJECT / name).is_file() for name in re.findall(r"python (src/\w+\.py)", DOCS[page]))
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)\)", DOCS[page]):
        folder = PROJECT if page == "README.md" else PROJECT / "docs"
        assert (folder / link).exists(), link


@pytest.mark.parametrize("page", DOCS)
def test_what_a_shell_would_expand_is_quoted(page):
    """zsh refuses an unquoted `train.seeds=[1]` ("no matches found"), bash takes it for a file `train.seeds=1`."""
    sets = re.findall(r"-S ('[^']*'|[^\s`]+)", DOCS[page])
    assert not [value for value in sets if re.search(r"[\[\]{}*?]", value) and not value.startswith("'")]
