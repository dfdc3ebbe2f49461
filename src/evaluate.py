"""Score every (architecture, seed) and the references on validation and test.

The threshold is the one that was best on validation, used unchanged on test. A model's figure is the mean over its seeds,
never the best of them.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import signal
import statistics
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

import stage
import tracking
from core import checkpoint
from core.calibration import at_temperature, best_temperature, calibration_curve
from core.dataset import Split
from core.errors import CampaignError
from core.figure import Figure, to_png
from core.fit import predict, prepare_process
from core.metrics import (
    Ranking,
    break_even_precision,
    confusion,
    expected_calibration_error,
    f1_precision_recall,
    score_table,
    sigmoid,
)
from core.money import Trades
from core.names import NAMES, NO_CURVE, REFERENCES
from train_cnn_lstm import CNNLSTM
from train_gru import GRUAttention
from train_lstm import LSTMAttention
from train_mlp import MLP
from training import device

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "mlp": MLP,
    "lstm": LSTMAttention,
    "gru": GRUAttention,
    "cnn_lstm": CNNLSTM,
}
JUDGED = ("val", "test")
PREDICTIONS = Path("data/predictions")
CURVE_POINTS = 200
THRESHOLD_POINTS = 60
SAME_MODEL = 1e-3  # validation F1 may move by so much through another machine's rounding, not by more


class Evaluate(stage.Settings):
    cost_per_trade: float = Field(ge=0, lt=1)


def load_model(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Rebuild a network from its file alone. Raises CampaignError when the file is missing or not what training wrote."""
    try:
        content = checkpoint.from_bytes(path.read_bytes())
        model = ARCHITECTURES[content["architecture"]](**content["arguments"])
        model.load_state_dict(content["weights"])
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; run the stage that makes it: dvc repro") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a foreign file fails in many ways, all of them mean the same
        reason = stage.one_line(error)[:120]
        raise CampaignError(f"{path} is not a model of this campaign ({reason}); restore it: dvc checkout --force") from None
    return model, content


def score(path: Path, splits: Mapping[str, Split]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A model file's content, and its network's scores of every split, float64 (N,). Raises as `load_model` does."""
    torch.set_num_threads(1)  # counts in the thread that calls it
    model, content = load_model(path)
    return content, {name: sigmoid(predict(model.to(split.X.device), split)) for name, split in splits.items()}


def judge(trades: Trades, scores: np.ndarray, threshold: float, temperature: float, cost: float) -> dict[str, Any]:
    """All figures of one model and seed on one split, but for the tables by group.

    Args:
        scores: float64 (N,).
        temperature: fitted on validation; only the calibration error after it depends on it.
        cost: of a round trip, share of the entry price.
    """
    result: dict[str, Any] = score_table(trades.y, scores, threshold)
    result["expected_calibration_error_scaled"] = expected_calibration_error(trades.y, at_temperature(scores, temperature))
    result["positive_share"] = float(trades.y.mean())
    result |= dict(zip(("tp", "fp", "fn", "tn"), confusion(trades.y, scores, threshold), strict=True))
    return result | {"money": trades.figures(scores >= threshold, cost)}


def by_group(trades: Trades, scores: np.ndarray, threshold: float, groups: np.ndarray) -> dict[str, dict[str, Any]]:
    """Figures of one model and seed on each group, such as an asset or a month; `groups` is text, (N,)."""
    table = {}
    for group in np.unique(groups):
        y, own = trades.y[groups == group], scores[groups == group]
        table[str(group)] = {
            "samples": len(y),
            "positive_share": float(y.mean()),
            "f1": f1_precision_recall(y, own, threshold)[0] if y.max() > 0 else None,
            "roc_auc": Ranking.of(y, own).roc_auc() if y.min() < y.max() else None,
        }
    return table


def over_seeds(seeds: list[dict[str, Any]], key: str) -> tuple[float | None, float | None]:
    """Mean and standard deviation of `key`; None where a seed has none, no deviation of one seed."""
    values = [seed[key] for seed in seeds]
    if any(value is None for value in values):
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def leaderboard_row(judged: dict[str, list[dict[str, Any]]]) -> dict[str, float | None]:
    """The few figures worth reading first, means over seeds; the same keys for every model.

    Args:
        judged: `judge` of every seed, by split.
    """
    test, val = judged["test"], judged["val"]
    money = [row["money"] for row in test]
    f1, spread = over_seeds(test, "f1_score_positive_class")
    hit_rate, break_even = (over_seeds(money, key)[0] for key in ("hit_rate", "break_even_hit_rate"))
    return {
        "val_f1_score_positive_class": over_seeds(val, "f1_score_positive_class")[0],
        "test_f1_score_positive_class": f1,
        "test_f1_std_over_seeds": spread,
        "val_pr_auc": over_seeds(val, "pr_auc")[0],
        "test_pr_auc": over_seeds(test, "pr_auc")[0],
        "test_roc_auc": over_seeds(test, "roc_auc")[0],
        "test_precision": over_seeds(test, "precision")[0],
        "test_recall": over_seeds(test, "recall")[0],
        "test_brier_score": over_seeds(test, "brier_score")[0],
        "test_f1_at_0.5": over_seeds(test, "f1_at_0.5")[0],
        "test_trades": over_seeds(money, "trades")[0],
        "test_mean_return_net": over_seeds(money, "mean_return_net")[0],
        "test_hit_rate_above_break_even": None if hit_rate is None or break_even is None else hit_rate - break_even,
    }


def curves_of(trades: Trades, scores: np.ndarray, cost: float) -> dict[str, list[dict[str, Any]]]:
    """Points of the PR, ROC, calibration and threshold curves of one model and seed."""
    ranking = Ranking.of(trades.y, scores)
    pr, roc = ranking.pr_curve(CURVE_POINTS), ranking.roc_curve(CURVE_POINTS)
    return {
        "pr": [{"recall": x.item(), "precision": y.item()} for x, y in zip(*pr, strict=True)],
        "roc": [{"fpr": x.item(), "tpr": y.item()} for x, y in zip(*roc, strict=True)],
        "calibration": [{"predicted": x, "observed": y, "samples": count} for x, y, count in calibration_curve(trades.y, scores)],
        "threshold": trades.by_share_called(scores, cost, THRESHOLD_POINTS),
    }


def confusion_png(name: str, row: dict[str, Any]) -> bytes:
    """The test confusion matrix of one model: counts, and the share of the true class."""
    counts = np.array([[row["tn"], row["fp"]], [row["fn"], row["tp"]]])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(3.6, 3.2))
    panel = figure.subplots()
    panel.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        colour = "white" if share[i, j] > 0.6 else "black"
        panel.text(j, i, f"{count:,}\n{share[i, j]:.0%}", ha="center", va="center", color=colour)
    panel.set_xticks([0, 1], ["no trade", "trade"])
    panel.set_yticks([0, 1], ["no profit", "profit"], rotation=90, va="center")
    panel.set(xlabel="called", ylabel="true", title=f"{NAMES[name]}, test")
    panel.grid(visible=False)
    return to_png(figure)


@tracking.mirroring()
def main() -> None:
    settings = stage.read_section("evaluate", Evaluate)
    metadata = stage.read_json(stage.DATA / "metadata.json")
    arrays = {split: stage.read_split(split, "X", "y", "asset_ids", "timestamps", "returns", "held") for split in JUDGED}
    trades = {split: Trades.of(part) for split, part in arrays.items()}
    groups = {
        "asset": np.array(metadata["assets"])[trades["test"].asset_ids],
        "month": trades["test"].timestamps.astype("datetime64[M]").astype(str),
    }
    prepare_process()
    on_device = {
        split: Split.of(part["X"], part["y"], part["asset_ids"], lookback=metadata["lookback"], device=device())
        for split, part in arrays.items()
    }

    full: dict[str, Any] = {}
    curves: dict[str, list[dict[str, Any]]] = {"pr": [], "roc": [], "calibration": [], "threshold": []}

    def record(name: str, seeds: list[int | None], thresholds: list[float], scores: dict[str, np.ndarray]) -> None:
        """`scores`: float64 (seeds, N) by split."""
        cost, y = settings.cost_per_trade, trades["val"].y
        temperatures = [best_temperature(y, row) for row in scores["val"]]
        judged = {
            split: [
                judge(trades[split], row, threshold, temperature, cost)
                for row, threshold, temperature in zip(scores[split], thresholds, temperatures, strict=True)
            ]
            for split in JUDGED
        }
        together = {split: scores[split].mean(axis=0) for split in JUDGED}
        threshold, temperature = Ranking.of(y, together["val"]).best_threshold(), best_temperature(y, together["val"])
        best = int(np.argmax([row["f1_score_positive_class"] for row in judged["val"]]))
        full[name] = {
            "seeds": seeds,
            "best_seed": seeds[best],
            "thresholds": thresholds,
            "temperatures": temperatures,
            **judged,
            "ensemble": {
                "threshold": threshold,
                **{split: judge(trades[split], together[split], threshold, temperature, cost) for split in JUDGED},
            },
            **{
                f"by_{kind}": [
                    by_group(trades["test"], row, threshold, group)
                    for row, threshold in zip(scores["test"], thresholds, strict=True)
                ]
                for kind, group in groups.items()
            },
        }
        row = leaderboard_row(judged)
        stage.write_json(Path("metrics/test") / f"{name}.json", row)
        stage.write_bytes(Path("plots/confusion") / f"{name}.png", confusion_png(name, judged["test"][best]))
        for split in JUDGED:
            stage.write_array(PREDICTIONS / f"{name}_{split}.npy", scores[split])
        if name not in NO_CURVE:
            for kind, rows in curves_of(trades["test"], scores["test"][best], cost).items():
                curves[kind] += [{"model": NAMES[name], **point} for point in rows]
        f1, auc = row["test_f1_score_positive_class"], row["test_pr_auc"]
        stage.say(f"evaluate: {name:20} test F1 {f1:.3f}, PR AUC {auc:.3f}, mean over {len(seeds)}")

    for name in ARCHITECTURES:
        files = sorted(Path("models", name).glob("seed_*.pt"), key=lambda path: int(path.stem.split("_")[1]))
        if not files:
            raise CampaignError(f"models/{name} holds no trained seed; run dvc repro train_{name}")
        with ThreadPoolExecutor(stage.jobs(len(files))) as threads:  # waits for them, since an exit in mid-product aborts
            try:
                contents, scores = zip(*threads.map(score, files, repeat(on_device)), strict=True)
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would end the waiting
                raise
        for file, content, own in zip(files, contents, scores, strict=True):
            f1 = f1_precision_recall(trades["val"].y, own["val"], content["threshold"])[0]
            if abs(f1 - content["val_f1_score_positive_class"]) > SAME_MODEL:
                reported = content["val_f1_score_positive_class"]
                raise CampaignError(
                    f"{file} scores validation F1 {f1:.4f}, training reported {reported:.4f}: model and data do not belong "
                    f"together; run dvc repro --force train_{name}"
                )
        seeds, thresholds = ([content[key] for content in contents] for key in ("seed", "threshold"))
        record(name, seeds, thresholds, {split: np.stack([own[split] for own in scores]) for split in JUDGED})
    for name in REFERENCES:
        by_split = {split: stage.read_array(Path("models/references") / f"{name}_{split}.npy")[None] for split in JUDGED}
        record(name, [None], [Ranking.of(trades["val"].y, by_split["val"][0]).best_threshold()], by_split)

    stage.write_json(
        Path("metrics/evaluate.json"),
        {
            "break_even_precision": break_even_precision(metadata["profit"], metadata["stop"], settings.cost_per_trade),
            "cost_per_trade": settings.cost_per_trade,
            "one_column": stage.read_json(Path("models/references/one_column.json"))["column"],
            "models": full,
        },
    )
    for kind, rows in curves.items():
        stage.write_csv(Path("plots") / f"{kind}_curves.csv", rows)


if __name__ == "__main__":
    stage.run(main)
