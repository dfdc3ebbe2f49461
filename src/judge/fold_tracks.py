"""Join the test periods of all folds to one track, each fold at its own thresholds and calibration.

Shapes: K folds, S seeds, N samples of all test periods, P points of an equity curve.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.metrics import Ranking, brier_score, f1_precision_recall
from judge.direction import direction_auc
from judge.equity import EquityPath, hold_path, trade_path
from judge.evaluation import GroupMetrics, Judged
from judge.money import Trades
from judge.scores import mean_over_seeds
from judge.seed_means import group_means, money_means

EQUITY_POINTS = 400


@dataclasses.dataclass(frozen=True)
class Track:
    """How a model did on all test periods joined; means over seeds. A seed's track is joined of its own in every fold.

    f1, precision, recall: of the calls of all folds together, each at the threshold for F1 of its own validation.
    pr_auc, roc_auc: of the calibrated probabilities of all folds together, where those of a fold are all the same if its
        calibration found no use in the scores; None without both classes.
    brier_skill: 1 less their Brier score as a share of that of each fold's own validation share of positives, told to every
        sample of the fold; None where that is 0.
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


@dataclasses.dataclass(frozen=True)
class Followed:
    """The model that a track follows in one fold; `scores`: of its test, float64 (S, N of the fold)."""

    judged: Judged
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class JoinedTest:
    """The test periods of all folds, one after the other.

    trades: of all samples. folds: int64 (N,), number of each one's fold. base_rates: float64 (N,), share of positives of its
    fold's validation. symbols: of the assets, by asset id.
    held: the capital of buy and hold. days: datetime64[D] (P,), at whose ends equity curves are read.
    """

    trades: Trades
    folds: np.ndarray
    base_rates: np.ndarray
    symbols: Sequence[str]
    held: EquityPath
    days: np.ndarray

    @classmethod
    def of(
        cls,
        tests: Sequence[Trades],
        base_rates: Sequence[float],
        bars: Sequence[Mapping[str, np.ndarray]],
        symbols: Sequence[str],
        costs: np.ndarray,
    ) -> "JoinedTest":
        """Join the folds, oldest first.

        Args:
            tests, base_rates: trades of test, and share of positives of validation, of each fold.
            bars: y, closes, asset_ids and timestamps of each fold's test as on disk, (rows,) each.
            costs: of a round trip, float64 (A,), by asset id.
        """
        sizes = [len(test.y) for test in tests]
        joined = join_bars(bars)
        days = np.unique(joined["timestamps"].astype("datetime64[D]"))
        chosen = np.linspace(0, len(days) - 1, min(EQUITY_POINTS, len(days))).round().astype(np.int64)
        return cls(
            trades=join_trades(tests),
            folds=np.repeat(np.arange(len(tests)), sizes),
            base_rates=np.repeat(base_rates, sizes),
            symbols=symbols,
            held=hold_path(joined, costs),
            days=days[chosen],
        )

    def follow(self, models: Sequence[Followed]) -> Track:
        """Follow one model, or another one in each fold; one without seeds counts as the same in each seed of the others."""
        tracks = [self._follow_seed(models, seed) for seed in range(max(len(model.scores) for model in models))]
        entered = [self.trades.entries(track.traded) for track in tracks]
        base = brier_score(self.trades.y, self.base_rates)
        f1, precision, recall = zip(*(f1_precision_recall(self.trades.y, track.called, 0.5) for track in tracks), strict=True)
        rankings = [Ranking.of(self.trades.y, track.probabilities) for track in tracks]
        has_both = 0 < self.trades.y.sum() < len(self.trades.y)
        return Track(
            f1=statistics.fmean(f1),
            precision=statistics.fmean(precision),
            recall=statistics.fmean(recall),
            pr_auc=statistics.fmean(ranking.pr_auc() for ranking in rankings) if has_both else None,
            roc_auc=statistics.fmean(ranking.roc_auc() for ranking in rankings) if has_both else None,
            brier_skill=statistics.fmean(1 - brier_score(self.trades.y, track.probabilities) / base for track in tracks)
            if base > 0
            else None,
            direction_auc=mean_over_seeds(self._direction(track.scores) for track in tracks),
            money=money_means([self.trades.performance(track.traded) for track in tracks]),
            trades=np.mean([np.bincount(self.folds[own], minlength=len(models)) for own in entered], axis=0).tolist(),
            by_asset=group_means([self._by_asset(track) for track in tracks]),
            equity=np.mean([self._equity(own) for own in entered], axis=0).tolist(),
        )

    def _follow_seed(self, models: Sequence[Followed], seed: int) -> "SeedTrack":
        parts = []
        for model in models:
            own = seed % len(model.scores)
            scores, money = model.scores[own], model.judged.money_thresholds[own]
            parts.append(
                SeedTrack(
                    scores=scores,
                    probabilities=model.judged.calibrations[own].apply(scores),
                    called=scores >= model.judged.thresholds[own],
                    traded=scores >= (np.inf if money is None else money),
                )
            )
        columns = [field.name for field in dataclasses.fields(SeedTrack)]
        return SeedTrack(**{column: np.concatenate([getattr(part, column) for part in parts]) for column in columns})

    def _direction(self, scores: np.ndarray) -> float | None:
        """Average the direction AUC of the folds, with van Elteren's weights.

        Only samples of one fold are ranked against each other, since folds have other networks. A coin's AUC has the variance
        (up + down + 1) / (12 up down). Source: van Elteren (1960), Bulletin of the Institute of International Statistics 37.
        """
        y, mirrored = self.trades.y, self.trades.mirrored
        aucs, weights = [], []
        for fold in np.unique(self.folds):
            own = self.folds == fold
            if (auc := direction_auc(scores[own], y[own], mirrored[own])) is not None:
                up, down = float(y[own].sum()), float(mirrored[own].sum())
                aucs.append(auc)
                weights.append(up * down / (up + down + 1))
        return float(np.average(aucs, weights=weights)) if aucs else None

    def _by_asset(self, track: "SeedTrack") -> dict[str, GroupMetrics]:
        table = {}
        for asset in np.unique(self.trades.asset_ids):
            own = self.trades.asset_ids == asset
            y, called, probabilities = self.trades.y[own], track.called[own], track.probabilities[own]
            table[str(self.symbols[asset])] = GroupMetrics(
                samples=len(y),
                positive_share=float(y.mean()),
                f1=f1_precision_recall(y, called, 0.5)[0] if y.max() > 0 else None,
                roc_auc=Ranking.of(y, probabilities).roc_auc() if y.min() < y.max() else None,
            )
        return table

    def _equity(self, entered: np.ndarray) -> np.ndarray:
        trades = self.trades
        path = trade_path(trades.timestamps[entered], trades.ends[entered], trades.net[entered], trades.assets)
        return path.at_end_of(self.days)


@dataclasses.dataclass(frozen=True)
class SeedTrack:
    """What one seed says of all samples of test, (N,) each.

    scores: float64. probabilities: float64, after each fold's own calibration. called, traded: bool, at each fold's own
    thresholds for F1 and for money.
    """

    scores: np.ndarray
    probabilities: np.ndarray
    called: np.ndarray
    traded: np.ndarray


def join_trades(tests: Sequence[Trades]) -> Trades:
    """Put the trades of test periods one after the other, oldest first; no trade outlasts its period.

    Rows are numbered on from fold to fold; a day that two folds share is one day.
    """
    columns = ("y", "mirrored", "returns", "costs", "held", "ends", "asset_ids", "timestamps")
    joined = {column: np.concatenate([getattr(test, column) for test in tests]) for column in columns}
    rows, first = [], 0
    for test in tests:
        rows.append(test.rows + first)
        first = int((rows[-1] + test.held).max()) + 1
    days = np.unique(joined["timestamps"].astype("datetime64[D]"), return_inverse=True)[1].astype(np.int64)
    return Trades(**joined, rows=np.concatenate(rows), days=days, assets=len(np.unique(joined["asset_ids"])))


def join_bars(bars: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Put the bars of test periods together, in order of asset and time as a split has them on disk."""
    joined = {name: np.concatenate([own[name] for own in bars]) for name in ("y", "closes", "asset_ids", "timestamps")}
    order = np.lexsort((joined["timestamps"], joined["asset_ids"]))
    return {name: values[order] for name, values in joined.items()}
