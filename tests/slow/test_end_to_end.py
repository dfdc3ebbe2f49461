"""The whole pipeline with the real tools, on a campaign of seconds, in a repository of its own."""

import csv
import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from scipy.special import logit
from scipy.stats import norm, spearmanr
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, log_loss, precision_recall_curve, roc_auc_score, roc_curve

from bars.rows import ARRAYS
from core.cross_fitting import halves
from core.files import write_array
from core.metrics import sigmoid
from drawn_reference import Drawn, Errors, cross_fitted, daily_return, direction, on_test, weights_of
from judge.evaluation import read_evaluation
from judge.money import Trades
from judge.names import NO_CURVE, REFERENCES, Roster
from judge.scores import Predictions, judge_model
from judge.uncertainty import DrawnDays
from learn import checkpoint
from learn.dataset import Split
from learn.fit import predict
from learn.models import load_model
from reference import (
    EPSILON,
    best_f1,
    calibrate,
    calibration_bins,
    cross_fitted_f1,
    direction_auc,
    enter,
    measure,
    measure_groups,
    samples_of,
    trade,
)
from scaffold import Clone, make_frame, write_symbol
from terminal import Terminal

pytestmark = pytest.mark.slow
NETWORKS = {"mlp": "MLP", "lstm": "LSTM + attention", "gru": "GRU + attention", "cnn_lstm": "CNN-LSTM"}
ARCHITECTURES = tuple(NETWORKS)
NAMES = Roster(NETWORKS).labels
MODELS = (*ARCHITECTURES, *REFERENCES)
COST = 0.003
MIN_TRADES = 30
TRAIN = [f"train_{name}" for name in ARCHITECTURES]
ALL = ["simulate_market", "generate_data", *TRAIN, "fit_references", "evaluate", "compare"]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(
        tmp_path_factory.mktemp("campaign"),
        market={"bars": 1900},
        data={"splits": [0.6, 0.15, 0.25]},  # validation and test of different lengths
        train={"seeds": [10, 7]},  # in no order of numbers; of some networks test has another best one than validation
        references={"max_windows": 1000},
        compare={"block_days": 3, "seed": 5},
    )
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
        for name in ARRAYS:
            assert (root / f"data/training_data/{split}_{name}.npy").is_file()
    for name in ("scalers.joblib", "asset_id_mapping.json", "metadata.json"):
        assert (root / "data/training_data" / name).is_file()
    for name in ARCHITECTURES:
        files = {file.name for file in (root / "models" / name).iterdir()}
        of_seeds = {f"seed_{seed}{kind}" for seed in (7, 10) for kind in (".pt", "_val_half_logits.npy")}
        assert files == of_seeds | {"best_model.pt", "network.json", "scalers.joblib", "training_history.csv"}
        with (root / "models" / name / "training_history.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [(row["seed"], row["epoch"]) for row in rows] == [(s, e) for s in ("7", "10") for e in "123"]
        wanted = {"train_loss", "val_loss", "train_f1", "val_f1", "val_precision", "val_recall", "val_pr_auc", "learning_rate"}
        assert wanted | {"threshold", "val_f1_first_half", "val_f1_second_half"} <= set(rows[0])
        best = campaign.read(f"metrics/train/{name}.json")["best_seed"]
        assert (root / f"models/{name}/best_model.pt").read_bytes() == (root / f"models/{name}/seed_{best}.pt").read_bytes()
    for name in MODELS:
        assert (root / f"plots/confusion/{name}.png").read_bytes().startswith(b"\x89PNG")
    choices, judged = campaign.read("data/predictions/choices.json"), campaign.read("metrics/evaluate.json")["models"]
    assert list(choices) == list(MODELS) == list(judged)
    for name in MODELS:
        plural = [(key, f"{key}s") for key in ("seed", "threshold", "money_threshold", "calibration")]
        assert choices[name] == [
            {key: judged[name][keys][row] for key, keys in plural} for row in range(len(judged[name]["seeds"]))
        ]
    keys = {tuple(campaign.read(f"metrics/test/{name}.json")) for name in MODELS}
    assert len(keys) == 1
    for name in ("comparison.md", "comparison.html", "decisions.md"):
        assert "SIMULATED" in (root / "reports" / name).read_text()
    assert not (root / ".checkpoints").exists(), "a finished campaign leaves no checkpoint"
    assert not list(root.rglob("*.tmp"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_logits_of_a_half_are_those_of_the_epoch_that_was_best_on_it(campaign, name):
    root = campaign.directory
    y, times = (np.load(root / f"data/training_data/val_{array}.npy") for array in ("y", "timestamps"))
    half = halves(y, times, campaign.read("data/training_data/metadata.json")["horizon"])
    y = y[y >= 0]
    with (root / "models" / name / "training_history.csv").open() as file:
        history = list(csv.DictReader(file))
    for trained in campaign.read(f"metrics/train/{name}.json")["seeds"]:
        logits = np.load(root / f"models/{name}/seed_{trained['seed']}_val_half_logits.npy")
        assert (logits.dtype, logits.shape) == (np.float32, (2, len(y)))
        for number, column in enumerate(("val_f1_first_half", "val_f1_second_half")):
            by_epoch = [float(row[column]) for row in history if row["seed"] == str(trained["seed"])]
            assert trained["half_best_epochs"][number] == by_epoch.index(max(by_epoch)) + 1
            own = half == number
            assert best_f1(y[own], logits[number][own]) == pytest.approx(max(by_epoch))


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
        model, content = load_model(Path(f"models/{name}/seed_10.pt"))
        y, scores = split.y.numpy(), sigmoid(predict(model, split))
        reported = campaign.read("metrics/evaluate.json")["models"][name]["test"][1]
        f1 = f1_score(y, scores >= content["threshold"])
        assert reported["f1_score_positive_class"] == pytest.approx(f1, rel=1e-5)
        assert reported["pr_auc"] == pytest.approx(average_precision_score(y, scores), rel=1e-5)
        assert reported["log_loss"] == pytest.approx(log_loss(y, scores), rel=1e-5)


def split_of(campaign: Clone, split: str) -> dict[str, np.ndarray]:
    return {name: np.load(campaign.directory / f"data/training_data/{split}_{name}.npy") for name in ARRAYS}


def trades_of(campaign: Clone) -> dict[str, Trades]:
    arrays = {split: split_of(campaign, split) for split in ("val", "test")}
    return {split: Trades.of(own, np.full(own["asset_ids"].max() + 1, COST)) for split, own in arrays.items()}


def half_of(campaign: Clone) -> np.ndarray:
    val = split_of(campaign, "val")
    return halves(val["y"], val["timestamps"], campaign.read("data/training_data/metadata.json")["horizon"])


def predictions(campaign: Clone, name: str, folder: str = "data/predictions") -> dict[str, np.ndarray]:
    return {split: np.load(campaign.directory / folder / f"{name}_{split}.npy") for split in ("val", "test")}


def judged_samples(campaign: Clone) -> dict[str, pd.DataFrame]:
    return {split: samples_of(split_of(campaign, split)) for split in ("val", "test")}


def evaluated(campaign: Clone, name: str) -> dict:
    return campaign.read("metrics/evaluate.json")["models"][name]


def approximate(value: object) -> object:
    """The same value, nested or not, with every number approximate."""
    if isinstance(value, dict):
        return {key: approximate(item) for key, item in value.items()}
    return value if value is None else pytest.approx(value, rel=1e-6, abs=1e-9)


def fit_calibration(y: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of a logistic regression on log odds; where the slope is not above 0, the share of positives."""
    log_odds = logit(np.clip(scores, EPSILON, 1 - EPSILON))
    spread = log_odds.std() or 1.0
    fitted = LogisticRegression(C=np.inf, tol=1e-8).fit((log_odds / spread)[:, None], y)
    slope = fitted.coef_[0, 0] / spread
    if np.ptp(log_odds) == 0 or slope <= 0:
        return 0.0, logit(y.mean())
    return slope, fitted.intercept_[0]


@pytest.mark.parametrize("name", MODELS)
def test_thresholds_calibrations_and_the_best_seed_are_chosen_on_validation(campaign, name):
    samples, scored = judged_samples(campaign)["val"], predictions(campaign, name)["val"]
    y, model, f1 = samples["y"].to_numpy(), evaluated(campaign, name), []
    assert model["seeds"] == ([7, 10] if name in ARCHITECTURES else [None])
    for number, (scores, threshold) in enumerate(zip(scored, model["thresholds"], strict=True)):
        f1.append(f1_score(y, scores >= threshold))
        assert f1[-1] == pytest.approx(best_f1(y, scores))
        slope, intercept = fit_calibration(y, scores)
        assert model["calibrations"][number] == pytest.approx({"slope": slope, "intercept": intercept}, rel=1e-3, abs=1e-5)
        for_f1 = trade(samples, scores >= threshold, COST)
        least = for_f1["mean_return_net"] if for_f1["trades"] >= MIN_TRADES else 0.0  # also a candidate
        if (for_money := model["money_thresholds"][number]) is None:
            assert least <= 0
        else:
            money = trade(samples, scores >= for_money, COST)
            assert money["trades"] >= MIN_TRADES and money["mean_return_net"] >= max(least, 0.0) - 1e-12
    assert model["best_seed"] == model["seeds"][int(np.argmax(f1))]
    ensemble = scored.mean(axis=0)
    assert f1_score(y, ensemble >= model["ensemble"]["threshold"]) == pytest.approx(best_f1(y, ensemble))


@pytest.mark.parametrize("name", MODELS)
def test_validation_is_cross_fitted(campaign, name):
    y, half, model = judged_samples(campaign)["val"]["y"].to_numpy(), half_of(campaign), evaluated(campaign, name)
    scored = np.load(campaign.directory / f"data/predictions/{name}_val_halves.npy")
    assert scored.shape == (len(model["seeds"]), 2, len(y)) and scored.dtype == np.float64
    for scores, found in zip(scored, model["cross_fitted"], strict=True):
        for own in (0, 1):
            of_half, threshold = half == own, found["thresholds"][own]
            f1 = f1_score(y[of_half], scores[own, of_half] >= threshold, zero_division=0)
            assert f1 == pytest.approx(best_f1(y[of_half], scores[own, of_half]))
        assert found["f1"] == pytest.approx(cross_fitted_f1(y, scores, half, found["thresholds"]))


@pytest.mark.parametrize("name", MODELS)
def test_every_metric_follows_from_the_predictions_and_what_was_chosen(campaign, name):
    samples, scored, model = judged_samples(campaign), predictions(campaign, name), evaluated(campaign, name)
    base_rate, keys = samples["val"]["y"].mean(), ("thresholds", "money_thresholds", "calibrations")
    for split in samples:
        chosen = zip(scored[split], *(model[key] for key in keys), strict=True)
        for seed, found in zip(chosen, model[split], strict=True):
            expected = measure(samples[split], *seed, base_rate, COST)
            assert list(found) == list(expected)
            assert found == approximate(expected)
        ensemble, of_ensemble = scored[split].mean(axis=0), model["ensemble"]
        chosen = (of_ensemble[key.removesuffix("s")] for key in keys)
        assert of_ensemble[split] == approximate(measure(samples[split], ensemble, *chosen, base_rate, COST))


def test_holding_all_assets_is_measured_on_both_splits(campaign):
    found = campaign.read("metrics/evaluate.json")["buy_and_hold"]
    for split in ("val", "test"):
        own, values = pd.DataFrame({name: column for name, column in split_of(campaign, split).items() if name != "X"}), {}
        for asset, rows in own.groupby("asset_ids"):
            held = rows.loc[rows.index[rows["y"] >= 0][0] :].set_index("timestamps")["closes"]
            values[asset] = held / held.iloc[0] - COST
        equity = pd.DataFrame(values).sort_index().ffill().fillna(1).mean(axis=1)
        peaks = equity.cummax().clip(lower=1)
        assert found[split]["total_return"] == pytest.approx(equity.iloc[-1] - 1)
        assert found[split]["max_drawdown"] == pytest.approx((1 - equity / peaks).max())


@pytest.mark.parametrize("name", MODELS)
def test_every_asset_and_month_is_measured_on_test(campaign, name):
    samples, scored, model = judged_samples(campaign)["test"], predictions(campaign, name)["test"], evaluated(campaign, name)
    numbers = campaign.read("data/training_data/asset_id_mapping.json")
    symbols = samples["asset_ids"].map({number: symbol for symbol, number in numbers.items()})
    for key, groups in {"by_asset": symbols, "by_month": samples["month"]}.items():
        for table, scores, threshold in zip(model[key], scored, model["thresholds"], strict=True):
            assert table == approximate(measure_groups(samples, groups, scores, threshold))


@pytest.mark.parametrize("name", MODELS)
def test_the_leaderboard_has_means_over_seeds(campaign, name):
    model, row = evaluated(campaign, name), campaign.read(f"metrics/test/{name}.json")
    val, test = pd.DataFrame(model["val"]), pd.DataFrame(model["test"])
    money = pd.DataFrame(test.pop("money").tolist())
    keys = ("f1_score_positive_class", "pr_auc", "roc_auc", "direction_auc", "precision", "recall", "brier_score", "brier_skill")
    expected = {f"test_{key}": test[key].mean() for key in keys}
    expected |= {f"val_{key}": val[key].mean() for key in ("f1_score_positive_class", "pr_auc")}
    expected["val_f1_cross_fitted"] = fmean(own["f1"] for own in model["cross_fitted"])
    for key in ("trades", "mean_return_net", "total_return_net"):
        expected[f"test_{key}"] = None if money[key].isna().any() else money[key].mean()
    expected["test_f1_std_over_seeds"] = test["f1_score_positive_class"].std() if len(test) > 1 else None
    assert row == approximate(expected)


@pytest.mark.parametrize("name", MODELS)
def test_the_curves_are_those_of_the_best_seed_on_test(campaign, name):
    model, samples = evaluated(campaign, name), judged_samples(campaign)["test"]
    scores, y = predictions(campaign, name)["test"][model["seeds"].index(model["best_seed"])], samples["y"].to_numpy()
    rows = {}
    for kind in ("pr", "roc", "calibration", "threshold"):
        table = pd.read_csv(campaign.directory / f"plots/{kind}_curves.csv")
        rows[kind] = table[table["model"] == NAMES[name]].drop(columns="model")
    if name in NO_CURVE:
        assert all(table.empty for table in rows.values())
        return

    def points(*columns: np.ndarray) -> set[tuple[float, ...]]:
        return set(zip(*(np.round(column, 9).tolist() for column in columns), strict=True))

    precision, recall, _ = precision_recall_curve(y, scores)
    assert points(rows["pr"]["recall"], rows["pr"]["precision"]) <= points(recall, precision)
    fpr, tpr, _ = roc_curve(y, scores, drop_intermediate=False)
    assert points(rows["roc"]["fpr"], rows["roc"]["tpr"]) <= points(fpr, tpr)
    assert rows["calibration"].to_numpy() == pytest.approx(calibration_bins(y, scores).to_numpy())
    assert rows["threshold"]["share_called"].iloc[-1] == 1
    for point in rows["threshold"].itertuples():
        returns, hits = samples["returns"][scores >= point.threshold], y[scores >= point.threshold]
        assert (point.trades, point.share_called) == (len(hits), pytest.approx(len(hits) / len(y)))
        assert point.precision == pytest.approx(hits.mean())
        assert (point.mean_return, point.mean_return_net) == pytest.approx((returns.mean(), returns.mean() - COST))


def test_references_are_fitted_on_evenly_spaced_train_windows(campaign):
    """Each once more, by other ways, on a thousand of them from the first to the last."""
    metadata = campaign.read("data/training_data/metadata.json")
    own = YAML(typ="safe").load(campaign.directory / "params.yaml")["references"]
    features, lookback = metadata["features"], metadata["lookback"]
    x, y, ids, last = {}, {}, {}, {}
    for split in ("train", "val", "test"):
        part = split_of(campaign, split)
        ends = [row for row, label in enumerate(part["y"]) if label >= 0]
        if split == "train":
            assert len(ends) > 1500
            ends = [ends[round(k * (len(ends) - 1) / 999)] for k in range(1000)]
        x[split] = np.stack([part["X"][end - lookback + 1 : end + 1].ravel() for end in ends])
        y[split], ids[split], last[split] = part["y"][ends], part["asset_ids"][ends], part["X"][ends]

    areas = [roc_auc_score(y["train"], column) for column in last["train"].T]
    best = int(np.argmax(np.abs(np.array(areas) - 0.5)))
    found = campaign.read("models/references/one_column.json")
    assert found["column"] == features[best] == campaign.read("metrics/evaluate.json")["one_column"]
    assert found["train_roc_auc"] == pytest.approx(max(areas[best], 1 - areas[best]))
    boosting = HistGradientBoostingClassifier(
        max_iter=own["boosting_rounds"],
        learning_rate=own["boosting_learning_rate"],
        max_leaf_nodes=own["boosting_leaves"],
        min_samples_leaf=own["boosting_min_leaf"],
        early_stopping=False,
    ).fit(x["train"], y["train"])
    logistic = LogisticRegression(C=own["logistic_c"], tol=1e-6, max_iter=5000).fit(x["train"].astype(float), y["train"])
    positives = pd.Series(y["train"]).groupby(ids["train"]).mean()
    assert positives.nunique() == 2
    for split in ("val", "test"):
        scored = {name: predictions(campaign, name, "models/references")[split] for name in REFERENCES}
        assert abs(spearmanr(scored["one_column"], last[split][:, best]).statistic) == pytest.approx(1)
        assert scored["prior"] == pytest.approx(positives[ids[split]].to_numpy())
        assert (scored["always_positive"] == 1).all()
        assert scored["gradient_boosting"] == pytest.approx(boosting.predict_proba(x[split])[:, 1])
        assert scored["logistic_regression"] == pytest.approx(logistic.predict_proba(x[split].astype(float))[:, 1], abs=1e-3)
        for name in REFERENCES:
            assert (predictions(campaign, name)[split] == scored[name]).all()


LUCK = {  # which splits each knows, and what share of them its seeds get wrong
    "mlp": (["val"], [0.04, 0.02]),
    "gru": (["test"], [0.04, 0.02]),
    "prior": (["test"], [0.15]),
    "lstm": (["val"], [0.15, 0.14]),
    "one_column": (["val", "test"], [0.25]),
}


@pytest.fixture(scope="module")
def lucky(campaign: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The campaign compared once more, as if each of these had known the labels of some splits, and nothing of others."""
    clone = Clone.of(tmp_path_factory.mktemp("lucky"))
    left = shutil.ignore_patterns(".git", ".dvc", "*.pt", "simulated")
    shutil.copytree(campaign.directory, clone.directory, dirs_exist_ok=True, ignore=left)
    clone.params(compare={"confidence": 0.8})
    trades, path = trades_of(clone), clone.directory / "metrics/evaluate.json"
    evaluation, symbols = read_evaluation(path), clone.read("data/training_data/metadata.json")["assets"]
    rng = np.random.default_rng(0)
    for name, (known, wrong) in LUCK.items():
        seeds, scored = len(wrong), {}
        for split, own in trades.items():
            share = np.array(wrong if split in known else [0.45, 0.52][-seeds:])[:, None]
            told = np.where(rng.random((seeds, len(own.y))) < share, 1 - own.y, own.y)
            scored[split] = np.clip(rng.normal(0.25 + 0.5 * told, 0.08), 0.01, 0.99)
            write_array(clone.directory / f"data/predictions/{name}_{split}.npy", scored[split])
        scored["val_halves"] = np.stack([scored["val"]] * 2, axis=1)
        write_array(clone.directory / f"data/predictions/{name}_val_halves.npy", scored["val_halves"])
        made_up = Predictions(seeds=evaluation.models[name].seeds, thresholds=[0.5, 0.45][:seeds], **scored)
        evaluation.models[name] = judge_model(made_up, trades, half_of(clone), symbols, MIN_TRADES)
    evaluation.write(path)
    clone.run("python src/compare.py")
    return clone


KINDS = {"search": "cross_fitted", "networks": "cross_fitted", "test": "test", "direction": "direction", "trade": "daily"}
ONE_SIDED = ("search", "hit_rate", "trade")


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Figures of each model with their draws, by kind, and the days that are drawn, by split."""

    days: dict[str, DrawnDays]
    figures: dict[str, dict[str, Drawn]]

    def errors(self, kind: str) -> Errors:
        networks = [figure for name, figure in self.figures[kind].items() if name in ARCHITECTURES]
        return Errors.of(self.days["val" if kind == "cross_fitted" else "test"], networks)


def entries_of(campaign: Clone, name: str, split: str) -> np.ndarray:
    """Which signals of each seed open a position at money's threshold, bool (S, N)."""
    samples, thresholds = judged_samples(campaign)[split], evaluated(campaign, name)["money_thresholds"]
    called = predictions(campaign, name)[split] >= np.array([np.inf if own is None else own for own in thresholds])[:, None]
    return np.array([enter(samples, row) for row in called])


def cross_fitted_by_seed(campaign: Clone, name: str) -> list[float]:
    y, half = judged_samples(campaign)["val"]["y"].to_numpy(), half_of(campaign)
    scored = np.load(campaign.directory / f"data/predictions/{name}_val_halves.npy")
    chosen = [own["thresholds"] for own in evaluated(campaign, name)["cross_fitted"]]
    return [cross_fitted_f1(y, scores, half, thresholds) for scores, thresholds in zip(scored, chosen, strict=True)]


def f1_by_seed(campaign: Clone, name: str, split: str) -> list[float]:
    y, thresholds = judged_samples(campaign)[split]["y"], evaluated(campaign, name)["thresholds"]
    return [f1_score(y, row >= own) for row, own in zip(predictions(campaign, name)[split], thresholds, strict=True)]


@pytest.fixture(scope="module")
def estimates(lucky: Clone) -> Estimates:
    samples, half = judged_samples(lucky), half_of(lucky)
    count = {split: own["timestamps"].dt.date.nunique() for split, own in samples.items()}
    halves_of_days = [count["val"] // 2, count["val"] - count["val"] // 2]
    days = {"val": DrawnDays.of(halves_of_days, 3, 200, 5), "test": DrawnDays.of([count["test"]], 3, 200, 6)}
    y = {split: own["y"].to_numpy() for split, own in samples.items()}
    weights = {split: weights_of(own, days[split]) for split, own in samples.items()}
    figures: dict[str, dict[str, Drawn]] = {kind: {} for kind in ("cross_fitted", "test", "direction", "daily")}
    for name in MODELS:
        scored, entered = predictions(lucky, name), entries_of(lucky, name, "test")
        of_halves = np.load(lucky.directory / f"data/predictions/{name}_val_halves.npy")
        by_seed = {"cross_fitted": cross_fitted_by_seed(lucky, name), "test": f1_by_seed(lucky, name, "test")}
        drawn = {"cross_fitted": cross_fitted(y["val"], half, of_halves, weights["val"]), "test": on_test(y, scored, weights)}
        for kind, own in by_seed.items():
            figures[kind][name] = Drawn(np.array(own), drawn[kind])
        figures["direction"][name] = direction(samples["test"], scored["test"], weights["test"])
        if entered.any():
            figures["daily"][name] = daily_return(samples["test"], entered, COST, days["test"])
    return Estimates(days, figures)


def test_intervals_are_of_the_days_seeds_and_blocks_that_are_set(lucky, estimates):
    compared = lucky.read("metrics/compare.json")
    assert compared["block_days"] == {"val": 1, "test": 3}, "a fourth of a half's days at most; as set"
    assert compared["days"] == {split: own.days for split, own in estimates.days.items()}
    assert (compared["confidence"], compared["draws"]) == (0.8, 200)
    for name, model in compared["models"].items():
        val, test, money = model["val"], model["test"], model["test"]["money"]
        found = {
            "cross_fitted": (val["cross_fitted_f1"]["mean"], val["cross_fitted_f1"]["interval"]),
            "test": (test["f1"]["mean"], test["f1"]["interval"]),
            "direction": (test["direction_auc"], test["direction_auc_interval"]),
            "daily": (money["return_per_day_net"], money["return_per_day_interval"]),
        }
        for kind, (mean, interval) in found.items():
            if name not in estimates.figures[kind]:
                assert kind == "daily" and (mean, interval) == (0, None)
                continue
            figure, origin = estimates.figures[kind][name], 0.5 if kind == "direction" else 0.0
            ends = estimates.errors(kind).interval(figure, 0.8, is_network=name in ARCHITECTURES)
            ends = [origin + end for end in ends]
            assert mean == pytest.approx(origin + figure.by_seed.mean())
            assert interval == pytest.approx(ends if kind == "daily" else np.clip(ends, 0, 1)), (name, kind)


def asked(answers: list[dict]) -> list[tuple[str, str | None]]:
    return [(answer["one"], answer["other"]) for answer in answers]


def test_each_question_is_asked_once(lucky, estimates):
    answers, reference = lucky.read("metrics/compare.json")["answers"], best_reference(lucky)
    against_reference, pairs = [(name, reference) for name in ARCHITECTURES], list(itertools.combinations(ARCHITECTURES, 2))
    against_baselines = [(name, "always_positive") for name in MODELS if name != "always_positive"]
    against_baselines += [(name, "prior") for name in MODELS if name not in ("always_positive", "prior")]
    against_baselines += [(name, "one_column") for name in MODELS if name not in ("always_positive", "prior", "one_column")]
    assert asked(answers["search"]) == against_reference
    assert asked(answers["networks"]) == pairs
    assert sorted(asked(answers["test"])) == sorted({*against_reference, *pairs, *against_baselines})
    assert asked(answers["direction"]) == [(name, None) for name in MODELS]
    assert asked(answers["trade"]) == [(name, None) for name in estimates.figures["daily"]]
    money = {name: model["test"]["money"] for name, model in lucky.read("metrics/compare.json")["models"].items()}
    with_margin = [(name, None) for name in MODELS if money[name]["hit_rate_above_break_even"] is not None]
    assert asked(answers["hit_rate"]) == with_margin and set(with_margin) <= set(asked(answers["trade"]))


@pytest.mark.parametrize("family", KINDS)
def test_answers_are_differences_of_means_corrected_for_their_family(lucky, estimates, family):
    answers, figures = lucky.read("metrics/compare.json")["answers"][family], estimates.figures[KINDS[family]]
    errors, p_values = estimates.errors(KINDS[family]).p_values(
        asked(answers), figures, list(ARCHITECTURES), one_sided=family in ONE_SIDED
    )
    statistics = []
    for answer, error, p_value in zip(answers, errors, p_values, strict=True):
        other = figures[answer["other"]].by_seed.mean() if answer["other"] else 0.0
        assert answer["difference"] == pytest.approx(figures[answer["one"]].by_seed.mean() - other)
        half_width = answer["difference"] - answer["interval"][0]
        assert answer["detectable"] - half_width == pytest.approx(norm.ppf(0.8) * error)
        assert answer["p_value"] == pytest.approx(p_value, abs=0.117), "the 99.9 % band of 200 draws round 0.5"
        size = answer["difference"] if family in ONE_SIDED else abs(answer["difference"])
        statistics.append(size / error if error else np.inf if size > 0 else 0.0)
    by_size = np.array([answer["p_value"] for answer in answers])[np.argsort(statistics)]
    assert (np.diff(by_size) <= 0).all(), "the larger the statistic, the smaller p"


def test_an_answer_is_clear_where_its_p_value_is_small_and_its_interval_leaves_zero_out(lucky):
    for family, answers in lucky.read("metrics/compare.json")["answers"].items():
        for answer in answers:
            low, high = answer["interval"]
            assert (high is None) == (family in ONE_SIDED)
            assert answer["error_is_known"], "two seeds, and blocks enough"
            assert answer["is_clear"] == (answer["p_value"] < 1 - 0.8) == (low > 0 or (high is not None and high < 0))


def cross_fitted_means(campaign: Clone) -> dict[str, float]:
    return {name: fmean(cross_fitted_by_seed(campaign, name)) for name in MODELS}


def best_reference(campaign: Clone) -> str:
    val = cross_fitted_means(campaign)
    return max(REFERENCES, key=val.get)


def clear(compared: dict, family: str) -> set[tuple[str, str | None]]:
    """What is above what, or above zero, beyond chance."""
    found = [answer for answer in compared["answers"][family] if answer["is_clear"]]
    return {(own["one"], own["other"]) if own["difference"] > 0 else (own["other"], own["one"]) for own in found}


def test_validation_chooses_and_test_only_reports(lucky):
    """Who knows validation's labels is searched; who knows test's leads there, and is not."""
    compared, val = lucky.read("metrics/compare.json"), cross_fitted_means(lucky)
    test = {name: fmean(f1_by_seed(lucky, name, "test")) for name in MODELS}
    models, searched = compared["models"], compared["search"]
    for name, model in models.items():
        assert model["val"]["cross_fitted_f1"]["by_seed"] == pytest.approx(cross_fitted_by_seed(lucky, name))
        assert model["val"]["f1"]["by_seed"] == pytest.approx(f1_by_seed(lucky, name, "val"))
        assert model["test"]["f1"]["by_seed"] == pytest.approx(f1_by_seed(lucky, name, "test"))
    assert list(models) == list(MODELS)
    assert compared["ranking"] == sorted(MODELS, key=lambda name: -val[name])
    assert compared["ranking"][0] == "mlp"
    assert searched["order"] == [name for name in compared["ranking"] if name in ARCHITECTURES]
    assert searched["reference"] == best_reference(lucky) != max(REFERENCES, key=test.get) == "prior"

    above, apart = clear(compared, "search"), clear(compared, "networks")
    worthy = [name for name in searched["order"] if (name, searched["reference"]) in above and val[name] > 0.2]
    assert worthy[:2] == ["mlp", "lstm"] and "gru" not in worthy
    assert searched["primary"] == worthy[0]
    assert searched["secondary"] == [name for name in worthy[1:] if ("mlp", name) not in apart] == []
    assert compared["worth_a_search"] == ["mlp"]
    assert searched["reasons"]["lstm"].endswith("; is beyond chance below MLP")
    assert searched["reasons"]["gru"].endswith(": not beyond chance")

    assert max(test, key=test.get) == "gru"
    assert "On test GRU + attention has the highest F1" in compared["verdict"][2]
    assert {("gru", name) for name in ("mlp", "lstm", "cnn_lstm", "always_positive")} <= clear(compared, "test")
    earning = {one for one, _ in clear(compared, "trade")}
    assert compared["worth_a_trade"] == [name for name in compared["ranking"] if name in earning] == ["one_column"]
    assert compared["verdict"][0] == "Worth a search: MLP. Worth a trade: one column."


@pytest.mark.parametrize("name", MODELS)
def test_money_compared_is_that_at_moneys_threshold(lucky, name):
    model = lucky.read("metrics/compare.json")["models"][name]
    for split, samples in judged_samples(lucky).items():
        rows = [trade(samples, row, COST) for row in entries_of(lucky, name, split)]
        found = model[split]["money"]
        for key in ("trades", "hit_rate", "mean_return_net", "total_return", "total_return_net", "max_drawdown"):
            values = [row[key] for row in rows]
            assert found[key] == (None if None in values else pytest.approx(np.mean(values), rel=1e-6, abs=1e-9)), key
        breaks_even = {row["break_even_hit_rate"] for row in rows}
        if split == "test" and not breaks_even & {"any", "none", None}:
            margins = [row["hit_rate"] - row["break_even_hit_rate"] for row in rows]
            assert found["hit_rate_above_break_even"] == pytest.approx(np.mean(margins))
            low, high = found["hit_rate_above_break_even_interval"]
            assert low < found["hit_rate_above_break_even"] < high


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gates_hold_each_network_against_its_own_figures(lucky, name):
    compared, samples = lucky.read("metrics/compare.json"), judged_samples(lucky)["val"]
    model, record, reference = compared["models"][name], lucky.read(f"metrics/train/{name}.json"), best_reference(lucky)
    label, cross_fitted_f1_of = NAMES[reference], cross_fitted_means(lucky)
    f1 = {split: {other: fmean(f1_by_seed(lucky, other, split)) for other in (name, reference)} for split in ("val", "test")}
    gates = {gate["gate"]: gate for gate in compared["gates"][name]}

    def answer(family: str, other: str | None = None) -> dict:
        (own,) = [own for own in compared["answers"][family] if (own["one"], own["other"]) == (name, other)]
        return own

    def holds(gate: str, value: object, threshold: object, passed: bool, p_value: float | None = None) -> None:
        found = gates.pop(gate)
        assert found["value"] == approximate(value) if isinstance(value, float) else found["value"] == value
        assert found["threshold"] == approximate(threshold) if isinstance(threshold, float) else found["threshold"] == threshold
        assert (found["passed"], found["p_value"]) == (passed, p_value), gate
        assert found["decides"] == gate.startswith("cross-fitted")

    own = cross_fitted_f1_of[name]
    holds("cross-fitted validation F1 above the minimum", own, 0.2, own > 0.2)
    above = answer("search", reference)
    holds(f"cross-fitted validation F1 above {label}, beyond chance", own, cross_fitted_f1_of[reference],
          above["is_clear"], above["p_value"])  # fmt: skip
    shifted = fmean(best_shifted_f1(samples, row) for row in predictions(lucky, name)["val"])
    holds("knows when: validation F1 above that on shifted labels", f1["val"][name], shifted, f1["val"][name] > shifted)
    stopped = sum(seed["stopped_early"] for seed in record["seeds"])
    holds("converged: seeds that stopped early", f"{stopped} of 2", "all", stopped == 2)
    history = pd.read_csv(lucky.directory / f"models/{name}/training_history.csv").set_index("epoch")
    best = {seed["seed"]: seed["best_epoch"] for seed in record["seeds"]}
    spread = fmean(own["val_f1"].loc[best[seed] - 2 : best[seed] + 2].std() for seed, own in history.groupby("seed"))
    holds("stable: spread of validation F1 near the best epoch", spread, 0.03, spread <= 0.03)
    gap = record["train_f1_score_positive_class"] - f1["val"][name]
    holds("train F1 less validation F1", gap, 0.15, gap < 0.15)
    against = answer("test", reference)
    holds(f"test F1 above {label}, beyond chance", f1["test"][name], f1["test"][reference],
          against["is_clear"] and against["difference"] > 0, against["p_value"])  # fmt: skip
    auc = fmean(direction_auc(judged_samples(lucky)["test"], row) for row in predictions(lucky, name)["test"])
    towards = answer("direction")
    holds("knows where to: direction AUC on test above 0.5, beyond chance", auc, 0.5,
          towards["is_clear"] and towards["difference"] > 0, towards["p_value"])  # fmt: skip
    money = model["test"]["money"]
    hits = [own["is_clear"] for own in compared["answers"]["hit_rate"] if own["one"] == name]
    holds("hit rate on test above break-even, beyond chance", money["hit_rate"], money["break_even_hit_rate"], hits == [True])
    returned = [own for own in compared["answers"]["trade"] if own["one"] == name]
    gate = "return on test after costs above zero, beyond chance"
    if returned:
        holds(gate, money["total_return_net"], 0.0, name in compared["worth_a_trade"], returned[0]["p_value"])
    else:
        holds(gate, None, 0.0, False)
    assert not gates


def best_shifted_f1(samples: pd.DataFrame, scores: np.ndarray) -> float:
    """The best F1 against each asset's labels, rotated in time by a tenth to nine tenths of them in 499 steps."""
    by_asset = [own.to_numpy() for _, own in samples.groupby("asset_ids")["y"]]
    shifts = np.linspace(0.1, 0.9, 499)
    return max(best_f1(np.concatenate([np.roll(y, round(share * len(y))) for y in by_asset]), scores) for share in shifts)


def test_the_confidence_set_holds_the_model_with_the_lowest_daily_log_loss(lucky):
    samples, loss = judged_samples(lucky)["test"], {}
    for name in MODELS:
        calibrations, scored = evaluated(lucky, name)["calibrations"], predictions(lucky, name)["test"]
        p = np.array([calibrate(row, **own) for row, own in zip(scored, calibrations, strict=True)])
        of_samples = pd.Series(-np.log(np.where(samples["y"] > 0, p, 1 - p)).mean(axis=0))
        loss[name] = of_samples.groupby(samples["timestamps"].dt.date).mean().mean()
    p_values = lucky.read("metrics/compare.json")["confidence_set"]
    assert list(p_values) == list(MODELS)
    assert p_values[min(loss, key=loss.get)] == 1
    assert p_values[max(loss, key=loss.get)] < 0.2, "the MLP, whose calibration trusts what it knows of validation alone"


def test_the_figures_compared_are_means_and_the_confusion_that_of_the_best_validation_seed(lucky):
    compared, judged = lucky.read("metrics/compare.json")["models"], lucky.read("metrics/evaluate.json")["models"]
    luck = judged["gru"]["test"][0]["f1_score_positive_class"] < judged["gru"]["test"][1]["f1_score_positive_class"]
    assert luck and (judged["gru"]["best_seed"], judged["mlp"]["best_seed"]) == (7, 10)
    for name, model in judged.items():
        best, test = model["seeds"].index(model["best_seed"]), compared[name]["test"]
        assert test["confusion"] == {key: model["test"][best][key] for key in ("tp", "fp", "fn", "tn")}
        for split in ("val", "test"):
            for key in ("pr_auc", "precision", "log_loss", "calibrated_expected_calibration_error"):
                assert compared[name][split][key] == pytest.approx(np.mean([row[key] for row in model[split]]))
            assert compared[name][split]["ensemble_f1"] == model["ensemble"][split]["f1_score_positive_class"]
        for kind in ("by_asset", "by_month"):
            for group, row in test[kind].items():
                assert row["f1"] == pytest.approx(np.mean([table[group]["f1"] for table in model[kind]]))


def test_a_log_file_gets_plain_lines(campaign):
    assert "\r" not in campaign.log
    assert "\x1b" not in campaign.log
    line = r"^gru seed 7: epoch 3/3: train/val loss 0\.\d+/0\.\d+, F1 0\.\d+/0\.\d+, best 0\.\d+ at \d, \d+\.\d s$"
    assert len(re.findall(line, campaign.log, re.MULTILINE)) == 1
    assert re.search(r"^gru seed 7: stopped after epoch 3: all epochs done; best 0\.", campaign.log, re.MULTILINE)


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
    terminal = Terminal(100)
    ended = subprocess.run(
        [sys.executable, "src/train_mlp.py"],
        cwd=campaign.directory,
        stdout=terminal.child,
        stderr=terminal.child,
        env=os.environ | {"CAMPAIGN_JOBS": "1", "TERM": "xterm"},
    )
    seven, ten, rest = terminal.show()
    terminal.close()
    assert ended.returncode == 0
    assert re.search(r"mlp seed 7 \|█+\|  3/3  best 0\.\d{3} at \d  loss 0\.\d{4}  at most +0:00 ", terminal.written)
    assert re.fullmatch(r"mlp seed 7: stopped after epoch 3: all epochs done; best 0\.\d{3} at \d", seven)
    assert re.fullmatch(r"mlp seed 10: stopped after epoch 3: all epochs done; best 0\.\d{3} at \d", ten)
    assert rest == ""
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
        "sh -c 'umask 077; exec python src/campaign.py verify'",
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
    assert done.stderr.splitlines()[-1] == f"campaign verify: 1 of {len(results)} outs differ from dvc.lock"
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
    model = campaign.directory / "models/mlp/seed_7.pt"
    genuine = model.read_bytes()
    content = checkpoint.from_bytes(genuine)
    content["weights"]["head.weight"] = -content["weights"]["head.weight"]
    model.unlink()
    model.write_bytes(checkpoint.to_bytes(content))
    refused = campaign.run("python src/evaluate.py", fails=True).stderr.splitlines()[-1]
    assert re.match(r"evaluate: models/mlp/seed_7.pt scores validation F1 0\.\d+, training reported 0\.\d+", refused)
    assert refused.endswith("run dvc repro --force train_mlp")
    model.write_bytes(genuine[:3000])  # while other seeds are being scored
    damaged = campaign.run("python src/evaluate.py", fails=True)
    assert damaged.returncode == 1
    assert damaged.stderr.splitlines()[-1].startswith("evaluate: models/mlp/seed_7.pt is not a model of this campaign")
    model.write_bytes(genuine)
    campaign.run("dvc checkout --force")


def test_a_model_whose_network_was_edited_since_is_refused(campaign):
    script = campaign.directory / "src/train_gru.py"
    genuine = script.read_text()
    script.write_text(f"{genuine}\n# another forward would look the same to evaluate\n")
    refused = campaign.run("python src/evaluate.py", fails=True).stderr.splitlines()[-1]
    assert refused == "evaluate: models/gru was trained with another src/train_gru.py; train it anew: dvc repro train_gru"
    script.write_text(genuine)
    campaign.run("dvc checkout --force")


INTERRUPTED = """
import os, signal, sys, threading, time
sys.path.insert(0, "src")
import evaluate, torch
from core.run import run

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
run(evaluate.main)
"""


def test_ctrl_c_while_networks_predict_ends_as_an_interrupt(campaign):
    (campaign.directory / "interrupted.py").write_text(INTERRUPTED)
    done = campaign.run("python interrupted.py", fails=True)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "interrupted: interrupted"
