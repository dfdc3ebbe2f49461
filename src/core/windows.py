"""Which rows end a sample, and its window, in numpy: for whatever needs no torch."""

import numpy as np


def samples(y: np.ndarray) -> np.ndarray:
    """Rows that end a sample, int64 (N,), of labels `y` int8 (rows,) where -1 ends none."""
    return np.flatnonzero(y >= 0)


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of `rows`, evenly spaced, first and last included."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)]


def windows(X: np.ndarray, ends: np.ndarray, lookback: int) -> np.ndarray:
    """Gather windows with numpy, for references that are no network.

    Args:
        X: float32 (rows, F).
        ends: int64 (N,), last row of each window.

    Returns:
        float32 (N, lookback * F), oldest row first.
    """
    rows = ends[:, None] + np.arange(1 - lookback, 1)
    return X[rows].reshape(len(ends), lookback * X.shape[1])
