"""Estimate a figure over folds, whose values are the units: its mean, the error of that, and whether it changes.

Folds are taken as independent draws of how a model does. Shapes: K folds, Q questions, W draws.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from judge.family import POWER, Answer, Figure, Question, pool_seeds, step_down
from judge.uncertainty import Blocks, Estimate

FEWEST_FOLDS = 2  # that show a spread
CHUNK = 1000  # draws at once, so that memory does not grow with their number


@dataclasses.dataclass(frozen=True)
class FoldFigures:
    """One figure of all models in one fold, from the same bootstrap draws; None of a model that has none there."""

    figures: Mapping[str, Figure | None]
    blocks: Blocks

    def estimate(self, one: str, other: str | None = None) -> Estimate | None:
        """Estimate the figure of `one`, less that of `other`, with the error of days and seeds; None where one has none."""
        signs = {one: 1, other: -1} if other else {one: 1}
        own = {name: self.figures[name] for name in signs}
        if any(figure is None for figure in own.values()):
            return None
        of_seeds = pool_seeds({name: figure for name, figure in self.figures.items() if figure is not None})
        deviations = sum(sign * own[name].deviations for name, sign in signs.items())
        parts = [(float(np.var(deviations)) * self.blocks.inflation, self.blocks.degrees_of_freedom)]
        if of_seeds.degrees_of_freedom:
            share = sum(1 / len(figure.by_seed) for figure in own.values() if figure.is_network)
            parts.append((of_seeds.variance * share, of_seeds.degrees_of_freedom))
        return Estimate.of_variances(sum(sign * own[name].mean for name, sign in signs.items()), parts)


@dataclasses.dataclass(frozen=True)
class OverFolds:
    """One figure of one model over folds. Lists have an item a fold, oldest first.

    by_fold: mean over seeds; None in a fold where the figure is undefined.
    errors: standard error within each fold, of days and seeds; None likewise, 0 where the figure is known exactly, as the
        return of a fold without a trade.
    mean: over the folds that have the figure; None where none has.
    std: sample standard deviation over these folds; None where fewer than two have it.
    interval: [low, high] of the mean, for folds like these. It contains the variance between folds: Student's t with K - 1
        degrees of freedom. Where the error within folds is larger than the spread between them shows, the larger one counts.
        None where fewer than two folds have the figure: then no spread is known.
    changes_p: p-value of "the same in every fold, but for the error within them", corrected over the models by Holm; None
        where fewer than two folds have the figure with an error.
    """

    by_fold: list[float | None]
    errors: list[float | None]
    mean: float | None
    std: float | None
    interval: list[float] | None
    changes_p: float | None

    @classmethod
    def of(
        cls, by_fold: Sequence[Estimate | None], confidence: float, changes_p: float | None = None, *, within_unit: bool = False
    ) -> "OverFolds":
        """Summarise the estimates of the folds; `within_unit` cuts the interval off at 0 and 1."""
        known = [own for own in by_fold if own is not None]
        mean = FoldMean.of(known) if len(known) >= FEWEST_FOLDS else None
        interval = mean.interval(confidence) if mean else None
        return cls(
            by_fold=[own and own.value for own in by_fold],
            errors=[own and own.standard_error for own in by_fold],
            mean=float(np.mean([own.value for own in known])) if known else None,
            std=float(np.std([own.value for own in known], ddof=1)) if mean else None,
            interval=np.clip(interval, 0.0, 1.0).tolist() if interval and within_unit else interval,
            changes_p=changes_p,
        )


@dataclasses.dataclass(frozen=True)
class FoldMean:
    """The mean over at least two folds, its standard error, and the degrees of freedom of that."""

    value: float
    error: float
    degrees_of_freedom: int

    @classmethod
    def of(cls, by_fold: Sequence[Estimate]) -> "FoldMean":
        """Average; the error is that between folds, or that within them where it is larger.

        The spread between folds contains the error within them. So few folds may lie close together by chance; then the error
        within says that the mean is known less well.
        """
        values, count = [own.value for own in by_fold], len(by_fold)
        between = float(np.std(values, ddof=1)) / count**0.5
        within = sum(own.standard_error**2 for own in by_fold) ** 0.5 / count
        return cls(float(np.mean(values)), max(between, within), count - 1)

    def interval(self, confidence: float) -> list[float]:
        """Return [low, high] by Student's t."""
        half_width = float(stats.t.ppf((1 + confidence) / 2, self.degrees_of_freedom)) * self.error
        return [self.value - half_width, self.value + half_width]


def answer_over_folds(
    questions: Sequence[Question],
    folds: Sequence[FoldFigures],
    *,
    confidence: float,
    draws: int,
    seed: Sequence[int],
    one_sided: bool = False,
) -> list[Answer]:
    """Answer the questions, paired by fold, such that with probability `confidence` none is wrongly called clear.

    A question is asked where at least two folds have its figures; it is answered by these folds.

    Args:
        folds: the figure that is asked about.
        draws, seed: of the joint null distribution, see `draw_null`.
        one_sided: whether only a positive difference can be clear.
    """
    asked = {question: [fold.estimate(question.one, question.other) for fold in folds] for question in questions}
    asked = {question: own for question, own in asked.items() if sum(one is not None for one in own) >= FEWEST_FOLDS}
    if not asked:
        return []
    means = [FoldMean.of([one for one in own if one is not None]) for own in asked.values()]
    differences = np.array([[np.nan if one is None else one.value for one in own] for own in asked.values()])
    null = draw_null(differences, draws, np.random.default_rng(seed))
    steps = step_down([mean.value for mean in means], [mean.error for mean in means], null, confidence, one_sided=one_sided)
    powers = stats.t.ppf(POWER, [mean.degrees_of_freedom for mean in means]).tolist()
    answers = []
    for question, mean, step, power in zip(asked, means, steps, powers, strict=True):
        half_width = step.critical * mean.error
        answers.append(
            Answer(
                one=question.one,
                other=question.other,
                difference=mean.value,
                interval=[mean.value - half_width, None if one_sided else mean.value + half_width],
                p_value=step.p_value,
                is_clear=step.p_value < 1 - confidence,
                error_is_known=True,
                detectable=half_width + power * mean.error,
            )
        )
    return answers


def draw_null(differences: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the studentised means of all questions where every difference is truly zero, float64 (Q, W).

    A draw redraws all K folds: normal, the questions correlated as their differences are between the folds, but for a share of
    1 / K by which the correlations shrink to zero. Each question is then divided by its own error in these drawn folds, so each
    follows Student's t exactly. A single chi-square for all, or correlations of so few folds taken as they are, would be too
    sure: in simulations of 36 equal pairs in four folds 37 % and 8 % of families had a wrong finding, at 5 %.

    Args:
        differences: (Q, K), NaN where a fold lacks a question's figure; at least two of each are known.
    """
    known = ~np.isnan(differences)
    centred = np.where(known, differences - np.nanmean(differences, axis=1, keepdims=True), 0.0)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    directions = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    folds = differences.shape[1]
    own_share = np.where(length > 0, 1 / folds, 1.0)
    parts = []
    for start in range(0, draws, CHUNK):
        size = min(CHUNK, draws - start)
        shared, own = rng.standard_normal((folds, size, folds)), rng.standard_normal((len(differences), size, folds))
        joint = np.einsum("qk,kwj->qwj", directions, shared)  # the bits of a BLAS product depend on the cores
        drawn = np.sqrt(1 - own_share)[..., None] * joint + np.sqrt(own_share)[..., None] * own
        parts.append(np.stack([studentise(of_question[:, has]) for of_question, has in zip(drawn, known, strict=True)]))
    return np.concatenate(parts, axis=1)


def studentise(folds: np.ndarray) -> np.ndarray:
    """Divide the mean over folds by its standard error, (W,); `folds`: (W, K)."""
    return folds.mean(axis=1) / folds.std(axis=1, ddof=1) * folds.shape[1] ** 0.5


def change_p_values(
    by_model: Mapping[str, Sequence[Estimate | None]], *, draws: int, seed: Sequence[int]
) -> dict[str, float | None]:
    """Test whether each model's figure is the same in every fold, but for the error within them; corrected by Holm.

    Args:
        by_model: the figure in each fold. A fold without an error says nothing of a change.

    Returns:
        None of a model of which fewer than two folds have an error.
    """
    p_values = {}
    for number, (name, by_fold) in enumerate(by_model.items()):
        known = [own for own in by_fold if own is not None and own.standard_error > 0]
        if len(known) >= FEWEST_FOLDS:
            p_values[name] = change_p_value(known, draws, np.random.default_rng([*seed, number]))
    return dict.fromkeys(by_model) | holm(p_values)


def change_p_value(by_fold: Sequence[Estimate], draws: int, rng: np.random.Generator) -> float:
    """Test whether the values of some folds differ by more than their errors: Cochran's Q with the errors pooled.

    Q divides the spread between folds by the mean variance within them. A fold's error comes from a few blocks of days, and Q
    against chi-square takes it for known. So Q is held against draws in which the errors are uncertain, too.

    Source: Cochran (1954), Biometrics 10; the draws are a parametric bootstrap.
    """
    values, errors = (np.array([getattr(own, key) for own in by_fold]) for key in ("value", "standard_error"))
    freedom = np.array([own.degrees_of_freedom for own in by_fold])
    shape = (draws, len(by_fold))
    drawn = errors * rng.standard_normal(shape)
    variances = errors**2 * rng.chisquare(freedom, shape) / freedom
    reached = np.sum(squared_spread(drawn) / variances.mean(axis=1) >= squared_spread(values) / np.mean(errors**2))
    return float(1 + reached) / (1 + draws)


def squared_spread(values: np.ndarray) -> np.ndarray:
    """Sum up the squared deviations from the mean, over the last axis."""
    return ((values - values.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values for their number. Source: Holm (1979), Scandinavian Journal of Statistics 6."""
    corrected, largest = {}, 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[name]))
        corrected[name] = largest
    return corrected
