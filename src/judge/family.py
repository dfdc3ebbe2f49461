"""Test a family of differences together, so that chance writes none of them: step-down max-t over joint bootstrap draws.

Shapes: Q questions, W draws.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from judge.uncertainty import Blocks, SeedVariance

POWER = 0.8  # of finding a difference that is called detectable


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure of one model: of each seed, and how its mean over seeds deviates in each bootstrap draw of days.

    by_seed: (S,). deviations: (W,), from the mean on all days. is_network: whether other seeds would give another figure.
    """

    by_seed: Sequence[float]
    deviations: np.ndarray
    is_network: bool

    @property
    def mean(self) -> float:
        return float(np.mean(self.by_seed))

    @property
    def spread_is_unknown(self) -> bool:
        """Tell whether the spread over seeds is unknown: of a network with one seed."""
        return self.is_network and len(self.by_seed) == 1


def pool_seeds(figures: Mapping[str, Figure]) -> SeedVariance:
    """Pool the variance over seeds of all networks."""
    return SeedVariance.pool(figure.by_seed for figure in figures.values() if figure.is_network)


@dataclasses.dataclass(frozen=True)
class Question:
    """Whether a figure of model `one` exceeds that of model `other`, or zero where `other` is None."""

    one: str
    other: str | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found on one question of a family.

    difference: `one` less `other`, means over seeds.
    interval: [low, high] by the critical value that decided the question, so that it excludes 0 just where p is small enough;
        high is None of a one-sided question. Of those not clear, the intervals hold together with the family's confidence.
    p_value: corrected for the family.
    is_clear: whether chance does not explain the difference; never where its error is not known.
    error_is_known: whether there are several seeds of each network and several blocks of days; else interval, p_value and
        detectable leave out a part of the error.
    detectable: the smallest difference that would have been clear with a probability of `POWER`.
    """

    one: str
    other: str | None
    difference: float
    interval: list[float | None]
    p_value: float
    is_clear: bool
    error_is_known: bool
    detectable: float


def answer(
    questions: Sequence[Question],
    figures: Mapping[str, Figure],
    blocks: Blocks,
    *,
    confidence: float,
    seed: int,
    one_sided: bool = False,
) -> list[Answer]:
    """Answer all questions such that with probability `confidence` none is wrongly called clear.

    The statistics' joint distribution is that of the bootstrap draws, plus normal noise for the seeds; each part is divided by
    the root of a chi-square over its degrees of freedom, so that few blocks of days, or few seeds, have Student's tails.

    Args:
        figures: of every model that is asked about, from the same draws.
        blocks: of days. With too few to differ no error is known, and nothing is clear.
        seed: of the noise.
        one_sided: whether only a positive difference can be clear.

    Source: Romano, Wolf (2005), Econometrica 73, algorithms 4.1 and 4.2 (StepM, studentised).
    """
    if not questions:
        return []
    of_seeds, rng = pool_seeds(figures), np.random.default_rng(seed)
    draws, freedom = len(next(iter(figures.values())).deviations), blocks.degrees_of_freedom
    day_tails = np.sqrt(rng.chisquare(freedom, draws) / freedom)
    freedom = of_seeds.degrees_of_freedom
    seed_tails = np.sqrt(rng.chisquare(freedom, draws) / freedom) if freedom else 1.0
    noise = {name: _seed_noise(figure, of_seeds, rng, draws) for name, figure in figures.items()}

    differences, errors, null = [], [], []
    for question in questions:
        names = [name for name in (question.one, question.other) if name]
        signs = (1, -1)[: len(names)]
        by_days = sum(sign * figures[name].deviations for sign, name in zip(signs, names, strict=True)) * blocks.inflation**0.5
        by_days -= by_days.mean()
        by_seeds = sum(sign * noise[name] for sign, name in zip(signs, names, strict=True))
        seed_variance = sum(of_seeds.variance / len(figures[name].by_seed) for name in names if figures[name].is_network)
        error = float(np.sqrt(np.var(by_days) + seed_variance))
        differences.append(sum(sign * figures[name].mean for sign, name in zip(signs, names, strict=True)))
        errors.append(error)
        null.append((by_days / day_tails + by_seeds / seed_tails) / (error or 1.0))
    steps = step_down(differences, errors, np.array(null), confidence, one_sided=one_sided)
    answers = []
    for question, difference, error, step in zip(questions, differences, errors, steps, strict=True):
        half_width = step.critical * error
        one_seed = any(figures[name].spread_is_unknown for name in (question.one, question.other) if name)
        error_is_known = blocks.are_enough and not one_seed
        answers.append(
            Answer(
                one=question.one,
                other=question.other,
                difference=difference,
                interval=[difference - half_width, None if one_sided else difference + half_width],
                p_value=step.p_value,
                is_clear=step.p_value < 1 - confidence and error_is_known,
                error_is_known=error_is_known,
                detectable=half_width + float(stats.norm.ppf(POWER)) * error,
            )
        )
    return answers


def _seed_noise(figure: Figure, of_seeds: SeedVariance, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Draw how far other seeds would have moved the mean over seeds, (W,)."""
    noise = rng.standard_normal(draws)  # drawn of references too, so that no model's noise depends on another's kind
    return noise * np.sqrt(of_seeds.variance / len(figure.by_seed)) if figure.is_network else np.zeros(draws)


@dataclasses.dataclass(frozen=True)
class Step:
    """A question's corrected p-value, and the critical value of the step at which it was decided."""

    p_value: float
    critical: float


def step_down(
    differences: Sequence[float], errors: Sequence[float], null: np.ndarray, confidence: float, *, one_sided: bool
) -> list[Step]:
    """Correct for the number of questions, the largest statistic first; each step leaves out those decided before.

    Args:
        differences, errors: of each question, (Q,). A difference without any error has p 0, but 1 where it is 0 or, one-sided,
            below 0.
        null: studentised draws of the differences where all are truly zero, (Q, W).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        statistics = np.nan_to_num(np.array(differences) / np.array(errors), nan=0.0, posinf=np.inf, neginf=-np.inf)
    if not one_sided:
        null, statistics = np.abs(null), np.abs(statistics)
    steps: dict[int, Step] = {}
    order = np.argsort(-statistics, kind="stable")
    p_value, critical, failed = 0.0, np.inf, False
    allowed = max(int(np.ceil((1 - confidence) * (1 + null.shape[1]))) - 2, 0)  # so many draws may reach what is clear
    largest = np.maximum.accumulate(null[order[::-1]], axis=0)[::-1]  # row k: the largest of those not decided before step k
    for question, of_rest in zip(order.tolist(), largest, strict=True):
        reached = np.sum(~(of_rest < statistics[question]))  # a figure that a draw leaves undefined makes nothing clear
        own = 0.0 if statistics[question] == np.inf else (1 + reached) / (1 + len(of_rest))
        p_value = max(p_value, float(own))
        if not failed:
            critical = float(np.partition(of_rest, -1 - allowed)[-1 - allowed])
        failed = failed or p_value >= 1 - confidence
        steps[question] = Step(p_value, critical)
    return [steps[question] for question in range(len(statistics))]
