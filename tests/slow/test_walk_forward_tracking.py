"""Walk-forward in MLflow: complete, written once, and no run of the campaign's. Real stores; results are drawn."""

import contextlib
import dataclasses
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from core.errors import CampaignError
from core.files import write_csv, write_json, write_text
from drawn_folds import ROSTER, Skill, draw_fold, judge
from judge.names import REFERENCES
from judge.walk_forward import FoldScores
from scaffold import PROJECT, write_params
from walk_forward.folds import FOLDS, places_of
from watch import tracking
from watch.store import Store
from watch.walk_forward_runs import JUDGEMENT, REPORTS, write_runs

if TYPE_CHECKING:
    from mlflow.entities import Run

pytestmark = pytest.mark.slow
SEEDS, EPOCHS = (1, 2), 3
NAMES = ("2022-01-01", "2022-02-10")
RUNS = 1 + len(NAMES) * len(ROSTER.networks)
STAGE = f"""
import sys
sys.path.insert(0, {str(PROJECT / "src")!r})
from watch import tracking
with tracking.update_at_end("update_walk_forward"):
    sys.argv[1:] == ["fails"] and sys.exit("compare_folds: no")
"""


def val_f1(name: str, fold: str, seed: int, epoch: int) -> float:
    """What the history has; another for each."""
    return 0.1 * seed + 0.01 * epoch + 0.001 * list(ROSTER.networks).index(name) + 0.0001 * NAMES.index(fold)


def write_fold(fold: FoldScores) -> None:
    """Write what MLflow's runs are made from."""
    places = places_of(fold.name)
    write_json(places.data / "metadata.json", {"content_hash": f"hash of {fold.name}", "source": "drawn"})
    fold.evaluation.write(places.evaluation)
    for name in ROSTER.networks:
        seeds = [{"seed": seed, "threshold": 0.5, "val_f1_score_positive_class": 0.3} for seed in SEEDS]
        record = {
            "val_f1_score_positive_class": statistics.fmean(
                seed.f1_score_positive_class for seed in fold.evaluation.models[name].val
            ),
            "val_f1_score_positive_class_std": 0.02,
            "train_f1_score_positive_class": 0.4,
            "best_seed": 1,
            "precision": "float32",
            "settings": {"seeds": list(SEEDS), "epochs": EPOCHS},
            "architecture": {"dropout": 0.25},
            "seeds": seeds,
        }
        write_json(places.train_record_of(name), record)
        rows = [
            {"seed": seed, "epoch": epoch, "train_loss": 1 / epoch, "val_f1": val_f1(name, fold.name, seed, epoch)}
            for seed in SEEDS
            for epoch in range(1, EPOCHS + 1)
        ]
        write_csv(places.models_of(name) / "training_history.csv", rows)


def write_walk_forward(folds: list[FoldScores]) -> None:
    for fold in folds:
        write_fold(fold)
    write_json(FOLDS, {fold.name: dataclasses.asdict(fold.cuts) for fold in folds})
    write_json(JUDGEMENT, judge(folds, draws=100).to_json())
    for report in REPORTS[1:]:
        write_text(report, f"about {len(folds)} folds")


def draw(seed: int) -> list[FoldScores]:
    rng = np.random.default_rng(seed)
    return [draw_fold(number, {"mlp": Skill(0.8, 0.5), "gru": Skill(0.4)}, rng) for number in range(len(NAMES))]


@contextlib.contextmanager
def project(directory: Path) -> Iterator[Store]:
    """Work in `directory`, with a store of its own there; what MLflow is set to is undone."""
    disabled = logging.root.manager.disable
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(directory):
        for name in [name for name in os.environ if name.startswith(("DVC_", "MLFLOW_"))]:
            patch.delenv(name)
        patch.setenv("MLFLOW_TRACKING_URI", "")  # and MLflow's own setting of it is undone
        try:
            yield Store()
        finally:
            logging.disable(disabled)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files of a walk-forward, which has no store."""
    directory = tmp_path_factory.mktemp("results")
    write_params(directory, walk_forward={"folds": list(NAMES), "test_days": 40})
    with contextlib.chdir(directory):
        write_walk_forward(draw(1))
    return directory


@pytest.fixture(scope="module")
def written(results, tmp_path_factory) -> Path:
    """The same with its runs in a store."""
    directory = tmp_path_factory.mktemp("written") / "project"
    shutil.copytree(results, directory)
    with project(directory) as store:
        write_runs(store)
    return directory


@pytest.fixture
def store(written, tmp_path) -> Iterator[Store]:
    """The store of a copy, in which the test works."""
    shutil.copytree(written, tmp_path / "project")
    with project(tmp_path / "project") as store:
        yield store


def of_all_folds(store: Store) -> "Run":
    (run,) = store.find_parents("")
    return run


def by_fold(store: Store) -> "dict[tuple[str, str], Run]":
    runs = store.find(f"tags.`mlflow.parentRunId` = '{of_all_folds(store).info.run_id}'")
    return {(run.data.tags["model_type"], run.data.tags["fold"]): run for run in runs}


def read_models(fold: str) -> dict[str, Any]:
    return json.loads(places_of(fold).evaluation.read_text())["models"]


def test_each_architecture_has_a_run_of_each_fold_with_the_campaigns_keys(store):
    children = by_fold(store)
    assert set(children) == {(name, fold) for name in ROSTER.networks for fold in NAMES}
    assert len(store.find("")) == RUNS
    campaigns = set(json.loads((PROJECT / "metrics/test/mlp.json").read_text())) | {"train_f1_score_positive_class"}
    for (name, fold), run in children.items():
        assert (run.info.status, run.info.run_name) == ("FINISHED", f"{name} {fold}")
        judged, metrics = read_models(fold)[name], run.data.metrics
        assert campaigns <= set(metrics)
        for split in ("val", "test"):
            for key in ("f1_score_positive_class", "pr_auc"):
                assert metrics[f"{split}_{key}"] == pytest.approx(np.mean([seed[key] for seed in judged[split]]))
        assert (metrics["val_f1_score_positive_class_std"], metrics["train_f1_score_positive_class"]) == (0.02, 0.4)
        tags = {"stage": "PRODUCTION", "purpose": "baseline_benchmark", "phase": "walk_forward", "bars": "drawn"}
        best = judged["seeds"].index(judged["best_seed"])
        tags |= {"data_hash": f"hash of {fold}", "precision": "float32", "threshold": str(judged["thresholds"][best])}
        assert tags.items() <= run.data.tags.items()
        assert run.data.params == {"train.seeds": "[1, 2]", "train.epochs": "3", f"{name}.dropout": "0.25"}
        history = store.client.get_metric_history(run.info.run_id, "epoch/val_f1")
        assert {point.step: point.value for point in history} == pytest.approx(
            {epoch: np.mean([val_f1(name, fold, seed, epoch) for seed in SEEDS]) for epoch in (1, 2, 3)}
        )


def test_the_run_of_all_folds_has_the_settings_the_means_and_the_reports(store):
    run = of_all_folds(store)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "walk-forward")
    assert run.data.params.items() >= {"walk_forward.folds": str(list(NAMES)), "walk_forward.test_days": "40"}.items()
    assert all(key.startswith("walk_forward.") for key in run.data.params)
    for name in ROSTER.labels:
        f1 = [np.mean([seed["f1_score_positive_class"] for seed in read_models(fold)[name]["test"]]) for fold in NAMES]
        assert run.data.metrics[f"{name}.test_f1_score_positive_class"] == pytest.approx(np.mean(f1))
        assert run.data.metrics[f"{name}.test_f1_score_positive_class_std"] == pytest.approx(np.std(f1, ddof=1))
        own = json.loads(JUDGEMENT.read_text())["models"][name]
        for key, figure in (
            ("test_pr_auc", "pr_auc"),
            ("val_f1_cross_fitted", "val_f1"),
            ("test_direction_auc", "direction_auc"),
        ):
            found = [run.data.metrics.get(f"{name}.{key}{part}") for part in ("", "_std")]
            assert found == pytest.approx([own[figure]["mean"], own[figure]["std"]]), "as the report has them"
    assert set(REFERENCES) <= {key.partition(".")[0] for key in run.data.metrics}
    files = {file.path for file in store.client.list_artifacts(run.info.run_id, "report")}
    assert files == {"report/walk_forward.json", "report/walk_forward.html", "report/walk_forward.md"}
    assert json.loads(JUDGEMENT.read_text())["verdict"][0] in run.data.tags["mlflow.note.content"]
    assert "model_type" not in run.data.tags


def test_the_campaigns_own_looks_find_none_of_these_runs(store):
    """By fingerprint a training finds its run, by models_md5 `update` and `backfill` do."""
    assert [store.find_own(f"tags.{tag} != 'another'") for tag in ("fingerprint", "models_md5")] == [None, None]
    assert store.find_own("tags.evaluate_md5 != 'another'") is not None


def test_the_same_results_add_nothing_and_another_report_replaces_its_file(store):
    before = [run.to_dictionary() for run in store.find("")]
    run = of_all_folds(store).info.run_id
    write_text(REPORTS[1], "drawn anew")
    assert write_runs(store) == run
    assert [run.to_dictionary() for run in store.find("")] == before
    assert len(store.client.get_metric_history(run, "mlp.test_pr_auc")) == 1
    assert Path(store.client.download_artifacts(run, "report/walk_forward.html")).read_text() == "drawn anew"


def test_other_results_have_runs_of_their_own(store):
    before = of_all_folds(store).info.run_id
    write_walk_forward(draw(2))
    after = write_runs(store)
    assert {run.info.run_id for run in store.find_parents("")} == {before, after}
    assert len(store.find("")) == 2 * RUNS


def test_an_experiment_of_dvc_has_runs_of_its_own(store, monkeypatch):
    before = of_all_folds(store).info.run_id
    monkeypatch.setenv("DVC_EXP_NAME", "short")
    after = write_runs(store)
    assert after != before
    assert store.client.get_run(after).info.run_name == "walk-forward short"
    assert write_runs(store) == after


def test_runs_that_a_kill_left_unfinished_are_completed(store):
    whole = {key: (run.data.metrics, run.data.params) for key, run in by_fold(store).items()}
    run = of_all_folds(store).info.run_id
    store.client.set_terminated(run, "KILLED")
    store.client.delete_run(by_fold(store)["gru", NAMES[0]].info.run_id)
    store.client.delete_run(by_fold(store)["mlp", NAMES[1]].info.run_id)
    tags = {"mlflow.parentRunId": run, "model_type": "mlp", "fold": NAMES[1]}
    begun = store.create("begun", tags)
    store.log(begun, metrics=[("epoch/val_f1", 0.5, 1)])
    store.client.set_terminated(begun, "KILLED")
    assert write_runs(store) == run
    children = by_fold(store)
    assert {key: (run.data.metrics, run.data.params) for key, run in children.items()} == whole
    assert children["mlp", NAMES[1]].info.run_id == begun
    assert {run.info.status for run in store.find("")} == {"FINISHED"}
    assert len(store.find("")) == RUNS
    assert [point.step for point in store.client.get_metric_history(begun, "epoch/val_f1")] == [1, 2, 3]


@pytest.mark.parametrize("what", ["another result", "another fold", "another model"])
def test_a_judgement_of_other_results_is_not_told_of_these(store, what):
    judgement = json.loads(JUDGEMENT.read_text())
    if what == "another result":
        judgement["models"]["mlp"]["f1"]["by_fold"][1] += 0.001
    elif what == "another fold":
        judgement["folds"][0]["name"] = "2021-12-31"
    else:
        del judgement["models"]["gru"]
    write_json(JUDGEMENT, judgement)
    with pytest.raises(CampaignError, match="is about other results than walk_forward/metrics/evaluate has; run: cd "):
        write_runs(store)
    assert len(store.find("")) == RUNS


def test_settings_are_those_that_dvc_recorded_with_the_folds(store):
    store.client.delete_run(of_all_folds(store).info.run_id)
    lock = "stages: {cut_folds: {params: {../params.yaml: {walk_forward: {test_days: 40, until: null}, data: {clip: 10}}}}}"
    Path("walk_forward/dvc.lock").write_text(lock)
    write_params(Path(), walk_forward={"test_days": 7})
    write_runs(store)
    assert of_all_folds(store).data.params == {"walk_forward.test_days": "40", "walk_forward.until": "None"}


# --- as a stage and as a command --------------------------------------------------------------------------------------


def run(directory: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}
    environment = inherited | {"CAMPAIGN_TRACKING": "on"} | environment
    return subprocess.run([sys.executable, *command], cwd=directory, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def unwritten(results, tmp_path) -> Path:
    shutil.copytree(results, tmp_path / "project")
    return tmp_path / "project"


def test_the_stage_writes_at_its_end_and_backfill_finds_the_runs(unwritten):
    failed = run(unwritten, "-c", STAGE, "fails")
    assert (failed.returncode, failed.stderr) == (1, "compare_folds: no\n")
    with project(unwritten) as store:
        assert store.find("") == []
    done = run(unwritten, "-c", STAGE)
    assert (done.returncode, done.stderr) == (0, "")
    told = run(unwritten, str(PROJECT / "src/campaign.py"), "backfill")
    with project(unwritten) as store:
        assert len(store.find("")) == RUNS
        assert told.stdout.splitlines()[0] == f"walk-forward run {of_all_folds(store).info.run_id}"
        assert "backfilled" not in of_all_folds(store).data.tags


def test_backfill_writes_what_is_missing(unwritten):
    done = run(unwritten, str(PROJECT / "src/campaign.py"), "backfill")
    with project(unwritten) as store:
        assert done.stdout.startswith(f"walk-forward run {of_all_folds(store).info.run_id}\n")
        assert {run.data.tags["backfilled"] for run in store.find("")} == {"true"}, "its commit may not be that which judged"
        assert len(store.find("")) == RUNS


def test_tracking_that_is_off_writes_nothing(unwritten):
    done = run(unwritten, "-c", STAGE, CAMPAIGN_TRACKING="off")
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(unwritten.glob("mlflow*"))


def test_a_store_that_fails_is_one_warning(unwritten):
    (unwritten / "mlflow.db").write_text("not a database " * 100)
    done = run(unwritten, "-c", STAGE)
    assert done.returncode == 0
    assert done.stderr.startswith("tracking: warning: not in MLflow") and done.stderr.endswith(f"{tracking.BACKFILL_CURE}\n")
    assert done.stderr.count("\n") == 1
