"""Every gate passes and fails for its own reason."""

import dataclasses
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.family import Answer
from judge.gates import NEIGHBOURS, Evidence, check_gates, spread_near_best


def found(difference: float, *, is_clear: bool = True, p_value: float = 0.01, other: str | None = None) -> Answer:
    return Answer("gru", other, difference, [difference - 0.05, None], p_value, is_clear, True, detectable=0.08)


GOOD = Evidence(
    train_f1=0.36, val_f1=0.32, cross_fitted_f1=0.30, shifted_f1=0.29, epoch_spread=0.01, seeds=3, unconverged=0,
    above_reference=found(0.04, p_value=0.011, other="prior"), on_test=found(0.03, p_value=0.012, other="prior"), test_f1=0.28,
    direction=found(0.06, p_value=0.013), hit_rate=0.4, break_even=0.33, hits_enough=True, total_return=0.2,
    returned=found(0.001, p_value=0.014),
)  # fmt: skip
SEARCH = "cross-fitted validation F1 above asset prior, beyond chance"
ON_TEST = "test F1 above asset prior, beyond chance"
DIRECTION = "knows where to: direction AUC on test above 0.5, beyond chance"
RETURN = "return on test after costs above zero, beyond chance"


def check(evidence: Evidence):
    return check_gates(evidence, "asset prior", minimum=0.2, max_train_val_gap=0.05, max_epoch_spread=0.03)


def failed(evidence: Evidence) -> list[str]:
    return [gate.gate for gate in check(evidence) if not gate.passed]


@pytest.mark.parametrize("changes", [{}, {"train_f1": 0.1}, {"epoch_spread": 0.03}, {"cross_fitted_f1": 0.2001}])
def test_all_gates_pass_up_to_their_thresholds(changes):
    assert failed(dataclasses.replace(GOOD, **changes)) == []


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("cross-fitted validation F1 above the minimum", {"cross_fitted_f1": 0.2}),
        (SEARCH, {"above_reference": found(0.2, is_clear=False)}),
        ("knows when: validation F1 above that on shifted labels", {"shifted_f1": 0.32}),
        ("converged: seeds that stopped early", {"unconverged": 1}),
        ("stable: spread of validation F1 near the best epoch", {"epoch_spread": 0.0301}),
        ("train F1 less validation F1", {"train_f1": 0.38}),
        (ON_TEST, {"on_test": found(0.2, is_clear=False)}),
        (ON_TEST, {"on_test": found(-0.2)}),  # two-sided: clearly below
        (DIRECTION, {"direction": found(0.2, is_clear=False)}),
        (DIRECTION, {"direction": found(-0.2)}),
        (DIRECTION, {"direction": None}),
        ("hit rate on test above break-even, beyond chance", {"hits_enough": False}),
        (RETURN, {"returned": found(0.2, is_clear=False)}),
        (RETURN, {"returned": None}),
    ],
)
def test_each_gate_fails_alone(gate, changes):
    assert failed(dataclasses.replace(GOOD, **changes)) == [gate]


def test_gates_show_their_figures_and_two_decide():
    gates = check(GOOD)
    assert [gate.gate for gate in gates if gate.decides] == ["cross-fitted validation F1 above the minimum", SEARCH]
    assert [(gate.value, gate.threshold) for gate in gates] == [
        (0.30, 0.2), (0.30, pytest.approx(0.26)), (0.32, 0.29), ("3 of 3", "all"), (0.01, 0.03), (pytest.approx(0.04), 0.05),
        (0.28, pytest.approx(0.25)), (pytest.approx(0.56), 0.5), (0.4, 0.33), (0.2, 0.0),
    ]  # fmt: skip
    assert {gate.gate: gate.p_value for gate in gates if gate.p_value is not None} == {
        SEARCH: 0.011, ON_TEST: 0.012, DIRECTION: 0.013, RETURN: 0.014,
    }  # fmt: skip
    assert [gate.gate for gate in gates if gate.percent] == ["hit rate on test above break-even, beyond chance", RETURN]


def test_what_is_unknown_has_no_figure():
    gates = {gate.gate: gate for gate in check(dataclasses.replace(GOOD, direction=None, returned=None, hit_rate=None))}
    assert [gates[name].value for name in (DIRECTION, RETURN)] == [None, None]
    assert [gates[name].p_value for name in (DIRECTION, RETURN)] == [None, None]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.data())
def test_the_spread_is_that_of_the_best_epoch_and_two_on_each_side(val_f1, data):
    best_epoch = data.draw(st.integers(1, len(val_f1)))
    near = [f1 for epoch, f1 in enumerate(val_f1, start=1) if abs(epoch - best_epoch) <= NEIGHBOURS]
    assert spread_near_best(val_f1, best_epoch) == pytest.approx(statistics.stdev(near) if len(near) > 1 else 0)


def test_a_lone_peak_spreads_and_a_plateau_does_not():
    assert spread_near_best([0.1, 0.1, 0.4, 0.1, 0.1], 3) > 0.1
    assert spread_near_best([0.1, 0.39, 0.4, 0.4, 0.4, 0.4, 0.1], 4) < 0.01
