"""Compare all models: estimate, decide, recommend. Models are chosen on validation and judged on test."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from core.splits import SCORED_SPLITS
from judge.calls import Calls, DrawnDays
from judge.evaluation import Evaluation, Judged
from judge.gates import Evidence, Gate, Rival, check_gates, find_floors
from judge.money import Trades
from judge.names import REFERENCES, Roster
from judge.pairs import Pair, Standing, compare_pairs, find_leader, is_clear, profitable
from judge.recommendation import Recommendation, recommend
from judge.seed_means import group_means, money_means, score_means
from judge.train_record import TrainRecord
from judge.uncertainty import shift_test_f1
from judge.verdict import leader_sentence, money_sentence, readiness_sentence, search_sentence, training_differences

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
class Comparison:
    """What compare found; its fields are the keys of metrics/compare.json, in their order.

    verdict: sentences; the first names the leader on test, the second what to search.
    losing: models with a test F1 above always-positive that lost money after costs, best on validation first.
    simulated: whether the bars are. confidence, draws: of the intervals. block_days, days: by split.
    break_even_precision: if every trade ends at a barrier. cost_per_trade: of a round trip, share of the entry price.
    one_column: the feature of the reference of that name.
    ranking: all models by validation F1. test_verdict: who leads on test.
    earning: networks whose test return is above zero beyond chance. search_first: what to search.
    gates: by network. models: by name. pairs: by split.
    trained_with: precision, torch and processor of each network. Git holds this file: it says what made the committed results.
    """

    verdict: list[str]
    losing: list[str]
    simulated: bool
    confidence: float
    draws: int
    block_days: dict[str, int]
    days: dict[str, int]
    break_even_precision: float
    cost_per_trade: float
    one_column: str
    ranking: list[str]
    test_verdict: Standing
    earning: list[str]
    search_first: Recommendation
    gates: dict[str, list[Gate]]
    models: dict[str, ModelResult]
    pairs: dict[str, list[Pair]]
    trained_with: dict[str, dict[str, str]]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; a reference has no key `training`."""
        content = dataclasses.asdict(self)
        for model in content["models"].values():
            if model["training"] is None:
                del model["training"]
        return content


@dataclasses.dataclass(frozen=True)
class JudgedSplit:
    """One split's bootstrap draws of its days, what each model calls there, and every two models compared."""

    drawn: DrawnDays
    calls: dict[str, Calls]
    pairs: list[Pair]


def compare_models(
    roster: Roster,
    evaluation: Evaluation,
    trained: Mapping[str, TrainRecord],
    trades: Mapping[str, Trades],
    scores: Mapping[str, Mapping[str, np.ndarray]],
    *,
    simulated: bool,
    draws: int,
    seed: int,
    block_days: int | None,
    confidence: float,
    min_val_f1: float,
    max_train_val_gap: float,
    max_seed_spread: float,
) -> Comparison:
    """Compare all models; the same input gives the same result, whatever the number of cores.

    Args:
        evaluation: has every model of the roster.
        trained: by network.
        trades: by split of `SCORED_SPLITS`.
        scores: float64 (S, N) by split and model, a row a seed.
        simulated: whether the bars are.
        draws, seed, block_days: of the bootstrap; None takes the block length that suits the days.
        confidence: of intervals, and against any false finding among the pairs.
        min_val_f1, max_train_val_gap, max_seed_spread: thresholds of gates.
    """
    labels, networks = roster.labels, list(roster.networks)
    splits = {}
    for split in SCORED_SPLITS:
        drawn = DrawnDays.of(int(trades[split].days.max()) + 1, block_days, draws, seed)
        splits[split] = judge_split(labels, evaluation, trades[split], scores[split], drawn, confidence)
    models = {name: summarise(name, evaluation.models[name], trained.get(name), splits, confidence) for name in labels}
    val_f1, test_f1 = ({name: getattr(models[name], split)["f1"]["mean"] for name in labels} for split in SCORED_SPLITS)
    ranking = sorted(labels, key=lambda name: -val_f1[name])

    reference_f1 = {name: val_f1[name] for name in REFERENCES}
    shift_f1 = {name: mean_shift_test_f1(trades["val"], scores["val"][name]) for name in networks}
    floors = {name: find_floors(min_val_f1, shift_f1[name], reference_f1, labels) for name in networks}
    recommended = recommend({name: val_f1[name] for name in networks}, floors, splits["val"].pairs, labels)
    test = splits["test"]
    standing = find_leader(test_f1, test.pairs)
    earning = profitable({name: test.calls[name] for name in networks}, test.drawn.blocks, confidence)
    gates = {}
    for name in networks:
        evidence = gather_evidence(models[name], trained[name], floors[name], is_profitable=name in earning)
        rivals = [Rival(labels[own], test_f1[own], is_clear(test.pairs, name, own)) for own in REFERENCES]
        gates[name] = check_gates(evidence, rivals, max_train_val_gap=max_train_val_gap, max_seed_spread=max_seed_spread)
    trained_with = {name: trained[name].trained_with for name in networks}
    return Comparison(
        verdict=[
            leader_sentence(standing, test_f1, labels),
            search_sentence(recommended, labels),
            money_sentence(labels[recommended.best], models[recommended.best].test["money"], confidence),
            readiness_sentence(earning, labels),
            *training_differences(trained_with, labels),
        ],
        losing=[name for name in ranking if loses_despite_f1(models[name], test_f1["always_positive"])],
        simulated=simulated,
        confidence=confidence,
        draws=draws,
        block_days={split: judged.drawn.block for split, judged in splits.items()},
        days={split: judged.drawn.days for split, judged in splits.items()},
        break_even_precision=evaluation.break_even_precision,
        cost_per_trade=evaluation.cost_per_trade,
        one_column=evaluation.one_column,
        ranking=ranking,
        test_verdict=standing,
        earning=earning,
        search_first=recommended,
        gates=gates,
        models=models,
        pairs={split: judged.pairs for split, judged in splits.items()},
        trained_with=trained_with,
    )


def loses_despite_f1(model: ModelResult, always_positive_f1: float) -> bool:
    """Tell whether a model's test F1 is above that of always-positive, and its trades lost money after costs."""
    return model.test["f1"]["mean"] > always_positive_f1 and model.test["money"]["total_return_net"] < 0


def judge_split(
    names: Iterable[str],
    evaluation: Evaluation,
    trades: Trades,
    scores: Mapping[str, np.ndarray],
    drawn: DrawnDays,
    confidence: float,
) -> JudgedSplit:
    """Count on one split what each model calls positive, at its own thresholds, and compare every two models."""
    calls = {}
    for name in names:
        model = evaluation.models[name]
        called = scores[name] >= np.array(model.thresholds)[:, None]
        calls[name] = Calls.of(trades, called, model.seeds, drawn.weights, evaluation.cost_per_trade)
    return JudgedSplit(drawn, calls, compare_pairs(calls, drawn.blocks, confidence))


def mean_shift_test_f1(trades: Trades, scores: np.ndarray) -> float:
    """Return the best F1 that scores, float64 (S, N), reach on shifted labels, mean over seeds."""
    return statistics.fmean(shift_test_f1(trades.y, row, trades.asset_ids, SHIFTS) for row in scores)


def summarise(
    name: str, model: Judged, trained: TrainRecord | None, splits: Mapping[str, JudgedSplit], confidence: float
) -> ModelResult:
    """Average one model's figures over its seeds; `trained` is None of a reference."""
    val, test = (
        score_means(
            model.on(split),
            getattr(model.ensemble, split).f1_score_positive_class,
            splits[split].calls[name].f1_estimate(splits[split].drawn.blocks),
            confidence,
        )
        for split in SCORED_SPLITS
    )
    best = model.test[model.best]
    daily_return = splits["test"].calls[name].daily_estimate(splits["test"].drawn.blocks)
    test |= {
        "temperature": statistics.fmean(model.temperatures),
        "confusion": {key: getattr(best, key) for key in ("tp", "fp", "fn", "tn")},
        "money": money_means([metrics.money for metrics in model.test], daily_return, confidence),
        "by_asset": group_means(model.by_asset),
        "by_month": group_means(model.by_month),
    }
    if trained is None:
        return ModelResult("reference", model.seeds, val, test, training=None)
    return ModelResult("network", model.seeds, val, test, training=trained.convergence())


def gather_evidence(
    model: ModelResult, trained: TrainRecord, val_floors: Mapping[str, float], *, is_profitable: bool
) -> Evidence:
    """Pick what the gates ask of one architecture."""
    money = model.test["money"]
    return Evidence(
        train_f1=trained.train_f1,
        val_f1=model.val["f1"]["mean"],
        test_f1=model.test["f1"]["mean"],
        val_floors=val_floors,
        val_f1_spread=trained.val_f1_spread,
        unconverged_seeds=trained.unconverged_seeds,
        test_hit_rate=money["hit_rate"],
        break_even_hit_rate=money["break_even_hit_rate"],
        test_return=money["total_return_net"],
        is_profitable=is_profitable,
    )
