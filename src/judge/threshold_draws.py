"""Choose the threshold again in every bootstrap draw of days, and count what it calls on other samples.

A threshold that was chosen once and then kept would be taken for known, and the standard error of F1 would come out too small.

Shapes: N samples, D days, S seeds, K thresholds, W draws; weights, float64 (W, D), say how often each draw has each day. All sums
are of whole numbers, so that no order of adding changes a bit.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

THRESHOLDS = 200  # that are tried in a draw; each calls 0.5 % of the samples more than the one before
CHUNK = 500  # draws at once, so that their arrays fit a processor's cache


@dataclasses.dataclass(frozen=True)
class Scored:
    """Samples with the scores of one model and seed.

    y: (N,), 0 or 1. scores: float64 (N,). days: int64 (N,), number of each sample's day, from 0. day_count: D.
    """

    y: np.ndarray
    scores: np.ndarray
    days: np.ndarray
    day_count: int

    def where(self, chosen: np.ndarray) -> "Scored":
        """Select samples; `chosen`: bool (N,)."""
        return Scored(self.y[chosen], self.scores[chosen], self.days[chosen], self.day_count)


@dataclasses.dataclass(frozen=True)
class DayCalls:
    """What scores call at each of K thresholds on each day, highest threshold first.

    tp, called: float64 (D, K), true positives and all samples called. positives: float64 (D,).
    """

    tp: np.ndarray
    called: np.ndarray
    positives: np.ndarray

    @classmethod
    def of(cls, samples: Scored, thresholds: np.ndarray) -> "DayCalls":
        """Count at `thresholds`, decreasing, (K,)."""
        width, true = len(thresholds) + 1, samples.y > 0
        cell = samples.days * width + np.searchsorted(-thresholds, -samples.scores)  # the first threshold that calls a sample
        tp, called = (
            np.bincount(cells, minlength=samples.day_count * width).reshape(-1, width)[:, :-1].cumsum(axis=1).astype(float)
            for cells in (cell[true], cell)
        )
        return cls(tp, called, np.bincount(samples.days[true], minlength=samples.day_count).astype(float))

    def choose(self, weights: np.ndarray) -> np.ndarray:
        """Return the position of the threshold with the highest F1 in each draw, (W,); of equals the highest threshold."""
        f1 = (weights @ self.tp) / np.maximum(weights @ self.called + (weights @ self.positives)[:, None], 1)  # a half of it
        return f1.argmax(axis=1)

    def count(self, weights: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Count true positives, called samples and positives of each draw at threshold number `at` (W,); float64 (3, W)."""
        tp, called = (np.einsum("wd,dw->w", weights, counts[:, at]) for counts in (self.tp, self.called))
        return np.stack([tp, called, weights @ self.positives])


@dataclasses.dataclass(frozen=True)
class Choice:
    """A threshold chosen on some samples, and what it calls among others, at the same thresholds."""

    chosen_on: DayCalls
    judged_on: DayCalls

    @classmethod
    def of(cls, chosen_on: Scored, judged_on: Scored) -> "Choice":
        """Try the thresholds that part the samples of `chosen_on` evenly."""
        thresholds = candidate_thresholds(chosen_on.scores)
        return cls(DayCalls.of(chosen_on, thresholds), DayCalls.of(judged_on, thresholds))


def candidate_thresholds(scores: np.ndarray) -> np.ndarray:
    """Pick at most `THRESHOLDS` of the scores (N,) as thresholds, decreasing; the last one calls all samples.

    Without a score there is one threshold, which calls nothing.
    """
    if not len(scores):
        return np.array([np.inf])
    ordered = np.sort(scores)[::-1]
    return np.unique(ordered[np.linspace(0, len(ordered), THRESHOLDS + 1).astype(int)[1:] - 1])[::-1]


def drawn_f1(choices: Sequence[Choice], chosen_weights: np.ndarray, judged_weights: np.ndarray) -> np.ndarray:
    """Return in each draw the F1 of what all `choices` call together, (W,); 0 where nothing is called or positive.

    Args:
        chosen_weights, judged_weights: of the days that thresholds are chosen on, and of those that are judged.
    """
    parts = []
    for start in range(0, len(chosen_weights), CHUNK):
        chosen, judged = chosen_weights[start : start + CHUNK], judged_weights[start : start + CHUNK]
        tp, called, positives = sum(choice.judged_on.count(judged, choice.chosen_on.choose(chosen)) for choice in choices)
        parts.append(2 * tp / np.maximum(called + positives, 1))
    return np.concatenate(parts)


def cross_fitted_choices(samples: Scored, halves: np.ndarray, scores: np.ndarray) -> list[Choice]:
    """Choose a threshold on each half of validation and judge it on the other.

    Args:
        samples: of validation; their scores are not looked at.
        halves: (N,), half that a sample belongs to, 0 or 1, or -1 for neither (`core.cross_fitting.halves`).
        scores: (2, N); row h is of the epoch that was chosen on half h.
    """
    by_half = [dataclasses.replace(samples, scores=row) for row in scores]
    return [Choice.of(by_half[half].where(halves == half), by_half[half].where(halves == 1 - half)) for half in (0, 1)]
