"""What evaluate measures, once more: by scikit-learn, pandas and slow loops, from the arrays on disk.

Results have the keys of metrics/evaluate.json.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn import metrics

BINS = 15
EPSILON = np.finfo(float).eps


def samples_of(arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    """A line for each sample of a split: row, y, mirrored, asset_ids, timestamps, returns, held, end and month."""
    every = pd.DataFrame({name: arrays[name] for name in ("y", "mirrored", "asset_ids", "timestamps", "returns", "held")})
    every["returns"] = every["returns"].astype(float)
    every["month"] = every["timestamps"].dt.strftime("%Y-%m")
    samples = every[every["y"] >= 0].reset_index(names="row")
    samples["end"] = every["timestamps"].to_numpy()[samples["row"] + samples["held"]]
    return samples


def best_f1(y: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = metrics.precision_recall_curve(y, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-9)))


def calibrate(scores: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    return expit(slope * logit(np.clip(scores, EPSILON, 1 - EPSILON)) + intercept)


def calibration_bins(y: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Mean score, share of positives and samples of bins of equal size; each bin ends with the last sample of its last score."""
    sizes = [len(part) for part in np.array_split(np.arange(len(scores)), BINS)]
    edges = np.unique(np.sort(scores)[np.cumsum(sizes) - 1])
    table = pd.DataFrame({"bin": np.searchsorted(edges, scores), "predicted": scores, "observed": y, "samples": 1})
    return table.groupby("bin").agg({"predicted": "mean", "observed": "mean", "samples": "sum"})


def calibration_error(y: np.ndarray, scores: np.ndarray) -> float:
    bins = calibration_bins(y, scores)
    return float(((bins["predicted"] - bins["observed"]).abs() * bins["samples"]).sum() / len(scores))


def direction_auc(samples: pd.DataFrame, scores: np.ndarray) -> float | None:
    up, down = scores[samples["y"] > 0], scores[samples["mirrored"] > 0]
    if not (len(up) and len(down)):
        return None
    return float(metrics.roc_auc_score(np.repeat([1, 0], [len(up), len(down)]), np.append(up, down)))


def cross_fitted_f1(y: np.ndarray, scores: np.ndarray, half: np.ndarray, thresholds: list[float]) -> float:
    """F1 of both halves together; scores (2, N) and thresholds are those chosen on the first and on the second."""
    called = np.where(half == 0, scores[1] >= thresholds[1], scores[0] >= thresholds[0])
    return metrics.f1_score(y[half >= 0], called[half >= 0], zero_division=0)


def measure(
    samples: pd.DataFrame,
    scores: np.ndarray,
    threshold: float,
    money_threshold: float | None,
    calibration: dict[str, float],
    base_rate: float,
    cost: float,
) -> dict[str, Any]:
    mapped, told_to_all = calibrate(scores, **calibration), np.full(len(scores), base_rate)
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
        "direction_auc": direction_auc(samples, scores),
        "calibrated_brier_score": metrics.brier_score_loss(y, mapped),
        "calibrated_log_loss": metrics.log_loss(y, mapped),
        "calibrated_expected_calibration_error": calibration_error(y, mapped),
        "brier_skill": 1 - metrics.brier_score_loss(y, mapped) / metrics.brier_score_loss(y, told_to_all),
        "positive_share": y.mean(),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "money": trade(samples, np.zeros(len(y), bool) if money_threshold is None else scores >= money_threshold, cost),
        "money_at_f1": trade(samples, predicted, cost),
    }


def enter(samples: pd.DataFrame, predicted: np.ndarray) -> np.ndarray:
    """Which signals open a position, bool (N,), sample by sample: an asset has one at a time."""
    open_until: dict[int, int] = {}
    entered = []
    for sample, signal in zip(samples.itertuples(), predicted, strict=True):
        enters = bool(signal) and sample.row >= open_until.get(sample.asset_ids, 0)
        if enters:
            open_until[sample.asset_ids] = sample.row + sample.held
        entered.append(enters)
    return np.array(entered)


def trade(samples: pd.DataFrame, predicted: np.ndarray, cost: float) -> dict[str, Any]:
    """Trade with one position an asset and an equal share of the equity for each asset."""
    entered = enter(samples, predicted)
    trades, assets = samples[entered], samples["asset_ids"].nunique()
    returns = trades["returns"]
    net = np.maximum(returns - cost, -1)
    hits, misses = returns[trades["y"] > 0] - cost, returns[trades["y"] == 0] - cost
    break_even: float | str | None = None
    if len(hits) and len(misses):
        ends = (misses.mean(), hits.mean())
        break_even = "any" if min(ends) > 0 else "none" if max(ends) < 0 else ends[0] / (ends[0] - ends[1])
    days = samples["timestamps"].dt.date.nunique()
    gross, after_costs = stake(trades, returns, assets), stake(trades, net, assets)
    peaks = np.maximum.accumulate(after_costs)
    return {
        "trades": len(trades),
        "hit_rate": trades["y"].mean() if len(trades) else None,
        "break_even_hit_rate": break_even,
        "mean_return": returns.mean() if len(trades) else None,
        "mean_return_net": net.mean() if len(trades) else None,
        "total_return": gross[-1] - 1,
        "total_return_net": after_costs[-1] - 1,
        "return_per_day_net": net.sum() / assets / days,
        "max_drawdown": np.max(1 - after_costs / peaks),
    }


def stake(trades: pd.DataFrame, returns: pd.Series, assets: int) -> np.ndarray:
    """Follow the equity, from 1 on, of a capital whose current equity is staked in parts of 1 / assets."""
    cash, open_stakes, equity = 1.0, {}, [1.0]
    for time in sorted({*trades["timestamps"], *trades["end"]}):
        for number in trades.index[trades["end"] == time]:
            cash += open_stakes.pop(number) * (1 + returns[number])
        now = cash + sum(open_stakes.values())
        equity.append(now)
        for number in trades.index[trades["timestamps"] == time]:
            open_stakes[number] = min(now / assets, cash)
            cash -= open_stakes[number]
    return np.array(equity)


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
