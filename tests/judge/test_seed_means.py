"""Figures are means over seeds."""

import dataclasses

import numpy as np
import pytest

from judge.evaluation import GroupMetrics, SplitMetrics
from judge.money import Performance
from judge.seed_means import group_means, mean_break_even, money_means, score_means

NUMBERS = [field.name for field in dataclasses.fields(SplitMetrics) if not field.name.startswith("money")]


def metrics(value: float) -> SplitMetrics:
    """Metrics of one seed, every one of this value but the F1 at 0.5, which is half of it."""
    money = dict.fromkeys(("money", "money_at_f1"), performance(trades=1))
    return SplitMetrics(**dict.fromkeys(NUMBERS, value) | {"f1_at_half": value / 2} | money)


def performance(**changes: float | None) -> Performance:
    return dataclasses.replace(Performance(*[0.0] * len(dataclasses.fields(Performance))), **changes)


def test_metrics_are_means_over_seeds_with_their_sample_deviation():
    values = [0.9, 0.98, 0.97]
    seeds = [metrics(value) for value in values]
    found = score_means(seeds, 0.99)
    assert found["f1"] == {
        "mean": pytest.approx(0.95), "std": pytest.approx(np.std(values, ddof=1)), "by_seed": values,
    }  # fmt: skip
    assert (found["pr_auc"], found["std"]["pr_auc"]) == pytest.approx((0.95, found["f1"]["std"]))
    assert (found["f1_at_0.5"], found["std"]["f1_at_0.5"]) == pytest.approx((0.475, found["f1"]["std"] / 2))
    assert (found["ensemble_f1"], found["pr_auc_chance"]) == (0.99, 0.9)


def test_a_single_seed_has_no_deviation():
    found = score_means([metrics(0.9)], 0.9)
    assert found["f1"]["std"] is found["std"]["pr_auc"] is None


def test_money_is_the_mean_of_the_seeds_and_none_where_one_has_none():
    seeds = [performance(trades=1, hit_rate=0.5), performance(trades=4, hit_rate=None, total_return=0.3)]
    found = money_means(seeds)
    assert (found["trades"], found["hit_rate"], found["total_return"]) == (2.5, None, 0.15)


def test_a_metric_that_a_seed_lacks_has_no_mean():
    seeds = [metrics(0.9), dataclasses.replace(metrics(0.8), direction_auc=None)]
    found = score_means(seeds, 0.9)
    assert found["direction_auc"] is found["std"]["direction_auc"] is None
    assert found["brier_skill"] == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("values", "mean"),
    [([0.2, 0.4], 0.3), (["any", "any"], "any"), (["any", 0.3], None), (["none", "any"], None), ([None, 0.1], None)],
)
def test_break_even_hit_rates_of_seeds_are_averaged_only_if_they_are_numbers(values, mean):
    expected = pytest.approx(mean) if isinstance(mean, float) else mean
    assert mean_break_even(values) == expected
    found = money_means([performance(break_even_hit_rate=value) for value in values])
    assert found["break_even_hit_rate"] == expected


def test_a_group_has_the_mean_of_its_seeds_and_none_where_one_has_none():
    first = {"A": GroupMetrics(10, 0.1, f1=0.2, roc_auc=0.5), "B": GroupMetrics(20, 0.2, f1=0.3, roc_auc=0.6)}
    second = first | {"A": GroupMetrics(10, 0.1, f1=0.6, roc_auc=None)}
    assert group_means([first, second]) == {
        "A": {"samples": 10, "positive_share": pytest.approx(0.1), "f1": pytest.approx(0.4), "roc_auc": None},
        "B": {"samples": 20, "positive_share": pytest.approx(0.2), "f1": pytest.approx(0.3), "roc_auc": pytest.approx(0.6)},
    }
