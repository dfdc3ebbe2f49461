"""The comparison as a whole, on the made-up scores of tests/sample.py: what it holds is what scores and figures say."""

import dataclasses
import json
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from judge.comparison import Answers, Comparison
from judge.names import BASELINES, REFERENCES
from sample import LABELS, OVERFIT, ROSTER, Sample, halve, sample

NETWORKS = list(ROSTER.networks)


@pytest.fixture(scope="module")
def made() -> Sample:
    return sample()


@pytest.fixture(scope="module")
def result(made: Sample) -> Comparison:
    return made.result


def cross_fitted(y: np.ndarray, scores: np.ndarray, half: np.ndarray) -> float:
    """F1 of calls whose threshold is the best of the other half, tried one by one, midway to the next lower score."""
    called = np.zeros(len(y), bool)
    for own in (0, 1):
        other = half == 1 - own
        levels = np.append(0.0, np.unique(scores[other]))
        thresholds = (levels[1:] + levels[:-1]) / 2
        calls = scores[other] >= thresholds[:, None]
        f1 = 2 * (calls & (y[other] > 0)).sum(axis=1) / (calls.sum(axis=1) + y[other].sum())
        called[half == own] = scores[half == own] >= thresholds[np.flatnonzero(f1 == f1.max())[-1]]
    return f1_score(y, called)


@pytest.mark.parametrize("name", ["gru", "prior", "always_positive"])
def test_validation_f1_is_cross_fitted(made, name):
    y, half = made.trades["val"].y, halve(made.trades["val"])
    by_seed = [cross_fitted(y, scores, half) for scores in made.scores["val"][name]]
    found = made.result.models[name].val["cross_fitted_f1"]
    assert found["by_seed"] == pytest.approx(by_seed)
    assert found["mean"] == pytest.approx(np.mean(by_seed))
    assert found["interval"][0] < found["mean"] < found["interval"][1]


def test_direction_is_the_auc_of_winners_against_mirrored_winners(made):
    trades = made.trades["test"]
    won = (trades.y > 0) | trades.mirrored
    for name, model in made.result.models.items():
        aucs = [roc_auc_score(trades.y[won], scores[won]) for scores in made.scores["test"][name]]
        assert model.test["direction_auc"] == pytest.approx(np.mean(aucs))


def test_models_are_ranked_by_cross_fitted_f1(result):
    f1 = {name: np.mean(model.val["cross_fitted_f1"]["by_seed"]) for name, model in result.models.items()}
    assert list(f1) == list(LABELS)
    assert result.ranking == sorted(f1, key=lambda name: f1[name], reverse=True)
    assert result.search.order == [name for name in result.ranking if name in NETWORKS]
    assert result.search.reference == next(name for name in result.ranking if name in REFERENCES)


def asked(answers) -> list[tuple[str, str | None]]:
    return [(answer.one, answer.other) for answer in answers]


def test_every_question_is_asked_once(result):
    answers, reference = result.answers, result.search.reference
    pairs = list(combinations(NETWORKS, 2))
    assert asked(answers.search) == [(name, reference) for name in NETWORKS]
    assert asked(answers.networks) == pairs
    against_baselines = [(name, "always_positive") for name in LABELS if name != "always_positive"]
    against_baselines += [(name, "prior") for name in LABELS if name not in ("always_positive", "prior")]
    against_baselines += [(name, "one_column") for name in LABELS if name not in BASELINES]
    assert sorted(asked(answers.test)) == sorted([(name, reference) for name in NETWORKS] + pairs + against_baselines)
    assert asked(answers.direction) == [(name, None) for name in LABELS]
    traded = [name for name in LABELS if result.models[name].test["money"]["trades"]]
    assert asked(answers.trade) == [(name, None) for name in traded] and len(traded) < len(LABELS), "the sample has both"
    assert {one for one, _ in asked(answers.hit_rate)} <= set(traded)


def figures(result: Comparison, family: str) -> dict[str, float]:
    """The figure of each model that a family asks about."""
    models = result.models
    match family:
        case "search" | "networks":
            return {name: model.val["cross_fitted_f1"]["mean"] for name, model in models.items()}
        case "test":
            return {name: model.test["f1"]["mean"] for name, model in models.items()}
        case "direction":
            return {name: model.test["direction_auc"] - 0.5 for name, model in models.items()}
        case "hit_rate":
            return {name: model.test["money"]["hit_rate_above_break_even"] for name, model in models.items()}
        case "trade":
            return {name: model.test["money"]["return_per_day_net"] for name, model in models.items()}


@pytest.mark.parametrize("family", [field.name for field in dataclasses.fields(Answers)])
def test_answers_are_the_differences_of_the_figures(result, family):
    own, one_sided = figures(result, family), family in ("search", "hit_rate", "trade")
    answers = getattr(result.answers, family)
    for answer in answers:
        assert answer.difference == pytest.approx(own[answer.one] - (own[answer.other] if answer.other else 0.0))
        low, high = answer.interval
        assert (high is None) == one_sided
        assert low <= answer.difference
        assert answer.error_is_known and answer.is_clear == (answer.p_value < 0.05)
        assert answer.is_clear == (low > 0 or (not one_sided and high < 0))
    assert {answer.is_clear for answer in answers} == {True, False}, "the sample has both"


def test_what_is_worth_a_search_passes_the_gates_that_decide(result):
    passing = [name for name in NETWORKS if all(gate.passed for gate in result.gates[name] if gate.decides)]
    told_apart = {frozenset((answer.one, answer.other)) for answer in result.answers.networks if answer.is_clear}
    first, *others = sorted(passing, key=result.ranking.index)
    assert result.search.primary == first
    assert result.search.secondary == [name for name in others if frozenset((first, name)) not in told_apart]
    assert result.worth_a_search == result.search.worthy == ["gru", "lstm"]
    assert result.verdict[0].startswith("Worth a search: GRU + attention, LSTM + attention. ")


def test_what_is_worth_a_trade_earns_beyond_chance_the_best_on_validation_first(result):
    earning = {answer.one for answer in result.answers.trade if answer.is_clear}
    assert result.worth_a_trade == [name for name in result.ranking if name in earning]
    assert result.verdict[0].endswith(f"Worth a trade: {', '.join(LABELS[name] for name in result.worth_a_trade)}.")
    assert f"trades of {LABELS[result.worth_a_trade[0]]} on test gained" in result.verdict[4]


def test_gates_hold_each_network_against_its_own_figures(result):
    reference = result.search.reference
    families = ("search", "test", "direction", "hit_rate", "trade")
    for name, gates in result.gates.items():
        model, money = result.models[name], result.models[name].test["money"]
        answers = {family: next((own for own in getattr(result.answers, family) if own.one == name), None) for family in families}
        val_f1 = model.val["cross_fitted_f1"]["mean"]
        reference_f1 = result.models[reference].val["cross_fitted_f1"]["mean"], result.models[reference].test["f1"]["mean"]
        minimum, above, when, converged, stable, gap, on_test, direction, hits, returned = gates
        assert (minimum.value, minimum.threshold, minimum.passed) == (val_f1, 0.2, val_f1 > 0.2)
        assert (above.value, above.threshold) == (val_f1, pytest.approx(reference_f1[0]))
        assert (above.passed, above.p_value) == (answers["search"].is_clear, answers["search"].p_value)
        assert (when.value, when.threshold) == (model.val["f1"]["mean"], model.val["shifted_f1"])
        assert (converged.value, converged.passed) == (("1 of 3", False) if name == "mlp" else ("3 of 3", True))
        assert stable.value == pytest.approx(np.std([0.33, 0.3, 0.31, 0.31], ddof=1), abs=2e-3)
        assert (gap.value, gap.passed) == (pytest.approx(OVERFIT[name]), OVERFIT[name] < 0.08)
        assert (on_test.value, on_test.threshold) == (model.test["f1"]["mean"], pytest.approx(reference_f1[1]))
        assert answers["test"].other == reference
        assert on_test.passed == (answers["test"].is_clear and answers["test"].difference > 0)
        assert direction.value == pytest.approx(model.test["direction_auc"])
        assert direction.p_value == answers["direction"].p_value
        assert (hits.value, hits.threshold) == (money["hit_rate"], money["break_even_hit_rate"])
        assert hits.passed == answers["hit_rate"].is_clear
        assert (returned.value, returned.p_value) == (money["total_return_net"], answers["trade"].p_value)
        assert returned.passed == (name in result.worth_a_trade)


def test_money_has_intervals_where_there_is_a_trade(result):
    for model in result.models.values():
        money = model.test["money"]
        if not money["trades"]:
            assert money["return_per_day_interval"] is money["hit_rate_above_break_even"] is None
            continue
        low, high = money["return_per_day_interval"]
        assert low < money["return_per_day_net"] < high
        margin = money["hit_rate_above_break_even"]
        assert margin == pytest.approx(money["hit_rate"] - money["break_even_hit_rate"])
        assert money["hit_rate_above_break_even_interval"][0] < margin < money["hit_rate_above_break_even_interval"][1]


def test_the_confidence_set_holds_the_lowest_log_loss(result):
    losses = {name: model.test["calibrated_log_loss"] for name, model in result.models.items()}
    p_values = result.confidence_set
    assert p_values.keys() == losses.keys()
    assert p_values[min(losses, key=lambda name: losses[name])] == max(p_values.values()) == 1
    assert {p_value > 0.05 for p_value in p_values.values()} == {True, False}


def test_shifted_labels_tell_who_knows_when(result):
    """Scores that are the same for all samples of an asset fit shifted labels just as well."""
    for name, model in result.models.items():
        f1, shifted = model.val["f1"]["mean"], model.val["shifted_f1"]
        assert shifted == pytest.approx(f1) if name in ("always_positive", "prior") else shifted != f1
    assert result.models["gru"].val["f1"]["mean"] > result.models["gru"].val["shifted_f1"] + 0.1


def test_one_seed_finds_nothing():
    result = sample(seeds=1).result
    assert result.worth_a_search == result.worth_a_trade == []
    assert result.verdict[0] == "No: nothing is shown to be worth a search or a trade."
    for family in dataclasses.fields(Answers):
        for answer in getattr(result.answers, family.name):
            if {answer.one, answer.other} & set(NETWORKS):
                assert not answer.is_clear and not answer.error_is_known


def test_json_has_the_fields_in_order_and_no_training_of_references(result):
    content = json.loads(json.dumps(result.to_json()))
    assert list(content) == [
        "verdict", "worth_a_search", "worth_a_trade", "simulated", "confidence", "draws", "margin", "block_days", "days",
        "break_even_precision", "cost_per_trade", "buy_and_hold", "one_column", "ranking", "search", "answers", "confidence_set",
        "gates", "models", "trained_with",
    ]  # fmt: skip
    assert [list(model) for model in content["models"].values()] == [
        ["kind", "seeds", "val", "test", *(["training"] if name in ROSTER.networks else [])] for name in LABELS
    ]
    assert list(content["gates"]["mlp"][0]) == ["gate", "passed", "value", "threshold", "decides", "percent", "p_value"]
    assert content["buy_and_hold"]["test"] == {"total_return": 0.1, "max_drawdown": 0.3}
