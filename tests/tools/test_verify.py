"""What of dvc.lock says that a campaign is finished; tests/slow has the command on real campaigns."""

import hashlib
from pathlib import Path

from tools.verify import is_finished
from watch.mlflow_writer import directory_md5


def test_a_network_trained_again_without_its_comparison_is_no_finished_campaign(tmp_path, monkeypatch):
    """compare depends on the folder that holds the outs of all train stages, which no out is by itself."""
    monkeypatch.chdir(tmp_path)
    for path, content in {"models/a/x": "1", "models/b/x": "2", "metrics/compare.json": "{}", "models/.gitignore": "/*"}.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content)
    compared = {"path": "metrics/compare.json", "md5": hashlib.md5(b"{}").hexdigest()}

    def stages(b: str) -> dict:
        return {
            "train_a": {"deps": [], "outs": [{"path": "models/a", "md5": "a"}]},
            "train_b": {"deps": [], "outs": [{"path": "models/b", "md5": b}]},
            "compare": {"deps": [{"path": "models", "md5": before}, {"path": "src/core", "md5": "c"}], "outs": [compared]},
        }

    before = directory_md5(Path("models"))
    assert is_finished(stages("b"))
    Path("models/b/x").write_text("trained again")
    assert not is_finished(stages("b2"))


def test_a_folder_is_hashed_as_dvc_does(tmp_path):
    """The listing of a folder with two files, written out."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "b").write_text("1")
    (tmp_path / "sub/a").write_text("2")
    (tmp_path / ".gitignore").write_text("/*")
    one, two = (hashlib.md5(text).hexdigest() for text in (b"1", b"2"))
    listing = f'[{{"md5": "{one}", "relpath": "b"}}, {{"md5": "{two}", "relpath": "sub/a"}}]'
    assert directory_md5(tmp_path) == f"{hashlib.md5(listing.encode()).hexdigest()}.dir"
