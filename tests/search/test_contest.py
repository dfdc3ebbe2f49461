"""The contest calls "better" no more often than stated where nothing is, and finds what is; on drawn scores."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from core.metrics import sigmoid
from drawn_folds import draw_bars
from judge.figures import Days, ModelScores, pr_auc
from judge.money import Trades
from search.contest import OPTIMISED, PRESENT, Contest, Measure, ask, no_trade

CONTESTS, SEEDS, DAYS = 1000, 3, 40
CONFIDENCE = 0.95


def draw_days(rng: np.random.Generator) -> Days:
    test = Trades.of(draw_bars(np.datetime64("2022-01-01", "s"), DAYS, 0.15, rng), np.full(2, 0.003))
    halves = (test.days >= DAYS // 2).astype(np.int8)
    return Days.of(test, test, halves, None, 100, int(rng.integers(2**31)))


def draw_scores(days: Days, skill: float, rng: np.random.Generator) -> ModelScores:
    """Scores of each seed, with errors that all seeds of a model share and some of their own."""
    y = days.test.y
    shared = skill * y + rng.standard_normal(len(y))
    scores = sigmoid(shared + 0.5 * rng.standard_normal((SEEDS, len(y))) - 2)
    return ModelScores(scores, np.stack([scores] * 2, axis=1), scores)


def verdicts(edge: float) -> Mapping[str, int]:
    counts = dict.fromkeys(("better", "worse", "not shown"), 0)
    for number in range(CONTESTS):
        rng = np.random.default_rng(number)
        days = draw_days(rng)
        scores = {PRESENT: draw_scores(days, 0.5, rng), OPTIMISED: draw_scores(days, 0.5 + edge, rng)}
        figures = {name: pr_auc(own, days, is_network=True) for name, own in scores.items()}
        found = ask(figures, days.test_drawn.blocks, CONFIDENCE, 0)
        counts[Contest(range(SEEDS), "pr_auc", CONFIDENCE, {"pr_auc": found}).verdict] += 1
    return counts


@pytest.mark.slow
def test_of_equal_settings_few_are_called_better_or_worse():
    counts = verdicts(edge=0.0)
    most = stats.binom.isf(0.0005, CONTESTS, (1 - CONFIDENCE) / 2)  # upper end of the 99.9 % band
    assert counts["better"] <= most
    assert counts["worse"] <= most


@pytest.mark.slow
def test_settings_with_an_edge_are_called_better():
    assert verdicts(edge=1.0)["better"] >= stats.binom.ppf(0.0005, CONTESTS, 0.8)


def test_the_verdict_is_that_of_the_objective():
    rng = np.random.default_rng(0)
    days = draw_days(rng)
    figures = {
        name: pr_auc(draw_scores(days, skill, rng), days, is_network=True) for name, skill in ((PRESENT, 0), (OPTIMISED, 2.5))
    }
    clear = ask(figures, days.test_drawn.blocks, CONFIDENCE, 0)
    turned = dataclasses.replace(clear.answer, difference=-clear.answer.difference)
    unclear = dataclasses.replace(clear.answer, is_clear=False)

    def verdict(measure: Measure | None) -> str:
        return Contest([1, 2], "pr_auc", CONFIDENCE, {"f1": None, "pr_auc": measure}).verdict

    assert verdict(clear) == "better"
    assert verdict(dataclasses.replace(clear, answer=turned)) == "worse"
    assert verdict(dataclasses.replace(clear, answer=unclear)) == "not shown"
    assert verdict(None) == "not shown"


def test_a_model_that_never_trades_returns_nothing_on_any_day():
    rng = np.random.default_rng(0)
    days = draw_days(rng)
    figure = no_trade(draw_scores(days, 0.5, rng), days)
    assert figure.by_seed == [0.0] * SEEDS
    assert not figure.deviations.any()
