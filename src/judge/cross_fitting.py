"""Judge on validation without the optimism of choosing there: epoch and threshold come from one half, the score from the other.

Shapes: N samples of validation; S seeds.
"""

import dataclasses

import numpy as np

from core.cross_fitting import FIRST, SECOND
from core.metrics import Ranking, f1_precision_recall


@dataclasses.dataclass(frozen=True)
class CrossFitted:
    """F1 of one model and seed on validation, of what neither its epoch nor its threshold was chosen on.

    thresholds: the best on the first half and on the second; each is used on the other half.
    f1: of the calls of both halves together.
    """

    thresholds: list[float]
    f1: float


def cross_fit(y: np.ndarray, scores: np.ndarray, half: np.ndarray) -> CrossFitted:
    """Choose on each half, and judge on the other.

    Args:
        y: (N,), 0 or 1.
        scores: float64 (2, N); row h is of the epoch that was best on half h. Both rows are the same where there are no epochs.
        half: int8 (N,), as `core.cross_fitting.halves` returns it.
    """
    thresholds = [_best_threshold(y[half == own], scores[own, half == own]) for own in (FIRST, SECOND)]
    judged, called = half >= 0, cross_fitted_calls(scores, thresholds, half)
    f1, *_ = f1_precision_recall(y[judged], called[judged].astype(float), 0.5)
    return CrossFitted(thresholds, f1)


def cross_fitted_calls(scores: np.ndarray, thresholds: list[float], half: np.ndarray) -> np.ndarray:
    """Call the samples of each half by the scores and the threshold of the other, bool (N,); False for those of neither.

    Args:
        scores: float64 (2, N), as in `cross_fit`. thresholds: as `CrossFitted` has them. half: int8 (N,).
    """
    by_choice = scores >= np.array(thresholds)[:, None]
    return np.select([half == FIRST, half == SECOND], [by_choice[SECOND], by_choice[FIRST]], default=False)


def _best_threshold(y: np.ndarray, scores: np.ndarray) -> float:
    """Return the threshold with the best F1; 1 of a half without a sample."""
    return Ranking.of(y, scores).best_threshold() if len(y) else 1.0
