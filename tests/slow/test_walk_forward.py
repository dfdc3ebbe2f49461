"""Walk-forward with the real scripts and the real DVC, on folds of seconds over bars of which the test knows the regime."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from core.pipeline import WALK_FORWARD
from scaffold import Clone, make_frame, write_symbol

pytestmark = pytest.mark.slow
NETWORKS = ["mlp", "gru"]
MODELS = [*NETWORKS, "logistic_regression", "gradient_boosting", "one_column", "prior", "always_positive"]
STAGES = ["cut_folds", *(f"train_folds@{name}" for name in NETWORKS), "reference_folds", "evaluate_folds", "compare_folds"]
CACHED = ["data", *(f"models/{name}" for name in [*NETWORKS, "references"]), "predictions"]
CACHED += ["metrics/evaluate", "plots/score_by_fold.csv", "reports/walk_forward.html"]
COMMITTED = [
    *(f"metrics/test/{name}.json" for name in MODELS),
    "dvc.lock",
    "metrics/walk_forward.json",
    "reports/walk_forward.md",
]
FOLDS = ["2024-02-03", "2024-02-11", "2024-02-19", "2024-02-27"]
TURN = 2  # number of the first fold whose test lies in the second regime
HOURS = 24 * 65  # a few days more than the folds need
EPOCHS, SEEDS = 6, [1]
DOOR = "python src/campaign.py walk-forward"
FAULTS = Path(__file__).parent / "faults"


def make_regimes(seed: int, start: str = "2024-01-01", end: str = "2024-03-06") -> pd.DataFrame:
    """Bars whose volume foretells the next hour's drift, up on high volume; from the turn on, down on high volume."""
    frame = make_frame(HOURS, seed)
    rng = np.random.default_rng(seed)
    known = np.zeros(HOURS)
    for hour in range(1, HOURS):
        known[hour] = 0.8 * known[hour - 1] + 0.6 * rng.normal()
    sign = np.where(frame.index < FOLDS[TURN], 1, -1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, HOURS) + 0.008 * sign * np.append(0, known[:-1])))
    opening = np.append(100, close[:-1])
    frame["Open"], frame["Close"], frame["Volume"] = opening, close, 1000 * np.exp(known)
    frame["High"], frame["Low"] = np.maximum(opening, close) * 1.003, np.minimum(opening, close) / 1.003
    return frame[(frame.index >= start) & (frame.index < end)]


def write_bars(directory: Path) -> None:
    """Write four assets: two throughout, one that begins late, one that ends early."""
    assets = {"A": (), "B": (), "LATE": ("2024-01-24",), "OVER": ("2024-01-01", "2024-02-15")}
    for seed, (symbol, bounds) in enumerate(assets.items()):
        write_symbol(directory, symbol, make_regimes(seed, *bounds))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose walk-forward was run from the door, beside a campaign of which only the market was simulated."""
    directory = tmp_path_factory.mktemp("project") / "clone"
    directory.mkdir()
    write_bars(directory.parent / "bars")
    clone = Clone(
        directory,
        data={
            "bars": "../bars",
            "features": ["return_1", "range_1", "rsi_14", "volume_sma_20", "hour_of_day_sine"],
            "lookback": 12,
        },
        train={"epochs": EPOCHS, "learning_rate": 0.003},
        walk_forward={"folds": len(FOLDS), "val_days": 8, "test_days": 8, "train_days": 20, "seeds": SEEDS[::-1]},
    )
    pipeline = directory / WALK_FORWARD
    pipeline.write_text(pipeline.read_text().replace("[mlp, lstm, gru, cnn_lstm]", f"[{', '.join(NETWORKS)}]"))
    clone.run("dvc repro -q simulate_market")
    clone.commit()
    clone.done = clone.run(DOOR)
    clone.commit()
    return clone


@pytest.fixture
def clone(finished: Clone, tmp_path: Path) -> Clone:
    """A copy of the finished clone and its bars."""
    shutil.copytree(finished.directory.parent, tmp_path / "project", symlinks=True)
    return Clone.of(tmp_path / "project/clone")


def below(clone: Clone, command: str, **options: Any) -> str:
    """Run a command in walk_forward/, and return its output."""
    return Clone.of(clone.directory / "walk_forward").run(command, **options).stdout


def ran(output: str) -> list[str]:
    """List the stages that `dvc repro` ran, in order."""
    return re.findall(r"^Running stage '([\w@]+)'", output, re.MULTILINE)


def epochs(said: str) -> list[tuple[str, str, int]]:
    """List architecture, fold and seed of each epoch that was trained."""
    return [
        (name, fold, int(seed)) for name, fold, seed in re.findall(r"^(\w+) (\S+) seed (\d+): epoch \d+/", said, re.MULTILINE)
    ]


def contents(clone: Clone, *below: str) -> dict[str, bytes]:
    """Read all that stages have written, or what is `below` some of the paths alone."""
    root = clone.directory / "walk_forward"
    files = [
        file for path in below or (*CACHED, *COMMITTED) for file in [root / path, *(root / path).rglob("*")] if file.is_file()
    ]
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


def read_lock(clone: Clone) -> dict[str, Any]:
    return YAML(typ="safe").load((clone.directory / "walk_forward/dvc.lock").read_text())["stages"]


def outs(clone: Clone) -> list[dict[str, Any]]:
    """List what dvc.lock says of the outs that DVC's cache holds."""
    return [out for stage in read_lock(clone).values() for out in stage["outs"] if out["path"] in CACHED]


def read_scores(clone: Clone) -> dict[str, dict[str, dict[str, float]]]:
    """Read plots/score_by_fold.csv: columns by model and fold."""
    scores: dict[str, dict[str, dict[str, float]]] = {}
    with (clone.directory / "walk_forward/plots/score_by_fold.csv").open() as file:
        for row in csv.DictReader(file):
            model, fold = row.pop("model"), row.pop("fold")
            scores.setdefault(model, {})[fold] = {key: float(value) if value else np.nan for key, value in row.items()}
    return scores


# --- what a run leaves ------------------------------------------------------------------------------------------------


def test_all_stages_run_and_leave_what_they_promise(finished):
    done, root = finished.done, finished.directory / "walk_forward"
    assert ran(done.stdout) == STAGES
    assert done.stdout.endswith(f"open {(root / 'reports/walk_forward.html').as_uri()}\n")
    assert set(epochs(done.stderr)) == {(name, fold, seed) for name in NETWORKS for fold in FOLDS for seed in SEEDS}
    for fold in FOLDS:
        for name in NETWORKS:
            assert {f"seed_{seed}.pt" for seed in SEEDS} <= {file.name for file in (root / "models" / name / fold).iterdir()}
        for name in MODELS:
            assert np.load(root / f"predictions/{fold}/{name}_test.npy").shape[0] == (len(SEEDS) if name in NETWORKS else 1)
    assert list(finished.read("walk_forward/data/folds.json")) == FOLDS
    for name in ("walk_forward.html", "walk_forward.md"):
        assert "SIMULATED" not in (root / "reports" / name).read_text()
    assert not list(root.rglob("*.tmp"))
    kept = finished.directory.glob(".checkpoints/*/*/seed-*")
    assert len(list(kept)) == len(NETWORKS) * len(FOLDS) * len(SEEDS), "in the campaign's root, for a fold more"
    assert not (root / ".checkpoints").exists()


def test_git_holds_the_small_results_alone(finished):
    changed = finished.run("git log -1 --format= --name-only").stdout.split()
    looks = [name for name in changed if name.startswith("ledger/")]
    assert len(looks) == 1
    others = sorted(set(changed) - set(looks))
    assert others == sorted(f"walk_forward/{name}" for name in COMMITTED), "and DVC added no rule to a .gitignore"


def test_scores_follow_from_the_predictions_of_each_fold(finished):
    """F1 at the thresholds that were chosen on validation, mean over seeds."""
    scores = read_scores(finished)
    for fold in FOLDS:
        y = np.load(finished.directory / f"walk_forward/data/{fold}/test_y.npy")
        y = y[y >= 0]
        chosen = finished.read(f"walk_forward/predictions/{fold}/choices.json")
        for name, label in (("mlp", "MLP"), ("one_column", "one column")):
            predicted = np.load(finished.directory / f"walk_forward/predictions/{fold}/{name}_test.npy")
            called = [own >= seed["threshold"] for own, seed in zip(predicted, chosen[name], strict=True)]
            f1 = [2 * (own & (y == 1)).sum() / (own.sum() + y.sum()) for own in called]
            assert scores[label][fold]["test_f1"] == pytest.approx(fmean(f1))


def test_an_asset_without_a_train_row_is_left_out_of_that_fold_alone(finished):
    warnings = re.findall("warning: fold (.*)", finished.done.stderr)
    assert warnings == [
        "2024-02-03: LATE: no training sample, left out of this fold",
        "2024-02-19: OVER has no sample in test: it is not judged there",
        "2024-02-27: OVER has no sample in val: it is not judged there",
        "2024-02-27: OVER has no sample in test: it is not judged there",
    ]
    symbols = finished.read("walk_forward/data/2024-02-03/asset_id_mapping.json")
    for fold in FOLDS:
        for split in ("train", "val", "test"):
            there = set(np.load(finished.directory / f"walk_forward/data/{fold}/{split}_asset_ids.npy"))
            assert (symbols["LATE"] in there) == (fold != "2024-02-03"), (fold, split)
    by_asset = finished.read("walk_forward/metrics/walk_forward.json")["models"]["mlp"]["track"]["by_asset"]
    samples = {symbol: table["samples"] for symbol, table in by_asset.items()}
    assert samples["OVER"] < samples["LATE"] < samples["A"] == samples["B"]


def test_a_change_of_regime_is_told(finished):
    """High volume foretells rises before the turn and falls after it; all folds are trained on bars before it.

    The last one's validation lies beyond it, so that an epoch of the network is chosen which has learnt less of the past.
    """
    scores, found = read_scores(finished), finished.read("walk_forward/metrics/walk_forward.json")
    for name, label in (("mlp", "MLP"), ("one_column", "one column"), ("logistic_regression", "logistic regression")):
        by_fold = [scores[label][fold]["test_direction_auc"] for fold in FOLDS]
        assert min(by_fold[:TURN]) > 0.55 and by_fold[TURN] < 0.45, (name, by_fold)
        assert name in NETWORKS or by_fold[-1] < 0.45, (name, by_fold)
        assert found["models"][name]["direction_auc"]["by_fold"] == pytest.approx(by_fold)
        (sentence,) = [text for text in found["verdict"] if text.startswith(f"The direction AUC of {label} changes")]
        assert "beyond the error within them: " + ", ".join(f"{auc:.2f}" for auc in by_fold) in sentence
        assert "on both sides of a coin's 0.5: what told rises from falls in one fold misled in another (p 0.0" in sentence
        assert sentence in (finished.directory / "walk_forward/reports/walk_forward.md").read_text()
    assert found["verdict"][0] == "Over 4 folds: no, nothing is shown to be better than the references or worth a trade."
    assert "No model is shown to tell a rise from a fall" in " ".join(found["verdict"])
    page = (finished.directory / "walk_forward/reports/walk_forward.html").read_text()
    chart = re.search(r'<section[^>]* id="direction".*?</svg>', page, re.DOTALL)[0]
    coin = float(re.search(r'x1="([\d.]+)"[^>]*class="guide"', chart)[1])
    of_first_network = re.findall(r'<line x1="([\d.]+)"[^>]* stroke="#0072B2" stroke-width="1.2"/>', chart)
    ticks = [float(x) for x in of_first_network]  # one a fold
    assert [tick > coin for tick in ticks] == [scores["MLP"][fold]["test_direction_auc"] > 0.5 for fold in FOLDS]


# --- its DVC project ------------------------------------------------------------------------------------------------


def test_its_own_commands_work(clone, tmp_path):
    done = clone.run(DOOR)
    assert ran(done.stdout) == [] and epochs(done.stderr) == []
    assert below(clone, "dvc status") == "Data and pipelines are up to date.\n"
    rows = below(clone, "dvc metrics show").splitlines()
    assert [row.split()[0] for row in rows[1:]] == sorted(f"metrics/test/{name}.json" for name in MODELS)
    plots = json.loads(below(clone, "dvc plots show --json"))["data"]
    for title, column in (("score by fold", "test_f1"), ("direction by fold", "test_direction_auc")):
        values = plots[title][0]["content"]["data"]["values"]
        shown = {(row["model"], row["fold"]): float(row[column]) for row in values}
        assert shown == {
            (model, fold): own[column] for model, of_model in read_scores(clone).items() for fold, own in of_model.items()
        }
    below(clone, "dvc plots show")
    assert "cdn" not in (clone.directory / "walk_forward/dvc_plots/index.html").read_text(), "its page needs no network"
    below(clone, f"dvc remote add --local -fd here {tmp_path}/remote")
    below(clone, "dvc push")
    shutil.rmtree(clone.directory / "walk_forward/.dvc/cache")
    shutil.rmtree(clone.directory / "walk_forward/models/mlp")
    below(clone, "dvc pull")
    assert below(clone, "dvc status") == "Data and pipelines are up to date.\n"


def test_it_leaves_one_look_at_all_its_tests_in_the_ledger_of_the_root(clone):
    looks = [json.loads(file.read_text()) for file in (clone.directory / "ledger").glob("*.json")]
    [own] = [look for look in looks if look["kind"] == "walk-forward"]
    assert len(own["data"]) == len(FOLDS)
    assert own["settings"]["walk_forward.folds"] == len(FOLDS)
    assert not list((clone.directory / "walk_forward").glob("ledger*"))


def test_the_campaigns_commands_neither_run_nor_mention_it(clone, tmp_path):
    clone.run(f"dvc remote add --local -fd here {tmp_path}/remote")
    for command in ("exp run simulate_market", "status", "metrics show", "plots show --json", "data status"):
        done = clone.run(f"dvc {command}")
        assert not re.search("walk_forward|_folds", done.stdout + done.stderr), command
    clone.run("dvc push")
    assert not clone.run("git status --porcelain walk_forward").stdout
    pushed = {path.parent.name + path.name for path in (tmp_path / "remote").glob("files/md5/*/*")}
    assert pushed and not {out["md5"] for out in outs(clone)} & pushed


def test_collecting_garbage_in_a_shared_cache_names_both_projects(clone, tmp_path):
    """As docs/running.md says."""
    for run in (clone.run, lambda command: below(clone, command)):
        run(f"dvc cache dir --local {tmp_path}/cache")
    clone.run("dvc commit -f simulate_market")
    below(clone, "dvc commit -f")
    kept = [tmp_path / "cache/files/md5" / out["md5"][:2] / out["md5"][2:] for out in outs(clone)]
    assert len(kept) == len(CACHED)
    clone.run("dvc gc -w -f -p walk_forward")
    assert all(path.exists() for path in kept)
    clone.run("dvc gc -w -f")
    assert not any(path.exists() for path in kept)


def test_an_edit_reruns_what_depends_on_it_alone(clone):
    models = contents(clone, "models")
    for name in ("src/core/__pycache__/x.pyc", "src/learn/x.tmp"):
        (clone.directory / name).parent.mkdir(exist_ok=True)
        (clone.directory / name).write_text("bytecode, and what a killed stage leaves, are no edits")
    for edited, expected in {
        "src/report/svg.py": ["compare_folds"],
        "src/train_gru.py": ["train_folds@gru", "evaluate_folds", "compare_folds"],
    }.items():
        with (clone.directory / edited).open("a") as file:
            file.write("# edited\n")
        assert ran(below(clone, "dvc repro")) == expected, edited
    changed = {name for name, content in contents(clone, "models").items() if content != models[name]}
    assert changed == {f"models/gru/{fold}/network.json" for fold in FOLDS}, "which has the hash of the source"


def test_one_more_fold_trains_that_one_alone(clone):
    """An experiment, on whose command line a setting of the root's file is changed."""
    before = contents(clone, "data", "models")
    done = Clone.of(clone.directory / "walk_forward").run(
        f"dvc exp run -S ../params.yaml:walk_forward.folds={len(FOLDS) + 1} -S ../params.yaml:walk_forward.train_days=12 "
        "train_folds@mlp"
    )
    assert ran(done.stdout) == ["cut_folds", "train_folds@mlp"]
    assert set(epochs(done.stderr)) == {("mlp", "2024-01-26", seed) for seed in SEEDS}
    after = contents(clone, "data", "models")
    assert before.keys() < after.keys()
    assert {name for name in before if after[name] != before[name]} == {"data/folds.json"}


# --- kills ----------------------------------------------------------------------------------------------------------


def start(clone: Clone, command: list[str], **environment: str) -> subprocess.Popen[str]:
    """A process group of its own; stderr is to be read."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=clone.directory,
        env=os.environ | {"CAMPAIGN_TRACKING": "off"} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_killed_three_times_and_with_one_job_the_bytes_are_the_same(finished, clone):
    """Runs again all but the stage of the second architecture, of which the lock still knows."""
    root, trainings = clone.directory / "walk_forward", len(FOLDS) * len(SEEDS)
    for path in (*CACHED, "metrics/test", "metrics/walk_forward.json", "reports/walk_forward.md", ".dvc/cache/runs"):
        if path != "models/gru":
            (shutil.rmtree if (root / path).is_dir() else os.remove)(root / path)
    shutil.rmtree(clone.directory / ".checkpoints/mlp")
    lock = YAML(typ="safe").load((root / "dvc.lock").read_text())
    lock["stages"] = {"train_folds@gru": lock["stages"]["train_folds@gru"]}
    with (root / "dvc.lock").open("w") as file:
        YAML().dump(lock, file)

    printed = 0
    with start(clone, ["src/campaign.py", "walk-forward"]) as process:  # dvc and all, in the middle of an epoch
        while "seed 1: epoch 3/" not in (line := process.stderr.readline()):
            assert line
            printed += bool(epochs(line))
        os.killpg(process.pid, signal.SIGKILL)
        printed += len(epochs(process.communicate()[1]))
    script = ["src/walk_forward/train_folds.py", "mlp"]
    with start(clone, script, FAULT="worker:fsync:5", PYTHONPATH=str(FAULTS)) as process:  # a checkpoint is not yet in place
        printed += len(epochs(process.communicate()[1]))
    assert process.returncode == -signal.SIGKILL
    with start(clone, script, FAULT="trainer:fsync:9", PYTHONPATH=str(FAULTS)) as process:  # some folds' models are written
        printed += len(epochs(process.communicate()[1]))
    assert process.returncode == -signal.SIGKILL
    assert 0 < len(list((root / "models/mlp").iterdir())) < len(FOLDS)
    done = clone.run(DOOR, CAMPAIGN_JOBS="1")

    assert ran(done.stdout) == [stage for stage in STAGES if stage not in ("cut_folds", "train_folds@gru")]
    assert epochs(done.stderr) == [], "the third start had trained all"
    assert len(re.findall(f"goes on after epoch {EPOCHS}:", done.stderr)) == trainings
    unprinted = 2 * trainings  # each of the two kills while training may take the line of an epoch that was just kept
    assert trainings * EPOCHS - unprinted <= printed < 2 * trainings * EPOCHS
    expected, found = contents(finished), contents(clone)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name] and name != "dvc.lock"] == []
    assert read_lock(clone) == read_lock(finished)


def test_ctrl_c_ends_dvc_and_its_stage_and_says_so(clone):
    """Sent to the group, as a terminal does. What was finished before is not trained again."""
    clone.params(walk_forward={"seeds": [*SEEDS, 3]})
    with start(clone, ["src/campaign.py", "walk-forward"]) as process:
        while "seed 3: epoch 2/" not in (line := process.stderr.readline()):
            assert line
            assert not epochs(line) or "seed 3" in line
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert "train_folds mlp: interrupted; finished epochs are kept, the same command goes on after them\n" in said
    assert said.splitlines()[-1] == "campaign walk-forward: interrupted; what is finished is kept; the same command goes on"
    assert "Traceback" not in said


def test_sigterm_to_the_door_alone_ends_dvc_and_its_stage(clone):
    clone.params(walk_forward={"seeds": [*SEEDS, 3]})
    with start(clone, ["src/campaign.py", "walk-forward"]) as process:
        while "seed 3: epoch 2/" not in (line := process.stderr.readline()):
            assert line
        process.terminate()
        said = process.communicate(timeout=30)[1]  # ends when the last process that holds standard error does
    assert process.returncode == 128 + signal.SIGTERM
    assert "train_folds: ended, since the dvc that would record it is gone" in said
    assert "Traceback" not in said


def test_an_edit_while_a_stage_runs_is_not_recorded(clone):
    clone.params(walk_forward={"seeds": [*SEEDS, 3]})
    with start(clone, ["src/campaign.py", "walk-forward"]) as process:
        while "seed 3: epoch 2/" not in (line := process.stderr.readline()):
            assert line
        with (clone.directory / "src/learn/loss.py").open("a") as file:
            file.write("# edited\n")
        said = process.communicate()[1]
    assert process.returncode == 1
    assert re.search(r"^train_folds mlp: .*changed while this ran: src/learn/loss.py", said, re.MULTILINE)


# --- refusals -------------------------------------------------------------------------------------------------------


def refused(clone: Clone) -> list[str]:
    """Run the door, which must refuse; lines that are no warnings."""
    done = clone.run(DOOR, fails=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    return [line for line in done.stderr.splitlines() if "warning: " not in line]


STAGE_FAILED = "campaign walk-forward: dvc repro ended with exit code 255 in walk_forward/; see its output above"


def test_the_door_refuses_before_a_stage_runs_with_cures_that_work(clone):
    bars = clone.directory.parent / "bars"
    before = contents(clone)
    clone.params(walk_forward={"folds": ["2024-02-19", "2024-02-26"]})
    assert refused(clone) == [
        "campaign walk-forward: params.yaml: walk_forward: test periods of test_days 8 from 2024-02-19 and 2024-02-26 overlap; "
        "choose days that are as far apart, or lower test_days to 7"
    ]
    clone.params(walk_forward={"folds": len(FOLDS)}, data={"bars": str(bars)})
    (line,) = refused(clone)
    found, cure = re.fullmatch("campaign walk-forward: (.*); write it so: bars: (.*)", line).groups()
    assert found == f"data.bars in params.yaml is {bars}, and walk_forward/dvc.yaml can name relative paths alone"
    clone.params(data={"bars": cure})
    assert below(clone, "dvc status") == "Data and pipelines are up to date.\n"
    assert contents(clone) == before


def test_a_stage_that_refuses_loses_nothing_and_its_cure_works(clone):
    before = contents(clone)
    clone.params(walk_forward={"folds": 9})
    said = refused(clone)
    assert said[0] == (
        "cut_folds: walk_forward.folds is 9, the rows from 2024-01-05T04 to 2024-03-06 have room for 4 of them (train_days 20, "
        "val_days 8, test_days 8); set walk_forward.folds to 4, or shorten the three"
    )
    assert said[-1] == STAGE_FAILED
    clone.params(walk_forward={"folds": 4})
    done = clone.run(DOOR)
    assert (ran(done.stdout), epochs(done.stderr)) == ([], [])
    assert contents(clone) == before


def test_a_fold_of_one_class_is_named(clone):
    """No price moves in the last fold's test."""
    for symbol in ("A", "B", "LATE"):
        frame = make_regimes(0)
        still = frame.index >= FOLDS[-1]
        frame.loc[still, ["Open", "High", "Low", "Close"]] = 100.0
        write_symbol(clone.directory.parent / "bars", symbol, frame)
    last = clone.run("python src/walk_forward/cut_folds.py", fails=True).stderr.splitlines()[-1]
    assert last.startswith("cut_folds: fold 2024-02-27: the test split has only label 0 in its samples; add bars, or change ")
