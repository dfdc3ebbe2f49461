"""Joined tracks against scikit-learn, pandas and a slow loop over the same drawn folds."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, precision_score, recall_score, roc_auc_score

from drawn_folds import COST, SYMBOLS, Skill, draw_fold
from judge import fold_tracks
from judge.equity import buy_and_hold
from judge.fold_tracks import Followed, JoinedTest, Track, join_bars, join_trades
from judge.walk_forward import FoldScores


@pytest.fixture(scope="module")
def folds() -> list[FoldScores]:
    """Three folds; the MLP is good at hits and trades, one column is not and does not in every fold."""
    rng = np.random.default_rng(11)
    skills = {"mlp": Skill(1.2, 0.3), "gru": Skill(0.6), "gradient_boosting": Skill(0.8)}
    return [draw_fold(number, skills, rng, days=30, share=share) for number, share in enumerate((0.1, 0.15, 0.2))]


def join(folds: list[FoldScores]) -> JoinedTest:
    tests, base_rates = [fold.trades["test"] for fold in folds], [float(fold.trades["val"].y.mean()) for fold in folds]
    return JoinedTest.of(tests, base_rates, [fold.bars for fold in folds], SYMBOLS, np.full(len(SYMBOLS), COST))


def follow(folds: list[FoldScores], *names: str) -> Track:
    """The track of one model, or of one in each fold."""
    names = names * len(folds) if len(names) == 1 else names
    models = [Followed(fold.evaluation.models[name], fold.scores[name].test) for fold, name in zip(folds, names, strict=True)]
    return join(folds).follow(models)


def labels(folds: list[FoldScores]) -> np.ndarray:
    return np.concatenate([fold.trades["test"].y for fold in folds])


@pytest.mark.parametrize("name", ["mlp", "gradient_boosting", "always_positive"])
def test_scores_are_judged_together_each_fold_at_its_own_choices(folds, name):
    y, track = labels(folds), follow(folds, name)
    judged = [fold.evaluation.models[name] for fold in folds]
    expected = {key: [] for key in ("f1", "precision", "recall", "pr_auc", "roc_auc", "brier_skill")}
    base = np.concatenate([np.full(len(fold.trades["test"].y), fold.trades["val"].y.mean()) for fold in folds])
    for seed in range(len(judged[0].seeds)):
        scores = [fold.scores[name].test[seed] for fold in folds]
        called = np.concatenate([own >= one.thresholds[seed] for own, one in zip(scores, judged, strict=True)])
        p = np.concatenate([one.calibrations[seed].apply(own) for own, one in zip(scores, judged, strict=True)])
        expected["f1"].append(f1_score(y, called))
        expected["precision"].append(precision_score(y, called))
        expected["recall"].append(recall_score(y, called))
        expected["pr_auc"].append(average_precision_score(y, p))
        expected["roc_auc"].append(roc_auc_score(y, p))
        expected["brier_skill"].append(1 - brier_score_loss(y, p) / brier_score_loss(y, base))
    for key, values in expected.items():
        assert getattr(track, key) == pytest.approx(np.mean(values)), key


def test_direction_is_ranked_within_folds_weighted_by_what_they_know(folds):
    aucs, weights = [], []
    for fold in folds:
        test = fold.trades["test"]
        won = (test.y > 0) | test.mirrored
        aucs.append([roc_auc_score(test.y[won], scores[won]) for scores in fold.scores["mlp"].test])
        up, down = (test.y > 0).sum(), test.mirrored.sum()
        weights.append(up * down / (up + down + 1))
    assert follow(folds, "mlp").direction_auc == pytest.approx(np.average(np.mean(aucs, axis=1), weights=weights))


def test_money_compounds_from_fold_to_fold(folds):
    track = follow(folds, "mlp")
    by_fold = [[seed.money for seed in fold.evaluation.models["mlp"].test] for fold in folds]
    assert track.trades == [np.mean([own.trades for own in fold]) for fold in by_fold] and min(track.trades) > 0
    totals = [np.prod([1 + own.total_return_net for own in seed]) - 1 for seed in zip(*by_fold, strict=True)]
    assert track.money["total_return_net"] == pytest.approx(np.mean(totals))
    assert track.equity[-1] == pytest.approx(1 + np.mean(totals))
    means = [
        np.sum([own.trades * own.mean_return_net for own in seed]) / np.sum([own.trades for own in seed])
        for seed in zip(*by_fold, strict=True)
    ]
    assert track.money["mean_return_net"] == pytest.approx(np.mean(means))
    assert track.money["return_per_day_net"] == pytest.approx(
        np.mean([[own.return_per_day_net for own in fold] for fold in by_fold])
    )


def test_not_to_trade_is_legal_in_a_fold(folds):
    idle = [
        Followed(type(own)(**{**vars(own), "money_thresholds": [None] * len(own.seeds)}), fold.scores["mlp"].test)
        if number == 1
        else Followed(own, fold.scores["mlp"].test)
        for number, fold in enumerate(folds)
        for own in [fold.evaluation.models["mlp"]]
    ]
    track, usual = join(folds).follow(idle), follow(folds, "mlp")
    assert track.trades[1] == 0 and (track.trades[0], track.trades[2]) == (usual.trades[0], usual.trades[2])
    days = join(folds).days
    assert len(set(np.array(track.equity)[(days >= np.datetime64("2022-01-31")) & (days < np.datetime64("2022-03-02"))])) == 1


def test_equity_is_that_of_the_trades_closed_by_the_end_of_each_day(folds):
    fold = folds[0]
    own, test = fold.evaluation.models["gradient_boosting"], fold.trades["test"]
    entered = test.entries(fold.scores["gradient_boosting"].test[0] >= own.money_thresholds[0])
    trades = pd.DataFrame({"open": test.timestamps[entered], "close": test.ends[entered], "net": test.net[entered]})
    capital, staked, by_day = 1.0, {}, {}
    for time in pd.date_range("2022-01-01", "2022-01-30 20:00", freq="4h"):
        for number, trade in trades[trades["close"] == time].iterrows():
            capital += staked.pop(number) * trade["net"]
        for number in trades.index[trades["open"] == time]:
            staked[number] = min(capital / 2, capital - sum(staked.values()))
        by_day[time.date()] = capital
    joined = join(folds[:1])
    assert joined.days.astype(str).tolist() == [str(day) for day in by_day]
    assert follow(folds[:1], "gradient_boosting").equity == pytest.approx(list(by_day.values()))


def test_buy_and_hold_buys_once_and_holds_over_all_folds(folds):
    closes = pd.concat(
        pd.DataFrame({key: fold.bars[key] for key in ("asset_ids", "timestamps", "closes")}) for fold in folds
    ).pivot_table(index="timestamps", columns="asset_ids", values="closes")
    capital = (closes / closes.iloc[0] - COST).mean(axis=1)
    joined = join(folds)
    assert joined.held.growth.total_return == pytest.approx(capital.iloc[-1] - 1)
    assert joined.held.growth.max_drawdown == pytest.approx((1 - capital / capital.cummax().clip(lower=1)).max())
    by_day = capital.groupby(capital.index.floor("D")).last()
    assert joined.held.at_end_of(joined.days) == pytest.approx(by_day.to_numpy())


def test_the_table_by_asset_has_all_folds(folds):
    track, y = follow(folds, "gru"), labels(folds)
    assets = np.concatenate([fold.trades["test"].asset_ids for fold in folds])
    assert list(track.by_asset) == SYMBOLS
    for number, symbol in enumerate(SYMBOLS):
        own, f1 = assets == number, []
        for seed in range(2):
            called = [fold.scores["gru"].test[seed] >= fold.evaluation.models["gru"].thresholds[seed] for fold in folds]
            f1.append(f1_score(y[own], np.concatenate(called)[own]))
        assert track.by_asset[symbol]["samples"] == own.sum()
        assert track.by_asset[symbol]["positive_share"] == pytest.approx(y[own].mean())
        assert track.by_asset[symbol]["f1"] == pytest.approx(np.mean(f1))


def test_a_track_of_one_fold_is_its_test(folds):
    for name in ("mlp", "gradient_boosting", "always_positive"):
        track, test = follow(folds[:1], name), folds[0].comparison.models[name].test
        assert track.f1 == pytest.approx(test["f1"]["mean"])
        for key in ("precision", "recall", "roc_auc", "brier_skill", "direction_auc"):
            assert getattr(track, key) == pytest.approx(test[key]), key
        for key, value in track.money.items():
            assert value == pytest.approx(test["money"][key]), key
        assert {symbol: own["f1"] for symbol, own in track.by_asset.items()} == pytest.approx(
            {symbol: own["f1"] for symbol, own in test["by_asset"].items()}
        )


def test_a_reference_counts_as_the_same_in_each_seed_of_a_network(folds):
    mixed = follow(folds[:2], "mlp", "gradient_boosting")
    networks, reference = follow(folds[:1], "mlp"), follow(folds[1:2], "gradient_boosting")
    assert mixed.trades == [*networks.trades, *reference.trades]
    assert mixed.money["total_return_net"] == pytest.approx(
        (1 + networks.money["total_return_net"]) * (1 + reference.money["total_return_net"]) - 1
    )


def test_an_equity_curve_is_thinned_to_its_ends(folds, monkeypatch):
    monkeypatch.setattr(fold_tracks, "EQUITY_POINTS", 7)
    joined = join(folds)
    assert len(joined.days) == 7 and len(follow(folds, "mlp").equity) == 7
    assert (str(joined.days[0]), str(joined.days[-1])) == ("2022-01-01", "2022-03-31")


def test_trades_of_other_folds_do_not_block_each_other(folds):
    joined = join_trades([fold.trades["test"] for fold in folds])
    signals = np.ones(len(joined.y), bool)
    by_fold = [fold.trades["test"].entries(np.ones(len(fold.trades["test"].y), bool)) for fold in folds]
    assert np.array_equal(joined.entries(signals), np.concatenate(by_fold))
    assert joined.days.max() + 1 == 90 and joined.assets == 2


def test_bars_of_one_fold_stay_as_they_are(folds):
    joined = join_bars([folds[0].bars])
    assert all(np.array_equal(joined[key], folds[0].bars[key]) for key in joined)
    assert buy_and_hold(joined, np.full(2, COST)) == folds[0].evaluation.buy_and_hold["test"]
