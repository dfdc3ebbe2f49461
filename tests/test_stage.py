"""The door: settings checked by key, one-line errors, files written whole."""

import hashlib
import json
import os
import pickle
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import Field

import stage
from check_campaign import SCHEMAS
from core.errors import CampaignError
from scaffold import PROJECT, read_params, refusal, write_params


class Sample(stage.Settings):
    rate: float = Field(gt=0)
    steps: int = Field(ge=1)


def text(content: str) -> None:
    Path("params.yaml").write_text(content)


def test_the_defaults_pass_their_schemas_and_every_section_has_one(desk):
    assert set(read_params()) == set(SCHEMAS)
    for name, schema in SCHEMAS.items():
        stage.read_section(name, schema)


def test_the_baseline_is_that_of_the_design():
    params = read_params()
    assert params["train"] | {"seeds": None, "precision": None} == {
        "seeds": None,
        "epochs": 100,
        "batch_size": 128,
        "learning_rate": 0.001,
        "weight_decay": 0.01,
        "focal_alpha": 0.25,
        "focal_gamma": 2.0,
        "gradient_clip": 1.0,
        "patience": 15,
        "lr_factor": 0.5,
        "lr_patience": 7,
        "precision": None,
    }
    assert len(params["train"]["seeds"]) == 3
    assert (params["mlp"]["hidden_sizes"], params["mlp"]["dropout"]) == ([256, 128, 64], 0.3)
    for name in ("lstm", "gru"):
        assert [params[name][key] for key in ("hidden_size", "layers", "attention_size")] == [128, 2, 64]
    assert [params["cnn_lstm"][key] for key in ("channels", "hidden_size", "attention_size")] == [[32, 64], 128, 64]
    data = params["data"]
    assert [data[key] for key in ("lookback", "profit", "stop", "horizon")] == [24, 0.05, 0.02, 8]
    assert data["splits"] == [0.7, 0.15, 0.15]
    assert params["evaluate"]["cost_per_trade"] == 0.003


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [("focal_gamma", 0.5, "0, or from 1 to 10"), ("seeds", [1, 2**63], "a list of whole numbers from 0 up, below 2^63")],
)
def test_what_would_fail_far_into_a_training_is_refused_before(desk, key, value, allowed):
    write_params(desk, train={key: value})
    with pytest.raises(CampaignError, match=rf"train\.{key} is .*; it must be {re.escape(allowed)}"):
        stage.read_section("train", SCHEMAS["train"])


@pytest.mark.parametrize("section", SCHEMAS)
def test_in_every_section_each_key_is_needed_typed_and_known(desk, section):
    params = read_params()[section]
    for key in params:
        write_params(desk, **{section: {key: {"a": "mapping"}}})
        with pytest.raises(CampaignError, match=rf"params.yaml: {section}\.{key} is .*; it must be"):
            stage.read_section(section, SCHEMAS[section])
    first = next(iter(params))
    text(json.dumps({section: {key: value for key, value in params.items() if key != first}}))
    with pytest.raises(CampaignError, match=rf"{section}\.{first} is missing; add it"):
        stage.read_section(section, SCHEMAS[section])
    text(json.dumps({section: params | {"typo": 1}}))
    with pytest.raises(CampaignError, match=rf"{section}\.typo is unknown; remove it \(known: .*{first}"):
        stage.read_section(section, SCHEMAS[section])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sample: {rate: '1e-4', steps: 3}", "sample.rate is '1e-4'; it must be a valid number, not text in quotes"),
        ("sample: {rate: 0, steps: 3}", "sample.rate is 0; it must be greater than 0"),
        ("sample: {rate: .nan, steps: 3}", "sample.rate is nan; it must be a finite number"),
        ("sample: {rate: 1, steps: 3.0}", "sample.steps is 3.0; it must be a valid integer"),
        ("sample: {rate: 1, steps: yes}", "sample.steps is 'yes'; it must be a valid integer"),
        ("sample: {rate: 0, steps: 0}", "sample.rate is 0; it must be greater than 0; sample.steps is 0; it must be"),
        ("sample:", "section 'sample' expected, nothing found; add 'sample:' with its keys"),
        ("sample: [1, 2]", "section 'sample' expected, no mapping found"),
        ("other: {}", "section 'sample' expected, nothing found"),
        ("sample: {rate: 1, rate: 2}", "params.yaml is not valid YAML"),
        ("sample: {rate: [1", "params.yaml is not valid YAML"),
        ("", "section 'sample' expected, nothing found"),
        ("sample: !!python/object:os.system {}", "params.yaml"),
    ],
)
def test_bad_sections_are_refused_by_key(desk, content, message):
    text(content)
    assert message in refusal(lambda: stage.read_section("sample", Sample))


def test_numbers_are_those_of_yaml_1_2(desk):
    text("sample: {rate: 1e-4, steps: 3}")
    assert stage.read_section("sample", Sample) == Sample(rate=1e-4, steps=3)


def test_no_parameters_file_and_bytes_that_are_no_text(desk):
    Path("params.yaml").write_bytes(b"\xff\xfe\x00sample")
    assert "params.yaml is not valid YAML" in refusal(lambda: stage.read_section("sample", Sample))
    Path("params.yaml").unlink()
    assert "params.yaml not found" in refusal(lambda: stage.read_section("sample", Sample))


def raises(error: BaseException) -> Any:
    def main() -> None:
        raise error

    return main


def test_errors_of_the_system_name_the_path_and_the_cure(desk):
    assert refusal(raises(OSError(28, "x", "data/a.npy"))) == (
        "stage: No space left on device at data/a.npy; free some disk space, then start again"
    )
    assert "Permission denied at models/x; check the permissions" in refusal(raises(PermissionError(13, "x", "models/x")))
    assert refusal(raises(OSError(24, "x"))) == "stage: Too many open files; raise the limit of open files: ulimit -n"
    assert "out of memory (no detail); use fewer bars" in refusal(raises(MemoryError()))


def test_a_defect_is_not_hidden(desk):
    with pytest.raises(ZeroDivisionError):
        stage.run(raises(ZeroDivisionError()))


def test_ctrl_c_is_130(desk, capsys):
    with pytest.raises(SystemExit) as stop:
        stage.run(raises(KeyboardInterrupt()))
    assert stop.value.code == 130
    assert capsys.readouterr().err == "stage: interrupted\n"


def test_a_refusal_is_exit_code_1_and_one_line_on_standard_error(tmp_path):
    for script in sorted((PROJECT / "src").glob("*.py")):
        if "stage.run(" not in script.read_text():
            continue
        done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, ""), script
        assert done.stderr.count("\n") == 1, done.stderr
        refused = {"verify": "dvc.lock not found", "tracking": "no trained models here"}.get(script.stem, "params.yaml not found")
        assert done.stderr.startswith(f"{script.stem}: {refused}"), done.stderr


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5", "²"])
def test_a_wrong_number_of_jobs_is_refused(monkeypatch, jobs):
    monkeypatch.setenv("CAMPAIGN_JOBS", jobs)
    with pytest.raises(CampaignError, match=r"CAMPAIGN_JOBS is .*; it must be a whole number above zero, or unset"):
        stage.jobs(3)


def test_jobs_are_no_more_than_tasks(monkeypatch):
    monkeypatch.setenv("CAMPAIGN_JOBS", "8")
    assert stage.jobs(3) == 3
    assert stage.jobs(0) == 1
    monkeypatch.delenv("CAMPAIGN_JOBS")
    assert 1 <= stage.jobs(1000) <= (os.cpu_count() or 1)


def test_an_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv("CAMPAIGN_BACKEND", "abacus")
    with pytest.raises(CampaignError, match=r"CAMPAIGN_BACKEND is 'abacus'.*; install it or unset it"):
        stage.parallel(2)


def test_arrays_are_never_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(CampaignError, match="is not a plain array"):
        stage.read_array(tmp_path / "x.npy")
    (tmp_path / "y.npy").write_bytes(b"")
    with pytest.raises(CampaignError, match="is not a plain array"):
        stage.read_array(tmp_path / "y.npy")
    with pytest.raises(CampaignError, match=r"none.npy not found; run the stage that makes it: dvc repro"):
        stage.read_array(tmp_path / "none.npy")


@pytest.mark.parametrize("dtype", ["float32", "int8", "datetime64[s]"])
def test_rows_written_in_pieces_are_one_array_and_all_of_it_is_in_the_digest(tmp_path, dtype):
    whole = np.arange(60).reshape(20, 3).astype(dtype)
    digest = hashlib.sha256(b"before")
    stage.write_rows(tmp_path / "x.npy", iter(np.split(whole, [7, 8])), rows=20, digest=digest)
    read = stage.read_array(tmp_path / "x.npy")
    assert read.dtype == whole.dtype
    np.testing.assert_array_equal(read, whole)
    assert digest.digest() == hashlib.sha256(b"before" + whole.tobytes()).digest()


@pytest.mark.parametrize("text", ["{", "", "[1]", "3", "null"])
def test_a_file_without_a_json_object_is_refused(tmp_path, text):
    (tmp_path / "z.json").write_text(text)
    with pytest.raises(CampaignError, match=r"z.json is no JSON object \(.*\); restore it: dvc checkout --force"):
        stage.read_json(tmp_path / "z.json")


def test_a_field_that_a_file_lacks_is_named_with_it(tmp_path):
    (tmp_path / "x.json").write_text('{"a": {"b": 1}}')
    found = pickle.loads(pickle.dumps(stage.read_json(tmp_path / "x.json")))
    assert found == {"a": {"b": 1}}
    for ask in (lambda: found["c"], lambda: found["a"]["c"]):
        with pytest.raises(CampaignError, match=r"x.json lacks 'c', other code wrote it; make it anew: dvc repro"):
            ask()
    assert found.get("c") is None


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="Out of range float values"):
        stage.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


SCRIPTS = sorted(path.name for path in (PROJECT / "src").glob("*.py") if "stage.run(" in path.read_text())


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_has_help_and_refuses_what_it_does_not_know(desk, monkeypatch, capsys, script):
    """In this process, which has torch already; `test_a_refusal_is_exit_code_1...` starts them as users do."""

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(PROJECT / "src" / script), run_name="__main__")
        return stop.value.code, *capsys.readouterr()

    code, out, err = call("--help")
    assert (code, err) == (0, "")
    assert len(out) > 15
    code, out, err = call("--epochs", "3")
    assert (code, out) == (2, "")
    if script not in ("check_data.py", "tracking.py"):
        assert err == f"{script[:-3]}: takes no arguments, found --epochs 3; settings are in params.yaml\n"
