"""Estimate a figure over folds, whose values are the units: its mean, the error of that, and whether it changes.

Shapes: K folds, Q questions, W draws.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class OverFolds:
    """One figure of one model over folds. Lists have an item a fold, oldest first.

    by_fold: mean over seeds; None in a fold where the figure is undefined.
    errors: standard error within each fold, of days and seeds; None likewise, 0 where the figure is known exactly, as the
        return of a fold without a trade.
    mean: over the folds that have the figure; None where none has.
    std: sample standard deviation over these folds; None where fewer than two have it.
    interval: [low, high] of the mean, for folds like these. It contains the variance between folds: Student's t with K - 1
        degrees of freedom. Where the error within folds is larger than the spread between them shows, the larger one counts.
        None where fewer than two folds have the figure: then no spread is known.
    changes_p: p-value of "the same in every fold, but for the error within them", corrected over the models by Holm; None
        where fewer than two folds have the figure with an error.
    """

    by_fold: list[float | None]
    errors: list[float | None]
    mean: float | None
    std: float | None
    interval: list[float] | None
    changes_p: float | None
