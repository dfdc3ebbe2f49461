"""Do probabilities mean what they say, and what one temperature can mend. N samples; y holds 0 and 1, scores are float64."""

import numpy as np
from scipy.optimize import minimize_scalar

from core.metrics import bins_by_score, log_loss, sigmoid


def calibration_curve(y: np.ndarray, scores: np.ndarray, bins: int = 15) -> list[tuple[float, float, int]]:
    """Mean score, share of positives and samples of each bin of `bins_by_score`, lowest scores first."""
    parts = bins_by_score(scores, bins)
    return [(float(scores[part].mean()), float(y[part].mean()), len(part)) for part in parts]


def best_temperature(y: np.ndarray, scores: np.ndarray) -> float:
    """The temperature T > 0 for which sigmoid(logit(score) / T) has the lowest log loss; it never changes the ranking.

    Source: Guo et al. (2017), arXiv:1706.04599, section 4.2.
    """
    logits = logit(scores)

    def loss(log_temperature: float) -> float:
        return log_loss(y, sigmoid(logits / np.exp(log_temperature)))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def at_temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities softened (T > 1) or sharpened (T < 1)."""
    return sigmoid(logit(scores) / temperature)


def logit(scores: np.ndarray) -> np.ndarray:
    """Log odds; probabilities are kept one float64 epsilon from 0 and 1."""
    tiny = np.finfo(np.float64).eps
    p = np.clip(scores, tiny, 1 - tiny)
    return np.log(p) - np.log1p(-p)
