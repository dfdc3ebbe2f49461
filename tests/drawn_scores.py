"""Scores and labels drawn at random, of which the truth is known: days cluster, networks choose among many epochs.

Shapes: N samples, E epochs, S seeds, H = 2 halves.
"""

import dataclasses

import numpy as np

from judge.family import Figure
from judge.threshold_draws import Choice, Scored, cross_fitted_choices, drawn_f1
from judge.uncertainty import DrawnDays

SAMPLES = 24  # a day
MEMORY = 0.6  # lag-one autocorrelation of the days' volatility


@dataclasses.dataclass(frozen=True)
class Market:
    """Samples of some days. y, days, halves: (N,). truth: log odds of a positive, (N,)."""

    y: np.ndarray
    days: np.ndarray
    halves: np.ndarray
    truth: np.ndarray

    @property
    def day_count(self) -> int:
        return int(self.days[-1]) + 1

    def scored(self, scores: np.ndarray) -> Scored:
        return Scored(self.y, scores, self.days, self.day_count)

    def draw_halves(self, draws: int, seed: int) -> DrawnDays:
        """Draw the days of each half, as `judge.figures.Days` does."""
        return DrawnDays.of([self.day_count // 2, self.day_count - self.day_count // 2], None, draws, seed)


def draw_market(days: int, rng: np.random.Generator) -> Market:
    """Draw labels, 15 % positive; a wild day follows a wild day, and has many positives."""
    wild, shocks, state = np.empty(days), rng.standard_normal(days), rng.standard_normal()
    for day in range(days):
        wild[day] = state = MEMORY * state + (1 - MEMORY**2) ** 0.5 * shocks[day]
    number = np.repeat(np.arange(days), SAMPLES)
    truth = -2.2 + 0.5 * wild[number] + rng.standard_normal(len(number))
    y = (rng.random(len(number)) < 1 / (1 + np.exp(-truth))).astype(float)
    return Market(y, number, (number >= days // 2).astype(np.int8), truth)


def draw_epochs(market: Market, noise: float, shape: tuple[int, ...], alike: float, rng: np.random.Generator) -> np.ndarray:
    """Draw scores after each epoch, `shape` + (N,), all of equal quality; the last axis of `shape` counts epochs.

    Args:
        noise: standard deviation of the scores about the truth.
        alike: correlation of the errors of neighbouring epochs.
    """
    errors = rng.standard_normal((*shape, len(market.y)))
    for epoch in range(1, shape[-1]):
        errors[..., epoch, :] = alike * errors[..., epoch - 1, :] + (1 - alike**2) ** 0.5 * errors[..., epoch, :]
    return market.truth + noise * errors


def best_f1(y: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The highest F1 of each row of scores, (..., N) without ties."""
    tp = y[np.argsort(-scores, axis=-1)].cumsum(axis=-1)
    return np.max(2 * tp / (np.arange(1, len(y) + 1) + max(y.sum(), 1)), axis=-1)


def choose_epochs(market: Market, by_epoch: np.ndarray) -> np.ndarray:
    """Keep of (S, E, N) the scores of the first epoch with the highest F1 on each half, (S, H, N)."""
    chosen = []
    for half in (0, 1):
        own = market.halves == half
        epochs = best_f1(market.y[own], by_epoch[:, :, own]).argmax(axis=1)
        chosen.append(by_epoch[np.arange(len(by_epoch)), epochs])
    return np.stack(chosen, axis=1)


def cross_fitted_figure(market: Market, by_seed: np.ndarray, drawn: DrawnDays, *, is_network: bool) -> Figure:
    """The cross-fitted F1 of a model, from the scores of each seed, (S, H, N)."""
    figures, draws = [], []
    everything = np.ones((1, market.day_count))
    for scores in by_seed:
        choices = cross_fitted_choices(market.scored(scores[0]), market.halves, scores)
        figures.append(float(drawn_f1(choices, everything, everything)[0]))
        draws.append(drawn_f1(choices, drawn.weights, drawn.weights))
    return Figure(figures, np.mean(draws, axis=0) - np.mean(figures), is_network)


def test_figure(
    val: Market,
    test: Market,
    by_seed: list[tuple[np.ndarray, np.ndarray]],
    drawn: tuple[DrawnDays, DrawnDays],
    *,
    is_network: bool,
) -> Figure:
    """F1 on test of a model, from the scores of each seed on validation and test; thresholds are chosen on validation."""
    figures, draws = [], []
    for on_val, on_test in by_seed:
        choice = [Choice.of(val.scored(on_val), test.scored(on_test))]
        figures.append(float(drawn_f1(choice, np.ones((1, val.day_count)), np.ones((1, test.day_count)))[0]))
        draws.append(drawn_f1(choice, drawn[0].weights, drawn[1].weights))
    return Figure(figures, np.mean(draws, axis=0) - np.mean(figures), is_network)
