"""The best of many trials: published figures, and what is known of trials without an edge."""

import numpy as np
import pytest
from scipy import stats

from search.overfitting import deflate, halvings, overfitting_probability, probability_above, sharpe_by_luck


def test_the_published_example_of_the_deflated_sharpe_ratio():
    """Bailey and López de Prado 2014: five years of 250 days, a ratio of 2.5 a year, the best of 100 with variance 1/2 a year."""
    by_luck = sharpe_by_luck(100, 0.5 / 250)
    assert by_luck == pytest.approx(0.1132, abs=5e-5)
    found = probability_above(2.5 / 250**0.5, by_luck, periods=1250, skewness=-3, kurtosis=10)
    assert found == pytest.approx(0.9004, abs=5e-5)


@pytest.mark.parametrize(("trials", "error"), [(2, 0.09), (10, 0.03), (100, 0.01)])
def test_the_ratio_expected_by_luck_is_about_the_mean_of_the_best(trials, error):
    """It is that of the limit of many trials."""
    best = np.random.default_rng(0).normal(size=(20_000, trials)).max(axis=1) * 0.3
    assert sharpe_by_luck(trials, 0.09) == pytest.approx(best.mean(), rel=error)
    assert sharpe_by_luck(1, 0.09) == 0


def test_a_single_trial_with_normal_returns_is_judged_as_by_a_t_test():
    returns = np.random.default_rng(1).normal(0.05, 1, 2_000)
    found = deflate(returns, trials=1, variance=0.1)
    assert found.by_luck == 0
    assert found.probability == pytest.approx(1 - stats.ttest_1samp(returns, 0, alternative="greater").pvalue, abs=2e-3)


def test_returns_that_do_not_vary_have_no_ratio():
    assert deflate(np.zeros(50), trials=3, variance=0.1) is None
    assert deflate(np.array([0.1]), trials=3, variance=0.1) is None


def test_every_half_of_the_blocks_is_drawn_once():
    masks = [tuple(mask) for mask in halvings(6)]
    assert len(masks) == len(set(masks)) == 20
    assert all(sum(mask) == 3 for mask in masks)


def overfitting(days: np.ndarray, blocks: int = 10) -> float:
    """Of trials with daily results (days, trials), by their mean."""
    parts = np.stack([part.mean(axis=0) for part in np.array_split(days, blocks)])
    return overfitting_probability(blocks, lambda mask: parts[mask].mean(axis=0))


def test_without_an_edge_it_is_about_a_half_and_with_one_it_is_small():
    rng = np.random.default_rng(2)
    without = [overfitting(rng.normal(size=(200, 20))) for _ in range(60)]
    assert np.mean(without) == pytest.approx(0.5, abs=3 * np.std(without) / 60**0.5)
    edge = np.zeros(20)
    edge[7] = 0.5
    assert overfitting(rng.normal(size=(200, 20)) + edge) < 0.05


def test_a_trial_that_is_best_here_and_worst_there_is_always_overfit():
    """Two blocks and two trials whose results are opposite."""
    assert overfitting(np.array([[1.0, 0.0], [0.0, 1.0]]), blocks=2) == 1


def test_trials_that_are_all_the_same_are_no_better_than_the_median():
    assert overfitting(np.ones((20, 5))) == 1


@pytest.mark.parametrize("blocks", [0, 1, 5])
def test_an_odd_number_of_blocks_is_refused(blocks):
    with pytest.raises(ValueError, match="an even number is needed"):
        overfitting_probability(blocks, lambda mask: [0.0, 1.0])
