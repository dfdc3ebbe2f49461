"""The comparison as a whole, on the made-up scores of tests/sample.py."""

import json

import numpy as np
import pytest

from judge.names import REFERENCES
from sample import LABELS, OVERFIT, ROSTER, sample


@pytest.fixture(scope="module")
def result():
    return sample().result


def test_models_are_ranked_on_validation_and_led_on_test(result):
    f1 = {
        name: (np.mean(model.val["f1"]["by_seed"]), np.mean(model.test["f1"]["by_seed"])) for name, model in result.models.items()
    }
    assert list(f1) == list(LABELS)
    assert result.ranking == sorted(f1, key=lambda name: f1[name][0], reverse=True)
    assert result.test_verdict.first == max(f1, key=lambda name: f1[name][1])
    assert result.search_first.primary == max(ROSTER.networks, key=lambda name: f1[name][0])


def test_every_pair_is_compared_once_on_each_split(result):
    for split in ("val", "test"):
        pairs = result.pairs[split]
        assert len({frozenset((pair.better, pair.worse)) for pair in pairs}) == len(pairs) == 36
        for pair in pairs:
            better, worse = (getattr(result.models[name], split)["f1"]["mean"] for name in (pair.better, pair.worse))
            assert pair.difference == pytest.approx(better - worse)
            assert pair.interval[0] <= pair.difference <= pair.interval[1]
            assert pair.clear == (pair.p_holm < 0.05)


def test_gates_hold_each_network_against_its_own_figures(result):
    best = max(result.models[name].val["f1"]["mean"] for name in REFERENCES)
    for name, gates in result.gates.items():
        found = {gate.gate: gate for gate in gates}
        model = result.models[name]
        assert len(found) == len(gates) == 8 + len(REFERENCES) + 1
        (over_references,) = [gate for gate in gates if gate.gate.endswith(", the best reference")]
        assert (over_references.value, over_references.threshold) == (model.val["f1"]["mean"], best)
        assert found["train-validation F1 gap"].value == pytest.approx(OVERFIT[name])
        hit_rate = found["test hit rate above break-even"]
        money = model.test["money"]
        assert (hit_rate.value, hit_rate.threshold) == (money["hit_rate"], money["break_even_hit_rate"])
        assert found["test return after costs above zero, beyond chance"].passed == (name in result.earning)
        for reference in REFERENCES:
            gate = found[f"beats {LABELS[reference]} on test, beyond chance"]
            clear = [pair.clear for pair in result.pairs["test"] if (pair.better, pair.worse) == (name, reference)]
            assert gate.passed == (clear == [True])
            assert gate.threshold == result.models[reference].test["f1"]["mean"]


def test_what_is_below_a_deciding_gate_is_not_searched(result):
    for name, gates in result.gates.items():
        if not all(gate.passed for gate in gates if gate.decides):
            assert name in result.search_first.set_aside
    assert result.search_first.set_aside, "the sample has such networks"


def test_models_with_a_good_f1_that_lose_money_are_listed(result):
    floor = result.models["always_positive"].test["f1"]["mean"]
    good = {name for name, model in result.models.items() if model.test["f1"]["mean"] > floor}
    lose = {name for name, model in result.models.items() if model.test["money"]["total_return_net"] < 0}
    assert set(result.losing) == good & lose
    assert good - lose and lose - good and good & lose, "the sample has all three kinds"


def test_json_has_the_fields_in_order_and_no_training_of_references(result):
    content = json.loads(json.dumps(result.to_json()))
    assert list(content) == [
        "verdict", "losing", "simulated", "confidence", "draws", "block_days", "days", "break_even_precision", "cost_per_trade",
        "one_column", "ranking", "test_verdict", "earning", "search_first", "gates", "models", "pairs", "trained_with",
    ]  # fmt: skip
    assert [list(model) for model in content["models"].values()] == [
        ["kind", "seeds", "val", "test", *(["training"] if name in ROSTER.networks else [])] for name in LABELS
    ]
    assert list(content["gates"]["mlp"][0]) == ["gate", "passed", "value", "threshold", "decides", "percent"]
