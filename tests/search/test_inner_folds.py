"""Inner folds: where they are cut, and that test is in none of their validations."""

import numpy as np
import pytest

from bars.rows import FIRST_DATE, LAST_DATE
from core.errors import CampaignError
from search.inner_folds import plan_inner_folds
from walk_forward.folds import WalkForward

FIRST, TEST = np.datetime64("2024-01-01T00:00:00"), np.datetime64("2024-12-01T15:00:00")
DAY = np.timedelta64(1, "D")


def settings(**keys: object) -> WalkForward:
    given = {"folds": 1, "until": None, "val_days": 30, "test_days": 5, "train": "expanding", "train_days": 100}
    return WalkForward(**given | {"embargo_hours": 0, "seeds": None} | keys)


def test_validations_follow_each_other_and_the_last_one_ends_where_test_begins():
    folds = plan_inner_folds(FIRST, TEST, 3, settings())
    assert [fold.val for fold in folds] == [TEST - number * 30 * DAY for number in (3, 2, 1)]
    assert [fold.test for fold in folds] == [TEST - number * 30 * DAY for number in (2, 1, 0)]
    assert [fold.end for fold in folds] == [TEST - 30 * DAY, TEST, LAST_DATE]
    assert {fold.start for fold in folds} == {FIRST_DATE}


def test_a_rolling_train_has_its_length_and_an_embargo_is_kept():
    folds = plan_inner_folds(FIRST, TEST, 2, settings(train="rolling", embargo_hours=8))
    assert [fold.val - fold.start for fold in folds] == [100 * DAY] * 2
    assert {fold.embargo for fold in folds} == {np.timedelta64(8, "h")}


def test_where_there_is_no_room_it_says_for_how_many_there_is():
    assert len(plan_inner_folds(FIRST, TEST, 7, settings())) == 7
    with pytest.raises(CampaignError, match=r"search.folds is 8, before test are 335 days of rows, room for 7 \(walk_forward"):
        plan_inner_folds(FIRST, TEST, 8, settings())
    with pytest.raises(CampaignError, match=r"room for none \(walk_forward.train_days 400, val_days 30\); shorten the two"):
        plan_inner_folds(FIRST, TEST, 1, settings(train_days=400))
