"""Judging one model from its scores, against scikit-learn and pandas."""

import statistics

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from core.metrics import sigmoid
from judge.calibration import fit_temperature
from judge.evaluation import Judged
from judge.money import Trades
from judge.scores import (
    Predictions,
    compute_curves,
    judge_model,
    leaderboard_row,
    mean_over_seeds,
    measure,
    measure_groups,
    std_over_seeds,
)
from reference import at_temperature, calibration_error

COST = 0.003
SYMBOLS = ["AAA", "BBB"]


def make_trades(seed: int) -> Trades:
    """Two assets with 300 hourly bars each, from January into February."""
    rng = np.random.default_rng(seed)
    size = 600
    y = (rng.random(size) < 0.25).astype(np.int8)
    return Trades.of(
        {
            "y": y,
            "returns": np.where(y, 0.05, -0.01),
            "held": np.minimum(rng.integers(1, 9, size), np.arange(size)[::-1]).astype(np.int16),
            "asset_ids": np.repeat([0, 1], 300),
            "timestamps": np.datetime64("2024-01-20", "s") + np.tile(np.arange(300), 2) * np.timedelta64(3600, "s"),
        }
    )


def make_scores(trades: Trades, seed: int) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(0.3 + 0.2 * trades.y, 0.15), 0.01, 0.99)


@pytest.fixture
def trades() -> Trades:
    return make_trades(0)


@pytest.fixture
def scores(trades: Trades) -> np.ndarray:
    return make_scores(trades, 1)


@pytest.fixture(scope="module")
def both() -> dict[str, Trades]:
    return {"val": make_trades(2), "test": make_trades(3)}


@pytest.fixture(scope="module")
def predictions(both: dict[str, Trades]) -> Predictions:
    """Of three seeds; the second is the best on validation and the worst on test."""
    val = np.stack([make_scores(both["val"], seed) for seed in (4, 5, 6)])
    test = np.stack([make_scores(both["test"], seed) for seed in (7, 8, 9)])
    val[1] = np.clip(val[1] + 0.1 * both["val"].y, 0, 0.99)
    test[1] = np.clip(test[1] - 0.1 * both["test"].y, 0.01, 1)
    return Predictions(seeds=[11, 12, 13], thresholds=[0.38, 0.42, 0.4], val=val, test=test)


@pytest.fixture(scope="module")
def judged(both: dict[str, Trades], predictions: Predictions) -> Judged:
    return judge_model(predictions, both, SYMBOLS, COST)


def test_metrics_agree_with_scikit_learn(trades, scores):
    found, predicted = measure(trades, scores, 0.4, 1.5, COST), scores >= 0.4
    assert found.f1_score_positive_class == pytest.approx(reference.f1_score(trades.y, predicted))
    assert found.precision == pytest.approx(reference.precision_score(trades.y, predicted))
    assert found.recall == pytest.approx(reference.recall_score(trades.y, predicted))
    assert found.pr_auc == pytest.approx(reference.average_precision_score(trades.y, scores))
    assert found.roc_auc == pytest.approx(reference.roc_auc_score(trades.y, scores))
    assert found.brier_score == pytest.approx(reference.brier_score_loss(trades.y, scores))
    assert found.log_loss == pytest.approx(reference.log_loss(trades.y, scores))
    assert found.f1_at_half == pytest.approx(reference.f1_score(trades.y, scores >= 0.5))
    assert found.precision_at_half == pytest.approx(reference.precision_score(trades.y, scores >= 0.5))
    assert found.recall_at_half == pytest.approx(reference.recall_score(trades.y, scores >= 0.5))
    tn, fp, fn, tp = reference.confusion_matrix(trades.y, predicted).ravel()
    assert (found.tp, found.fp, found.fn, found.tn) == (tp, fp, fn, tn)
    assert found.positive_share == pytest.approx(trades.y.mean())
    assert found.money.trades <= predicted.sum()


def test_the_temperature_changes_only_the_scaled_calibration_error(trades, scores):
    plain, scaled = (vars(measure(trades, scores, 0.4, temperature, COST)) for temperature in (1.0, 3.0))
    assert {key for key in plain if plain[key] != scaled[key]} == {"expected_calibration_error_scaled"}
    assert plain["expected_calibration_error_scaled"] == pytest.approx(plain["expected_calibration_error"])
    softened = sigmoid(np.log(scores / (1 - scores)) / 3)
    order = np.argsort(scores, kind="stable").reshape(15, 40)
    by_hand = np.abs(softened[order].mean(axis=1) - trades.y[order].mean(axis=1)).mean()
    assert scaled["expected_calibration_error_scaled"] == pytest.approx(by_hand)


def test_groups_are_measured_at_the_same_threshold(trades, scores):
    table = measure_groups(trades.y, scores, 0.4, np.array(SYMBOLS)[trades.asset_ids])
    assert list(table) == SYMBOLS
    own = trades.asset_ids == 1
    assert table["BBB"].samples == 300
    assert table["BBB"].f1 == pytest.approx(reference.f1_score(trades.y[own], scores[own] >= 0.4))
    assert table["BBB"].roc_auc == pytest.approx(reference.roc_auc_score(trades.y[own], scores[own]))


def test_a_group_without_positives_has_no_f1(trades, scores):
    table = measure_groups(trades.y, scores, 0.4, np.where(trades.y > 0, "some", "none"))
    assert (table["none"].samples, table["none"].positive_share) == ((trades.y == 0).sum(), 0)
    assert table["none"].f1 is table["none"].roc_auc is table["some"].roc_auc is None
    assert table["some"].f1 is not None


def test_every_seed_is_judged_at_its_own_threshold(both, predictions, judged):
    assert (judged.seeds, judged.thresholds) == ([11, 12, 13], predictions.thresholds)
    for split, scored in (("val", predictions.val), ("test", predictions.test)):
        by_hand = [
            reference.f1_score(both[split].y, scores >= threshold)
            for scores, threshold in zip(scored, predictions.thresholds, strict=True)
        ]
        assert [metrics.f1_score_positive_class for metrics in judged.on(split)] == pytest.approx(by_hand)


def test_the_best_seed_is_chosen_on_validation(judged):
    val, test = ([metrics.f1_score_positive_class for metrics in judged.on(split)] for split in ("val", "test"))
    assert (np.argmax(val), np.argmin(test)) == (1, 1)
    assert (judged.best_seed, judged.best) == (12, 1)


def test_temperatures_are_fitted_on_validation(both, predictions, judged):
    for scores, temperature in zip(predictions.val, judged.temperatures, strict=True):
        logits = np.log(scores / (1 - scores))
        losses = [reference.log_loss(both["val"].y, sigmoid(logits / t)) for t in temperature * np.array([0.99, 1, 1.01])]
        assert losses[1] == min(losses)


def test_the_ensemble_is_the_mean_of_the_scores_at_the_best_threshold_of_validation(both, predictions, judged):
    val, test = predictions.val.mean(axis=0), predictions.test.mean(axis=0)
    precision, recall, _ = reference.precision_recall_curve(both["val"].y, val)
    best = np.max(2 * precision * recall / (precision + recall + 1e-12))
    ensemble = judged.ensemble
    assert ensemble.val.f1_score_positive_class == pytest.approx(best)
    assert reference.f1_score(both["val"].y, val >= ensemble.threshold) == pytest.approx(best)
    on_test = reference.f1_score(both["test"].y, test >= ensemble.threshold)
    assert ensemble.test.f1_score_positive_class == pytest.approx(on_test)
    scaled = at_temperature(test, fit_temperature(both["val"].y, val))
    assert ensemble.test.expected_calibration_error_scaled == pytest.approx(calibration_error(both["test"].y, scaled))


def test_assets_and_months_are_those_of_the_samples(both, predictions, judged):
    test = both["test"]
    samples = pd.DataFrame({"asset": np.array(SYMBOLS)[test.asset_ids], "y": test.y, "time": pd.DatetimeIndex(test.timestamps)})
    samples["month"] = samples["time"].dt.strftime("%Y-%m")
    for column, tables in (("asset", judged.by_asset), ("month", judged.by_month)):
        for table, scores, threshold in zip(tables, predictions.test, predictions.thresholds, strict=True):
            expected = {
                group: reference.f1_score(own["y"], scores[own.index] >= threshold) for group, own in samples.groupby(column)
            }
            assert {group: metrics.f1 for group, metrics in table.items()} == pytest.approx(expected)
    assert list(judged.by_month[0]) == ["2024-01", "2024-02"]


def test_the_leaderboard_has_means_over_seeds(judged):
    row = leaderboard_row(judged)
    f1 = [metrics.f1_score_positive_class for metrics in judged.test]
    assert row["test_f1_score_positive_class"] == pytest.approx(np.mean(f1))
    assert row["test_f1_std_over_seeds"] == pytest.approx(np.std(f1, ddof=1))
    above = [metrics.money.hit_rate - metrics.money.break_even_hit_rate for metrics in judged.test]
    assert row["test_hit_rate_above_break_even"] == pytest.approx(np.mean(above))


def test_the_leaderboard_keeps_validation_and_test_apart(both, predictions):
    alone = Predictions(seeds=[None], thresholds=[0.4], val=predictions.val[:1], test=1 - predictions.test[:1])
    judged = judge_model(alone, both, SYMBOLS, COST)
    (val,), (test,) = judged.val, judged.test
    assert leaderboard_row(judged) == {
        "val_f1_score_positive_class": val.f1_score_positive_class,
        "test_f1_score_positive_class": test.f1_score_positive_class,
        "test_f1_std_over_seeds": None,
        "val_pr_auc": val.pr_auc,
        **{f"test_{key}": getattr(test, key) for key in ("pr_auc", "roc_auc", "precision", "recall", "brier_score")},
        "test_f1_at_0.5": test.f1_at_half,
        **{f"test_{key}": getattr(test.money, key) for key in ("trades", "mean_return_net")},
        "test_hit_rate_above_break_even": test.money.hit_rate - test.money.break_even_hit_rate,
    }
    assert all(getattr(val, key) != getattr(test, key) for key in ("f1_score_positive_class", "pr_auc", "precision", "recall"))


def test_a_model_that_never_trades_has_no_mean_return(both, predictions):
    silent = Predictions(seeds=[1], thresholds=[2.0], val=predictions.val[:1], test=predictions.test[:1])
    judged = judge_model(silent, both, SYMBOLS, COST)
    assert judged.test[0].money.mean_return_net is None
    row = leaderboard_row(judged)
    assert row["test_mean_return_net"] is row["test_hit_rate_above_break_even"] is None


def test_a_mean_over_seeds_needs_a_value_of_each():
    assert mean_over_seeds([0.1, None, 0.3]) is None
    assert mean_over_seeds([0.1, 0.3]) == pytest.approx(0.2)
    assert std_over_seeds([0.1]) is None
    assert std_over_seeds([0.1, 0.3, 0.4]) == statistics.stdev([0.1, 0.3, 0.4])


def test_curves_end_where_every_sample_is_predicted_positive(trades, scores):
    found = compute_curves(trades, scores, COST)
    assert found.pr[-1]["recall"] == 1
    assert (found.roc[0], found.roc[-1]) == ({"fpr": 0.0, "tpr": 0.0}, {"fpr": 1.0, "tpr": 1.0})
    assert sum(point["samples"] for point in found.calibration) == 600
    assert found.threshold[-1]["precision"] == pytest.approx(trades.y.mean())
