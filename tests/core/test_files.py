"""Files are written whole, never unpickled, and refused in one line where they are damaged."""

import contextlib
import csv
import hashlib
import pickle

import numpy as np
import pytest

from core.errors import CampaignError, format_value
from core.files import open_atomically, project_root, read_array, read_json, write_array, write_csv, write_json, write_rows


def test_arrays_are_never_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(CampaignError, match="is not a plain array"):
        read_array(tmp_path / "x.npy")
    (tmp_path / "y.npy").write_bytes(b"")
    with pytest.raises(CampaignError, match="is not a plain array"):
        read_array(tmp_path / "y.npy")
    with pytest.raises(CampaignError, match=r"none.npy not found; run the stage that makes it: dvc repro"):
        read_array(tmp_path / "none.npy")


@pytest.mark.parametrize("dtype", ["float32", "int8", "datetime64[s]"])
def test_rows_written_in_pieces_are_one_array_and_one_digest(tmp_path, dtype):
    whole = np.arange(60).reshape(20, 3).astype(dtype)
    digest = hashlib.sha256(b"before")
    write_rows(tmp_path / "x.npy", iter(np.split(whole, [7, 8])), rows=20, digest=digest)
    read = read_array(tmp_path / "x.npy")
    assert read.dtype == whole.dtype
    np.testing.assert_array_equal(read, whole)
    assert digest.digest() == hashlib.sha256(b"before" + whole.tobytes()).digest()


@pytest.mark.parametrize("text", ["{", "", "[1]", "3", "null", "[" * 10_000], ids=format_value)
def test_a_file_without_a_json_object_is_refused(tmp_path, text):
    (tmp_path / "z.json").write_text(text)
    with pytest.raises(CampaignError, match=r"z.json is no JSON object \(.*\); restore it: dvc checkout --force"):
        read_json(tmp_path / "z.json")


def test_a_field_that_a_file_lacks_is_named_with_it(tmp_path):
    (tmp_path / "x.json").write_text('{"a": {"b": 1}}')
    found = pickle.loads(pickle.dumps(read_json(tmp_path / "x.json")))
    assert found == {"a": {"b": 1}}
    for ask in (lambda: found["c"], lambda: found["a"]["c"]):
        with pytest.raises(CampaignError, match=r"x.json lacks 'c', other code wrote it; make it anew: dvc repro"):
            ask()
    assert found.get("c") is None


def test_nan_is_refused_in_json(tmp_path):
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "new" / "x"
    with open_atomically(path) as file:
        file.write(b"earlier")
    with contextlib.suppress(ZeroDivisionError), open_atomically(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"earlier"
    assert [file.name for file in path.parent.iterdir()] == ["x"]


def test_an_array_is_read_back_whole_or_mapped(tmp_path):
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    write_array(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(read_array(tmp_path / "x.npy"), array)
    mapped = read_array(tmp_path / "x.npy", mapped=True)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, array)


def test_a_table_keeps_every_digit(tmp_path):
    write_csv(tmp_path / "x.csv", [{"a": 0.1 + 0.2, "b": None}, {"a": 1, "b": "x,y"}])
    with (tmp_path / "x.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (float(first["a"]), first["b"]) == (0.1 + 0.2, "")
    assert second == {"a": "1", "b": "x,y"}


def test_the_root_of_an_experiment_is_that_of_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert project_root() == tmp_path
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert str(project_root()) == "/elsewhere"
