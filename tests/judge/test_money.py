"""Entries, returns and choices of thresholds, against slow loops; the capital, against a simulation bar by bar."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bars.labels import Barriers, triple_barrier
from bars.reading import Bars
from core.errors import CampaignError
from judge.money import (
    Trades,
    break_even_precision,
    costs_by_asset,
    hit_margin_draws,
    mean_net_draws,
)

HOUR = np.timedelta64(3600, "s")
START = np.datetime64("2024-01-01", "s")
Data = tuple[Trades, np.ndarray]


@st.composite
def trades(draw: st.DrawFn, *, any_return: bool = False) -> Data:
    """Draw two assets with a bar every five hours, some without a sample, and which samples are predicted positive."""
    rows = draw(st.lists(st.tuples(st.integers(-1, 1), st.integers(1, 8), st.booleans()), min_size=8, max_size=60))
    y, held, signals = (np.array(column) for column in zip(*rows, strict=True))
    y[0] = 1
    half = len(rows) // 2
    sizes = [half, len(rows) - half]
    left = np.concatenate([np.arange(size)[::-1] for size in sizes])  # bars of the asset after each
    y[left == 0] = -1
    returns = np.where(y > 0, 0.05, np.where(held == 8, 0.01, -0.02))  # some time out
    if any_return:
        returns = np.array(draw(st.lists(st.floats(-1, 3), min_size=len(rows), max_size=len(rows))))
    arrays = {
        "y": y.astype(np.int8),
        "mirrored": (y == 0).astype(np.int8),
        "returns": returns,
        "held": np.minimum(held, left).astype(np.int16),
        "asset_ids": np.repeat([0, 1], sizes),
        "timestamps": START + np.concatenate([np.arange(size) for size in sizes]) * 5 * HOUR,
    }
    costs = np.array(draw(st.tuples(*[st.sampled_from([0.0, 0.003, 0.015, 0.06, 0.9])] * 2)))
    return Trades.of(arrays, costs), signals[y >= 0].astype(bool)


def slow_entries(of_split: Trades, signals: np.ndarray) -> list[bool]:
    open_until: dict[int, int] = {}
    entered = []
    for number in range(len(signals)):
        asset, row = int(of_split.asset_ids[number]), int(of_split.rows[number])
        enter = bool(signals[number]) and row >= open_until.get(asset, -1)
        if enter:
            open_until[asset] = row + int(of_split.held[number])
        entered.append(enter)
    return entered


@given(trades())
def test_an_asset_has_one_position_at_a_time(data):
    of_split, signals = data
    assert of_split.entries(signals).tolist() == slow_entries(of_split, signals)


@given(trades(any_return=True))
def test_a_cost_is_that_of_the_asset_and_at_most_what_is_left(data):
    of_split, _ = data
    for asset in (0, 1):
        own = of_split.asset_ids == asset
        rest, costs = 1 + of_split.returns[own], of_split.costs[own]
        assert (costs <= rest).all()
        assert len(set(costs[costs < rest])) <= 1
    assert (of_split.net >= -1).all()


@given(trades())
def test_figures_of_single_trades_are_means_over_those_entered(data):
    of_split, signals = data
    entered = np.flatnonzero(slow_entries(of_split, signals)).tolist()
    found = of_split.performance(signals)
    assert found.trades == len(entered)
    net = [max(-1.0, float(of_split.returns[number] - of_split.costs[number])) for number in entered]
    assert found.return_per_day_net == pytest.approx(sum(net) / of_split.assets / (of_split.days.max() + 1))
    if not entered:
        assert found.mean_return is found.mean_return_net is found.hit_rate is found.break_even_hit_rate is None
        assert (found.total_return, found.total_return_net, found.max_drawdown, found.break_even_cost) == (0, 0, 0, None)
        return
    assert found.mean_return == found.break_even_cost == pytest.approx(of_split.returns[entered].mean())
    assert found.mean_return_net == pytest.approx(np.mean(net))
    assert found.hit_rate == pytest.approx(of_split.y[entered].mean())


@given(trades(any_return=True))
def test_the_break_even_hit_rate_is_the_one_that_earns_nothing(data):
    of_split, signals = data
    entered = np.array(slow_entries(of_split, signals))
    found = of_split.break_even_hit_rate(entered)
    hits, misses = (of_split.returns[entered & (of_split.y == label)] for label in (1, 0))
    if not (len(hits) and len(misses)):
        assert found is None
        return
    cost = of_split.costs[entered].mean()
    earned = {rate: rate * (hits.mean() - cost) + (1 - rate) * (misses.mean() - cost) for rate in (0.0, 0.5, 1.0)}
    if found == "any":
        assert min(earned.values()) > 0
    elif found == "none":
        assert max(earned.values()) < 0
    elif found is None:
        assert earned[1.0] <= earned[0.0]
    else:
        assert 0 <= found <= 1
        assert found * (hits.mean() - cost) + (1 - found) * (misses.mean() - cost) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("hit", "miss", "expected"), [(0.05, -0.02, 0.023 / 0.07), (0.05, 0.01, "any"), (0.002, -0.02, "none"), (0.002, 0.01, None)]
)
def test_a_break_even_hit_rate_beyond_0_and_1_is_a_word(hit, miss, expected):
    found = two_trades(hit, miss).break_even_hit_rate(np.array([True, True]))
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def two_trades(hit: float, miss: float) -> Trades:
    """A hit and a miss after each other, costs 0.3 %."""
    arrays = {"y": [1, 0, -1], "mirrored": [0, 0, -1], "returns": [hit, miss, np.nan], "held": [1, 1, 0], "asset_ids": [0, 0, 0]}
    arrays = {name: np.array(values) for name, values in arrays.items()} | {"timestamps": START + np.arange(3) * HOUR}
    return Trades.of(arrays, np.array([0.003]))


# --- the capital ----------------------------------------------------------------------------------------------------


@given(trades(any_return=True))
def test_no_one_loses_more_than_all(data):
    of_split, signals = data
    found = of_split.performance(signals)
    assert min(found.total_return, found.total_return_net) >= -1
    assert 0 <= found.max_drawdown <= 1


@dataclass
class Position:
    stake: float
    entry: float
    unit: float
    bars: int = 0


@dataclass
class Simulated:
    """What `simulate` counts."""

    trades: int
    hits: int
    gross: list[float]
    equity: list[float]  # after each time at which a position was closed, from 1 on


def simulate(
    bars: list[Bars], units: list[np.ndarray], signals: list[set[int]], cost: float, *, profit: float, stop: float, horizon: int
) -> Simulated:
    """Trade bar by bar: at each time first what ends in the bars that open then, then what is entered at their closes.

    Args:
        units: of each asset, in what price its barriers are distant from an entry at each bar: `profit` and `stop` times that.
    """
    found = Simulated(0, 0, [], [1.0])
    cash, positions = 1.0, {}
    at = {(asset, time): number for asset, own in enumerate(bars) for number, time in enumerate(own.timestamps.tolist())}
    for time in sorted({time for _, time in at}):
        here = {asset: at[asset, time] for asset in range(len(bars)) if (asset, time) in at}
        closed = False
        for asset, number in here.items():
            if (position := positions.get(asset)) is None:
                continue
            position.bars += 1
            price, hit = None, False
            below, above = position.entry - stop * position.unit, position.entry + profit * position.unit
            if bars[asset].low[number] <= below:
                price = min(bars[asset].open[number], below)
            elif bars[asset].high[number] >= above:
                price, hit = above, True
            elif position.bars == horizon:
                price = bars[asset].close[number]
            if price is not None:
                gain = price / position.entry - 1
                cash += position.stake * (1 + max(-1.0, gain - cost))
                found.hits += hit
                found.gross.append(gain)
                del positions[asset]
                closed = True
        equity = cash + sum(position.stake for position in positions.values())
        if closed:
            found.equity.append(equity)
        for asset, number in here.items():
            if number in signals[asset] and asset not in positions:
                stake = min(equity / len(bars), cash)
                positions[asset] = Position(stake, float(bars[asset].close[number]), float(units[asset][number]))
                cash -= stake
                found.trades += 1
    assert not positions
    return found


def random_bars(rng: np.random.Generator, size: int) -> Bars:
    """Wild bars at irregular times; their opens can lie far from the last closes."""
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.04, size)))
    opening = close * np.exp(rng.normal(0, 0.03, size))
    high, low = (
        np.maximum(opening, close) * (1 + rng.random(size) * 0.03),
        np.minimum(opening, close) * (1 - rng.random(size) * 0.03),
    )
    times = START + np.cumsum(rng.integers(1, 4, size)) * HOUR
    return Bars(times, opening, high, low, close, np.ones(size))


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(12, 60), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.003, 0.2, 0.95]),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.integers(1, 8),
    st.sampled_from(["percent", "atr"]),
)
def test_the_capital_is_that_of_a_simulation_bar_by_bar(seed, sizes, cost, density, horizon, kind):
    rng, distances = np.random.default_rng(seed), {"profit": 0.05, "stop": 0.02}
    bars = [random_bars(rng, size) for size in sizes]
    units = [own.close for own in bars]
    if kind == "atr":
        distances = {"profit": 1.5, "stop": 1.0}
        units = [own.close * rng.uniform(0.01, 0.08, len(own)) for own in bars]
    atr = units if kind == "atr" else [None] * len(bars)
    labelled = [
        triple_barrier(own, Barriers(kind, **distances), horizon=horizon, atr=unit) for own, unit in zip(bars, atr, strict=True)
    ]
    arrays = {
        "y": np.concatenate([own.labels for own in labelled]),
        "mirrored": np.concatenate([own.mirrored for own in labelled]),
        "returns": np.concatenate([own.returns for own in labelled]),
        "held": np.concatenate([own.held for own in labelled]),
        "asset_ids": np.repeat(np.arange(len(sizes)), sizes),
        "timestamps": np.concatenate([own.timestamps for own in bars]),
    }
    of_split = Trades.of(arrays, np.full(len(sizes), cost))
    called = rng.random(len(of_split.y)) < density
    first = np.cumsum([0, *sizes])[of_split.asset_ids]
    signals = [set((of_split.rows - first)[called & (of_split.asset_ids == asset)].tolist()) for asset in range(len(sizes))]
    slow = simulate(bars, units, signals, cost, **distances, horizon=horizon)
    without_cost = simulate(bars, units, signals, 0.0, **distances, horizon=horizon)
    found = of_split.performance(called)
    near = {"abs": 1e-9, "rel": 0}
    assert found.trades == slow.trades
    assert found.total_return_net == pytest.approx(slow.equity[-1] - 1, **near)
    assert found.total_return == pytest.approx(without_cost.equity[-1] - 1, **near)
    assert found.max_drawdown == pytest.approx(slow_drawdown(slow.equity), **near)
    if slow.trades:
        assert found.hit_rate == pytest.approx(slow.hits / slow.trades)
        assert found.mean_return == pytest.approx(np.mean(slow.gross), **near)


def slow_drawdown(equity: list[float]) -> float:
    return max(1 - later / earlier for number, earlier in enumerate(equity) for later in equity[number:] if earlier > 0)


# --- thresholds -----------------------------------------------------------------------------------------------------


@given(trades(), st.integers(0, 99), st.integers(1, 12), st.sampled_from([1, 6, 100]))
def test_moneys_threshold_has_the_highest_mean_net_return(data, seed, levels, min_trades):
    of_split, _ = data
    scores = np.random.default_rng(seed).integers(0, levels, len(of_split.y)) / levels + 0.01
    means = {}
    for share in np.geomspace(0.005, 1, 60):
        threshold = max(score for score in scores if (scores >= score).mean() >= share - 1e-12)
        means[threshold] = slow_mean(of_split, scores >= threshold, min_trades)
    means[0.4] = slow_mean(of_split, scores >= 0.4, min_trades)
    found = of_split.choose_threshold(scores, 0.4, min_trades)
    if found is None:
        assert max(means.values()) <= 1e-12
    else:
        assert slow_mean(of_split, scores >= found, min_trades) == pytest.approx(max(means.values()))
        assert max(means.values()) > 0


def slow_mean(of_split: Trades, signals: np.ndarray, min_trades: int) -> float:
    net = (of_split.returns - of_split.costs)[slow_entries(of_split, signals)]
    return float(net.mean()) if len(net) >= min_trades else -1.0


def test_moneys_threshold_lies_between_scores():
    """So that another machine's rounding opens no other positions."""
    of_split = two_trades(0.05, -0.02)
    assert of_split.choose_threshold(np.array([0.8, 0.4]), 0.1, min_trades=1) == pytest.approx(0.6)
    assert of_split.choose_threshold(np.array([0.4, 0.8]), 0.1, min_trades=1) == pytest.approx(0.2), "both trades earn 2.4 %"
    assert of_split.choose_threshold(np.array([0.4, 0.8]), 0.1, min_trades=3) is None
    assert two_trades(0.05, -0.06).choose_threshold(np.array([0.4, 0.8]), 0.1, min_trades=1) is None


@given(trades(), st.integers(0, 9))
def test_the_threshold_curve_sums_up_all_samples_predicted_positive(data, seed):
    of_split, _ = data
    scores = np.round(np.random.default_rng(seed).random(len(of_split.y)), 1)
    rows = of_split.threshold_curve(scores)
    assert rows[-1]["share_called"] == 1
    assert all(before["share_called"] < after["share_called"] for before, after in pairwise(rows))
    for row in rows:
        predicted = scores >= row["threshold"]
        assert row["share_called"] == pytest.approx(predicted.mean())
        assert row["trades"] == predicted.sum()
        assert row["precision"] == pytest.approx(of_split.y[predicted].mean())
        assert row["mean_return"] == pytest.approx(of_split.returns[predicted].mean())
        assert row["mean_return_net"] == pytest.approx((of_split.returns - of_split.costs)[predicted].mean())


# --- bootstrap draws ------------------------------------------------------------------------------------------------


@given(trades(), st.integers(0, 99))
def test_draws_are_figures_of_the_drawn_days(data, seed):
    of_split, signals = data
    rng = np.random.default_rng(seed)
    weights = np.vstack([np.ones(of_split.days.max() + 1), rng.integers(0, 3, (5, of_split.days.max() + 1))])
    entered = np.array([slow_entries(of_split, row) for row in (signals, np.ones_like(signals))])
    day_money = np.stack([of_split.day_money(row) for row in entered])
    means, margins = mean_net_draws(day_money, weights), hit_margin_draws(day_money, weights)
    slow = [[slow_figures(of_split, row, weight) for weight in weights] for row in entered]
    if any(seed[0][0] is None for seed in slow):
        assert means is None
    else:
        expected = [[one[0] if one[0] is not None else seed[0][0] for one in seed] for seed in slow]
        assert means == pytest.approx(np.mean(expected, axis=0))
    if any(seed[0][1] is None for seed in slow):
        assert margins is None
    else:
        assert np.isfinite(margins).all()
        known = [number for number in range(len(weights)) if all(seed[number][1] is not None for seed in slow)]
        assert margins[known] == pytest.approx(np.mean([[seed[number][1] for number in known] for seed in slow], axis=0))


def slow_figures(of_split: Trades, entered: np.ndarray, weight: np.ndarray) -> tuple[float | None, float | None]:
    """Mean net return, and hit rate less break-even hit rate, of the days drawn; None where there is no such trade."""
    drawn = np.repeat(np.arange(len(entered)), (weight[of_split.days] * entered).astype(int))
    if not len(drawn):
        return None, None
    returns, y, cost = of_split.returns[drawn], of_split.y[drawn], of_split.costs[drawn].mean()
    if y.min() == y.max():
        return returns.mean() - cost, None
    hit, miss = returns[y > 0].mean(), returns[y == 0].mean()
    return returns.mean() - cost, y.mean() - (cost - miss) / (hit - miss)


# --- costs ----------------------------------------------------------------------------------------------------------


def test_costs_are_one_for_all_or_by_symbol():
    assert costs_by_asset(0.003, ["A", "B"]).tolist() == [0.003, 0.003]
    assert costs_by_asset({"B": 0.001, "A": 0.002}, ["A", "B"]).tolist() == [0.002, 0.001]


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"A": 0.1}, "params.yaml: evaluate.cost_per_trade has no cost for B, C; add it"),
        (
            {"A": 0.1, "B": 0.1, "C": 0.1, "X": 0.1},
            "params.yaml: evaluate.cost_per_trade names X, which the data lack; remove it (they have A, B, C)",
        ),
    ],
)
def test_costs_of_other_symbols_are_refused(costs, message):
    with pytest.raises(CampaignError) as refusal:
        costs_by_asset(costs, ["A", "B", "C"])
    assert str(refusal.value) == message


def test_trades_earn_nothing_at_the_break_even_precision():
    p = break_even_precision("percent", 0.05, 0.02, 0.003)
    assert p == pytest.approx(0.3286, abs=1e-4)
    assert p * (0.05 - 0.003) - (1 - p) * (0.02 + 0.003) == pytest.approx(0)
    assert break_even_precision("atr", 2.0, 1.0, 0.003) is None


def test_a_split_knows_which_mirrored_trades_won():
    of_split = two_trades(0.05, -0.02)
    assert of_split.mirrored.tolist() == [False, False]
    assert replace(of_split, returns=np.array([0.1, 0.2])).net.tolist() == pytest.approx([0.097, 0.197])
