"""Train an architecture on every fold, once with each seed; a training that is finished already is not run again.

On a GPU that goes for full groups of trainings: a new fold joins the last one that is not full (`learn.grouping`).
"""

import sys

sys.path.insert(0, __file__.rpartition("/walk_forward/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

from core.files import write_json
from core.params import read_section
from core.pipeline import WALK_FORWARD, Stage
from core.run import run
from learn.architecture import find_architecture
from learn.models import write_models
from learn.train_stage import Train, plan_trainings, require_trained, train_record
from learn.trainings import running
from walk_forward.folds import WalkForward, places_of, read_folds
from watch import progress
from watch.tracking import Writer
from watch.watcher import watching


def main(name: str) -> None:
    architecture = find_architecture(name)
    settings = read_section("train", Train)
    seeds = sorted(read_section("walk_forward", WalkForward).seeds or settings.seeds)
    folds = [places_of(fold) for fold in read_folds()]
    trainings = plan_trainings(architecture, settings, [fold.data for fold in folds], seeds)
    untracked = Writer()
    with running(trainings, keep=True) as runner, progress.clearing_bars():
        trained = require_trained(runner.outcomes(lambda training: watching(training, untracked)), runner)
        for number, fold in enumerate(folds):
            own = slice(number * len(seeds), (number + 1) * len(seeds))
            write_models(architecture, trained[own], fold.models_of(name), fold.data)
            write_json(fold.train_record_of(name), train_record(trainings[own], trained[own]))


if __name__ == "__main__":
    run(main, stage=Stage(WALK_FORWARD, "train_folds"), takes_item=True)
