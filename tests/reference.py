"""What evaluate measures, once more: by scikit-learn, pandas and slow loops, from the arrays on disk.

Results have the keys of metrics/evaluate.json.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn import metrics

BINS = 15
EPSILON = np.finfo(float).eps


def samples_of(arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    """A line for each sample of a split: row, y, asset_ids, timestamps, returns, held, end and month."""
    every = pd.DataFrame({name: arrays[name] for name in ("y", "asset_ids", "timestamps", "returns", "held")})
    every["returns"] = every["returns"].astype(float)
    every["month"] = every["timestamps"].dt.strftime("%Y-%m")
    samples = every[every["y"] >= 0].reset_index(names="row")
    samples["end"] = every["timestamps"].to_numpy()[samples["row"] + samples["held"]]
    return samples


def best_f1(y: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = metrics.precision_recall_curve(y, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-9)))


def at_temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    return expit(logit(np.clip(scores, EPSILON, 1 - EPSILON)) / temperature)


def calibration_bins(y: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Mean score, share of positives and samples of bins of equal size; each bin ends with the last sample of its last score."""
    sizes = [len(part) for part in np.array_split(np.arange(len(scores)), BINS)]
    edges = np.unique(np.sort(scores)[np.cumsum(sizes) - 1])
    table = pd.DataFrame({"bin": np.searchsorted(edges, scores), "predicted": scores, "observed": y, "samples": 1})
    return table.groupby("bin").agg({"predicted": "mean", "observed": "mean", "samples": "sum"})


def calibration_error(y: np.ndarray, scores: np.ndarray) -> float:
    bins = calibration_bins(y, scores)
    return float(((bins["predicted"] - bins["observed"]).abs() * bins["samples"]).sum() / len(scores))


def measure(samples: pd.DataFrame, scores: np.ndarray, threshold: float, temperature: float, cost: float) -> dict[str, Any]:
    y, predicted, at_half = samples["y"].to_numpy(float), scores >= threshold, scores >= 0.5
    tn, fp, fn, tp = metrics.confusion_matrix(y, predicted, labels=[0, 1]).ravel()
    return {
        "f1_score_positive_class": metrics.f1_score(y, predicted, zero_division=0),
        "precision": metrics.precision_score(y, predicted, zero_division=0),
        "recall": metrics.recall_score(y, predicted, zero_division=0),
        "pr_auc": metrics.average_precision_score(y, scores),
        "roc_auc": metrics.roc_auc_score(y, scores),
        "brier_score": metrics.brier_score_loss(y, scores),
        "log_loss": metrics.log_loss(y, scores),
        "expected_calibration_error": calibration_error(y, scores),
        "f1_at_0.5": metrics.f1_score(y, at_half, zero_division=0),
        "precision_at_0.5": metrics.precision_score(y, at_half, zero_division=0),
        "recall_at_0.5": metrics.recall_score(y, at_half, zero_division=0),
        "expected_calibration_error_scaled": calibration_error(y, at_temperature(scores, temperature)),
        "positive_share": y.mean(),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "money": trade(samples, predicted, cost),
    }


def trade(samples: pd.DataFrame, predicted: np.ndarray, cost: float) -> dict[str, Any]:
    """Trade sample by sample, with one position an asset and an equal stake for each asset."""
    open_until: dict[int, int] = {}
    entered = []
    for sample, signal in zip(samples.itertuples(), predicted, strict=True):
        enters = bool(signal) and sample.row >= open_until.get(sample.asset_ids, 0)
        if enters:
            open_until[sample.asset_ids] = sample.row + sample.held
        entered.append(enters)
    trades, assets = samples[entered], samples["asset_ids"].nunique()
    returns = trades["returns"]
    booked: dict[pd.Timestamp, float] = defaultdict(float)
    for end, value in zip(trades["end"], returns, strict=True):
        booked[end] += (value - cost) / assets
    worth = highest = deepest = 0.0
    for end in sorted(booked):
        worth += booked[end]
        highest = max(highest, worth)
        deepest = max(deepest, highest - worth)
    hits, misses = returns[trades["y"] > 0], returns[trades["y"] == 0]
    both = len(hits) > 0 and len(misses) > 0
    days = samples["timestamps"].dt.date.nunique()
    return {
        "trades": len(trades),
        "hit_rate": trades["y"].mean() if len(trades) else None,
        "break_even_hit_rate": (cost - misses.mean()) / (hits.mean() - misses.mean()) if both else None,
        "mean_return": returns.mean() if len(trades) else None,
        "mean_return_net": returns.mean() - cost if len(trades) else None,
        "total_return": returns.sum() / assets,
        "total_return_net": (returns - cost).sum() / assets,
        "return_per_day_net": (returns - cost).sum() / assets / days,
        "max_drawdown": deepest,
    }


def measure_groups(samples: pd.DataFrame, by: pd.Series, scores: np.ndarray, threshold: float) -> dict[str, dict[str, Any]]:
    return {
        group: {
            "samples": len(own),
            "positive_share": own["y"].mean(),
            "f1": metrics.f1_score(own["y"], scores[own.index] >= threshold) if own["y"].any() else None,
            "roc_auc": metrics.roc_auc_score(own["y"], scores[own.index]) if own["y"].nunique() == 2 else None,
        }
        for group, own in samples.groupby(by)
    }
