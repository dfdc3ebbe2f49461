"""Fit the references to every fold, and score its validation and test with them."""

import sys

sys.path.insert(0, __file__.rpartition("/walk_forward/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

from core.errors import print_stderr
from core.params import read_section
from core.pipeline import WALK_FORWARD, Stage
from core.run import run
from fit_references import References, fit_references
from walk_forward.folds import places_of, read_folds


def main() -> None:
    settings = read_section("references", References)
    for fold in read_folds():
        print_stderr(f"reference_folds: {fold}")
        places = places_of(fold)
        fit_references(places.data, places.models_of("references"), settings)


if __name__ == "__main__":
    run(main, stage=Stage(WALK_FORWARD, "reference_folds"))
