"""What is called positive, by seed, by day and by bootstrap draw."""

import numpy as np
import pytest
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from judge.calls import Calls, DrawnDays
from made import make_calls, make_trades


def test_calls_are_summed_up_by_seed_and_draw_without_overlapping_trades():
    rng = np.random.default_rng(3)
    trades = make_trades(rng, 30)
    called = rng.random((3, len(trades.y))) < np.array([[0.1], [0.4], [0.8]])
    weights = np.zeros((2, 30))
    weights[0], weights[1, [4, 9]] = 1, (2, 1)  # all days; the fifth twice and the tenth once
    calls = Calls.of(trades, called, [1, 2, 3], weights, 0.003)
    performance = [trades.performance(row, 0.003) for row in called]
    assert all(own.trades < row.sum() for own, row in zip(performance, called, strict=True))
    assert calls.daily == pytest.approx([own.return_per_day_net for own in performance])
    assert calls.f1 == pytest.approx([f1_score(trades.y, row) for row in called])
    second = np.concatenate([np.flatnonzero(trades.days == day) for day in (4, 4, 9)])
    f1 = [np.mean([f1_score(trades.y[samples], row[samples]) for row in called]) for samples in (slice(None), second)]
    assert calls.drawn_f1 == pytest.approx(f1)
    returns = [np.where(trades.entries(row), trades.returns.astype(float) - 0.003, 0.0) for row in called]
    assert calls.drawn_daily == pytest.approx([np.mean(calls.daily), np.mean([own[second].sum() / 3 for own in returns])])


def test_the_number_of_cores_changes_no_bit():
    drawn = set()
    for cores in (1, 3, 8):
        with threadpool_limits(cores):
            drawn |= {calls.drawn_daily.tobytes() + calls.drawn_f1.tobytes() for calls in make_calls(0.2, draws=4000).values()}
    assert len(drawn) == 2, "one for each of the two models"


@pytest.mark.parametrize(
    ("days", "block_days", "block"),
    [(100, 7, 7), (100, 90, 25), (100, None, 15), (27, None, 6)],
    ids=["as set", "at most a fourth", "1.5 roots", "both"],
)
def test_blocks_are_as_long_as_set_or_suit_the_days(days, block_days, block):
    drawn = DrawnDays.of(days, block_days, 50, 1)
    assert (drawn.block, drawn.blocks) == (block, days / block)
    assert drawn.weights.shape == (50, days)
    assert (drawn.weights.sum(axis=1) == days).all()


@pytest.mark.parametrize(("seeds", "unknown"), [([1], True), ([1, 2], False), ([None], False)])
def test_a_single_seed_has_an_unknown_spread(seeds, unknown):
    still = np.zeros(10)
    assert Calls(seeds, [0.3] * len(seeds), [0.0] * len(seeds), still, still).spread_is_unknown == unknown
