"""YAML that is malformed, too large or no file: refused quickly, in one line."""

import os
import time
from pathlib import Path

import pytest
from pydantic import Field

from core.params import Settings, read_section
from scaffold import refusal


class Sample(Settings):
    rate: float = Field(gt=0)
    steps: int = Field(ge=1)


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
def test_malformed_and_oversized_yaml_is_refused_quickly_and_briefly(desk, content, finding):
    Path("params.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.process_time()
    message = refusal(lambda: read_section("a", Sample))
    assert time.process_time() - began < 5
    assert finding in message
    assert len(message) < 400


@pytest.mark.filterwarnings("error")
def test_aliases_and_a_byte_order_mark_are_read(desk):
    Path("params.yaml").write_text(
        "\ufeffother: &other {rate: 1, steps: 9}\nagain: &other {rate: 1, steps: 2}\nsample:\n  <<: *other\n  steps: 3\n"
    )
    assert read_section("sample", Sample) == Sample(rate=1, steps=3)


def test_a_pipe_and_a_circular_link_are_refused_without_blocking(desk):
    Path("params.yaml").unlink()
    os.mkfifo("params.yaml")
    assert "params.yaml is no file; put one there" in refusal(lambda: read_section("sample", Sample))
    Path("params.yaml").unlink()
    Path("params.yaml").symlink_to("params.yaml")
    assert "Too many levels of symbolic links at params.yaml; replace the link" in refusal(lambda: read_section("sample", Sample))
