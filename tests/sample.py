"""A comparison as the reports get it: scores are made up and always the same, all that follows from them is computed by judge."""

import copy
import dataclasses
import functools
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from core.metrics import Ranking, sigmoid
from judge.comparison import Comparison, compare_models
from judge.equity import Growth
from judge.evaluation import Evaluation, Judged
from judge.figures import ModelScores
from judge.money import Trades, break_even_precision
from judge.names import NO_CURVE, Roster
from judge.scores import Predictions, compute_curves, judge_model
from judge.train_record import SettingsRecord, TrainRecord, list_settings
from report.decisions import decision
from report.markdown import comparison
from report.page import page

COST = 0.003  # of a round trip
ROSTER = Roster({"mlp": "MLP", "lstm": "LSTM + attention", "gru": "GRU + attention", "cnn_lstm": "CNN-LSTM"})
LABELS = ROSTER.labels
# how far the scores of hits lie above those of other samples, in standard deviations
SKILL = {"mlp": 0.25, "lstm": 1.25, "gru": 1.3, "cnn_lstm": 0.65, "logistic_regression": 0.55, "gradient_boosting": 0.7,
         "one_column": 0.3}  # fmt: skip
OVERFIT = {"mlp": 0.11, "lstm": 0.03, "gru": 0.085, "cnn_lstm": 0.09}  # train F1 less validation F1
PRECISION = {"precision": "float32", "torch": "2.13.0", "processor": "AVX2"}
SPLITS = {"val": ("2021-08-01", 5), "test": ("2022-01-01", 0)}  # first day, months


@dataclasses.dataclass(frozen=True)
class Sample:
    """What the reports are written from, and what that was computed from: trades by split, scores by split and model."""

    result: Comparison
    metadata: dict[str, Any]
    settings: list[SettingsRecord]
    curves: dict[str, list[dict[str, Any]]]
    trades: dict[str, Trades] = dataclasses.field(compare=False)
    scores: dict[str, dict[str, np.ndarray]] = dataclasses.field(compare=False)

    def changed(self, **fields: Any) -> "Sample":
        """The same with other fields of the comparison."""
        return dataclasses.replace(self, result=dataclasses.replace(self.result, **fields))

    def comparison(self) -> str:
        return comparison(self.result, self.metadata, ROSTER, self.settings)

    def decision(self) -> str:
        return decision(self.result, self.metadata, ROSTER)

    def page(self) -> str:
        return page(self.result, self.metadata, ROSTER, self.settings, self.curves)


def sample(assets: int = 6, months: int = 4, seeds: int = 3) -> Sample:
    """A sample of its own for each caller, who may change it; `months` of test."""
    return copy.deepcopy(_sample(assets, months, seeds))


@functools.cache
def _sample(assets: int, months: int, seeds: int) -> Sample:
    rng = np.random.default_rng(3)
    symbols = [f"COIN{n:02}USDT" for n in range(assets)]
    trades = {split: make_trades(first, own or months, assets, rng) for split, (first, own) in SPLITS.items()}
    quality = {
        (split, name): rng.normal(skill, 0.02, seeds if name in ROSTER.networks else 1)
        for split in trades
        for name, skill in SKILL.items()
    }
    scores = {
        split: {
            name: simple_scores(name, own) if name not in SKILL else make_scores(own, quality[split, name], rng)
            for name in LABELS
        }
        for split, own in trades.items()
    }
    evaluation = Evaluation(
        break_even_precision=break_even_precision("percent", 0.05, 0.02, COST),
        cost_per_trade=COST,
        one_column="atr_14",
        buy_and_hold={split: Growth(0.1, 0.3) for split in trades},
        models={name: evaluate(name, trades, {split: scores[split][name] for split in trades}, symbols) for name in LABELS},
        data="0f",
    )
    trained = {name: train_record(name, evaluation.models[name]) for name in ROSTER.networks}
    of_models = {
        name: ModelScores(val=scores["val"][name], val_halves=cross(scores["val"][name]), test=scores["test"][name])
        for name in LABELS
    }
    with threadpool_limits(1):  # threads that wait for each other take longer than products this small
        result = compare_models(
            ROSTER, evaluation, trained, trades, halve(trades["val"]), of_models, simulated=True, draws=200, seed=1,
            block_days=None, confidence=0.95, margin=0.02, min_val_f1=0.2, max_train_val_gap=0.08, max_epoch_spread=0.03,
        )  # fmt: skip
    curves = make_curves(trades["test"], scores["test"], seeds, rng)
    return Sample(result, make_metadata(symbols, trades), list_settings(trained.values()), curves, trades, scores)


def make_trades(first: str, months: int, assets: int, rng: np.random.Generator) -> Trades:
    """Trades of `make_arrays`."""
    return Trades.of(make_arrays(first, months, assets, rng), np.full(assets, COST))


def make_arrays(first: str, months: int, assets: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Bars every 12 hours of that many months; hits are the more frequent the higher an asset's number is."""
    start = np.datetime64(first, "M")
    times = np.arange(start.astype("datetime64[s]"), (start + months).astype("datetime64[s]"), np.timedelta64(12, "h"))
    size = len(times)
    y = rng.random((assets, size)) < np.linspace(0.04, 0.21, assets)[:, None]
    is_last = np.arange(size) == size - 1  # its trade would end after the split
    return {
        "y": np.where(is_last, -1, y).ravel().astype(np.int8),
        "mirrored": (~y & (rng.random(y.shape) < 0.1)).ravel().astype(np.int8),
        "returns": np.where(y, 0.05, np.where(rng.random(y.shape) < 0.5, -0.02, 0.0)).ravel(),
        "held": np.tile(np.minimum(2, np.arange(size)[::-1]), assets).astype(np.int16),
        "asset_ids": np.repeat(np.arange(assets), size).astype(np.int16),
        "timestamps": np.tile(times, assets),
    }


def make_scores(trades: Trades, skill: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scores of each seed, float64 (S, N); the better the greater its skill."""
    noise = rng.normal(size=len(trades.y))
    return np.stack([sigmoid(one * trades.y - 1.5 + 0.9 * noise + 0.4 * rng.normal(size=len(noise))) for one in skill])


def simple_scores(name: str, trades: Trades) -> np.ndarray:
    """The scores of always-positive, or each asset's share of hits, float64 (1, N)."""
    if name == "always_positive":
        return np.ones((1, len(trades.y)))
    return (np.bincount(trades.asset_ids, trades.y) / np.bincount(trades.asset_ids))[trades.asset_ids][None]


def evaluate(
    name: str, trades: dict[str, Trades], scores: dict[str, np.ndarray], symbols: list[str], min_trades: int = 30
) -> Judged:
    """Judge one model at the thresholds that are best on validation."""
    thresholds = [Ranking.of(trades["val"].y, row).best_threshold() for row in scores["val"]]
    seeds = list(range(1, len(thresholds) + 1)) if name in ROSTER.networks else [None]
    predictions = Predictions(seeds, thresholds, **scores, val_halves=cross(scores["val"]))
    return judge_model(predictions, trades, halve(trades["val"]), symbols, min_trades)


def halve(val: Trades) -> np.ndarray:
    """The half of each sample of validation, int8 (N,)."""
    return (val.days >= (val.days.max() + 1) // 2).astype(np.int8)


def cross(scores: np.ndarray) -> np.ndarray:
    """Scores (S, N) for cross-fitting, (S, 2, N): the same epoch is the best on both halves."""
    return np.stack([scores] * 2, axis=1)


def train_record(name: str, model: Judged) -> TrainRecord:
    """What training recorded; the seeds of the MLP but the first trained to the last epoch."""
    val_f1 = [metrics.f1_score_positive_class for metrics in model.val]
    return TrainRecord(
        train_f1=float(np.mean(val_f1)) + OVERFIT[name],
        val_f1_by_epoch=[[0.3] * (2 * seed - 1) + [0.33] + [0.31] * 15 for seed in model.seeds],
        seeds=[
            {
                "seed": seed, "stopped_early": name != "mlp" or seed == 1, "best_epoch": 2 * seed, "epochs": 2 * seed + 15,
                "train_f1_score_positive_class": f1 + OVERFIT[name], "val_f1_score_positive_class": f1,
                "val_f1_spread_last_10_epochs": 0.027,
            }
            for seed, f1 in zip(model.seeds, val_f1, strict=True)
        ],
        trained_with=PRECISION,
        loop=LOOP,
        network=SettingsRecord(name, NETWORKS.get(name, RECURRENT)),
    )  # fmt: skip


LOOP = SettingsRecord("train", (("seeds", [1, 2, 3]), ("epochs", 100), ("batch_size", 128), ("learning_rate", 0.001)))
NETWORKS = {"mlp": (("hidden_sizes", [256, 128, 64]), ("dropout", 0.3), ("asset_embedding", 8))}
RECURRENT = (("hidden_size", 128), ("layers", 2), ("attention_size", 64), ("dropout", 0.3))


def make_metadata(symbols: list[str], trades: dict[str, Trades]) -> dict[str, Any]:
    splits = {
        split: {
            "rows": len(own.y), "samples": len(own.y), "positives": int(own.y.sum()), "positive_share": float(own.y.mean()),
            "first_bar": f"{own.timestamps.min()}Z", "last_bar": f"{own.timestamps.max()}Z",
        }
        for split, own in {"train": trades["val"], **trades}.items()
    }  # fmt: skip
    return {
        "leak_audit": {
            "hours_from_train_labels_to_val": 3.0, "windows_across_a_break": 0,
            "rows_recomputed": 1800, "values_recomputed": 41_400,
        },
        "extra_columns": [],
        "source": "simulated", "simulated": True, "assets": symbols, "features": ["return_1", "rsi_14"], "lookback": 24,
        "barrier": "percent", "profit": 0.05, "stop": 0.02, "horizon": 8, "splits": splits,
        "hours": {
            "window": {"bars": 24, "median": 24.0, "percentile_95": 95.0},
            "trade": {"bars": 8, "median": 8.0, "percentile_95": 31.0},
            "assets_with_longer_bars": symbols[:1],
        },
    }  # fmt: skip


def make_curves(
    trades: Trades, scores: dict[str, np.ndarray], seeds: int, rng: np.random.Generator
) -> dict[str, list[dict[str, Any]]]:
    """The rows of the curves; numbers are text, as csv reads them."""
    curves: dict[str, list[dict[str, Any]]] = {"learning": [], "pr": [], "roc": [], "calibration": [], "threshold": []}
    for name, label in ROSTER.networks.items():
        for seed in range(1, seeds + 1):
            for epoch in range(1, 24 + 6 * seed):
                f1 = 0.3 + 0.02 * SKILL[name] - 0.2 * np.exp(-epoch / 4) - 0.001 * epoch + 0.008 * rng.standard_normal()
                train, val = 0.03 + 0.02 * np.exp(-epoch / 5), 0.036 + 0.014 * np.exp(-epoch / 3) + 0.0002 * epoch
                row = {"seed": seed, "epoch": epoch, "val_f1": f1, "train_loss": train, "val_loss": val}
                curves["learning"].append({"model": label} | row)
    for name, label in LABELS.items():
        if name not in NO_CURVE:
            for kind, rows in dataclasses.asdict(compute_curves(trades, scores[name][0])).items():
                curves[kind] += [{"model": label} | row for row in rows]
    return {kind: [{key: str(value) for key, value in row.items()} for row in rows] for kind, rows in curves.items()}
