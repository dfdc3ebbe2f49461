"""What to search, from validation alone."""

import pytest

from judge.pairs import Pair
from judge.recommendation import recommend

LABELS = {"mlp": "MLP", "lstm": "LSTM", "gru": "GRU", "cnn_lstm": "CNN-LSTM"}


def pair(better: str, worse: str, clear: bool) -> Pair:
    return Pair(better, worse, difference=0.1, interval=[0.0, 0.2], p_value=0.02, p_holm=0.04, clear=clear)


def floors(shift_test: float, always_positive: float = 0.22) -> dict[str, float]:
    return {"the minimum": 0.2, "always-positive": always_positive, "the best F1 of the shift test": shift_test}


def test_ties_are_second_and_what_is_worse_or_below_a_floor_is_set_aside():
    pairs = [pair("gru", "lstm", False), pair("gru", "mlp", True), pair("lstm", "mlp", True)]
    f1 = {"lstm": 0.30, "gru": 0.31, "mlp": 0.25, "cnn_lstm": 0.21}
    found = recommend(f1, dict.fromkeys(f1, floors(0.24)), pairs, LABELS)
    assert (found.primary, found.secondary, found.set_aside, found.best) == ("gru", ["lstm"], ["mlp", "cnn_lstm"], "gru")
    assert found.reasons == {
        "gru": "highest validation F1, 0.310",
        "lstm": "0.010 below GRU on validation, within chance: a tie",
        "mlp": "0.060 below GRU on validation, beyond chance",
        "cnn_lstm": "validation F1 0.210 is not above always-positive (0.220) or the best F1 of the shift test (0.240)",
    }


@pytest.mark.parametrize(("shift_test", "primary", "set_aside"), [(0.1, "gru", []), (0.33, "lstm", ["gru"])])
def test_what_does_as_well_on_labels_of_other_times_is_not_searched(shift_test, primary, set_aside):
    """Even if it has the highest F1 of all."""
    found = recommend({"lstm": 0.31, "gru": 0.32}, {"lstm": floors(0.25), "gru": floors(shift_test)}, [], LABELS)
    assert (found.primary, found.set_aside) == (primary, set_aside)


def test_nothing_is_searched_where_nothing_exceeds_its_floors():
    found = recommend({"lstm": 0.2, "gru": 0.21}, {"lstm": floors(0.1), "gru": floors(0.1)}, [], LABELS)
    assert (found.primary, found.secondary, found.set_aside, found.best) == (None, [], ["gru", "lstm"], "gru")
