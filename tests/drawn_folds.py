"""Folds drawn at random, of which the truth is known: models with skills of their own in each, that trade or know a direction."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from core.metrics import Ranking, sigmoid
from judge.comparison import compare_models
from judge.equity import buy_and_hold
from judge.evaluation import Evaluation
from judge.figures import ModelScores
from judge.money import Trades
from judge.names import REFERENCES, Roster
from judge.scores import Predictions, judge_model
from judge.train_record import SettingsRecord, TrainRecord
from judge.walk_forward import FoldCuts, FoldScores, WalkForward, judge_walk_forward

ROSTER = Roster({"mlp": "MLP", "gru": "GRU"})
SYMBOLS = ["BTC", "ETH"]
COST = 0.003
HOURS = 4  # between bars
GATES = {"min_val_f1": 0.2, "max_train_val_gap": 0.15, "max_epoch_spread": 0.03}
SETTINGS = {"draws": 400, "seed": 1, "block_days": None, "confidence": 0.95, "margin": 0.02}


@dataclasses.dataclass(frozen=True)
class Skill:
    """What a model knows in one fold, in standard deviations of its scores: of hits, and of the direction."""

    hits: float = 0.0
    direction: float = 0.0


def draw_bars(start: np.datetime64, days: int, share: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Bars of a split as on disk; hits cluster by day, the last two bars end no sample."""
    size, assets = days * 24 // HOURS, len(SYMBOLS)
    wild = np.exp(0.5 * np.repeat(rng.standard_normal(days), 24 // HOURS))
    y = rng.random((assets, size)) < np.minimum(share * wild, 0.6)
    y_or_none = y.astype(np.int8)
    y_or_none[:, -2:] = -1
    return {
        "y": y_or_none.ravel(),
        "mirrored": (~y & (rng.random(y.shape) < 0.2)).ravel().astype(np.int8),
        "returns": np.where(y, 0.05, np.where(rng.random(y.shape) < 0.5, -0.02, 0.0)).ravel(),
        "held": np.tile(np.minimum(2, np.arange(size)[::-1]), assets).astype(np.int16),
        "asset_ids": np.repeat(np.arange(assets), size).astype(np.int16),
        "timestamps": np.tile(start + np.arange(size) * np.timedelta64(HOURS, "h"), assets),
        "closes": 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((assets, size)), axis=1)).ravel(),
    }


def draw_scores(name: str, trades: Trades, skill: Skill, rng: np.random.Generator) -> np.ndarray:
    """Scores of each seed, float64 (S, N)."""
    if name == "always_positive":
        return np.ones((1, len(trades.y)))
    shared = skill.hits * trades.y + skill.direction * (trades.y - trades.mirrored) + rng.standard_normal(len(trades.y))
    seeds = 2 if name in ROSTER.networks else 1
    return sigmoid(shared + 0.3 * rng.standard_normal((seeds, len(trades.y))) - 2)


def draw_fold(
    number: int,
    skills: Mapping[str, Skill],
    rng: np.random.Generator,
    *,
    days: int = 40,
    share: float = 0.15,
    min_trades: int = 10,
) -> FoldScores:
    """Draw fold `number` and judge it as the campaign does; test periods follow each other."""
    first = np.datetime64("2022-01-01", "s") + number * np.timedelta64(days, "D")
    starts = {"val": first - np.timedelta64(days, "D"), "test": first}
    bars = {split: draw_bars(start, days, share, rng) for split, start in starts.items()}
    trades = {split: Trades.of(own, np.full(len(SYMBOLS), COST)) for split, own in bars.items()}
    halves = (trades["val"].days >= (trades["val"].days.max() + 1) // 2).astype(np.int8)
    judged, scores = {}, {}
    for name in ROSTER.labels:
        own = {split: draw_scores(name, trades[split], skills.get(name, Skill()), rng) for split in trades}
        scores[name] = ModelScores(val=own["val"], val_halves=np.stack([own["val"]] * 2, axis=1), test=own["test"])
        thresholds = [Ranking.of(trades["val"].y, row).best_threshold() for row in own["val"]]
        seeds = [None] if name in REFERENCES else list(range(1, len(thresholds) + 1))
        predictions = Predictions(seeds, thresholds, **own, val_halves=scores[name].val_halves)
        judged[name] = judge_model(predictions, trades, halves, SYMBOLS, min_trades)
    evaluation = Evaluation(
        0.329, COST, "atr_14", {split: buy_and_hold(own, np.full(2, COST)) for split, own in bars.items()}, judged, data=""
    )
    trained = {name: record(name, len(judged[name].seeds)) for name in ROSTER.networks}
    settings = SETTINGS | {"draws": 100}
    result = compare_models(ROSTER, evaluation, trained, trades, halves, scores, simulated=True, **settings, **GATES)
    cuts = FoldCuts("2021-01-01", str(starts["val"])[:10], str(first)[:10], str(first + np.timedelta64(days, "D"))[:10])
    return FoldScores(str(first)[:10], cuts, evaluation, trades, halves, bars["test"], scores, result)


def record(name: str, seeds: int) -> TrainRecord:
    """A training without anything remarkable."""
    of_seed = {"stopped_early": True, "best_epoch": 2, "epochs": 17, "val_f1_spread_last_10_epochs": 0.02}
    f1 = {"train_f1_score_positive_class": 0.3, "val_f1_score_positive_class": 0.3}
    return TrainRecord(
        train_f1=0.3,
        val_f1_by_epoch=[[0.3] * 17] * seeds,
        seeds=[{"seed": seed + 1, **of_seed, **f1} for seed in range(seeds)],
        trained_with={"precision": "float32", "torch": "2.13.0", "processor": "AVX2"},
        loop=SettingsRecord("train", ()),
        network=SettingsRecord(name, ()),
    )


def judge(folds: Sequence[FoldScores], **changed: object) -> WalkForward:
    """Judge drawn folds, by settings that may differ from `SETTINGS`."""
    with threadpool_limits(1):  # threads that wait for each other take longer than products this small
        return judge_walk_forward(ROSTER, folds, SYMBOLS, simulated=True, **(SETTINGS | changed))
