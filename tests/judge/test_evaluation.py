"""What evaluate writes is what compare reads."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import CampaignError
from judge.calibration import Calibration
from judge.cross_fitting import CrossFitted
from judge.equity import Growth
from judge.evaluation import Ensemble, Evaluation, GroupMetrics, Judged, SplitMetrics, read_evaluation
from judge.money import Performance

PERFORMANCE = Performance(
    trades=3,
    hit_rate=0.5,
    break_even_hit_rate=None,
    mean_return=0.01,
    mean_return_net=0.007,
    total_return=0.03,
    total_return_net=0.021,
    return_per_day_net=0.001,
    max_drawdown=0.02,
)
METRICS = SplitMetrics(
    f1_score_positive_class=0.3,
    precision=0.25,
    recall=0.4,
    pr_auc=0.28,
    roc_auc=0.6,
    brier_score=0.1,
    log_loss=0.4,
    expected_calibration_error=0.05,
    f1_at_half=0.1,
    precision_at_half=0.5,
    recall_at_half=0.06,
    direction_auc=0.51,
    calibrated_brier_score=0.09,
    calibrated_log_loss=0.3,
    calibrated_expected_calibration_error=0.02,
    brier_skill=0.04,
    positive_share=0.12,
    tp=4,
    fp=12,
    fn=6,
    tn=78,
    money=PERFORMANCE,
    money_at_f1=replace(PERFORMANCE, trades=9, break_even_hit_rate="any"),
)
JUDGED = Judged(
    seeds=[2, 1],
    best_seed=1,
    thresholds=[0.3, 0.4],
    money_thresholds=[0.5, None],
    calibrations=[Calibration(0.8, -0.5), Calibration(0.0, -2.0)],
    cross_fitted=[CrossFitted([0.3, 0.5], 0.28), CrossFitted([0.2, 0.1], 0.29)],
    val=[METRICS, replace(METRICS, recall=0.9)],
    test=[replace(METRICS, tp=5), replace(METRICS, direction_auc=None, brier_skill=None)],
    ensemble=Ensemble(0.35, 0.6, Calibration(1.1, -0.1), val=replace(METRICS, fn=7), test=replace(METRICS, tn=79)),
    by_asset=[{"AAA": GroupMetrics(10, 0.1, 0.3, 0.6)}, {"AAA": GroupMetrics(10, 0.1, None, None)}],
    by_month=[{"2024-01": GroupMetrics(9, 0.2, 0.4, 0.7)}, {"2024-01": GroupMetrics(9, 0.2, 0.5, 0.8)}],
)
EVALUATION = Evaluation(
    break_even_precision=0.33,
    cost_per_trade=0.003,
    one_column="atr_14",
    buy_and_hold={"val": Growth(0.1, 0.2), "test": Growth(-0.4, 0.5)},
    models={"a": JUDGED},
    data="0f",
)
BY_SYMBOL = replace(EVALUATION, break_even_precision=None, cost_per_trade={"AAA": 0.003, "BBB": 0.001})


@pytest.mark.parametrize("evaluation", [EVALUATION, BY_SYMBOL], ids=["one cost", "costs by symbol"])
def test_an_evaluation_is_read_as_it_was_written(tmp_path: Path, evaluation: Evaluation):
    evaluation.write(tmp_path / "evaluate.json")
    assert read_evaluation(tmp_path / "evaluate.json") == evaluation


def test_the_mean_cost_is_over_assets():
    assert (EVALUATION.mean_cost, BY_SYMBOL.mean_cost) == (0.003, pytest.approx(0.002))


def test_the_file_has_the_keys_that_metrics_have_everywhere(tmp_path: Path):
    EVALUATION.write(tmp_path / "evaluate.json")
    content = json.loads((tmp_path / "evaluate.json").read_text())
    assert list(content) == ["break_even_precision", "cost_per_trade", "one_column", "buy_and_hold", "models", "data"]
    model = content["models"]["a"]
    assert list(model) == [
        "seeds", "best_seed", "thresholds", "money_thresholds", "calibrations", "cross_fitted", "val", "test", "ensemble",
        "by_asset", "by_month",
    ]  # fmt: skip
    assert list(model["test"][0]) == [
        "f1_score_positive_class", "precision", "recall", "pr_auc", "roc_auc", "brier_score", "log_loss",
        "expected_calibration_error", "f1_at_0.5", "precision_at_0.5", "recall_at_0.5", "direction_auc",
        "calibrated_brier_score", "calibrated_log_loss", "calibrated_expected_calibration_error", "brier_skill",
        "positive_share", "tp", "fp", "fn", "tn", "money", "money_at_f1",
    ]  # fmt: skip
    assert list(model["ensemble"]) == ["threshold", "money_threshold", "calibration", "val", "test"]
    assert model["by_asset"][1] == {"AAA": {"samples": 10, "positive_share": 0.1, "f1": None, "roc_auc": None}}


def test_the_best_seed_is_found_by_its_number():
    assert JUDGED.best == 1
    assert (JUDGED.on("val"), JUDGED.on("test")) == (JUDGED.val, JUDGED.test)


def test_a_file_of_other_code_is_refused_with_the_missing_key(tmp_path: Path):
    path = tmp_path / "evaluate.json"
    EVALUATION.write(path)
    content = json.loads(path.read_text())
    del content["models"]["a"]["test"][0]["f1_at_0.5"]
    path.write_text(json.dumps(content))
    with pytest.raises(CampaignError, match=r"evaluate.json lacks 'f1_at_0.5', other code wrote it; make it anew: dvc repro"):
        read_evaluation(path)
