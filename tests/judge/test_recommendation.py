"""What to search, from validation alone."""

import dataclasses
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.family import Answer
from judge.recommendation import Recommendation, best_reference, recommend

LABELS = {"mlp": "MLP", "lstm": "LSTM", "gru": "GRU", "cnn_lstm": "CNN-LSTM", "prior": "asset prior"}
REFERENCE_F1 = 0.25


def above(name: str, difference: float, *, is_clear: bool, known: bool = True) -> Answer:
    p_value = 0.01 if is_clear else 0.4
    return Answer(name, "prior", difference, [difference - 0.02, None], p_value, is_clear, known, detectable=0.04)


def between(one: str, other: str, *, is_clear: bool) -> Answer:
    return Answer(one, other, 0.1, [0.0, 0.2], 0.01 if is_clear else 0.4, is_clear, True, detectable=0.04)


def advise(val_f1: dict[str, float], clear: set[str], told_apart: set[frozenset[str]], minimum: float = 0.2) -> Recommendation:
    against = [above(name, f1 - REFERENCE_F1, is_clear=name in clear) for name, f1 in val_f1.items()]
    pairs = [between(*pair, is_clear=frozenset(pair) in told_apart) for pair in combinations(val_f1, 2)]
    return recommend(val_f1, "prior", against, pairs, LABELS, minimum=minimum)


def test_networks_that_cannot_be_told_from_the_first_are_second():
    f1 = {"lstm": 0.30, "gru": 0.31, "mlp": 0.27, "cnn_lstm": 0.26}
    found = advise(f1, {"lstm", "gru", "mlp"}, {frozenset(("gru", "mlp")), frozenset(("lstm", "mlp"))})
    assert (found.primary, found.secondary, found.worthy, found.best) == ("gru", ["lstm"], ["gru", "lstm"], "gru")
    assert found.order == ["gru", "lstm", "mlp", "cnn_lstm"]
    assert found.reasons == {
        "gru": "cross-fitted F1 0.310 against 0.250 of asset prior (p 0.010): beyond chance",
        "lstm": "cross-fitted F1 0.300 against 0.250 of asset prior (p 0.010): beyond chance; cannot be told from GRU",
        "mlp": "cross-fitted F1 0.270 against 0.250 of asset prior (p 0.010): beyond chance; is beyond chance below GRU",
        "cnn_lstm": "cross-fitted F1 0.260 against 0.250 of asset prior (p 0.400): not beyond chance",
    }


def test_the_highest_f1_is_not_searched_where_chance_explains_it():
    found = advise({"lstm": 0.30, "gru": 0.31}, {"lstm"}, set())
    assert (found.primary, found.secondary, found.order, found.best) == ("lstm", [], ["gru", "lstm"], "lstm")


def test_what_is_below_the_minimum_is_not_searched():
    found = advise({"lstm": 0.30, "gru": 0.27}, {"lstm", "gru"}, set(), minimum=0.3)
    assert (found.primary, found.worthy, found.best) == (None, [], "lstm")
    against = "against 0.250 of asset prior (p 0.010): not above the minimum of 0.300"
    assert found.reasons["gru"] == f"cross-fitted F1 0.270 {against}"
    assert found.reasons["lstm"] == f"cross-fitted F1 0.300 {against}", "equal is not above"


def test_a_network_below_the_reference_is_not_better():
    reason = "cross-fitted F1 0.220 against 0.250 of asset prior (p 0.400): not beyond chance"
    assert advise({"gru": 0.22}, set(), set()).reasons["gru"] == reason


def test_a_tiny_p_is_not_written_as_zero():
    tiny = dataclasses.replace(above("gru", 0.1, is_clear=True), p_value=0.0002)
    assert "(p < 0.001)" in recommend({"gru": 0.35}, "prior", [tiny], [], LABELS, minimum=0.2).reasons["gru"]


def test_one_seed_is_said_to_tell_nothing():
    found = recommend({"gru": 0.4}, "prior", [above("gru", 0.15, is_clear=False, known=False)], [], LABELS, minimum=0.2)
    assert found.primary is None
    assert found.reasons["gru"].endswith("unknown how much of the difference is chance: one seed, or too few days")


@given(st.data())
def test_worthy_is_what_is_clear_and_above_the_minimum_and_not_clearly_worse_than_the_first(data):
    names = ["mlp", "lstm", "gru", "cnn_lstm"]
    f1 = {name: data.draw(st.sampled_from([0.19, 0.2, 0.26, 0.3, 0.31])) for name in names}
    clear = data.draw(st.sets(st.sampled_from(names)))
    told_apart = {frozenset(pair) for pair in combinations(names, 2) if data.draw(st.booleans())}
    found = advise(f1, clear, told_apart)
    passing = {name for name in clear if f1[name] > 0.2}
    assert [f1[name] for name in found.order] == sorted(f1.values(), reverse=True)
    assert (found.primary is None) == (not passing)
    assert set(found.worthy) <= passing and found.worthy == [name for name in found.order if name in found.worthy]
    for name in passing - set(found.worthy):
        assert frozenset((found.primary, name)) in told_apart and f1[name] <= f1[found.primary]
    for name in found.secondary:
        assert frozenset((found.primary, name)) not in told_apart
    fields = dataclasses.asdict(found)
    assert fields["reasons"].keys() == set(names)


@pytest.mark.parametrize(("f1", "best"), [({"a": 0.1, "b": 0.3}, "b"), ({"a": 0.3, "b": 0.3}, "a"), ({"a": 0.0}, "a")])
def test_the_best_reference_is_the_first_of_the_highest(f1, best):
    assert best_reference(f1) == best
