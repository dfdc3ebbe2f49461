"""Files that appear whole or not at all."""

import os
import stat

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.files import open_atomically
from learn import checkpoint

STATE = {"model": {"w": torch.arange(6.0)}, "history": [{"epoch": 1, "f1": 0.25}], "best": {"epoch": 1}}


def test_what_is_loaded_is_what_was_saved(tmp_path):
    assert checkpoint.load(tmp_path / "seed-1.pt") is None
    checkpoint.save(tmp_path / "seed-1.pt", STATE)
    read = checkpoint.load(tmp_path / "seed-1.pt")
    assert torch.equal(read["model"]["w"], STATE["model"]["w"])
    assert read["history"] == STATE["history"]
    assert os.listdir(tmp_path) == ["seed-1.pt"]


@given(st.data())
def test_any_damage_is_noticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "seed-1.pt"
    checkpoint.save(path, STATE)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(checkpoint.Corrupt):
        checkpoint.load(path)


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"earlier")

    def fail() -> None:
        with open_atomically(path) as file:
            file.write(b"half")
            raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        fail()
    assert path.read_bytes() == b"earlier"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_is_on_disk_before_it_has_its_name_and_its_name_after(tmp_path, monkeypatch):
    """Or a power loss leaves an empty file under the right name."""
    happened, fsync, replace = [], os.fsync, os.replace

    def sync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        happened.append("directory" if stat.S_ISDIR(found.st_mode) else f"{found.st_size} bytes")
        fsync(descriptor)

    def rename(source: os.PathLike, target: os.PathLike) -> None:
        happened.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    with open_atomically(tmp_path / "file") as file:
        file.write(b"whole")
    assert happened == ["5 bytes", "name", "directory"]
