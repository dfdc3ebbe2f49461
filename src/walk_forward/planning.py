"""Plan the folds of walk-forward: when each one's train, validation and test begin and end."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bars.rows import FIRST_DATE, LAST_DATE, NO_TIME, Cuts
from core.errors import CampaignError

DAY = np.timedelta64(86_400, "s")


@dataclasses.dataclass(frozen=True)
class Fold:
    """A fold: its name, which says when its test period starts, and its cuts."""

    name: str
    cuts: Cuts


def plan_folds(
    first: np.datetime64,
    last: np.datetime64,
    *,
    folds: int | Sequence[np.datetime64],
    until: np.datetime64 | None,
    val_days: int,
    test_days: int,
    train_days: int,
    rolling: bool,
    embargo: np.timedelta64 = NO_TIME,
) -> list[Fold]:
    """Lay test periods one after the other, oldest first; each has its validation and its train before it.

    Args:
        first, last: datetime64[s], when the first row opens and the last one has closed.
        folds: number of test periods, which end with `until`; or when each one starts, `test_days` apart at least.
        until: midnight after the last test period; None: the one that follows the bars.
        val_days, test_days: lengths of validation and test.
        train_days: of train, at least; exactly that many where it is `rolling`.
        embargo: see `Cuts`.

    Raises:
        CampaignError: the bars have no room for the folds.
    """
    train, val, test = (np.timedelta64(days, "D").astype("timedelta64[s]") for days in (train_days, val_days, test_days))
    end = _midnight_after(last) if until is None else until
    if until is not None and end > _midnight_after(last):
        raise CampaignError(
            f"walk_forward.until is {_day(end)}, the bars end on {_day(last)}; name a day that they reach, or null"
        )
    room = int((end - first - train - val) // test)
    if isinstance(folds, int):
        if folds > room:
            found = f"walk_forward.folds is {folds}, the rows from {_day(first)} to {_day(end)} have room for "
            lengths = f"(train_days {train_days}, val_days {val_days}, test_days {test_days})"
            raise CampaignError(
                found + _room_and_cure(room, lengths, "add bars" if until is None else "set a later walk_forward.until")
            )
        starts = [end - number * test for number in range(folds, 0, -1)]
    else:
        starts = list(folds)
        _check_starts(starts, first, end, train + val)
    return [_fold(start, end, last, val, test, train if rolling else None, embargo) for start in starts]


def _fold(
    start: np.datetime64,
    end: np.datetime64,
    last: np.datetime64,
    val: np.timedelta64,
    test: np.timedelta64,
    train: np.timedelta64 | None,
    embargo: np.timedelta64,
) -> Fold:
    """Make the fold whose test begins at `start`. A bound that the bars do not reach is left to them."""
    test_end = min(start + test, end)
    cuts = Cuts(
        val=start - val,
        test=start,
        start=FIRST_DATE if train is None else start - val - train,
        end=test_end if test_end < last else LAST_DATE,
        embargo=embargo,
    )
    return Fold(_day(start), cuts)


def _check_starts(starts: Sequence[np.datetime64], first: np.datetime64, end: np.datetime64, before: np.timedelta64) -> None:
    """Check test periods that were named one by one. Raises CampaignError."""
    if starts[0] - before < first:
        days = max(0, int((starts[0] - first) // DAY))
        raise CampaignError(
            f"walk_forward.folds: before {_day(starts[0])} there are {days} days of rows, train and "
            f"validation need {int(before / DAY)}; lower walk_forward.train_days or val_days, or leave that fold out"
        )
    if starts[-1] >= end:
        raise CampaignError(f"walk_forward.folds names {_day(starts[-1])}, test ends with {_day(end)}; leave that fold out")


def _room_and_cure(room: int, lengths: str, if_none: str) -> str:
    """Say for how many folds of these `lengths` there is room, and what to do; `if_none`: where there is none at all."""
    if room > 0:
        return f"{room} of them {lengths}; set walk_forward.folds to {room}, or shorten the three"
    return f"none {lengths}; {if_none}, or shorten the three"


def _midnight_after(time: np.datetime64) -> np.datetime64:
    day = time.astype("datetime64[D]").astype("datetime64[s]")
    return day if day == time else day + DAY


def _day(time: np.datetime64) -> str:
    """Name a time: its day, with the hour where it is no midnight, or the whole time where it is no full hour."""
    text = str(time.astype("datetime64[s]"))
    return text.removesuffix(":00").removesuffix(":00").removesuffix("T00") if text.endswith(":00:00") else text
