"""Judging one model: figures against scikit-learn, groups, means over seeds."""

import numpy as np
import pytest
from sklearn import metrics as reference

import evaluate
from core.calibration import at_temperature
from core.metrics import expected_calibration_error
from core.money import Trades
from evaluate import by_group, confusion_png, curves_of, judge, leaderboard_row, over_seeds


@pytest.fixture
def trades() -> Trades:
    rng = np.random.default_rng(0)
    size = 600
    y = (rng.random(size) < 0.25).astype(np.int8)
    return Trades.of(
        {
            "y": y,
            "returns": np.where(y, 0.05, -0.01).astype(np.float32),
            "held": np.minimum(rng.integers(1, 9, size), np.arange(size)[::-1]).astype(np.int16),
            "asset_ids": np.repeat([0, 1], 300),
            "timestamps": np.datetime64("2024-01-20", "s") + np.tile(np.arange(300), 2) * np.timedelta64(3600, "s"),
        }
    )


@pytest.fixture
def scores(trades: Trades) -> np.ndarray:
    return np.clip(np.random.default_rng(1).normal(0.3 + 0.2 * trades.y, 0.15), 0.01, 0.99)


def test_figures_agree_with_scikit_learn(trades, scores):
    row, called = judge(trades, scores, 0.4, 1.5, 0.003), scores >= 0.4
    assert row["f1_score_positive_class"] == pytest.approx(reference.f1_score(trades.y, called))
    assert row["precision"] == pytest.approx(reference.precision_score(trades.y, called))
    assert row["pr_auc"] == pytest.approx(reference.average_precision_score(trades.y, scores))
    assert row["log_loss"] == pytest.approx(reference.log_loss(trades.y, scores))
    assert row["f1_at_0.5"] == pytest.approx(reference.f1_score(trades.y, scores >= 0.5))
    assert row["tp"] + row["fp"] + row["fn"] + row["tn"] == 600
    assert row["positive_share"] == pytest.approx(trades.y.mean())
    assert row["money"]["trades"] <= called.sum()


def test_a_temperature_changes_the_scaled_calibration_error_alone(trades, scores):
    as_is, scaled = (judge(trades, scores, 0.4, temperature, 0.003) for temperature in (1.0, 3.0))
    assert scaled.pop("expected_calibration_error_scaled") == expected_calibration_error(trades.y, at_temperature(scores, 3.0))
    assert as_is.pop("expected_calibration_error_scaled") == pytest.approx(as_is["expected_calibration_error"])
    assert scaled == as_is


def test_the_confusion_picture_has_the_truth_down_and_the_calls_across(monkeypatch):
    monkeypatch.setattr(evaluate, "to_png", lambda figure: figure)
    (panel,) = confusion_png("mlp", {"tn": 60, "fp": 20, "fn": 3, "tp": 7}).axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("called", "true")
    names = [[label.get_text() for label in axis.get_ticklabels()] for axis in (panel.xaxis, panel.yaxis)]
    assert names == [["no trade", "trade"], ["no profit", "profit"]]
    written = {text.get_position(): text.get_text() for text in panel.texts}  # (across, down)
    assert written == {(0, 0): "60\n75%", (1, 0): "20\n25%", (0, 1): "3\n30%", (1, 1): "7\n70%"}
    (image,) = panel.images
    assert image.get_array().tolist() == [[0.75, 0.25], [0.3, 0.7]]


def test_groups_are_judged_with_the_same_threshold(trades, scores):
    table = by_group(trades, scores, 0.4, np.array(["AAA", "BBB"])[trades.asset_ids])
    assert list(table) == ["AAA", "BBB"]
    own = trades.asset_ids == 1
    assert table["BBB"]["f1"] == pytest.approx(reference.f1_score(trades.y[own], scores[own] >= 0.4))
    assert table["BBB"]["roc_auc"] == pytest.approx(reference.roc_auc_score(trades.y[own], scores[own]))


def test_a_group_without_positives_has_no_f1(trades, scores):
    table = by_group(trades, scores, 0.4, np.where(trades.y > 0, "some", "none"))
    assert table["none"] == {"samples": int((trades.y == 0).sum()), "positive_share": 0.0, "f1": None, "roc_auc": None}
    assert table["some"]["roc_auc"] is None


def test_a_model_is_the_mean_of_its_seeds_not_the_best(trades, scores):
    seeds = [judge(trades, scores, threshold, 1.0, 0.003) for threshold in (0.3, 0.4, 0.5)]
    row = leaderboard_row({"val": seeds, "test": seeds})
    f1 = [seed["f1_score_positive_class"] for seed in seeds]
    assert row["test_f1_score_positive_class"] == pytest.approx(np.mean(f1))
    assert row["test_f1_std_over_seeds"] == pytest.approx(np.std(f1, ddof=1))
    above = [seed["money"]["hit_rate"] - seed["money"]["break_even_hit_rate"] for seed in seeds]
    assert row["test_hit_rate_above_break_even"] == pytest.approx(np.mean(above))


def test_the_leaderboard_keeps_validation_and_test_apart(trades, scores):
    val, test = (judge(trades, own, 0.4, 1.0, 0.003) for own in (scores, 1 - scores))
    row = leaderboard_row({"val": [val], "test": [test]})
    money = test["money"]
    assert row == {
        "val_f1_score_positive_class": val["f1_score_positive_class"],
        "test_f1_score_positive_class": test["f1_score_positive_class"],
        "test_f1_std_over_seeds": None,
        "val_pr_auc": val["pr_auc"],
        **{f"test_{key}": test[key] for key in ("pr_auc", "roc_auc", "precision", "recall", "brier_score", "f1_at_0.5")},
        **{f"test_{key}": money[key] for key in ("trades", "mean_return_net")},
        "test_hit_rate_above_break_even": money["hit_rate"] - money["break_even_hit_rate"],
    }
    assert all(val[key] != test[key] for key in ("f1_score_positive_class", "pr_auc", "precision", "recall"))


def test_a_figure_that_a_seed_lacks_has_no_mean(trades, scores):
    silent = judge(trades, scores, 2.0, 1.0, 0.003)
    assert silent["money"]["mean_return_net"] is None
    assert over_seeds([silent["money"]], "mean_return_net") == (None, None)
    row = leaderboard_row({"val": [silent], "test": [silent]})
    assert row["test_mean_return_net"] is row["test_hit_rate_above_break_even"] is None


def test_curves_end_where_everything_is_called(trades, scores):
    curves = curves_of(trades, scores, 0.003)
    assert curves["pr"][-1]["recall"] == 1
    assert (curves["roc"][0], curves["roc"][-1]) == ({"fpr": 0.0, "tpr": 0.0}, {"fpr": 1.0, "tpr": 1.0})
    assert sum(point["samples"] for point in curves["calibration"]) == 600
    assert curves["threshold"][-1]["precision"] == pytest.approx(trades.y.mean())
