"""Read the splits that generate_data wrote, and gather windows from them with numpy.

On disk every bar is stored once, as a row. A sample is the window of `lookback` rows that ends at a row with a label.
"""

from pathlib import Path

import numpy as np

from core.files import read_array

DATA = Path("data/training_data")
SPLITS = ("train", "val", "test")
SCORED_SPLITS = ("val", "test")  # train is only fitted on


def sample_rows(y: np.ndarray) -> np.ndarray:
    """Return the rows that end a sample, int64 (N,); `y` is int8 (rows,), -1 where a row ends none."""
    return np.flatnonzero(y >= 0)


def evenly_spaced(rows: np.ndarray, at_most: int) -> np.ndarray:
    """Pick at most `at_most` of `rows`, evenly spaced, first and last included."""
    return rows[np.linspace(0, len(rows) - 1, min(at_most, len(rows))).round().astype(np.int64)]


def gather_windows(X: np.ndarray, ends: np.ndarray, lookback: int) -> np.ndarray:
    """Gather windows in numpy, for models that are no networks.

    Args:
        X: float32 (rows, F).
        ends: int64 (N,), last row of each window.
        lookback: rows of a window.

    Returns:
        float32 (N, lookback * F), oldest row first.
    """
    rows = ends[:, None] + np.arange(1 - lookback, 1)
    return X[rows].reshape(len(ends), lookback * X.shape[1])


def read_split(directory: Path, split: str, *names: str) -> dict[str, np.ndarray]:
    """Read the arrays `names` of one split, each (rows, ...), by name.

    Raises:
        CampaignError: an array is missing or damaged.
    """
    return {name: read_array(directory / f"{split}_{name}.npy") for name in names}
