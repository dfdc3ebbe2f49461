"""Scores and thresholds of a binary classifier. A sample is called positive when its score >= the threshold.

Shapes: N samples; y holds 0 and 1, scores are probabilities, float64.
"""

import dataclasses

import numpy as np


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Float64 whatever comes in, so that large logits stay apart."""
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What every threshold would call positive; K distinct scores, highest first.

    scores: float64 (K,). tp, fp: int64 (K,), true and false positives when all samples with at least this score are called
    positive. positives, negatives: how many there are.
    """

    scores: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    positives: int
    negatives: int

    @classmethod
    def of(cls, y: np.ndarray, scores: np.ndarray) -> "Ranking":
        order = np.argsort(-scores, kind="stable")
        ordered, hits = scores[order], (y[order] > 0).astype(np.int64)
        last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # ties are one threshold
        tp = np.cumsum(hits)[last]
        return cls(ordered[last], tp, last + 1 - tp, int(hits.sum()), int(len(hits) - hits.sum()))

    def f1(self) -> np.ndarray:
        """F1 of the positive class at each threshold, (K,); 0 where nothing is positive."""
        return 2 * self.tp / np.maximum(self.tp + self.fp + self.positives, 1)

    def best_threshold(self) -> float:
        """The threshold with the highest F1, the higher of two as good, midway to the next lower score, so that rounding cannot
        flip a sample."""
        best = int(self.f1().argmax())
        below = self.scores[best + 1] if best + 1 < len(self.scores) else 0.0
        midway = (self.scores[best] + below) / 2
        return float(midway if midway > below else self.scores[best])

    def pr_auc(self) -> float:
        """Average precision: the step-wise area under the precision-recall curve. NaN without positives."""
        if not self.positives:
            return float("nan")
        precision = self.tp / (self.tp + self.fp)
        return float(np.sum(np.diff(self.tp, prepend=0) / self.positives * precision))

    def roc_auc(self) -> float:
        """Chance that a positive outranks a negative, ties half. NaN with one class only."""
        if not self.positives or not self.negatives:
            return float("nan")
        tp, fp = np.append(0, self.tp), np.append(0, self.fp)
        return float(np.sum(np.diff(fp) * (tp[1:] + tp[:-1]) / 2) / self.positives / self.negatives)

    def pr_curve(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision, each (<= points,), thinned evenly over recall."""
        recall, precision = self.tp / max(self.positives, 1), self.tp / (self.tp + self.fp)
        keep = _thin(recall, points)
        return recall[keep], precision[keep]

    def roc_curve(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rate, each (<= points + 1,), thinned evenly over the false positive rate, from (0, 0)."""
        fpr, tpr = self.fp / max(self.negatives, 1), self.tp / max(self.positives, 1)
        keep = _thin(fpr, points)
        return np.append(0.0, fpr[keep]), np.append(0.0, tpr[keep])


def _thin(axis: np.ndarray, points: int) -> np.ndarray:
    """Indices of the values nearest above an even grid over an increasing `axis`, first and last included."""
    grid = np.searchsorted(axis, np.linspace(axis[0], axis[-1], points))
    return np.unique(np.append(np.minimum(grid, len(axis) - 1), [0, len(axis) - 1]))


def confusion(y: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[int, int, int, int]:
    """True positives, false positives, false negatives, true negatives."""
    called, true = scores >= threshold, y > 0
    tp = int((called & true).sum())
    return tp, int(called.sum()) - tp, int(true.sum()) - tp, int((~called & ~true).sum())


def f1_precision_recall(y: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """Of the positive class; 0 where undefined (nothing called positive, or nothing positive)."""
    tp, fp, fn, _ = confusion(y, scores, threshold)
    return 2 * tp / max(2 * tp + fp + fn, 1), tp / max(tp + fp, 1), tp / max(tp + fn, 1)


def brier_score(y: np.ndarray, scores: np.ndarray) -> float:
    """Mean squared distance of probability and outcome; smaller is better."""
    return float(np.mean((scores - y) ** 2))


def log_loss(y: np.ndarray, scores: np.ndarray) -> float:
    """Mean negative log likelihood in nats; probabilities are kept one float64 epsilon from 0 and 1, as scikit-learn does."""
    tiny = np.finfo(np.float64).eps
    p = np.clip(scores, tiny, 1 - tiny)
    return float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p))))


def bins_by_score(scores: np.ndarray, bins: int) -> list[np.ndarray]:
    """Samples, by number, in at most `bins` bins, lowest scores first; equally filled, but that equal scores share one."""
    order = np.argsort(scores, kind="stable")
    ends = np.cumsum([len(part) for part in np.array_split(order, min(bins, len(order)))])
    ranked = scores[order]
    after_ties = np.unique(np.searchsorted(ranked, ranked[ends - 1], side="right"))
    return np.split(order, after_ties[:-1])


def expected_calibration_error(y: np.ndarray, scores: np.ndarray, bins: int = 15) -> float:
    """Mean distance of mean score and share of positives over `bins_by_score`, weighted by their size."""
    return float(sum(abs(scores[part].sum() - y[part].sum()) for part in bins_by_score(scores, bins)) / len(scores))


def break_even_precision(profit: float, stop: float, cost: float) -> float:
    """Precision at which trades that end at a barrier pay nothing: p (profit - cost) = (1 - p) (stop + cost)."""
    return (stop + cost) / (profit + stop)


def score_table(y: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """All threshold-free scores, and F1, precision and recall at `threshold` and at 0.5."""
    ranking = Ranking.of(y, scores)
    f1, precision, recall = f1_precision_recall(y, scores, threshold)
    half = f1_precision_recall(y, scores, 0.5)
    return {
        "f1_score_positive_class": f1,
        "precision": precision,
        "recall": recall,
        "pr_auc": ranking.pr_auc(),
        "roc_auc": ranking.roc_auc(),
        "brier_score": brier_score(y, scores),
        "log_loss": log_loss(y, scores),
        "expected_calibration_error": expected_calibration_error(y, scores),
        "f1_at_0.5": half[0],
        "precision_at_0.5": half[1],
        "recall_at_0.5": half[2],
    }
