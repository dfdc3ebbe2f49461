"""What came of predictions, against trades followed by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from bars.labels import Barriers
from core.errors import CampaignError
from core.files import write_json
from scaffold import make_frame, write_symbol
from serve.model import Recipe
from serve.review import ALL, Figure, Outcome, Promise, describe_drift, review

COST = 0.002


@pytest.fixture
def recipe(desk) -> Recipe:
    write_json(desk / "metrics/evaluate.json", {"cost_per_trade": COST})
    return Recipe(
        features=("return_1",), mean=np.zeros(1), scale=np.ones(1), clip=10.0, lookback=4, max_gap=96, horizon=5,
        barriers=Barriers("percent", 0.02, 0.01), asset_ids={"AAA": 0, "BBB": 1}, simulated=False,
    )  # fmt: skip


def write_bars(desk, hours: int = 24 * 30) -> dict[str, pd.DataFrame]:
    frames = {}
    for number, symbol in enumerate(("AAA", "BBB")):
        frames[symbol] = make_frame(hours, seed=number)
        write_symbol(desk / "bars", symbol, frames[symbol])
    return frames


def predictions(frame: pd.DataFrame, symbol: str, chosen: np.ndarray, rng: np.random.Generator) -> list[dict]:
    times = [str(time)[:19] for time in frame.index[chosen].tz_localize(None).to_numpy().astype("datetime64[s]")]
    return [
        {"timestamp": f"{time}Z", "symbol": symbol, "model": "mlp", "probability": float(rng.random()),
         "call": "trade" if rng.random() < 0.4 else "none"}
        for time in times
    ]  # fmt: skip


def follow(frame: pd.DataFrame, rows: list[dict]) -> list[tuple[int, float]]:
    """Follow the called trades of one asset one by one: whether each hit, and what it returned after costs."""
    place = {
        str(time)[:19]: number for number, time in enumerate(frame.index.tz_localize(None).to_numpy().astype("datetime64[s]"))
    }
    trades, free_from = [], 0
    for row in rows:
        entry = place[row["timestamp"][:19]]
        if entry + 5 >= len(frame) or row["call"] != "trade" or entry < free_from:
            continue
        price = frame["Close"].iloc[entry]
        hit, result, exit_at = 0, frame["Close"].iloc[entry + 5] / price - 1, entry + 5
        for step in range(1, 6):
            bar = frame.iloc[entry + step]
            if bar["Low"] <= price * 0.99:
                hit, result, exit_at = 0, min(-0.01, bar["Open"] / price - 1), entry + step
                break
            if bar["High"] >= price * 1.02:
                hit, result, exit_at = 1, 0.02, entry + step
                break
        trades.append((hit, result - COST))
        free_from = exit_at
    return trades


def test_trades_are_those_that_a_person_would_have_followed(desk, recipe):
    frames, rng = write_bars(desk), np.random.default_rng(0)
    rows = {symbol: predictions(frame, symbol, np.arange(200, len(frame)), rng) for symbol, frame in frames.items()}
    found = review(desk / "bars", [*rows["AAA"], *rows["BBB"]], recipe)
    by_hand = {symbol: follow(frame, rows[symbol]) for symbol, frame in frames.items()}
    by_hand[ALL] = [*by_hand["AAA"], *by_hand["BBB"]]
    for name, trades in by_hand.items():
        own = found[name]
        assert own.trades == len(trades) > 5
        assert own.hit_rate.value == pytest.approx(np.mean([hit for hit, _ in trades]))
        assert own.mean_return.value == pytest.approx(np.mean([net for _, net in trades]), abs=1e-12)
        assert own.mean_return.interval[0] < own.mean_return.value < own.mean_return.interval[1]
    assert found["AAA"].open == 5, "the last horizon has no outcome yet"
    assert found[ALL].bars + found[ALL].open == sum(map(len, rows.values()))
    excess = found[ALL].excess.value + found[ALL].profits.value
    known = [row["probability"] for own in rows.values() for row in own[:-5]]
    assert excess == pytest.approx(np.mean(known))


def test_few_predictions_have_figures_and_no_interval(desk, recipe):
    frames, rng = write_bars(desk), np.random.default_rng(0)
    rows = predictions(frames["AAA"], "AAA", np.arange(300, 320), rng)
    own = review(desk / "bars", rows, recipe)["AAA"]
    assert own.bars == 20
    assert own.profits.interval is None
    only_new = predictions(frames["AAA"], "AAA", np.arange(len(frames["AAA"]) - 3, len(frames["AAA"])), rng)
    newest = review(desk / "bars", only_new, recipe)[ALL]
    assert (newest.bars, newest.open, newest.profits.value) == (0, 3, None)


def test_a_predicted_bar_that_is_not_there_is_named(desk, recipe):
    frames, rng = write_bars(desk), np.random.default_rng(0)
    rows = predictions(frames["AAA"], "AAA", np.arange(300, 310), rng)
    with pytest.raises(
        CampaignError, match="AAA/1Hour/data.parquet lacks the bar of 2031-01-01T00:00:00 UTC, which was predicted"
    ):
        review(desk / "bars", [*rows, rows[0] | {"timestamp": "2031-01-01T00:00:00Z"}], recipe)


def test_drift_is_what_no_interval_over_all_figures_together_holds():
    near = Figure.of(0.10, np.random.default_rng(0).normal(0.10, 0.01, 4000))
    assert near.interval[0] > near.wide[0]
    outcome = Outcome(100, 0, 20, 10, near, Figure(None), Figure(0.4), near)
    said = describe_drift(outcome, Promise(profits=0.2, hit_rate=0.9, mean_return=0.11))
    assert said == ["the share of profits is 10.00%, on test it was 20.00%"], (
        "a figure without an interval drifts by nothing known"
    )
    between = near.wide[0] / 2 + near.interval[0] / 2
    assert not describe_drift(dataclasses.replace(outcome, mean_return=Figure(None)), Promise(between, None, None))
