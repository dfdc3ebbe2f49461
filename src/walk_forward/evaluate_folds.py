"""Measure every model on each fold, as `evaluate` measures them on the campaign's split."""

import sys

sys.path.insert(0, __file__.rpartition("/walk_forward/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

from core.errors import print_stderr
from core.params import read_section
from core.pipeline import WALK_FORWARD, Stage, read_architectures
from core.run import run
from evaluate import Evaluate, Evaluated, evaluate
from judge.names import REFERENCES
from judge.scores import leaderboard_row
from walk_forward.folds import places_of, read_folds


def main() -> None:
    settings = read_section("evaluate", Evaluate)
    names = [*read_architectures(WALK_FORWARD), *REFERENCES]
    for fold in read_folds():

        def report(name: str, found: Evaluated, fold: str = fold) -> None:
            f1 = leaderboard_row(found.judged)["test_f1_score_positive_class"]
            print_stderr(f"evaluate_folds: {fold} {name:20} test F1 {f1:.3f}, mean over {len(found.judged.seeds)}")

        evaluate(places_of(fold), names, settings, report)


if __name__ == "__main__":
    run(main, stage=Stage(WALK_FORWARD, "evaluate_folds"))
