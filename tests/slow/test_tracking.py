"""MLflow beside the campaign: complete where it works, harmless where it does not. Real stores and a real server."""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import string
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, urlsplit

import hypothesis
import pandas as pd
import pytest
import requests
from hypothesis import strategies as st
from ruamel.yaml import YAML
from sqlalchemy import create_engine, make_url

from core.errors import CampaignError
from scaffold import PROJECT, Clone, mounted
from servers import free_port, postgresql  # noqa: F401 - a fixture
from watch import mlflow_writer, store, tracking

pytestmark = pytest.mark.slow
ON = {"CAMPAIGN_TRACKING": "on", "MLFLOW_DISABLE_TELEMETRY": "true"}
QUICK = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
NETWORKS = ["mlp", "gru"]  # tests/slow/test_experiments.py has the store of all
RUNS = len(NETWORKS) * (1 + 2)  # one each, and one for each of two seeds
HEAD = """
import mlflow

experiment = mlflow.get_experiment_by_name("Baseline_Training_Production")
runs = mlflow.search_runs(experiment_ids=[experiment.experiment_id])
"""
AS_JSON = """
import json
rows = []
client = mlflow.MlflowClient()
for run in client.search_runs([experiment.experiment_id]):
    history = client.get_metric_history(run.info.run_id, "epoch/val_f1")
    found = client.get_run(run.info.run_id)
    rows.append({
        "began": run.info.start_time, "ended": run.info.end_time,
        "id": run.info.run_id, "status": run.info.status, "tags": run.data.tags, "params": run.data.params,
        "metrics": run.data.metrics, "name": run.info.run_name, "steps": sorted(point.step for point in history),
        "models": [model.model_id for model in found.outputs.model_outputs] if found.outputs else [],
        "model_names": [client.get_logged_model(model.model_id).name for model in found.outputs.model_outputs]
                       if found.outputs else [],
        "artifacts": sorted(
            file.path for folder in client.list_artifacts(run.info.run_id) if folder.is_dir
            for file in client.list_artifacts(run.info.run_id, folder.path)),
    })
table = runs.reindex(columns=["tags.model_type", "metrics.val_f1_score_positive_class",
                              "metrics.val_pr_auc", "metrics.test_f1_score_positive_class"])
print("JSON" + json.dumps([rows, int(table.isna().sum().sum())]))
"""


def in_store(clone: Clone, **environment: str) -> tuple[list[dict], int]:
    """All runs, as a user's script in the project's root sees them, and the values missing in the table it makes."""
    script = clone.directory.parent / "table.py"
    script.write_text(HEAD + AS_JSON)
    done = clone.run(f"python {script}", **ON | environment)
    return tuple(json.loads(done.stdout.partition("JSON")[2]))


def runs(clone: Clone, **environment: str) -> list[dict]:
    return in_store(clone, **environment)[0]


def parents(found: list[dict]) -> list[dict]:
    return [run for run in found if "mlflow.parentRunId" not in run["tags"]]


@contextlib.contextmanager
def serving(command: list[str], port: int, cwd: Path) -> Iterator[str]:
    """A server of its own on loopback, once it answers."""
    environment = os.environ | ON | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (
        (cwd / f"server-{port}.log").open("w") as log,
        subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=cwd, env=environment, stdout=log, stderr=log, start_new_session=True,
        ) as server,
    ):  # fmt: skip
        try:
            for _ in range(480):
                assert server.poll() is None, (cwd / f"server-{port}.log").read_text()[-2000:]
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.25)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(tmp_path_factory.mktemp("tracking") / "campaign")
    pipeline = clone.directory / "dvc.yaml"
    stages = YAML().load(pipeline.read_text())
    for name in ("lstm", "cnn_lstm"):
        del stages["stages"][f"train_{name}"], stages["artifacts"][name.replace("_", "-")]
    with pipeline.open("w") as file:
        YAML().dump(stages, file)
    clone.run("dvc repro", **ON)
    clone.commit()
    return clone


def test_what_evaluate_adds_is_no_part_of_a_trainings_time(campaign):
    in_order = sorted(parents(in_store(campaign)[0]), key=lambda run: run["began"])
    assert all(run["ended"] <= after["began"] for run, after in pairwise(in_order))


def test_the_table_of_a_campaign_has_every_model_and_seed_and_no_gap(campaign):
    found, holes = in_store(campaign)
    assert len(found) == RUNS
    assert holes == 0
    assert {run["status"] for run in found} == {"FINISHED"}
    lock = YAML(typ="safe").load((campaign.directory / "dvc.lock").read_text())["stages"]
    for run in parents(found):
        name = run["tags"]["model_type"]
        (models,) = [out["md5"] for out in lock[f"train_{name}"]["outs"] if out["path"] == f"models/{name}"]
        wanted = {"stage": "PRODUCTION", "purpose": "baseline_benchmark", "phase": "baseline_training", "models_md5": models}
        assert run["tags"].items() >= wanted.items()
        assert {"mlflow.source.git.commit", "git_dirty", "dvc_lock_md5", "data_hash", "bars"} <= set(run["tags"])
        assert {"fingerprint", "device", "torch"} <= set(run["tags"])
        assert run["tags"]["test_looks"] == "1"
        assert run["params"]["train.epochs"] == "3"
        assert f"{name}.dropout" in run["params"]
        assert run["params"]["train.precision"] == run["tags"]["precision"]
        assert f"{name}.lookback" not in run["params"]
        test = campaign.read(f"metrics/test/{name}.json")
        assert {key: run["metrics"][key] for key in test if test[key] is not None} == pytest.approx(
            {key: value for key, value in test.items() if value is not None}
        )
        assert len(run["models"]) == 1
        trained, evaluated = campaign.read(f"metrics/train/{name}.json"), campaign.read("metrics/evaluate.json")["models"][name]
        (best,) = [seed for seed in trained["seeds"] if seed["seed"] == trained["best_seed"]]
        assert run["tags"]["threshold"] == str(best["threshold"])
        assert run["model_names"] == [name]
        assert run["steps"] == [1, 2, 3], "means over seeds, by epoch"
        assert "system/cpu_utilization_percentage" in run["metrics"], "however short the training was"
        assert "child run" in run["tags"]["mlflow.note.content"]
        assert set(run["artifacts"]) >= {
            "configuration/params.yaml", "training/training_history.csv", f"training/{name}.png", f"test/{name}.png",
            "test/pr_and_roc_curves.png", "report/comparison.html", "environment/requirements.txt",
        }  # fmt: skip
        children = [child for child in found if child["tags"].get("mlflow.parentRunId") == run["id"]]
        assert [child["steps"] for child in children] == [[1, 2, 3]] * 2
        for seed, test in zip(trained["seeds"], evaluated["test"], strict=True):
            (child,) = [child for child in children if child["tags"]["seed"] == str(seed["seed"])]
            assert child["metrics"]["val_f1_score_positive_class"] == pytest.approx(seed["val_f1_score_positive_class"])
            assert child["metrics"]["test_f1_score_positive_class"] == pytest.approx(test["f1_score_positive_class"])
            assert child["metrics"]["test_pr_auc"] == pytest.approx(test["pr_auc"])
            assert child["tags"]["threshold"] == str(seed["threshold"])
        of_epochs = [child["metrics"]["epoch/val_f1"] for child in children]
        assert run["metrics"]["epoch/val_f1"] == pytest.approx(sum(of_epochs) / 2)


def test_the_documented_snippet_tells_runs_of_other_bars_and_experiments_apart(campaign):
    page = (PROJECT / "docs/tracking.md").read_text()
    code = [line[4:] for line in page.splitlines() if line.startswith((">>> ", "... "))]
    (campaign.directory.parent / "snippet.py").write_text("\n".join(code))
    head, *rows = campaign.run(f"python {campaign.directory.parent / 'snippet.py'}", **ON).stdout.splitlines()
    assert head.split()[:3] == ["tags.model_type", "tags.bars", "tags.dvc_exp_name"]
    assert {row.split()[1] for row in rows} == set(NETWORKS)
    assert "NaN" not in "".join(rows)


def test_what_evaluate_found_of_other_models_is_not_told_of_these(campaign, monkeypatch):
    monkeypatch.chdir(campaign.directory)
    trained = campaign.read("metrics/train/gru.json")
    assert mlflow_writer.read_evaluation("gru", trained)
    trained["seeds"][1]["threshold"] += 0.01
    assert mlflow_writer.read_evaluation("gru", trained) is None


def test_a_logged_model_scores_raw_bars_as_the_campaign_does_and_is_served(campaign):
    """From bars, by a server that has this code from the model alone."""
    (run,) = [run for run in parents(runs(campaign)) if run["tags"]["model_type"] == "gru"]
    expected = list(csv.DictReader(io.StringIO(campaign.run("python src/campaign.py predict --model gru").stdout)))
    table = []
    for symbol in ("SIM01", "SIM02"):
        frame = pd.read_parquet(campaign.directory / f"data/simulated/{symbol}/1Hour/data.parquet").reset_index()
        frame.columns = [name.lower() for name in frame.columns]
        times = frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        table += frame.assign(timestamp=times, symbol=symbol).to_dict("records")

    model = next((campaign.directory / "mlartifacts/models" / run["models"][0]).rglob("MLmodel")).parent
    assert not [file.name for file in model.rglob("*") if file.suffix in (".pkl", ".joblib")], "nothing is to be unpickled"
    port = free_port()
    command = ["mlflow", "models", "serve", "-m", str(model), "--env-manager", "local", "--workers", "1"]
    with serving(command, port, campaign.directory.parent) as address:

        def ask(rows: list[dict]) -> tuple[int, str]:
            body = json.dumps({"dataframe_records": rows}).encode()
            request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        status, answer = ask(table)
        assert status == 200
        served = json.loads(answer)["predictions"]
        assert [{name: str(row[name]) for name in ("symbol", "timestamp", "score", "call")} for row in served] == [
            {name: row[name] for name in ("symbol", "timestamp", "score", "call")} for row in expected
        ]
        for rows, problem in (
            (
                [row | {"symbol": "NEW"} for row in table[:400]],
                "the model never saw NEW, it knows SIM01, SIM02: leave it out of the table",
            ),
            (table[:50], "SIM01 has 50 finished bars"),
            ([row | {"high": 1e-9} for row in table[:400]], "SIM01: "),
            (
                [row | {"timestamp": "yesterday"} for row in table[:400]],
                "SIM01: a timestamp is 'yesterday'; write 2024-06-01T15:00:00Z",
            ),
        ):
            status, answer = ask(rows)
            assert status == 400
            assert problem in json.loads(answer)["message"]


def test_a_logged_model_needs_no_other_packages_than_it_names(campaign):
    """What its process imports is what those packages bring along."""
    (run,) = [run for run in parents(runs(campaign)) if run["tags"]["model_type"] == "mlp"]
    script = (
        "import sys, mlflow\n"
        "before = set(sys.modules)\n"
        f"mlflow.pyfunc.load_model('models:/{run['models'][0]}')\n"
        "import importlib.metadata as metadata, re\n"
        "from watch_names import names\n"
        "owners = metadata.packages_distributions()\n"
        "used = {owner.lower() for module in set(sys.modules) - before for owner in owners.get(module.partition('.')[0], [])}\n"
        "left, known = [name.lower() for name in names], set()\n"
        "while left:\n"
        "    name = left.pop()\n"
        "    if name in known: continue\n"
        "    known.add(name)\n"
        "    try: left += [re.match(r'[A-Za-z0-9._-]+', need)[0].lower() for need in metadata.requires(name) or []]\n"
        "    except metadata.PackageNotFoundError: pass\n"
        "plain = lambda names: {name.replace('_', '-') for name in names}\n"
        "print(sorted(plain(used) - plain(known)))\n"
    )
    (campaign.directory.parent / "load.py").write_text(script)
    (campaign.directory.parent / "watch_names.py").write_text(f"names = {list(mlflow_writer.SERVED_WITH)}")
    done = campaign.run(f"python {campaign.directory.parent / 'load.py'}", **ON)
    assert done.stdout.splitlines()[-1] == "[]"


def test_other_thresholds_make_another_model_of_the_same_networks(campaign, tmp_path):
    clone = Clone.copy_of(campaign.directory, tmp_path / "clone")
    before = {run["tags"]["model_type"]: run["models"] for run in parents(runs(clone))}
    clone.params(evaluate={"cost_per_trade": 0.02})
    clone.run("dvc repro compare", **ON)
    after = {run["tags"]["model_type"]: run["models"] for run in parents(runs(clone))}
    for name in NETWORKS:
        chosen, was = (
            (
                own.read("metrics/evaluate.json")["models"][name]["ensemble"]["money_threshold"],
                name in own.read("metrics/compare.json")["worth_a_trade"],
            )
            for own in (clone, campaign)
        )
        is_changed = chosen != was
        assert len(after[name]) == len(before[name]) + is_changed


def test_backfill_writes_what_is_missing_and_nothing_twice(campaign, tmp_path):
    """Into the store of a real server, as for models pulled from elsewhere."""
    port = free_port()
    command = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/far.db", "--workers", "1"]
    command += ["--artifacts-destination", str(tmp_path / "far")]
    with serving(command, port, tmp_path) as address:
        for _ in range(2):
            said = campaign.run("python src/campaign.py backfill", **ON, MLFLOW_TRACKING_URI=address).stdout
            assert all(name in said for name in NETWORKS)
        found, holes = in_store(campaign, MLFLOW_TRACKING_URI=address)
    assert holes == 0
    assert len(found) == RUNS
    assert all(len(run["models"]) == 1 and run["artifacts"] for run in parents(found))
    assert [run["steps"] for run in found if "seed" in run["tags"]] == [[1, 2, 3]] * 2 * len(NETWORKS)


def test_a_killed_backfill_is_taken_up_again(campaign, tmp_path):
    file = tmp_path / "far.db"
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{file}"}
    command, environment = [sys.executable, "src/campaign.py", "backfill"], os.environ | ON | store
    with subprocess.Popen(command, cwd=campaign.directory, env=environment, stdout=subprocess.DEVNULL) as backfill:
        for _ in range(600):
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as database:
                if database.execute("select count(*) from runs").fetchone()[0] >= 2:  # a parent, and one of its children
                    break
            time.sleep(0.1)
        backfill.kill()
    campaign.run("python src/campaign.py backfill", **ON, **store)
    found, holes = in_store(campaign, **store)
    assert len(found) == RUNS
    assert {run["status"] for run in found} == {"FINISHED"}
    assert holes == 0


def test_a_model_that_was_left_half_exported_is_exported_again(campaign, tmp_path):
    file = shutil.copy(campaign.directory / "mlflow.db", tmp_path / "far.db")
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{file}"}
    models = {run["tags"]["model_type"]: run["models"] for run in parents(runs(campaign, **store))}
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("update logged_models set status = 1 where model_id = ?", models["gru"])  # pending
    campaign.run("python src/campaign.py backfill", **ON, **store)
    after = {run["tags"]["model_type"]: run["models"] for run in parents(runs(campaign, **store))}
    assert len(after.pop("gru")) == 2
    assert after == {name: models[name] for name in after}


def test_a_stage_that_fails_leaves_the_runs_as_they_were(campaign):
    before = runs(campaign)
    campaign.params(evaluate={"cost_per_trade": 2.0})
    said = campaign.run("python src/evaluate.py", fails=True, **ON).stderr
    campaign.run("git checkout -q params.yaml")
    assert said.startswith("evaluate: params.yaml: evaluate.cost_per_trade is 2.0; it must be a number from 0 to below 1")
    assert said.count("\n") == 1
    assert runs(campaign) == before


def test_a_stages_own_broken_pipe_is_not_taken_for_the_writers(monkeypatch):
    monkeypatch.setenv("CAMPAIGN_TRACKING", "on")
    process = subprocess.Popen([sys.executable, "-c", "import sys; print(sys.stdin.read())"], stdin=-1, stdout=-1)
    monkeypatch.setattr(tracking, "start_writer", lambda command: process)
    with pytest.raises(BrokenPipeError), tracking.update_at_end():
        raise BrokenPipeError
    with process:
        assert process.stdout.read() == b"\n", "and it was not told to go on"


def test_in_a_pulled_clone_nothing_runs_and_backfill_fills_mlflow(campaign, tmp_path):
    campaign.run(f"dvc remote add -d storage {tmp_path}/remote")
    campaign.commit()
    campaign.run("dvc push -q")
    campaign.run(f"git clone -q . {tmp_path}/pulled")
    pulled = Clone.of(tmp_path / "pulled")
    pulled.run("dvc pull -q")
    assert pulled.repro(**ON) == []
    pulled.run("python src/campaign.py backfill", **ON)
    found, holes = in_store(pulled)
    assert (len(found), holes) == (RUNS, 0)


@pytest.mark.parametrize("trouble", ["down", "hanging", "no database", "locked", "full disk"])
def test_trouble_with_the_store_is_one_warning_and_changes_nothing(campaign, tmp_path, trouble):
    before = campaign.lock()
    with contextlib.ExitStack() as stack:
        if trouble in ("no database", "locked", "full disk"):
            file = tmp_path / "small" / "mlflow.db"
            if trouble == "full disk":
                stack.enter_context(mounted(file.parent, "size=200k"))
            file.parent.mkdir(exist_ok=True)
            if trouble == "no database":
                file.write_text("not a database " * 100)
            elif trouble == "locked":
                shutil.copy(campaign.directory / "mlflow.db", file)
                other = stack.enter_context(contextlib.closing(sqlite3.connect(file, isolation_level=None)))
                other.execute("begin exclusive")
            uri = f"sqlite:///{file}"
        else:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            if trouble == "hanging":
                listener.listen()  # takes calls and never answers
            uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = campaign.run("dvc repro -s -f train_mlp", **ON | QUICK, MLFLOW_TRACKING_URI=uri)
    assert done.stderr.count("tracking: warning") == 1
    assert "python src/campaign.py backfill" in done.stderr
    assert "Traceback" not in done.stderr
    assert campaign.lock() == before


def opened(directory: Path, *, code: str = "store.Store()", **environment: str) -> subprocess.Popen[str]:
    """A process in `directory` that opens the store there."""
    code = f"import sys; sys.path.insert(0, {str(PROJECT / 'src')!r}); from watch import store; {code}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=directory, env=inherited | environment, stdout=-1, stderr=-1, text=True)


def said(*processes: subprocess.Popen[str]) -> list[str]:
    """What each process said by its end, which must be a good one."""
    texts = ["".join(process.communicate(timeout=500)) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), texts
    return texts


def tables(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as database:
        return len(database.execute("select * from sqlite_master where type = 'table'").fetchall())


def test_a_kill_while_the_database_is_made_leaves_none_or_a_whole_one(campaign, tmp_path):
    file, whole = tmp_path / "mlflow.db", tables(campaign.directory / "mlflow.db")
    for until in (1, 15, whole - 3):  # tables that there are when it is killed
        with opened(tmp_path) as maker:
            while maker.poll() is None:
                with contextlib.suppress(sqlite3.Error):
                    if any(tables(half) >= until for half in (file, tmp_path / "mlflow.db.new") if half.exists()):
                        break
                time.sleep(0.01)
            maker.kill()
        assert not file.exists() or tables(file) >= whole
    assert said(opened(tmp_path)) == [""]
    assert tables(file) == whole
    assert not list(tmp_path.glob("*.new*"))


def test_a_half_made_database_is_named_with_a_cure_that_works(campaign, tmp_path):
    """As `mlflow ui` leaves one that is killed."""
    file = Path(shutil.copy(campaign.directory / "mlflow.db", tmp_path / "it's own.db"))
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("delete from runs")
        database.execute("drop table logged_models")
        database.execute("update alembic_version set version_num = '89d4b8295536'")  # before registered_models
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{file}"}
    told = campaign.run("python src/campaign.py backfill", fails=True, **ON, **store).stderr
    assert told.count("\n") == 1
    assert "this database was left half made and holds no run; remove it: rm " in told
    code = "import sys; sys.path.insert(0, 'src'); from tools import check; print(check.check_store())"
    line = campaign.run(f'python -c "{code}"', **ON, **store)
    assert "was left half made and holds no run; remove it" in line.stdout
    subprocess.run(shlex.split(told.partition("remove it: ")[2]), check=True)
    assert said(opened(campaign.directory, **store)) == [""]


def test_two_backfills_at_once_on_a_fresh_store_make_each_run_once(campaign, tmp_path):
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/deep/own.db"}
    command, environment = [sys.executable, "src/campaign.py", "backfill"], os.environ | ON | store
    both = [subprocess.Popen(command, cwd=campaign.directory, env=environment, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    assert all(name in text for text in said(*both) for name in NETWORKS)
    found, holes = in_store(campaign, **store)
    assert (len(found), holes) == (RUNS, 0)
    assert all(len(run["models"]) == 1 for run in parents(found))


def test_a_store_first_met_in_a_temporary_copy_keeps_its_models_and_lost_ones_are_logged_anew(campaign, tmp_path):
    """A stage in DVC's copy knows the project by DVC_ROOT; the store is the user's own, by a relative path."""
    copy = campaign.directory / ".dvc/tmp/exps/tmpcopy"
    shutil.copytree(campaign.directory, copy, ignore=shutil.ignore_patterns(".dvc", "mlartifacts", "mlflow.db*"))
    store = {"MLFLOW_TRACKING_URI": "sqlite:///own/store.db"}
    Clone.of(copy).run("python src/campaign.py backfill", **ON, **store, DVC_ROOT=str(campaign.directory))
    shutil.rmtree(copy)

    def files() -> dict[str, set[Path]]:
        models = {run["tags"]["model_type"]: run["models"] for run in parents(runs(campaign, **store))}
        place = campaign.directory / "own/mlartifacts/models"
        return {
            name: {file for one in ids for file in place.glob(f"{one}/artifacts/artifacts/model/model.json")}
            for name, ids in models.items()
        }

    before = files()
    assert {name: len(own) for name, own in before.items()} == dict.fromkeys(NETWORKS, 1)
    before["gru"].pop().unlink()
    campaign.run("python src/campaign.py backfill", **ON, **store)
    after = files()
    assert len(after["gru"]) == 1
    assert after == before | {"gru": after["gru"]}


def test_an_experiment_that_keeps_its_files_in_a_temporary_copy_is_told_with_a_cure_that_works(tmp_path):
    """As MLflow's own default made it."""
    uri = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/own.db"}
    gone = "file:///p/.dvc/tmp/exps/tmpx/mlruns"
    client = "store._quieten_mlflow(); store._client(store.store_uri())"
    make = f"{client}.create_experiment(store.EXPERIMENT, artifact_location={gone!r})"
    said(opened(tmp_path, code=make, **uri))
    (told,) = said(opened(tmp_path, **uri))
    assert told.startswith(
        f"tracking: warning: artefacts go to {gone}, a temporary copy of the project; mlflow experiments rename"
    )
    cure = told.partition("project; ")[2].partition(" to begin")[0]
    command = [sys.executable, "-m", *shlex.split(cure)]
    subprocess.run(command, env=os.environ | ON | uri, check=True, capture_output=True)
    assert said(opened(tmp_path, **uri)) == [""]
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db")) as database:
        query = "select artifact_location from experiments where name = ?"
        assert database.execute(query, [store.EXPERIMENT]).fetchall() == [(f"file://{tmp_path}/mlartifacts",)]


def test_a_database_server_has_its_files_in_the_projects_root_and_tells_no_password(postgresql, tmp_path):  # noqa: F811
    project, copy = tmp_path / "project", tmp_path / "copy"
    project.mkdir()
    copy.mkdir()
    code = "opened = store.Store(); print(opened.client.get_experiment(opened.experiment_id).artifact_location)"
    both = [opened(copy, code=code, MLFLOW_TRACKING_URI=postgresql, DVC_ROOT=str(project)) for _ in range(2)]
    assert said(*both) == [f"file://{project}/mlartifacts\n"] * 2
    wrong = postgresql.replace("w0rd", "w1rd")
    plain = wrong.replace("bob:pa%2Fss%40w1rd@", "") + "?user=bob&password=w1rd"
    command = [sys.executable, str(PROJECT / "src/campaign.py"), "ui"]
    for address in (wrong, plain):
        environment = os.environ | ON | {"MLFLOW_TRACKING_URI": address, "DVC_ROOT": str(project)}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "authentication failed for" in done.stderr
        assert "w1rd" not in done.stderr


def test_how_busy_the_machine_was_is_in_a_trainings_run_and_a_resumed_one_goes_on_counting(tmp_path):
    environment = os.environ | ON | {"DVC_ROOT": str(tmp_path), "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.3"}
    record = {"epoch": 1, "val_f1": 0.5}

    def follow() -> dict[str, list[int]]:
        command = [sys.executable, str(PROJECT / "src/watch/mlflow_writer.py"), "follow"]
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=-1, stderr=-1, text=True) as process:
            for message in (["start", "mlp", [1], {}, {"fingerprint": "f", "process": "elsewhere:1"}], ["epoch", 1, record, 0.5]):
                process.stdin.write(json.dumps(message) + "\n")
                process.stdin.flush()
            assert "tracking: run mlp" in process.stderr.readline()
            time.sleep(3)
            process.stdin.write(json.dumps(["end", "FAILED"]) + "\n")
            process.stdin.flush()  # and stays open, as where the trainer hangs
            assert process.wait(60) == 0
            assert process.stderr.read() == ""
        steps: dict[str, list[int]] = {}
        with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
            for key, step in database.execute("select key, step from metrics where key like 'system/%' order by step"):
                steps.setdefault(key, []).append(step)
            (first,) = database.execute(
                "select value from metrics where key = 'system/cpu_utilization_percentage' and step = 0"
            ).fetchone()
        assert first > 0, "not the sampler's first look, which has nothing to compare with"
        return steps

    once, again = follow(), follow()
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(once)
    for key, steps in again.items():
        assert steps == list(range(len(steps)))
        assert len(steps) > len(once[key])


def test_the_pages_open_on_trainings_with_their_figures(campaign, tmp_path):
    port = free_port()
    environment = os.environ | ON | {"MLFLOW_PORT": str(port)}
    command = [sys.executable, "src/campaign.py", "ui"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
        command, cwd=campaign.directory, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
    ) as server:  # fmt: skip
        try:
            address = server.stdout.readline().split()[1]
            assert address.startswith(f"http://127.0.0.1:{port}/#/experiments/1/runs?workflowType=machine_learning")
            for _ in range(480):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.25)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get?experiment_id=1") as answer:
                tags = {tag["key"]: tag["value"] for tag in json.load(answer)["experiment"]["tags"]}
            assert tags["mlflow.experimentKind"] == "custom_model_development"
            key = f"mlflow.sharedViewState.{address.partition('viewStateShareKey=')[2]}"
            assert "metrics.`val_f1_score_positive_class`" in json.loads(tags[key])["selectedColumns"]
            if browser := shutil.which("chromium"):
                quiet = "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
                quiet += f" --disable-sync --virtual-time-budget=30000 --window-size=1900,900 --user-data-dir={tmp_path}/profile"
                command = [browser, *quiet.split()]
                page = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=300).stdout
                assert "val_f1_score_positive_class" in page
                assert "tags.bars" in page or ">bars<" in page
                assert "gru" in page
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def test_the_pages_of_a_server_are_its_own(tmp_path):
    port = free_port()
    command = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/far.db", "--workers", "1"]
    with serving(command, port, tmp_path) as address:
        environment = os.environ | ON | {"MLFLOW_TRACKING_URI": address}
        command = [sys.executable, str(PROJECT / "src/campaign.py"), "ui"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert f"is a server: open {address}/#/experiments/1/runs?workflowType=machine_learning" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_killed_training_goes_on_in_its_run(campaign, tmp_path):
    clone = Clone(tmp_path, train={"epochs": 40, "seeds": [1], "patience": 50})
    shutil.copytree(campaign.directory / "data/training_data", clone.directory / "data/training_data")
    environment = os.environ | ON | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "src/train_mlp.py"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as trainer:
        assert trainer.stderr is not None
        while "epoch 5/" not in (line := trainer.stderr.readline()):
            assert line
        trainer.kill()
        trainer.communicate()
    for _ in range(240):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
            if {status for (status,) in store.execute("select status from runs")} == {"KILLED"}:
                break
        time.sleep(0.5)
    (parent,) = parents(runs(clone))
    assert parent["status"] == "KILLED", "it does not stay RUNNING for ever"
    clone.run("python src/train_mlp.py", **ON)
    again, child = sorted(runs(clone), key=lambda run: "seed" in run["tags"])
    assert again["id"] == parent["id"]
    assert (again["status"], child["status"]) == ("FINISHED", "FINISHED")
    assert child["steps"] == list(range(1, 41))


@pytest.mark.parametrize("told", [b"", b'["start", "ml'])
def test_a_writer_whose_trainer_was_killed_before_it_sent_what_it_trains_ends(told):
    command = [sys.executable, str(PROJECT / "src/watch/mlflow_writer.py"), "follow"]
    done = subprocess.run(command, input=told, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_writer_does_not_wait_for_ever_for_a_lock(tmp_path):
    path = str(PROJECT / "src")
    code = (
        f"import sys; sys.path.insert(0, {path!r}); from watch import store; store.tracking.WRITER_TIMEOUT = 0.2; store.Store()"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}

    def open_store() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    with (tmp_path / "mlflow.db.lock").open("w") as held:
        store.lock_file(held)
        assert "TimeoutError: another process has held mlflow.db.lock for 0.2 s" in open_store().stderr
    assert open_store().returncode == 0


def test_a_project_that_moved_says_where_its_artefacts_go(tmp_path):
    """The database keeps the directory it was made in."""
    code = f"import sys; sys.path.insert(0, {str(PROJECT / 'src')!r}); from watch import store; store.Store()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}

    def open_store(directory: Path) -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=True)
        return done.stderr

    (tmp_path / "before").mkdir()
    assert "artefacts" not in open_store(tmp_path / "before") + open_store(tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    said = open_store(tmp_path / "after").splitlines()[-1]
    assert said.startswith(f"tracking: warning: artefacts go to file://{tmp_path}/before/mlartifacts, where the project was")


def test_a_relative_store_is_the_projects_wherever_a_stage_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    here, data = f"file://{tmp_path}/mlartifacts", "file:///data/mlartifacts"
    for named, meant, artifacts in (
        ("sqlite:///own.db", f"sqlite:///{tmp_path}/own.db", here),
        ("sqlite:////data/own.db", "sqlite:////data/own.db", data),
        ("sqlite+pysqlite:////data/own.db?timeout=3", "sqlite+pysqlite:////data/own.db?timeout=3", data),
        ("mlruns", f"file://{tmp_path}/mlruns", None),  # inside the store, which is a directory
        ("file:mlruns", f"file://{tmp_path}/mlruns", None),
        ("file:///data/mlruns", "file:///data/mlruns", None),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000", None),
        ("databricks", "databricks", None),
        ("postgresql://h/db", "postgresql://h/db", here),
        ("", f"sqlite:///{tmp_path}/mlflow.db", here),
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
        assert (store.store_uri(), store.artifact_location()) == (meant, artifacts)
    monkeypatch.setenv("DVC_ROOT", f"{tmp_path}/what?")
    with pytest.raises(CampaignError, match="has a question mark"):
        store.store_uri()


def test_no_password_is_printed(campaign):
    uri = "http://me:s3cret@127.0.0.1:9"
    assert tracking.without_password(f"no answer from {uri}/api at 12:00") == "no answer from http://…@127.0.0.1:9/api at 12:00"
    for command, fails in (("backfill", True), ("check", False)):
        done = campaign.run(f"python src/campaign.py {command}", fails=fails, **ON, MLFLOW_TRACKING_URI=uri)
        assert "127.0.0.1" in done.stdout + done.stderr
        assert "s3cret" not in done.stdout + done.stderr
    trouble = "http://me:s3cret/Pa55word@127.0.0.1:9"  # not an address: libraries quote what they read as a port
    said = campaign.run("python src/campaign.py backfill", fails=True, **ON, MLFLOW_TRACKING_URI=trouble).stderr
    assert not re.search("s3cret|Pa55word|Traceback", said)
    assert said.count("\n") == 1


WORDS = st.text(string.ascii_letters + string.digits, min_size=6, max_size=12).filter(
    lambda word: word not in tracking.QUERY_KEYS
)
ADDRESSES = (
    "http://bob:{}@127.0.0.1:9/x", "https://{}@h", "postgresql://bob:{}@127.0.0.1:1/db", "postgresql://h/db?user=bob&password={}",
    "http://h:5000/?token={}", "mysql+pymysql://bob:{}@h/db?ssl=1", "http://h:9/p?access={}#x",
)  # fmt: skip
READERS = (
    lambda address: urlsplit(address).port,
    lambda address: make_url(address).translate_connect_args(),
    lambda address: create_engine(address),
    lambda address: requests.Request("GET", f"{address}/api").prepare(),
)


@hypothesis.settings(max_examples=200)
@hypothesis.given(WORDS, WORDS, st.sampled_from("/@:?#&=%+;![ .-"), st.sampled_from(ADDRESSES), st.booleans())
def test_no_part_of_a_password_is_left_in_what_libraries_say(word, other, mark, template, is_quoted):
    password = word + mark + other
    address = template.format(quote(password, safe="") if is_quoted else password)
    said = [address, repr(address), f"cannot reach {address}: no", f"({address})", f"url: /?token={password}/api", f"'{word}'"]
    for read in READERS:
        try:
            said.append(str(read(address)))
        except Exception as error:
            said.append(f"{error!r} {error}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        shown = tracking.without_password("\n".join(said))
    assert not re.findall(rf"(?<![a-zA-Z0-9])({word}|{other})(?![a-zA-Z0-9])", shown)


def test_a_password_in_the_environment_is_hidden(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pa ss/w0rd")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    assert (
        tracking.without_password("401 for 'pa ss/w0rd', Bearer abc, at http://h:5000/abcd")
        == "401 for '…', Bearer …, at http://h:5000/abcd"
    )


def test_the_path_of_a_file_is_shown_whole(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////home/me@work/own.db?timeout=3")
    assert tracking.without_password("in sqlite:////home/me@work/own.db?timeout=3") == "in sqlite:////home/me@work/own.db?…"


def test_an_experiment_in_a_temporary_copy_writes_to_the_projects_store(campaign):
    before = {run["id"] for run in runs(campaign)}
    campaign.run("dvc exp run --temp --name warm -S train.learning_rate=0.002 train_mlp", **ON)
    new = [run for run in runs(campaign) if run["id"] not in before]
    assert len(new) == 3
    assert {run["tags"]["dvc_exp_name"] for run in new} == {"warm"}
    assert {run["params"]["train.learning_rate"] for run in new} == {"0.002"}
    assert {run["status"] for run in new} == {"FINISHED"}
