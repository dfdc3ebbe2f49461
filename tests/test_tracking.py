"""MLflow beside the campaign: complete where it works, harmless where it does not. Real stores and a real server."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

import mirror
import tracking
from core.names import NETWORKS
from scaffold import PROJECT, Clone, mounted

pytestmark = pytest.mark.slow
ON = {"CAMPAIGN_TRACKING": "on", "MLFLOW_DISABLE_TELEMETRY": "true"}
QUICK = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
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
        "metrics": run.data.metrics, "steps": sorted(point.step for point in history),
        "models": [model.model_id for model in found.outputs.model_outputs] if found.outputs else [],
        "thresholds": [client.get_logged_model(model.model_id).tags["threshold"] for model in found.outputs.model_outputs]
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


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(tmp_path_factory.mktemp("tracking") / "campaign")
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
        assert run["params"]["train.epochs"] == "3"
        assert f"{name}.dropout" in run["params"]
        test = campaign.read(f"metrics/test/{name}.json")
        assert {key: run["metrics"][key] for key in test if test[key] is not None} == pytest.approx(
            {key: value for key, value in test.items() if value is not None}
        )
        assert len(run["models"]) == 1
        trained, evaluated = campaign.read(f"metrics/train/{name}.json"), campaign.read("metrics/evaluate.json")["models"][name]
        (best,) = [seed for seed in trained["seeds"] if seed["seed"] == trained["best_seed"]]
        assert run["thresholds"] == [str(best["threshold"])]
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


def test_what_evaluate_found_of_other_models_is_not_told_of_these(campaign, monkeypatch):
    monkeypatch.chdir(campaign.directory)
    trained = campaign.read("metrics/train/gru.json")
    assert mirror._evaluated("gru", trained)
    trained["seeds"][1]["threshold"] += 0.01
    assert mirror._evaluated("gru", trained) is None


def test_a_logged_model_scores_as_the_campaign_does_and_is_served(campaign):
    (run,) = [run for run in parents(runs(campaign)) if run["tags"]["model_type"] == "gru"]
    data = campaign.directory / "data/training_data"
    rows, assets = np.load(data / "val_X.npy"), np.load(data / "val_asset_ids.npy")
    lookback = campaign.read("data/training_data/metadata.json")["lookback"]
    # the first window: predictions are in the order of the samples, the first of which ends at the first full window
    window = np.concatenate([rows[:lookback], np.full((lookback, 1), assets[0])], axis=1)[None].astype(np.float32)
    evaluated = campaign.read("metrics/evaluate.json")["models"]["gru"]
    best = evaluated["seeds"].index(evaluated["best_seed"])
    expected = np.load(campaign.directory / "data/predictions/gru_val.npy")[best, 0]
    script = (
        "import mlflow, numpy, sys\n"
        f"model = mlflow.pytorch.load_model('models:/{run['models'][0]}')\n"
        "import torch\n"
        "print(float(model(torch.from_numpy(numpy.load(sys.argv[1])))[0]))\n"
    )
    (campaign.directory.parent / "load.py").write_text(script)
    np.save(campaign.directory.parent / "window.npy", window)
    done = campaign.run(f"python {campaign.directory.parent / 'load.py'} {campaign.directory.parent / 'window.npy'}", **ON)
    assert float(done.stdout) == pytest.approx(expected, abs=1e-5)

    model = next((campaign.directory / "mlartifacts/models" / run["models"][0]).rglob("MLmodel")).parent
    port = free_port()
    command = ["mlflow", "models", "serve", "-m", str(model), "--env-manager", "local", "--workers", "1"]
    with serving(command, port, campaign.directory.parent) as address:
        body = json.dumps({"inputs": window.tolist()}).encode()
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["predictions"][0] == pytest.approx(expected, abs=1e-5)


def test_backfill_writes_what_is_missing_and_nothing_twice(campaign, tmp_path):
    """Into the store of a real server, as for models pulled from elsewhere."""
    port = free_port()
    command = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/far.db", "--workers", "1"]
    command += ["--artifacts-destination", str(tmp_path / "far")]
    with serving(command, port, tmp_path) as address:
        for _ in range(2):
            said = campaign.run("python src/tracking.py backfill", **ON, MLFLOW_TRACKING_URI=address).stdout
            assert all(name in said for name in NETWORKS)
        found, holes = in_store(campaign, MLFLOW_TRACKING_URI=address)
    assert holes == 0
    assert len(found) == RUNS
    assert all(len(run["models"]) == 1 and run["artifacts"] for run in parents(found))
    assert [run["steps"] for run in found if "seed" in run["tags"]] == [[1, 2, 3]] * 8


def test_a_killed_backfill_is_taken_up_again(campaign, tmp_path):
    file = tmp_path / "far.db"
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{file}"}
    command, environment = [sys.executable, "src/tracking.py", "backfill"], os.environ | ON | store
    with subprocess.Popen(command, cwd=campaign.directory, env=environment, stdout=subprocess.DEVNULL) as backfill:
        for _ in range(600):
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as database:
                if database.execute("select count(*) from runs").fetchone()[0] >= 2:  # a parent, and one of its children
                    break
            time.sleep(0.1)
        backfill.kill()
    campaign.run("python src/tracking.py backfill", **ON, **store)
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
    campaign.run("python src/tracking.py backfill", **ON, **store)
    after = {run["tags"]["model_type"]: run["models"] for run in parents(runs(campaign, **store))}
    assert len(after.pop("gru")) == 2
    assert after == {name: models[name] for name in after}


def test_a_stage_that_fails_leaves_the_runs_as_they_were(campaign):
    before = runs(campaign)
    campaign.params(evaluate={"cost_per_trade": 2.0})
    said = campaign.run("python src/evaluate.py", fails=True, **ON).stderr
    campaign.run("git checkout -q params.yaml")
    assert said.startswith("evaluate: params.yaml: evaluate.cost_per_trade is 2.0; it must be less than 1")
    assert said.count("\n") == 1
    assert runs(campaign) == before


def test_a_stages_own_broken_pipe_is_not_the_mirrors(monkeypatch):
    monkeypatch.setenv("CAMPAIGN_TRACKING", "on")
    process = subprocess.Popen([sys.executable, "-c", "import sys; print(sys.stdin.read())"], stdin=-1, stdout=-1)
    monkeypatch.setattr(tracking, "_start", lambda command: process)
    with pytest.raises(BrokenPipeError), tracking.mirroring():
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
    pulled.run("python src/tracking.py backfill", **ON)
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
    assert "python src/tracking.py backfill" in done.stderr
    assert "Traceback" not in done.stderr
    assert campaign.lock() == before


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
def test_a_mirror_whose_trainer_was_killed_before_it_said_what_it_is_ends(told):
    command = [sys.executable, str(PROJECT / "src/mirror.py"), "follow"]
    done = subprocess.run(command, input=told, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_mirror_does_not_wait_for_ever_for_a_lock(tmp_path):
    path = str(PROJECT / "src")
    code = f"import sys; sys.path.insert(0, {path!r}); import mirror; mirror.tracking.PATIENCE = 0.2; mirror.Store()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}

    def open_store() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    with (tmp_path / "mlflow.db.lock").open("w") as held:
        mirror.take(held)
        assert "TimeoutError: another process has held mlflow.db.lock for 0.2 s" in open_store().stderr
    assert open_store().returncode == 0


def test_a_project_that_moved_says_where_its_artefacts_go(tmp_path):
    """The database keeps the directory it was made in."""
    code = f"import sys; sys.path.insert(0, {str(PROJECT / 'src')!r}); import mirror; mirror.Store()"
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
    for named, meant in {
        "sqlite:///own.db": f"sqlite:///{tmp_path}/own.db",
        "sqlite:////data/own.db": "sqlite:////data/own.db",
        "http://127.0.0.1:5000": "http://127.0.0.1:5000",
        "": f"sqlite:///{tmp_path}/mlflow.db",
    }.items():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
        assert mirror.store_uri() == meant


def test_no_password_is_printed(campaign):
    store = "http://me:s3cret@127.0.0.1:9"
    assert tracking.without_password(f"no answer from {store}/api at 12:00") == "no answer from http://…@127.0.0.1:9/api at 12:00"
    for script, fails in (("tracking.py backfill", True), ("check_campaign.py", False)):
        done = campaign.run(f"python src/{script}", fails=fails, **ON, MLFLOW_TRACKING_URI=store)
        assert "127.0.0.1" in done.stdout + done.stderr
        assert "s3cret" not in done.stdout + done.stderr


def test_an_experiment_in_a_temporary_copy_writes_to_the_projects_store(campaign):
    before = {run["id"] for run in runs(campaign)}
    campaign.run("dvc exp run --temp --name warm -S train.learning_rate=0.002 train_mlp", **ON)
    new = [run for run in runs(campaign) if run["id"] not in before]
    assert len(new) == 3
    assert {run["tags"]["dvc_exp_name"] for run in new} == {"warm"}
    assert {run["params"]["train.learning_rate"] for run in new} == {"0.002"}
    assert {run["status"] for run in new} == {"FINISHED"}
