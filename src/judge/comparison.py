"""Compare all models: estimate, decide, recommend. Validation chooses, test only reports."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from core.metrics import clip
from judge.confidence_set import confidence_set
from judge.equity import Growth
from judge.evaluation import Evaluation, Judged
from judge.family import Answer, Figure, Question, answer, pool_seeds
from judge.figures import Days, ModelScores, above_coin, cross_fitted_f1, daily_return, hit_margin, test_f1
from judge.gates import Evidence, Gate, check_gates, spread_near_best
from judge.money import Trades
from judge.names import BASELINES, REFERENCES, Roster
from judge.recommendation import Recommendation, best_reference, recommend
from judge.seed_means import describe, group_means, money_means, score_means
from judge.train_record import TrainRecord
from judge.uncertainty import Blocks, Estimate, shift_test_f1
from judge.verdict import (
    direction_sentence,
    first_sentence,
    money_sentence,
    search_sentence,
    settings_differences,
    test_sentence,
    training_differences,
)

SHIFTS = 499  # circular shifts of the labels in the shift test


@dataclasses.dataclass(frozen=True)
class ModelResult:
    """What was found on one model.

    kind: network or reference. seeds: [None] of a reference.
    val, test: figures as means over seeds; test has those of money, assets and months, too.
    training: how it converged; None of a reference.
    """

    kind: str
    seeds: list[int | None]
    val: dict[str, Any]
    test: dict[str, Any]
    training: dict[str, Any] | None


@dataclasses.dataclass(frozen=True)
class Answers:
    """What was asked, each list a family that is corrected together.

    search: whether each network exceeds the best reference in cross-fitted validation F1. One-sided.
    networks: whether every two networks differ in it.
    test: whether test F1 differs, between each network and that reference, every two networks, and each model and each of
        `judge.names.BASELINES`, which know little.
    direction: whether the direction AUC on test is not 0.5.
    hit_rate: whether the hit rate on test exceeds break-even, of those models that have both. One-sided.
    trade: whether the daily return on test after costs exceeds zero, of those models that trade. One-sided.
    """

    search: list[Answer]
    networks: list[Answer]
    test: list[Answer]
    direction: list[Answer]
    hit_rate: list[Answer]
    trade: list[Answer]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What compare found; its fields are the keys of metrics/compare.json, in their order.

    verdict: sentences; the first says whether anything is worth a search or a trade.
    worth_a_search, worth_a_trade: the models shown to be, the best first.
    simulated: whether the bars are. confidence, draws: of the intervals. margin: a difference of F1 that does not matter.
    block_days, days: by split.
    break_even_precision: if every trade ends at a barrier; None where each has barriers of its own.
    cost_per_trade: of a round trip, share of the entry price, or by symbol. buy_and_hold: by split.
    one_column: the feature of the reference of that name.
    ranking: all models by cross-fitted validation F1.
    search: what to search. answers: to all questions. confidence_set: p-value of each model (log loss on test, after the
    calibration), as `judge.confidence_set` returns it.
    gates: by network. models: by name.
    trained_with: precision, torch and processor of each network. Git holds this file: it says what made the committed results.
    """

    verdict: list[str]
    worth_a_search: list[str]
    worth_a_trade: list[str]
    simulated: bool
    confidence: float
    draws: int
    margin: float
    block_days: dict[str, int]
    days: dict[str, int]
    break_even_precision: float | None
    cost_per_trade: float | dict[str, float]
    buy_and_hold: dict[str, Growth]
    one_column: str
    ranking: list[str]
    search: Recommendation
    answers: Answers
    confidence_set: dict[str, float]
    gates: dict[str, list[Gate]]
    models: dict[str, ModelResult]
    trained_with: dict[str, dict[str, str]]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; a reference has no key `training`."""
        content = dataclasses.asdict(self)
        for model in content["models"].values():
            if model["training"] is None:
                del model["training"]
        return content


@dataclasses.dataclass(frozen=True)
class Figures:
    """One model's figures with their bootstrap draws.

    direction: None where test has no winner of one kind. daily, hit_margin: of its trades on test; None without a trade, and
    the margin also where all or none of the trades hit.
    """

    cross_fitted: Figure
    test: Figure
    direction: Figure | None
    daily: Figure | None
    hit_margin: Figure | None

    @classmethod
    def of(cls, model: Judged, scores: ModelScores, days: Days, *, is_network: bool) -> "Figures":
        """Draw them from the scores, at thresholds chosen on validation."""
        thresholds = [np.inf if threshold is None else threshold for threshold in model.money_thresholds]
        entered = np.stack([days.test.entries(row >= least) for row, least in zip(scores.test, thresholds, strict=True)])
        f1 = [metrics.f1_score_positive_class for metrics in model.test]
        return cls(
            cross_fitted=cross_fitted_f1(scores, [own.f1 for own in model.cross_fitted], days, is_network=is_network),
            test=test_f1(scores, f1, days, is_network=is_network),
            direction=above_coin(scores, days, is_network=is_network),
            daily=daily_return(entered, days, is_network=is_network) if entered.any() else None,
            hit_margin=hit_margin(entered, days, is_network=is_network),
        )


def compare_models(
    roster: Roster,
    evaluation: Evaluation,
    trained: Mapping[str, TrainRecord],
    trades: Mapping[str, Trades],
    halves: np.ndarray,
    scores: Mapping[str, ModelScores],
    *,
    simulated: bool,
    draws: int,
    seed: int,
    block_days: int | None,
    confidence: float,
    margin: float,
    min_val_f1: float,
    max_train_val_gap: float,
    max_epoch_spread: float,
) -> Comparison:
    """Compare all models; the same input gives the same result, whatever the number of cores.

    Args:
        evaluation: has every model of the roster.
        trained: by network.
        trades: by split of `SCORED_SPLITS`.
        halves: int8 (N,), the half of each sample of validation.
        scores: by model.
        simulated: whether the bars are.
        draws, seed, block_days: of the bootstrap; None takes the block length that suits the days.
        confidence: of intervals, and against any false finding within a family of questions.
        margin: a difference of F1 that does not matter.
        min_val_f1, max_train_val_gap, max_epoch_spread: thresholds of gates.
    """
    labels, networks = roster.labels, list(roster.networks)
    days = Days.of(trades["val"], trades["test"], halves, block_days, draws, seed)
    figures = {
        name: Figures.of(evaluation.models[name], scores[name], days, is_network=name in roster.networks) for name in labels
    }
    val_f1 = {name: figures[name].cross_fitted.mean for name in labels}
    reference = best_reference({name: val_f1[name] for name in REFERENCES})
    answers = ask(figures, networks, reference, days, confidence, seed)
    recommended = recommend(
        {name: val_f1[name] for name in networks}, reference, answers.search, answers.networks, labels, minimum=min_val_f1
    )
    models = summarise_models(evaluation, trained, figures, days, scores, confidence)
    gates = {}
    for name in networks:
        evidence = gather_evidence(name, models[name], trained[name], answers)
        gates[name] = check_gates(
            evidence,
            labels[reference],
            minimum=min_val_f1,
            max_train_val_gap=max_train_val_gap,
            max_epoch_spread=max_epoch_spread,
        )
    trained_with = {name: trained[name].trained_with for name in networks}
    earning = sorted((found.one for found in answers.trade if found.is_clear), key=lambda name: -val_f1[name])
    traded = earning[0] if earning else recommended.best
    return Comparison(
        verdict=[
            first_sentence(recommended.worthy, earning, labels),
            search_sentence(recommended, labels),
            test_sentence({name: figures[name].test.mean for name in labels}, answers.test, days.test_drawn.days, margin, labels),
            direction_sentence(answers.direction, confidence, labels),
            money_sentence(
                labels[traded],
                models[traded].test["money"],
                next((found for found in answers.trade if found.one == traded), None),
                confidence,
                evaluation.buy_and_hold["test"].total_return,
            ),
            *training_differences(trained_with, labels),
            *settings_differences({name: dict(trained[name].loop.values) for name in networks}, labels),
        ],
        worth_a_search=recommended.worthy,
        worth_a_trade=earning,
        simulated=simulated,
        confidence=confidence,
        draws=draws,
        margin=margin,
        block_days={"val": days.val_drawn.block, "test": days.test_drawn.block},
        days={"val": days.val_drawn.days, "test": days.test_drawn.days},
        break_even_precision=evaluation.break_even_precision,
        cost_per_trade=evaluation.cost_per_trade,
        buy_and_hold=evaluation.buy_and_hold,
        one_column=evaluation.one_column,
        ranking=sorted(labels, key=lambda name: -val_f1[name]),
        search=recommended,
        answers=answers,
        confidence_set=confidence_set(
            daily_log_losses(evaluation, scores, days.test), days.test_drawn.weights, days.test_drawn.blocks
        ),
        gates=gates,
        models=models,
        trained_with=trained_with,
    )


def ask(
    figures: Mapping[str, Figures], networks: Sequence[str], reference: str, days: Days, confidence: float, seed: int
) -> Answers:
    """Ask all questions, each family together; `reference`: the best one on validation."""
    val_blocks, test_blocks = days.val_drawn.blocks, days.test_drawn.blocks

    def put(kind: str, questions: Sequence[Question], blocks: Blocks, *, one_sided: bool = False) -> list[Answer]:
        asked = {question.one for question in questions} | {question.other for question in questions if question.other}
        own = {name: getattr(model, kind) for name, model in figures.items() if name in asked}
        return answer(questions, own, blocks, confidence=confidence, seed=seed, one_sided=one_sided)

    def put_to_all(kind: str, *, one_sided: bool = False) -> list[Answer]:
        having = [Question(name) for name, model in figures.items() if getattr(model, kind) is not None]
        return put(kind, having, test_blocks, one_sided=one_sided)

    return Answers(
        search=put("cross_fitted", [Question(name, reference) for name in networks], val_blocks, one_sided=True),
        networks=put("cross_fitted", [Question(*pair) for pair in combinations(networks, 2)], val_blocks),
        test=put("test", test_questions(list(figures), networks, reference), test_blocks),
        direction=put_to_all("direction"),
        hit_rate=put_to_all("hit_margin", one_sided=True),
        trade=put_to_all("daily", one_sided=True),
    )


def test_questions(models: Sequence[str], networks: Sequence[str], reference: str) -> list[Question]:
    """List what is asked on test: each network and the reference, every two networks, each model and each baseline."""
    baselines = list(BASELINES)
    questions = [
        *(Question(name, reference) for name in networks),
        *(Question(*pair) for pair in combinations(networks, 2)),
        *(Question(name, own) for number, own in enumerate(baselines) for name in models if name not in baselines[: number + 1]),
    ]
    return list(dict.fromkeys(questions))  # the reference may be a baseline


def daily_log_losses(evaluation: Evaluation, scores: Mapping[str, ModelScores], test: Trades) -> dict[str, np.ndarray]:
    """Return each model's log loss on each day of test after its calibration, mean over seeds, (D,)."""
    losses, size = {}, np.bincount(test.days)
    for name, own in scores.items():
        calibrations = evaluation.models[name].calibrations
        p = np.stack([clip(calibration.apply(row)) for calibration, row in zip(calibrations, own.test, strict=True)])
        loss = -np.where(test.y > 0, np.log(p), np.log1p(-p)).mean(axis=0)
        losses[name] = np.bincount(test.days, weights=loss) / size
    return losses


def mean_shift_test_f1(trades: Trades, scores: np.ndarray) -> float:
    """Return the best F1 that scores, float64 (S, N), reach on shifted labels, mean over seeds."""
    return statistics.fmean(shift_test_f1(trades.y, row, trades.asset_ids, SHIFTS) for row in scores)


def summarise_models(
    evaluation: Evaluation,
    trained: Mapping[str, TrainRecord],
    figures: Mapping[str, Figures],
    days: Days,
    scores: Mapping[str, ModelScores],
    confidence: float,
) -> dict[str, ModelResult]:
    """Average each model's figures over its seeds, with intervals."""
    val_blocks, test_blocks = days.val_drawn.blocks, days.test_drawn.blocks

    def interval(name: str, kind: str, blocks: Blocks) -> list[float] | None:
        figure = getattr(figures[name], kind)
        if figure is None:
            return None
        every = {other: getattr(model, kind) for other, model in figures.items() if getattr(model, kind) is not None}
        of_seeds = pool_seeds(every) if figure.is_network else None
        return Estimate.of(figure.by_seed, figure.deviations, blocks, of_seeds).interval(confidence)

    models = {}
    for name, model in evaluation.models.items():
        if name not in figures:
            continue
        best = model.test[model.best]
        by_half = [own.f1 for own in model.cross_fitted]
        direction = figures[name].direction
        margin = figures[name].hit_margin
        val = score_means(model.val, model.ensemble.val.f1_score_positive_class) | {
            "cross_fitted_f1": describe(by_half) | {"interval": _within_unit(interval(name, "cross_fitted", val_blocks))},
            "shifted_f1": mean_shift_test_f1(days.val, scores[name].val),
            "money": money_means([metrics.money for metrics in model.val]),
        }
        test = score_means(model.test, model.ensemble.test.f1_score_positive_class)
        test["f1"]["interval"] = _within_unit(interval(name, "test", test_blocks))
        test |= {
            "direction_auc": None if direction is None else direction.mean + 0.5,
            "direction_auc_interval": None
            if direction is None
            else _within_unit([0.5 + end for end in interval(name, "direction", test_blocks)]),
            "confusion": {key: getattr(best, key) for key in ("tp", "fp", "fn", "tn")},
            "money": money_means([metrics.money for metrics in model.test])
            | {
                "return_per_day_interval": interval(name, "daily", test_blocks),
                "hit_rate_above_break_even": None if margin is None else margin.mean,
                "hit_rate_above_break_even_interval": interval(name, "hit_margin", test_blocks),
            },
            "money_at_f1": money_means([metrics.money_at_f1 for metrics in model.test]),
            "by_asset": group_means(model.by_asset),
            "by_month": group_means(model.by_month),
        }
        training = trained[name].convergence() if name in trained else None
        models[name] = ModelResult("network" if training else "reference", model.seeds, val, test, training)
    return models


def _within_unit(interval: Sequence[float]) -> list[float]:
    return [min(max(end, 0.0), 1.0) for end in interval]


def gather_evidence(name: str, model: ModelResult, trained: TrainRecord, answers: Answers) -> Evidence:
    """Pick what the gates ask of one network."""
    money = model.test["money"]

    def found(family: Sequence[Answer]) -> Answer | None:
        return next((own for own in family if own.one == name), None)

    hits = found(answers.hit_rate)
    return Evidence(
        train_f1=trained.train_f1,
        val_f1=model.val["f1"]["mean"],
        cross_fitted_f1=model.val["cross_fitted_f1"]["mean"],
        shifted_f1=model.val["shifted_f1"],
        epoch_spread=statistics.fmean(
            spread_near_best(f1, seed["best_epoch"]) for f1, seed in zip(trained.val_f1_by_epoch, trained.seeds, strict=True)
        ),
        seeds=len(trained.seeds),
        unconverged=len(trained.unconverged_seeds),
        above_reference=found(answers.search),
        on_test=found(answers.test),  # the first question on a network is that against the best reference
        test_f1=model.test["f1"]["mean"],
        direction=found(answers.direction),
        hit_rate=money["hit_rate"],
        break_even=money["break_even_hit_rate"],
        hits_enough=hits is not None and hits.is_clear,
        total_return=money["total_return_net"],
        returned=found(answers.trade),
    )
