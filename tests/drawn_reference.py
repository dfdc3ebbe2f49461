"""What compare estimates from bootstrap draws, once more: a draw at a time by scikit-learn, errors by textbook formulas.

Shapes: S seeds, N samples, W draws. Weights, (W, N), say how often each draw has each sample.
"""

import dataclasses

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.metrics import f1_score, roc_auc_score

from judge.threshold_draws import candidate_thresholds
from judge.uncertainty import DrawnDays


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A figure: of each seed, (S,), and how the mean over seeds deviates in each draw, (W,)."""

    by_seed: np.ndarray
    deviations: np.ndarray


def weights_of(samples: pd.DataFrame, days: DrawnDays) -> np.ndarray:
    """How often each draw has each sample, after one more row that has each once: (1 + W, N)."""
    number = samples["timestamps"].dt.floor("D").rank(method="dense").astype(int) - 1
    return np.vstack([np.ones(len(samples)), days.weights[:, number]])


def choose(y: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The threshold with the highest F1 in each draw; of equals the highest."""
    thresholds = candidate_thresholds(scores)
    calls = scores[:, None] >= thresholds
    f1 = (weights * y) @ calls / (weights @ calls + (weights @ y)[:, None])
    return thresholds[f1.argmax(axis=1)]


def f1_by_draw(y: np.ndarray, called: np.ndarray, weights: np.ndarray) -> np.ndarray:
    rows = zip(called, weights, strict=True)
    return np.array([f1_score(y, row, sample_weight=weight, zero_division=0) for row, weight in rows])


def deviations(by_draw: list[np.ndarray]) -> np.ndarray:
    """Deviations of the mean over seeds from that of the first row, in which each day is once."""
    mean = np.mean(by_draw, axis=0)
    return mean[1:] - mean[0]


def cross_fitted(y: np.ndarray, halves: np.ndarray, scored: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cross-fitted F1, thresholds chosen again in each draw; scored (S, 2, N)."""
    drawn, kept = [], halves >= 0
    for scores in scored:
        first, second = (choose(y[halves == h], scores[h, halves == h], weights[:, halves == h]) for h in (0, 1))
        called = np.where(halves == 0, scores[1] >= second[:, None], scores[0] >= first[:, None])
        drawn.append(f1_by_draw(y[kept], called[:, kept], weights[:, kept]))
    return deviations(drawn)


def on_test(y: dict, scored: dict, weights: dict) -> np.ndarray:
    """F1 on test, thresholds chosen again on each draw of validation; arguments by split, scored (S, N)."""
    drawn = []
    for val, test in zip(scored["val"], scored["test"], strict=True):
        called = test >= choose(y["val"], val, weights["val"])[:, None]
        drawn.append(f1_by_draw(y["test"], called, weights["test"]))
    return deviations(drawn)


def direction(samples: pd.DataFrame, scored: np.ndarray, weights: np.ndarray) -> Drawn:
    """AUC of winners against mirrored winners, less 0.5."""
    kinds = [np.flatnonzero(samples[kind] > 0) for kind in ("y", "mirrored")]
    is_up, winners = np.repeat([1, 0], [len(kind) for kind in kinds]), np.concatenate(kinds)
    drawn = [
        np.array([roc_auc_score(is_up, scores[winners], sample_weight=row[winners]) for row in weights]) for scores in scored
    ]
    return Drawn(np.array([own[0] for own in drawn]) - 0.5, deviations(drawn))


def daily_return(samples: pd.DataFrame, entered: np.ndarray, cost: float, days: DrawnDays) -> Drawn:
    """Mean return of a day after costs, on constant stakes; entered (S, N)."""
    date, assets = samples["timestamps"].dt.date, samples["asset_ids"].nunique()
    net = np.maximum(samples["returns"] - cost, -1) / assets
    daily = np.array([net.where(row, 0.0).groupby(date).sum() for row in entered])
    drawn = [np.append(own.mean(), days.weights @ own / days.weights.sum(axis=1)) for own in daily]
    return Drawn(daily.mean(axis=1), deviations(drawn))


@dataclasses.dataclass(frozen=True)
class Errors:
    """Errors of one kind of figure: that of days from draws of few blocks, that of seeds pooled over networks."""

    inflation: float
    day_freedom: float
    seed_variance: float
    seed_freedom: int

    @classmethod
    def of(cls, days: DrawnDays, networks: list[Drawn]) -> "Errors":
        free = max(days.days / days.block - days.parts, days.parts)
        freedom = sum(len(own.by_seed) - 1 for own in networks)
        squares = sum(((own.by_seed - own.by_seed.mean()) ** 2).sum() for own in networks)
        return cls(1 + days.parts / free, 1.5 * free, squares / freedom, freedom)

    def interval(self, figure: Drawn, confidence: float, *, is_network: bool) -> list[float]:
        """By Student's t, its degrees of freedom by Welch and Satterthwaite."""
        parts = [(np.var(figure.deviations) * self.inflation, self.day_freedom)]
        if is_network:
            parts.append((self.seed_variance / len(figure.by_seed), self.seed_freedom))
        variance = sum(part for part, _ in parts)
        welch = sum(part**2 / freedom for part, freedom in parts)
        half = student.ppf((1 + confidence) / 2, variance**2 / welch) * variance**0.5 if variance else 0.0
        return [figure.by_seed.mean() - half, figure.by_seed.mean() + half]

    def p_values(
        self, questions: list[tuple[str, str | None]], figures: dict[str, Drawn], networks: list[str], *, one_sided: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Errors and corrected p-values, (Q,) each, by other noise than compare's and a hundred times as much of it."""
        rng, repeats = np.random.default_rng(1), 100
        size = repeats * len(next(iter(figures.values())).deviations)
        day_tails, seed_tails = (np.sqrt(rng.chisquare(own, size) / own) for own in (self.day_freedom, self.seed_freedom))
        by_days = {name: np.tile(own.deviations, repeats) * self.inflation**0.5 for name, own in figures.items()}
        by_seeds = {
            name: rng.normal(0, (self.seed_variance / len(own.by_seed)) ** 0.5, size) if name in networks else np.zeros(size)
            for name, own in figures.items()
        }
        errors, statistics, null = [], [], []
        for one, other in questions:
            days, seeds, mean = by_days[one], by_seeds[one], figures[one].by_seed.mean()
            if other:
                days, seeds, mean = days - by_days[other], seeds - by_seeds[other], mean - figures[other].by_seed.mean()
            of_seeds = sum(self.seed_variance / len(figures[name].by_seed) for name in (one, other) if name in networks)
            errors.append((np.var(days) + of_seeds) ** 0.5)
            with np.errstate(divide="ignore", invalid="ignore"):
                statistics.append(np.nan_to_num(mean / errors[-1], nan=0.0, posinf=np.inf))
            null.append(((days - days.mean()) / day_tails + seeds / seed_tails) / (errors[-1] or 1))
        null, statistics = np.array(null), np.array(statistics)
        if not one_sided:
            null, statistics = abs(null), abs(statistics)
        p_values, left, p = np.empty(len(questions)), list(range(len(questions))), 0.0
        while left:
            first = max(left, key=lambda question: statistics[question])
            p = p_values[first] = max(p, np.mean(null[left].max(axis=0) >= statistics[first]))
            left.remove(first)
        return np.array(errors), p_values
