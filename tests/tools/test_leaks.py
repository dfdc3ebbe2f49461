"""The leak checks pass a sound campaign, and name each leak that is planted."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import generate_data
import simulate_market
from bars.rows import ARRAYS, choose_symbols
from core.params import read_section
from learn.dataset import Split
from scaffold import refusal, write_params
from tools import leaks

DATA = Path("data/training_data")
MARKET = {"assets": 3, "bars": 2500}
SMALL_DATA = {"profit": 0.03, "stop": 0.015}


@pytest.fixture(autouse=True)
def leave_this_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deterministic mode would stay on for the tests after these; flushed denormals confuse hypothesis."""
    monkeypatch.setattr(leaks, "prepare_process", lambda: None)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained, where a leak in the data alone is looked for."""
    monkeypatch.setattr(leaks, "measure_test_auc", lambda splits, assets: 0.5)


@pytest.fixture
def campaign(desk: Path) -> Path:
    write_params(desk, market=MARKET, data=SMALL_DATA)
    simulate_market.main()
    generate_data.main()
    return desk


@pytest.mark.slow
def test_a_sound_campaign_passes_whatever_its_networks_are_set_to(campaign, capsys):
    """Settings with which nothing is learnt are no leak."""
    learns_nothing = {"batch_size": 100_000, "learning_rate": 1e-5, "patience": 1}
    write_params(campaign, market=MARKET, data=SMALL_DATA, train=learns_nothing, mlp={"dropout": 0.99})
    leaks.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert all(line.startswith("ok ") for line in lines)


@pytest.mark.parametrize("change", [{"horizon": 12}, {"features": ["return_1", "atr_14"]}, {"clip": 5.0}, {"barrier": "atr"}])
def test_data_of_other_settings_are_no_leak(campaign, change):
    write_params(campaign, market=MARKET, data=SMALL_DATA | change)
    changed = "has changed since the data were made; make them anew: dvc repro generate_data"
    assert refusal(leaks.main) == f"stage: data.{next(iter(change))} {changed}"


def test_data_with_barriers_in_atr_have_their_own_settings(campaign, untrained):
    in_atr = {"barrier": "atr", "profit_atr": 2.5, "stop_atr": 1.5}
    write_params(campaign, market=MARKET, data=in_atr)
    generate_data.main()
    assert all(check.sound for check in check_truncated_bars(*leaks.read_data()))
    write_params(campaign, market=MARKET, data=in_atr | {"stop_atr": 1.25})
    assert refusal(leaks.main).startswith("stage: data.stop_atr has changed since the data were made")


def test_other_bars_are_no_leak(campaign):
    root = Path("data/simulated")
    shutil.copytree(root / "SIM01", root / "SIM99")
    changed = "has changed since the data were made; make them anew: dvc repro generate_data"
    assert refusal(leaks.main) == f"stage: data.symbols {changed}"
    shutil.rmtree(root / "SIM99")
    root.rename("data/others")
    write_params(campaign, market=MARKET, data=SMALL_DATA | {"bars": "data/others"})
    assert refusal(leaks.main) == f"stage: data.bars {changed}"


def test_assets_that_open_at_different_minutes_are_no_leak(campaign):
    """A bar that is open at the cut belongs to no split."""
    file = Path("data/simulated/SIM02/1Hour/data.parquet")
    frame = pd.read_parquet(file)
    frame.index += pd.Timedelta(minutes=30)
    frame.to_parquet(file)
    generate_data.main()
    metadata, _ = leaks.read_data()
    settings = read_section("data", leaks.Data)
    assert leaks.check_scaler(
        Path(settings.bars), choose_symbols(Path(settings.bars), None), settings.row_rules(), metadata
    ).sound


def check_truncated_bars(metadata: dict, arrays: dict) -> list[leaks.LeakCheck]:
    settings = read_section("data", leaks.Data)
    root = Path(settings.bars)
    return leaks.check_truncated_bars(root, choose_symbols(root, None), settings.row_rules(), settings.clip, metadata, arrays)


def save(name: str, array: np.ndarray) -> None:
    np.save(DATA / f"{name}.npy", array)


def test_a_scaler_fitted_on_everything_is_found(campaign, untrained, capsys):
    metadata = json.loads((DATA / "metadata.json").read_text())
    mean, scale = (np.array(metadata["scaler"][key]) for key in ("mean", "scale"))
    raw = {split: np.load(DATA / f"{split}_X.npy") * scale + mean for split in leaks.SPLITS}
    everything = np.concatenate(list(raw.values()))
    for split, X in raw.items():
        save(f"{split}_X", ((X - everything.mean(axis=0)) / everything.std(axis=0)).astype(np.float32))
    metadata["scaler"] |= {"mean": everything.mean(axis=0).tolist(), "scale": everything.std(axis=0).tolist()}
    (DATA / "metadata.json").write_text(json.dumps(metadata))
    assert "scaler fitted on train alone" in refusal(leaks.main)
    assert "LEAK  scaler fitted on train alone" in capsys.readouterr().out


def test_a_feature_from_one_bar_ahead_is_found_and_named(campaign, untrained, capsys):
    for split in leaks.SPLITS:
        X = np.load(DATA / f"{split}_X.npy")
        X[:-1, 0] = X[1:, 0]
        save(f"{split}_X", X)
    assert "features known at the bar" in refusal(leaks.main)
    assert re.search(
        r"LEAK  features known at the bar: [\d,]+ rows from truncated bars, return_1 differ\n", capsys.readouterr().out
    )


def test_a_feature_that_looks_ahead_in_one_hour_of_the_day_is_found_and_named(campaign):
    """A return over the next 8 bars, written into the rows of 13:00 alone."""
    metadata, arrays = leaks.read_data()
    for part in arrays.values():
        hours = part["timestamps"].astype("datetime64[h]").astype(np.int64) % 24
        ahead = np.append(part["X"][8:, 0], part["X"][:8, 0])
        part["X"][:, 0] = np.where(hours == 13, ahead, part["X"][:, 0])
    features, labels, _ = check_truncated_bars(metadata, arrays)
    assert not features.sound
    assert features.text.endswith("rows from truncated bars, return_1 differ")
    assert labels.sound


@pytest.mark.parametrize(("change", "wrong"), [("feature", 0), ("y", 1), ("mirrored", 2)])
def test_a_single_wrong_label_and_a_column_a_little_off_are_found(campaign, change, wrong):
    metadata, arrays = leaks.read_data()
    part = arrays["val"]
    own = np.flatnonzero(part["asset_ids"] == 1)
    checked = own[np.linspace(0, len(own) - 1, leaks.CUTS_PER_ASSET).round().astype(int)]
    row = checked[part["y"][checked] >= 0][3]
    if change == "feature":
        part["X"][row, 4] += 0.01
    else:
        part[change][row] ^= 1
    checks = check_truncated_bars(metadata, arrays)
    assert [check.subject for check in checks if not check.sound] == [checks[wrong].subject]
    assert (
        checks[wrong].text.endswith("truncated bars, sma_20 differ")
        if change == "feature"
        else (checks[wrong].text.startswith("1 of "))
    )


def test_a_mirrored_label_where_no_sample_ends_is_found(campaign):
    """The purge leaves neither label."""
    metadata, arrays = leaks.read_data()
    part = arrays["train"]
    last = np.flatnonzero(part["asset_ids"] == 0)[-1]
    assert (part["y"][last], part["mirrored"][last]) == (-1, -1)
    part["mirrored"][last] = 0
    _, labels, mirrored = check_truncated_bars(metadata, arrays)
    assert (labels.sound, mirrored.sound) == (True, False)


@pytest.mark.slow
def test_what_is_learnt_from_shuffled_labels_is_a_leak_where_chance_would_rarely_reach_it(campaign, monkeypatch):
    """Chance being random scores of the same labels."""
    _, arrays = leaks.read_data()
    rng, distance = np.random.default_rng(1), 0.0

    def trained(splits: dict[str, Split], assets: int) -> float:
        y = splits["test"].y.numpy()
        return 0.5 + distance * np.std([roc_auc_score(y, rng.random(len(y))) for _ in range(400)])

    monkeypatch.setattr(leaks, "measure_test_auc", trained)
    for distance, sound in ((2.5, True), (-2.5, True), (4.0, False), (-4.0, False)):
        assert leaks.check_shuffled_labels(arrays, 24, 3).sound == sound, distance


def test_a_column_of_the_files_that_knows_the_future_is_found_and_named(desk):
    """Bars cut off cannot tell: the file has it from the start."""
    write_params(desk, market={"assets": 2, "bars": 1500}, data={"features": ["return_1", "flow", "noise"]})
    simulate_market.main()
    for file in Path("data/simulated").glob("*/1Hour/data.parquet"):
        frame = pd.read_parquet(file)
        ahead = np.log(frame["Close"].shift(-8) / frame["Close"]).fillna(0.0)
        frame.assign(flow=ahead, noise=np.random.default_rng(0).random(len(frame))).to_parquet(file)
    generate_data.main()
    metadata, arrays = leaks.read_data()
    check = leaks.check_single_columns(metadata, arrays)
    assert not check.sound
    assert "most by flow" in check.text
    known, *_ = check_truncated_bars(metadata, arrays)
    assert known.text.endswith("none differs; not checked, since they are columns of the files: flow, noise")


def test_a_missing_purge_is_found(campaign, untrained, capsys):
    y, ids = np.load(DATA / "train_y.npy"), np.load(DATA / "train_asset_ids.npy")
    last = np.flatnonzero(np.append(np.diff(ids) != 0, True))
    for row in last:
        y[row - 7 : row + 1] = 0
    save("train_y", y)
    assert "train trades ended before val" in refusal(leaks.main)
    assert "LEAK  train trades ended before val: -8 hours before" in capsys.readouterr().out


@pytest.mark.slow
def test_test_samples_in_train_are_found(campaign, capsys):
    for name in ARRAYS:
        save(f"train_{name}", np.load(DATA / f"test_{name}.npy"))
        save(f"val_{name}", np.load(DATA / f"test_{name}.npy"))
    refused = refusal(leaks.main)
    assert "one cut for all assets" in refused
    assert "shuffled labels teach nothing" in refused, "they are learnt by heart where test is trained on"


@pytest.mark.slow
def test_windows_that_end_a_bar_too_early_are_found(campaign, monkeypatch):
    """The label itself is among the features, and out of sight."""
    gather = Split.gather

    def early(self: Split, order: torch.Tensor) -> tuple:
        return gather(dataclasses.replace(self, ends=(self.ends - 1).clamp(min=self.lookback - 1)), order)

    monkeypatch.setattr(Split, "gather", early)
    assert "an oracle feature is learnt" in refusal(leaks.main)


@pytest.mark.slow
def test_the_audit_of_real_bars(real_bars, desk, monkeypatch, capsys):
    write_params(desk, data={"bars": str(real_bars)})
    generate_data.main()
    leaks.main()
    assert capsys.readouterr().out.count("ok ") == 10
