"""What `make verify` gives its clone; the rest is in test_end_to_end.py."""

from pathlib import Path

import pytest

from scaffold import write_params
from verify import files_of, link_bars


@pytest.mark.parametrize(
    ("bars", "in_git", "linked"),
    [
        ("data/historical", False, True),
        ("data/historical", True, False),
        ("data/simulated", False, False),
        ("./data/../data/simulated", False, False),
    ],
)
def test_bars_that_git_does_not_hold_are_linked(tmp_path: Path, bars: str, in_git: bool, linked: bool):
    here, there = tmp_path / "here", tmp_path / "there"
    for directory in (here / "data/historical/AAA", there):
        directory.mkdir(parents=True)
    write_params(there, data={"bars": bars})
    if in_git:
        (there / bars).mkdir(parents=True)
    link_bars(here, there, made=["data/simulated", "models/mlp"])
    assert (there / bars).is_symlink() == linked
    assert not linked or (there / bars / "AAA").is_dir()


def test_bars_elsewhere_are_found_where_they_are(tmp_path: Path):
    (tmp_path / "there").mkdir()
    write_params(tmp_path / "there", data={"bars": str(tmp_path / "bars")})
    link_bars(tmp_path / "here", tmp_path / "there", made=[])
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["params.yaml"]


def test_only_a_directory_has_files(tmp_path: Path):
    """An out that is a file may be JSON, too."""
    cache = tmp_path / ".dvc/cache/files/md5/12"
    cache.mkdir(parents=True)
    (cache / "34").write_text('{"models": {"mlp": 1}}')
    (cache / "34.dir").write_text('[{"md5": "56", "relpath": "seed_1.pt"}]')
    assert files_of(tmp_path, "1234") == {}
    assert files_of(tmp_path, "1234.dir") == {"seed_1.pt": "56"}
    assert files_of(tmp_path, "7890.dir") == {}
