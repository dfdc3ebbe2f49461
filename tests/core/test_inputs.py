"""Changes while a stage runs are named; files that only look changed are not."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from core import inputs
from core.errors import CampaignError
from core.inputs import Inputs, changed_settings
from core.pipeline import PIPELINE, Stage, read_architectures, read_deps, read_items
from scaffold import PROJECT, read_params

SYMBOL = Path("bars/A/1Hour/data.parquet")


@pytest.fixture
def bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory `bars` with two symbols, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for symbol in "AB":
        file = Path("bars", symbol, "1Hour", "data.parquet")
        file.parent.mkdir(parents=True)
        file.write_bytes(symbol.encode() * 1000)
    return tmp_path / "bars"


def keep_size_and_mtime() -> None:
    status = SYMBOL.stat()
    SYMBOL.write_bytes(b"x" * 1000)
    os.utime(SYMBOL, ns=(status.st_atime_ns, status.st_mtime_ns))


def move_an_older_one_there() -> None:
    Path("old").write_bytes(b"o" * 1000)
    os.utime("old", (0, 0))
    os.replace("old", SYMBOL)


def add() -> None:
    Path("bars/C").mkdir()
    Path("bars/C/data.parquet").touch()


def swap_the_directory() -> None:
    shutil.copytree("bars", "others")
    Path("others/A/1Hour/data.parquet").write_bytes(b"o")
    os.rename("bars", "before")
    os.symlink("others", "bars")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda: SYMBOL.write_bytes(b"new"), f"{SYMBOL}"),
        (keep_size_and_mtime, f"{SYMBOL}"),
        (move_an_older_one_there, f"{SYMBOL}"),
        (SYMBOL.unlink, f"{SYMBOL} (removed)"),
        (add, "bars/C/data.parquet (new)"),
        (swap_the_directory, f"{SYMBOL}"),
    ],
)
def test_changed_bars_are_named(bars, change, named):
    noted = Inputs.note(("bars",))
    assert noted.changes() == []
    change()
    assert noted.changes() == [named]


def rewrite() -> None:
    content = SYMBOL.read_bytes()
    SYMBOL.unlink()
    SYMBOL.write_bytes(content)


def leave_bytecode() -> None:
    Path("bars/__pycache__").mkdir()
    Path("bars/__pycache__/x.pyc").touch()


def leave_half_a_file() -> None:
    Path("bars/data.parquet.tmp").touch()


def change_and_undo() -> None:
    content = SYMBOL.read_bytes()
    SYMBOL.write_bytes(b"other")
    SYMBOL.write_bytes(content)


SAME = [SYMBOL.touch, rewrite, leave_bytecode, leave_half_a_file, change_and_undo, lambda: os.link(SYMBOL, "link")]


@pytest.mark.parametrize("same", SAME)
def test_unchanged_content_is_no_change(bars, same):
    noted = Inputs.note(("bars",))
    same()
    assert noted.changes() == []


def test_a_large_file_is_compared_by_size_and_times_alone(bars, monkeypatch):
    monkeypatch.setattr(inputs, "MAX_HASHED_BYTES", 1500)  # enough for one of the two
    noted = Inputs.note(("bars",))
    (large,) = [name for name, mark in noted.files.items() if mark.digest is None]
    os.link(large, "link")
    assert noted.changes() == [], "a link to DVC's cache changes ctime"
    shutil.copy2(large, "copy")
    os.rename("copy", large)
    assert noted.changes() == [], "a shared folder numbers its inodes anew"
    os.utime(large)
    assert noted.changes() == [large]


def test_links_are_followed_and_a_loop_ends(bars):
    os.rename("bars", "elsewhere")
    os.symlink("elsewhere", "bars")
    os.symlink("..", "elsewhere/A/loop")
    noted = Inputs.note(("bars",))
    assert len(noted.files) == 2
    Path("elsewhere/A/1Hour/data.parquet").write_bytes(b"other")
    assert noted.changes() == [str(SYMBOL)]


def test_a_pipe_among_the_bars_does_not_block(bars):
    os.mkfifo("bars/pipe")
    assert Inputs.note(("bars", "missing")).changes() == []


def test_states_noted_on_another_machine_are_not_compared(bars, monkeypatch):
    noted = Inputs.note(("bars",))
    SYMBOL.write_bytes(b"new")
    monkeypatch.setattr(inputs.platform, "node", lambda: "another")
    assert noted.changes() == []


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"b": [1, 2], "a": 1}, []),
        ({"a": 1.0, "b": [1, 2]}, ["s.a in params.yaml (1 then, 1.0 now)"]),
        ({"a": 1, "b": [2, 1]}, ["s.b in params.yaml ([1, 2] then, [2, 1] now)"]),
        ({"b": [1, 2], "c": 3}, ["s.a in params.yaml (1 then, nothing now)", "s.c in params.yaml (nothing then, 3 now)"]),
        (None, ["section 's' of params.yaml"]),
    ],
)
def test_settings_are_compared_as_dvc_records_them(section, named):
    assert changed_settings({"s": {"a": 1, "b": [1, 2]}}, {"s": section, "other": 1}) == named


def test_the_deps_of_every_stage_are_noted(monkeypatch):
    monkeypatch.chdir(PROJECT)
    for name, stage in YAML(typ="safe").load(Path("dvc.yaml").read_text())["stages"].items():
        expected = [dep.replace("${data.bars}", "data/simulated") for dep in stage["deps"]]
        assert list(read_deps(Stage(PIPELINE, name), read_params)) == expected
        for dep in expected:
            if dep.startswith("src/"):
                assert any(Path("src", file).is_relative_to(dep) for file in inputs.CODE_DIGESTS), dep
        assert (PROJECT / f"src/{name}.py").read_text().rstrip().splitlines()[-1].startswith("    run(")
    assert read_deps(Stage(PIPELINE, "campaign"), read_params) == ()


def test_a_dvc_yaml_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_deps(Stage(PIPELINE, "a"), dict) == ()
    for text in ("stages: {\n a: [", "stages:\n  a:\n    deps: 3", "stages: 3 # a:"):
        Path("dvc.yaml").write_text(text)
        with pytest.raises(CampaignError, match=r"dvc.yaml cannot be read \(.*\); mend it"):
            read_deps(Stage(PIPELINE, "a"), dict)


BELOW = """
vars:
  - ../params.yaml:data
stages:
  train:
    matrix:
      architecture: [mlp, gru]
    cmd: cd .. && python src/below/train.py ${item.architecture}
    deps:
      - ../${data.bars}
      - data
      - src/core
      - src/train_${item.architecture}.py
"""


def test_the_deps_of_a_stage_below_the_root_are_paths_from_there(tmp_path, monkeypatch):
    """With the item of its matrix filled in; `src` there is a link to that of the root."""
    monkeypatch.chdir(tmp_path)
    Path("below").mkdir()
    pipeline = Path("below/dvc.yaml")
    pipeline.write_text(BELOW)
    deps = ("data/bars", "below/data", "below/src/core", "below/src/train_gru.py")
    assert read_deps(Stage(pipeline, "train@gru"), lambda: {"data": {"bars": "data/bars"}}) == deps
    assert read_deps(Stage(pipeline, "train@mlp"), lambda: {"data": {"bars": "../bars"}})[0] == "../bars"
    for name in ("train", "train@lstm", "other@gru"):
        assert read_deps(Stage(pipeline, name), read_params) == ()
    assert read_items(Stage(pipeline, "train")) == ["mlp", "gru"]
    with pytest.raises(CampaignError, match="below/dvc.yaml has no stage other with a matrix of one key; mend it"):
        read_items(Stage(pipeline, "other"))


def test_architectures_are_those_of_stages_and_of_a_matrix(tmp_path):
    pipeline = tmp_path / "dvc.yaml"
    pipeline.write_text("stages: {cut: {}, train_a: {}, train_folds: {matrix: {architecture: [b, c]}}}")
    assert read_architectures(pipeline) == ["a", "b", "c"]


# --- code: scripts that need the standard library alone --------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a script, which prints what changed since it began, and returns that."""
    for name in ("core/__init__.py", "core/startup.py", "core/inputs.py", "core/errors.py"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / "src" / name, tmp_path / "src" / name)

    def run(before: str = "", after: str = "") -> str:
        (tmp_path / "src/script.py").write_text(
            f"import os, pathlib, sys\n{before}\nimport core.startup\nimport other\n{after}\nfrom core.inputs import Inputs\n"
            "print(other.VALUE, Inputs.note(('src/script.py', 'src/other.py')).changes())\n"
        )
        done = subprocess.run([sys.executable, "src/script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    (tmp_path / "src/other.py").write_text("VALUE = 1\n")
    return run


def test_code_is_hashed_before_it_is_imported(script):
    write = "pathlib.Path('src/other.py').write_text('VALUE = 2')"
    assert script() == "1 []"
    assert script(after=write) == "1 ['src/other.py']"
    assert script(after="pathlib.Path('src/script.py~').touch(); os.utime('src/other.py')") == "2 []"


def test_a_script_that_was_edited_after_python_read_it_is_noticed(script):
    edit = "pathlib.Path(__file__).write_text(pathlib.Path(__file__).read_text().replace('other.VALUE', '7'))"
    assert script(before=edit) == "1 ['src/script.py']"


def test_a_script_in_a_folder_of_src_that_was_edited_is_noticed(script, tmp_path):
    script()
    (tmp_path / "src/below").mkdir()
    file = tmp_path / "src/below/script.py"
    head, edit = "import pathlib, sys\nsys.path.insert(0, 'src')\n", "pathlib.Path(__file__).write_text('other = 1')\n"
    body = "import core.startup\nfrom core.inputs import Inputs\nprint(Inputs.note(('src/below',)).changes())\n"
    for between, said in (("", "[]\n"), (edit, "['src/below/script.py']\n")):
        file.write_text(head + between + body)
        assert subprocess.check_output([sys.executable, "src/below/script.py"], cwd=tmp_path, text=True) == said


def test_stale_bytecode_does_not_run_after_an_edit_that_kept_size_and_mtime(script, tmp_path):
    assert script() == "1 []"
    file = tmp_path / "src/other.py"
    status = file.stat()
    file.write_text("VALUE = 2\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert script() == "2 []"


def test_inputs_can_be_pickled_for_workers(bars):
    noted = pickle.loads(pickle.dumps(Inputs.note(("bars",))))
    SYMBOL.write_bytes(b"new")
    assert noted.changes() == [str(SYMBOL)]
