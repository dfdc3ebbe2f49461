"""Measure a binary classifier: confusion counts, F1, areas under curves, Brier score and log loss.

A sample is predicted positive when its score is at or above the threshold. Shapes: N samples; y (N,) holds 0 and 1, scores (N,)
are probabilities, float64.
"""

import dataclasses
from typing import NamedTuple

import numpy as np


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Map logits to probabilities, in float64 whatever the input's dtype, so that large logits stay distinct."""
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


@dataclasses.dataclass(frozen=True)
class Ranking:
    """True and false positives at every threshold that matters: the K distinct scores.

    scores: float64 (K,), highest first.
    tp, fp: int64 (K,), true and false positives when all samples with at least this score are predicted positive.
    positives, negatives: number of samples of each class.
    """

    scores: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    positives: int
    negatives: int

    @classmethod
    def of(cls, y: np.ndarray, scores: np.ndarray) -> "Ranking":
        """Rank samples by score; samples with equal scores share one threshold."""
        order = np.argsort(-scores, kind="stable")
        ordered, hits = scores[order], (y[order] > 0).astype(np.int64)
        last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
        tp = np.cumsum(hits)[last]
        return cls(ordered[last], tp, last + 1 - tp, int(hits.sum()), int(len(hits) - hits.sum()))

    def f1(self) -> np.ndarray:
        """Return F1 of the positive class at each threshold, (K,); 0 where no sample is positive."""
        return 2 * self.tp / np.maximum(self.tp + self.fp + self.positives, 1)

    def best_threshold(self) -> float:
        """Return the threshold with the highest F1; of several equally good ones the highest."""
        return self.threshold(int(self.f1().argmax()))

    def threshold(self, number: int) -> float:
        """Return a threshold that predicts the samples of ``scores[:number + 1]`` positive.

        It lies midway to the next lower score (or to zero), so that rounding on another machine flips no sample.
        """
        below = self.scores[number + 1] if number + 1 < len(self.scores) else 0.0
        midway = (self.scores[number] + below) / 2
        return float(midway if midway > below else self.scores[number])

    def pr_auc(self) -> float:
        """Return average precision, the step-wise area under the precision-recall curve; NaN without positives."""
        if not self.positives:
            return float("nan")
        precision = self.tp / (self.tp + self.fp)
        return float(np.sum(np.diff(self.tp, prepend=0) / self.positives * precision))

    def roc_auc(self) -> float:
        """Return the probability that a positive outranks a negative, ties counting half; NaN with one class only."""
        if not self.positives or not self.negatives:
            return float("nan")
        tp, fp = np.append(0, self.tp), np.append(0, self.fp)
        return float(np.sum(np.diff(fp) * (tp[1:] + tp[:-1]) / 2) / self.positives / self.negatives)

    def pr_curve(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Return recall and precision, each (<= points,), thinned evenly over recall."""
        recall, precision = self.tp / max(self.positives, 1), self.tp / (self.tp + self.fp)
        keep = _thin(recall, points)
        return recall[keep], precision[keep]

    def roc_curve(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Return false and true positive rate from (0, 0) on, each (<= points + 1,), thinned evenly over the former."""
        fpr, tpr = self.fp / max(self.negatives, 1), self.tp / max(self.positives, 1)
        keep = _thin(fpr, points)
        return np.append(0.0, fpr[keep]), np.append(0.0, tpr[keep])


def _thin(axis: np.ndarray, points: int) -> np.ndarray:
    """Return the indices of the values next above an even grid over an increasing `axis`, first and last included."""
    grid = np.searchsorted(axis, np.linspace(axis[0], axis[-1], points))
    return np.unique(np.append(np.minimum(grid, len(axis) - 1), [0, len(axis) - 1]))


class Confusion(NamedTuple):
    """Numbers of true positives, false positives, false negatives and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int


def confusion(y: np.ndarray, scores: np.ndarray, threshold: float) -> Confusion:
    """Count right and wrong predictions at `threshold`."""
    predicted, true = scores >= threshold, y > 0
    tp = int((predicted & true).sum())
    return Confusion(tp, int(predicted.sum()) - tp, int(true.sum()) - tp, int((~predicted & ~true).sum()))


def f1_precision_recall(y: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """Return F1, precision and recall of the positive class at `threshold`; each is 0 where it is undefined."""
    tp, fp, fn, _ = confusion(y, scores, threshold)
    return 2 * tp / max(2 * tp + fp + fn, 1), tp / max(tp + fp, 1), tp / max(tp + fn, 1)


def brier_score(y: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean squared distance between probability and outcome; smaller is better."""
    return float(np.mean((scores - y) ** 2))


def log_loss(y: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean negative log likelihood in nats; probabilities are clipped as scikit-learn does (`clip`)."""
    p = clip(scores)
    return float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p))))


def clip(scores: np.ndarray) -> np.ndarray:
    """Keep probabilities one float64 epsilon away from 0 and 1, so that their logarithms are finite."""
    epsilon = np.finfo(np.float64).eps
    return np.clip(scores, epsilon, 1 - epsilon)
