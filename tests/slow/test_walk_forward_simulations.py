"""Drawn folds, of which the truth is known: how often a mean is covered, chance is called clear, and a change is found.

Every rate is held against the binomial 99.9 % band of 1,000 campaigns.
"""

import dataclasses

import numpy as np
import pytest

from judge.comparison import test_questions as list_questions
from judge.direction import direction_auc, direction_draws
from judge.family import Answer, Figure, Question
from judge.over_folds import FoldFigures, OverFolds, answer_over_folds, change_p_value
from judge.uncertainty import Blocks, DrawnDays, Estimate

pytestmark = pytest.mark.slow
CAMPAIGNS, DRAWS = 1000, 399
NETWORKS = [f"network {number}" for number in range(4)]
MODELS = [*NETWORKS, "logistic_regression", "gradient_boosting", "one_column", "prior", "always_positive"]
SETTINGS = {"confidence": 0.95, "draws": DRAWS}
DAYS, SAMPLES = 50, 24


def band(share: float) -> float:
    """Half the width of the binomial 99.9 % band."""
    return 3.29 * (share * (1 - share) / CAMPAIGNS) ** 0.5


def draw_estimates(truths: np.ndarray, error: float, freedom: float, rng: np.random.Generator) -> list[Estimate]:
    """Estimates of the truths, whose errors are themselves estimated with some degrees of freedom."""
    errors = error * np.sqrt(rng.chisquare(freedom, len(truths)) / freedom)
    values = truths + error * rng.standard_normal(len(truths))
    return [Estimate(*own, freedom) for own in zip(values, errors, strict=True)]


@pytest.mark.parametrize(("folds", "between"), [(2, 0.05), (4, 0.05), (4, 0.02), (8, 0.05)])
def test_the_interval_of_the_mean_covers_it_where_folds_truly_differ(folds, between):
    rng, covered, within_only = np.random.default_rng(folds), 0, 0
    for _ in range(CAMPAIGNS):
        own = draw_estimates(0.3 + between * rng.standard_normal(folds), 0.02, 5.0, rng)
        low, high = OverFolds.of(own, 0.95).interval
        covered += low <= 0.3 <= high
        error = np.sqrt(np.mean([one.standard_error**2 for one in own]) / folds)
        within_only += abs(np.mean([one.value for one in own]) - 0.3) <= 1.96 * error
    print(f"means covered, {folds} folds, {between} between them: {covered / CAMPAIGNS:.3f}")
    assert covered >= CAMPAIGNS * (0.95 - band(0.95))
    if folds > 2:  # of two the larger of both errors, at one degree of freedom, covers nearly always
        assert covered <= CAMPAIGNS * (0.985 + band(0.985))
    if between > 0.02:
        assert within_only / CAMPAIGNS < 0.75, "the error within folds alone covers too rarely"


@dataclasses.dataclass(frozen=True)
class ExactFold:
    """The figures of all models in one fold, as `FoldFigures` whose differences have no error within the fold."""

    values: dict[str, float]

    def estimate(self, one: str, other: str | None = None) -> Estimate:
        return Estimate(self.values[one] - (self.values[other] if other else 0.0), 0.0, np.inf)


def draw_families(folds: int, alike: float, edge: float = 0.0) -> list[list[dict[str, float]]]:
    """F1 by campaign, fold and model: equal but for the networks' edge, in standard deviations of a model between folds.

    Args:
        alike: correlation of the networks with each other, and of the references.
    """
    rng = np.random.default_rng(folds)
    of_kind = rng.standard_normal((CAMPAIGNS, folds, 2))
    shared = np.repeat(of_kind, [len(NETWORKS), len(MODELS) - len(NETWORKS)], axis=2)
    values = alike**0.5 * shared + (1 - alike) ** 0.5 * rng.standard_normal((CAMPAIGNS, folds, len(MODELS)))
    values[..., : len(NETWORKS)] += edge
    return [[dict(zip(MODELS, own, strict=True)) for own in family] for family in (0.3 + 0.05 * values).tolist()]


def compare(family: list[dict[str, float]], seed: int) -> list[Answer]:
    """Ask as many questions as four networks have; the reference is any of them, chosen on other data."""
    questions = list_questions(MODELS, NETWORKS, "gradient_boosting")
    return answer_over_folds(questions, [ExactFold(own) for own in family], **SETTINGS, seed=[seed])


@pytest.mark.parametrize(("folds", "alike"), [(3, 0.0), (4, 0.0), (4, 0.9), (8, 0.5)])
def test_of_equal_models_in_folds_that_differ_none_is_told_apart_in_95_of_100(folds, alike):
    families = enumerate(draw_families(folds, alike))
    found = sum(any(own.is_clear for own in compare(family, seed)) for seed, family in families)
    print(f"families with a wrong finding, {folds} folds, correlation {alike}: {found / CAMPAIGNS:.3f}")
    assert found <= CAMPAIGNS * (0.05 + band(0.05))


@pytest.mark.parametrize("folds", [3, 4, 8])
def test_without_a_gain_no_model_is_worth_a_trade_in_95_of_100(folds):
    questions, found = [Question(name) for name in MODELS], 0
    noise = 0.0005 * np.random.default_rng(0).standard_normal(20)
    for seed, family in enumerate(draw_families(folds, 0.5)):
        returns = [{name: Figure([own - 0.3], noise, False) for name, own in fold.items()} for fold in family]
        figures = [FoldFigures(own, Blocks(1e6)) for own in returns]
        answers = answer_over_folds(questions, figures, **SETTINGS, seed=[seed], one_sided=True)
        found += any(own.is_clear for own in answers)
    print(f"families with a gain by chance, {folds} folds: {found / CAMPAIGNS:.3f}")
    assert found <= CAMPAIGNS * (0.05 + band(0.05))


def test_an_edge_of_four_standard_deviations_between_folds_is_found_in_80_of_100_with_six_folds():
    found = 0
    for seed, family in enumerate(draw_families(6, 0.5, 4.0)):
        found += any(own.is_clear and own.other == "gradient_boosting" for own in compare(family, seed))
    print(f"edge found: {found / CAMPAIGNS:.3f}")
    assert found >= CAMPAIGNS * (0.8 - band(0.8))


@pytest.mark.parametrize(("folds", "freedom"), [(2, 5.0), (4, 5.0), (8, 5.0), (4, 2.0)])
def test_folds_that_are_alike_change_in_5_of_100_though_errors_are_uncertain(folds, freedom):
    rng, found = np.random.default_rng(folds), 0
    for _ in range(CAMPAIGNS):
        own = draw_estimates(np.full(folds, 0.3), 0.02, freedom, rng)
        found += change_p_value(own, DRAWS, rng) < 0.05
    print(f"changes by chance, {folds} folds, {freedom} degrees of freedom: {found / CAMPAIGNS:.3f}")
    assert found <= CAMPAIGNS * (0.05 + band(0.05))
    assert found >= CAMPAIGNS * 0.005


def draw_direction(signs: list[float], strength: float, rng: np.random.Generator) -> list[Estimate]:
    """The direction AUC of each fold, as walk-forward estimates it: scores know the sign of a day's drift times `signs`."""
    estimates = []
    for sign in signs:
        drift, state = np.empty(DAYS), rng.standard_normal()
        for day in range(DAYS):  # neighbouring days are alike
            drift[day] = state = 0.6 * state + 0.8 * rng.standard_normal()
        days = np.repeat(np.arange(DAYS), SAMPLES)
        kind = rng.standard_normal(len(days)) + 0.5 * drift[days]
        y, mirrored = (kind > 1.2).astype(float), kind < -1.2
        scores = sign * strength * kind + 0.5 * drift[days] * rng.choice([-1, 1], DAYS)[days] + rng.standard_normal(len(days))
        drawn = DrawnDays.of([DAYS], None, 199, int(rng.integers(2**31)))
        auc = direction_auc(scores, y, mirrored)
        draws = direction_draws(scores[None], y, mirrored, days, drawn.weights)
        estimates.append(Estimate.of([auc], draws - auc, drawn.blocks))
    return estimates


def test_a_direction_that_stays_changes_in_5_of_100_at_most_and_one_that_turns_is_found_in_80():
    """The first two folds are the same."""
    rng, found = np.random.default_rng(5), np.zeros(2)
    for _ in range(CAMPAIGNS):
        folds = draw_direction([1, 1, 1, 1, -1, -1], 0.15, rng)
        found += [change_p_value(own, DRAWS, rng) < 0.05 for own in (folds[:4], folds[:2] + folds[4:])]
    stays, turns = found / CAMPAIGNS
    print(f"direction: changes by chance {stays:.3f}, turns that are found {turns:.3f}")
    assert stays <= 0.05 + band(0.05)
    assert turns >= 0.8 - band(0.8)
