"""Fit the references to every fold, and score its validation and test with them."""

import sys

sys.path.insert(0, __file__.rpartition("/walk_forward/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

from core.params import read_section
from core.pipeline import WALK_FORWARD, Stage
from core.run import run
from fit_references import References, fit_references
from walk_forward.folds import places_of, read_folds


def main() -> None:
    folds = map(places_of, read_folds())
    fit_references({fold.data: fold.models_of("references") for fold in folds}, read_section("references", References))


if __name__ == "__main__":
    run(main, stage=Stage(WALK_FORWARD, "reference_folds"))
