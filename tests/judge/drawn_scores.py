"""Scores and labels drawn at random, of which the truth is known: days cluster, networks choose among many epochs."""

import dataclasses

import numpy as np

from core.metrics import Ranking
from judge.family import Figure
from judge.threshold_draws import Scored, cross_fitted_choices, drawn_f1
from judge.uncertainty import DrawnDays

SAMPLES = 40  # a day


@dataclasses.dataclass(frozen=True)
class Market:
    """Samples of some days. y, days, halves: (N,). truth: log odds of a positive, (N,)."""

    y: np.ndarray
    days: np.ndarray
    halves: np.ndarray
    truth: np.ndarray


def draw_market(days: int, rng: np.random.Generator) -> Market:
    """Draw labels, 15 % positive; a wild day follows a wild day, and has many positives."""
    wild, state = np.empty(days), rng.standard_normal()
    for day in range(days):
        wild[day] = state = 0.6 * state + 0.8 * rng.standard_normal()
    number = np.repeat(np.arange(days), SAMPLES)
    truth = -2.2 + 0.5 * wild[number] + rng.standard_normal(len(number))
    y = (rng.random(len(number)) < 1 / (1 + np.exp(-truth))).astype(float)
    return Market(y, number, (number >= days // 2).astype(np.int8), truth)


def draw_epochs(market: Market, noise: float, epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Scores of one seed after each epoch, (E, N), of equal quality; neighbouring epochs err alike."""
    errors = rng.standard_normal((epochs, len(market.y)))
    for epoch in range(1, epochs):
        errors[epoch] = 0.8 * errors[epoch - 1] + 0.6 * errors[epoch]
    return market.truth + noise * errors


def choose_epochs(market: Market, by_epoch: np.ndarray) -> np.ndarray:
    """The scores of the epoch with the highest F1 on each half, (2, N): the rule of the loop."""
    chosen = []
    for half in (0, 1):
        own = market.halves == half
        chosen.append(by_epoch[np.argmax([Ranking.of(market.y[own], scores[own]).f1().max() for scores in by_epoch])])
    return np.stack(chosen)


def cross_fitted_figure(market: Market, by_seed: list[np.ndarray], drawn: DrawnDays, *, is_network: bool) -> Figure:
    """The cross-fitted F1 of a model, from the scores of each seed, (2, N)."""
    day_count = int(market.days.max()) + 1
    figures, drawn_by_seed = [], []
    for scores in by_seed:
        choices = cross_fitted_choices(Scored(market.y, scores[0], market.days, day_count), market.halves, scores)
        everything = np.ones((1, day_count))
        figures.append(float(drawn_f1(choices, everything, everything)[0]))
        drawn_by_seed.append(drawn_f1(choices, drawn.weights, drawn.weights))
    return Figure(figures, np.mean(drawn_by_seed, axis=0) - np.mean(figures), is_network)
