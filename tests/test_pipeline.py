"""dvc.yaml, dvc.lock and params.yaml against the code."""

import hashlib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from closure import SOURCE, closure
from core.names import NETWORKS, REFERENCES
from evaluate import ARCHITECTURES
from scaffold import PROJECT, read_params

STAGES = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]
LOCK = YAML(typ="safe").load((PROJECT / "dvc.lock").read_text())["stages"]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def out_names(stage: dict, key: str) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in stage.get(key, [])]


def test_the_stages_stand_in_running_order_and_are_the_scripts():
    assert list(STAGES) == [
        "simulate_market", "generate_data", *(f"train_{name}" for name in ARCHITECTURES), "fit_references", "evaluate", "compare",
    ]  # fmt: skip
    made: set[str] = {"src", "${data.bars}"}
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"python src/{name}.py"
        assert list(stage) == [key for key in ("cmd", "deps", "params", "outs", "metrics") if key in stage]
        for dep in stage["deps"]:
            assert dep in made or dep.startswith("src/"), f"{name} needs {dep}, which no earlier stage makes"
        made |= {*out_names(stage, "outs"), *out_names(stage, "metrics")}


@pytest.mark.parametrize("name", STAGES)
def test_the_code_a_stage_depends_on_is_its_import_closure(name):
    declared = [dep for dep in STAGES[name]["deps"] if dep.endswith(".py")]
    needed = {f"src/{file.relative_to(SOURCE)}" for file in closure(SOURCE / f"{name}.py")}
    assert declared == sorted(needed)


def test_every_stage_depends_on_just_its_own_section():
    for name, stage in STAGES.items():
        section = {"simulate_market": "market", "generate_data": "data", "fit_references": "references"}.get(name, name)
        expected = ["train", name.removeprefix("train_")] if name.startswith("train_") else [section]
        assert stage["params"] == expected


def test_every_model_has_its_metrics_file_and_a_name():
    files = out_names(STAGES["evaluate"], "metrics")
    assert files == [f"metrics/test/{name}.json" for name in (*ARCHITECTURES, *REFERENCES)]
    assert list(NETWORKS) == list(ARCHITECTURES)


def test_the_lock_belongs_to_the_committed_code_and_parameters():
    """A change of code or parameters without a new `dvc repro` fails here."""
    params = read_params()
    assert set(LOCK) == set(STAGES)
    for name, stage in STAGES.items():
        locked = LOCK[name]
        assert locked["cmd"] == stage["cmd"]
        declared = [dep.replace("${data.bars}", params["data"]["bars"]) for dep in stage["deps"]]
        assert sorted(dep["path"] for dep in locked["deps"]) == sorted(declared)
        stale = [
            dep["path"] for dep in locked["deps"] if dep["path"].endswith(".py") and dep["md5"] != md5(PROJECT / dep["path"])
        ]
        assert not stale, f"{name}: {stale} changed since the campaign ran; run dvc repro and commit dvc.lock"
        assert locked["params"]["params.yaml"] == {section: params[section] for section in stage["params"]}, name
        outs = {*out_names(stage, "outs"), *out_names(stage, "metrics")}
        assert {out["path"] for out in locked["outs"]} == outs


def test_committed_results_are_those_of_the_lock():
    made = {out["path"]: out["md5"] for stage in LOCK.values() for out in stage["outs"]}
    committed = [
        "metrics/compare.json",
        "reports/comparison.md",
        "reports/decisions.md",
        *out_names(STAGES["evaluate"], "metrics"),
    ]
    assert {name: md5(PROJECT / name) for name in committed} == {name: made[name] for name in committed}


def test_a_stage_reads_what_the_stage_before_wrote():
    made = {out["path"]: out["md5"] for stage in LOCK.values() for out in stage["outs"]}
    for name, stage in LOCK.items():
        for dep in stage["deps"]:
            assert made.get(dep["path"], dep["md5"]) == dep["md5"], f"{name} ran on an older {dep['path']}; run dvc repro"


def test_the_default_bars_are_simulated():
    assert read_params()["data"]["bars"] in out_names(STAGES["simulate_market"], "outs")
