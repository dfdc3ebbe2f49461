"""Judge over folds: what one split shows is one draw, what all of them show together is more.

Each fold is first judged alone, by the campaign's own rule. Over folds, a fold's figure is one observation.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from judge.comparison import Comparison, Figures, test_questions
from judge.evaluation import Evaluation
from judge.family import Answer, Figure, Question
from judge.figures import Days, ModelScores, pr_auc
from judge.fold_tracks import Followed, JoinedTest
from judge.money import Trades, costs_by_asset
from judge.names import REFERENCES, Roster
from judge.over_folds import FoldFigures, OverFolds, answer_over_folds, change_p_values
from judge.recommendation import best_reference
from judge.uncertainty import Estimate
from judge.walk_forward_result import (
    FoldAnswers,
    FoldCuts,
    FoldSummary,
    ModelOverFolds,
    RankAgreement,
    ValidationChoice,
    WalkForward,
)
from judge.walk_forward_verdict import verdict_over_folds

KINDS = ("val_f1", "f1", "pr_auc", "direction_auc", "return_per_day")  # the figures of `ModelOverFolds`
ERROR_DRAWS = 1000  # of days in a fold, at most: they tell an error to 2 %, and K folds need K times as many


@dataclasses.dataclass(frozen=True)
class FoldScores:
    """One fold: what was measured on it, and the campaign's own judgement.

    name: start of the test period. evaluation: has every model of the roster.
    trades: by split of `SCORED_SPLITS`. halves: int8 (N,), the half of each sample of validation.
    bars: y, closes, asset_ids and timestamps of test as on disk, (rows,) each.
    scores: by model. comparison: of this fold alone.
    """

    name: str
    cuts: FoldCuts
    evaluation: Evaluation
    trades: Mapping[str, Trades]
    halves: np.ndarray
    bars: Mapping[str, np.ndarray]
    scores: Mapping[str, ModelScores]
    comparison: Comparison


def judge_walk_forward(
    roster: Roster,
    folds: Sequence[FoldScores],
    symbols: Sequence[str],
    *,
    simulated: bool,
    draws: int,
    seed: int,
    block_days: int | None,
    confidence: float,
    margin: float,
) -> WalkForward:
    """Judge all models over folds; the same input gives the same result, whatever the number of cores.

    Args:
        folds: at least one, oldest first; their test periods do not overlap, and each has every model of the roster.
        symbols: of the assets, by asset id, the same in all folds.
        simulated: whether the bars are.
        draws, seed, block_days: as in `compare_models`.
        confidence: of intervals, and against any false finding within a family of questions.
        margin: a difference of F1 that does not matter.
    """
    labels, networks = roster.labels, list(roster.networks)
    figures: dict[str, list[FoldFigures]] = {kind: [] for kind in KINDS}
    for number, fold in enumerate(folds):
        for kind, own in draw_figures(roster, fold, min(draws, ERROR_DRAWS), seed + 2 * number, block_days).items():
            figures[kind].append(own)
    joined = JoinedTest.of(
        [fold.trades["test"] for fold in folds],
        [float(fold.trades["val"].y.mean()) for fold in folds],
        [fold.bars for fold in folds],
        symbols,
        costs_by_asset(folds[0].evaluation.cost_per_trade, symbols),
    )
    models = summarise_over_folds(roster, folds, figures, joined, confidence, draws, seed)
    val_f1, f1 = ({name: getattr(model, kind).mean for name, model in models.items()} for kind in ("val_f1", "f1"))
    reference = best_reference({name: val_f1[name] for name in REFERENCES})
    answers = ask_over_folds(labels, networks, reference, models, figures, confidence, draws, seed)
    choice = follow_validation(folds, figures, models, joined, confidence)
    summaries = [summarise_fold(fold, models, number) for number, fold in enumerate(folds)]
    agreements = [fold.rank_agreement for fold in summaries if fold.rank_agreement is not None]
    above = {found.one for found in answers.test if found.other == reference and found.is_clear and found.difference > 0}
    found = WalkForward(
        verdict=[],
        better=sorted(above.intersection(networks), key=lambda name: -f1[name]),
        worth_a_trade=sorted((own.one for own in answers.trade if own.is_clear), key=lambda name: -val_f1[name]),
        simulated=simulated,
        confidence=confidence,
        draws=draws,
        margin=margin,
        reference=reference,
        folds=summaries,
        ranking=sorted(labels, key=lambda name: -f1[name]),
        rank_agreement=RankAgreement(
            mean=statistics.fmean(agreements) if agreements else None,
            best_was_best=sum(fold.best_on_validation == fold.best_on_test for fold in summaries),
        ),
        answers=answers,
        choice=choice,
        models=models,
        buy_and_hold=joined.held.growth,
        equity_days=joined.days.astype(str).tolist(),
        buy_and_hold_equity=joined.held.at_end_of(joined.days).tolist(),
    )
    return dataclasses.replace(found, verdict=verdict_over_folds(found, labels))


def draw_figures(roster: Roster, fold: FoldScores, draws: int, seed: int, block_days: int | None) -> dict[str, FoldFigures]:
    """Draw the figures of `KINDS` of all models in one fold; the return of one without a trade is 0, without an error."""
    days = Days.of(fold.trades["val"], fold.trades["test"], fold.halves, block_days, draws, seed)
    by_kind: dict[str, dict[str, Figure | None]] = {kind: {} for kind in KINDS}
    for name in roster.labels:
        is_network = name in roster.networks
        own = Figures.of(fold.evaluation.models[name], fold.scores[name], days, is_network=is_network)
        by_kind["val_f1"][name] = own.cross_fitted
        by_kind["f1"][name] = own.test
        by_kind["pr_auc"][name] = pr_auc(fold.scores[name], days, is_network=is_network)
        by_kind["direction_auc"][name] = own.direction
        by_kind["return_per_day"][name] = own.daily or Figure([0.0], np.zeros(draws), is_network=False)
    return {
        kind: FoldFigures(figures, days.val_drawn.blocks if kind == "val_f1" else days.test_drawn.blocks)
        for kind, figures in by_kind.items()
    }


def estimate_by_fold(kind: str, folds: Sequence[FoldFigures], models: Sequence[str]) -> list[Estimate | None]:
    """Estimate one figure of one model in each fold; the direction AUC itself, not what it is above a coin's."""
    own = [fold.estimate(name) for fold, name in zip(folds, models, strict=True)]
    if kind != "direction_auc":
        return own
    return [one and dataclasses.replace(one, value=one.value + 0.5) for one in own]


def summarise_over_folds(
    roster: Roster,
    folds: Sequence[FoldScores],
    figures: Mapping[str, Sequence[FoldFigures]],
    joined: JoinedTest,
    confidence: float,
    draws: int,
    seed: int,
) -> dict[str, ModelOverFolds]:
    """Summarise each model; `figures`: by kind, of each fold."""
    over: dict[str, dict[str, OverFolds]] = {name: {} for name in roster.labels}
    for number, (kind, of_folds) in enumerate(figures.items()):
        by_model = {name: estimate_by_fold(kind, of_folds, [name] * len(folds)) for name in roster.labels}
        changes = change_p_values(by_model, draws=draws, seed=[seed, number])
        for name, by_fold in by_model.items():
            over[name][kind] = OverFolds.of(by_fold, confidence, changes[name], within_unit=kind != "return_per_day")
    return {
        name: ModelOverFolds(
            kind="network" if name in roster.networks else "reference",
            seeds=folds[0].evaluation.models[name].seeds,
            **own,
            track=joined.follow([Followed(fold.evaluation.models[name], fold.scores[name].test) for fold in folds]),
        )
        for name, own in over.items()
    }


def ask_over_folds(
    models: Sequence[str],
    networks: Sequence[str],
    reference: str,
    found: Mapping[str, ModelOverFolds],
    figures: Mapping[str, Sequence[FoldFigures]],
    confidence: float,
    draws: int,
    seed: int,
) -> FoldAnswers:
    """Ask all questions, each family together."""
    trading = [name for name in models if any(found[name].track.trades)]

    def put(kind: str, questions: Sequence[Question], *, one_sided: bool = False) -> list[Answer]:
        own = [seed, KINDS.index(kind)]
        return answer_over_folds(questions, figures[kind], confidence=confidence, draws=draws, seed=own, one_sided=one_sided)

    return FoldAnswers(
        test=put("f1", test_questions(models, networks, reference)),
        direction=put("direction_auc", [Question(name) for name in models]),
        trade=put("return_per_day", [Question(name) for name in trading], one_sided=True),
    )


def follow_validation(
    folds: Sequence[FoldScores],
    figures: Mapping[str, Sequence[FoldFigures]],
    models: Mapping[str, ModelOverFolds],
    joined: JoinedTest,
    confidence: float,
) -> ValidationChoice:
    """Take in each fold the model that is first on validation."""
    chosen = [best_in_fold(models, "val_f1", number) for number in range(len(folds))]
    f1, returned = (estimate_by_fold(kind, figures[kind], chosen) for kind in ("f1", "return_per_day"))
    best = [max(model.f1.by_fold[number] for model in models.values()) for number in range(len(folds))]
    return ValidationChoice(
        models=chosen,
        f1=OverFolds.of(f1, confidence, within_unit=True),
        return_per_day=OverFolds.of(returned, confidence),
        track=joined.follow(
            [Followed(fold.evaluation.models[name], fold.scores[name].test) for fold, name in zip(folds, chosen, strict=True)]
        ),
        behind_best=statistics.fmean(first - own.value for first, own in zip(best, f1, strict=True)),
    )


def best_in_fold(models: Mapping[str, ModelOverFolds], kind: str, number: int) -> str:
    """Return the model with the highest figure in one fold; of equals the first."""
    return max(models, key=lambda name: getattr(models[name], kind).by_fold[number])


def summarise_fold(fold: FoldScores, models: Mapping[str, ModelOverFolds], number: int) -> FoldSummary:
    """Sum up what a fold alone says; `number`: of the fold, from 0."""
    test = fold.trades["test"]
    val_f1, test_f1 = ([getattr(model, kind).by_fold[number] for model in models.values()] for kind in ("val_f1", "f1"))
    agreement = float(stats.kendalltau(val_f1, test_f1).statistic)
    return FoldSummary(
        name=fold.name,
        cuts=fold.cuts,
        samples=len(test.y),
        positives=int(test.y.sum()),
        days=int(test.days.max()) + 1,
        best_on_validation=best_in_fold(models, "val_f1", number),
        best_on_test=best_in_fold(models, "f1", number),
        worth_a_search=fold.comparison.worth_a_search,
        worth_a_trade=fold.comparison.worth_a_trade,
        rank_agreement=None if math.isnan(agreement) else agreement,
        buy_and_hold=fold.evaluation.buy_and_hold["test"],
    )
