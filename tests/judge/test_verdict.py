"""The sentences of the verdict: each branch, and none that states what chance explains."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge import verdict
from judge.family import Answer
from judge.recommendation import Recommendation

LABELS = {"mlp": "MLP", "gru": "GRU + attention", "lstm": "LSTM", "boosting": "gradient boosting", "prior": "asset prior"}


def answered(
    one: str, other: str | None = None, difference: float = 0.1, half_width: float = 0.05, *,
    is_clear: bool = False, known: bool = True, one_sided: bool = False,
) -> Answer:  # fmt: skip
    interval = [difference - half_width, None if one_sided else difference + half_width]
    return Answer(one, other, difference, interval, 0.01 if is_clear else 0.4, is_clear, known, detectable=1.4 * half_width)


@pytest.mark.parametrize(
    ("search", "trade", "said"),
    [
        ([], [], "No: nothing is shown to be worth a search or a trade."),
        ([], ["mlp"], "Nothing is shown to be worth a search; worth a trade: MLP."),
        (["gru", "mlp"], [], "Worth a search: GRU + attention, MLP. Nothing is shown to be worth a trade."),
        (["gru"], ["boosting", "mlp"], "Worth a search: GRU + attention. Worth a trade: gradient boosting, MLP."),
    ],
)
def test_the_first_sentence_answers_both_questions(search, trade, said):
    assert verdict.first_sentence(search, trade, LABELS) == said


@pytest.mark.parametrize(
    ("primary", "secondary", "said"),
    [
        (
            None,
            [],
            "No network's cross-fitted validation F1 is above the minimum and, beyond chance, above that of asset prior, the "
            "best reference; whoever searches all the same starts with the highest: GRU + attention, MLP, LSTM.",
        ),
        (
            "gru",
            ["mlp"],
            "Search GRU + attention first, then MLP, which cannot be told from it. Cross-fitted validation F1 is beyond "
            "chance above that of asset prior, the best reference. Do not search LSTM.",
        ),
        (
            "gru",
            ["mlp", "lstm"],
            "Search GRU + attention first, then MLP, LSTM, which cannot be told from it. Cross-fitted validation F1 is beyond "
            "chance above that of asset prior, the best reference.",
        ),
        (
            "gru",
            [],
            "Search GRU + attention first. Cross-fitted validation F1 is beyond chance above that of asset prior, the best "
            "reference. Do not search MLP, LSTM.",
        ),
    ],
)
def test_the_advice_names_what_to_search(primary, secondary, said):
    recommended = Recommendation("prior", primary, secondary, ["gru", "mlp", "lstm"], {})
    assert verdict.search_sentence(recommended, LABELS) == said


F1 = {"mlp": 0.3, "gru": 0.29, "lstm": 0.28, "prior": 0.1}


def on_test(*answers: Answer, f1: dict[str, float] = F1) -> str:
    return verdict.test_sentence(f1, answers, 60, 0.02, LABELS)


def test_who_leads_is_told_apart_tied_or_open():
    found = on_test(
        answered("mlp", "prior", 0.2, is_clear=True),
        answered("gru", "mlp", -0.01, 0.009),
        answered("mlp", "lstm", 0.02, 0.05),
        answered("gru", "lstm", 0.01, is_clear=True),
    )
    assert found == (
        "On test MLP has the highest F1 (0.300), beyond chance above asset prior; it ties with GRU + attention: any difference "
        "is below 0.020; 60 days cannot tell it from LSTM: from 0.070 on a difference would have shown, at 80% power."
    )


def test_a_tie_is_told_by_the_interval_and_not_by_what_would_have_shown():
    """A difference of 0.019 that would have shown from 0.014 on may well matter: it may be 0.029."""
    found = on_test(*(answered("mlp", other, 0.009, 0.01) for other in ("gru", "lstm", "prior")))
    assert "ties with GRU + attention, LSTM, asset prior: any difference is below 0.020." in found
    found = on_test(*(answered("mlp", other, 0.019, 0.01) for other in ("gru", "lstm", "prior")))
    assert "ties" not in found and "60 days cannot tell it from GRU + attention, LSTM, asset prior" in found


def test_no_size_is_named_that_a_difference_of_f1_cannot_have():
    """Two folds: the smallest difference that would have shown is 14."""
    found = on_test(*(answered("mlp", other, 0.2, 10.0) for other in ("gru", "lstm", "prior")))
    assert found == (
        "On test MLP has the highest F1 (0.300); 60 days cannot tell it from GRU + attention, LSTM, asset prior: hardly any "
        "difference would have shown."
    )


def test_one_seed_ties_with_nothing():
    found = on_test(*(answered("mlp", other, 0.001, 0.001, known=False) for other in ("gru", "lstm", "prior")))
    assert found == (
        "On test MLP has the highest F1 (0.300); 60 days cannot tell it from GRU + attention, LSTM, asset prior: with one seed, "
        "or so few days, no difference shows."
    )


def test_models_that_no_question_was_asked_about_are_named():
    found = on_test(answered("boosting", "prior", is_clear=True), f1=F1 | {"boosting": 0.4})
    assert found == (
        "On test gradient boosting has the highest F1 (0.400), beyond chance above asset prior; whether it is above MLP, GRU + "
        "attention, LSTM was not asked."
    )


AS_AUC = " (direction AUC on test, 95% confidence over all models; 0.5 is a coin)."
DIRECTIONS = [
    ([], "Test has too few winners of one direction to say whether a model tells a rise from a fall."),
    (
        [answered("mlp", difference=0.03), answered("prior", difference=-0.02)],
        "No model is shown to tell a rise from a fall (direction AUC on test 0.48 to 0.53; 0.5 is a coin): what was learnt, if "
        "anything, may be when prices move, not where to.",
    ),
    (
        [answered("mlp", difference=0.1, is_clear=True), answered("gru", difference=-0.1)],
        "Beyond chance, rises are told from falls by MLP (0.60)" + AS_AUC,
    ),
    (
        [answered("mlp", difference=0.1, is_clear=True), answered("gru", difference=-0.1, is_clear=True)],
        "Beyond chance, rises are told from falls by MLP (0.60); falls are scored above rises by GRU + attention (0.40)" + AS_AUC,
    ),
    (
        [answered("gru", difference=-0.1, is_clear=True)],
        "Beyond chance, falls are scored above rises by GRU + attention (0.40)" + AS_AUC,
    ),
]


@pytest.mark.parametrize(("answers", "said"), DIRECTIONS)
def test_direction_is_told_only_where_it_is_clear(answers, said):
    assert verdict.direction_sentence(answers, 0.95, LABELS) == said


def money(total: float, low: float, high: float) -> dict[str, object]:
    return {"trades": 138.0, "total_return_net": total, "return_per_day_interval": [low, high]}


HELD = "buy and hold of the same assets: -12.0%"


@pytest.mark.parametrize(
    ("figures", "found", "said"),
    [
        (
            money(0.5, 0.001, 0.01),
            answered("mlp", difference=0.005, half_width=0.003, is_clear=True, one_sided=True),
            "The 138 trades of MLP on test gained beyond chance after costs: +0.500% of the capital a day, at 95% confidence at "
            f"least +0.200% (total +50.0%; {HELD}).",
        ),
        (
            money(0.5, -0.001, 0.011),  # two-sided, of this model alone: one-sided it is clear
            answered("mlp", difference=0.005, half_width=0.004, is_clear=True, one_sided=True),
            "The 138 trades of MLP on test gained beyond chance after costs: +0.500% of the capital a day, at 95% confidence at "
            f"least +0.100% (total +50.0%; {HELD}).",
        ),
        (
            money(0.3, -0.001, 0.004),
            answered("mlp", one_sided=True),
            "The 138 trades of MLP on test show neither a gain nor a loss beyond chance after costs (95% interval of the return "
            f"a day -0.100% to +0.400%; total +30.0%; {HELD}).",
        ),
        (
            money(0.3, 0.001, 0.004),
            answered("mlp", one_sided=True),
            "The 138 trades of MLP on test show neither a gain nor a loss beyond chance after costs (95% interval of the return "
            "a day +0.100% to +0.400% of this model alone, which counts less beside the others; total +30.0%; "
            f"{HELD}).",
        ),
        (
            money(-0.4, -0.02, -0.001),
            answered("mlp", one_sided=True),
            "The 138 trades of MLP on test lost beyond chance after costs (95% interval of the return a day -2.000% to -0.100%; "
            f"total -40.0%; {HELD}).",
        ),
        (
            money(-0.4, -0.02, -0.001),
            answered("mlp", known=False, one_sided=True),
            "Whether the 138 trades of MLP on test show a gain or a loss is unknown: one seed, or so few days, cannot say (95% "
            f"interval of the return a day -2.000% to -0.100%; total -40.0%; {HELD}).",
        ),
        (money(0.0, 0.0, 0.0) | {"trades": 0}, None, f"MLP takes no trade on test ({HELD})."),
    ],
)
def test_a_gain_is_what_is_worth_a_trade_and_a_loss_what_its_interval_says(figures, found, said):
    assert verdict.money_sentence("MLP", figures, found, 0.95, -0.12) == said


@given(st.data())
def test_no_sentence_states_what_chance_explains(data):
    """Whatever the answers are: where none is clear, no sentence has a claim."""
    names = list(LABELS)
    f1 = {name: data.draw(st.floats(0, 1)) for name in names}
    small = st.floats(-0.3, 0.3)
    pairs = [
        answered(one, other, f1[one] - f1[other], data.draw(st.floats(0, 0.2)), known=data.draw(st.booleans()))
        for one, other in combinations(names, 2)
    ]
    said = [
        verdict.test_sentence(f1, pairs, 60, data.draw(st.floats(0.001, 0.1)), LABELS),
        verdict.direction_sentence([answered(name, difference=data.draw(small)) for name in names], 0.95, LABELS),
        verdict.search_sentence(Recommendation("prior", None, [], ["mlp", "gru"], {}), LABELS),
        verdict.first_sentence([], [], LABELS),
    ]
    low, high = sorted([data.draw(small), data.draw(st.floats(0, 0.3))])
    traded = answered("mlp", difference=(low + high) / 2, known=data.draw(st.booleans()), one_sided=True)
    said.append(verdict.money_sentence("MLP", money(low + high, low, high), traded, 0.95, 0.0))
    for sentence in said:
        for claim in ("beyond chance above ", "gained", "lost ", "Search MLP", "Worth", "are told from", "are scored above"):
            assert claim not in sentence.replace("and, beyond chance, above", "")


@given(st.data())
def test_who_is_named_beyond_chance_on_test_is_just_who_is_clear(data):
    f1 = dict(zip(LABELS, data.draw(st.lists(st.floats(0, 1), min_size=5, max_size=5, unique=True)), strict=True))
    pairs = [
        answered(one, other, f1[one] - f1[other], is_clear=data.draw(st.booleans())) for one, other in combinations(LABELS, 2)
    ]
    sentence = verdict.test_sentence(f1, pairs, 60, 0.02, LABELS)
    first = max(f1, key=lambda name: f1[name])
    clear = [own for own in pairs if first in (own.one, own.other) and own.is_clear]
    said = sentence.split("beyond chance above ")[1].split(";")[0].rstrip(".").split(", ") if clear else []
    assert set(said) == {LABELS[own.one if own.other == first else own.other] for own in clear}
    assert ("beyond chance" in sentence) == bool(clear)


def test_networks_that_were_not_trained_alike_are_named():
    here = {"precision": "bfloat16", "torch": "2.13.0", "processor": "AVX512"}
    assert verdict.training_differences({"mlp": here, "gru": here}, LABELS) == []
    assert verdict.training_differences({"mlp": here, "gru": here | {"precision": "float32", "processor": "H200"}}, LABELS) == [
        "Not trained alike: precision bfloat16 (MLP), float32 (GRU + attention); processor AVX512 (MLP), H200 (GRU + attention). "
        "Differences between them may come from that: train all on one machine."
    ]


def test_settings_of_the_loop_that_a_network_has_for_itself_are_told():
    loop = {"epochs": 30, "learning_rate": 0.001}
    assert verdict.settings_differences({"mlp": loop, "gru": loop}, LABELS) == []
    assert verdict.settings_differences({"mlp": loop, "gru": loop | {"learning_rate": 0.003}}, LABELS) == [
        "The networks did not have the same settings: learning_rate 0.001 (MLP), 0.003 (GRU + attention)."
    ]


def test_seeds_that_were_not_trained_alike_are_named_also_where_every_network_has_them():
    mixed = {"precision": "float32", "torch": "2.13.0", "processor": "AVX512 (seeds 1, 3), AVX2 (seeds 2)"}
    (sentence,) = verdict.training_differences({"mlp": mixed, "gru": mixed}, LABELS)
    assert sentence.startswith(
        "Not trained alike: processor AVX512 (seeds 1, 3), AVX2 (seeds 2) (MLP), AVX512 (seeds 1, 3), AVX2"
    )
