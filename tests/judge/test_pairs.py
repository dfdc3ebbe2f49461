"""Which differences chance does not explain."""

import numpy as np
import pytest
from scipy import stats

from judge.calls import Calls
from judge.pairs import Pair, Standing, compare_pairs, f1_difference, find_leader, is_clear, profitable
from made import make_calls


def steady(f1: float, drawn_f1: np.ndarray, seeds: tuple = (None,)) -> Calls:
    """A model with the same F1 for each seed, no return, and draws around that F1."""
    return Calls(list(seeds), [f1] * len(seeds), [0.0] * len(seeds), drawn_f1 + f1, drawn_f1 * 0)


def pair(better: str, worse: str, clear: bool) -> Pair:
    return Pair(better, worse, difference=0.1, interval=[0.0, 0.2], p_value=0.02, p_holm=0.04, clear=clear)


def test_a_true_difference_is_found_with_the_better_model_first():
    models = make_calls(0.2)
    (found,) = compare_pairs(models, 30, 0.95)
    assert (found.better, found.worse, found.clear) == ("a", "b", True)
    assert found.difference == pytest.approx(np.mean(models["a"].f1) - np.mean(models["b"].f1))
    assert found.interval[0] > 0
    assert is_clear([found], "a", "b")
    assert not is_clear([found], "b", "a")


def test_paired_draws_cancel_the_luck_of_the_days():
    models = make_calls(0.2)
    apart = np.hypot(*(np.std(model.drawn_f1) for model in models.values()))
    assert f1_difference(models["a"], models["b"], 30).standard_error < apart


def test_the_interval_of_one_pair_is_students():
    """Against the formula: the standard error of the drawn differences, with as many degrees of freedom as blocks less one."""
    rng = np.random.default_rng(2)
    one, other = rng.normal(0, 0.01, (2, 1000))
    (found,) = compare_pairs({"one": steady(0.52, one), "other": steady(0.5, other)}, 20, 0.9)
    error = np.std(one - other) * (20 / 19) ** 0.5
    low, high = stats.t.interval(0.9, 19, loc=0.02, scale=error)
    assert found.interval == pytest.approx([low, high])
    assert found.p_value == found.p_holm == pytest.approx(2 * stats.t.sf(0.02 / error, 19))


def test_equal_models_are_a_tie():
    (found,) = compare_pairs(make_calls(0.0), 30, 0.95)
    assert (found.interval, found.p_value, found.clear) == ([0, 0], 1, False)


def test_a_difference_that_is_clear_alone_is_a_tie_among_many():
    rng = np.random.default_rng(1)
    drawn = rng.normal(0, 0.01, 1000)
    two = {"a": steady(0.524, drawn), "b": steady(0.5, drawn * 0)}
    assert compare_pairs(two, 1000, 0.95)[0].clear
    many = two | {f"c{n}": steady(0.5, rng.normal(0, 0.01, 1000)) for n in range(6)}
    among = next(found for found in compare_pairs(many, 1000, 0.95) if (found.better, found.worse) == ("a", "b"))
    assert not among.clear
    assert among.interval[0] < 0 < among.p_value < 0.05 < among.p_holm


def test_seeds_are_compared_one_by_one():
    """Seeds that move both models alike leave the difference alone; against a model without seeds they count."""
    still = np.full(500, 0.3)
    lucky = Calls([1, 2, 3], [0.2, 0.3, 0.4], [0.0] * 3, still, still)
    other = Calls([1, 2, 3], [0.15, 0.25, 0.35], [0.0] * 3, still, still)
    alone = Calls([None], [0.25], [0.0], still, still)
    assert f1_difference(lucky, other, 30).standard_error == pytest.approx(0, abs=1e-12)
    assert f1_difference(lucky, alone, 30).standard_error == pytest.approx(0.1 / 3**0.5)


def test_a_network_with_one_seed_is_never_clear():
    """How lucky that seed was is unknown, and would count as a difference."""
    drawn = np.linspace(-1e-3, 1e-3, 1000)
    reference = steady(0.2, drawn[::-1])
    assert not compare_pairs({"network": steady(0.4, drawn, (1,)), "reference": reference}, 30, 0.95)[0].clear
    assert compare_pairs({"network": steady(0.4, drawn, (1, 2, 3)), "reference": reference}, 30, 0.95)[0].clear


def test_a_winner_beats_every_other_model_beyond_chance():
    f1 = {"a": 0.4, "b": 0.3, "c": 0.2}
    assert find_leader(f1, [pair("a", "b", True), pair("a", "c", True)]) == Standing("a", winner="a", ties=[])
    assert find_leader(f1, [pair("a", "b", False), pair("a", "c", True)]) == Standing("a", winner=None, ties=["b"])


def test_profit_beyond_chance_is_corrected_for_the_number_of_networks():
    """A p-value of 0.02 is found alone, and not as the best of four."""
    drawn = np.random.default_rng(0).normal(size=4000)
    drawn /= drawn.std()

    def network(daily: float, seeds: int = 3) -> Calls:
        return Calls(list(range(seeds)), [0.3] * seeds, [daily] * seeds, drawn, drawn)

    one = {"one": network(2.35)}
    assert profitable(one, 1e6, 0.95) == ["one"]
    assert profitable(one | {name: network(0.0) for name in "abc"}, 1e6, 0.95) == []
    others = {"loses": network(-9.0), "gains": network(9.0), "one seed": network(9.0, seeds=1)}
    assert profitable(one | others, 1e6, 0.95) == ["one", "gains"]
