"""What git holds of the directories that stages write to, in a real repository with DVC."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from scaffold import PROJECT, Clone

WRITTEN = ("data", "models", "metrics", "plots", "reports")
STAGES = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]
TCN = """
  train_tcn:
    cmd: mkdir -p models/tcn metrics/train && echo 1 | tee models/tcn/model metrics/train/tcn.json
    outs: [models/tcn, metrics/train/tcn.json]
"""
PIPELINE = f"""stages:
  evaluate:
    cmd: mkdir -p metrics/test reports && cat models/*/model | tee plots/pr.csv metrics/test/all.json reports/comparison.html
    deps: [models, metrics/train]
    outs: [plots/pr.csv, reports/comparison.html]
    metrics: [metrics/test: {{cache: false}}]
{TCN.replace("tcn", "mlp")}"""


def is_ignored(path: str, repository: Path = PROJECT) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", "--no-index", path], cwd=repository).returncode == 0


def outs(*, cached: bool) -> list[str]:
    """Paths of dvc.yaml's outs and metrics that DVC's cache holds, or that git holds."""
    entries = [entry for stage in STAGES.values() for key in ("outs", "metrics") for entry in stage.get(key, [])]
    paths = [(entry, True) if isinstance(entry, str) else (next(iter(entry)), False) for entry in entries]
    return [path for path, in_cache in paths if in_cache == cached]


@pytest.mark.parametrize("path", [*outs(cached=True), "models/tcn", "metrics/train/tcn.json", "plots/learning_curves/tcn.png"])
def test_git_ignores_what_dvc_caches_also_of_an_added_architecture(path):
    assert is_ignored(path)


@pytest.mark.parametrize("path", [*outs(cached=False), "data/historical.dvc", *(f"{name}/.gitignore" for name in WRITTEN)])
def test_git_holds_the_small_results_and_what_dvc_writes_beside_own_bars(path):
    assert not is_ignored(path)


def test_bars_of_ones_own_are_never_added_by_accident():
    assert is_ignored("data/historical")
    assert is_ignored("data/anything")


@pytest.fixture
def repository(tmp_path: Path) -> Clone:
    """The project's directories and their .gitignore around a pipeline of two small stages."""
    for name in (".gitignore", ".dvcignore", *(f"{name}/.gitignore" for name in WRITTEN)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    clone = Clone.of(tmp_path)
    clone.run("git init -q .")
    clone.run("dvc init -q")
    clone.run("dvc config core.analytics false")
    clone.commit()
    return clone


def test_dvc_adds_no_line_to_a_gitignore(repository):
    """Nor does it take one back when a stage fails."""
    assert repository.repro() == ["train_mlp", "evaluate"]
    assert repository.run("git status --porcelain").stdout.split() == ["??", "dvc.lock", "??", "metrics/test/"]
    repository.commit()
    pipeline = repository.directory / "dvc.yaml"
    pipeline.write_text(PIPELINE + TCN)
    assert repository.repro() == ["train_tcn", "evaluate"]
    pipeline.write_text(PIPELINE + TCN + TCN.replace("tcn", "bad").replace("echo 1 |", "false &&"))
    repository.run("dvc repro train_bad", fails=True)
    changed = repository.run("git status --porcelain").stdout.split()
    assert changed == ["M", "dvc.lock", "M", "dvc.yaml", "M", "metrics/test/all.json"]


def test_an_edited_gitignore_reruns_no_stage(repository):
    repository.repro()
    with (repository.directory / "models/.gitignore").open("a") as file:
        file.write("# edited\n")
    assert repository.repro() == []
