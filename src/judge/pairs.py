"""Tell which differences between models chance does not explain, corrected for the number of comparisons (Holm)."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from judge.calls import Calls
from judge.uncertainty import Estimate, holm_levels


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two models' difference in F1 on one split.

    better, worse: their names, the higher mean F1 first. difference: of the mean F1, at least 0.
    interval: [low, high], as wide as Holm's correction over all pairs asks for.
    p_value: two-sided, of the hypothesis that they are equal. p_holm: the same, corrected.
    clear: whether chance does not explain the difference; never where one of them is a network with a single seed.
    """

    better: str
    worse: str
    difference: float
    interval: list[float]
    p_value: float
    p_holm: float
    clear: bool


def f1_difference(one: Calls, other: Calls, blocks: float) -> Estimate:
    """Estimate F1 of `one` less that of `other`, on the same days and, where both have them, the same seeds."""
    if one.seeds == other.seeds:
        by_seed = [a - b for a, b in zip(one.f1, other.f1, strict=True)]
    else:  # one of them has no seeds
        by_seed = [a - b for a in one.f1 for b in other.f1]
    return Estimate.of(by_seed, one.drawn_f1 - other.drawn_f1, blocks)


def compare_pairs(models: Mapping[str, Calls], blocks: float, confidence: float) -> list[Pair]:
    """Compare the F1 of every two models on one split.

    Args:
        blocks: how many blocks of days the split has.
        confidence: that no pair of equal models is called clear.
    """
    ordered = [
        (one, other) if statistics.fmean(models[one].f1) >= statistics.fmean(models[other].f1) else (other, one)
        for one, other in combinations(models, 2)
    ]
    estimates = [f1_difference(models[better], models[worse], blocks) for better, worse in ordered]
    levels = holm_levels([estimate.p_value() for estimate in estimates], 1 - confidence)
    return [
        Pair(
            better=better,
            worse=worse,
            difference=estimate.value,
            interval=[max(-1.0, min(1.0, end)) for end in estimate.interval(1 - level)],
            p_value=estimate.p_value(),
            p_holm=p_holm,
            clear=p_holm < 1 - confidence and not (models[better].spread_is_unknown or models[worse].spread_is_unknown),
        )
        for (better, worse), estimate, (p_holm, level) in zip(ordered, estimates, levels, strict=True)
    ]


def is_clear(pairs: Iterable[Pair], better: str, worse: str) -> bool:
    """Tell whether `better` beats `worse` beyond chance."""
    return any(pair.clear and pair.better == better and pair.worse == worse for pair in pairs)


def profitable(models: Mapping[str, Calls], blocks: float, confidence: float) -> list[str]:
    """Name the models whose daily return is above zero beyond chance, corrected for their number; none with a single seed."""
    estimates = {name: calls.daily_estimate(blocks) for name, calls in models.items()}
    levels = holm_levels([estimate.p_value() for estimate in estimates.values()], 1 - confidence)
    return [
        name
        for (name, estimate), (p_holm, _) in zip(estimates.items(), levels, strict=True)
        if estimate.value > 0 and p_holm < 1 - confidence and not models[name].spread_is_unknown
    ]


@dataclasses.dataclass(frozen=True)
class Standing:
    """Who leads on test.

    first: the model with the highest F1. winner: the same where it beats every other one beyond chance, else None.
    ties: the models that `first` does not beat beyond chance.
    """

    first: str
    winner: str | None
    ties: list[str]


def find_leader(f1: Mapping[str, float], pairs: Sequence[Pair]) -> Standing:
    """Find the model that leads on a split, and whether it wins; `f1`: mean over seeds by model."""
    first = max(f1, key=lambda name: f1[name])
    ties = [name for name in f1 if name != first and not is_clear(pairs, first, name)]
    return Standing(first, None if ties else first, ties)
