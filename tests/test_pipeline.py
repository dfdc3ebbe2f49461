"""dvc.yaml, dvc.lock and params.yaml against the code, and the code's folders against each other."""

import hashlib
import subprocess
from pathlib import Path

import pytest
import yaml

from closure import SOURCE, circles, closure, imported
from core.pipeline import SEARCH, WALK_FORWARD, read_architectures
from learn.architecture import find_architecture
from scaffold import PROJECT, read_params

STAGES = yaml.load((PROJECT / "dvc.yaml").read_text(), yaml.CSafeLoader)["stages"]
LOCK = yaml.load((PROJECT / "dvc.lock").read_text(), yaml.CSafeLoader)["stages"]
ARCHITECTURES = read_architectures()
SECTIONS = {"simulate_market": ["market"], "generate_data": ["data"], "fit_references": ["references"]}
SECTIONS |= {f"train_{name}": ["train", name] for name in ARCHITECTURES}
SECTIONS |= {name: [name] for name in ("evaluate", "compare")}

FOLD_STAGES = yaml.load((PROJECT / WALK_FORWARD).read_text(), yaml.CSafeLoader)["stages"]
SEARCH_STAGES = yaml.load((PROJECT / SEARCH).read_text(), yaml.CSafeLoader)["stages"]
FOLD_SECTIONS = {
    "cut_folds": ["data", "walk_forward"],
    "train_folds": ["train", "${item.architecture}", "walk_forward.seeds"],
    "reference_folds": ["references"],
    "evaluate_folds": ["evaluate"],
    "compare_folds": ["compare"],
}

COMPARES = (
    *("comparison", "confidence_set", "family", "figures", "gates", "recommendation", "seed_means", "threshold_draws"),
    *("train_record", "uncertainty", "verdict"),
)
JUDGES_FOLDS = {
    f"judge/{name}.py" for name in ("fold_tracks", "over_folds", "walk_forward", "walk_forward_result", "walk_forward_verdict")
}
REPORTS_FOLDS = {f"report/{name}.py" for name in ("fold_charts", "fold_rows", "fold_tables", "fold_wording", "walk_forward")}
FANS_OUT = {f"core/{name}.py" for name in ("cluster", "fan_out", "machine", "task")}
SURPLUS = {  # files of the folders that a stage depends on and does not import: an edit of them runs it again all the same
    "simulate_market": {f"core/{name}.py" for name in ("cross_fitting", "metrics", "places", "png", "splits")} | FANS_OUT,
    "generate_data": {f"core/{name}.py" for name in ("cross_fitting", "metrics", "places", "png", "splits")},
    "fit_references": {"core/cross_fitting.py", "core/png.py"},
    "evaluate": {*(f"judge/{name}.py" for name in COMPARES), *JUDGES_FOLDS, "learn/train_stage.py", "learn/trainings.py"},
    "compare": {"core/png.py", *FANS_OUT, *JUDGES_FOLDS, *REPORTS_FOLDS},
}


def md5(path: Path) -> str:
    """Hash a file as DVC does; a folder by its files, without what .dvcignore leaves out."""
    return hashlib.md5(path.read_bytes()).hexdigest()


def out_names(stage: dict, key: str) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in stage.get(key, [])]


def code_of(stage: dict) -> set[str]:
    """Files under src that a dvc.yaml has `stage` depend on."""
    declared = [PROJECT / dep for dep in stage["deps"] if dep.startswith("src/")]
    files = {file for dep in declared for file in ([dep] if dep.is_file() else dep.rglob("*.py"))}
    return {str(file.relative_to(SOURCE)) for file in files}


def names_of(files: set[Path]) -> set[str]:
    return {str(file.relative_to(SOURCE)) for file in files}


def test_the_stages_stand_in_running_order_and_are_the_scripts():
    trained = [f"train_{name}" for name in ARCHITECTURES]
    assert list(STAGES) == ["simulate_market", "generate_data", *trained, "fit_references", "evaluate", "compare"]
    scripts = {path.stem for path in SOURCE.glob("*.py")} - {"campaign"}
    assert not scripts - set(STAGES), f"dvc.yaml lacks a stage for {scripts - set(STAGES)}"
    for name in STAGES:
        assert name in scripts, f"src/{name}.py not found, which stage {name} runs"
    outs: set[str] = {"${data.bars}"}
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"python src/{name}.py"
        assert list(stage) == [key for key in ("cmd", "deps", "params", "outs", "metrics") if key in stage]
        for dep in stage["deps"]:
            made = dep in outs or any(out.startswith(f"{dep}/") for out in outs)
            assert made or (PROJECT / dep).exists(), f"{name} needs {dep}, which no earlier stage makes"
        outs |= {*out_names(stage, "outs"), *out_names(stage, "metrics")}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_part_of_an_architecture_is_there(name):
    """Script, section and stage; docs/architectures.md names the three."""
    architecture = find_architecture(name)
    assert name in read_params(), f"params.yaml lacks the section {name}, which stage train_{name} needs"
    architecture.settings.model_validate(read_params()[name])
    stage, other = STAGES[f"train_{name}"], STAGES[f"train_{ARCHITECTURES[0]}"]

    def renamed(text: str) -> str:
        return text.replace(ARCHITECTURES[0], name)

    assert stage["deps"] == [renamed(dep) for dep in other["deps"]], f"deps of train_{name}"
    assert stage["outs"] == [renamed(out) for out in other["outs"]], f"outs of train_{name}"


def test_every_section_of_the_parameters_belongs_to_a_stage():
    assert set(read_params()) == {section for sections in SECTIONS.values() for section in sections} | {"walk_forward", "search"}
    for name, stage in STAGES.items():
        assert stage["params"] == SECTIONS[name], name


@pytest.mark.parametrize("name", STAGES)
def test_the_code_a_stage_depends_on_is_its_import_closure(name):
    declared, needed = code_of(STAGES[name]), names_of(closure(SOURCE / f"{name}.py"))
    assert not needed - declared, "dvc.yaml lacks what the script imports"
    assert declared - needed == SURPLUS.get(name, set())


@pytest.mark.parametrize("name", [name for name in STAGES if name.startswith(("train_", "fit_", "generate_", "simulate_"))])
def test_an_expensive_stage_depends_on_nothing_that_judges_or_shows(name):
    assert not [file for file in code_of(STAGES[name]) if file.startswith(("judge/", "report/", "watch/", "tools/"))]


def test_the_search_reads_all_that_it_may_train_and_the_code_it_runs():
    (stage,) = SEARCH_STAGES.values()
    assert stage["cmd"] == "cd .. && python src/search/search_settings.py"
    trained = [f"src/train_{name}.py" for name in ARCHITECTURES]
    assert [dep for dep in stage["deps"] if dep.startswith("src/train_")] == sorted(trained)
    assert set(stage["params"][0]["../params.yaml"]) == {
        *("compare", "data", "evaluate", "search", "train", "walk_forward"),
        *ARCHITECTURES,
    }
    needed = names_of(closure(SOURCE / "search/search_settings.py"))
    package = "walk_forward/__init__.py"  # empty, as a test of walk-forward's stages has it
    assert not {name for name in needed - code_of(stage) if not name.startswith("watch/") and name != package}


def test_walk_forward_trains_every_architecture_and_reads_sections_that_are_there():
    assert list(FOLD_STAGES) == list(FOLD_SECTIONS)
    (trained,) = FOLD_STAGES["train_folds"]["matrix"].values()
    assert trained == ARCHITECTURES, f"{WALK_FORWARD} lacks an architecture, or has it in another order"
    for name, stage in FOLD_STAGES.items():
        assert stage["params"] == [{"../params.yaml": FOLD_SECTIONS[name]}], name
        item = " ${item.architecture}" if "matrix" in stage else ""
        assert stage["cmd"] == f"cd .. && python src/walk_forward/{name}.py{item}"
        assert [name for name, each in FOLD_STAGES.items() if "matrix" in each] == ["train_folds"]
    sections = {section.partition(".")[0] for names in FOLD_SECTIONS.values() for section in names} - {"${item", *ARCHITECTURES}
    assert sections <= set(read_params())


def test_a_stage_of_walk_forward_reads_what_one_before_it_makes():
    made: set[str] = set()
    for name, stage in FOLD_STAGES.items():
        for dep in (dep for dep in stage["deps"] if not dep.startswith(("src/", "../"))):
            assert dep in made or any(out.startswith(f"{dep}/") for out in made), f"{name} needs {dep}"
        assert [dep for dep in stage["deps"] if dep.startswith("../")] == ["../${data.bars}"] * (name == "cut_folds")
        made |= {*out_names(stage, "outs"), *out_names(stage, "metrics")}


@pytest.mark.parametrize("script", sorted((SOURCE / "walk_forward").glob("*_folds.py")), ids=lambda script: script.stem)
def test_the_code_a_stage_of_walk_forward_depends_on_is_its_import_closure(script):
    """The folders of src are deps as a whole; every one of them is needed."""
    needed, stage = names_of(closure(script)), FOLD_STAGES[script.stem]
    package = "walk_forward/__init__.py"  # no dep, since it is empty; the folder would be one on every other script
    assert not (SOURCE / package).read_text()
    assert not needed - code_of(stage) - {package}, f"{WALK_FORWARD} lacks what the script imports"
    for dep in stage["deps"]:
        path = dep.removeprefix("src/")
        if dep.startswith("src/") and "$" not in dep:
            assert any(file == path or file.startswith(f"{path}/") for file in needed), f"{script.stem} does not import {dep}"


def test_no_import_goes_in_circles():
    assert circles() == []


def test_imports_point_downwards():
    allowed = {
        "core": {"core"},
        "bars": {"core", "bars"},
        "learn": {"core", "learn", "watch"},
        "judge": {"core", "judge"},
        "report": {"core", "judge", "report"},
        "serve": {"core", "bars", "judge", "learn", "report", "serve"},
        "watch": {"core", "bars", "judge", "learn", "serve", "watch", "walk_forward"},
    }
    assert names_of(closure(SOURCE / "walk_forward/folds.py")) <= names_of(
        {file for folder in ("core", "bars", "walk_forward") for file in (SOURCE / folder).glob("*.py")}
    )
    for folder, others in allowed.items():
        for file in (SOURCE / folder).glob("*.py"):
            used = {name.partition("/")[0] for name in names_of(imported(file))}
            assert used <= others, f"{file.relative_to(SOURCE)} imports from {used - others}"
    assert names_of({f for f in (SOURCE / "learn").glob("*.py") if any("watch/" in name for name in names_of(imported(f)))}) == {
        "learn/train_stage.py"
    }
    of_watch = {name for file in (SOURCE / "watch").glob("*.py") for name in names_of(imported(file)) if "walk_forward/" in name}
    assert of_watch - {"walk_forward/__init__.py"} == {"walk_forward/folds.py"}


def test_a_networks_file_imports_the_trainer_only_when_it_runs():
    for name in ARCHITECTURES:
        source = (SOURCE / f"train_{name}.py").read_text()
        head, main = source.split('if __name__ == "__main__":')
        assert "learn.train_stage" in main
        assert "learn.train_stage" not in head
        assert "trainings" not in head


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_file_but_its_script_names_an_architecture(name):
    """Else a fifth one would have to be added there."""
    grep = ["git", "grep", "-lE", "--untracked", rf"[\"'`/]{name}[\"'`/.]|train_{name}", "--", "src", ".dvc"]
    found = subprocess.run(grep, cwd=PROJECT, capture_output=True, text=True)
    assert found.stdout.split() == [f"src/train_{name}.py"]


def test_the_lock_belongs_to_the_committed_code_and_parameters():
    """A change of code or parameters without a new `dvc repro` fails here."""
    params = read_params()
    assert set(LOCK) == set(STAGES)
    for name, stage in STAGES.items():
        locked = LOCK[name]
        assert locked["cmd"] == stage["cmd"]
        declared = [dep.replace("${data.bars}", params["data"]["bars"]) for dep in stage["deps"]]
        assert sorted(dep["path"] for dep in locked["deps"]) == sorted(declared)
        assert locked["params"]["params.yaml"] == {section: params[section] for section in stage["params"]}, name
        outs = {*out_names(stage, "outs"), *out_names(stage, "metrics")}
        assert {out["path"] for out in locked["outs"]} == outs


def test_the_lock_has_the_code_that_is_here():
    """By DVC's own hashes, since code deps are folders."""
    from dvc.repo import Repo

    with Repo(str(PROJECT)) as repo:
        stale = {
            f"{stage.name}: {dep.def_path}"
            for stage in repo.index.stages
            for dep in stage.deps
            if dep.def_path.startswith("src/") and dep.changed_checksum()
        }
    assert not stale, f"{sorted(stale)} changed since the campaign ran; run dvc repro and commit dvc.lock"


def test_committed_results_are_those_of_the_lock():
    outs = {out["path"]: out["md5"] for stage in LOCK.values() for out in stage["outs"]}
    for name in ("metrics/compare.json", "reports/comparison.md", "reports/decisions.md"):
        assert md5(PROJECT / name) == outs[name], name
    listing = [
        {"md5": md5(file), "relpath": file.name} for file in sorted((PROJECT / "metrics/test").glob("*.json"))
    ]  # as DVC hashes a folder
    import json

    assert hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir" == outs["metrics/test"]


def test_a_stage_reads_what_the_stage_before_wrote():
    outs = {out["path"]: out["md5"] for stage in LOCK.values() for out in stage["outs"]}
    for name, stage in LOCK.items():
        for dep in stage["deps"]:
            assert outs.get(dep["path"], dep["md5"]) == dep["md5"], f"{name} ran on an older {dep['path']}; run dvc repro"


def test_the_default_bars_are_simulated():
    assert read_params()["data"]["bars"] in out_names(STAGES["simulate_market"], "outs")
