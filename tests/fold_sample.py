"""A walk-forward as its report gets it: scores are made up and always the same, all that follows is computed by judge."""

import copy
import functools
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from judge.comparison import compare_models
from judge.equity import buy_and_hold
from judge.evaluation import Evaluation
from judge.figures import ModelScores
from judge.money import Trades, break_even_precision
from judge.walk_forward import FoldScores, judge_walk_forward
from judge.walk_forward_result import FoldCuts, WalkForward
from sample import COST, LABELS, ROSTER, SKILL, cross, evaluate, halve, make_arrays, make_scores, simple_scores, train_record

VAL_MONTHS, TEST_MONTHS = 2, 1
DRAWS = 100
OPTIONS = {"draws": DRAWS, "seed": 1, "block_days": None, "confidence": 0.95, "margin": 0.02}
SILENT = "lstm", 1  # a model and the number of the fold in which it does not trade
NO_DIRECTION = 2  # number of a fold in which no short trade would have won


def walk_forward(folds: int = 4, symbols: Sequence[str] = ("COIN00USDT", "COIN01USDT"), seeds: int = 2) -> WalkForward:
    """A sample of its own for each caller, who may change it.

    In the fold of `SILENT` a model has no trade, and that of `NO_DIRECTION` has no direction AUC, where there are so many.
    """
    return copy.deepcopy(_walk_forward(folds, tuple(symbols), seeds))


@functools.cache
def _walk_forward(folds: int, symbols: tuple[str, ...], seeds: int) -> WalkForward:
    rng = np.random.default_rng(5)
    with threadpool_limits(1):  # threads that wait for each other take longer than products this small
        scores = [make_fold(number, symbols, seeds, rng) for number in range(folds)]
        return judge_walk_forward(ROSTER, scores, symbols, simulated=True, **OPTIONS)


def make_fold(number: int, symbols: Sequence[str], seeds: int, rng: np.random.Generator) -> FoldScores:
    """A fold whose test is one month, validation the two months before."""
    start = np.datetime64("2022-11", "M") + number * TEST_MONTHS
    costs = np.full(len(symbols), COST)
    arrays = {
        "val": make_arrays(str(start - VAL_MONTHS), VAL_MONTHS, len(symbols), rng),
        "test": make_arrays(str(start), TEST_MONTHS, len(symbols), rng),
    }
    if number == NO_DIRECTION:
        arrays["test"]["mirrored"][:] = 0
    size = len(arrays["test"]["y"]) // len(symbols)
    steps = rng.normal(0.001, 0.02, (len(symbols), size))
    bars = {key: arrays["test"][key] for key in ("y", "asset_ids", "timestamps")}
    bars["closes"] = np.exp(steps.cumsum(axis=1)).ravel()
    trades = {split: Trades.of(own, costs) for split, own in arrays.items()}
    skill = {name: rng.normal(own, 0.1, seeds if name in ROSTER.networks else 1) for name, own in SKILL.items()}
    prior = np.linspace(0.05, 0.2, len(symbols))

    def score(name: str, own: Trades) -> np.ndarray:
        if name == "prior":
            return prior[own.asset_ids][None]
        return make_scores(own, skill[name], rng) if name in SKILL else simple_scores(name, own)

    by_model = {name: {split: score(name, own) for split, own in trades.items()} for name in LABELS}
    evaluation = Evaluation(
        break_even_precision=break_even_precision("percent", 0.05, 0.02, COST),
        cost_per_trade=COST,
        one_column="atr_14",
        buy_and_hold={"val": buy_and_hold(bars, costs), "test": buy_and_hold(bars, costs)},
        models={
            name: evaluate(name, trades, own, list(symbols), min_trades=10**6 if (name, number) == SILENT else 5)
            for name, own in by_model.items()
        },
        data="",
    )
    scores = {name: ModelScores(val=own["val"], val_halves=cross(own["val"]), test=own["test"]) for name, own in by_model.items()}
    trained = {name: train_record(name, evaluation.models[name]) for name in ROSTER.networks}
    comparison = compare_models(
        ROSTER, evaluation, trained, trades, halve(trades["val"]), scores, simulated=True, min_val_f1=0.2, max_train_val_gap=0.08,
        max_epoch_spread=0.03, **OPTIONS,
    )  # fmt: skip
    months = (start - 6, start - VAL_MONTHS, start, start + TEST_MONTHS)
    return FoldScores(
        name=f"{start}-01",
        cuts=FoldCuts(*(f"{month}-01T00:00:00Z" for month in months)),
        evaluation=evaluation,
        trades=trades,
        halves=halve(trades["val"]),
        bars=bars,
        scores=scores,
        comparison=comparison,
    )
