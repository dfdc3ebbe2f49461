"""What a trial is worth on validation, of what neither its epochs nor its thresholds were chosen on.

Shapes: S seeds, N samples of validation, M masks of samples, D days.
"""

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from core.cross_fitting import FIRST, SECOND
from core.metrics import clip, sigmoid
from judge.calibration import Calibration
from judge.cross_fitting import cross_fit, cross_fitted_calls
from judge.money import Trades

OTHER = {FIRST: SECOND, SECOND: FIRST}


@dataclasses.dataclass(frozen=True)
class Validation:
    """Validation, and its halves, int8 (N,), as `core.cross_fitting.halves` returns them. min_trades: as section `evaluate`."""

    trades: Trades
    half: np.ndarray
    min_trades: int


def pr_auc(val: Validation, logits: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the average precision on each half by the epoch that was best on the other, weighted by the halves' positives.

    Args:
        logits: float32 (2, N); row h is of the epoch that was best on half h.
        masks: bool (M, N), which samples count.

    Returns:
        float64 (M,); 0 where a mask has no positive.
    """
    areas, positives = np.zeros(len(masks)), np.zeros(len(masks))
    for own in (FIRST, SECOND):
        here = val.half == own
        y, counted = val.trades.y[here], masks[:, here].astype(float)
        found = counted @ y
        areas += found * _average_precision(y, logits[OTHER[own], here], counted)
        positives += found
    return areas / np.maximum(positives, 1)


def _average_precision(y: np.ndarray, scores: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the average precision of the samples that each row of `counted` counts, float64 (M, n); equal scores rank alike."""
    order = np.argsort(-scores, kind="stable")
    last_of_equals = np.append(np.diff(scores[order]) != 0, True)
    tp = np.cumsum(counted[:, order] * y[order], axis=1)[:, last_of_equals]
    called = np.cumsum(counted[:, order], axis=1)[:, last_of_equals]
    return (np.diff(tp, axis=1, prepend=0) * tp / np.maximum(called, 1)).sum(axis=1) / np.maximum(tp[:, -1], 1)


def f1(val: Validation, logits: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return F1, thresholds from the other half; arguments and result as in `pr_auc`."""
    scores, y = sigmoid(logits), val.trades.y
    called = cross_fitted_calls(scores, cross_fit(y, scores, val.half).thresholds, val.half)
    counted = masks & (val.half >= 0)
    tp, wrong = counted @ (called & (y > 0)).astype(float), counted @ (called != (y > 0)).astype(float)
    return 2 * tp / np.maximum(2 * tp + wrong, 1)


def log_loss(val: Validation, logits: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the log loss below zero, so that higher is better, after a calibration from the other half; as `pr_auc`."""
    losses, counted = sample_losses(val, logits), masks & (val.half >= 0)
    return -np.einsum("mn,n->m", counted, losses) / np.maximum(counted.sum(axis=1), 1)


def sample_losses(val: Validation, logits: np.ndarray) -> np.ndarray:
    """Return the log loss of each sample after a calibration from the other half, float64 (N,); 0 of one in neither half."""
    scores, y, losses = sigmoid(logits), val.trades.y, np.zeros(len(val.half))
    for own in (FIRST, SECOND):
        here, there = val.half == own, val.half == OTHER[own]
        if here.any() and there.any():
            p = clip(Calibration.fit(y[there], scores[OTHER[own], there]).apply(scores[OTHER[own], here]))
            losses[here] = -np.where(y[here] > 0, np.log(p), np.log1p(-p))
    return losses


def net_return(val: Validation, logits: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the mean return a day after costs, the threshold for money from the other half; as `pr_auc`."""
    counted, trades = masks & (val.half >= 0), val.trades
    earned = np.where(entered(val, logits), trades.net, 0.0) / trades.assets
    days = np.array([len(np.unique(trades.days[row])) for row in counted])
    return np.einsum("mn,n->m", counted, earned) / np.maximum(days, 1)  # a BLAS product's bits depend on the cores


def entered(val: Validation, logits: np.ndarray) -> np.ndarray:
    """Select the samples at which a trade begins, bool (N,), by thresholds for money from the other half."""
    scores, trades = sigmoid(logits), val.trades
    called = np.zeros(len(val.half), bool)
    for own in (FIRST, SECOND):
        there = val.half == OTHER[own]
        part = _of(trades, there)
        least = part.choose_threshold(scores[OTHER[own], there], 0.5, val.min_trades) if there.any() else None
        if least is not None:
            called |= (val.half == own) & (scores[OTHER[own]] >= least)
    return trades.entries(called)


def _of(trades: Trades, chosen: np.ndarray) -> Trades:
    """Return the trades of some samples, bool (N,)."""
    fields = (field.name for field in dataclasses.fields(trades) if field.name != "assets")
    return dataclasses.replace(trades, **{name: getattr(trades, name)[chosen] for name in fields})


def daily_returns(val: Validation, logits: np.ndarray) -> np.ndarray:
    """Return what each day's trades return after costs, float64 (D,), as `judge.money.Trades.daily_returns`."""
    return val.trades.daily_returns(entered(val, logits))


Objective = Callable[[Validation, np.ndarray, np.ndarray], np.ndarray]
OBJECTIVES: Mapping[str, Objective] = {"pr_auc": pr_auc, "f1": f1, "log_loss": log_loss, "return": net_return}
NAMES = {  # for people
    "pr_auc": "PR AUC",
    "f1": "F1",
    "log_loss": "log loss, less than zero",
    "return": "return a day after costs",
}


def by_part(vals: Sequence[Validation], logits: np.ndarray) -> Iterator[tuple[Validation, np.ndarray]]:
    """Yield each validation with its part of `logits`, (..., N of all of them)."""
    ends = np.cumsum([len(val.half) for val in vals])
    return zip(vals, np.split(logits, ends[:-1], axis=-1), strict=True)


def score(objective: str, vals: Sequence[Validation], logits: np.ndarray) -> float:
    """Return the objective of one seed on all of validation, the mean over folds where they are several.

    Args:
        logits: as in `pr_auc`, those of the folds one after the other.
    """
    whole = [OBJECTIVES[objective](val, part, np.ones((1, len(val.half)), bool))[0] for val, part in by_part(vals, logits)]
    return statistics.fmean(whole)
