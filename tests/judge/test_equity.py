"""A capital in trades and in holding, by hand and against pandas; tests/judge/test_money.py simulates trades bar by bar."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge.equity import NO_TRADE, Growth, buy_and_hold, follow_trades

START = np.datetime64("2024-01-01", "s")


def at(hours: list[int]) -> np.ndarray:
    return START + np.array(hours, np.int64) * np.timedelta64(3600, "s")


def follow(trades: list[tuple[int, int, float]], slots: int) -> Growth:
    """Trades as hour of entry, hour of exit and return."""
    opened, closed, returns = zip(*trades, strict=True)
    return follow_trades(at(list(opened)), at(list(closed)), np.array(returns), slots)


def test_without_trades_nothing_changes():
    assert follow_trades(at([]), at([]), np.array([]), 3) == NO_TRADE


def test_a_trade_stakes_its_share_of_the_current_equity():
    found = follow([(0, 2, 1.0), (3, 4, -0.5), (5, 6, 0.2)], slots=2)
    assert found.total_return == pytest.approx(1.5 * (1 - 0.25) * 1.1 - 1)
    assert found.max_drawdown == pytest.approx(0.25)


def test_what_ends_in_the_bar_of_an_entry_is_closed_before():
    assert follow([(0, 1, 1.0), (1, 2, 0.5)], slots=1).total_return == pytest.approx(2)
    assert follow([(1, 2, 0.5), (0, 1, 1.0)], slots=1).total_return == pytest.approx(2), "in whatever order"


def test_what_ends_in_the_same_bar_counts_together():
    assert follow([(0, 1, -0.5), (0, 1, 0.5)], slots=2) == NO_TRADE


def test_no_more_is_staked_than_the_cash_that_is_free():
    """Half is staked in the first, a quarter is then lost by the second; the third would stake 3/8 with 1/4 of cash left."""
    found = follow([(0, 9, 0.0), (0, 1, -0.5), (2, 3, 1.0)], slots=2)
    assert found.total_return == pytest.approx(0.75 + 0.25 - 1)


def test_after_ruin_nothing_is_won_back():
    assert follow([(0, 1, -1.0), (1, 2, 3.0)], slots=1) == Growth(-1.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.floats(-1, 5)), max_size=40), st.integers(1, 4))
def test_whatever_happens_no_more_than_all_is_lost(trades, slots):
    found = follow([(hour, hour + bars, gain) for hour, bars, gain in trades], slots) if trades else NO_TRADE
    assert found.total_return >= -1
    assert 0 <= found.max_drawdown <= 1
    assert found.max_drawdown >= -found.total_return - 1e-12


@st.composite
def splits(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Assets whose bars are at times of their own; each has a sample, perhaps not at its first bar."""
    sizes = draw(st.lists(st.integers(2, 12), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    y = [np.where(rng.random(size) < 0.5, -1, rng.integers(0, 2, size)) for size in sizes]
    for own in y:
        own[rng.integers(len(own))] = 1
    return {
        "y": np.concatenate(y).astype(np.int8),
        "closes": np.concatenate([rng.lognormal(3, 0.5, size) for size in sizes]),
        "asset_ids": np.repeat(np.arange(len(sizes)) * 2, sizes),
        "timestamps": START + np.concatenate([np.cumsum(rng.integers(1, 5, size)) for size in sizes]) * np.timedelta64(900, "s"),
    }


@given(splits())
def test_holding_is_worth_what_the_last_closes_say(arrays):
    costs = np.array([0.01, 9.0, 0.02, 9.0, 0.5])
    frame = pd.DataFrame(arrays)
    held = {}
    for asset, own in frame.groupby("asset_ids"):
        closes = own.set_index("timestamps")["closes"][(own["y"] >= 0).to_numpy().argmax() :]
        held[asset] = (closes / closes.iloc[0] - costs[asset]).clip(lower=0)
    equity = pd.DataFrame(held).sort_index().ffill().fillna(1.0).mean(axis=1)
    equity = pd.concat([pd.Series([1.0]), equity])
    found = buy_and_hold(arrays, costs)
    assert found.total_return == pytest.approx(equity.iloc[-1] - 1)
    assert found.max_drawdown == pytest.approx((1 - equity / equity.cummax()).max())


def test_holding_by_hand():
    arrays = {
        "y": np.array([-1, 0, 1, -1, 1, -1]),
        "closes": np.array([50.0, 100, 150, 120, 10, 5]),
        "asset_ids": np.array([0, 0, 0, 0, 1, 1]),
        "timestamps": at([0, 1, 2, 3, 2, 4]),
    }
    found = buy_and_hold(arrays, np.array([0.1, 0.0]))
    assert found.total_return == pytest.approx((1.1 + 0.5) / 2 - 1)
    assert found.max_drawdown == pytest.approx(1 - 0.8 / 1.2), "from 1.4 and 1 to 1.1 and 0.5"


def test_an_asset_without_a_sample_is_not_held():
    arrays = {"y": np.array([1, 0, -1]), "closes": np.array([1.0, 2, 3]), "asset_ids": np.array([0, 0, 1])}
    assert buy_and_hold(arrays | {"timestamps": at([0, 1, 1])}, np.zeros(2)).total_return == 1
