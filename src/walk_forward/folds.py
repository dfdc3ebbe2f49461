"""Cut bars into folds, one test period after the other: the settings of walk-forward."""

import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from core.params import Settings

MAX_FOLDS = 1000
MAX_DAYS = 36_500  # a century, as the longest market


def _is_day(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _folds(value: Any) -> Any:
    """Check a number of test periods, or their first days. Raises ValueError."""
    if type(value) is int and 1 <= value <= MAX_FOLDS:
        return value
    if isinstance(value, list) and 1 <= len(value) <= MAX_FOLDS and all(map(_is_day, value)) and value == sorted({*value}):
        return value
    raise ValueError(
        f'a whole number from 1 to {MAX_FOLDS}, or a list of days in quotes, such as ["2023-03-01"], the earliest first'
    )


def _day(value: Any) -> Any:
    if value is not None and not _is_day(value):
        raise ValueError('a day in quotes, such as "2023-06-01"')
    return value


class WalkForward(Settings):
    """Section `walk_forward`: where folds are cut. Lengths are in days, `embargo_hours` in hours.

    folds: number of test periods, or their first days.
    until: day after the last test period; None: the last one ends with the bars.
    seeds: of the trainings; None: `train.seeds`.
    """

    folds: Annotated[int | list[str], BeforeValidator(_folds)]
    until: Annotated[str | None, BeforeValidator(_day)]
    val_days: int = Field(ge=1, le=MAX_DAYS)
    test_days: int = Field(ge=1, le=MAX_DAYS)
    train: Literal["expanding", "rolling"]
    train_days: int = Field(ge=1, le=MAX_DAYS)
    embargo_hours: int = Field(ge=0, le=24 * MAX_DAYS)
    seeds: list[int] | None = Field(min_length=1, max_length=1000)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int] | None) -> list[int] | None:
        if seeds is None:
            return None
        if len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**63:
            raise ValueError("a list of whole numbers from 0 up, below 2^63, without repetition")
        return sorted(seeds)

    @model_validator(mode="after")
    def _apart(self) -> "WalkForward":
        """Refuse test periods that overlap."""
        days = [datetime.date.fromisoformat(day) for day in self.folds] if isinstance(self.folds, list) else []
        for first, second in pairwise(days):
            if (second - first).days < self.test_days:
                raise ValueError(
                    f"test periods of test_days {self.test_days} from {first} and {second} overlap; "
                    f"choose days that are as far apart, or lower test_days to {(second - first).days}"
                )
        if days and self.until and datetime.date.fromisoformat(self.until) <= days[-1]:
            raise ValueError(f"until is {self.until}; it must be later than the last fold's first day, {days[-1]}")
        return self
