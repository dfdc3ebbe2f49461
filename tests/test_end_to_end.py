"""The whole pipeline with the real tools, on a campaign of seconds, in a repository of its own."""

import csv
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from core import checkpoint
from core.dataset import Split
from core.fit import predict
from core.metrics import score_table, sigmoid
from evaluate import ARCHITECTURES, REFERENCES, load_model
from scaffold import Clone, make_frame, write_symbol

pytestmark = pytest.mark.slow
MODELS = (*ARCHITECTURES, *REFERENCES)
TRAIN = [f"train_{name}" for name in ARCHITECTURES]
ALL = ["simulate_market", "generate_data", *TRAIN, "fit_references", "evaluate", "compare"]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(tmp_path_factory.mktemp("campaign"))
    done = clone.run("dvc repro")
    assert re.findall(r"^Running stage '(\w+)'", done.stdout, re.MULTILINE) == ALL
    clone.log = done.stderr
    clone.commit()
    return clone


def read_lock(text: str) -> dict:
    return YAML(typ="safe").load(text)["stages"]


def test_every_stage_leaves_what_it_promises(campaign):
    root = campaign.directory
    for split in ("train", "val", "test"):
        for name in ("X", "y", "asset_ids", "timestamps", "returns", "held"):
            assert (root / f"data/training_data/{split}_{name}.npy").is_file()
    for name in ("scalers.joblib", "asset_id_mapping.json", "metadata.json"):
        assert (root / "data/training_data" / name).is_file()
    for name in ARCHITECTURES:
        files = {file.name for file in (root / "models" / name).iterdir()}
        assert files == {"best_model.pt", "seed_1.pt", "seed_2.pt", "scalers.joblib", "training_history.csv"}
        with (root / "models" / name / "training_history.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [(row["seed"], row["epoch"]) for row in rows] == [(s, e) for s in "12" for e in "123"]
        wanted = {"train_loss", "val_loss", "train_f1", "val_f1", "val_precision", "val_recall", "val_pr_auc", "learning_rate"}
        assert wanted | {"threshold"} <= set(rows[0])
        best = campaign.read(f"metrics/train/{name}.json")["best_seed"]
        assert (root / f"models/{name}/best_model.pt").read_bytes() == (root / f"models/{name}/seed_{best}.pt").read_bytes()
    for name in MODELS:
        assert (root / f"plots/confusion/{name}.png").read_bytes().startswith(b"\x89PNG")
    keys = {tuple(campaign.read(f"metrics/test/{name}.json")) for name in MODELS}
    assert len(keys) == 1
    for name in ("comparison.md", "comparison.html", "decisions.md"):
        assert "SIMULATED" in (root / "reports" / name).read_text()
    assert not (root / ".checkpoints").exists(), "a finished campaign leaves no checkpoint"
    assert not list(root.rglob("*.tmp"))


def test_evaluate_finds_the_validation_numbers_that_training_reported(campaign):
    judged = campaign.read("metrics/evaluate.json")["models"]
    for name in ARCHITECTURES:
        for trained, scored in zip(campaign.read(f"metrics/train/{name}.json")["seeds"], judged[name]["val"], strict=True):
            for key in ("val_f1_score_positive_class", "val_pr_auc"):
                assert scored[key.removeprefix("val_")] == trained[key]


def test_a_model_file_alone_gives_the_reported_scores(campaign, monkeypatch):
    """Rebuilt from models/ and data/ by hand, as someone who wants to use it would."""
    monkeypatch.chdir(campaign.directory)
    arrays = [np.load(f"data/training_data/test_{name}.npy") for name in ("X", "y", "asset_ids")]
    split = Split.of(*arrays, lookback=campaign.read("data/training_data/metadata.json")["lookback"])
    for name in ARCHITECTURES:
        model, content = load_model(Path(f"models/{name}/seed_2.pt"))
        table = score_table(split.y.numpy().astype(float), sigmoid(predict(model, split)), content["threshold"])
        reported = campaign.read("metrics/evaluate.json")["models"][name]["test"][1]
        assert {key: reported[key] for key in table} == pytest.approx(table, rel=1e-5)


def test_what_is_searched_exceeds_every_reference_on_validation(campaign):
    compared = campaign.read("metrics/compare.json")
    f1 = {name: model["val"]["f1"]["mean"] for name, model in compared["models"].items()}
    most = max(f1[name] for name, model in compared["models"].items() if model["kind"] == "reference")
    for name in ARCHITECTURES:
        (gate,) = [gate for gate in compared["gates"][name] if gate["gate"].endswith(", the best reference")]
        assert (gate["value"], gate["threshold"], gate["passed"]) == (f1[name], most, f1[name] > most)
        if not gate["passed"]:
            assert name in compared["search_first"]["set_aside"]


def test_a_log_file_gets_plain_lines(campaign):
    assert "\r" not in campaign.log
    assert "\x1b" not in campaign.log
    line = r"^gru seed 2: epoch 3/3: train/val loss 0\.\d+/0\.\d+, F1 0\.\d+/0\.\d+, best 0\.\d+ at \d$"
    assert len(re.findall(line, campaign.log, re.MULTILINE)) == 1
    assert re.search(r"^gru seed 2: stopped after epoch 3: all epochs done; best validation F1 0\.", campaign.log, re.MULTILINE)


def test_nothing_changed_reruns_nothing(campaign):
    assert campaign.repro() == []


def test_the_leaderboard_is_dvc_metrics_show(campaign):
    shown = json.loads(campaign.run("dvc metrics show --json").stdout)[""]["data"]
    assert set(shown) == {f"metrics/test/{name}.json" for name in MODELS}
    assert all("test_f1_score_positive_class" in row["data"] for row in shown.values())


def test_the_charts_have_colours_by_model_and_need_no_network(campaign):
    shown = json.loads(campaign.run("dvc plots show --json").stdout)["data"]
    charts = {"learning_curves", "pr_curves", "roc_curves", "calibration_curves"}
    assert charts <= set(shown)
    for name in sorted(charts):
        (chart,) = shown[name]
        assert '"field": "model"' in json.dumps(chart["content"]).replace('\\"', '"')
    campaign.run("dvc plots show -o shown")
    page = (campaign.directory / "shown/index.html").read_text()
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)\s*=\s*[\"']?(?:https?:)?//[^>]*", page)
    assert "vega" in page


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ({"evaluate": {"cost_per_trade": 0.001}}, ["evaluate", "compare"]),
        ({"compare": {"confidence": 0.9}}, ["compare"]),
        ({"gru": {"hidden_size": 12}}, ["train_gru", "evaluate", "compare"]),
        ({"references": {"boosting_rounds": 4}}, ["fit_references", "evaluate", "compare"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_changed_parameter_reruns_just_what_it_touches(campaign, change, rerun):
    campaign.params(**change)
    assert campaign.repro() == rerun
    campaign.run("git checkout -q params.yaml dvc.lock metrics reports")
    campaign.run("dvc checkout")
    assert campaign.repro() == []


def test_a_changed_network_reruns_its_training_and_the_judging(campaign):
    script = campaign.directory / "src/train_cnn_lstm.py"
    script.write_text(script.read_text() + "\n# a comment counts: DVC compares bytes\n")
    assert campaign.repro()[0] == "train_cnn_lstm"
    campaign.run("git checkout -q src dvc.lock")
    campaign.run("dvc checkout")


def test_one_stage_can_be_named(campaign):
    campaign.params(train={"learning_rate": 0.002})
    assert campaign.repro("train_gru") == ["train_gru"]
    campaign.run("git checkout -q params.yaml dvc.lock")
    campaign.run("dvc checkout")


def test_a_failed_stage_is_one_line_and_loses_nothing(campaign):
    before = campaign.lock()
    kept = (campaign.directory / "models/mlp/best_model.pt").read_bytes()
    campaign.params(data={"lookback": 0}, mlp={"dropout": "0.3"})
    done = campaign.run("dvc repro", fails=True)
    assert "generate_data: params.yaml: data.lookback is 0; it must be greater than or equal to 1" in done.stderr
    assert "Traceback" not in done.stderr
    campaign.params(data={"lookback": 24})
    done = campaign.run("dvc repro train_mlp", fails=True)
    assert "train_mlp: params.yaml: mlp.dropout is '0.3'; it must be a valid number, not text in quotes" in done.stderr
    campaign.run("git checkout -q params.yaml dvc.lock")
    campaign.run("dvc checkout")
    assert (campaign.directory / "models/mlp/best_model.pt").read_bytes() == kept
    assert campaign.repro() == []
    assert campaign.lock() == before


def test_a_terminal_gets_bars(campaign):
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))  # rows, columns
    command = [sys.executable, "src/train_mlp.py"]
    with subprocess.Popen(
        command, cwd=campaign.directory, stderr=child, stdout=child, env=os.environ | {"CAMPAIGN_JOBS": "1"}
    ) as process:
        os.close(child)
        shown = b""
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
    os.close(parent)
    assert process.returncode == 0
    text = shown.decode()
    assert re.search(r"mlp seed 1 \|█+\| 3/3 \d\d:\d\d<00:00, F1 0\.\d+/0\.\d+ best 0\.\d+ at \d loss 0\.\d+/0\.\d+", text)
    assert "stopped after epoch 3: all epochs done" in text
    assert campaign.repro() == [], "the same bytes as before"


def test_own_bars_are_one_switch(campaign, tmp_path):
    """An absolute path, as an experiment; what was simulated before is not touched."""
    for number, symbol in enumerate(("AAA", "BBB")):
        write_symbol(tmp_path, symbol, make_frame(900, seed=number, volatility=0.015))
    done = campaign.run(f"dvc exp run --name own -S data.bars={tmp_path} -S train.epochs=1")
    assert re.findall(r"^Running stage '(\w+)'", done.stdout, re.MULTILINE) == ALL[1:]
    assert campaign.read("data/training_data/metadata.json")["assets"] == ["AAA", "BBB"]
    assert "SIMULATED" not in (campaign.directory / "reports/comparison.md").read_text()
    table = campaign.run("dvc exp show --csv").stdout
    assert "own" in table
    assert str(tmp_path) in table
    campaign.run("git checkout -q .")
    campaign.run("dvc checkout")
    assert campaign.repro() == []


def test_another_clone_with_everything_else_different_gives_the_same_bytes(campaign, tmp_path):
    """`make verify` in another directory, one job, more threads, another umask, locale, time zone, hash seed and taste in
    pictures, the bars' path spelt otherwise; one out is tampered with."""
    lock = campaign.lock()
    genuine = re.search(r"path: plots/roc_curves.csv\n      hash: md5\n      md5: (\w+)", lock).group(1)
    (campaign.directory / "dvc.lock").write_text(lock.replace(genuine, "deadbeef" * 4))
    params = campaign.directory / "params.yaml"
    params.write_text(params.read_text().replace("data/simulated", "./data/simulated"))
    campaign.commit()
    originals = {path: path.stat().st_ino for path in (campaign.directory / "data/simulated").rglob("*.parquet")}
    assert originals
    (tmp_path / "matplotlibrc").write_text("font.size: 20\naxes.facecolor: pink\n")
    done = campaign.run(
        "sh -c 'umask 077; exec python src/verify.py'",
        fails=True,
        CAMPAIGN_JOBS="1",
        OMP_NUM_THREADS="7",
        TZ="Asia/Kathmandu",
        LC_ALL="C",
        PYTHONHASHSEED="7",
        MATPLOTLIBRC=str(tmp_path / "matplotlibrc"),
        MPLBACKEND="module://a_notebook",
    )
    assert {path: path.stat().st_ino for path in originals} == originals
    results = [line.split() for line in done.stdout.splitlines() if line.startswith(("identical", "DIFFERENT"))]
    assert [path for verdict, path in results if verdict == "DIFFERENT"] == ["plots/roc_curves.csv"]
    assert {path for _, path in results} == {out["path"] for stage in read_lock(lock).values() for out in stage["outs"]}
    assert done.stderr.splitlines()[-1] == f"verify: 1 of {len(results)} outs differ from dvc.lock"
    campaign.run("git reset -q --hard HEAD~1")


def test_no_out_holds_what_changes_by_itself(campaign):
    """No path of this machine, no host, no user, no time of day."""
    forbidden = [str(campaign.directory), os.uname().nodename, str(Path.home()), sys.prefix]
    for name in ("data", "models", "metrics", "plots", "reports"):
        for file in (campaign.directory / name).rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                assert not [word for word in forbidden if len(word) > 3 and word.encode() in content], file


def test_a_model_that_does_not_belong_to_the_data_is_refused(campaign):
    model = campaign.directory / "models/mlp/seed_1.pt"
    genuine = model.read_bytes()
    content = checkpoint.from_bytes(genuine)
    content["weights"]["head.weight"] = -content["weights"]["head.weight"]
    model.unlink()
    model.write_bytes(checkpoint.to_bytes(content))
    refused = campaign.run("python src/evaluate.py", fails=True).stderr.splitlines()[-1]
    assert re.match(r"evaluate: models/mlp/seed_1.pt scores validation F1 0\.\d+, training reported 0\.\d+", refused)
    assert refused.endswith("run dvc repro --force train_mlp")
    model.write_bytes(genuine[:3000])  # while other seeds are being scored
    damaged = campaign.run("python src/evaluate.py", fails=True)
    assert damaged.returncode == 1
    assert damaged.stderr.splitlines()[-1].startswith("evaluate: models/mlp/seed_1.pt is not a model of this campaign")
    model.write_bytes(genuine)
    campaign.run("dvc checkout --force")


INTERRUPTED = """
import os, signal, sys, threading, time
sys.path.insert(0, "src")
import evaluate, stage, torch

calls = []
def scoring(model, split):
    calls.append(split)
    if len(calls) == 2:
        for moment in range(3):
            threading.Timer(0.2 * moment, os.kill, (os.getpid(), signal.SIGINT)).start()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        torch.ones(64, 64) @ torch.ones(64, 64)

evaluate.predict = scoring
stage.run(evaluate.main)
"""


def test_ctrl_c_while_networks_are_scored_is_an_interrupt_and_no_abort(campaign):
    (campaign.directory / "interrupted.py").write_text(INTERRUPTED)
    done = campaign.run("python interrupted.py", fails=True)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "interrupted: interrupted"
