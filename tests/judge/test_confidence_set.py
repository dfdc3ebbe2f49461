"""The model confidence set agrees with the package arch, and holds the best model as often as it says."""

import numpy as np
import pytest
from arch.bootstrap import MCS
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from judge.confidence_set import confidence_set
from judge.uncertainty import Blocks, DrawnDays

ENDLESS = Blocks(np.inf)  # no correction for few blocks, as arch has none


def losses_of(rng: np.random.Generator, means: tuple[float, ...], days: int, memory: float = 0.0) -> dict[str, np.ndarray]:
    """Daily losses that are correlated among models, and from day to day by `memory`."""
    noise = lfilter([(1 - memory**2) ** 0.5], [1, -memory], rng.standard_normal((len(means) + 1, days + 30)))[:, 30:]
    return {f"m{number}": mean + noise[0] + noise[1 + number] for number, mean in enumerate(means)}


@pytest.mark.parametrize("block", [1, 8])
@pytest.mark.parametrize("means", [(0, 0.1, 0.15, 0.2, 0.5), (0, 0.02), (0, 0, 0.1, 0.12, 0.3, 1.0)])
def test_p_values_are_those_of_arch(means, block):
    losses = losses_of(np.random.default_rng(1), means, 320, 0.3)
    reference = MCS(
        np.stack(list(losses.values())).T, 0.05, reps=4000, block_size=block, method="max", bootstrap="circular", seed=3
    )
    reference.compute()
    expected = reference.pvalues["Pvalue"]
    found = confidence_set(losses, DrawnDays.of([320], block, 4000, 7).weights, ENDLESS)
    for number in range(len(means)):
        p = expected[number]
        assert found[f"m{number}"] == pytest.approx(p, abs=2 * 3.29 * (p * (1 - p) / 4000) ** 0.5 + 0.005)


@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([ENDLESS, Blocks(5)]))
def test_one_model_has_p_1_and_of_two_the_better(seed, models, blocks):
    losses = losses_of(np.random.default_rng(seed), tuple(0.1 * number for number in range(models)), 40)
    found = confidence_set(losses, DrawnDays.of([40], 4, 200, seed).weights, blocks)
    assert list(found) == list(losses), "in the order given"
    assert max(found.values()) == 1
    assert models > 2 or found[min(losses, key=lambda name: losses[name].mean())] == 1
    assert all(0 <= p <= 1 for p in found.values())


def test_few_blocks_keep_more_models():
    losses = losses_of(np.random.default_rng(4), (0, 0.5, 0.6), 40)
    weights = DrawnDays.of([40], 4, 2000, 0).weights
    few, many = (confidence_set(losses, weights, blocks) for blocks in (Blocks(4), ENDLESS))
    assert all(few[name] >= many[name] for name in losses) and few["m2"] > 2 * many["m2"]


@pytest.mark.parametrize("worse", [(), (3.0,)])
def test_models_that_are_equal_every_day_stay_together(worse):
    losses = losses_of(np.random.default_rng(5), (0.0, *worse), 60)
    losses["twin"] = losses["m0"]
    found = confidence_set(losses, DrawnDays.of([60], 3, 500, 0).weights, Blocks(20))
    assert found["m0"] == found["twin"] == 1
    assert all(found[f"m{1 + number}"] < 0.05 for number in range(len(worse)))


def test_one_model_is_the_set():
    assert confidence_set({"only": np.ones(5)}, np.ones((10, 5)), Blocks(5)) == {"only": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize(("models", "days", "memory"), [(2, 27, 0.0), (2, 27, 0.6), (6, 27, 0.6), (2, 60, 0.6)])
def test_of_equal_models_the_set_holds_any_one_in_95_of_100(models, days, memory):
    trials, missing = 1000, 0
    for trial in range(trials):
        losses = losses_of(np.random.default_rng(trial), (0.0,) * models, days, memory)
        drawn = DrawnDays.of([days], None, 299, trial)
        missing += confidence_set(losses, drawn.weights, drawn.blocks)["m0"] <= 0.05
    assert missing <= trials * 0.05 + 3.29 * (trials * 0.05 * 0.95) ** 0.5
