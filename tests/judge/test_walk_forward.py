"""Walk-forward as a whole, on drawn folds: what it holds is what the folds say, and its verdict says no more."""

import dataclasses
import json
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from drawn_folds import ROSTER, Skill, draw_fold, judge
from judge.names import BASELINES, REFERENCES
from judge.walk_forward import KINDS, FoldScores
from judge.walk_forward_result import WalkForward
from judge.walk_forward_verdict import verdict_over_folds

LABELS, NETWORKS = ROSTER.labels, list(ROSTER.networks)


def draw(count: int, *by_fold: dict[str, Skill], seed: int = 0, **settings: float) -> list[FoldScores]:
    """Folds with the skills of each; the last ones are those of all further folds."""
    rng = np.random.default_rng(seed)
    skills = [*by_fold, *[by_fold[-1]] * (count - len(by_fold))]
    return [draw_fold(number, own, rng, **settings) for number, own in enumerate(skills)]


@pytest.fixture(scope="module")
def folds() -> list[FoldScores]:
    early = {"mlp": Skill(0.4, 1.2), "gru": Skill(2.1), "gradient_boosting": Skill(2.0), "logistic_regression": Skill(2.0)}
    late = early | {"mlp": Skill(0.4, -1.2)}
    return draw(4, early, early, late, late)


@pytest.fixture(scope="module")
def found(folds) -> WalkForward:
    return judge(folds, draws=2000)


def test_the_figures_of_each_fold_are_the_folds_own(found, folds):
    for name, model in found.models.items():
        results = [fold.comparison.models[name] for fold in folds]
        assert model.kind == results[0].kind and model.seeds == results[0].seeds
        assert model.val_f1.by_fold == pytest.approx([own.val["cross_fitted_f1"]["mean"] for own in results])
        assert model.f1.by_fold == pytest.approx([own.test["f1"]["mean"] for own in results])
        assert model.pr_auc.by_fold == pytest.approx([own.test["pr_auc"] for own in results])
        assert model.direction_auc.by_fold == pytest.approx([own.test["direction_auc"] for own in results])
        assert model.return_per_day.by_fold == pytest.approx([own.test["money"]["return_per_day_net"] for own in results])


def test_the_errors_within_folds_are_those_of_the_folds_intervals(found, folds):
    """Drawn anew, and with other seeds of the draws."""
    for name in ("mlp", "gradient_boosting"):
        for kind, interval in (
            ("f1", lambda test: test["f1"]["interval"]),
            ("direction_auc", lambda test: test["direction_auc_interval"]),
        ):
            widths = np.array([np.ptp(interval(fold.comparison.models[name].test)) for fold in folds])
            errors = np.array(getattr(found.models[name], kind).errors)
            assert np.all((widths / errors > 3) & (widths / errors < 8)), kind


def test_means_and_intervals_are_over_the_folds(found):
    for model in found.models.values():
        for kind in KINDS:
            own = getattr(model, kind)
            assert own.mean == pytest.approx(np.mean(own.by_fold)) and own.std == pytest.approx(np.std(own.by_fold, ddof=1))
            error = max(own.std / 2, np.sqrt(np.sum(np.square(own.errors))) / 4)
            low, high = own.mean - stats.t.ppf(0.975, 3) * error, own.mean + stats.t.ppf(0.975, 3) * error
            bounds = (-np.inf, np.inf) if kind == "return_per_day" else (0, 1)
            assert own.interval == pytest.approx(np.clip([low, high], *bounds))


def test_every_question_is_asked_once(found):
    asked = {kind: [(own.one, own.other) for own in getattr(found.answers, kind)] for kind in ("test", "direction", "trade")}
    reference = max(REFERENCES, key=lambda name: found.models[name].val_f1.mean)
    assert found.reference == reference
    pairs = {(name, reference) for name in NETWORKS} | set(combinations(NETWORKS, 2))
    baselines = list(BASELINES)
    pairs |= {(name, own) for place, own in enumerate(baselines) for name in LABELS if name not in baselines[: place + 1]}
    assert set(asked["test"]) == pairs and len(asked["test"]) == len(pairs)
    assert asked["direction"] == [(name, None) for name in LABELS]
    assert asked["trade"] == [(name, None) for name in LABELS if any(found.models[name].track.trades)]
    assert len(asked["trade"]) < len(LABELS), "the folds have models that never trade"


def test_answers_are_the_differences_of_the_means(found):
    for answer in found.answers.test:
        assert answer.difference == pytest.approx(found.models[answer.one].f1.mean - found.models[answer.other].f1.mean)
        assert answer.is_clear == (answer.p_value < 0.05) == (answer.interval[0] > 0 or answer.interval[1] < 0)
    for answer in found.answers.direction:
        assert answer.difference == pytest.approx(found.models[answer.one].direction_auc.mean - 0.5)
    for answer in found.answers.trade:
        assert answer.difference == pytest.approx(found.models[answer.one].return_per_day.mean) and answer.interval[1] is None
    assert {own.is_clear for own in found.answers.test} == {True, False}


def test_better_is_who_exceeds_the_reference_not_a_baseline(found):
    above = {(own.one, own.other) for own in found.answers.test if own.is_clear and own.difference > 0}
    assert found.better == [name for name in found.ranking if name in NETWORKS and (name, found.reference) in above]
    assert any(one in NETWORKS and one not in found.better for one, _ in above), "the folds have one above a baseline alone"
    assert found.verdict[0].startswith("Over 4 folds nothing is shown to be better than the references; worth a trade: ")


def test_ranks_are_compared_pair_by_pair(found):
    def tau_b(one: list[float], other: list[float]) -> float:
        pairs = [np.sign([a - b, c - d]) for (a, c), (b, d) in combinations(zip(one, other, strict=True), 2)]
        untied = [sum(pair[side] != 0 for pair in pairs) for side in (0, 1)]
        return sum(a * b for a, b in pairs) / (untied[0] * untied[1]) ** 0.5

    best = 0
    for number, fold in enumerate(found.folds):
        val, test = ([getattr(model, kind).by_fold[number] for model in found.models.values()] for kind in ("val_f1", "f1"))
        assert fold.rank_agreement == pytest.approx(tau_b(val, test))
        assert fold.best_on_validation == list(LABELS)[int(np.argmax(val))]
        assert fold.best_on_test == list(LABELS)[int(np.argmax(test))]
        best += fold.best_on_validation == fold.best_on_test
    assert found.rank_agreement.mean == pytest.approx(np.mean([fold.rank_agreement for fold in found.folds]))
    assert found.rank_agreement.best_was_best == best


def test_validations_choice_takes_the_first_on_validation_in_each_fold(found, folds):
    choice = found.choice
    assert choice.models == [fold.comparison.ranking[0] for fold in folds] and len(set(choice.models)) > 1
    assert choice.models != [fold.best_on_test for fold in found.folds]
    f1 = [fold.comparison.models[name].test["f1"]["mean"] for fold, name in zip(folds, choice.models, strict=True)]
    best = [max(model.test["f1"]["mean"] for model in fold.comparison.models.values()) for fold in folds]
    assert choice.f1.by_fold == pytest.approx(f1)
    assert choice.behind_best == pytest.approx(np.mean(np.subtract(best, f1)))
    trades = [fold.comparison.models[name].test["money"]["trades"] for fold, name in zip(folds, choice.models, strict=True)]
    assert choice.track.trades == pytest.approx(trades)


def test_summaries_and_order(found, folds):
    assert found.ranking == sorted(LABELS, key=lambda name: -found.models[name].f1.mean)
    for summary, fold in zip(found.folds, folds, strict=True):
        test = fold.trades["test"]
        assert (summary.name, summary.cuts, summary.samples, summary.positives) == (
            fold.name,
            fold.cuts,
            len(test.y),
            test.y.sum(),
        )
        assert summary.days == 40 and summary.worth_a_search == fold.comparison.worth_a_search
    assert len(found.equity_days) == len(found.buy_and_hold_equity) == 160
    assert found.buy_and_hold.total_return == pytest.approx(found.buy_and_hold_equity[-1] - 1)


def test_a_direction_that_turns_is_told(found):
    changes = {
        name: model.direction_auc.changes_p < 0.05 for name, model in found.models.items() if model.direction_auc.changes_p
    }
    assert [name for name, changed in changes.items() if changed] == ["mlp"]
    (sentence,) = [text for text in found.verdict if text.startswith("The direction AUC of MLP changes between folds")]
    first, second, third, fourth = found.models["mlp"].direction_auc.by_fold
    assert min(first, second) > 0.5 > max(third, fourth)
    assert f"{first:.2f}, {second:.2f}, {third:.2f}, {fourth:.2f}, on both sides of a coin's 0.5" in sentence
    direction = next(text for text in found.verdict if "told from falls" in text)
    assert "MLP" not in direction.partition("(direction")[0], "over folds it tells nothing"


def test_where_nothing_changes_the_verdict_says_so():
    found = judge(draw(3, {"mlp": Skill(0.8)}, seed=3, days=25, share=0.25))
    assert "No figure on test is shown to change between folds beyond the error within them." in found.verdict


def test_one_fold_shows_no_spread_and_nothing_is_clear(folds):
    found = judge(folds[:1])
    assert found.verdict[0].startswith("One fold alone shows no spread between folds: over folds nothing is clear")
    assert not (found.answers.test or found.answers.direction or found.answers.trade or found.better or found.worth_a_trade)
    assert all(getattr(model, kind).interval is None for model in found.models.values() for kind in KINDS)
    assert "whether its trades gain or lose is unknown" in next(
        text for text in found.verdict if text.startswith("Always taking")
    )
    assert not any("beyond chance" in text for text in found.verdict)


def test_two_folds_are_judged(folds):
    found = judge(folds[:2])
    assert found.verdict[0].startswith("Over 2 folds") and len(found.answers.test) > 0


def test_a_fold_without_winners_of_both_directions_is_left_out_and_named(folds):
    none = dataclasses.replace(folds[1].trades["test"], mirrored=np.zeros(len(folds[1].trades["test"].y), bool))
    part = [folds[0], dataclasses.replace(folds[1], trades={**folds[1].trades, "test": none}), *folds[2:]]
    found = judge(part)
    assert found.models["gru"].direction_auc.by_fold[1] is None and found.models["gru"].track.direction_auc is not None
    (answer,) = [own for own in found.answers.direction if own.one == "gru"]
    known = [own for own in found.models["gru"].direction_auc.by_fold if own is not None]
    assert answer.difference == pytest.approx(np.mean(known) - 0.5) and len(known) == 3
    assert found.verdict[-2 if "Not to trade" in found.verdict[-1] else -1].endswith(f"without a direction AUC: {folds[1].name}.")


def test_a_fold_without_a_trade_returns_nothing_and_is_named(found):
    partly = {
        name: model.track.trades
        for name, model in found.models.items()
        if any(model.track.trades) and not all(model.track.trades)
    }
    assert partly, "the folds have such a model"
    for name, trades in partly.items():
        own = found.models[name].return_per_day
        assert all(
            (returned == error == 0) == (not count)
            for returned, error, count in zip(own.by_fold, own.errors, trades, strict=True)
        )
        assert LABELS[name] in found.verdict[-1]
    assert found.verdict[-1].startswith("Not to trade was the choice of")


def test_who_never_trades_is_asked_nothing_about_money(folds):
    found = judge(draw(2, {}, days=20, min_trades=100_000))
    assert found.answers.trade == [] and found.worth_a_trade == []
    assert found.choice.track.money["total_return_net"] == 0 and set(found.choice.track.equity) == {1.0}
    assert any(text.endswith("it takes no trade.") for text in found.verdict)


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ([0.001, 0.003], "its trades gained beyond chance after costs, asked alone: "),
        ([-0.003, -0.001], "its trades lost beyond chance after costs: "),
        ([-0.001, 0.002], "its trades show neither a gain nor a loss beyond chance after costs: "),
        (None, "whether its trades gain or lose is unknown: "),
    ],
)
def test_money_is_said_to_gain_or_to_lose_only_where_its_interval_shows_it(found, interval, said):
    returned = dataclasses.replace(found.choice.return_per_day, interval=interval)
    changed = dataclasses.replace(found, choice=dataclasses.replace(found.choice, return_per_day=returned))
    sentence = verdict_over_folds(changed, LABELS)[2]
    assert sentence.startswith("Always taking what validation says") and said in sentence


def test_an_edge_in_every_fold_is_told():
    found = judge(draw(6, {"gru": Skill(3.0)}, seed=5, days=20))
    assert found.better == ["gru"] and "gru" in found.worth_a_trade
    assert found.verdict[0].startswith("Over 6 folds: yes, better than")
    assert "GRU. Worth a trade: GRU" in found.verdict[0]


def test_the_same_input_gives_the_same_json(folds):
    one, other = (json.dumps(judge(folds[:2], draws=200).to_json(), allow_nan=False) for _ in range(2))
    assert one == other
    assert list(json.loads(one)) == [field.name for field in dataclasses.fields(WalkForward)]
