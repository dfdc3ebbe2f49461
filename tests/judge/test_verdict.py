"""The sentences of the verdict."""

import pytest

from judge.names import Roster
from judge.pairs import Standing
from judge.recommendation import Recommendation
from judge.verdict import leader_sentence, money_sentence, readiness_sentence, search_sentence, training_differences

LABELS = Roster({"mlp": "MLP", "gru": "GRU + attention"}).labels
INCLUDES_ZERO = " (the 95% interval of its daily return includes zero)"


@pytest.mark.parametrize(
    ("total", "interval", "said"),
    [
        (0.031, [-0.01, 0.01], f"made 3.1% of the capital after costs, in 138 trades{INCLUDES_ZERO}"),
        (0.5, [0.001, 0.01], "made 50.0% of the capital after costs, in 138 trades"),
        (-0.4, [-0.02, -0.001], "lost 40.0% of the capital after costs, in 138 trades"),
        (-1.046, [-0.02, -0.001], "lost all of the capital after costs, in 138 trades"),
    ],
)
def test_money_is_told_by_the_total_alone(total, interval, said):
    """Whatever a trade returned on average in each seed: a seed of few lucky trades weighs little in the sum."""
    money = {"trades": 138.0, "mean_return_net": 0.02, "total_return_net": total, "return_per_day_interval": interval}
    money |= {"hit_rate": 0.196, "break_even_hit_rate": 0.184}
    hits = "; 19.6% of them hit the profit barrier, and 18.4% would break even"
    assert money_sentence("MLP", money, 0.95) == f"On test MLP would have {said}{hits}."
    assert money_sentence("MLP", money | {"break_even_hit_rate": None}, 0.95) == f"On test MLP would have {said}."
    assert money_sentence("MLP", money | {"trades": 0}, 0.95) == "MLP took no trade on test."


def test_a_network_is_ready_to_trade_only_with_a_profit_beyond_chance():
    nothing = "No network's test return after costs is above zero beyond chance: none is ready to be traded."
    assert readiness_sentence([], LABELS) == nothing
    assert readiness_sentence(["mlp", "gru"], LABELS) == (
        "Test returns after costs above zero, beyond chance: MLP, GRU + attention."
    )


def test_a_winner_is_said_to_have_won():
    assert leader_sentence(Standing("mlp", "mlp", []), {"mlp": 0.3, "gru": 0.2}, LABELS) == (
        "MLP has the best test F1 (0.300), beyond chance against every other model."
    )


def test_a_leader_tied_with_all_is_not_followed_by_all_their_names():
    f1 = {"mlp": 0.3, "gru": 0.2, "prior": 0.1}
    tied = Standing("mlp", None, ["gru", "prior"])
    leads = "No winner: MLP leads on test (F1 0.300), tied within chance with"
    assert leader_sentence(tied, f1, LABELS) == f"{leads} every other model."
    assert leader_sentence(tied, f1 | {"one_column": 0.1}, LABELS) == f"{leads} GRU + attention, asset prior."


@pytest.mark.parametrize(
    ("primary", "secondary", "set_aside", "said"),
    [
        ("mlp", [], [], "Search MLP first."),
        ("mlp", ["gru"], [], "Search MLP first, then GRU + attention (a tie)."),
        ("mlp", [], ["gru"], "Search MLP first; set aside GRU + attention."),
        (None, [], ["gru", "mlp"], "No architecture is shown to be worth a search. The best, GRU + attention: it is low."),
    ],
)
def test_the_advice_names_what_to_search(primary, secondary, set_aside, said):
    recommended = Recommendation(primary, secondary, set_aside, {"mlp": "it is high", "gru": "it is low"})
    assert search_sentence(recommended, LABELS) == said


def test_networks_that_were_not_trained_alike_are_named():
    here = {"precision": "bfloat16", "torch": "2.13.0", "processor": "AVX512"}
    assert training_differences({"mlp": here, "gru": here}, LABELS) == []
    assert training_differences({"mlp": here, "gru": here | {"precision": "float32", "processor": "H200"}}, LABELS) == [
        "Not trained alike: precision bfloat16 (MLP), float32 (GRU + attention); processor AVX512 (MLP), H200 (GRU + attention). "
        "Differences between them may come from that: train all on one machine."
    ]
