"""Train the best trial and the baseline with fresh seeds, and ask once whether the one is better than the other."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from compare import Compare
from core.cross_fitting import halves
from core.files import read_json, write_json
from core.params import read_section
from core.places import CAMPAIGN, Places
from core.splits import SCORED_SPLITS, read_split
from evaluate import ARRAYS, Evaluate, predict_network
from judge.comparison import Figures
from judge.evaluation import Judged
from judge.family import Answer, Figure, Question, answer
from judge.figures import Days, ModelScores, daily_return, log_loss, pr_auc
from judge.money import Trades, costs_by_asset
from judge.scores import judge_model
from judge.uncertainty import Blocks
from learn.models import write_models
from learn.train_stage import require_trained
from learn.trainings import Training, do_not_watch, running
from search.searching import Plan
from search.trials import BASELINE, Trial
from watch import ledger

OPTIMISED, PRESENT = "optimised", "baseline"
TRAINED_AS = "trained_as.json"  # in the models' directory: fingerprints of the trainings that left them


@dataclasses.dataclass(frozen=True)
class Measure:
    """A figure of both, as means over fresh seeds, and whether they differ; None where one has no such figure."""

    optimised: float
    baseline: float
    answer: Answer


@dataclasses.dataclass(frozen=True)
class Contest:
    """What was found.

    seeds: of each. objective: key of the measure that decides, on test.
    measures: val_f1 (cross-fitted), and on test f1, pr_auc, log_loss (below zero), direction (AUC less 0.5) and return (a day,
    after costs).
    """

    seeds: Sequence[int]
    objective: str
    confidence: float
    measures: Mapping[str, Measure | None]

    @property
    def verdict(self) -> str:
        """Return better, worse, or not shown."""
        found = self.measures[self.objective]
        if found is None or not found.answer.is_clear:
            return "not shown"
        return "better" if found.answer.difference > 0 else "worse"


def hold_contest(plan: Plan, best: Trial, directory: Path) -> Contest:
    """Train both with each fresh seed, score validation and test, and compare.

    Args:
        best: trial, not the baseline. directory: for the models, which are kept.

    Raises:
        CampaignError: a training fails; its finished epochs are kept.
    """
    places = Places(CAMPAIGN.data, directory / "models", directory / "predictions", directory / "evaluation.json")
    seeds = sorted(plan.settings.fresh_seeds)
    trainings = {
        name: [plan.training(number, values, seed) for seed in seeds]
        for name, number, values in ((OPTIMISED, best.number, best.values), (PRESENT, BASELINE, plan.baseline_values))
    }
    train(plan, trainings, places)
    settings, compare = read_section("evaluate", Evaluate), read_section("compare", Compare)
    metadata = read_json(CAMPAIGN.data / "metadata.json")
    arrays = {split: read_split(CAMPAIGN.data, split, *ARRAYS) for split in SCORED_SPLITS}
    costs = costs_by_asset(settings.cost_per_trade, metadata["assets"])
    trades = {split: Trades.of(part, costs) for split, part in arrays.items()}
    half = halves(arrays["val"]["y"], arrays["val"]["timestamps"], metadata["horizon"])
    days = Days.of(trades["val"], trades["test"], half, compare.block_days, compare.draws, compare.seed)
    judged, scores = {}, {}
    for name in trainings:
        found = predict_network(places, name, trades["val"].y)
        judged[name] = judge_model(found, trades, half, metadata["assets"], settings.min_trades)
        scores[name] = ModelScores(val=found.val, val_halves=found.val_halves, test=found.test)
    note_look(plan, best, judged, scores, trades["test"])
    return compare_both(judged, scores, days, seeds, plan.settings.objective, compare)


def note_look(plan: Plan, best: Trial, judged: Mapping[str, Judged], scores: Mapping[str, ModelScores], test: Trades) -> None:
    """Note in the ledger that a search looked at test."""
    name = plan.architecture.name
    ledger.note(
        ledger.Look.at(
            f"search {name}",
            [CAMPAIGN.data],
            ledger.settings_of(name) | {f"{name}.{key}": value for key, value in best.values.items()},
            {own: statistics.fmean(row.f1_score_positive_class for row in judged[own].test) for own in judged},
            {own: ledger.daily_returns(test, scores[own].test, judged[own].money_thresholds) for own in judged},
        )
    )


def train(plan: Plan, trainings: Mapping[str, Sequence[Training]], places: Places) -> None:
    """Train what is not there yet, and write the models."""
    wanted = {name: [training.fingerprint() for training in own] for name, own in trainings.items()}
    marker = places.models / TRAINED_AS
    if marker.exists() and read_json(marker) == wanted:
        return
    together = [training for own in trainings.values() for training in own]
    with running(together) as runner:
        trained = require_trained(runner.outcomes(do_not_watch), runner)
        for number, (name, own) in enumerate(trainings.items()):
            first = number * len(own)
            write_models(plan.architecture, trained[first : first + len(own)], places.models_of(name), CAMPAIGN.data)
        write_json(marker, wanted)


def compare_both(
    judged: Mapping[str, Judged],
    scores: Mapping[str, ModelScores],
    days: Days,
    seeds: Sequence[int],
    objective: str,
    settings: Compare,
) -> Contest:
    """Ask of each measure whether the optimised settings differ from the baseline; both by name, `OPTIMISED` and `PRESENT`."""
    figures = {name: Figures.of(judged[name], scores[name], days, is_network=True) for name in judged}
    by_measure: dict[str, dict[str, Figure | None]] = {
        "val_f1": {name: own.cross_fitted for name, own in figures.items()},
        "f1": {name: own.test for name, own in figures.items()},
        "pr_auc": {name: pr_auc(scores[name], days, is_network=True) for name in judged},
        "log_loss": {name: log_loss(scores[name], judged[name].calibrations, days, is_network=True) for name in judged},
        "direction": {name: own.direction for name, own in figures.items()},
        "return": {name: own.daily or no_trade(scores[name], days) for name, own in figures.items()},
    }
    measures: dict[str, Measure | None] = {}
    for key, own in by_measure.items():
        both = {name: figure for name, figure in own.items() if figure is not None}
        blocks = (days.val_drawn if key == "val_f1" else days.test_drawn).blocks
        measures[key] = ask(both, blocks, settings.confidence, settings.seed) if len(both) == len(own) else None
    return Contest(seeds, objective, settings.confidence, measures)


def ask(both: Mapping[str, Figure], blocks: Blocks, confidence: float, seed: int) -> Measure:
    """Ask whether a figure of the optimised settings differs from the baseline's."""
    [found] = answer([Question(OPTIMISED, PRESENT)], both, blocks, confidence=confidence, seed=seed)
    return Measure(both[OPTIMISED].mean, both[PRESENT].mean, found)


def no_trade(scores: ModelScores, days: Days) -> Figure:
    """Return the daily return of a model that never trades."""
    return daily_return(np.zeros(scores.test.shape, bool), days, is_network=True)
