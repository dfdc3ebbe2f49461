"""The section `walk_forward` of params.yaml."""

import re

import pytest

from core.errors import CampaignError
from core.params import check_section
from scaffold import read_params
from walk_forward.folds import WalkForward

DEFAULTS = read_params()["walk_forward"]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"folds": 1000},
        {"folds": ["2023-03-01"]},
        {"folds": ["2023-03-01", "2023-04-20"], "until": "2023-06-09"},
        {"train": "rolling", "embargo_hours": 24, "seeds": [3]},
    ],
    ids=str,
)
def test_settings_are_kept_as_they_are(changed):
    assert check_section("walk_forward", DEFAULTS | changed, WalkForward).model_dump() == DEFAULTS | changed


def test_seeds_are_sorted_as_those_of_train_are():
    assert check_section("walk_forward", DEFAULTS | {"seeds": [3, 1]}, WalkForward).seeds == [1, 3]


FOLDS = 'a whole number from 1 to 1000, or a list of days in quotes, such as ["2023-03-01"], the earliest first'


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        *(
            ({"folds": folds}, f"walk_forward.folds is {shown}; it must be {FOLDS}")
            for folds, shown in [
                (0, "0"), (1001, "1001"), (True, "true"), (4.0, "4.0"), ([], "[]"), ([2023], "[2023]"), (["x"], "['x']"),
                (["2023-3-1"], "['2023-3-1']"), (["20230301"], "['20230301']"), (None, "null"), ("4", "'4'"),
                (["2023-03-01", "2023-03-01"], "['2023-03-01', '2023-03-01']"),
                (["2023-05-01", "2023-03-01"], "['2023-05-01', '2023-03-01']"),
            ]
        ),
        (
            {"folds": ["2023-03-01", "2023-04-19"], "test_days": 50},
            "walk_forward: test periods of test_days 50 from 2023-03-01 and 2023-04-19 overlap; "
            "choose days that are as far apart, or lower test_days to 49",
        ),
        (
            {"folds": ["2023-03-01"], "until": "2023-03-01"},
            "walk_forward: until is 2023-03-01; it must be later than the last fold's first day, 2023-03-01",
        ),
        ({"until": "June"}, 'walk_forward.until is \'June\'; it must be a day in quotes, such as "2023-06-01", or null'),
        ({"test_days": 0}, "walk_forward.test_days is 0; it must be greater than or equal to 1"),
        ({"val_days": 1.5}, "walk_forward.val_days is 1.5; it must be a valid integer"),
        ({"train": "all"}, "walk_forward.train is 'all'; it must be 'expanding' or 'rolling'"),
        ({"embargo_hours": -1}, "walk_forward.embargo_hours is -1; it must be greater than or equal to 0"),
        ({"seeds": [1, 1]}, "walk_forward.seeds is [1, 1]; it must be a list of whole numbers from 0 up"),
        ({"fold": 1}, "walk_forward.fold is unknown; remove it"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_the_key(changed, said):
    with pytest.raises(CampaignError, match=re.escape(f"params.yaml: {said}")):
        check_section("walk_forward", DEFAULTS | changed, WalkForward)
