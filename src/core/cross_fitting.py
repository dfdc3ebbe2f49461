"""Choose on one half of a split and judge on the other, so that no sample is judged by a choice that it had a part in.

The halves are cut by time. A sample whose label looks across the cut belongs to neither. N samples, in their order.
"""

import dataclasses

import numpy as np

from core.metrics import Ranking
from core.splits import sample_rows

FIRST, SECOND, NEITHER = 0, 1, -1  # where a sample belongs
BAR = np.timedelta64(1, "h")


def halves(y: np.ndarray, timestamps: np.ndarray, horizon: int) -> np.ndarray:
    """Say to which half of a split each sample belongs.

    The cut is the start, in UTC, of day number D // 2, counted from 0, of the D days that have samples. A sample is of the first
    half if the last bar that its label may look at has closed by then, and of the second if its bar opens then or later.

    Args:
        y: int8 (rows,), -1 where a row ends no sample; rows are ordered by asset, then time.
        timestamps: datetime64[s] (rows,), opening times of the bars, UTC.
        horizon: bars until a trade is closed; that many rows of the asset follow each sample.

    Returns:
        int8 (N,): 0 the first half, 1 the second, -1 neither.
    """
    rows = sample_rows(y)
    opens, closes = timestamps[rows], timestamps[rows + horizon] + BAR
    days = np.unique(opens.astype("datetime64[D]"))
    cut = days[len(days) // 2]
    return np.select([closes <= cut, opens >= cut], [FIRST, SECOND], NEITHER).astype(np.int8)


def best_f1_of_halves(y: np.ndarray, scores: np.ndarray, half: np.ndarray) -> tuple[float, float]:
    """Measure F1 on each half, at the threshold that is best on it; 0 where the half has no sample.

    Args:
        y: (N,), 0 and 1. scores: float64 (N,). half: int8 (N,), as `halves` returns it.
    """
    first, second = (_best_f1(y[half == number], scores[half == number]) for number in (FIRST, SECOND))
    return first, second


def _best_f1(y: np.ndarray, scores: np.ndarray) -> float:
    return float(Ranking.of(y, scores).f1().max()) if len(y) else 0.0


@dataclasses.dataclass(frozen=True)
class HalfBest:
    """The epoch with the highest best F1 on one half so far: the first of several.

    epoch: its number, from 1; 0 before the first. f1: on that half.
    logits: float32 (N,), of all samples of the split at that epoch; None before the first.
    """

    epoch: int = 0
    f1: float = -1.0
    logits: np.ndarray | None = None

    def after(self, epoch: int, f1: float, logits: np.ndarray) -> "HalfBest":
        """Return the best after one more epoch."""
        return HalfBest(epoch, f1, logits) if f1 > self.f1 else self
