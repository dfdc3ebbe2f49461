"""Measure how well probabilities are calibrated, and correct them by Platt scaling: an affine map of their log odds.

Shapes: N samples; y (N,) holds 0 and 1, scores (N,) are probabilities, float64.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy.special import expit  # unlike core's sigmoid it takes slopes of any size without a warning

from core.metrics import clip

BINS = 15
SMALLEST_LOSS = 1e-9  # separable samples have none at an infinite slope
MAX_STEPS = 200  # of Newton's method, which needs about ten, and some thirty where samples are separable
SMALLEST_STEP = 1e-9  # share of a step


class CalibrationBin(NamedTuple):
    """Mean score, share of positives and number of samples of one bin."""

    predicted: float
    observed: float
    samples: int


def calibration_curve(y: np.ndarray, scores: np.ndarray, bins: int = BINS) -> list[CalibrationBin]:
    """Compare scores with outcomes over `equal_count_bins`, lowest scores first."""
    return [CalibrationBin(float(scores[i].mean()), float(y[i].mean()), len(i)) for i in equal_count_bins(scores, bins)]


def expected_calibration_error(y: np.ndarray, scores: np.ndarray, bins: int = BINS) -> float:
    """Average |mean score - share of positives| over `equal_count_bins`, weighted by their number of samples."""
    return float(sum(abs(scores[i].sum() - y[i].sum()) for i in equal_count_bins(scores, bins)) / len(scores))


def equal_count_bins(scores: np.ndarray, bins: int) -> list[np.ndarray]:
    """Split samples by score into at most `bins` bins of equal size, lowest scores first; equal scores share a bin.

    Returns:
        Indices of the samples of each bin.
    """
    order = np.argsort(scores, kind="stable")
    ends = np.cumsum([len(part) for part in np.array_split(order, min(bins, len(order)))])
    ranked = scores[order]
    after_ties = np.unique(np.searchsorted(ranked, ranked[ends - 1], side="right"))
    return np.split(order, after_ties[:-1])


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A map from scores to probabilities: sigmoid(slope * logit(score) + intercept). A slope of at least 0 keeps the ranking."""

    slope: float
    intercept: float

    @classmethod
    def fit(cls, y: np.ndarray, scores: np.ndarray) -> "Calibration":
        """Find the map with the lowest log loss, by Newton's method. Scores that do not help get the share of positives.

        Separable samples would have an infinite slope; it ends at a loss of `SMALLEST_LOSS`.

        Source: Platt (1999), "Probabilistic outputs for support vector machines"; here without his smoothing of the targets.
        """
        logits, share = logit(scores), float(np.mean(y))
        mean, spread = float(logits.mean()), float(logits.std())
        z = (logits - mean) / spread if np.ptp(logits) > 0 and spread > 0 else np.zeros(len(logits))
        at_best = float(logit(np.array(share)))
        if np.mean((y - share) * z) <= 0 or not 0 < share < 1:  # so at slope 0 the loss does not fall with the slope
            return cls(0.0, at_best)
        slope, intercept = _minimise_log_loss(y, z, at_best)
        return cls(slope / spread, intercept - slope * mean / spread)

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Map scores to probabilities, float64 of the same shape."""
        return expit(self.slope * logit(scores) + self.intercept)


def _minimise_log_loss(y: np.ndarray, z: np.ndarray, intercept: float) -> tuple[float, float]:
    """Find slope, at least 0, and intercept for z (N,), of mean 0 and variance 1, from slope 0 and `intercept` on."""
    slope = 0.0
    loss = _mean_loss(y, slope * z + intercept)
    for _ in range(MAX_STEPS):
        if loss < SMALLEST_LOSS:
            break
        p = expit(slope * z + intercept)
        gradient = np.mean((p - y) * z), np.mean(p - y)
        curvature = p * (1 - p)
        zz, z1, one = (float(np.mean(curvature * power)) for power in (z * z, z, 1.0))
        determinant = zz * one - z1 * z1
        if determinant <= 0:
            break
        steps = (gradient[0] * one - gradient[1] * z1) / determinant, (gradient[1] * zz - gradient[0] * z1) / determinant
        scale = 1.0
        while scale > SMALLEST_STEP:
            moved = max(slope - scale * steps[0], 0.0), intercept - scale * steps[1]
            if (there := _mean_loss(y, moved[0] * z + moved[1])) < loss:
                break
            scale /= 2
        else:
            break  # rounding alone is left
        slope, intercept, loss = float(moved[0]), float(moved[1]), there
    return slope, intercept


def _mean_loss(y: np.ndarray, logits: np.ndarray) -> float:
    """Return the log loss of finite logits, exact also where probabilities round to 0 or 1."""
    return float(np.mean(np.logaddexp(0.0, logits) - y * logits))


def logit(scores: np.ndarray) -> np.ndarray:
    """Return log odds, finite also for scores of 0 and 1 (`core.metrics.clip`)."""
    p = clip(scores)
    return np.log(p) - np.log1p(-p)
