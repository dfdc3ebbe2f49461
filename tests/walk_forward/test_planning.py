"""Folds are laid by the rules: properties over drawn histories, and what they refuse."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bars.rows import FIRST_DATE, LAST_DATE
from core.errors import CampaignError
from walk_forward.planning import plan_folds

DAY, HOUR = np.timedelta64(86_400, "s"), np.timedelta64(3600, "s")
FIRST = np.datetime64("2022-01-07T04:00:00")
LENGTHS = {"val_days": 20, "test_days": 10, "train_days": 60, "rolling": False, "until": None}


@given(
    hours=st.integers(24 * 100, 24 * 400),
    folds=st.integers(1, 40),
    val_days=st.integers(1, 60),
    test_days=st.integers(1, 60),
    train_days=st.integers(1, 120),
    rolling=st.booleans(),
    days_before_the_end=st.none() | st.integers(0, 30),
)
def test_test_periods_follow_each_other_up_to_the_end_and_each_has_its_train_before_it(
    hours, folds, val_days, test_days, train_days, rolling, days_before_the_end
):
    last = FIRST + hours * HOUR
    until = (
        None if days_before_the_end is None else last.astype("datetime64[D]").astype("datetime64[s]") - days_before_the_end * DAY
    )
    lengths = {"val_days": val_days, "test_days": test_days, "train_days": train_days, "rolling": rolling, "until": until}
    try:
        planned = plan_folds(FIRST, last, folds=folds, **lengths)
    except CampaignError as refused:
        found, needed = str(refused), folds * test_days + val_days + train_days
        assert found.startswith(f"walk_forward.folds is {folds}, the rows from 2022-01-07T04 to ")
        assert (until if until is not None else last) - FIRST < needed * DAY
        if "have room for none" not in found:
            fit = int(found.partition("have room for ")[2].split()[0])
            assert len(plan_folds(FIRST, last, folds=fit, **lengths)) == fit < folds, "the cure works"
        return
    assert len(planned) == folds
    for fold, following in itertools.pairwise(planned):
        assert fold.cuts.end == following.cuts.test, "no gap and no overlap"
    for fold in planned:
        assert fold.cuts.test - fold.cuts.val == val_days * DAY
        assert fold.cuts.end in (fold.cuts.test + test_days * DAY, LAST_DATE)
        assert fold.cuts.val - FIRST >= train_days * DAY
        assert fold.cuts.start == (fold.cuts.val - train_days * DAY if rolling else FIRST_DATE)
        assert fold.name == str(fold.cuts.test.astype("datetime64[D]"))
    end = planned[-1].cuts.end
    assert (end == LAST_DATE) if until is None or until >= last else (end == until)
    if folds > 1:
        assert plan_folds(FIRST, last, folds=folds - 1, **lengths) == planned[1:], "one more leaves the others as they are"


def test_folds_can_be_named_by_their_first_days():
    starts = [np.datetime64(day, "s") for day in ("2022-05-01", "2022-06-15")]
    first, second = plan_folds(FIRST, FIRST + 200 * DAY, folds=starts, **LENGTHS)
    assert (first.name, second.name) == ("2022-05-01", "2022-06-15")
    assert first.cuts.end == np.datetime64("2022-05-11", "s")
    assert second.cuts.val == np.datetime64("2022-05-26", "s")


def test_an_appended_month_leaves_the_folds_before_it_as_they_were():
    """Where `until` moves by whole test periods."""
    before = plan_folds(FIRST, FIRST + 200 * DAY, folds=3, **LENGTHS | {"until": np.datetime64("2022-07-01", "s")})
    after = plan_folds(FIRST, FIRST + 230 * DAY, folds=6, **LENGTHS | {"until": np.datetime64("2022-07-31", "s")})
    assert after[:3] == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"folds": 30},
            "walk_forward.folds is 30, the rows from 2022-01-07T04 to 2022-07-27 have room for 12 of them (train_days 60, "
            "val_days 20, test_days 10); set walk_forward.folds to 12, or shorten the three",
        ),
        (
            {"folds": 1, "train_days": 300},
            "walk_forward.folds is 1, the rows from 2022-01-07T04 to 2022-07-27 have room for none (train_days 300, val_days 20, "
            "test_days 10); add bars, or shorten the three",
        ),
        (
            {"until": np.datetime64("2022-01-01", "s")},
            "walk_forward.folds is 2, the rows from 2022-01-07T04 to 2022-01-01 have room for none (train_days 60, val_days 20, "
            "test_days 10); set a later walk_forward.until, or shorten the three",
        ),
        (
            {"until": np.datetime64("2022-09-01", "s")},
            "walk_forward.until is 2022-09-01, the bars end on 2022-07-26T04; name a day that they reach, or null",
        ),
        (
            {"folds": [np.datetime64("2022-03-01", "s")]},
            "walk_forward.folds: before 2022-03-01 there are 52 days of rows, train and validation need 80; lower "
            "walk_forward.train_days or val_days, or leave that fold out",
        ),
        (
            {"folds": [np.datetime64("1999-03-01", "s")]},
            "walk_forward.folds: before 1999-03-01 there are 0 days of rows, train and validation need 80; lower "
            "walk_forward.train_days or val_days, or leave that fold out",
        ),
        (
            {"folds": [np.datetime64("2022-07-27", "s")]},
            "walk_forward.folds names 2022-07-27, test ends with 2022-07-27; leave that fold out",
        ),
    ],
)
def test_what_the_bars_have_no_room_for_is_refused_with_a_cure(changed, message):
    with pytest.raises(CampaignError) as refused:
        plan_folds(FIRST, FIRST + 200 * DAY, **{"folds": 2} | LENGTHS | changed)
    assert str(refused.value) == message


def test_the_hours_of_an_embargo_are_in_the_cuts():
    (fold,) = plan_folds(FIRST, FIRST + 200 * DAY, folds=1, embargo=24 * HOUR, **LENGTHS)
    assert fold.cuts.describe()["embargo_hours"] == 24
    plain = dataclasses.replace(fold.cuts, embargo=0 * HOUR).describe()
    assert plain == {"val": "2022-06-27T00:00:00Z", "test": "2022-07-17T00:00:00Z"}
