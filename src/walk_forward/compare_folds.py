"""Judge over folds: whether what one split shows holds in others, and what following validation would have been worth."""

import sys

sys.path.insert(0, __file__.rpartition("/walk_forward/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

import statistics

import numpy as np

from compare import Compare, compare, load
from core.errors import print_stderr
from core.files import read_json, write_csv, write_json, write_text
from core.params import read_section
from core.pipeline import WALK_FORWARD, Stage, read_architectures
from core.run import run
from core.splits import read_split
from judge.names import Roster
from judge.walk_forward import FoldScores, judge_walk_forward
from judge.walk_forward_result import FoldCuts, WalkForward
from report.fold_rows import flat_metrics, score_rows
from report.walk_forward import markdown, page
from walk_forward.folds import FOLDS, PROJECT, places_of
from watch import ledger, tracking

BARS = ("y", "closes", "asset_ids", "timestamps")  # of test: what holding the assets is worked out from


def read_fold(name: str, cuts: FoldCuts, roster: Roster, settings: Compare) -> FoldScores:
    """Read what was measured on a fold, and judge it alone by the campaign's rules."""
    places = places_of(name)
    inputs = load(places, roster)
    return FoldScores(
        name=name,
        cuts=cuts,
        evaluation=inputs.evaluation,
        trades=inputs.trades,
        halves=inputs.halves,
        bars=read_split(places.data, "test", *BARS),
        scores=inputs.scores,
        comparison=compare(inputs, roster, settings),
    )


def write(result: WalkForward, roster: Roster) -> None:
    """Write what was found: all of it, each model's row of the leaderboard, the plot's data, and the reports."""
    write_json(PROJECT / "metrics/walk_forward.json", result.to_json())
    for name, model in result.models.items():
        write_json(PROJECT / "metrics/test" / f"{name}.json", flat_metrics(model))
    write_csv(PROJECT / "plots/score_by_fold.csv", score_rows(result, roster))
    write_text(PROJECT / "reports/walk_forward.md", markdown(result, roster))
    write_text(PROJECT / "reports/walk_forward.html", page(result, roster))


def look_of(folds: list[FoldScores], roster: Roster) -> ledger.Look:
    """Describe this look at the folds' tests, for the ledger; a model's days follow each other over folds."""

    def daily(name: str, fold: FoldScores) -> np.ndarray:
        return ledger.daily_returns(fold.trades["test"], fold.scores[name].test, fold.evaluation.models[name].money_thresholds)

    return ledger.Look.at(
        "walk-forward",
        [places_of(fold.name).data for fold in folds],
        ledger.settings_of(*roster.networks, "walk_forward"),
        {
            name: statistics.fmean(own.f1_score_positive_class for fold in folds for own in fold.evaluation.models[name].test)
            for name in roster.labels
        },
        {name: np.concatenate([daily(name, fold) for fold in folds]) for name in roster.labels},
    )


@tracking.update_at_end("update_walk_forward")
def main() -> None:
    settings = read_section("compare", Compare)
    planned = read_json(FOLDS)
    first = places_of(next(iter(planned)))
    labels = {name: read_json(first.models_of(name) / "network.json")["label"] for name in read_architectures(WALK_FORWARD)}
    roster = Roster(labels)
    folds = [read_fold(name, FoldCuts(**cuts), roster, settings) for name, cuts in planned.items()]
    metadata = read_json(first.data / "metadata.json")
    result = judge_walk_forward(
        roster,
        folds,
        metadata["assets"],
        simulated=metadata["simulated"],
        draws=settings.draws,
        seed=settings.seed,
        block_days=settings.block_days,
        confidence=settings.confidence,
        margin=settings.margin,
    )
    write(result, roster)
    for sentence in result.verdict:
        print_stderr(f"compare_folds: {sentence}")
    ledger.note(look_of(folds, roster))


if __name__ == "__main__":
    run(main, stage=Stage(WALK_FORWARD, "compare_folds"))
