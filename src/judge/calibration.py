"""Measure how well probabilities are calibrated, and correct them by temperature scaling.

Shapes: N samples; y (N,) holds 0 and 1, scores (N,) are probabilities, float64.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from core.metrics import clip, log_loss, sigmoid

BINS = 15


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


def fit_temperature(y: np.ndarray, scores: np.ndarray) -> float:
    """Find the temperature T in [0.05, 20] at which sigmoid(logit(score) / T) has the lowest log loss.

    Source: Guo et al. (2017), arXiv:1706.04599, section 4.2.
    """
    logits = logit(scores)

    def loss(log_temperature: float) -> float:
        return log_loss(y, sigmoid(logits / np.exp(log_temperature)))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def apply_temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Soften (T > 1) or sharpen (T < 1) probabilities; their ranking stays."""
    return sigmoid(logit(scores) / temperature)


def logit(scores: np.ndarray) -> np.ndarray:
    """Return log odds, finite also for scores of 0 and 1 (`core.metrics.clip`)."""
    p = clip(scores)
    return np.log(p) - np.log1p(-p)
