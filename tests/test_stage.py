"""The door: settings checked by key, one-line errors, files written whole."""

import datetime
import hashlib
import json
import os
import pickle
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import pyarrow as pa
import pytest
from pydantic import Field

import stage
from check_campaign import SCHEMAS
from core.errors import CampaignError, shown
from scaffold import PROJECT, read_params, refusal, write_params


def np_memory_error() -> BaseException:
    with pytest.raises(MemoryError) as error:
        np.empty(1 << 62, np.uint8)
    return error.value


def after(first: BaseException, error: BaseException) -> BaseException:
    error.__context__ = first
    return error


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


LEVELS = range(1, 10)  # of aliases of aliases
BOMB = "a0: &a0 [x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in LEVELS)
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in LEVELS)


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (BOMB, "line 6, column 5: more than 100,000 values"),
        (MERGES, "more than 100,000 values"),
        ("a: &a [*a]", "line 1, column 8: 'a' contains itself"),
        ("a: " + "[" * 3000, "line 1, column 23: more than 20 lists and mappings in each other"),
        ("a: " + "{a: " * 3000, "more than 20 lists and mappings in each other"),
        ("b: 1\na: 2022-02-30", "line 2, column 4: '2022-02-30' cannot be read: day is out of range for month"),
        ("a: 2022-01-01T25:00:00Z", "cannot be read: hour must be in 0..23"),
        ("a: " + "9" * 5000, "(5,000 characters) cannot be read: Exceeds the limit"),
        ("a: !!bool maybe", "line 1, column 4: 'maybe' cannot be read: no such value"),
        ("a: !!int ''", "'' cannot be read: no such value"),
        ("a: !!float x", "cannot be read: could not convert"),
        ("a: !python/object 3", "could not determine a constructor for the tag"),
        ("? [{a: 1}]\n: c", "unhashable type: 'dict'"),
        ("a:\n\tb: 1", "line 2, column 1: while scanning for the next token: found character '\\t'"),
        ("a: 1\na: 2", 'line 2, column 1: while constructing a mapping: found duplicate key "a"'),
        ("<<: 3\na: 1", "expected a mapping or list of mappings for merging"),
        ("a: 1\n---\nb: 2", "but found another document"),
        ("a: \0", "unacceptable character #x0000"),
        ('a: "\\U00110000"', "chr() arg not in range"),
        ("a: x".encode("utf-16"), "no UTF-8 text (invalid start byte at byte 0); save it as such"),
        (b"#" * 1_000_001, "has 1,000,001 bytes, more than 1,000,000"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_settings_cannot_be_is_refused_quickly_and_in_few_words(desk, content, finding):
    Path("params.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.process_time()
    message = refusal(lambda: stage.read_section("a", Sample))
    assert time.process_time() - began < 5
    assert finding in message
    assert len(message) < 400


@pytest.mark.filterwarnings("error")
def test_aliases_and_a_byte_order_mark_are_settings(desk):
    text("\ufeffother: &other {rate: 1, steps: 9}\nagain: &other {rate: 1, steps: 2}\nsample:\n  <<: *other\n  steps: 3\n")
    assert stage.read_section("sample", Sample) == Sample(rate=1, steps=3)


def test_what_is_no_file_of_settings_is_told_and_not_waited_for(desk):
    Path("params.yaml").unlink()
    os.mkfifo("params.yaml")
    assert "params.yaml is no file; put one there" in refusal(lambda: stage.read_section("sample", Sample))
    Path("params.yaml").unlink()
    Path("params.yaml").symlink_to("params.yaml")
    assert "Too many levels of symbolic links at params.yaml; replace the link" in refusal(
        lambda: stage.read_section("sample", Sample)
    )


class Kinds(stage.Settings):
    """A key of each kind that sections have."""

    count: int | None = Field(ge=1, le=10)
    name: str = Field(min_length=1)
    names: list[str] = Field(min_length=1, max_length=3)
    choice: Literal["a", "b"]


def nested(levels: int) -> list:
    value: list = ["x"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("name", "", "sample.name is ''; it must be text that is not empty"),
        ("name", None, "sample.name is null; it must be text"),
        ("name", nested(30), "sample.name is [[[…], […], […], […], […], … (10 in all)], "),
        ("name", 0xF << 99_999, "sample.name is a whole number of 100003 bits; it must be text"),
        ("count", True, "sample.count is true; it must be a valid integer, or null"),
        ("count", "3", "sample.count is '3'; it must be a valid integer, or null, not text in quotes"),
        ("count", "yes", "sample.count is 'yes'; it must be a valid integer, or null"),
        ("count", 11, "sample.count is 11; it must be less than or equal to 10, or null"),
        ("count", "x" * 10**6, f"sample.count is '{'x' * 80}'… (1,000,000 characters); it must be"),
        ("count", datetime.date(2022, 1, 3), "sample.count is 2022-01-03; it must be"),
        ("names", "a", "sample.names is 'a'; it must be a list"),
        ("names", [], "sample.names is []; it must be a list of at least 1"),
        ("names", ["a"] * 4, "sample.names is ['a', 'a', 'a', 'a']; it must be a list of at most 3"),
        ("names", ["a", 3], "item 2 of sample.names is 3; it must be text"),
        ("choice", {"a": {"b": {"c": 1}}}, "sample.choice is {'a': {'b': {…}}}; it must be 'a' or 'b'"),
        ("x" * 10**6, 1, f"sample.{'x' * 80}… is unknown; remove it (known: count, name, names, choice)"),
        ("a\n\x1b[1m", 1, "sample.a \\x1b[1m is unknown"),
    ],
    ids=shown,
)
def test_what_a_value_must_be_is_told_in_the_words_of_params_yaml(key, value, said):
    good = {"count": 1, "name": "n", "names": ["n"], "choice": "a"}
    with pytest.raises(CampaignError) as error:
        stage.check("sample", good | {key: value}, Kinds)
    assert str(error.value).startswith(f"params.yaml: {said}")
    assert len(str(error.value)) < 800


def test_of_many_wrong_values_the_first_are_told_and_a_count(desk):
    with pytest.raises(CampaignError, match=r"item 1 of data.symbols is 3; it must be text; item 2 .*; and 2,995 more$") as error:
        stage.check("data", read_params()["data"] | {"symbols": [3] * 3000}, SCHEMAS["data"])
    assert len(str(error.value)) < 400


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("can't start new thread"), "out of memory, or of processes (can't start new thread); set CAMPAIGN_JOBS=1"),
        (after(RuntimeError("can't start new thread"), AttributeError("terminate")), "out of memory, or of processes"),
        (pa.ArrowMemoryError("malloc of size 64 failed"), "out of memory (malloc of size 64 failed); use fewer bars"),
        (np_memory_error(), "out of memory (Unable to allocate "),
        (OSError(12, "Cannot allocate memory"), "out of memory ([Errno 12] Cannot allocate memory); use fewer bars"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "out of memory (libtorch.so: failed to map"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory ("),
        (RuntimeError("std::bad_alloc"), "out of memory ("),
        (BlockingIOError(11, "x"), "Resource temporarily unavailable; set CAMPAIGN_JOBS=1, or raise the limit of proc"),
        (IsADirectoryError(21, "x", "models/mlp"), "Is a directory at models/mlp; a directory stands where a file belongs"),
        (OSError(36, "x", "x" * 9999), f"File name too long at {'x' * 200}…; choose a shorter one"),
        (FileNotFoundError(2, "x"), "No such file or directory; start in the project's root"),
        (FileNotFoundError(2, "x", "models/x"), "No such file or directory at models/x; run the stage that makes it: dvc repro"),
    ],
    ids=str,
)  # fmt: skip
def test_what_memory_processes_and_disks_refuse_has_its_own_words(desk, error, said):
    assert refusal(raises(error)).startswith(f"stage: {said}")


def test_a_disk_without_room_for_temporary_files_is_told_as_such(desk, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(desk / "nowhere")])
    said = "stage: no directory for temporary files can be written; free some disk space, or set TMPDIR to one that can"
    assert refusal(tempfile.mkdtemp) == said


def test_an_import_that_fails_for_another_reason_is_a_defect(desk):
    with pytest.raises(ImportError):
        stage.run(raises(ImportError("no name in module")))


STREAMS = """
import sys
sys.path.insert(0, {source!r})
import stage
def main():
    stage.say("said")
    stage.write_text(__import__("pathlib").Path("result"), "written")
    with open("first", "w") as file:
        stage.say("said")
        file.write("alone")
    {last}
stage.run(main)
"""


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "0<&- 1>&- 2>&-", "2> >(true)"])
def test_nobody_to_listen_does_not_end_a_stage(tmp_path, redirection):
    (tmp_path / "stage_.py").write_text(STREAMS.format(source=str(PROJECT / "src"), last="pass"))
    command = ["bash", "-c", f"sleep 0.1; {shlex.quote(sys.executable)} stage_.py {redirection}"]
    assert subprocess.run(command, cwd=tmp_path, timeout=60).returncode == 0
    assert (tmp_path / "result").read_text() == "written"
    assert (tmp_path / "first").read_text() == "alone"


@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        (">/dev/full", "stage_: No space left on device; free some disk space, then start again\n"),
        (">&-", "stage_: Bad file descriptor; do not close standard output: results go there\n"),
        ("| true", ""),
    ],
)
def test_results_that_cannot_be_printed_are_an_error(tmp_path, redirection, said):
    """Also where the last lines are found not to be written only when all is done."""
    (tmp_path / "stage_.py").write_text(STREAMS.format(source=str(PROJECT / "src"), last="print('result ± 1')"))
    command = f"set -o pipefail; {shlex.quote(sys.executable)} stage_.py {redirection}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"said\nsaid\n{said}")


def test_help_that_cannot_be_printed_is_one_line(tmp_path):
    command = f"{shlex.quote(sys.executable)} {PROJECT}/src/leaderboard.py --help >/dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    said = "leaderboard: No space left on device; free some disk space, then start again\n"
    assert (done.returncode, done.stderr) == (1, said)


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
        refused = {
            "verify": "dvc.lock not found",
            "tracking": "no trained models here",
            "leaderboard": "no model's metrics under metrics/test/",
        }
        said = refused.get(script.stem, "params.yaml not found")
        assert done.stderr.startswith(f"{script.stem}: {said}"), done.stderr


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


@pytest.mark.parametrize("backend", ["threading", "sequential"])
def test_a_backend_of_joblibs_own_can_be_named(monkeypatch, backend):
    monkeypatch.setenv("CAMPAIGN_BACKEND", backend)
    with stage.parallel(3) as parallel:
        assert parallel._backend.__class__.__name__.lower().startswith(backend)
        assert parallel(joblib.delayed(abs)(number) for number in (-1, 2, -3)) == [1, 2, 3]


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


@pytest.mark.parametrize("text", ["{", "", "[1]", "3", "null", "[" * 10_000], ids=shown)
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
    if script not in ("check_data.py", "leaderboard.py", "tracking.py", "verify.py"):
        assert err == f"{script[:-3]}: takes no arguments, found --epochs 3; settings are in params.yaml\n"
