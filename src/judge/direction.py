"""Measure whether scores tell up from down, or only when the market is wild.

A model that knows volatility alone scores samples high whose long trade wins, and just as high those whose short trade would
have. So only these two kinds are ranked against each other. Shapes: N samples, S seeds, D days, W winners of either kind.
"""

import numpy as np


def direction_auc(scores: np.ndarray, y: np.ndarray, mirrored: np.ndarray) -> float | None:
    """Return the probability that a sample whose long trade won outranks one whose mirrored trade won, ties counting half.

    Args:
        scores: float64 (N,).
        y: (N,), 1 where the long trade won.
        mirrored: (N,), 1 where the mirrored, short, trade would have won. A sample of both kinds counts in both.

    Returns:
        None where there is none of a kind.
    """
    up, down = scores[y > 0], np.sort(scores[mirrored > 0])
    if not (len(up) and len(down)):
        return None
    return float(_outranked(down, up).mean() / len(down))


def direction_draws(scores: np.ndarray, y: np.ndarray, mirrored: np.ndarray, days: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return `direction_auc` in every bootstrap draw of days, mean over seeds, float64 (draws,).

    A sample counts as often as its day is drawn. All sums are of halves, and so exact in any order. A draw without one of the
    kinds has 0.5.

    Args:
        scores: float64 (S, N). y, mirrored: (N,), as in `direction_auc`.
        days: int64 (N,), number of each sample's day, from 0.
        weights: float64 (draws, D), how often each draw has each day.
    """
    is_up, is_down = y > 0, mirrored > 0
    up, down = (weights @ np.bincount(days[kind], minlength=weights.shape[1]).astype(float) for kind in (is_up, is_down))
    pairs = up * down
    drawn = []
    for row in scores:
        won = _won_by_days(row[is_up], days[is_up], row[is_down], days[is_down], weights.shape[1])
        drawn.append(np.where(pairs > 0, ((weights @ won) * weights).sum(axis=1) / np.maximum(pairs, 1), 0.5))
    return np.mean(drawn, axis=0)


def _won_by_days(up: np.ndarray, up_days: np.ndarray, down: np.ndarray, down_days: np.ndarray, days: int) -> np.ndarray:
    """Count for every two days how many of `down` on the one are outranked by `up` on the other, float64 (D up, D down)."""
    order = np.argsort(up)
    up, up_days = up[order], up_days[order]
    won = np.empty((days, days))
    for day in range(days):
        outranked = _outranked(np.sort(down[down_days == day]), up)
        won[:, day] = np.bincount(up_days, weights=outranked, minlength=days)
    return won


def _outranked(ordered: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Count for each of `scores` how many of `ordered`, which increase, are lower; an equal one counts half."""
    return (np.searchsorted(ordered, scores, side="left") + np.searchsorted(ordered, scores, side="right")) / 2
