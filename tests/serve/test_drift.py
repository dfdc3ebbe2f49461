"""Features unlike those of train are named, and those that wander as they did in train are not."""

import numpy as np
import pytest

from bars.labels import Barriers
from core.files import write_array
from scaffold import make_frame, to_bars
from serve.drift import describe_drift, shares, stability_index
from serve.model import Recipe
from serve.scoring import AssetBars

ROWS, FEATURES = 6000, ("calm", "wild")
RECIPE = Recipe(
    features=FEATURES, mean=np.zeros(2), scale=np.ones(2), clip=10.0, lookback=4, max_gap=96, horizon=5,
    barriers=Barriers("percent", 0.02, 0.01), asset_ids={"AAA": 0, "BBB": 1}, simulated=False, test_from="2024-01-01T00:00:00Z",
)  # fmt: skip


def wander(rows: int, rng: np.random.Generator, memory: float = 0.995) -> np.ndarray:
    """A feature that stays where it is for days, so that no month of it is like the whole."""
    steps = rng.normal(0, (1 - memory**2) ** 0.5, rows)
    values = np.empty(rows)
    values[0] = rng.normal()
    for number in range(1, rows):
        values[number] = memory * values[number - 1] + steps[number]
    return values


def asset(symbol: str, X: np.ndarray) -> AssetBars:
    bars = to_bars(make_frame(len(X)))
    return AssetBars(symbol, bars, X.astype(np.float32), np.arange(len(X)), np.ones(len(X), bool), np.arange(len(X)), None)


@pytest.fixture
def trained(desk):
    rng = np.random.default_rng(0)
    X = np.concatenate([np.stack([rng.normal(size=ROWS), wander(ROWS, rng)], axis=1) for _ in range(2)])
    write_array(desk / "data/training_data/train_X.npy", X.astype(np.float32))
    write_array(desk / "data/training_data/train_asset_ids.npy", np.repeat(np.arange(2, dtype=np.int16), ROWS))


def test_a_feature_that_wanders_as_it_did_in_train_is_rarely_named(trained):
    named = 0
    for seed in range(1, 41):
        rng = np.random.default_rng(seed)
        recent = [asset(symbol, np.stack([rng.normal(size=500), wander(500, rng)], axis=1)) for symbol in ("AAA", "BBB")]
        warnings = describe_drift(recent, RECIPE)
        assert "calm" not in " ".join(warnings)
        named += bool(warnings)
    assert named <= 4, "of 40"


def test_a_feature_that_moved_is_named_with_its_index(trained):
    rng = np.random.default_rng(1)
    recent = [asset(symbol, np.stack([rng.normal(2.0, 1, 500), wander(500, rng)], axis=1)) for symbol in ("AAA", "BBB")]
    [warning] = describe_drift(recent, RECIPE)
    assert warning.startswith("features are distributed as in no period of train of 500 bars (stability index: calm ")


def test_clipped_values_are_told_and_few_rows_are_not_judged(trained):
    rng = np.random.default_rng(1)
    X = np.stack([rng.normal(size=500), wander(500, rng)], axis=1)
    X[:40, 0] = 10
    assert "4.0% of the features are clipped at 10 standard deviations of train" in describe_drift([asset("AAA", X)], RECIPE)
    assert describe_drift([asset("AAA", X[:99])], RECIPE) == []


def test_the_index_of_equal_shares_is_zero_and_one_by_hand_is_right():
    edges = np.array([0.0])
    one, two = shares(np.array([-1.0, -1.0, 1.0, 1.0]), edges), shares(np.array([-1.0, 1.0, 1.0, 1.0]), edges)
    assert stability_index(one, one) == 0
    assert stability_index(two, one) == pytest.approx((0.25 - 0.5) * np.log(0.5) + (0.75 - 0.5) * np.log(1.5))
    assert shares(np.array([1.0]), edges).tolist() == [1e-4, 1.0]
