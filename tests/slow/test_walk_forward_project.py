"""The DVC project in walk_forward/: what it runs, and that the campaign's own DVC commands do not know it.

Its stages are stand-ins that write small files; the commands are real.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from core.pipeline import WALK_FORWARD, read_architectures
from scaffold import PROJECT, Clone, make_frame, write_symbol

pytestmark = pytest.mark.slow
NETWORKS = read_architectures(PROJECT / WALK_FORWARD)
STAGES = ["cut_folds", *(f"train_folds@{name}" for name in NETWORKS), "reference_folds", "evaluate_folds", "compare_folds"]
CACHED = ["data", *(f"models/{name}" for name in [*NETWORKS, "references"]), "predictions", "metrics/evaluate"]
HEAD = """
import sys

sys.path.insert(0, __file__.rpartition("/walk_forward/")[0])
import core.startup

import os, time
from pathlib import Path
from core.files import project_root, write_json, write_text
from core.params import read_section
from core.pipeline import WALK_FORWARD, Stage
from core.run import run
from walk_forward.folds import WalkForward

HERE = WALK_FORWARD.parent
"""
BODIES = {
    "cut_folds": """
def main():
    for fold in range(read_section("walk_forward", WalkForward).folds):
        write_text(HERE / f"data/{fold}/rows", "rows")
""",
    "train_folds": """
def main(name):
    if os.environ.get("SLOW") == name:
        write_text(Path("started"), "")
        time.sleep(60)
    for fold in (HERE / "data").iterdir():
        write_text(HERE / f"models/{name}/{fold.name}/network", f"{name} {project_root()}")
""",
    "reference_folds": """
def main():
    write_text(HERE / "models/references/0/scores", "scores")
""",
    "evaluate_folds": """
def main():
    write_text(HERE / "predictions/0/scores", "scores")
    write_json(HERE / "metrics/evaluate/0.json", {})
""",
    "compare_folds": """
def main():
    folds = sorted(path.name for path in (HERE / "data").iterdir())
    names = sorted(path.name for path in (HERE / "models").iterdir() if path.is_dir())
    rows = [f"{fold},{name},0.{len(name)}" for name in names for fold in folds]
    write_text(HERE / "plots/score_by_fold.csv", "\\n".join(["fold,model,f1", *rows]) + "\\n")
    for name in names:
        write_json(HERE / f"metrics/test/{name}.json", {"f1": len(name) / 10, "folds": len(folds)})
    write_json(HERE / "metrics/walk_forward.json", {})
    write_text(HERE / "reports/walk_forward.html", "<html>")
    write_text(HERE / "reports/walk_forward.md", "# folds")
""",
}


def write_bars(clone: Clone, size: int = 50) -> None:
    """Write bars beside the clone, where its `data.bars` is."""
    write_symbol(clone.directory.parent / "bars", "A", make_frame(size))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose walk-forward was run from the door, after a committed campaign that is only begun."""
    directory = tmp_path_factory.mktemp("project") / "clone"
    directory.mkdir()
    clone = Clone(directory, data={"bars": "../bars"}, walk_forward={"folds": 3})
    write_bars(clone)
    for name, body in BODIES.items():
        takes_item = name == "train_folds"
        call = f'run(main, stage=Stage(WALK_FORWARD, "{name}"), takes_item={takes_item})'
        (directory / f"src/walk_forward/{name}.py").write_text(
            f'"""Stand in."""\n{HEAD}{body}\n\nif __name__ == "__main__":\n    {call}\n'
        )
    clone.run("dvc repro simulate_market")
    clone.commit()
    done = clone.run("python src/campaign.py walk-forward")
    assert ran(done.stdout) == STAGES
    report = directory / "walk_forward/reports/walk_forward.html"
    assert done.stdout.endswith(f"open {report.as_uri()}\n")
    assert report.is_file()
    clone.commit()
    return clone


def ran(output: str) -> list[str]:
    """List the stages that `dvc repro` ran, in order."""
    return re.findall(r"^Running stage '([\w@]+)'", output, re.MULTILINE)


def outs(clone: Clone) -> list[dict[str, Any]]:
    """List what walk_forward/dvc.lock says of the outs that DVC's cache holds."""
    lock = YAML(typ="safe").load((clone.directory / "walk_forward/dvc.lock").read_text())
    return [out for stage in lock["stages"].values() for out in stage["outs"] if out["path"] in CACHED]


def below(clone: Clone, command: str, **options: object) -> str:
    """Run a command in walk_forward/, and return its output."""
    project = Clone.of(clone.directory / "walk_forward")
    return project.run(command, **options).stdout


@pytest.fixture
def clone(finished: Clone) -> Clone:
    """The finished clone, as it was committed."""
    finished.run("git checkout -q .")
    finished.run("git clean -qfd")
    write_bars(finished)
    below(finished, "dvc checkout -q --force")
    assert finished.run("git status --porcelain").stdout == ""
    return finished


def test_git_holds_the_small_results_alone(finished):
    changed = finished.run("git log -1 --format= --name-only").stdout.split()
    results = [f"metrics/test/{name}.json" for name in [*NETWORKS, "references"]]
    results += ["dvc.lock", "metrics/walk_forward.json", "reports/walk_forward.md"]
    assert changed == sorted(f"walk_forward/{name}" for name in results), "and DVC added no rule to a .gitignore"


def test_the_campaigns_commands_neither_run_nor_mention_it(clone, tmp_path):
    clone.run(f"dvc remote add --local -fd here {tmp_path}")
    for command in (
        "repro simulate_market",
        "exp run simulate_market",
        "status",
        "metrics show",
        "plots show --json",
        "data status",
    ):
        done = clone.run(f"dvc {command}")
        assert not re.search("walk_forward|_folds", done.stdout + done.stderr), command
    clone.run("dvc push")
    assert not clone.run("git status --porcelain walk_forward").stdout
    hashes = {out["md5"] for out in outs(clone)}
    assert not hashes & {path.parent.name + path.name for path in tmp_path.glob("files/md5/*/*")}


def test_its_own_commands_work(clone, tmp_path):
    assert ran(below(clone, "dvc repro")) == []
    assert below(clone, "dvc status") == "Data and pipelines are up to date.\n"
    rows = below(clone, "dvc metrics show").splitlines()
    assert [row.split()[0] for row in rows[1:]] == sorted(f"metrics/test/{name}.json" for name in [*NETWORKS, "references"])
    plots = json.loads(below(clone, "dvc plots show --json"))["data"]
    values = plots["score by fold"][0]["content"]["data"]["values"]
    assert {(row["model"], row["fold"]) for row in values} == {
        (name, fold) for name in [*NETWORKS, "references"] for fold in "012"
    }
    below(clone, "dvc plots show")
    assert "cdn" not in (clone.directory / "walk_forward/dvc_plots/index.html").read_text(), "its page needs no network"
    below(clone, f"dvc remote add --local -fd here {tmp_path}")
    below(clone, "dvc push")
    shutil.rmtree(clone.directory / "walk_forward/.dvc/cache")
    shutil.rmtree(clone.directory / "walk_forward/models/mlp")
    below(clone, "dvc pull")
    assert below(clone, "dvc status") == "Data and pipelines are up to date.\n"


def test_bytecode_and_what_a_killed_stage_leaves_outdate_nothing(clone):
    for name in ("src/core/__pycache__/x.pyc", "src/learn/x.tmp"):
        (clone.directory / name).parent.mkdir(exist_ok=True)
        (clone.directory / name).write_text("x")
    assert below(clone, "dvc status") == "Data and pipelines are up to date.\n"


def test_an_edit_reruns_what_depends_on_it(clone):
    with (clone.directory / f"src/train_{NETWORKS[1]}.py").open("a") as file:
        file.write("# edited\n")
    assert ran(below(clone, "dvc repro")) == [f"train_folds@{NETWORKS[1]}"], "its outs are the same"
    write_bars(clone, 60)
    assert "bars" in below(clone, "dvc status cut_folds")


def test_an_experiment_changes_a_setting_of_the_roots_file(clone):
    assert ran(below(clone, "dvc exp run -S ../params.yaml:walk_forward.folds=2 cut_folds")) == ["cut_folds"]
    assert len(os.listdir(clone.directory / "walk_forward/data")) == 2


def test_what_it_keeps_beside_its_outs_is_in_the_projects_root(finished):
    text = (finished.directory / f"walk_forward/models/{NETWORKS[0]}/0/network").read_text()
    assert text == f"{NETWORKS[0]} {finished.directory}"


def test_collecting_garbage_in_a_shared_cache_names_both_projects(clone, tmp_path):
    """As docs/running.md says."""
    for run in (clone.run, lambda command: below(clone, command)):
        run(f"dvc cache dir --local {tmp_path}/cache")
    clone.run("dvc commit -f simulate_market")
    below(clone, "dvc commit -f")
    kept = [tmp_path / "cache/files/md5" / out["md5"][:2] / out["md5"][2:] for out in outs(clone)]
    assert len(kept) == len(CACHED)
    try:
        clone.run("dvc gc -w -f -p walk_forward")
        assert all(path.exists() for path in kept)
        clone.run("dvc gc -w -f")
        assert not any(path.exists() for path in kept)
    finally:
        for run in (clone.run, lambda command: below(clone, command)):
            run("dvc config --local -u cache.dir")


# --- the door -------------------------------------------------------------------------------------------------------


def test_an_absolute_path_of_bars_is_refused_with_a_cure_that_works(clone):
    bars = clone.directory.parent / "bars"
    clone.params(data={"bars": str(bars)})
    line = clone.run("python src/campaign.py walk-forward", fails=True).stderr
    found, cure = re.fullmatch("campaign walk-forward: (.*); write it so: bars: (.*)\n", line).groups()
    assert found == f"data.bars in params.yaml is {bars}, and walk_forward/dvc.yaml can name relative paths alone"
    clone.params(data={"bars": cure})
    assert below(clone, "dvc status") == "Data and pipelines are up to date.\n"


def test_a_stage_that_fails_is_one_line_more(clone):
    script = clone.directory / "src/walk_forward/reference_folds.py"
    script.write_text(
        script.read_text().replace("def main():", "def main():\n    import core.errors; raise core.errors.CampaignError('no')")
    )
    done = clone.run("python src/campaign.py walk-forward", fails=True)
    assert done.stderr.startswith("reference_folds: no\n")
    line = "campaign walk-forward: dvc repro ended with exit code 255 in walk_forward/; see its output above"
    assert done.stderr.splitlines()[-1] == line


def test_ctrl_c_ends_dvc_and_its_stage_and_says_so(clone):
    """Sent to the group, as a terminal does."""
    clone.params(walk_forward={"seeds": [6]})
    slow = NETWORKS[0]
    environment = os.environ | {"SLOW": slow, "CAMPAIGN_TRACKING": "off"}
    command = [sys.executable, "src/campaign.py", "walk-forward"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "process_group": 0}
    with subprocess.Popen(command, cwd=clone.directory, env=environment, **options) as process:
        deadline = time.monotonic() + 60
        while not (clone.directory / "started").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        printed, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "campaign walk-forward: interrupted; what is finished is kept; the same command goes on"
    assert "Traceback" not in printed + said


def test_an_edit_while_a_stage_runs_is_not_recorded(clone):
    clone.params(walk_forward={"seeds": [7]})
    slow = NETWORKS[0]
    script = clone.directory / "src/walk_forward/train_folds.py"
    script.write_text(script.read_text().replace("sleep(60)", "sleep(3)"))
    command = [sys.executable, "-m", "dvc", "repro"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"SLOW": slow, "PATH": path}
    with subprocess.Popen(
        command, cwd=clone.directory / "walk_forward", env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (clone.directory / "started").exists():
            assert process.poll() is None
            time.sleep(0.1)
        with (clone.directory / "src/learn/loss.py").open("a") as file:
            file.write("# edited\n")
        said = process.communicate()[1]
    assert f"train_folds {slow}: changed while this ran: src/learn/loss.py; nothing is recorded" in said
