"""Every gate passes and fails for its own reason."""

import dataclasses

import pytest

from judge.gates import Evidence, Gate, Rival, check_gates, find_floors
from judge.names import REFERENCES

FLOORS = {"the minimum": 0.2, "always-positive": 0.22, "the best F1 of the shift test": 0.24}
GOOD = Evidence(
    train_f1=0.35, val_f1=0.30, test_f1=0.28, val_floors=FLOORS, val_f1_spread=0.01, unconverged_seeds=[], test_hit_rate=0.4,
    break_even_hit_rate=0.329, test_return=0.2, is_profitable=True,
)  # fmt: skip
RIVALS = [Rival("prior", 0.25, is_beaten=True), Rival("boosting", 0.27, is_beaten=True)]


def failed(evidence: Evidence, rivals: list[Rival] = RIVALS) -> list[str]:
    """The gates that do not pass."""
    return [gate.gate for gate in check_gates(evidence, rivals, max_train_val_gap=0.15, max_seed_spread=0.03) if not gate.passed]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train_f1": 0.1},  # worse on train is no overfitting
        {"val_f1_spread": 0.03},
    ],
)
def test_all_gates_pass_up_to_their_thresholds(changes):
    assert failed(dataclasses.replace(GOOD, **changes)) == []


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("validation F1 above the minimum", {"val_floors": FLOORS | {"the minimum": 0.31}}),
        ("validation F1 above always-positive", {"val_floors": FLOORS | {"always-positive": 0.30}}),
        ("validation F1 above the best F1 of the shift test", {"val_floors": FLOORS | {"the best F1 of the shift test": 0.4}}),
        ("converged: seeds that did not stop early", {"unconverged_seeds": [4]}),
        ("stable: spread of validation F1 over seeds", {"val_f1_spread": 0.05}),
        ("stable: spread of validation F1 over seeds", {"val_f1_spread": None}),
        ("train-validation F1 gap", {"train_f1": 0.46}),
        ("test hit rate above break-even", {"test_hit_rate": 0.3}),
        ("test hit rate above break-even", {"test_hit_rate": 0.329}),
        ("test hit rate above break-even", {"test_hit_rate": None}),
        ("test hit rate above break-even", {"break_even_hit_rate": None}),
        ("test return after costs above zero, beyond chance", {"is_profitable": False}),
    ],
)
def test_each_gate_fails_alone(gate, changes):
    assert failed(dataclasses.replace(GOOD, **changes)) == [gate]


def test_a_reference_is_beaten_only_beyond_chance():
    """The higher F1 alone is not enough."""
    rivals = [RIVALS[0], Rival("boosting", 0.1, is_beaten=False)]
    assert failed(GOOD, rivals) == ["beats boosting on test, beyond chance"]


def test_gates_show_their_figures_and_only_floors_decide():
    gates = check_gates(GOOD, RIVALS, max_train_val_gap=0.15, max_seed_spread=0.03)
    assert [gate.gate for gate in gates if gate.decides] == [f"validation F1 above {name}" for name in FLOORS]
    assert [(gate.value, gate.threshold) for gate in gates] == [
        (0.30, 0.2), (0.30, 0.22), (0.30, 0.24), ([], []), (0.01, 0.03), (pytest.approx(0.05), 0.15), (0.4, 0.329), (0.2, 0.0),
        (0.28, 0.25), (0.28, 0.27),
    ]  # fmt: skip
    assert [gate.gate for gate in gates if gate.percent] == [
        "test hit rate above break-even", "test return after costs above zero, beyond chance",
    ]  # fmt: skip
    assert gates[3] == Gate("converged: seeds that did not stop early", True, [], [])


def test_floors_are_the_minimum_both_references_and_the_shift_test():
    f1 = dict.fromkeys(REFERENCES, 0.1) | {"always_positive": 0.2, "one_column": 0.3}
    assert find_floors(0.15, 0.25, f1, REFERENCES) == {
        "the minimum": 0.15,
        "always-positive": 0.2,
        "one column, the best reference": 0.3,
        "the best F1 of the shift test": 0.25,
    }
