"""Judging between models: intervals, ties, gates and what to search first."""

from collections import defaultdict

import numpy as np
import pytest
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

import compare
from compare import (
    Called,
    Compare,
    by_group,
    convergence,
    difference,
    earning,
    gates,
    is_clear,
    losing,
    mean_or_none,
    paired_differences,
    recommend,
    scores,
    sentences,
    unlike,
    verdict,
)
from core.chance import Estimate, draw_days
from core.errors import CampaignError
from core.money import Trades
from core.names import NAMES

SETTINGS = Compare(
    draws=500, seed=0, block_days=5, confidence=0.95, min_val_f1=0.2, max_train_val_gap=0.15, max_seed_spread=0.03
)  # fmt: skip


def hourly(rng: np.random.Generator, days: int) -> Trades:
    size = days * 24
    arrays = {
        "y": (rng.random(size) < 0.2).astype(np.int8),
        "returns": rng.normal(0, 0.02, size).astype(np.float32),
        "held": np.minimum(rng.integers(1, 9, size), np.arange(size)[::-1]).astype(np.int16),
        "asset_ids": np.zeros(size, np.int16),
        "timestamps": np.datetime64("2024-01-01", "s") + np.arange(size) * np.timedelta64(3600, "s"),
    }
    return Trades.of(arrays)


def called(better_by: float, seeds: tuple = (1, 2), days: int = 150, draws: int = 500) -> dict[str, Called]:
    """Two models with the same seeds; of the hits of the second, `better_by` are taken away."""
    rng = np.random.default_rng(0)
    trades = hourly(rng, days)
    shape = (len(seeds), len(trades.y))
    base = np.where(trades.y > 0, rng.random(shape) < 0.6, rng.random(shape) < 0.2)
    worse = base & ~((trades.y > 0) & (rng.random(shape) < better_by))
    weights = draw_days(days, 5, draws, 0)
    return {name: Called.of(trades, calls, list(seeds), weights, 0.003) for name, calls in (("a", base), ("b", worse))}


def test_a_model_is_every_seed_on_every_drawn_day_without_overlapping_trades():
    rng = np.random.default_rng(3)
    trades = hourly(rng, 30)
    above = rng.random((3, len(trades.y))) < np.array([[0.1], [0.4], [0.8]])
    weights = np.zeros((2, 30))
    weights[0], weights[1, [4, 9]] = 1, (2, 1)  # all days; the fifth twice and the tenth once
    found = Called.of(trades, above, [1, 2, 3], weights, 0.003)
    figures = [trades.figures(row, 0.003) for row in above]
    assert all(own["trades"] < row.sum() for own, row in zip(figures, above, strict=True))
    assert found.daily == pytest.approx([own["return_per_day_net"] for own in figures])
    assert found.f1 == pytest.approx([f1_score(trades.y, row) for row in above])
    some = np.concatenate([np.flatnonzero(trades.days == day) for day in (4, 4, 9)])
    assert found.drawn_f1 == pytest.approx(
        [np.mean([f1_score(trades.y[i], row[i]) for row in above]) for i in (slice(None), some)]
    )
    paid = [np.where(trades.taken(row), trades.returns.astype(float) - 0.003, 0.0) for row in above]
    assert found.drawn_daily == pytest.approx([np.mean(found.daily), np.mean([own[some].sum() / 3 for own in paid])])


def test_pairs_share_their_days_and_a_difference_is_seen():
    models = called(0.2)
    (found,) = paired_differences(models, 30, 0.95)
    assert (found["better"], found["worse"], found["clear"]) == ("a", "b", True)
    assert found["difference"] == pytest.approx(np.mean(models["a"].f1) - np.mean(models["b"].f1))
    assert found["interval"][0] > 0
    alone = [Estimate.of([0.5], model.drawn_f1, 30).error for model in models.values()]
    assert difference(models["a"], models["b"], 30).error < np.hypot(*alone), "paired draws cancel the luck of the days"
    assert is_clear([found], "a", "b")
    assert not is_clear([found], "b", "a")


def test_networks_with_different_seeds_are_refused():
    compare.check_seeds({"mlp": [1, 2], "gru": [1, 2]})
    with pytest.raises(CampaignError, match=r"mlp has \[1, 2\], gru has \[1, 3\]; train all of them with the same: dvc repro"):
        compare.check_seeds({"mlp": [1, 2], "gru": [1, 3]})


def test_the_number_of_cores_changes_no_bit():
    drawn = set()
    for cores in (1, 3, 8):
        with threadpool_limits(cores):
            drawn |= {model.drawn_daily.tobytes() + model.drawn_f1.tobytes() for model in called(0.2, draws=4000).values()}
    assert len(drawn) == 2, "one for each of the two models"


def test_equal_models_are_a_tie():
    (found,) = paired_differences(called(0.0), 30, 0.95)
    assert (found["interval"], found["p_value"], found["clear"]) == ([0, 0], 1, False)


def test_many_pairs_need_a_larger_difference_than_one():
    """The same difference that is clear alone is a tie among many."""
    rng = np.random.default_rng(1)
    drawn = rng.normal(0, 0.01, 1000)

    def model(f1: float, drawn_f1: np.ndarray) -> Called:
        return Called([None], [f1], [0.0], drawn_f1 + f1, drawn_f1)

    two = {"a": model(0.524, drawn), "b": model(0.5, drawn * 0)}
    assert paired_differences(two, 1000, 0.95)[0]["clear"]
    many = two | {f"c{n}": model(0.5, rng.normal(0, 0.01, 1000)) for n in range(6)}
    among = next(pair for pair in paired_differences(many, 1000, 0.95) if (pair["better"], pair["worse"]) == ("a", "b"))
    assert not among["clear"]
    assert among["interval"][0] < 0 < among["p_value"] < 0.05 < among["p_holm"]


def test_seeds_are_compared_one_by_one():
    """Seeds that move both models alike leave the difference alone; against a model without seeds they count."""
    still = np.full(500, 0.3)
    lucky = Called([1, 2, 3], [0.2, 0.3, 0.4], [0.0] * 3, still, still)
    other = Called([1, 2, 3], [0.15, 0.25, 0.35], [0.0] * 3, still, still)
    alone = Called([None], [0.25], [0.0], still, still)
    assert difference(lucky, other, 30).error == pytest.approx(0, abs=1e-12)
    assert difference(lucky, alone, 30).error == pytest.approx(0.1 / 3**0.5)


def pair(better: str, worse: str, clear: bool) -> dict:
    return {"better": better, "worse": worse, "clear": clear, "difference": 0.1, "interval": [0, 1]}


def floors(at_other_times: float, chance: float = 0.22) -> dict[str, float]:
    return {"the minimum": 0.2, "always-positive": chance, "the best F1 of the shift test": at_other_times}


def test_the_search_list_has_ties_second_and_the_hopeless_last():
    pairs = [pair("gru", "lstm", False), pair("gru", "mlp", True), pair("lstm", "mlp", True)]
    least = {name: floors(0.24) for name in ("lstm", "gru", "mlp", "cnn_lstm")}
    found = recommend({"lstm": 0.30, "gru": 0.31, "mlp": 0.25, "cnn_lstm": 0.21}, least, pairs)
    assert (found["primary"], found["secondary"], found["set_aside"]) == ("gru", ["lstm"], ["mlp", "cnn_lstm"])
    assert "a tie" in found["reasons"]["lstm"]
    assert "beyond chance" in found["reasons"]["mlp"]
    unworthy = "validation F1 0.210 is not above always-positive (0.220) or the best F1 of the shift test (0.240)"
    assert found["reasons"]["cnn_lstm"] == unworthy


@pytest.mark.parametrize("at_other_times", [0.1, 0.33])
def test_what_does_as_well_at_other_times_is_not_searched(at_other_times):
    """Even if it has the highest F1 of all."""
    found = recommend({"lstm": 0.31, "gru": 0.32}, {"lstm": floors(0.25), "gru": floors(at_other_times)}, [])
    assert found["primary"] == ("gru" if at_other_times < 0.32 else "lstm")
    assert ("gru" in found["set_aside"]) == (at_other_times > 0.32)


def test_nothing_is_searched_when_nothing_beats_always_positive():
    found = recommend({"lstm": 0.2, "gru": 0.21}, {"lstm": floors(0.1), "gru": floors(0.1)}, [])
    assert found["primary"] is None
    assert found["set_aside"] == ["gru", "lstm"]


def test_a_network_with_one_seed_is_never_clear():
    """Its luck is unknown, and would count as a difference."""
    still = np.linspace(-1e-3, 1e-3, 1000)
    models = {
        "mlp": Called([1], [0.4], [0.0], still + 0.4, still),
        "one_column": Called([None], [0.2], [0.0], still[::-1] + 0.2, still),
    }
    assert not paired_differences(models, 30, 0.95)[0]["clear"]
    models["mlp"] = Called([1, 2, 3], [0.4, 0.4, 0.401], [0.0] * 3, still + 0.4, still)
    assert paired_differences(models, 30, 0.95)[0]["clear"]


def test_a_winner_beats_every_other_model_beyond_chance():
    means = {"a": 0.4, "b": 0.3, "c": 0.2}
    assert verdict(means, [pair("a", "b", True), pair("a", "c", True)])["winner"] == "a"
    tied = verdict(means, [pair("a", "b", False), pair("a", "c", True)])
    assert (tied["winner"], tied["first"], tied["ties"]) == (None, "a", ["b"])


def train_record(**changes: object) -> dict:
    seeds = [{"seed": 1, "stopped_early": True}, {"seed": 2, "stopped_early": True}]
    record = {"train_f1_score_positive_class": 0.35, "val_f1_score_positive_class_std": 0.01, "seeds": seeds}
    return record | changes


def paid(hit_rate: float | None, break_even: float | None = 0.329) -> dict:
    """A network's money on test."""
    return {"hit_rate": hit_rate, "break_even_hit_rate": break_even, "total_return_net": 0.2}


@pytest.mark.parametrize(
    ("broken", "record", "f1", "hit_rate"),
    [
        (None, train_record(), 0.30, 0.4),
        (None, train_record(train_f1_score_positive_class=0.1), 0.30, 0.4),  # worse on train is no overfitting
        (None, train_record(val_f1_score_positive_class_std=0.03), 0.30, 0.4),
        ("test return after costs above zero, beyond chance", train_record(), 0.30, 0.4),
        ("validation F1 above the minimum", train_record(train_f1_score_positive_class=0.2), 0.19, 0.4),
        ("validation F1 above always-positive", train_record(), 0.22, 0.4),
        ("validation F1 above the best F1 of the shift test", train_record(), 0.30, 0.4),
        ("train-validation F1 gap", train_record(train_f1_score_positive_class=0.46), 0.30, 0.4),
        ("stable: spread of validation F1 over seeds", train_record(val_f1_score_positive_class_std=0.05), 0.30, 0.4),
        (
            "converged: seeds that did not stop early",
            train_record(seeds=[{"seed": 1, "stopped_early": True}, {"seed": 4, "stopped_early": False}]),
            0.30,
            0.4,
        ),
        ("test hit rate above break-even", train_record(), 0.30, 0.3),
        ("test hit rate above break-even", train_record(), 0.30, 0.329),
        ("test hit rate above break-even", train_record(), 0.30, None),
    ],
)
def test_each_gate_fails_alone(broken, record, f1, hit_rate):
    chance = 0.18 if broken == "validation F1 above the minimum" else 0.22
    others = dict.fromkeys(compare.REFERENCES, 0.25) | {"always_positive": chance}
    means = {"val": {"mlp": f1} | others, "test": {"mlp": f1} | others}
    pairs = [pair("mlp", name, True) for name in compare.REFERENCES]
    least = floors(0.3 if broken and "shift test" in broken else 0.1, chance)
    earns = not (broken and "return" in broken)
    found = gates("mlp", record, means, pairs, floors=least, paid=paid(hit_rate), earns=earns, settings=SETTINGS)
    assert [gate["gate"] for gate in found if not gate["passed"]] == ([broken] if broken else [])
    assert {gate["gate"] for gate in found if gate["decides"]} == {f"validation F1 above {floor}" for floor in least}


def test_one_seed_is_not_stable():
    record = train_record(seeds=[{"seed": 1, "stopped_early": True}], val_f1_score_positive_class_std=0.0)
    means = {split: {"mlp": 0.3} | dict.fromkeys(compare.REFERENCES, 0.25) for split in ("val", "test")}
    found = gates("mlp", record, means, [], floors=floors(0.1), paid=paid(0.4), earns=True, settings=SETTINGS)
    failed = [gate["gate"] for gate in found if not gate["passed"] and not gate["gate"].startswith("beats")]
    assert failed == ["stable: spread of validation F1 over seeds"]


def test_what_earns_beyond_chance_is_corrected_for_their_number():
    """A p-value of 0.02 is found alone, and not as the best of four."""
    drawn = np.random.default_rng(0).normal(size=4000)
    drawn /= drawn.std()

    def network(daily: float, seeds: int = 3) -> Called:
        return Called(list(range(seeds)), [0.3] * seeds, [daily] * seeds, drawn, drawn)

    mlp = {"mlp": network(2.35)}
    assert earning(mlp, 1e6, 0.95) == ["mlp"]
    assert earning(mlp | {name: network(0.0) for name in ("lstm", "gru", "cnn_lstm")}, 1e6, 0.95) == []
    others = {"lstm": network(-9.0), "gru": network(9.0), "cnn_lstm": network(9.0, seeds=1)}
    assert earning(mlp | others, 1e6, 0.95) == ["mlp", "gru"]


INCLUDES_ZERO = " (the 95% interval of its daily return includes zero)"


@pytest.mark.parametrize(
    ("total", "interval", "said"),
    [
        (0.031, [-0.01, 0.01], f"made 3.1% of the capital after costs, in 138 trades{INCLUDES_ZERO};"),
        (0.5, [0.001, 0.01], "made 50.0% of the capital after costs, in 138 trades;"),
        (-0.4, [-0.02, -0.001], "lost 40.0% of the capital after costs, in 138 trades;"),
        (-1.046, [-0.02, -0.001], "lost all of the capital after costs, in 138 trades;"),
    ],
)
def test_the_verdict_on_money_is_of_one_figure(total, interval, said):
    """Whatever a trade paid on average in each seed: a seed of few lucky trades weighs little in the sum."""
    money = {"trades": 138.0, "mean_return_net": 0.02, "total_return_net": total, "return_per_day_interval": interval}
    money |= {"hit_rate": 0.196, "break_even_hit_rate": 0.184}
    model = {"test": {"f1": {"mean": 0.3}, "money": money}}
    result = {
        "test_verdict": {"first": "mlp", "winner": "mlp", "ties": []},
        "search_first": {"primary": "mlp", "secondary": [], "set_aside": [], "reasons": {}},
        "models": {"mlp": model},
        "earning": [],
        "confidence": 0.95,
    }
    hits = "19.6% of them hit the profit barrier, and 18.4% would break even."
    assert sentences(result)[2] == f"On test MLP would have {said} {hits}"
    money["break_even_hit_rate"] = None
    assert sentences(result)[2] == f"On test MLP would have {said[:-1]}."
    money["trades"] = 0
    assert sentences(result)[2] == "MLP took no trade on test."
    nothing = "No network's test return after costs is above zero beyond chance: none is ready to be traded."
    assert sentences(result)[3] == nothing
    result["earning"] = ["mlp", "gru"]
    assert sentences(result)[3] == "Test returns after costs above zero, beyond chance: MLP, GRU + attention."


def test_a_leader_tied_with_all_is_not_followed_by_all_their_names():
    model = {"test": {"f1": {"mean": 0.3}, "money": {"trades": 0}}}
    result = {
        "test_verdict": {"first": "mlp", "winner": None, "ties": ["gru", "prior"]},
        "search_first": {"primary": "mlp", "secondary": [], "set_aside": [], "reasons": {}},
        "models": dict.fromkeys(("mlp", "gru", "prior"), model),
        "earning": [],
    }
    assert sentences(result)[0] == "No winner: MLP leads on test (F1 0.300), tied within chance with every other model."
    result["models"]["one_column"] = model
    assert sentences(result)[0].endswith("tied within chance with GRU + attention, asset prior.")


def test_a_reference_is_beaten_only_beyond_chance():
    means = {split: {"mlp": 0.3} | dict.fromkeys(compare.REFERENCES, 0.25) for split in ("val", "test")}
    pairs = [pair("mlp", "logistic_regression", True), pair("mlp", "gradient_boosting", False)]
    found = gates("mlp", train_record(), means, pairs, floors=floors(0.1), paid=paid(0.4), earns=True, settings=SETTINGS)
    beats = {gate["gate"]: gate["passed"] for gate in found if gate["gate"].startswith("beats")}
    passed = {name: name == "logistic_regression" for name in compare.REFERENCES}
    assert beats == {f"beats {NAMES[name]} on test, beyond chance": passed[name] for name in compare.REFERENCES}


def test_networks_that_were_not_trained_alike_are_named():
    here = {"precision": "bfloat16", "torch": "2.13.0", "processor": "AVX512"}
    assert unlike({"mlp": here, "gru": here}) == []
    assert unlike({"mlp": here, "gru": here | {"precision": "float32", "processor": "H200"}}) == [
        "Not trained alike: precision bfloat16 (MLP), float32 (GRU + attention); processor AVX512 (MLP), H200 (GRU + attention). "
        "Differences between them may come from that: train all on one machine."
    ]


def test_a_model_that_looks_good_and_loses_is_named():
    def model(f1: float, total: float) -> dict:
        return {"test": {"f1": {"mean": f1}, "money": {"total_return_net": total}}}

    models = {"good": model(0.3, 0.1), "shine": model(0.3, -0.1), "poor": model(0.1, -0.5), "always_positive": model(0.2, -1)}
    assert losing(models, list(models)) == ["shine"]


def test_convergence_tells_every_seed_and_means():
    def seed(best: int, epochs: int, train: float, val: float, moved: float) -> dict:
        return {
            "best_epoch": best, "epochs": epochs, "train_f1_score_positive_class": train, "val_f1_score_positive_class": val,
            "val_f1_spread_last_10_epochs": moved,
        }  # fmt: skip

    found = convergence({"seeds": [seed(3, 18, 0.4, 0.3, 0.02), seed(9, 24, 0.6, 0.5, 0.06)]})
    assert (found["best_epochs"], found["epochs"]) == ([3, 9], [18, 24])
    assert [found[key] for key in ("train_f1", "val_f1", "val_f1_range_last_10_epochs")] == pytest.approx([0.5, 0.4, 0.04])


def test_figures_are_means_over_seeds_with_their_sample_deviation():
    seeds = [defaultdict(lambda value=value: value) for value in (0.9, 0.98, 0.97)]
    found = scores(seeds, {compare.F1: 0.99}, Estimate(0.95, 0.5, 10), 0.95)
    assert found["f1"] == {
        "mean": pytest.approx(0.95), "std": pytest.approx(np.std([0.9, 0.98, 0.97], ddof=1)), "interval": [0, 1],
        "by_seed": [0.9, 0.98, 0.97],
    }  # fmt: skip
    assert (found["pr_auc"], found["std"]["pr_auc"]) == pytest.approx((0.95, found["f1"]["std"]))
    assert found["ensemble_f1"] == 0.99
    low, high = scores(seeds, {compare.F1: 0.99}, Estimate(0.5, 0.1, 1e9), 0.95)["f1"]["interval"]
    assert (low, high) == pytest.approx((0.5 - 0.196, 0.5 + 0.196), abs=1e-4)
    alone = scores(seeds[:1], {compare.F1: 0.99}, Estimate(0.9, 0.1, 10), 0.95)
    assert alone["f1"]["std"] is alone["std"]["pr_auc"] is None


def test_a_group_is_the_mean_of_its_seeds_and_none_where_one_has_none():
    assert mean_or_none([1, 2, 6]) == 3
    assert mean_or_none([None, 2.0]) is mean_or_none([2.0, None]) is None
    tables = [{"A": {"f1": 0.2, "roc_auc": 0.5}, "B": {"f1": 0.3}}, {"A": {"f1": 0.6, "roc_auc": None}, "B": {"f1": 0.3}}]
    assert by_group(tables) == {"A": {"f1": pytest.approx(0.4), "roc_auc": None}, "B": {"f1": pytest.approx(0.3)}}
