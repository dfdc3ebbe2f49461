"""The leaderboard and the list of experiments: 80 columns, whatever DVC holds."""

import itertools
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from core.errors import CampaignError
from core.pipeline import read_architectures
from judge.names import REFERENCES
from scaffold import PROJECT, refusal
from tools import leaderboard
from tools.leaderboard import F1_KEYS, Row, format_experiments, format_leaderboard, is_simulated, read_label, read_rows


def row(val: float, test: float) -> dict[str, float]:
    return dict(zip(F1_KEYS.values(), (val, test), strict=True)) | {"test_pr_auc": 0.25, "test_mean_return_net": -0.00105}


def test_nine_models_stand_in_order_of_validation_and_one_without_metrics_comes_last():
    labels = {"mlp": "MLP", "lstm": "LSTM", "gru": "GRU", "cnn_lstm": "CNN-LSTM", **REFERENCES}
    models = {name: row(0.3 + number / 100, 0.2) for number, name in enumerate(labels)} | {"mlp": {}}
    head, *lines = format_leaderboard(models, labels).splitlines()
    assert head.split("  ")[0] == "model"
    assert lines[0].split("  ")[0] == "always positive"
    assert lines[0].split()[-4:] == ["0.380", "0.200", "0.250", "-0.10%"]
    assert lines[-1].split() == ["MLP", "–", "–", "–", "–"]
    assert len(lines) == 9


def test_a_models_long_name_is_cut():
    assert {len(line) for line in format_leaderboard({"a": row(0.3, 0.2)}, {"a": "temporal " * 9}).splitlines()} == {80}


def test_a_label_is_read_from_the_models_and_else_it_is_the_name(desk):
    (desk / "models/gru").mkdir(parents=True)
    (desk / "models/gru/network.json").write_text('{"label": "GRU"}')
    assert [read_label(name) for name in ("gru", "lstm", "prior")] == ["GRU", "lstm", "asset prior"]


def state(name: str, *, deps: dict | None = None, models: dict | None = None, **params: object) -> dict:
    """One revision as `dvc exp show --json` writes it."""
    metrics = {f"metrics/test/{key}.json": {"data": value} for key, value in (models or {}).items()}
    data = {"params": {"params.yaml": {"data": params}}, "metrics": metrics, "deps": deps or {}}
    return {"rev": "1234567890", "name": name, "data": data, "error": None, "experiments": None}


def experiment(found: dict, executor: dict | None = None) -> dict:
    return {"revs": [found], "executor": executor, "name": found["name"]}


OLD, NEW = (
    {"src/train_gru.py": {"hash": "12"}, "data/x": {"hash": "1"}},
    {"src/train_gru.py": {"hash": "34"}, "data/x": {"hash": "2"}},
)
MODELS = {"mlp": row(0.31, 0.21), "gru": row(0.33, 0.23), "prior": row(0.2, 0.2)}


def test_many_changed_source_files_are_counted_after_the_first_and_parameters_come_before_them():
    old, new = ({f"src/{letter}.py": {"hash": word} for letter in "eabcd"} for word in ("1", "2"))
    head = state("main", deps=old, models=MODELS, train={"epochs": 100}) | {"experiments": []}
    workspace = state("workspace", deps=new, models=MODELS, train={"epochs": 2})
    named = ("train.epochs=2", "src/a.py changed", "src/b.py changed", "src/c.py changed")
    assert read_rows([workspace, head], edited=False)[0].changes == (*named, "2 more sources changed")
    del workspace["data"]["deps"]["src/e.py"], head["data"]["deps"]["src/e.py"]
    assert read_rows([workspace, head], edited=False)[0].changes == (*named, "1 more source changed")


def test_only_a_finished_experiment_has_figures_and_changes_are_against_head():
    """DVC gives HEAD's metrics for an experiment that waits, runs or failed, since git holds them."""
    params = {"gru": {"hidden_size": 128}, "train": {"seeds": [1, 2]}, "old": 1}
    head = state("main", deps=OLD, models=MODELS, **params)
    changed = params | {"gru": {"hidden_size": 64}, "train": {"seeds": [1]}}
    del changed["old"]
    head["experiments"] = [
        experiment(state("done", deps=NEW, models={"mlp": row(0.41, 0.11)}, **changed), {"state": "success"}),
        experiment(state("here", deps=OLD, models=MODELS, **params)),
        *(experiment(state(f"is-{word}", models=MODELS, **changed), {"state": word}) for word in ("queued", "running", "failed")),
        experiment(state("lost") | {"data": None, "error": {"msg": "damaged"}}),
    ]
    rows = {found.name: found for found in read_rows([state("workspace", deps=OLD, models=MODELS, **params), head], edited=False)}
    assert list(rows) == ["workspace", "main, HEAD", "done", "here", "is-queued", "is-running", "is-failed", "lost"]
    assert rows["done"].changes == ("gru.hidden_size=64", "train.seeds=[1]", "old removed", "src/train_gru.py changed")
    assert rows["workspace"].changes == rows["here"].changes == ()
    assert {found.name: found.state for found in rows.values() if found.state} == {
        "is-queued": "queued", "is-running": "running", "is-failed": "failed", "lost": "unreadable",
    }  # fmt: skip

    lines = format_experiments(list(rows.values())).splitlines()
    assert lines[0].split() == ["experiment", "F1", "mlp", "gru"]
    assert [line.split() for line in lines if line.startswith(("main", "done"))] == [
        ["main,", "HEAD", "validation", "0.310", "0.330"],
        ["done", "validation", "0.410", "–"],
    ]
    failed = next(number for number, line in enumerate(lines) if line.startswith("is-failed"))
    assert lines[failed].split() == ["is-failed", "failed"]
    assert lines[failed + 1].split() == ["gru.hidden_size=64"]


@pytest.mark.parametrize(
    ("bars", "simulated"), [("data/simulated", True), ("./data/simulated", True), ("data/historical", False), ("/bars", False)]
)
def test_bars_that_a_stage_made_are_simulated_and_a_users_own_in_dvc_are_not(bars, simulated):
    head = state("main", data={"bars": bars})
    head["data"]["outs"] = {"data/simulated": {"is_data_source": False}, "data/historical": {"is_data_source": True}}
    assert is_simulated(head) == simulated


def test_a_head_that_cannot_be_read_has_no_figures_and_nothing_is_compared_with_it(monkeypatch, capsys):
    head = state("main") | {"data": None, "error": {"msg": "damaged"}}
    workspace = state("workspace", models=MODELS, data={"bars": "data/simulated"})
    workspace["data"]["outs"] = {"data/simulated": {"is_data_source": False}}
    monkeypatch.setattr(leaderboard, "ask_dvc", lambda *arguments: [workspace, head])
    monkeypatch.setattr(leaderboard, "was_edited", lambda: False)
    leaderboard.show_experiments()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["workspace", "validation", "0.310", "0.330"],
        ["test", "0.210", "0.230"],
        ["main,", "HEAD", "unreadable"],
    ]
    assert lines[4] == "SIMULATED market, unless data.bars is changed"


def test_a_lock_with_conflicts_is_one_line(desk):
    Path("dvc.lock").write_text("<<<<<<< HEAD\nschema: '2.0'\n")
    assert refusal(leaderboard.was_edited).endswith(": dvc.lock is not as DVC writes it; restore it: git checkout HEAD dvc.lock")


def test_settings_edited_since_the_last_run_have_no_figures_yet():
    head, workspace = state("main", models=MODELS, a=1), state("workspace", models=MODELS, a=2)
    assert read_rows([workspace, head], edited=True)[0] == Row("workspace", ("a=2",), MODELS, "edited, not run")


@pytest.mark.parametrize("networks", [1, 4, 9, 30])
def test_any_experiment_fits_80_columns_and_no_name_is_cut(networks):
    names = ["a", "b" * 40, "c" * 80, *(f"exp-{number}" for number in range(200))]
    changes = ("data.features=" + str([f"feature_{number}" for number in range(60)]), f"data.bars=/{'d' * 300}", "x=1")
    models = {f"network_{number}": row(0.3, 0.2) for number in range(networks)}
    text = format_experiments([Row(name, changes, models) for name in names] + [Row("e", changes, {}, "edited, not run")])
    assert max(map(len, text.splitlines())) <= 80
    heads = [line.split()[2:] for line in text.splitlines() if line.startswith("experiment")]
    assert list(itertools.chain(*heads)) == list(models), "more networks than fit go on below"
    assert set(names) <= {word for line in text.splitlines() for word in line.split()}


def test_without_any_metrics_there_are_dashes_nowhere():
    text = format_experiments([Row("workspace", (), {}), Row("main, HEAD", (), {})])
    assert [line.split() for line in text.splitlines()[1::2]] == [["workspace", "validation"], ["main,", "HEAD", "validation"]]


def test_it_prints_the_committed_results(monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    leaderboard.show_models()
    lines = capsys.readouterr().out.splitlines()
    expected = [read_label(name) for name in read_architectures()]
    assert all(any(line.startswith(f"{label} ") for line in lines) for label in expected)
    assert lines[-1].startswith("SIMULATED market. ")


def test_where_nothing_ran_one_line_tells_it(desk):
    assert refusal(leaderboard.show_models) == "stage: no model's metrics under metrics/test/: run dvc repro"
    with pytest.raises(CampaignError, match="dvc exp show: ERROR: you are not inside of a DVC repository"):
        leaderboard.show_experiments()


def test_a_workspace_is_edited_where_its_values_differ_from_the_lock(desk):
    """Whatever YAML 1.1 takes for another type."""
    params = {"train": {"weight_decay": 1e-05}, "data": {"symbols": ["ON", "NO"]}}
    with (desk / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    with (desk / "dvc.lock").open("w") as file:
        YAML().dump({"stages": {"a": {"params": {"params.yaml": params}}}}, file)
    assert not leaderboard.was_edited()
    params["train"]["weight_decay"] = 2e-05
    with (desk / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    assert leaderboard.was_edited()


def test_networks_stand_in_the_order_of_dvc_yaml_and_others_behind_them():
    figures = {"val_f1_cross_fitted": 0.3, "test_f1_score_positive_class": 0.2}
    rows = [Row("HEAD", (), dict.fromkeys(("a", "old", "b"), figures))]
    assert format_experiments(rows, ["b", "a", "new"]).splitlines()[0].split() == ["experiment", "F1", "b", "a", "old"]
