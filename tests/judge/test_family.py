"""Differences of a family are judged together: against Student's t, Šidák, the steps as published, and the package arch."""

import dataclasses

import numpy as np
import pytest
from arch.bootstrap import SPA, StepM
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from judge.family import POWER, Answer, Figure, Question, answer, pool_seeds, step_down
from judge.uncertainty import Blocks, DrawnDays, Estimate

MANY = Blocks(1e9)
DRAWS = 40_000


def normal_draws(rng: np.random.Generator, deviation: float, draws: int = DRAWS) -> np.ndarray:
    """Draws of which mean and standard deviation are exact."""
    drawn = rng.standard_normal(draws)
    return deviation * (drawn - drawn.mean()) / drawn.std()


def of_reference(rng: np.random.Generator, value: float, deviation: float, draws: int = DRAWS) -> Figure:
    return Figure([value], normal_draws(rng, deviation, draws), is_network=False)


def band(p: float, draws: int) -> float:
    """Half the width of the binomial 99.9 % band."""
    return 3.29 * (p * (1 - p) / draws) ** 0.5 + 1 / draws


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("blocks", [Blocks(5), Blocks(12), Blocks(12, parts=2)])
def test_one_question_on_days_is_students_t(blocks, one_sided):
    figures = {"a": of_reference(np.random.default_rng(0), 0.05, 0.02)}
    [found] = answer([Question("a")], figures, blocks, confidence=0.9, seed=1, one_sided=one_sided)
    error = 0.02 * blocks.inflation**0.5
    freedom = 1.5 * (blocks.count - blocks.parts)
    p = stats.t.sf(0.05 / error, freedom) * (1 if one_sided else 2)
    assert found.p_value == pytest.approx(p, abs=band(p, DRAWS))
    half_width = stats.t.ppf(0.9 if one_sided else 0.95, freedom) * error
    assert found.interval[0] == pytest.approx(0.05 - half_width, abs=0.03 * half_width)
    assert (
        found.interval[1] is None if one_sided else found.interval[1] == pytest.approx(0.05 + half_width, abs=0.03 * half_width)
    )
    assert found.detectable == pytest.approx(half_width + stats.norm.ppf(POWER) * error, rel=0.03)


def four_networks(rng: np.random.Generator, deviation: float) -> dict[str, Figure]:
    return {
        name: Figure((0.3 + 0.01 * rng.standard_normal(3)).tolist(), normal_draws(rng, deviation), is_network=True)
        for name in "abcd"
    }


def test_one_question_on_seeds_has_the_degrees_of_freedom_of_all_networks():
    figures = four_networks(np.random.default_rng(2), 0.0)
    [found] = answer([Question("a", "b")], figures, MANY, confidence=0.95, seed=1)
    variances = [np.var(figure.by_seed, ddof=1) for figure in figures.values()]
    error = (np.mean(variances) * 2 / 3) ** 0.5
    p = 2 * stats.t.sf(abs(found.difference) / error, 8)
    assert found.difference == pytest.approx(np.mean(figures["a"].by_seed) - np.mean(figures["b"].by_seed))
    assert found.p_value == pytest.approx(p, abs=band(p, DRAWS))


@pytest.mark.parametrize("deviation", [0.002, 0.006, 0.02])
def test_days_and_seeds_together_are_hardly_more_cautious_than_welch(deviation):
    """Each part has tails of its own, as in the solution of Behrens and Fisher; Welch takes one t for the sum."""
    rng = np.random.default_rng(3)
    figures = four_networks(rng, deviation) | {"r": Figure([0.28], np.zeros(DRAWS), is_network=False)}
    blocks = Blocks(10)
    [found] = answer([Question("a", "r")], figures, blocks, confidence=0.95, seed=1)
    welch = Estimate.of([seed - 0.28 for seed in figures["a"].by_seed], figures["a"].deviations, blocks, pool_seeds(figures))
    p = 2 * stats.t.sf(abs(welch.value) / welch.standard_error, welch.degrees_of_freedom)
    assert p - band(p, DRAWS) <= found.p_value <= 1.3 * p + band(p, DRAWS)
    low, high = welch.interval(0.95)
    assert 0.98 <= (found.interval[1] - found.interval[0]) / (high - low) <= 1.1


def test_the_same_question_again_costs_nothing():
    figures = {"a": of_reference(np.random.default_rng(4), 0.04, 0.02)}
    [alone] = answer([Question("a")], figures, Blocks(20), confidence=0.95, seed=1)
    figures |= {"b": figures["a"], "c": figures["a"]}
    for found in answer([Question(name) for name in "abc"], figures, Blocks(20), confidence=0.95, seed=1):
        assert dataclasses.replace(found, one="a") == alone


@pytest.mark.parametrize("one_sided", [False, True])
def test_independent_questions_cost_what_sidak_says(one_sided):
    rng = np.random.default_rng(5)
    figures = {name: of_reference(rng, value, 0.01) for name, value in zip("abcd", (0.025, 0.02, 0.01, 0.0), strict=True)}
    found = answer([Question(name) for name in "abcd"], figures, MANY, confidence=0.95, seed=1, one_sided=one_sided)
    p, least = [stats.norm.sf(value) * (1 if one_sided else 2) for value in (2.5, 2, 1, 0)], 0.0
    for step, own in enumerate(found):
        least = max(least, 1 - (1 - p[step]) ** (4 - step))
        assert own.p_value == pytest.approx(least, abs=band(least, DRAWS))


def by_the_book(statistics: np.ndarray, null: np.ndarray, alpha: float) -> set[int]:
    """Romano and Wolf's algorithm: reject what exceeds the critical value of those left, until nothing does."""
    left, rejected = set(range(len(statistics))), set()
    while left:
        largest = null[sorted(left)].max(axis=0)
        new = {question for question in left if (1 + np.sum(largest >= statistics[question])) / (1 + len(largest)) < alpha}
        if not new:
            break
        left, rejected = left - new, rejected | new
    return rejected


@given(st.integers(0, 100_000), st.integers(1, 6), st.booleans(), st.sampled_from([0.8, 0.95]))
def test_step_down_rejects_what_the_published_algorithm_does(seed, questions, one_sided, confidence):
    rng = np.random.default_rng(seed)
    null = rng.standard_normal((questions, 199)) + rng.standard_normal(199)
    statistics = 3 * rng.standard_normal(questions)
    steps = step_down(statistics, np.ones(questions), null, confidence, one_sided=one_sided)
    found = {question for question, step in enumerate(steps) if step.p_value < 1 - confidence}
    size, drawn = (statistics, null) if one_sided else (np.abs(statistics), np.abs(null))
    assert found == by_the_book(size, drawn, 1 - confidence)
    for question, step in enumerate(steps):
        [alone] = step_down(statistics[[question]], [1.0], null[[question]], confidence, one_sided=one_sided)
        assert step.p_value >= alone.p_value and step.critical >= alone.critical
        assert (size[question] > step.critical) == (question in found), "the interval excludes zero just where p is small"
    by_size = np.argsort(-size)
    assert (np.diff([steps[question].p_value for question in by_size]) >= 0).all()


def test_no_questions_have_no_answers():
    assert answer([], {}, Blocks(10), confidence=0.95, seed=0) == []


def one(figures: dict[str, Figure], blocks: Blocks = MANY, *, one_sided: bool = False) -> Answer:
    [found] = answer([Question("a", "b")], figures, blocks, confidence=0.95, seed=1, one_sided=one_sided)
    return found


@pytest.mark.parametrize("one_sided", [False, True])
def test_a_network_of_one_seed_is_never_clear(one_sided):
    rng = np.random.default_rng(6)
    reference = of_reference(rng, 0.2, 1e-4)
    network = Figure([0.9], normal_draws(rng, 1e-4), is_network=True)
    for found in (one({"a": network, "b": reference}, one_sided=one_sided), one({"a": network, "b": network})):
        assert not found.is_clear and not found.error_is_known
    assert one({"a": dataclasses.replace(network, is_network=False), "b": reference}).is_clear


@pytest.mark.parametrize(("blocks", "clear"), [(Blocks(1), False), (Blocks(2, parts=2), False), (Blocks(4), True)])
def test_one_block_shows_no_error_so_that_nothing_is_clear(blocks, clear):
    figures = {"a": Figure([0.5], np.zeros(100), is_network=False), "b": Figure([0.4], np.zeros(100), is_network=False)}
    found = one(figures, blocks)
    assert (found.is_clear, found.error_is_known) == (clear, clear)


@pytest.mark.parametrize(
    ("difference", "one_sided", "p"), [(0.0, False, 1), (0.1, False, 0), (-0.1, False, 0), (-0.1, True, 1), (0.1, True, 0)]
)
def test_without_any_error_a_difference_is_what_it_is(difference, one_sided, p):
    figures = {"a": Figure([difference], np.zeros(100), is_network=False), "b": Figure([0.0], np.zeros(100), is_network=False)}
    found = one(figures, one_sided=one_sided)
    assert (found.p_value, found.is_clear, found.detectable) == (p, p == 0, 0)
    assert found.interval == [difference, None if one_sided else difference]


def test_an_undefined_draw_makes_nothing_clear():
    deviations = normal_draws(np.random.default_rng(7), 0.01)
    deviations[3] = np.nan
    assert not one(
        {"a": Figure([0.9], deviations, is_network=False), "b": of_reference(np.random.default_rng(8), 0.1, 0.01)}
    ).is_clear


def drawn_family(rng: np.random.Generator, edges: tuple[float, ...], blocks: Blocks) -> dict[str, Figure]:
    """A reference and networks that exceed it by `edges`; days move a figure by 0.02, seeds by 0.02, too."""
    estimated = (rng.chisquare(blocks.count - 1) / blocks.count) ** 0.5  # as the bootstrap of so many blocks finds it
    figures = {"r": Figure([0.02 * rng.standard_normal()], 0.02 * estimated * rng.standard_normal(299), is_network=False)}
    for number, edge in enumerate(edges):
        by_seed = edge + 0.02 * rng.standard_normal() + 0.02 * rng.standard_normal(3)
        figures[f"n{number}"] = Figure(by_seed.tolist(), 0.02 * estimated * rng.standard_normal(299), is_network=True)
    return figures


@pytest.mark.slow
@pytest.mark.parametrize("edges", [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.3, 0.3)])
@pytest.mark.parametrize("one_sided", [False, True])
def test_in_5_of_100_families_at_most_one_that_is_equal_is_clear(edges, one_sided):
    """Whether or not others truly differ."""
    wrong, trials, blocks = 0, 1000, Blocks(8)
    for trial in range(trials):
        figures = drawn_family(np.random.default_rng(trial), edges, blocks)
        questions = [Question(f"n{number}", "r") for number in range(4)]
        found = answer(questions, figures, blocks, confidence=0.95, seed=trial, one_sided=one_sided)
        wrong += any(own.is_clear for own, edge in zip(found, edges, strict=True) if not edge)
    assert wrong <= trials * (0.05 + band(0.05, trials))


@pytest.mark.slow
def test_a_difference_that_is_called_detectable_is_clear_in_80_of_100():
    trials, blocks = 1000, Blocks(30)

    def ask(trial: int, edge: float) -> Answer:
        rng = np.random.default_rng(trial)
        estimated = (rng.chisquare(blocks.count - 1) / blocks.count) ** 0.5
        figures = {"a": Figure([edge + 0.02 * rng.standard_normal()], normal_draws(rng, 0.02 * estimated, 999), is_network=False)}
        [found] = answer([Question("a")], figures, blocks, confidence=0.95, seed=trial)
        return found

    edge = float(np.mean([ask(trial, 0.0).detectable for trial in range(200)]))
    clear = sum(ask(trial, edge).is_clear for trial in range(trials))
    assert clear / trials == pytest.approx(POWER, abs=band(POWER, trials))


DAYS, BLOCK = 600, 4


def log_losses(seed: int, edges: tuple[float, ...]) -> np.ndarray:
    """Daily losses of a benchmark and of models that lose less by `edges` standard errors, (1 + M, D)."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal(DAYS), rng.standard_normal((1 + len(edges), DAYS))
    own -= own.mean(axis=1, keepdims=True)
    return common + own - np.array([0.0, *edges])[:, None] * (2 / DAYS) ** 0.5


def ask_losses(losses: np.ndarray) -> list[Answer]:
    drawn = DrawnDays.of([DAYS], BLOCK, 4000, 0)
    figures = {
        str(model): Figure([-own.mean()], drawn.weights @ -own / DAYS + own.mean(), is_network=False)
        for model, own in enumerate(losses)
    }
    questions = [Question(str(model), "0") for model in range(1, len(losses))]
    return answer(questions, figures, drawn.blocks, confidence=0.95, seed=0, one_sided=True)


@pytest.mark.parametrize("edges", [(1.0, 0.5, 0.0), (2.2, 0.3, -0.2), (1.6, 1.5, 1.4, 0.2)])
def test_the_smallest_p_is_that_of_the_test_of_superior_predictive_ability(edges):
    losses = log_losses(1, edges)
    spa = SPA(losses[0], losses[1:].T, block_size=BLOCK, reps=4000, bootstrap="circular", seed=1)
    spa.compute()
    assert min(found.p_value for found in ask_losses(losses)) == pytest.approx(spa.pvalues["consistent"], abs=0.035)


@pytest.mark.parametrize("edges", [(5.0, 0.0, 0.0), (6.0, 4.5, -1.0, 0.5), (0.5, 0.0, -4.0)])
def test_clear_cases_are_those_of_stepm(edges):
    losses = log_losses(2, edges)
    stepm = StepM(losses[0], losses[1:].T, size=0.05, block_size=BLOCK, reps=1000, bootstrap="circular", seed=1)
    stepm.compute()
    assert [model for model, found in enumerate(ask_losses(losses)) if found.is_clear] == sorted(stepm.superior_models)
