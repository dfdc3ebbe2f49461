"""Settings that a search found go into params.yaml, and nothing else there changes."""

import difflib
import shutil
from pathlib import Path

from scaffold import PROJECT
from tools.search import apply_settings


def test_only_the_settings_that_are_applied_change(desk: Path):
    shutil.copy(PROJECT / "params.yaml", desk)
    before = Path("params.yaml").read_text()
    apply_settings("mlp", {})
    assert Path("params.yaml").read_text() == before
    apply_settings("mlp", {"dropout": 0.25, "hidden_sizes": [8, 4], "train.learning_rate": 0.002})
    changed = [
        line
        for line in difflib.ndiff(before.splitlines(), Path("params.yaml").read_text().splitlines())
        if line.startswith(("+", "-"))
    ]
    assert [line for line in changed if line.startswith("-")] == [
        "-   hidden_sizes: [256, 128, 64]",
        "-   dropout: 0.3              # 0 to below 1, likewise below",
    ]
    assert "+   dropout: 0.25             # 0 to below 1, likewise below" in changed
    assert "+   train:" in changed
    assert "+     learning_rate: 0.002" in changed
