"""What came of predictions, against trades followed by hand; and that chance alone is rarely called a difference."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bars.labels import Barriers
from core.errors import CampaignError
from core.files import write_array, write_json
from judge.calibration import Calibration
from scaffold import make_frame, write_symbol
from serve.model import Choices, Model, Recipe
from serve.review import ALL, Joined, describe_drift, measure, review

COST, HORIZON = 0.002, 5
HOUR = np.timedelta64(3600, "s")
RECIPE = Recipe(
    features=("return_1",), mean=np.zeros(1), scale=np.ones(1), clip=10.0, lookback=4, max_gap=96, horizon=HORIZON,
    barriers=Barriers("percent", 0.02, 0.01), asset_ids={"AAA": 0, "BBB": 1}, simulated=False, test_from="2024-01-01T00:00:00Z",
)  # fmt: skip
MODEL = Model("mlp", "MLP", None, [], Choices(0.5, Calibration(1.0, 0.0)), RECIPE, "0123abcd", worth_a_trade=False)


@pytest.fixture
def frames(desk) -> dict[str, pd.DataFrame]:
    """Bars of two assets, and a test split of a campaign that knows them."""
    write_json(desk / "metrics/evaluate.json", {"cost_per_trade": COST})
    test = without_ends(draw_joined(20, np.random.default_rng(3)))
    for name in ("y", "mirrored", "returns", "held", "timestamps", "asset_ids"):
        write_array(desk / f"data/training_data/test_{name}.npy", getattr(test, name))
    write_array(desk / "data/predictions/mlp_test.npy", test.probability[test.y >= 0][None])
    made = {}
    for number, symbol in enumerate(RECIPE.asset_ids):
        made[symbol] = make_frame(24 * 30, seed=number)
        write_symbol(desk / "bars", symbol, made[symbol])
    return made


def draw_joined(days: int, rng: np.random.Generator, *, edge: float = 0.0, calls: float = 0.2) -> Joined:
    """Draw predictions of one asset and their outcomes; days are calm or wild together, and last."""
    size = 24 * days
    mood = np.empty(days)
    mood[0] = rng.normal()
    for day in range(1, days):
        mood[day] = 0.5 * mood[day - 1] + rng.normal(0, 0.75**0.5)
    p = np.repeat(1 / (1 + np.exp(1.5 - 0.4 * mood)), 24)
    y = (rng.random(size) < np.clip(p + edge, 0, 1)).astype(np.int8)
    return Joined(
        y=y,
        mirrored=np.zeros(size, np.int8),
        returns=np.where(y > 0, 0.02, -0.01) + rng.normal(0, 0.001, size),
        held=np.full(size, 2, np.int16),
        timestamps=np.datetime64("2024-01-01", "s") + np.arange(size) * HOUR,
        asset_ids=np.zeros(size, np.int16),
        probability=np.clip(np.full(size, 0.2) + rng.normal(0, 0.02, size), 0, 1),
        called=rng.random(size) < calls,
    )


def without_ends(joined: Joined) -> Joined:
    """Without the last two outcomes, whose trades would last beyond the bars."""
    y = joined.y.copy()
    y[-2:] = -1
    return Joined(**{**vars(joined), "y": y})


def predictions(frame: pd.DataFrame, symbol: str, chosen: np.ndarray, rng: np.random.Generator) -> list[dict]:
    times = times_of(frame)[chosen]
    drawn = [(float(rng.random()), "trade" if rng.random() < 0.4 else "none") for _ in times]
    return [
        {"timestamp": f"{time}Z", "symbol": symbol, "probability": probability, "call": call}
        for time, (probability, call) in zip(times, drawn, strict=True)
    ]


def times_of(frame: pd.DataFrame) -> np.ndarray:
    return frame.index.tz_localize(None).to_numpy().astype("datetime64[s]").astype(str)


def follow(frame: pd.DataFrame, rows: list[dict]) -> list[tuple[int, float]]:
    """Follow the called trades of one asset one by one: whether each hit, and what it returned after costs."""
    place = {time: number for number, time in enumerate(times_of(frame))}
    trades, free_from = [], 0
    for row in rows:
        entry = place[row["timestamp"][:19]]
        if entry + HORIZON >= len(frame) or row["call"] != "trade" or entry < free_from:
            continue
        price = frame["Close"].iloc[entry]
        hit, result, exit_at = 0, frame["Close"].iloc[entry + HORIZON] / price - 1, entry + HORIZON
        for step in range(1, HORIZON + 1):
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


def test_trades_are_those_that_a_person_would_have_followed(desk, frames):
    rng = np.random.default_rng(0)
    rows = {symbol: predictions(frame, symbol, np.arange(200, len(frame)), rng) for symbol, frame in frames.items()}
    found, _ = review(desk / "bars", [*rows["AAA"], *rows["BBB"]], MODEL)
    by_hand = {symbol: follow(frame, rows[symbol]) for symbol, frame in frames.items()}
    by_hand[ALL] = [*by_hand["AAA"], *by_hand["BBB"]]
    for name, trades in by_hand.items():
        own = found[name]
        assert own.trades == len(trades) > 10
        assert own.hit_rate.value == pytest.approx(np.mean([hit for hit, _ in trades]))
        assert own.mean_return.value == pytest.approx(np.mean([net for _, net in trades]), abs=1e-12)
        low, high = own.mean_return.interval
        assert low < own.mean_return.value < high
    assert found["AAA"].open == HORIZON, "the last horizon has no outcome yet"
    assert found[ALL].bars + found[ALL].open == sum(map(len, rows.values()))
    known = [row["probability"] for own in rows.values() for row in own[:-HORIZON]]
    assert found[ALL].excess.value + found[ALL].profits.value == pytest.approx(np.mean(known))


def test_what_test_showed_is_worked_out_of_the_assets_that_are_reviewed(desk, frames):
    rows = predictions(frames["AAA"], "AAA", np.arange(300, 400), np.random.default_rng(0))
    _, test = review(desk / "bars", rows, MODEL)
    drawn = draw_joined(20, np.random.default_rng(3))
    y, probability = drawn.y[:-2], drawn.probability[:-2]
    assert test.bars == len(y)
    assert test.profits.value == pytest.approx(y.mean())
    assert test.excess.value == pytest.approx((Calibration(1.0, 0.0).apply(probability) - y).mean())
    assert test.trades == 0, "no score reaches the threshold"


def test_bars_at_a_break_have_no_outcome_for_ever(desk, frames):
    frame = pd.concat([frames["AAA"].iloc[:400], frames["AAA"].iloc[520:]])
    write_symbol(desk / "bars", "AAA", frame)
    found, _ = review(desk / "bars", predictions(frame, "AAA", np.arange(350, len(frame)), np.random.default_rng(0)), MODEL)
    assert (found[ALL].open, found[ALL].lost) == (HORIZON, HORIZON)


def test_few_predictions_have_figures_and_no_interval(desk, frames):
    rng, frame = np.random.default_rng(0), frames["AAA"]
    found, _ = review(desk / "bars", predictions(frame, "AAA", np.arange(300, 320), rng), MODEL)
    assert found["AAA"].bars == 20
    assert found["AAA"].profits.interval is None
    newest, _ = review(desk / "bars", predictions(frame, "AAA", np.arange(len(frame) - 3, len(frame)), rng), MODEL)
    assert (newest[ALL].bars, newest[ALL].open, newest[ALL].profits.value) == (0, 3, None)


def test_what_cannot_be_joined_is_one_line(desk, frames):
    rows = predictions(frames["AAA"], "AAA", np.arange(300, 310), np.random.default_rng(0))
    with pytest.raises(
        CampaignError, match="AAA/1Hour/data.parquet lacks the bar of 2031-01-01T00:00:00 UTC, which was predicted"
    ):
        review(desk / "bars", [*rows, rows[0] | {"timestamp": "2031-01-01T00:00:00Z"}], MODEL)
    with pytest.raises(
        CampaignError, match="the model never saw OLD, it knows AAA, BBB: these predictions are of another campaign"
    ):
        review(desk / "bars", [row | {"symbol": "OLD"} for row in rows], MODEL)


@pytest.mark.parametrize("days", [20, 120])
def test_chance_alone_is_rarely_a_difference_from_test(days):
    """Test and what followed are drawn alike; test, too, is a few days. At 5 % over all figures together."""
    rounds, named, costs = 300, 0, np.full(1, COST)
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        live, test = (measure(without_ends(draw_joined(own, rng)), costs, draws=300) for own in (days, 80))
        named += bool(describe_drift(live, test))
    assert named <= stats.binom.isf(0.0005, rounds, 0.05)


def test_a_change_is_found():
    rng, costs = np.random.default_rng(0), np.full(1, COST)
    live, test = (measure(without_ends(draw_joined(80, rng, edge=edge)), costs) for edge in (0.35, 0.0))
    said = describe_drift(live, test)
    assert len(said) == 4
    assert said[0].startswith("the share of profits is 5")


def test_what_cannot_vary_has_no_interval_and_is_no_difference():
    rng, costs = np.random.default_rng(0), np.full(1, COST)
    one_day = draw_joined(30, rng, calls=0.0)
    one_day.called[:24] = True  # ten trades, all of one day
    none_hit = draw_joined(30, rng)
    none_hit.y[:] = 0
    test = measure(without_ends(draw_joined(80, rng)), costs)
    for joined in (one_day, none_hit):
        own = measure(without_ends(joined), costs)
        assert own.trades >= 10
        assert own.hit_rate.interval is None
        assert not [line for line in describe_drift(own, test) if "hit rate" in line]
    assert measure(without_ends(none_hit), costs).profits.interval is None
