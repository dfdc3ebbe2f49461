"""What luck is worth: without an edge overfitting is as likely as not, with one it is rare."""

import numpy as np
import pytest
from scipy import stats

from drawn_search import draw_logits, draw_validation
from search.luck import daily_returns_of_seeds, measure_luck, over_parts, overfitting_of, superior_to_first

SEARCHES = 1000


@pytest.mark.slow
def test_without_an_edge_the_best_of_one_half_is_below_the_median_of_the_other_half_as_often_as_not():
    """Mean of the probability over searches without signal: its error is that of a mean over 1,000 draws."""
    found = []
    for number in range(SEARCHES):
        rng = np.random.default_rng(number)
        val = draw_validation(24, rng)
        found.append(overfitting_of("pr_auc", [val], [draw_logits(val, rng, seeds=1) for _ in range(5)]))
    error = stats.norm.isf(0.0005) * np.std(found) / SEARCHES**0.5
    ties_at_the_median = 1 / 5 / 2  # of five ranks one is the median itself, which is not above
    assert abs(np.mean(found) - 0.5 - ties_at_the_median) < error + 0.02


def test_a_trial_with_an_edge_is_not_overfitted():
    rng = np.random.default_rng(0)
    val = draw_validation(40, rng)
    trials = [draw_logits(val, rng, edge) for edge in (0, 0, 0, 2.0, 0)]
    assert overfitting_of("pr_auc", [val], trials) < 0.05
    luck = measure_luck("pr_auc", [val], trials, 3, draws=500, seed=0)
    assert luck.trials == 5
    assert luck.superior < 0.05
    assert luck.deflated.sharpe > luck.deflated.by_luck


def test_trials_of_unequal_seeds_and_a_single_one_are_measured_too():
    rng = np.random.default_rng(0)
    val = draw_validation(24, rng)
    luck = measure_luck("f1", [val], [draw_logits(val, rng), draw_logits(val, rng, seeds=1)], 0, draws=200, seed=0)
    assert 0 <= luck.overfitting <= 1
    alone = measure_luck("f1", [val], [draw_logits(val, rng)], 0, draws=200, seed=0)
    assert (alone.overfitting, alone.superior, alone.trials) == (None, None, 1)


def test_fewer_days_than_blocks_have_no_probability():
    rng = np.random.default_rng(0)
    val = draw_validation(7, rng)
    assert overfitting_of("pr_auc", [val], [draw_logits(val, rng) for _ in range(3)]) is None


def test_equal_trials_have_no_small_p_and_a_better_one_has():
    losses = np.random.default_rng(0).standard_normal((6, 64))
    assert superior_to_first(losses, draws=300, seed=0) > 0.1
    losses[3] -= 1.0
    assert superior_to_first(losses, draws=300, seed=0) < 0.01
    assert superior_to_first(np.stack([losses[0]] * 3), draws=300, seed=0) is None, "nothing else than the baseline"


def test_days_of_folds_follow_each_other():
    """Cut in two at midnight, validation has the same days, and the halves of each fold are its own."""
    rng = np.random.default_rng(0)
    vals = [draw_validation(days, rng) for days in (24, 40)]
    trials = [np.concatenate([draw_logits(val, rng, edge) for val in vals], axis=2) for edge in (0, 0, 2.0, 0)]
    luck = measure_luck("pr_auc", vals, trials, 2, draws=300, seed=0)
    assert luck.overfitting < 0.05
    assert luck.superior < 0.05
    first, second = trials[2][:, :, : 24 * 24], trials[2][:, :, 24 * 24 :]
    apart = [daily_returns_of_seeds(val, own) for val, own in zip(vals, (first, second), strict=True)]
    joined = over_parts(daily_returns_of_seeds, vals, trials[2])
    assert joined.tolist() == np.concatenate(apart).tolist()
    assert len(joined) == 64
    assert luck.deflated.sharpe == pytest.approx(joined.mean() / joined.std(ddof=1))
