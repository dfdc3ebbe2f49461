"""References that every network has to beat, on the same windows.

They leave scores, not fitted objects: nothing has to be unpickled to judge them.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import os
import warnings
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait take busy cores from each other

import numpy as np
from pydantic import Field
from scipy.linalg import LinAlgWarning
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import stage
from core.errors import CampaignError
from core.metrics import Ranking
from core.windows import evenly, samples, windows

OUT = Path("models/references")
JUDGED = ("val", "test")
WIDE = 2000  # columns from which on Newton's method is faster without its matrix of columns by columns


class References(stage.Settings):
    max_windows: int = Field(ge=1000, le=100_000_000)
    logistic_c: float = Field(gt=0, le=1e6)
    logistic_iterations: int = Field(ge=1, le=100_000)
    boosting_rounds: int = Field(ge=1, le=100_000)
    boosting_learning_rate: float = Field(gt=0, le=1)
    boosting_leaves: int = Field(ge=2, le=10_000)
    boosting_min_leaf: int = Field(ge=1, le=1_000_000)


def prior_scores(train_y: np.ndarray, train_ids: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """For each sample the train share of positives of its asset, of all assets where train has none of it.

    Args:
        train_y: (N,), 0 or 1. train_ids: (N,), the asset of each. ids: (samples,).

    Returns:
        Probabilities float64 (samples,).
    """
    most = int(max(train_ids.max(), ids.max())) + 1
    count, positives = np.bincount(train_ids, minlength=most), np.bincount(train_ids, weights=train_y, minlength=most)
    return np.where(count > 0, positives / np.maximum(count, 1), train_y.mean())[ids]


def best_column(X: np.ndarray, y: np.ndarray) -> tuple[int, float]:
    """The column of X (N, F) that ranks y (N,) best, rising or falling: its number, and its ROC AUC or one less that."""
    areas = [Ranking.of(y, column.astype(np.float64)).roc_auc() for column in X.T]
    best = int(np.abs(np.array(areas) - 0.5).argmax())
    return best, max(areas[best], 1 - areas[best])


def logistic_scores(
    train_x: np.ndarray, train_y: np.ndarray, judged: dict[str, np.ndarray], *, c: float, iterations: int
) -> dict[str, np.ndarray]:
    """Probabilities at the optimum, float64 (samples,) by split. Each x is float32 (N, columns).

    By Newton's method: lbfgs, the usual choice, ends where float32 gradients are flat, on 400,000 windows of real bars up to
    0.05 of probability away. One thread: more would change the bits.
    """
    solver = "newton-cholesky" if train_x.shape[1] < WIDE else "newton-cg"
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression(C=c, solver=solver, tol=1e-6, max_iter=iterations).fit(train_x, train_y)
        scores = {split: model.predict_proba(x)[:, 1].astype(np.float64) for split, x in judged.items()}
    if any(issubclass(warning.category, ConvergenceWarning | LinAlgWarning) for warning in caught):
        stage.say(
            f"fit_references: warning: logistic regression is not at its optimum, of {iterations:,} iterations at most; lower "
            "references.logistic_c or raise references.logistic_iterations"
        )
    return scores


def boosting_scores(
    train_x: np.ndarray,
    train_y: np.ndarray,
    judged: dict[str, np.ndarray],
    *,
    rounds: int,
    learning_rate: float,
    leaves: int,
    min_leaf: int,
) -> dict[str, np.ndarray]:
    """Probabilities float64 (samples,) by split. No early stopping: its random hold-out would overlap the train windows."""
    model = HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        min_samples_leaf=min_leaf,
        early_stopping=False,
        random_state=0,
    ).fit(train_x, train_y)
    return {split: model.predict_proba(x)[:, 1] for split, x in judged.items()}


def main() -> None:
    settings = stage.read_section("references", References)
    metadata = stage.read_json(stage.DATA / "metadata.json")
    features, lookback = metadata["features"], metadata["lookback"]

    def load(split: str, most: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Windows, labels and assets of the samples of a split, of `most` of them."""
        X, y, ids = stage.read_split(split, "X", "y", "asset_ids").values()
        ends = samples(y)
        if most is not None and len(ends) > most:
            stage.say(f"fit_references: fitted on {most:,} of {len(ends):,} train windows, evenly spaced (max_windows)")
            ends = evenly(ends, most)
        if most is not None and len(np.unique(y[ends])) < 2:
            raise CampaignError(f"the {most:,} train windows of references.max_windows are of one label; raise it")
        return windows(X, ends, lookback), y[ends], ids[ends]

    train_x, train_y, train_ids = load("train", settings.max_windows)
    loaded = {split: load(split) for split in JUDGED}
    judged = {split: x for split, (x, _, _) in loaded.items()}
    scores = {
        "always_positive": {split: np.ones(len(x)) for split, x in judged.items()},
        "prior": {split: prior_scores(train_y, train_ids, ids) for split, (_, _, ids) in loaded.items()},
    }
    last_bar = (lookback - 1) * len(features)
    column, area = best_column(train_x[:, last_bar:], train_y)
    stage.say(f"fit_references: one column, {features[column]}, train ROC AUC {area:.3f}")
    stage.write_json(OUT / "one_column.json", {"column": features[column], "train_roc_auc": area})
    alone = slice(last_bar + column, last_bar + column + 1)
    scores["one_column"] = logistic_scores(
        train_x[:, alone],
        train_y,
        {split: x[:, alone] for split, x in judged.items()},
        c=settings.logistic_c,
        iterations=settings.logistic_iterations,
    )
    stage.say("fit_references: logistic regression")
    scores["logistic_regression"] = logistic_scores(
        train_x, train_y, judged, c=settings.logistic_c, iterations=settings.logistic_iterations
    )
    stage.say("fit_references: gradient boosting")
    scores["gradient_boosting"] = boosting_scores(
        train_x,
        train_y,
        judged,
        rounds=settings.boosting_rounds,
        learning_rate=settings.boosting_learning_rate,
        leaves=settings.boosting_leaves,
        min_leaf=settings.boosting_min_leaf,
    )
    for name, by_split in scores.items():
        for split, values in by_split.items():
            stage.write_array(OUT / f"{name}_{split}.npy", values)


if __name__ == "__main__":
    stage.run(main)
