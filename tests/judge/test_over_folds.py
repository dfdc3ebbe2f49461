"""Estimates over folds against scipy, textbook formulas and slow loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from judge.family import Figure, Question
from judge.over_folds import FoldFigures, OverFolds, answer_over_folds, change_p_value, change_p_values, draw_null, holm
from judge.uncertainty import Blocks, Estimate

ENOUGH = Blocks(1e6)
values = st.lists(st.floats(-1, 1), min_size=2, max_size=9).filter(lambda own: np.std(own) > 1e-6)


def exactly(*own: float) -> list[Estimate]:
    """Values without an error within folds."""
    return [Estimate(value, 0.0, np.inf) for value in own]


def folds_of(by_model: dict[str, list[float | None]]) -> list[FoldFigures]:
    """Folds whose figures have hardly an error within them."""
    columns = zip(*by_model.values(), strict=True)
    noise = 1e-9 * np.random.default_rng(0).standard_normal(20)
    return [
        FoldFigures(
            {name: None if own is None else Figure([own], noise, False) for name, own in zip(by_model, fold, strict=True)}, ENOUGH
        )
        for fold in columns
    ]


@given(values)
def test_the_interval_of_the_mean_is_students_over_the_folds(own):
    found = OverFolds.of(exactly(*own), 0.9)
    expected = stats.ttest_1samp(own, 0).confidence_interval(0.9)
    assert found.interval == pytest.approx([expected.low, expected.high], rel=1e-6, abs=1e-9)
    assert (found.mean, found.std) == (pytest.approx(np.mean(own)), pytest.approx(np.std(own, ddof=1)))


@given(values, st.floats(0.001, 10))
def test_the_larger_of_the_error_between_and_within_folds_counts(own, error):
    found = OverFolds.of([Estimate(value, error, 5.0) for value in own], 0.95)
    standard_error = max(stats.sem(own), error / len(own) ** 0.5)
    half = stats.t.ppf(0.975, len(own) - 1) * standard_error
    assert found.interval == pytest.approx([np.mean(own) - half, np.mean(own) + half])


def test_errors_within_folds_add_up_as_variances():
    found = OverFolds.of([Estimate(0.3, 0.3, 5.0), Estimate(0.3, 0.4, 5.0)], 0.95)
    assert found.interval[1] - 0.3 == pytest.approx(stats.t.ppf(0.975, 1) * 0.5 / 2)
    assert found.errors == [0.3, 0.4]


def test_a_fold_that_lacks_the_figure_is_left_out():
    found = OverFolds.of([None, *exactly(0.2, 0.3, 0.7)], 0.95)
    assert found.by_fold == [None, 0.2, 0.3, 0.7] and found.errors == [None, 0, 0, 0]
    assert (found.mean, found.interval) == (pytest.approx(0.4), OverFolds.of(exactly(0.2, 0.3, 0.7), 0.95).interval)


def test_one_fold_shows_no_spread():
    found = OverFolds.of([None, *exactly(0.2)], 0.95)
    assert (found.mean, found.std, found.interval, found.changes_p) == (0.2, None, None, None)
    assert OverFolds.of([None, None], 0.95) == OverFolds([None, None], [None, None], None, None, None, None)


def test_an_f1_lies_between_0_and_1():
    assert OverFolds.of(exactly(0.1, 0.9), 0.95, within_unit=True).interval == [0.0, 1.0]
    assert OverFolds.of(exactly(0.1, 0.9), 0.95).interval[0] < 0


def test_a_difference_within_a_fold_is_paired_by_day_and_has_the_variance_of_all_seeds():
    rng = np.random.default_rng(0)
    shared, own = rng.standard_normal(500), 0.1 * rng.standard_normal(500)
    figures = {
        "one": Figure([0.3, 0.5], shared, True),
        "other": Figure([0.2, 0.3, 0.4], shared + own, True),
        "reference": Figure([0.1], 0 * shared, False),
    }
    fold = FoldFigures(figures | {"none": None}, Blocks(5))
    pooled = (0.02 + 0.02) / 3
    found = fold.estimate("one", "other")
    assert found.value == pytest.approx(0.1)
    assert found.standard_error**2 == pytest.approx(np.var(own) * 1.25 + pooled * (1 / 2 + 1 / 3))
    assert fold.estimate("one", "reference").standard_error ** 2 == pytest.approx(np.var(shared) * 1.25 + pooled / 2)
    assert fold.estimate("reference").standard_error == 0
    assert fold.estimate("one", "none") is None and fold.estimate("none") is None


@pytest.mark.parametrize("one_sided", [False, True])
def test_a_single_question_has_students_p_value(one_sided):
    own = [0.03, 0.01, 0.05, 0.02, -0.01]
    expected = stats.ttest_1samp(own, 0, alternative="greater" if one_sided else "two-sided")
    settings = {"confidence": 0.95, "draws": 40_000, "seed": [1], "one_sided": one_sided}
    (found,) = answer_over_folds([Question("a")], folds_of({"a": own}), **settings)
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.006)
    assert found.difference == pytest.approx(0.02)
    assert found.interval[0] == pytest.approx(expected.confidence_interval(0.95).low, abs=0.002)
    assert (found.interval[1] is None) == one_sided
    assert found.is_clear == (expected.pvalue < 0.05)
    critical = stats.t.ppf(0.95 if one_sided else 0.975, 4)
    assert found.detectable == pytest.approx((critical + stats.t.ppf(0.8, 4)) * stats.sem(own), rel=0.05)


def test_questions_are_paired_by_fold():
    models = {"a": [0.11, 0.52, 0.30, 0.91], "b": [0.10, 0.50, 0.29, 0.89]}
    (found,) = answer_over_folds([Question("a", "b")], folds_of(models), confidence=0.95, draws=9999, seed=[1])
    assert found.p_value == pytest.approx(stats.ttest_rel(models["a"], models["b"]).pvalue, abs=0.01)
    assert found.is_clear


def test_a_question_is_asked_of_the_folds_that_have_it():
    models = {"a": [None, 0.3, 0.4, 0.35, 0.5], "b": [None, None, None, None, 0.3], "c": [0.2, 0.3, 0.1, 0.2, 0.3]}
    questions = [Question("a"), Question("b"), Question("a", "b"), Question("a", "c")]
    found = answer_over_folds(questions, folds_of(models), confidence=0.95, draws=9999, seed=[1])
    assert [(own.one, own.other) for own in found] == [("a", None), ("a", "c")]
    assert found[0].difference == pytest.approx(np.mean(models["a"][1:]))
    assert answer_over_folds(questions, folds_of(models)[:1], confidence=0.95, draws=99, seed=[1]) == []


def test_each_question_of_the_null_follows_students_t_of_its_own_folds():
    rng = np.random.default_rng(2)
    differences = rng.standard_normal((6, 5))
    differences[2, 3:] = np.nan
    differences[4] = 0.1  # the same in all folds
    null = draw_null(differences, 4000, rng)
    for number, own in enumerate(null):
        freedom = 2 if number == 2 else 4
        assert stats.kstest(own, stats.t(freedom).cdf).pvalue > 0.001


def test_the_null_keeps_the_correlation_between_questions_but_for_a_share():
    rng = np.random.default_rng(3)
    own = rng.standard_normal(8)
    null = draw_null(np.stack([own, 2 * own + 1, -own, rng.standard_normal(8)]), 20_000, rng)
    correlation = stats.spearmanr(null.T).statistic
    assert correlation[0, 1] == pytest.approx(-correlation[0, 2], abs=0.03)
    assert 0.8 < correlation[0, 1] < 0.92
    assert abs(correlation[0, 3]) < 0.8


def test_more_questions_make_each_less_clear():
    rng = np.random.default_rng(4)
    models = {f"m{number}": (0.02 + 0.03 * rng.standard_normal(6)).tolist() for number in range(8)}
    alone, family = (
        answer_over_folds(
            [Question(f"m{number}") for number in range(count)], folds_of(models), confidence=0.95, draws=4999, seed=[1]
        )
        for count in (1, 8)
    )
    assert family[0].p_value > alone[0].p_value
    assert family[0].interval[0] < alone[0].interval[0]


def slow_change_p(values: list[float], errors: list[float], freedom: list[float], draws: int) -> float:
    """Draw folds that are truly alike, one at a time."""
    rng, reached = np.random.default_rng(9), 0
    own = np.var(values) / np.mean(np.square(errors))
    for _ in range(draws):
        drawn = [rng.normal(0, error) for error in errors]
        variances = [error**2 * rng.gamma(nu / 2, 2 / nu) for error, nu in zip(errors, freedom, strict=True)]
        reached += np.var(drawn) / np.mean(variances) >= own
    return reached / draws


def test_a_change_is_what_exceeds_errors_that_are_uncertain():
    values, errors, freedom = [0.6, 0.5, 0.45, 0.52], [0.03, 0.05, 0.04, 0.02], [4.0, 5.0, 6.0, 5.0]
    by_fold = [Estimate(*own) for own in zip(values, errors, freedom, strict=True)]
    found = change_p_value(by_fold, 20_000, np.random.default_rng(1))
    assert found == pytest.approx(slow_change_p(values, errors, freedom, 20_000), abs=0.012)
    q = sum((value - np.mean(values)) ** 2 for value in values) / np.mean(np.square(errors))
    assert found > stats.chi2.sf(q, 3) + 0.03, "chi-square takes the errors for known"


@pytest.mark.parametrize("spread", [0.01, 0.03, 0.06])
def test_with_known_errors_it_is_cochrans_q_against_chi_square(spread):
    values = 0.5 + spread * np.array([1, -1, 0.5, -0.5])
    by_fold = [Estimate(value, 0.03, 1e9) for value in values]
    q = np.sum((values - 0.5) ** 2) / 0.03**2
    assert change_p_value(by_fold, 40_000, np.random.default_rng(1)) == pytest.approx(stats.chi2.sf(q, 3), abs=0.01)


def test_changes_are_corrected_over_the_models_and_need_two_folds_with_an_error():
    changed = [Estimate(value, 0.01, 20.0) for value in (0.7, 0.7, 0.3, 0.3)]
    alike = [Estimate(value, 0.05, 20.0) for value in (0.5, 0.51, 0.5, 0.49)]
    found = change_p_values(
        {"changed": changed, "alike": alike, "exact": exactly(0.1, 0.9), "once": [changed[0], None]}, draws=999, seed=[1]
    )
    assert found["changed"] == pytest.approx(2 / 1000)
    assert found["alike"] > 0.9
    assert found["exact"] is None and found["once"] is None
    assert list(found) == ["changed", "alike", "exact", "once"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_what_every_step_before_rejects(p_values):
    found = holm({str(number): p_value for number, p_value in enumerate(p_values)})
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    for place, number in enumerate(order):
        steps = itertools.islice(order, place + 1)
        expected = max((len(p_values) - step) * p_values[own] for step, own in enumerate(steps))
        assert found[str(number)] == pytest.approx(min(1.0, expected))
