"""What walk-forward found: the fields are the keys of walk_forward.json."""

import dataclasses
from typing import Any

from judge.equity import Growth
from judge.family import Answer
from judge.fold_tracks import Track
from judge.over_folds import OverFolds


@dataclasses.dataclass(frozen=True)
class FoldCuts:
    """When a fold's splits begin, and when test ends: ISO texts, UTC. The end is not part of test."""

    train_from: str
    val_from: str
    test_from: str
    test_until: str


@dataclasses.dataclass(frozen=True)
class FoldSummary:
    """What one fold alone says.

    samples, positives, days: of test.
    best_on_validation, best_on_test: the models first in cross-fitted validation F1, and in test F1.
    worth_a_search, worth_a_trade: as `Comparison` has them, from this fold alone.
    rank_agreement: Kendall's tau-b of cross-fitted validation F1 and test F1 over all models; None where either is the same of
        all models.
    buy_and_hold: of all assets, over this fold's test.
    """

    name: str
    cuts: FoldCuts
    samples: int
    positives: int
    days: int
    best_on_validation: str
    best_on_test: str
    worth_a_search: list[str]
    worth_a_trade: list[str]
    rank_agreement: float | None
    buy_and_hold: Growth


@dataclasses.dataclass(frozen=True)
class RankAgreement:
    """Whether validation orders models as test does.

    mean: of the folds' `rank_agreement`; None where none has one.
    best_was_best: number of folds in which the best on validation was the best on test.
    """

    mean: float | None
    best_was_best: int


@dataclasses.dataclass(frozen=True)
class FoldAnswers:
    """What was asked over folds, each list a family that is corrected together; paired by fold. All are empty with one fold.

    test: whether test F1 differs, between each network and `WalkForward.reference`, every two networks, and each model and each
        of `judge.names.BASELINES`.
    direction: whether the direction AUC on test is not 0.5, of the models that at least two folds give one.
    trade: whether the daily return on test after costs exceeds zero, of the models that trade in any fold; a fold without a
        trade returns 0. One-sided.
    """

    test: list[Answer]
    direction: list[Answer]
    trade: list[Answer]


@dataclasses.dataclass(frozen=True)
class ModelOverFolds:
    """One model over folds.

    kind: network or reference. seeds: [None] of a reference.
    val_f1: cross-fitted, on validation. f1, pr_auc, direction_auc, return_per_day: on test; the last one after costs, as a share
        of the capital, at the threshold for money.
    track: the test periods joined.
    """

    kind: str
    seeds: list[int | None]
    val_f1: OverFolds
    f1: OverFolds
    pr_auc: OverFolds
    direction_auc: OverFolds
    return_per_day: OverFolds
    track: Track


@dataclasses.dataclass(frozen=True)
class ValidationChoice:
    """What "always take what validation says" was worth.

    models: of each fold, the one first in cross-fitted validation F1.
    f1, return_per_day: theirs on test; `changes_p` is None.
    track: theirs, joined. behind_best: mean over folds of the best test F1 of any model, less theirs.
    """

    models: list[str]
    f1: OverFolds
    return_per_day: OverFolds
    track: Track
    behind_best: float


@dataclasses.dataclass(frozen=True)
class WalkForward:
    """What was found over folds; its fields are the keys of walk_forward.json, in their order.

    verdict: sentences; the first says whether anything is shown to be better than the references, or worth a trade.
    better: networks whose test F1 over folds is shown to exceed that of `reference`, the best first.
    worth_a_trade: models whose return over folds is shown to exceed zero, the best on validation first.
    simulated: whether the bars are. confidence, draws, margin: as in `Comparison`.
    reference: the one with the highest mean cross-fitted validation F1 over folds.
    folds: oldest first. ranking: all models by mean test F1 over folds.
    answers: to all questions. choice: of validation. models: by name.
    buy_and_hold: of all assets, from the first test period to the end of the last one, also between them.
    equity_days: UTC days (ISO) of the equity curves, at most 400. buy_and_hold_equity: that capital at the end of each.
    """

    verdict: list[str]
    better: list[str]
    worth_a_trade: list[str]
    simulated: bool
    confidence: float
    draws: int
    margin: float
    reference: str
    folds: list[FoldSummary]
    ranking: list[str]
    rank_agreement: RankAgreement
    answers: FoldAnswers
    choice: ValidationChoice
    models: dict[str, ModelOverFolds]
    buy_and_hold: Growth
    equity_days: list[str]
    buy_and_hold_equity: list[float]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)
