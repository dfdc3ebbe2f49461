"""Experiments as DVC's users run them: any parameter, queued grids side by side, and what is done with the results."""

import contextlib
import csv
import io
import json
import os
import re
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from readme import block, commands
from scaffold import PROJECT, Clone, make_frame, write_symbol

pytestmark = pytest.mark.slow
ON = {"CAMPAIGN_TRACKING": "on", "MLFLOW_DISABLE_TELEMETRY": "true"}
STAGES = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]
NETWORKS = [stage.removeprefix("train_") for stage in STAGES if stage.startswith("train_")]
SIZES, COSTS = (4, 6), (0.001, 0.002)


@pytest.fixture(scope="module")
def campaign(finished_campaign: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A finished campaign, its MLflow store, and a grid of four experiments that ran two at a time."""
    clone = Clone.copy_of(finished_campaign, tmp_path_factory.mktemp("experiments"))
    clone.run("python src/campaign.py backfill", **ON)
    grid = (("gru.hidden_size", SIZES), ("evaluate.cost_per_trade", COSTS))
    clone.run("dvc exp run --queue " + " ".join(f"-S {key}={','.join(map(str, values))}" for key, values in grid))
    clone.said = clone.run("dvc exp run --run-all -j 2", **ON)
    stop_workers(clone)
    return clone


def stop_workers(clone: Clone) -> None:
    """End the workers of a queue that is done: they stay ten seconds, now and then for ever, and run what a test only queues."""
    clone.run("dvc queue stop")
    deadline = time.monotonic() + 20
    while (workers := queue_workers(clone)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def queue_workers(clone: Clone) -> list[int]:
    """Ids of the processes that run what is queued in `clone`."""
    workers = []
    for file in clone.directory.glob(".dvc/tmp/exps/celery/*.pid"):
        with contextlib.suppress(OSError, ValueError):  # an old file, or one that goes, or is empty, at this moment
            worker = int(file.read_text())
            if Path(f"/proc/{worker}/cwd").resolve(strict=True) == clone.directory.resolve():
                workers.append(worker)
    return workers


def experiments(campaign: Clone) -> dict[tuple[int, float], dict[str, str]]:
    """Rows of `dvc exp show` by the grid's two parameters."""
    table = csv.DictReader(io.StringIO(campaign.run("dvc exp show --csv").stdout))
    rows = [row for row in table if row["Experiment"]]
    return {(int(row["gru.hidden_size"]), float(row["evaluate.cost_per_trade"])): row for row in rows}


def test_every_cell_left_its_look_in_the_original_s_ledger(campaign):
    """Two networks of the GRU times two costs, beside the campaign itself; each experiment ran in a copy."""
    looks = [json.loads(file.read_text()) for file in (campaign.directory / "ledger").glob("*.json")]
    cells = {(look["settings"]["gru.hidden_size"], look["settings"]["evaluate.cost_per_trade"]) for look in looks}
    assert {(size, cost) for size in SIZES for cost in COSTS} <= cells
    told = " ".join(campaign.run("python src/campaign.py ledger", COLUMNS="80").stdout.split())
    assert "was looked at 5 times, with " in told


def names(campaign: Clone) -> dict[tuple[int, float], str]:
    return {cell: row["Experiment"] for cell, row in experiments(campaign).items()}


def test_a_grid_ran_side_by_side_and_every_cell_has_its_own_result(campaign):
    found = experiments(campaign)
    assert set(found) == {(size, cost) for size in SIZES for cost in COSTS}
    assert {row["State"] for row in found.values()} <= {"", "Success"}
    gru = {cell: row["metrics/test/gru.json:test_total_return_net"] for cell, row in found.items()}
    assert len(set(gru.values())) == 4
    for size in SIZES:  # both trained the very same network at the same time, or one after the other
        cheap, dear = (found[size, cost]["metrics/test/gru.json:test_f1_score_positive_class"] for cost in COSTS)
        assert cheap == dear
    assert not (campaign.directory / ".checkpoints").exists()
    assert not re.findall("Traceback|tracking: warning", campaign.said.stdout + campaign.said.stderr)


KEYS = ("val_f1_score_positive_class", "val_pr_auc", "test_f1_score_positive_class")


def test_parallel_experiments_leave_the_store_whole_and_their_figures_apart(campaign):
    """Also those of two that judge the very same network at other costs."""
    with contextlib.closing(sqlite3.connect(campaign.directory / "mlflow.db")) as store:
        assert store.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert store.execute("select distinct status from runs").fetchall() == [("FINISHED",)]
        ready = {name for (name,) in store.execute("select name from logged_models where status = 2")}
        runs = [run for (run,) in store.execute("select run_uuid from runs")]
        tags, metrics = ({run: {} for run in runs} for _ in range(2))
        for run, key, value in store.execute("select run_uuid, key, value from tags"):
            tags[run][key] = value
        for run, key, value in store.execute("select run_uuid, key, value from latest_metrics"):
            metrics[run][key] = value
    assert ready == set(NETWORKS), "a model of every architecture"
    assert not [run for run in runs if not set(KEYS) <= set(metrics[run])], "no gap in the table that users make"
    for name, row in ((row["Experiment"], row) for row in experiments(campaign).values()):
        own = [run for run in runs if tags[run].get("dvc_exp_name") == name]
        assert len(own) == len(NETWORKS) * 3, "a run for each architecture, and one for each of its seeds"
        for run in own:
            if "mlflow.parentRunId" not in tags[run]:
                shown = float(row[f"metrics/test/{tags[run]['model_type']}.json:test_total_return_net"])
                assert metrics[run]["test_total_return_net"] == pytest.approx(shown)


def test_the_list_of_experiments_has_dvcs_figures_and_what_each_one_changed(campaign):
    lines = campaign.run("python src/campaign.py experiments").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not re.search(r"\x1b", "".join(lines))
    heads = lines[0].split()[2:]
    assert heads == list(NETWORKS)
    for (size, cost), row in experiments(campaign).items():
        (at,) = [number for number, line in enumerate(lines) if line.split()[0] == row["Experiment"]]
        for line, key in zip(lines[at : at + 2], ("val_f1_cross_fitted", KEYS[2]), strict=True):
            f1 = [f"{float(row[f'metrics/test/{name}.json:{key}']):.3f}" for name in heads]
            assert line.split()[-len(heads) :] == f1
        said = " ".join(lines[at + 1 : at + 3])
        assert f"evaluate.cost_per_trade={cost} " in said
        assert f"gru.hidden_size={size}" in said
    assert lines[-2] == "SIMULATED market, unless data.bars is changed"
    assert lines[-1] == "experiments of other commits: dvc exp list --all-commits"
    listed = campaign.run("dvc exp list --all-commits").stdout
    assert all(row["Experiment"] in listed for row in experiments(campaign).values())

    campaign.params(mlp={"dropout": 0.1})
    said = campaign.run("python src/campaign.py experiments").stdout.splitlines()
    campaign.run("git checkout -q params.yaml")
    assert [line.split() for line in said[1:3]] == [["workspace", "edited,", "not", "run"], ["mlp.dropout=0.1"]]


def test_metrics_can_be_compared_by_file_as_readme_shows(campaign):
    said = campaign.run(f"dvc metrics diff HEAD {names(campaign)[4, 0.001]} --targets metrics/test/lstm.json").stdout
    assert re.findall(r"^metrics/test/(\w+).json +test_total_return_net", said, re.MULTILINE) == ["lstm"]


def test_experiments_are_compared_applied_and_branched(campaign):
    by_cell = names(campaign)
    one, other = by_cell[4, 0.001], by_cell[6, 0.002]
    said = json.loads(campaign.run(f"dvc exp diff --json {one} {other}").stdout)
    assert said["params"]["params.yaml"]["gru.hidden_size"]["new"] == 6
    assert "metrics/test/gru.json" in said["metrics"]
    said = json.loads(campaign.run(f"dvc metrics diff --json {one} {other}").stdout)
    assert {"test_total_return_net"} <= set(said["metrics/test/gru.json"])

    campaign.run(f"dvc plots diff {one} {other} -o compared")
    page = (campaign.directory / "compared/index.html").read_text()
    assert one in page
    assert other in page
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)\s*=\s*[\"']?(?:https?:)?//[^>]*", page)

    campaign.run(f"dvc exp branch {other} better")
    branch = YAML(typ="safe").load(campaign.run("git show better:params.yaml").stdout)
    assert branch["gru"]["hidden_size"] == 6
    campaign.run(f"dvc exp apply {one}")
    assert campaign.repro() == [], "what an experiment made is taken over whole"
    assert YAML(typ="safe").load((campaign.directory / "params.yaml").read_text())["gru"]["hidden_size"] == 4
    campaign.run("git checkout -q .")
    campaign.run("dvc checkout")
    assert campaign.repro() == []


def leaves(tree: dict, above: str = "") -> dict:
    return {
        name: value
        for key, below in tree.items()
        for name, value in (leaves(below, f"{above}{key}.") if isinstance(below, dict) else {f"{above}{key}": below}).items()
    }


def test_every_parameter_can_be_set(campaign):
    """A queued experiment has them all, and is not run."""
    params = leaves(YAML(typ="safe").load((campaign.directory / "params.yaml").read_text()))
    numbers = {key: value for key, value in params.items() if isinstance(value, int | float)}
    changed = {key: value + 1 if isinstance(value, int) else value / 2 for key, value in numbers.items()}
    assert len(changed) > 40
    texts = {"train.precision": "float32", "market.start": "2023-01-02"}
    sets = [f"-S {key}={value}" for key, value in changed.items()] + [f"-S '{key}=\"{value}\"'" for key, value in texts.items()]
    sets += ["-S 'train.seeds=[4]'", "-S 'data.features=[return_1,rsi_14]'", "-S 'data.symbols=[SIM01]'"]
    campaign.run(f"dvc exp run --queue --name all {' '.join(sets)}")
    (row,) = [row for row in csv.DictReader(io.StringIO(campaign.run("dvc exp show --csv").stdout)) if row["Experiment"] == "all"]
    assert {key: float(row[key]) for key in changed} == pytest.approx(changed)
    assert {key: row[key] for key in texts} == texts
    assert row["data.features"] == "['return_1', 'rsi_14']"
    campaign.run("dvc queue remove --queued")


def test_one_network_has_settings_of_the_loop_for_itself(finished_campaign, tmp_path):
    """As docs/running.md says."""
    clone = Clone.copy_of(finished_campaign, tmp_path / "clone")
    done = clone.run(block("++lstm").strip().removeprefix("$ "))
    assert re.findall(r"^Running stage '(\w+)'", done.stdout, re.MULTILINE) == ["train_lstm", "evaluate", "compare"]
    rates = {name: clone.read(f"metrics/train/{name}.json")["settings"]["learning_rate"] for name in NETWORKS}
    assert rates == dict.fromkeys(NETWORKS, 0.001) | {"lstm": 0.0005}
    report = (clone.directory / "reports/comparison.md").read_text()
    assert "did not have the same settings: learning_rate 0.001 (MLP), 0.0005 (LSTM + attention)" in report
    assert "train.learning_rate 0.0005" in report


@pytest.mark.parametrize(
    "command",
    [
        "dvc exp show --json",
        "dvc data status --granular --unchanged --json",
        "dvc plots diff -o shown --split --json",
        "dvc stage list",
    ],
)
def test_what_an_editor_asks_of_dvc_has_no_error_and_no_warning(campaign, command):
    """The commands that the DVC extension of VS Code reads."""
    done = campaign.run(command)
    assert not re.findall(r"warning|error|deprecat", done.stderr, re.IGNORECASE)
    if command.endswith("--json"):
        said = json.loads(done.stdout)
        assert '"error"' not in json.dumps(said).replace('"error": null', "")
        assert not (isinstance(said, dict) and said.get("errors"))


@pytest.fixture(scope="module")
def elsewhere(campaign: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The campaign on a second machine, by the commands of docs/sharing.md."""
    shared = tmp_path_factory.mktemp("shared")
    origin = f"{shared}/origin/campaign.git"
    campaign.run(f"git init -q --bare {origin}")
    campaign.run(f"git remote add origin {origin}")
    campaign.run("git push -q -u origin HEAD")
    script = shared / "here.sh"
    script.write_text(commands("dvc remote add", **{"/mnt/shared/campaign": f"{shared}/storage"}))
    campaign.run(f"bash {script}")
    script = shared / "there.sh"
    replaced = {"git@example.com:you/campaign.git": origin, "make setup && source .venv/bin/activate": ""}
    script.write_text(commands("git clone", **replaced))
    second = Clone.of(shared)
    second.said = second.run(f"bash {script}")
    second.directory = shared / "campaign"
    return second


def test_a_campaign_is_shared_with_a_second_machine(campaign, elsewhere):
    assert "Running stage" not in elsewhere.said.stdout
    assert "Data and pipelines are up to date." in elsewhere.said.stdout + elsewhere.said.stderr
    assert elsewhere.lock() == campaign.lock()
    assert elsewhere.run("git status --porcelain").stdout == ""
    assert campaign.run("git status --porcelain --untracked-files=no").stdout == "", "pages of other tests lie there"
    for name in ("models/gru/best_model.pt", "reports/comparison.html", "plots/pr_curves.csv", "metrics/test/gru.json"):
        assert (elsewhere.directory / name).read_bytes() == (campaign.directory / name).read_bytes()


def test_own_bars_are_found_in_copies_once_dvc_has_them_and_a_failed_experiment_tells_why(elsewhere, tmp_path):
    """Run the queue of docs/own-bars.md as far as generate_data, one of an absolute path, and one whose bars no copy has."""
    for number, symbol in enumerate(("AAA", "BBB")):
        write_symbol(elsewhere.directory / "data/historical", symbol, make_frame(900, seed=number, volatility=0.015))
        write_symbol(elsewhere.directory / "data/untracked", symbol, make_frame(900, seed=number, volatility=0.015))
    (tmp_path / "add.sh").write_text(
        commands(
            "dvc add data/historical",
            **{
                "git commit": "git -c user.name=test -c user.email=test@example.org commit -q",
                "--queue": "--queue generate_data",
                "dvc exp run --run-all": f"dvc exp run --queue -n absolute -S data.bars={elsewhere.directory}/data/historical "
                "generate_data\ndvc exp run --queue -n lost -S data.bars=data/untracked generate_data\ndvc exp run --run-all",
            },
        )
    )
    elsewhere.run(f"bash {tmp_path}/add.sh")
    stop_workers(elsewhere)
    table = list(csv.DictReader(io.StringIO(elsewhere.run("dvc exp show --csv").stdout)))
    rows = [row for row in table if row["Experiment"]]
    assert sorted(row["State"] for row in rows) == ["Failed", "Success", "Success", "Success"]
    done = {(row["data.bars"], row["train.learning_rate"]) for row in rows if row["State"] == "Success"}
    absolute = f"{elsewhere.directory}/data/historical"
    assert done == {("data/historical", "0.0005"), ("data/historical", "0.001"), (absolute, "0.001")}

    said = elsewhere.run("python src/campaign.py experiments").stdout.splitlines()
    assert "why one failed: dvc queue logs NAME; forget them: dvc queue remove --failed" in said
    (at,) = [number for number, line in enumerate(said) if line.split() == ["lost", "failed"]]
    assert said[at + 1].split() == ["data.bars=data/untracked"]
    assert "No such file or directory" in elsewhere.run("dvc queue logs lost").stdout
    elsewhere.run("dvc queue remove --failed")
    assert "lost" not in elsewhere.run("python src/campaign.py experiments").stdout
