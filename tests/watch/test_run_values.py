"""How a folder is found again in dvc.lock; tests/slow has the writer with real stores."""

import hashlib

from watch.run_values import directory_md5


def test_a_folder_is_hashed_as_dvc_does(tmp_path):
    """The listing of a folder with two files, written out; .dvcignore leaves .gitignore out."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "b").write_text("1")
    (tmp_path / "sub/a").write_text("2")
    (tmp_path / ".gitignore").write_text("/*")
    one, two = (hashlib.md5(text).hexdigest() for text in (b"1", b"2"))
    listing = f'[{{"md5": "{one}", "relpath": "b"}}, {{"md5": "{two}", "relpath": "sub/a"}}]'
    assert directory_md5(tmp_path) == f"{hashlib.md5(listing.encode()).hexdigest()}.dir"
