"""Fit the scaler on train rows, and apply it to all rows, block by block."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.preprocessing import StandardScaler

from core.errors import CampaignError, join_first

BLOCK = 4096  # rows scaled at a time, so that they stay in the processor's cache


def blocks(parts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the rows of all `parts` in order, up to `BLOCK` at a time."""
    for part in parts:
        for row in range(0, len(part), BLOCK):
            yield part[row : row + BLOCK]


@np.errstate(over="ignore", invalid="ignore")  # `check_scaler` refuses what overflows
def fit_scaler(parts: Sequence[np.ndarray]) -> StandardScaler:
    """Fit a scaler to all rows, to the last bit as ``StandardScaler().fit(np.concatenate(parts))`` does.

    That would make four copies of all rows. Here too columns are summed one row after the other, and the variance is computed by
    the corrected two-pass algorithm. One exception: scikit-learn sums a single column pairwise, which differs in the last bits.

    Args:
        parts: float64 (r, F) each, finite; the first is not empty.

    Source: Chan, Golub, LeVeque, Algorithms for Computing the Sample Variance (1983), equation 1.7.
    """

    def add(total: np.ndarray, block: np.ndarray) -> np.ndarray:
        return np.add.reduce(np.concatenate([total[None], block]))

    count = np.float64(sum(map(len, parts)))  # scikit-learn's is a float, too
    zeros = np.zeros(parts[0].shape[1])
    mean = functools.reduce(add, blocks(parts), zeros) / count
    sum_of_deviations = sum_of_squares = zeros
    for block in blocks(parts):
        deviations = block - mean
        sum_of_deviations = add(sum_of_deviations, deviations)
        sum_of_squares = add(sum_of_squares, np.square(deviations))
    variance = (sum_of_squares - sum_of_deviations**2 / count) / count
    scaler = StandardScaler().fit(parts[0][:1])
    scaler.n_samples_seen_, scaler.mean_, scaler.var_ = count, mean, variance
    scaler.scale_ = np.where(is_constant(scaler), 1.0, np.sqrt(variance))
    return scaler


@np.errstate(over="ignore", invalid="ignore")
def is_constant(scaler: StandardScaler) -> np.ndarray:
    """Find the columns that vary by no more than rounding does, and are not scaled; bool (F,)."""
    noise = scaler.n_samples_seen_ * np.finfo(np.float64).eps
    return scaler.var_ <= noise * scaler.var_ + (noise * scaler.mean_) ** 2


def check_scaler(scaler: StandardScaler, names: Sequence[str]) -> None:
    """Check that every feature can be scaled.

    Args:
        names: of the F features.

    Raises:
        CampaignError: a feature of train is constant but for rounding, or too large for float64.
    """
    finite = np.isfinite(scaler.mean_) & np.isfinite(scaler.var_)
    for unusable, reason in ((~finite, "too large to be scaled"), (is_constant(scaler), "constant")):
        if unusable.any():
            bad = [name for name, is_bad in zip(names, unusable, strict=True) if is_bad]
            raise CampaignError(f"feature {join_first(bad)} is {reason} in train; remove it from data.features")


def scale(parts: Sequence[np.ndarray], scaler: StandardScaler, clip: float) -> Iterator[np.ndarray]:
    """Scale the rows of all `parts` and clip them to ± `clip`. Yields float32 (up to `BLOCK`, F), in order."""
    for block in blocks(parts):
        yield np.clip((block - scaler.mean_) / scaler.scale_, -clip, clip).astype(np.float32)
