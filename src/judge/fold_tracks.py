"""Join the test periods of all folds to one track, each fold at its own thresholds and calibration.

Shapes: K folds, S seeds, N samples of all test periods, P points of an equity curve.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Track:
    """How a model did on all test periods joined; means over seeds. A seed's track is joined of its own in every fold.

    f1, precision, recall: of the calls of all folds together, each at the threshold for F1 of its own validation.
    pr_auc, roc_auc: of the calibrated probabilities of all folds together; None without both classes.
    brier_skill: 1 less their Brier score as a share of that of each fold's own validation share of positives; None where that is 0.
    direction_auc: mean over folds, each weighted by the inverse of the variance that a coin's would have; None without winners
        of both kinds in any fold.
    money: as `ModelResult.test["money"]`, without intervals: at each fold's own threshold for money, where no trade is legal, on
        the current equity of the joined track.
    trades: number of trades in each fold, mean over seeds, (K,).
    by_asset: samples, positive_share, f1 and roc_auc by symbol, as `ModelResult.test["by_asset"]`.
    equity: capital at the end of each of `WalkForward.equity_days`, (P,); the start has 1.
    """

    f1: float
    precision: float
    recall: float
    pr_auc: float | None
    roc_auc: float | None
    brier_skill: float | None
    direction_auc: float | None
    money: dict[str, Any]
    trades: list[float]
    by_asset: dict[str, dict[str, float | None]]
    equity: list[float]
