"""What is committed against what is here: `make repro`'s last words and `make verify`, on another kind of processor, too."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from report import committed
from scaffold import PATIENCE, PROJECT, Clone, make_frame, refusal, write_symbol
from tools import verify
from tools.verify import (
    DIRECTORY_PREFIX,
    SAME_ON_EVERY_PROCESSOR,
    collect_inputs,
    differing_keys,
    hash_outs,
    link_bars,
    read_cached_directory,
    read_lock,
    temporary_directory,
)

STAGES = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]
OUTS = sum(len(entry.get("outs", [])) + len(entry.get("metrics", [])) for entry in STAGES.values())
ELSEWHERE = {"precision": "bfloat24", "torch": "2.0.0", "processor": "AVX1024"}


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bars", "in_git", "linked"),
    [
        ("data/historical", False, True),
        ("data/historical", True, False),
        ("data/simulated", False, False),
        ("./data/../data/simulated", False, False),
        ("../../bars", False, True),
    ],
)
def test_bars_that_git_does_not_hold_are_linked(tmp_path: Path, bars: str, in_git: bool, linked: bool):
    here, there = tmp_path / "a/b/here", tmp_path / "a/b/there/1/2"
    for directory in (here, there, here / bars / "AAA"):
        directory.mkdir(parents=True, exist_ok=True)
    if in_git:
        (there / bars).mkdir(parents=True)
    link_bars(here, there, bars=bars, made=["data/simulated", "models/mlp"])
    assert (there / bars).is_symlink() == linked
    assert not linked or (there / bars / "AAA").is_dir()


def test_bars_elsewhere_are_found_where_they_are(tmp_path: Path):
    (tmp_path / "there").mkdir()
    link_bars(tmp_path / "here", tmp_path / "there", bars=str(tmp_path / "bars"), made=[])
    assert not list((tmp_path / "there").iterdir())


def test_only_a_directory_has_files(tmp_path: Path):
    """An out that is a file may be JSON, too."""
    cache = tmp_path / ".dvc/cache/files/md5/12"
    cache.mkdir(parents=True)
    (cache / "34").write_text('{"models": {"mlp": 1}}')
    (cache / "34.dir").write_text('[{"md5": "56", "relpath": "seed_1.pt"}]')
    assert read_cached_directory(tmp_path, "1234") == {}
    assert read_cached_directory(tmp_path, "1234.dir") == {"seed_1.pt": "56"}
    assert read_cached_directory(tmp_path, "7890.dir") == {}


def test_what_networks_of_both_campaigns_were_trained_with_is_compared():
    here = {"precision": "float32", "torch": "2.0.0", "processor": "AVX2"}
    assert committed.differing({"mlp": here, "gru": here}, {"mlp": here, "tcn": ELSEWHERE}) == []
    assert committed.differing({"mlp": here, "gru": here}, {"mlp": here, "gru": ELSEWHERE}) == ["precision", "processor"]
    assert committed.differing({}, {"mlp": here}) == []
    assert committed.described({"mlp": here, "gru": here}) == "precision float32, torch 2.0.0, processor AVX2"
    both = "precision float32, torch 2.0.0, processor AVX2; precision bfloat24, torch 2.0.0, processor AVX1024"
    assert committed.described({"mlp": here, "gru": ELSEWHERE}) == both


def test_an_input_is_what_no_stage_made():
    stages = {
        "a": {
            "cmd": "python a.py",
            "deps": [{"path": "a.py", "md5": "1"}],
            "outs": [{"path": "made", "md5": "2"}, {"path": "models/x", "md5": "5"}],
        },
        "b": {
            "cmd": "python b.py",
            "deps": [{"path": "made", "md5": "2"}, {"path": "bars", "md5": "3.dir"}, {"path": "models", "md5": "4.dir"}],
            "params": {"params.yaml": {"train": {"seeds": [1], "epochs": 3}}},
        },
    }
    found = collect_inputs(stages)
    assert found == {
        "the command of a": "python a.py", "a.py": "1",
        "the command of b": "python b.py", "bars": "3.dir", "train.seeds": [1], "train.epochs": 3,
    }  # fmt: skip
    assert differing_keys(found, found | {"train.seeds": [1, 2], "new": None}) == ["train.seeds", "new"]
    assert differing_keys(found | {"old": None}, found) == ["old"]


def test_a_directory_is_removed_when_no_process_holds_it_any_more(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    foreign, dead = tmp_path / f"{DIRECTORY_PREFIX}of_another_program", tmp_path / f"{DIRECTORY_PREFIX}dead"
    for directory in (foreign, dead):
        (directory / "clone").mkdir(parents=True)
    (dead / "lock").touch()
    with temporary_directory() as (first, lock), temporary_directory() as (second, _):
        assert not dead.exists()
        assert foreign.exists()
        assert first.exists()
        assert first != second
        held = os.dup(lock)  # as dvc inherits it
    assert not second.exists()
    os.close(held)


# --- no git -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Clone:
    """The scripts and a dvc.lock, in no repository."""
    clone = Clone.of(tmp_path)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    return clone


def said(clone: Clone, script: str = "", **environment: str) -> list[str]:
    """What the two commands, which cannot work, say: one line each."""
    script = f"{sys.executable} {PROJECT}/src/campaign.py verify"
    verified = clone.run(script, fails=True, **environment)
    told = clone.run(f"{script} --committed", **environment)
    assert verified.returncode == 1
    assert not verified.stdout + told.stdout
    one, other = verified.stderr, told.stderr
    assert one.count("\n") == other.count("\n") == 1
    assert other == one.replace("verify: ", "verify: not compared with the committed results: ")
    return one.removeprefix("campaign verify: ").removesuffix("\n")


def test_where_there_is_nothing_committed_one_line_says_so(bare):
    assert said(bare, PATH=os.devnull, GIT_CEILING_DIRECTORIES="/") == (
        "git cannot be started (Not a directory): install it, or add its directory to the PATH"
    )
    assert said(bare, GIT_CEILING_DIRECTORIES=str(bare.directory.parent)) == (
        "this is not a git repository: git init, git add -A and git commit first"
    )
    bare.run("git init -q .")
    assert said(bare) == "nothing is committed yet: git add -A and git commit first"
    bare.run("git -c user.name=test -c user.email=test@example.org commit -q --allow-empty -m test")
    assert said(bare).startswith("dvc.lock is not committed: git add dvc.lock metrics reports && git commit -m ")


# --- with a campaign that has run -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(finished_campaign: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A campaign of this machine, committed, with what `make` needs."""
    directory = tmp_path_factory.mktemp("verify") / "a" / "campaign"
    clone = Clone.copy_of(finished_campaign, directory)
    clone.run("git tag ours")
    (directory / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        (directory / ".venv" / part.name).symlink_to(part)
    (directory / ".venv/ready").unlink(missing_ok=True)
    (directory / ".venv/ready").touch()  # newer than the copied requirements
    return clone


@pytest.fixture
def campaign(finished: Clone) -> Clone:
    finished.run("git reset -q --hard ours")
    finished.run("dvc checkout -q --force")
    return finished


def forge(clone: Clone, kind: dict[str, str] | None) -> None:
    """Have the files that git holds be those of a machine of another `kind`: no network and nothing of it is in the cache."""
    compared = clone.read("metrics/compare.json")
    compared["trained_with"] = dict.fromkeys(compared["trained_with"], kind) if kind else {}
    text = json.dumps(compared, indent=2) + "\n"
    (clone.directory / "metrics/compare.json").write_text(text)
    path = clone.directory / "dvc.lock"
    lock = YAML().load(path.read_text())
    md5 = {}
    for name, entry in lock["stages"].items():
        if name not in (*SAME_ON_EVERY_PROCESSOR, "fit_references"):
            made = (out["path"] for out in entry["outs"] if out["path"] != "metrics/test")  # git holds it as it is
            md5 |= {path: f"{number:08}" * 4 for number, path in enumerate(made, len(md5))}
    md5 = {name: value + ".dir" * (not Path(name).suffix) for name, value in md5.items()}
    md5 |= {"models": f"{1:08}" * 4 + ".dir", "metrics/train": f"{2:08}" * 4 + ".dir"}  # deps that hold outs
    md5["metrics/compare.json"] = hashlib.md5(text.encode()).hexdigest()
    for name in ("reports/comparison.md", "reports/decisions.md"):
        md5[name] = hashlib.md5((clone.directory / name).read_bytes()).hexdigest()
    for entry in lock["stages"].values():
        for record in entry["outs"] + entry["deps"]:
            record["md5"] = md5.get(record["path"], record["md5"])
    with path.open("w") as file:
        YAML().dump(lock, file)


def proposed(output: str) -> list[str]:
    """The lines that a user is to run."""
    return [line.strip() for line in output.splitlines() if line.startswith("  ")]


def shell(clone: Clone, line: str, *, fails: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a line as a user would, who has a name and an address."""
    user = {f"GIT_{who}_{what}": "a@b.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return clone.run(f"env -u MAKEFLAGS -u MAKELEVEL sh -c '{line}'", fails=fails, **user)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="no make on PATH")
def test_a_campaign_from_another_kind_of_processor_becomes_this_machines(campaign):
    here = campaign.read("metrics/compare.json")["trained_with"]
    for name, kind in here.items():
        trained = campaign.read(f"metrics/train/{name}.json")
        assert kind == {"precision": trained["precision"]} | trained["environment"]
    forge(campaign, ELSEWHERE)
    campaign.commit()
    shell(campaign, "git checkout . && dvc checkout", fails=True)
    assert [path.name for path in (campaign.directory / "models").iterdir() if path.is_dir()] == ["references"]

    verified = shell(campaign, "make verify")
    whats = ("torch", "processor")
    beginning = f"campaign verify: dvc.lock was made with {committed.described({'mlp': ELSEWHERE}, whats)}, and here is "
    assert verified.stderr.startswith(f"{beginning}{committed.described(here, whats)}. What can be compared is data/simulated, ")
    results = [line.split("  ") for line in verified.stdout.splitlines() if "  " in line]
    assert [name for result, name in results if result == "identical"] == [
        "data/simulated", "data/training_data", "metrics/generate_data.json",
    ]  # fmt: skip
    assert {result for result, _ in results} == {"identical", "not comparable: another torch and processor"}
    assert verified.stdout.splitlines()[-1] == (
        f"3 of {OUTS} outs are identical to dvc.lock; the others depend on the torch and processor: not compared"
    )

    restored = shell(campaign, "rm dvc.lock && make repro")
    assert "Running stage 'train" not in restored.stdout
    assert "because of another precision, torch and processor:" in restored.stdout
    [line] = proposed(restored.stdout.partition("To make these the committed ones:")[2])
    shell(campaign, line)
    assert campaign.run("git status --porcelain").stdout == ""
    shell(campaign, "git checkout . && dvc checkout")
    assert campaign.run("git status --porcelain").stdout == ""
    assert shell(campaign, "make verify").stdout.splitlines()[-1] == f"all {OUTS} outs are identical to dvc.lock"


@pytest.mark.slow
def test_what_a_removed_architecture_left_is_named(finished):
    left = finished.directory / "models/tcn"
    left.mkdir()
    lines = told(finished).splitlines()
    left.rmdir()
    assert lines[0] == "The results here are the committed ones."
    assert lines[1] == "models/tcn belongs to no stage of dvc.yaml, but changes what DVC records: rm -r models/tcn"


def told(clone: Clone) -> str:
    return clone.run("python src/campaign.py verify --committed").stdout


@pytest.mark.slow
def test_only_another_kind_of_machine_is_called_the_reason(campaign):
    """Each time the other side, in git or here, is made up."""
    assert told(campaign) == "The results here are the committed ones.\n"
    here = campaign.read("metrics/compare.json")["trained_with"]["mlp"]
    told_here = committed.described({"mlp": here})
    forge(campaign, here)
    alike = told(campaign)
    assert "though made from the same inputs: metrics/train/mlp.json, models/mlp, " in alike
    assert f"Both with {told_here}: another model of processor" in alike
    assert "because" not in alike

    forge(campaign, here | {"processor": "AVX1024"})
    other = told(campaign).splitlines()
    assert other[0] == "The results here differ from the committed ones because of another processor:"
    assert other[1] == f"committed with {told_here}; here with {told_here.replace(here['processor'], 'AVX1024')}."
    lock = campaign.directory / "dvc.lock"
    lock.write_text(re.sub(r"( min_val_f1:) [\d.]+", r"\1 0.5", lock.read_text()))
    edits = told(campaign).splitlines()
    assert edits[0].endswith("as do their inputs: compare.min_val_f1.")
    assert edits[1].startswith("Another processor, too: committed with")
    assert edits[2:] == other[2:], "params.yaml has no edit: the last commit may have it"

    campaign.run("git reset -q --hard ours")
    forge(campaign, None)
    campaign.commit()
    campaign.run("git checkout -q ours -- dvc.lock metrics")
    unknown = told(campaign)
    assert "metrics/compare.json does not say what those were trained with; these with" in unknown
    assert "because" not in unknown
    (campaign.directory / "metrics/compare.json").write_text("{}")  # as dvc removes it before its stage runs
    unfinished = campaign.run("python src/campaign.py verify --committed").stderr
    assert unfinished.endswith("dvc.lock is not of a finished campaign; finish it first: dvc repro\n")
    lock.write_text("<<<<<<< HEAD\n" + lock.read_text())
    garbled = campaign.run("python src/campaign.py verify --committed").stderr
    assert garbled.endswith("dvc.lock is not as DVC writes it; restore it: git checkout HEAD dvc.lock\n")


@pytest.mark.slow
def test_another_precision_is_known_after_the_training_and_no_difference(campaign, monkeypatch, capsys):
    """As that of another processor with the same vector instructions, which has none for bfloat16."""
    monkeypatch.chdir(campaign.directory)
    monkeypatch.setattr("sys.argv", ["verify"])
    here = campaign.read("metrics/compare.json")["trained_with"]
    found = hash_outs(read_lock(campaign.lock()))
    forge(campaign, here["mlp"] | {"precision": "bfloat24"})
    campaign.commit()
    monkeypatch.setattr(verify, "run_again", lambda *_, **__: verify.Rerun(found, here))
    verify.verify()
    said = capsys.readouterr().out.splitlines()
    assert "not comparable: another precision  models/mlp" in said
    assert said[-1] == f"3 of {OUTS} outs are identical to dvc.lock; the others depend on the precision: not compared"
    monkeypatch.setattr(verify, "run_again", lambda *_, **__: verify.Rerun(found | {"data/simulated": ""}, here))
    assert refusal(verify.verify) == "verify: 1 of 3 outs differ from dvc.lock"


@pytest.mark.slow
def test_edits_are_set_aside_while_the_committed_campaign_becomes_this_machines(campaign):
    """A change of `compare`, which alone has to run."""
    ours = campaign.lock()
    forge(campaign, ELSEWHERE)
    campaign.commit()
    (campaign.directory / "dvc.lock").write_text(ours)
    campaign.params(compare={"draws": 150})
    done = shell(campaign, "make repro")
    output = done.stdout
    assert (
        f"compare: the committed networks were trained with {committed.described({'mlp': ELSEWHERE})}, these with" in done.stderr
    )
    assert "as do their inputs: compare.draws." in output
    for line in proposed(output):
        shell(campaign, line)
    changed_files = campaign.run("git status --porcelain").stdout.split()[1::2]
    assert changed_files[0] == "dvc.lock"
    assert "params.yaml" in changed_files
    shell(campaign, "git checkout . && dvc checkout")
    assert told(campaign) == "The results here are the committed ones.\n"


@pytest.fixture
def own_bars(campaign: Clone, tmp_path: Path) -> Clone:
    """The campaign on bars outside of it, at a relative path, committed as if from another kind of processor."""
    bars = campaign.directory.parent.parent / "bars"
    for number, symbol in enumerate(("AAA", "BBB")):
        write_symbol(bars, symbol, make_frame(900, seed=number, volatility=0.015))
    campaign.params(data={"bars": "../../bars"})
    campaign.repro("generate_data")
    forge(campaign, ELSEWHERE)
    campaign.commit()
    return campaign


def start(clone: Clone, directory: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """`make verify` with `directory` for temporary files, once a stage runs; and the file with what it says."""
    directory.mkdir(parents=True)
    log = directory.parent / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "CAMPAIGN_", "GIT_"))}
    environment |= {"TMPDIR": str(directory), "GIT_CONFIG_GLOBAL": os.devnull}
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, by verify as well
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "src/campaign.py", "verify"],
            cwd=clone.directory,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    signal.signal(signal.SIGHUP, before)
    until = time.monotonic() + PATIENCE
    while "> python src/" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until
        time.sleep(0.1)
    return process, log


def processes_in(directory: Path) -> list[str]:
    """Command lines of processes that work in `directory`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(directory):
                found.append((process / "cmdline").read_text())
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_verify_with_all_that_it_started(campaign, tmp_path, number):
    forge(campaign, ELSEWHERE)
    campaign.commit()
    process, log = start(campaign, tmp_path / "temporary")
    assert processes_in(tmp_path)
    process.send_signal(number)
    assert process.wait(PATIENCE) == 128 + number
    assert log.read_text().splitlines()[-1] == "campaign verify: " + (
        "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    )
    assert processes_in(tmp_path) == []
    assert not list(tmp_path.rglob(f"{DIRECTORY_PREFIX}*"))


@pytest.mark.slow
def test_what_a_killed_verify_left_is_removed_by_the_next_and_nothing_lies_outside(own_bars, tmp_path):
    """The killed one's dvc goes on, and keeps its directory until it ends; its bars are a link to `../../bars`."""
    temporary = tmp_path / "temporary" / "files"
    process, _ = start(own_bars, temporary)
    process.kill()
    process.wait()
    [left] = temporary.glob(f"{DIRECTORY_PREFIX}*")
    assert any(path.is_symlink() for path in left.rglob("bars"))
    assert (left / "site-cache").is_dir(), "or DVC would have made a directory elsewhere"
    done = own_bars.run("python src/campaign.py verify", TMPDIR=str(temporary))
    assert done.stdout.splitlines()[-1].startswith(f"3 of {OUTS} outs are identical to dvc.lock")
    until = time.monotonic() + PATIENCE
    while processes_in(left) and time.monotonic() < until:
        time.sleep(0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(temporary))
        with temporary_directory():
            assert not left.exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["files", "log", "temporary"]


@pytest.mark.slow
def test_the_project_may_be_a_directory_of_a_shallow_detached_submodule(campaign, tmp_path):
    """Made to compute as an older processor does: bars and data are the same."""
    forge(campaign, ELSEWHERE)
    campaign.commit()
    outer, above = Clone.of(tmp_path / "outer"), Clone.of(tmp_path / "above")
    project = outer.directory / "team a/campaign"
    for repository in (outer, above):
        repository.directory.mkdir()
        repository.run("git init -q .")
    campaign.run(f"git archive --format tar --output {tmp_path}/files.tar HEAD")
    shutil.unpack_archive(tmp_path / "files.tar", project, filter="data")
    for message in ("one", "two"):
        (outer.directory / "note").write_text(message)
        outer.commit()
    above.run(f"git -c protocol.file.allow=always submodule --quiet add --depth 1 file://{outer.directory} sub")
    above.commit()
    inner = Clone.of(above.directory / "sub/team a/campaign")
    inner.run("git checkout -q --detach")
    assert inner.run("git rev-parse --is-shallow-repository").stdout == "true\n"
    assert told(inner) == "The results here are the committed ones.\n"
    older = {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 F16C AVX", "OPENBLAS_CORETYPE": "Prescott", "ATEN_CPU_CAPABILITY": "default"}
    done = inner.run("python src/campaign.py verify", **older)
    assert done.stdout.splitlines()[-1].startswith(f"3 of {OUTS} outs are identical to dvc.lock; ")
