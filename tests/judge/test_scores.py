"""Judging one model from its scores, against scikit-learn and pandas."""

import statistics
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from judge.calibration import Calibration
from judge.cross_fitting import cross_fit
from judge.direction import direction_auc
from judge.evaluation import Judged
from judge.money import Trades
from judge.scores import (
    Choices,
    Predictions,
    compute_curves,
    judge_model,
    leaderboard_row,
    mean_over_seeds,
    measure,
    measure_groups,
    std_over_seeds,
)
from reference import calibrate, calibration_error

COSTS = np.array([0.003, 0.001])
SYMBOLS = ["AAA", "BBB"]
CHOICES = Choices(threshold=0.4, money_threshold=0.5, calibration=Calibration(0.7, -0.4), base_rate=0.3)
HALF = np.repeat([0, -1, 1, 0, -1, 1], [140, 9, 150, 140, 9, 150])  # of 299 samples of each asset


def make_trades(seed: int) -> Trades:
    """Two assets with 300 hourly bars each, from January into February."""
    rng = np.random.default_rng(seed)
    size = 600
    y = (rng.random(size) < 0.25).astype(np.int8)
    left = np.tile(np.arange(300)[::-1], 2)  # bars of the asset after each
    arrays = {
        "y": np.where(left > 0, y, -1).astype(np.int8),
        "mirrored": (~(y > 0) & (rng.random(size) < 0.3)).astype(np.int8),
        "returns": np.where(y, 0.05, -0.01),
        "held": np.minimum(rng.integers(1, 9, size), left).astype(np.int16),
        "asset_ids": np.repeat([0, 1], 300),
        "timestamps": np.datetime64("2024-01-20", "s") + np.tile(np.arange(300), 2) * np.timedelta64(3600, "s"),
    }
    return Trades.of(arrays, COSTS)


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
    halves = np.stack([make_scores(both["val"], seed) for seed in range(20, 26)]).reshape(3, 2, -1)
    return Predictions(seeds=[11, 12, 13], thresholds=[0.38, 0.42, 0.4], val=val, test=test, val_halves=halves)


@pytest.fixture(scope="module")
def judged(both: dict[str, Trades], predictions: Predictions) -> Judged:
    return judge_model(predictions, both, HALF, SYMBOLS, min_trades=20)


def test_metrics_agree_with_scikit_learn(trades, scores):
    found, predicted = measure(trades, scores, CHOICES), scores >= 0.4
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
    assert found.money == trades.performance(scores >= 0.5)
    assert found.money_at_f1 == trades.performance(scores >= 0.4)
    assert found.direction_auc == direction_auc(scores, trades.y, trades.mirrored)


def test_metrics_after_calibration_are_those_of_the_mapped_scores(trades, scores):
    found, mapped = measure(trades, scores, CHOICES), calibrate(scores, 0.7, -0.4)
    assert found.calibrated_brier_score == pytest.approx(reference.brier_score_loss(trades.y, mapped))
    assert found.calibrated_log_loss == pytest.approx(reference.log_loss(trades.y, mapped))
    assert found.calibrated_expected_calibration_error == pytest.approx(calibration_error(trades.y, mapped))
    told_to_all = reference.brier_score_loss(trades.y, np.full(len(trades.y), 0.3))
    assert found.brier_skill == pytest.approx(1 - reference.brier_score_loss(trades.y, mapped) / told_to_all)


def test_the_calibration_changes_no_other_metric(trades, scores):
    plain, other = (
        vars(measure(trades, scores, replace(CHOICES, calibration=own))) for own in (Calibration(1, 0), Calibration(2, 1))
    )
    changed = {key for key in plain if plain[key] != other[key]}
    assert changed == {f"calibrated_{key}" for key in ("brier_score", "log_loss", "expected_calibration_error")} | {"brier_skill"}
    for key in ("brier_score", "log_loss", "expected_calibration_error"):
        assert plain[f"calibrated_{key}"] == pytest.approx(plain[key])


def test_scores_that_know_nothing_have_no_skill(trades):
    """Their calibration gives validation's share of positives."""
    flat = np.ones(len(trades.y))
    chosen = Choices.of(trades, flat, 0.5, min_trades=10)
    assert measure(trades, flat, chosen).brier_skill == pytest.approx(0)
    assert measure(trades, make_scores(trades, 1), Choices.of(trades, make_scores(trades, 1), 0.5, 10)).brier_skill > 0.1


def test_without_a_threshold_for_money_nothing_is_traded(trades, scores):
    found = measure(trades, scores, replace(CHOICES, money_threshold=None))
    assert (found.money.trades, found.money.total_return_net, found.money.mean_return) == (0, 0, None)
    assert found.money_at_f1.trades > 0


def test_groups_are_measured_at_the_same_threshold(trades, scores):
    table = measure_groups(trades.y, scores, 0.4, np.array(SYMBOLS)[trades.asset_ids])
    assert list(table) == SYMBOLS
    own = trades.asset_ids == 1
    assert table["BBB"].samples == 299
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


def test_everything_else_is_chosen_on_validation_as_well(both, predictions, judged):
    val = both["val"]
    for number, scores in enumerate(predictions.val):
        threshold = predictions.thresholds[number]
        assert judged.calibrations[number] == Calibration.fit(val.y, scores)
        assert judged.money_thresholds[number] == val.choose_threshold(scores, threshold, 20)
        assert judged.cross_fitted[number] == cross_fit(val.y, predictions.val_halves[number], HALF)
        for split, scored in (("val", predictions.val), ("test", predictions.test)):
            money = both[split].performance(scored[number] >= judged.money_thresholds[number])
            assert judged.on(split)[number].money == money
            told_to_all = reference.brier_score_loss(both[split].y, np.full(len(both[split].y), val.y.mean()))
            skill = 1 - judged.on(split)[number].calibrated_brier_score / told_to_all
            assert judged.on(split)[number].brier_skill == pytest.approx(skill)


def test_the_ensemble_is_the_mean_of_the_scores_at_the_best_threshold_of_validation(both, predictions, judged):
    val, test = predictions.val.mean(axis=0), predictions.test.mean(axis=0)
    precision, recall, _ = reference.precision_recall_curve(both["val"].y, val)
    best = np.max(2 * precision * recall / (precision + recall + 1e-12))
    ensemble = judged.ensemble
    assert ensemble.val.f1_score_positive_class == pytest.approx(best)
    assert reference.f1_score(both["val"].y, val >= ensemble.threshold) == pytest.approx(best)
    on_test = reference.f1_score(both["test"].y, test >= ensemble.threshold)
    assert ensemble.test.f1_score_positive_class == pytest.approx(on_test)
    assert ensemble.calibration == Calibration.fit(both["val"].y, val)
    assert ensemble.test.calibrated_log_loss == pytest.approx(
        reference.log_loss(both["test"].y, ensemble.calibration.apply(test))
    )
    assert ensemble.money_threshold == both["val"].choose_threshold(val, ensemble.threshold, 20)
    assert ensemble.test.money == both["test"].performance(test >= ensemble.money_threshold)


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
    assert row["val_f1_cross_fitted"] == pytest.approx(np.mean([own.f1 for own in judged.cross_fitted]))
    assert row["test_total_return_net"] == pytest.approx(np.mean([own.money.total_return_net for own in judged.test]))


def test_the_leaderboard_keeps_validation_and_test_apart(both, predictions):
    alone = Predictions(
        seeds=[None],
        thresholds=[0.4],
        val=predictions.val[:1],
        test=1 - predictions.test[:1],
        val_halves=predictions.val_halves[:1],
    )
    judged = judge_model(alone, both, HALF, SYMBOLS, min_trades=20)
    (val,), (test,) = judged.val, judged.test
    row = leaderboard_row(judged)
    assert row == {
        "val_f1_cross_fitted": judged.cross_fitted[0].f1,
        "val_f1_score_positive_class": val.f1_score_positive_class,
        "test_f1_score_positive_class": test.f1_score_positive_class,
        "test_f1_std_over_seeds": None,
        "val_pr_auc": val.pr_auc,
        **{
            f"test_{key}": getattr(test, key)
            for key in ("pr_auc", "roc_auc", "direction_auc", "precision", "recall", "brier_score", "brier_skill")
        },
        **{f"test_{key}": getattr(test.money, key) for key in ("trades", "mean_return_net", "total_return_net")},
    }
    assert all(getattr(val, key) != getattr(test, key) for key in ("f1_score_positive_class", "pr_auc", "precision", "recall"))
    assert None not in list(row.values())[4:]
    assert test.money != test.money_at_f1


def test_a_model_that_never_trades_has_no_mean_return(both, predictions):
    judged = judge_model(predictions, both, HALF, SYMBOLS, min_trades=10_000)
    assert judged.money_thresholds == [None] * 3
    assert judged.ensemble.money_threshold is None
    row = leaderboard_row(judged)
    assert (row["test_trades"], row["test_mean_return_net"], row["test_total_return_net"]) == (0, None, 0)


def test_a_mean_over_seeds_needs_a_value_of_each():
    assert mean_over_seeds([0.1, None, 0.3]) is None
    assert mean_over_seeds([0.1, 0.3]) == pytest.approx(0.2)
    assert std_over_seeds([0.1]) is None
    assert std_over_seeds([0.1, 0.3, 0.4]) == statistics.stdev([0.1, 0.3, 0.4])


def test_curves_end_where_every_sample_is_predicted_positive(trades, scores):
    found = compute_curves(trades, scores)
    assert found.pr[-1]["recall"] == 1
    assert (found.roc[0], found.roc[-1]) == ({"fpr": 0.0, "tpr": 0.0}, {"fpr": 1.0, "tpr": 1.0})
    assert sum(point["samples"] for point in found.calibration) == 598
    assert found.threshold[-1]["precision"] == pytest.approx(trades.y.mean())
