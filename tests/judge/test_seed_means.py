"""Figures are means over seeds."""

import dataclasses

import numpy as np
import pytest

from judge.evaluation import GroupMetrics, SplitMetrics
from judge.money import Performance
from judge.seed_means import group_means, money_means, score_means
from judge.uncertainty import Estimate

NUMBERS = [field.name for field in dataclasses.fields(SplitMetrics) if field.name != "money"]


def metrics(value: float) -> SplitMetrics:
    """Metrics of one seed, every one of this value but the F1 at 0.5, which is half of it."""
    return SplitMetrics(**dict.fromkeys(NUMBERS, value) | {"f1_at_half": value / 2}, money=performance(trades=1))


def performance(**changes: float | None) -> Performance:
    return dataclasses.replace(Performance(*[0.0] * len(dataclasses.fields(Performance))), **changes)


def test_metrics_are_means_over_seeds_with_their_sample_deviation():
    values = [0.9, 0.98, 0.97]
    seeds = [metrics(value) for value in values]
    found = score_means(seeds, 0.99, Estimate(0.95, 0.5, 10), 0.95)
    assert found["f1"] == {
        "mean": pytest.approx(0.95), "std": pytest.approx(np.std(values, ddof=1)), "interval": [0, 1], "by_seed": values,
    }  # fmt: skip
    assert (found["pr_auc"], found["std"]["pr_auc"]) == pytest.approx((0.95, found["f1"]["std"]))
    assert (found["f1_at_0.5"], found["std"]["f1_at_0.5"]) == pytest.approx((0.475, found["f1"]["std"] / 2))
    assert (found["ensemble_f1"], found["pr_auc_chance"]) == (0.99, 0.9)


def test_the_interval_of_f1_is_that_of_its_estimate():
    low, high = score_means([metrics(0.5)] * 2, 0.5, Estimate(0.5, 0.1, 1e9), 0.95)["f1"]["interval"]
    assert (low, high) == pytest.approx((0.5 - 0.196, 0.5 + 0.196), abs=1e-4)


def test_a_single_seed_has_no_deviation():
    found = score_means([metrics(0.9)], 0.9, Estimate(0.9, 0.1, 10), 0.95)
    assert found["f1"]["std"] is found["std"]["pr_auc"] is None


def test_money_is_the_mean_of_the_seeds_and_none_where_one_has_none():
    seeds = [performance(trades=1, hit_rate=0.5), performance(trades=4, hit_rate=None, total_return=0.3)]
    found = money_means(seeds, Estimate(0.1, 0.0, 10), 0.95)
    assert (found["trades"], found["hit_rate"], found["total_return"]) == (2.5, None, 0.15)
    assert found["return_per_day_interval"] == [0.1, 0.1]


def test_a_group_has_the_mean_of_its_seeds_and_none_where_one_has_none():
    first = {"A": GroupMetrics(10, 0.1, f1=0.2, roc_auc=0.5), "B": GroupMetrics(20, 0.2, f1=0.3, roc_auc=0.6)}
    second = first | {"A": GroupMetrics(10, 0.1, f1=0.6, roc_auc=None)}
    assert group_means([first, second]) == {
        "A": {"samples": 10, "positive_share": pytest.approx(0.1), "f1": pytest.approx(0.4), "roc_auc": None},
        "B": {"samples": 20, "positive_share": pytest.approx(0.2), "f1": pytest.approx(0.3), "roc_auc": pytest.approx(0.6)},
    }
