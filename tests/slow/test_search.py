"""The search with real trainings, Optuna and databases: kills, jobs, storages, and what its command does."""

import contextlib
import csv
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from scaffold import Clone, mounted
from servers import postgresql  # noqa: F401 - a fixture
from terminal import Terminal

pytestmark = pytest.mark.slow
SMALL_SPACE = {
    "mlp": {
        "hidden_sizes": [[4], [8], [8, 4]],
        "dropout": {"low": 0.0, "high": 0.5},
        "train": {"learning_rate": {"low": 0.0005, "high": 0.05, "log": True}},
    }
}
TRIALS, BATCH = 7, 3
PATIENCE = 300  # seconds for whatever is waited for
SEARCH = "python src/campaign.py search mlp"


@pytest.fixture(scope="module")
def original(finished_campaign: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone.copy_of(finished_campaign, tmp_path_factory.mktemp("search") / "clone")
    settings = {"trials": TRIALS, "batch": BATCH, "startup_trials": 3, "fresh_seeds": [11, 12], "space": SMALL_SPACE}
    clone.params(search=settings)
    clone.commit()
    return clone


@pytest.fixture
def clone(original: Clone, tmp_path: Path) -> Clone:
    return Clone.copy_of(original.directory, tmp_path / "clone")


@pytest.fixture(scope="module")
def searched(original: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose search ran without a disturbance, one training at a time."""
    clone = Clone.copy_of(original.directory, tmp_path_factory.mktemp("searched") / "clone")
    clone.said = clone.run(SEARCH, CAMPAIGN_JOBS="1")
    return clone


def found(clone: Clone) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (clone.directory / "search/by_hand").iterdir()}


def trials(clone: Clone) -> list[dict[str, str]]:
    with (clone.directory / "search/by_hand/mlp_trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_search_tries_the_baseline_first_prunes_by_seed_and_writes_its_page(searched):
    rows = trials(searched)
    assert [row["trial"] for row in rows] == [str(number) for number in range(TRIALS + 1)]
    assert [row["batch"] for row in rows] == ["0", "0", "0", "3", "3", "3", "6", "6"]
    params = YAML(typ="safe").load((searched.directory / "params.yaml").read_text())
    assert json.loads(rows[0]["hidden_sizes"]) == params["mlp"]["hidden_sizes"]
    assert float(rows[0]["train.learning_rate"]) == params["train"]["learning_rate"]
    for first, size in ((0, 3), (3, 3), (6, 2)):
        batch = rows[first : first + size]
        pruned = [row for row in batch if row["state"] == "pruned"]
        assert all(row["score_seed_2"] == "" for row in pruned)
        whole = [row for row in batch if row["state"] == "complete"]
        assert len(whole) >= (size + 1) // 2
        worst = min(float(row["score_seed_1"]) for row in whole if row["trial"] != "0")
        assert all(float(row["score_seed_1"]) <= worst for row in pruned)
    lines = searched.said.stderr.splitlines()
    assert re.fullmatch(r"mlp: baseline: 0\.\d{4}, complete; best 0\.\d{4} at the baseline; \d+ (s|min) left", lines[0])
    assert sum(line.startswith("mlp: trial") for line in lines) == TRIALS
    assert set(found(searched)) == {"mlp.html", "mlp.json", "mlp.md", "mlp_trials.csv"}
    assert searched.said.stderr.count("ledger: this test set has been looked at 2 times; what luck makes of that: ") == 1
    assert searched.said.stdout.splitlines()[-1] == f"open {(searched.directory / 'search/by_hand/mlp.html').as_uri()}"
    assert not list((searched.directory / ".checkpoints").rglob("state.pt"))


def test_without_pruning_every_trial_gets_all_seeds_also_by_another_sampler_and_objective(clone):
    clone.params(search={"pruner": "none", "sampler": "random", "objective": "return", "batch": 6})
    clone.run(f"{SEARCH} --trials 5")
    assert "return a day after costs" in (clone.directory / "search/by_hand/mlp.md").read_text()
    rows = trials(clone)
    assert [row["state"] for row in rows] == ["complete"] * 6, "of one batch pruning would leave four at most"
    assert all(row["score_seed_2"] for row in rows)


def test_on_a_terminal_a_bar_counts_the_trials(clone):
    terminal = Terminal(100)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CAMPAIGN_TRACKING": "off", "TERM": "xterm"}
    command = shlex.split(f"{SEARCH} --trials 4")
    ended = subprocess.run(command, cwd=clone.directory, stdout=terminal.child, stderr=terminal.child, env=environment)
    lines = terminal.show()
    terminal.close()
    assert ended.returncode == 0, lines
    assert re.search(r"mlp +\|█+ *\|  3/5  best 0\.\d{4} at (the baseline|trial \d)  \d:\d\d left", terminal.written)
    assert re.search(r"mlp trial 1 seed 1 +\|", terminal.written)
    assert not [line for line in lines if "|" in line], "no bar stays"


def test_log_loss_as_the_objective_decides_on_test_too(clone):
    clone.params(search={"objective": "log_loss"})
    clone.run(f"{SEARCH} --trials 2")
    rows, result = trials(clone), clone.read("search/by_hand/mlp.json")
    assert all(float(row["score"]) < 0 for row in rows), "log loss below zero, so that higher is better"
    complete = [row for row in rows if row["state"] == "complete"]
    assert result["best_trial"] == int(max(complete, key=lambda row: float(row["score"]))["trial"])
    assert result["contest"] is None or result["contest"]["objective"] == "log_loss"


def test_over_inner_folds_trials_are_judged_before_test_and_a_kill_changes_no_byte(clone, tmp_path):
    bars = clone.read("data/training_data/metadata.json")
    lengths = {"val_days": 5, "train_days": 10}
    clone.params(search={"folds": 2, "batch": 2, "fresh_seeds": [11, 12]}, walk_forward=lengths)
    killed = Clone.copy_of(clone.directory, tmp_path / "killed")
    done = clone.run(f"{SEARCH} --trials 3", CAMPAIGN_JOBS="1")
    assert len(re.findall(r"^fold-[12]: validation 20\d\d-\d\d-\d\d to ", done.stderr, re.MULTILINE)) == 2
    folds = [json.loads(file.read_text()) for file in sorted(clone.directory.glob(".search/folds/*/fold-*/metadata.json"))]
    assert [fold["cuts"]["test"] for fold in folds] == [folds[1]["cuts"]["val"], bars["cuts"]["test"]]
    assert all(fold["splits"]["val"]["last_bar"] < bars["cuts"]["test"] for fold in folds)
    [logits] = clone.directory.glob(".search/mlp-*/logits/00000.npy")
    samples = [fold["splits"]["val"]["samples"] for fold in folds]
    assert np.load(logits).shape == (2, 2, sum(samples))
    assert "Validation is 2 periods before test" in (clone.directory / "search/by_hand/mlp.md").read_text()

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        shlex.split(f"{SEARCH} --trials 3"),
        cwd=killed.directory,
        env=os.environ | {"PATH": path, "CAMPAIGN_TRACKING": "off", "CAMPAIGN_JOBS": "2"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert any(line.startswith("fold-1:") for line in process.stderr)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    killed.run(f"{SEARCH} --trials 3")
    assert found(killed) == found(clone)

    frame = next((clone.directory / "data/simulated").glob("*/1Hour/data.parquet"))
    table = pd.read_parquet(frame)
    table.loc[table.index[-40:], ["Open", "High", "Low", "Close"]] *= 1.0001
    frame.unlink()
    table.to_parquet(frame)
    shutil.rmtree(clone.directory / ".search/folds")
    refused = clone.run(f"{SEARCH} --trials 3", fails=True)
    assert refused.stderr.splitlines()[-1] == (
        "campaign search: the bars in data/simulated are not those of data/training_data; make it anew: dvc repro generate_data"
    )


def test_killed_three_times_with_other_jobs_it_ends_with_the_same_bytes(clone, searched):
    for after in ("epoch of the first batch", "mlp: trial 2 of", "mlp: trial 5 of"):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "CAMPAIGN_TRACKING": "off", "CAMPAIGN_JOBS": "2"}
        process = subprocess.Popen(
            shlex.split(SEARCH), cwd=clone.directory, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        if after.startswith("mlp"):
            assert any(line.startswith(after) for line in process.stderr)
        else:
            end = time.monotonic() + PATIENCE
            while not list((clone.directory / ".checkpoints").rglob("state.pt")):
                assert time.monotonic() < end
                time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
    done = clone.run(SEARCH)
    assert found(clone) == found(searched)
    assert "mlp: baseline" not in done.stderr, "a trial that was finished ran again"


def test_mlflow_has_a_run_a_search_in_that_a_trial_and_in_that_a_seed(searched, tmp_path):
    clone = Clone.copy_of(searched.directory, tmp_path / "clone")
    tracking = {"CAMPAIGN_TRACKING": "on", "MLFLOW_DISABLE_TELEMETRY": "true"}
    for _ in range(2):  # the second time there is nothing to add
        clone.run(SEARCH, **tracking)
        with contextlib.closing(sqlite3.connect(clone.directory / "mlflow.db")) as store:
            tags: dict[str, dict[str, str]] = {}
            for run, key, value in store.execute("select run_uuid, key, value from tags"):
                tags.setdefault(run, {})[key] = value
            metrics = {(run, key): value for run, key, value in store.execute("select run_uuid, key, value from latest_metrics")}
            statuses = {status for (status,) in store.execute("select distinct status from runs")}
        (parent,) = (run for run, own in tags.items() if "mlflow.parentRunId" not in own)
        children = {int(own["trial"]): run for run, own in tags.items() if own.get("mlflow.parentRunId") == parent}
        rows = trials(clone)
        assert sorted(children) == list(range(TRIALS + 1))
        assert statuses == {"FINISHED"}
        for row in rows:
            run = children[int(row["trial"])]
            assert tags[run]["state"] == row["state"]
            assert metrics[run, "score"] == float(row["score"])
            seeds = [other for other, own in tags.items() if own.get("mlflow.parentRunId") == run]
            assert len(seeds) == (1 if row["state"] == "pruned" else 2)
        assert metrics[parent, "best_score"] == max(float(row["score"]) for row in rows if row["state"] == "complete")
        assert tags[parent]["verdict"] in ("better", "worse", "not shown")
        assert tags[parent]["test_looks"] == "2", "the campaign's and the search's"


def test_more_trials_go_on_where_the_search_was_and_fewer_run_none(clone, searched):
    shutil.copytree(searched.directory / ".search", clone.directory / ".search")
    done = clone.run(f"{SEARCH} --trials {TRIALS + 1}")
    assert sum(line.startswith("mlp: trial") for line in done.stderr.splitlines()) == 1
    assert trials(clone)[: TRIALS + 1] == trials(searched)
    again = clone.run(f"{SEARCH} --trials {TRIALS}")
    assert "mlp: trial" not in again.stderr
    assert found(clone) == found(searched)


def test_the_printed_command_makes_the_best_settings_the_campaign_s_and_reruns_that_network_alone(searched, tmp_path):
    command = next((line for line in searched.said.stdout.splitlines() if line.startswith("dvc exp run")), None)
    if command is None:
        pytest.fail("no trial is better than the baseline here; take another seed")
    clone = Clone.copy_of(searched.directory, tmp_path / "clone")
    done = clone.run(command)
    assert re.findall(r"^Running stage '(\w+)'", done.stdout, re.MULTILINE) == ["train_mlp", "evaluate", "compare"]
    best = max((row for row in trials(searched) if row["state"] == "complete"), key=lambda row: float(row["score"]))
    record = clone.read("metrics/train/mlp.json")
    assert record["architecture"]["hidden_sizes"] == json.loads(best["hidden_sizes"])
    assert record["architecture"]["dropout"] == float(best["dropout"])
    assert record["settings"]["learning_rate"] == float(best["train.learning_rate"])


def test_applied_the_best_settings_are_in_params_yaml_and_the_stage_takes_them(searched, tmp_path):
    clone = Clone.copy_of(searched.directory, tmp_path / "clone")
    done = clone.run(f"{SEARCH} --apply")
    assert "these settings are in params.yaml now; to run the campaign with them: dvc repro" in done.stdout.splitlines()
    best = max((row for row in trials(clone) if row["state"] == "complete"), key=lambda row: float(row["score"]))
    section = YAML(typ="safe").load((clone.directory / "params.yaml").read_text())["mlp"]
    assert section["hidden_sizes"] == json.loads(best["hidden_sizes"])
    assert section["train"] == {"learning_rate": float(best["train.learning_rate"])}
    assert clone.repro("train_mlp") == ["train_mlp"]


def test_dvc_searches_what_is_named_and_the_campaign_s_own_commands_do_not_know_it(clone, searched):
    refused = clone.run("python src/campaign.py search", fails=True)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert re.fullmatch(
        r"campaign search: the comparison recommends no search; to search all the same, name what: search.architectures: "
        r"\[\w+\] in params.yaml \(its order: .*\)",
        line,
    )
    clone.params(search={"architectures": ["mlp"]})
    clone.run("python src/campaign.py search")
    reports = {file.name: file.read_bytes() for file in (clone.directory / "search/reports").iterdir()}
    assert reports == found(searched)
    again = clone.run("python src/campaign.py search")
    assert "Stage 'search_settings' didn't change, skipping" in again.stdout
    for command in ("status", "metrics show", "plots show --json", "data status"):
        done = clone.run(f"dvc {command}")
        assert not re.search(r"search_settings|search/(dvc|reports|src)", done.stdout + done.stderr)
    assert "search/" not in "".join(clone.run("git status --porcelain").stdout.split("search/dvc.lock"))


def test_the_first_and_the_second_that_the_comparison_recommends_are_searched(clone):
    compared = clone.read("metrics/compare.json")
    compared["search"] |= {"primary": "gru", "secondary": ["mlp", "cnn_lstm"]}
    (clone.directory / "metrics/compare.json").write_text(json.dumps(compared))
    dropout = {"dropout": {"low": 0.0, "high": 0.5}}
    clone.params(search={"trials": 1, "batch": 2, "space": {"gru": dropout, "mlp": dropout}})
    done = clone.run("python src/campaign.py search")
    assert {file.stem for file in (clone.directory / "search/reports").glob("*.html")} == {"gru", "mlp"}
    opened = [line for line in done.stdout.splitlines() if line.startswith("open ")]
    assert [line.rpartition("/")[2] for line in opened] == ["gru.html", "mlp.html"]


@pytest.mark.parametrize(
    ("arguments", "settings", "problem"),
    [
        ("tcn", {}, "'tcn' is no architecture that dvc.yaml trains; it trains mlp, lstm, gru, cnn_lstm"),
        ("gru", {}, "params.yaml: search.space has nothing for gru; add 'gru:' there, with the settings to search"),
        ("mlp --trials 0", {}, "--trials is 0; it must be 1 or more"),
        ("mlp --study a/b", {}, "the study's name is 'a/b'; take letters, digits, dots and hyphens alone"),
        ("--trials 3", {}, "--trials, --study and --apply need an ARCHITECTURE; without one params.yaml says what is searched"),
        ("mlp", {"fresh_seeds": [1, 11]}, "params.yaml: search.fresh_seeds has 1, which search.seeds has too; take another"),
        (
            "",
            {"architectures": ["tcn"]},
            "params.yaml: search.architectures has 'tcn', which dvc.yaml does not train; it trains .*",
        ),
        (
            "mlp",
            {"space": {"mlp": {"dropout": {"low": 0, "high": 2}}}},
            "params.yaml: search.space.mlp.dropout is 2; it must be .*",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(clone, arguments, settings, problem):
    clone.params(search=settings)
    done = clone.run(f"python src/campaign.py search {arguments}", fails=True)
    assert done.returncode == 1
    assert re.fullmatch(f"campaign search: {problem}\n", done.stderr), done.stderr


def test_a_named_study_of_other_settings_is_refused_and_the_cure_works(clone):
    clone.run(f"{SEARCH} --trials 1 --study mine")
    clone.params(search={"objective": "f1"})
    done = clone.run(f"{SEARCH} --trials 1 --study mine", fails=True)
    assert re.fullmatch(
        r"campaign search: the study mine in sqlite:.*study.db is of other settings of the search; go on with these, or name "
        r"another: --study mine-2\n",
        done.stderr,
    )
    clone.run(f"{SEARCH} --trials 1 --study mine-2")
    clone.params(search={"objective": "pr_auc"})
    assert "mlp: baseline" not in clone.run(f"{SEARCH} --trials 1 --study mine").stderr, "it goes on with the old one"


def test_a_storage_that_is_down_is_one_line_that_tells_no_password(clone):
    address = "postgresql://bob:secret@127.0.0.1:1/none"
    done = clone.run(SEARCH, fails=True, CAMPAIGN_OPTUNA_STORAGE=address)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("campaign search: the storage postgresql://bob:***@127.0.0.1:1/none cannot be used (")
    assert "secret" not in done.stderr


def test_a_disk_that_fills_is_one_line_and_nothing_is_lost(clone, searched):
    directory = clone.directory / ".search"
    with mounted(directory, "size=300k"):
        done = clone.run(SEARCH, fails=True)
        told = [line for line in done.stderr.splitlines() if not line.startswith("mlp: ")]
        assert (done.returncode, len(told)) == (1, 1), done.stderr
        assert re.search("space left|disk is full|disk I/O error", told[0])
        subprocess.run(["mount", "-o", "remount,size=50m", directory], check=True)
        clone.run(SEARCH)
        assert found(clone) == found(searched)


def test_ctrl_c_says_that_the_same_command_goes_on(clone):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CAMPAIGN_TRACKING": "off"}
    with subprocess.Popen(
        shlex.split(SEARCH), cwd=clone.directory, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert any(line.startswith("mlp: baseline") for line in process.stderr)
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(PATIENCE) == 130
    kept = "finished trials and epochs are kept, the same command goes on after them"
    assert said.splitlines()[-1] == f"campaign search: interrupted; {kept}"


def test_a_database_server_keeps_the_same_trials_and_another_machine_goes_on(clone, searched, postgresql):  # noqa: F811
    clone.run(SEARCH, CAMPAIGN_OPTUNA_STORAGE=postgresql)
    assert found(clone) == found(searched)
    shutil.rmtree(clone.directory / ".search")  # as on a machine that has only the database
    shutil.rmtree(clone.directory / "search/by_hand")
    done = clone.run(SEARCH, CAMPAIGN_OPTUNA_STORAGE=postgresql)
    assert "mlp: baseline" not in done.stderr
    assert found(clone) == found(searched)
