"""Fit the references that every network has to beat, on the same windows, and score validation and test with them.

Only scores are stored, no fitted objects, so that nothing has to be unpickled.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

import dataclasses
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # no spin locks: on busy cores waiting threads would slow the others

import numpy as np
from pydantic import Field
from scipy.linalg import LinAlgWarning
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from core.errors import CampaignError, print_stderr
from core.fan_out import fan_out
from core.files import read_json, write_array, write_json
from core.metrics import Ranking
from core.params import Settings, read_section
from core.places import CAMPAIGN
from core.run import run
from core.splits import SCORED_SPLITS, evenly_spaced, gather_windows, read_split, sample_rows
from core.task import Task

MAX_HESSIAN_COLUMNS = 2000  # with more, Newton's method is faster without forming the Hessian matrix


class References(Settings):
    max_windows: int = Field(ge=1000, le=100_000_000)
    logistic_c: float = Field(gt=0, le=1e6)
    logistic_iterations: int = Field(ge=1, le=100_000)
    boosting_rounds: int = Field(ge=1, le=100_000)
    boosting_learning_rate: float = Field(gt=0, le=1)
    boosting_leaves: int = Field(ge=2, le=10_000)
    boosting_min_leaf: int = Field(ge=1, le=1_000_000)


@dataclasses.dataclass(frozen=True)
class Windows:
    """Samples of a split; C = lookback * F columns, oldest row first.

    x: float32 (N, C). y: int8 (N,), 0 or 1. asset_ids: (N,).
    """

    x: np.ndarray
    y: np.ndarray
    asset_ids: np.ndarray


@dataclasses.dataclass(frozen=True)
class BestColumn:
    """The column that ranks the labels best, rising or falling; `roc_auc` is that of the better direction."""

    number: int
    roc_auc: float


def load_windows(data: Path, split: str, lookback: int) -> Windows:
    """Load the samples of a split from the directory `data`."""
    arrays = read_split(data, split, "X", "y", "asset_ids")
    return _windows_at(arrays, sample_rows(arrays["y"]), lookback)


def load_train_windows(data: Path, lookback: int, max_windows: int) -> Windows:
    """Load the samples of train from the directory `data`, at most `max_windows` of them, evenly spaced.

    Raises:
        CampaignError: those have one label only.
    """
    arrays = read_split(data, "train", "X", "y", "asset_ids")
    ends = sample_rows(arrays["y"])
    if len(ends) > max_windows:
        print_stderr(f"fit_references: fitted on {max_windows:,} of {len(ends):,} train windows, evenly spaced (max_windows)")
        ends = evenly_spaced(ends, max_windows)
    if len(np.unique(arrays["y"][ends])) < 2:
        raise CampaignError(f"the {len(ends):,} train windows of references.max_windows are of one label; raise it")
    return _windows_at(arrays, ends, lookback)


def _windows_at(arrays: Mapping[str, np.ndarray], ends: np.ndarray, lookback: int) -> Windows:
    return Windows(gather_windows(arrays["X"], ends, lookback), arrays["y"][ends], arrays["asset_ids"][ends])


def prior_scores(train_y: np.ndarray, train_ids: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Score each sample with its asset's share of positives in train, or with that of all assets if train lacks the asset.

    Args:
        train_y: (N,), 0 or 1.
        train_ids: (N,), the asset of each.
        ids: (samples,), the assets to score.

    Returns:
        Probabilities float64 (samples,).
    """
    assets = int(max(train_ids.max(), ids.max())) + 1
    count, positives = np.bincount(train_ids, minlength=assets), np.bincount(train_ids, weights=train_y, minlength=assets)
    return np.where(count > 0, positives / np.maximum(count, 1), train_y.mean())[ids]


def best_column(X: np.ndarray, y: np.ndarray) -> BestColumn:
    """Find the column of X (N, F) that alone ranks y (N,) best, rising or falling."""
    areas = [Ranking.of(y, column.astype(np.float64)).roc_auc() for column in X.T]
    best = int(np.abs(np.array(areas) - 0.5).argmax())
    return BestColumn(best, max(areas[best], 1 - areas[best]))


def logistic_scores(
    train_x: np.ndarray, train_y: np.ndarray, scored_x: Mapping[str, np.ndarray], *, c: float, iterations: int
) -> dict[str, np.ndarray]:
    """Fit logistic regression to its optimum and score the windows of each split.

    The solver is Newton's method. lbfgs, the usual choice, stops where float32 gradients are flat: on 400,000 windows of real
    bars its probabilities were off by up to 0.05. It runs on one thread, since more would change the bits.

    Args:
        train_x: windows, float32 (N, C).
        train_y: (N,), 0 or 1.
        scored_x: windows to score, float32 (samples, C) by split.
        c: inverse of the L2 penalty.
        iterations: at most; a warning is printed where they do not suffice.

    Returns:
        Probabilities float64 (samples,) by split.
    """
    solver = "newton-cholesky" if train_x.shape[1] < MAX_HESSIAN_COLUMNS else "newton-cg"
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression(C=c, solver=solver, tol=1e-6, max_iter=iterations).fit(train_x, train_y)
        scores = {split: model.predict_proba(x)[:, 1].astype(np.float64) for split, x in scored_x.items()}
    if any(issubclass(warning.category, ConvergenceWarning | LinAlgWarning) for warning in caught):
        print_stderr(
            f"fit_references: warning: logistic regression did not converge in {iterations:,} iterations; lower "
            "references.logistic_c or raise references.logistic_iterations"
        )
    return scores


def boosting_scores(
    train_x: np.ndarray,
    train_y: np.ndarray,
    scored_x: Mapping[str, np.ndarray],
    *,
    rounds: int,
    learning_rate: float,
    leaves: int,
    min_leaf: int,
) -> dict[str, np.ndarray]:
    """Fit gradient boosting and score the windows of each split; arguments and result as in `logistic_scores`.

    It has no early stopping, because windows of its random hold-out would overlap those it is fitted on.

    Args:
        rounds: number of trees.
        leaves: of a tree at most.
        min_leaf: samples of a leaf at least.
    """
    model = HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        min_samples_leaf=min_leaf,
        early_stopping=False,
        random_state=0,
    ).fit(train_x, train_y)
    return {split: model.predict_proba(x)[:, 1] for split, x in scored_x.items()}


def fit_references(by_directory: Mapping[Path, Path], settings: References) -> None:
    """Fit all references to each directory of splits, and write their scores to the directory that it maps to.

    On this machine two at a time: one's logistic regression, which has one thread, leaves cores to the other's boosting, and
    more would take much memory.

    Raises:
        CampaignError: as `fit` does, or a cluster cannot be used.
    """
    tasks = [Task(f"references on {data}", fit, (data,), (settings.model_dump(),)) for data in by_directory]
    with threadpool_limits(1, user_api="blas"):  # it counts for all threads, so that the one inside a fit must change nothing
        fitted = fan_out(tasks, jobs=min(len(tasks), 2))
    for out, (scores, column) in zip(by_directory.values(), fitted, strict=True):
        write_json(out / "one_column.json", column)
        for name, values in scores.items():
            write_array(out / f"{name}.npy", values)


def fit(data: Path, values: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Fit all references to the splits in the directory `data`, and score the others.

    Args:
        values: of `References`.

    Returns:
        The scores, float64 (N,), by ``<reference>_<split>``; and which column "one column" is, with its area on train.

    Raises:
        CampaignError: the splits are missing or damaged, or the train windows have one label only.
    """
    settings = References(**values)
    metadata = read_json(data / "metadata.json")
    features, lookback = metadata["features"], metadata["lookback"]
    train = load_train_windows(data, lookback, settings.max_windows)
    scored = {split: load_windows(data, split, lookback) for split in SCORED_SPLITS}
    scored_x = {split: windows.x for split, windows in scored.items()}
    logistic = {"c": settings.logistic_c, "iterations": settings.logistic_iterations}

    scores = {
        "always_positive": {split: np.ones(len(windows.x)) for split, windows in scored.items()},
        "prior": {split: prior_scores(train.y, train.asset_ids, windows.asset_ids) for split, windows in scored.items()},
    }

    last_bar = (lookback - 1) * len(features)
    best = best_column(train.x[:, last_bar:], train.y)
    print_stderr(f"fit_references: one column, {features[best.number]}, train ROC AUC {best.roc_auc:.3f}")
    column = slice(last_bar + best.number, last_bar + best.number + 1)
    scores["one_column"] = logistic_scores(
        train.x[:, column], train.y, {split: x[:, column] for split, x in scored_x.items()}, **logistic
    )

    print_stderr("fit_references: logistic regression")
    scores["logistic_regression"] = logistic_scores(train.x, train.y, scored_x, **logistic)

    print_stderr("fit_references: gradient boosting")
    scores["gradient_boosting"] = boosting_scores(
        train.x,
        train.y,
        scored_x,
        rounds=settings.boosting_rounds,
        learning_rate=settings.boosting_learning_rate,
        leaves=settings.boosting_leaves,
        min_leaf=settings.boosting_min_leaf,
    )

    arrays = {f"{name}_{split}": array for name, by_split in scores.items() for split, array in by_split.items()}
    return arrays, {"column": features[best.number], "train_roc_auc": best.roc_auc}


def main() -> None:
    fit_references({CAMPAIGN.data: CAMPAIGN.models_of("references")}, read_section("references", References))


if __name__ == "__main__":
    run(main)
