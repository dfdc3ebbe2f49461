"""Write refusals of bars, and their cures: Python for the frame that ``pd.read_parquet`` returns, there called ``frame``."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from core.errors import CampaignError, shorten

SECOND = np.timedelta64(1, "s")


@dataclasses.dataclass(frozen=True)
class TimeColumn:
    """A column or index level that holds times, or may.

    name: as in the frame; None for an index without one.
    values: its values, with the type of the frame.
    level: number of the index level; None for a column.
    levels: number of index levels of the frame.
    """

    name: object
    values: pd.Series | pd.DatetimeIndex
    level: int | None
    levels: int = 1

    @property
    def is_date_time(self) -> bool:
        return pd.api.types.is_datetime64_any_dtype(self.values.dtype)

    @property
    def is_naive(self) -> bool:
        """Tell whether dates lack a time zone."""
        return self.is_date_time and pd.DatetimeIndex(self.values).tz is None

    @property
    def place(self) -> str:
        """Name it in a sentence."""
        kind = "column" if self.level is None else "index"
        return f"the {kind} {shorten(self.name)}" if self.name is not None else f"the {kind} without a name"

    @property
    def code(self) -> str:
        """Write it as Python; dates of Arrow as pandas' own, which have all methods."""
        return f"pd.DatetimeIndex({self._place_code})" if self._is_arrow else self._place_code

    @property
    def _is_arrow(self) -> bool:
        return self.is_date_time and isinstance(self.values.dtype, pd.ArrowDtype)

    @property
    def _place_code(self) -> str:
        if self.level is None:
            return f"frame[{quote(self.name)}]"
        return "frame.index" if self.levels == 1 else f"frame.index.get_level_values({self.level})"

    @property
    def dt(self) -> str:
        """Return what stands before a method for dates."""
        return ".dt" if self.level is None and not self._is_arrow else ""

    def replace(self, code: str) -> str:
        """Write the statement that replaces the times."""
        return f"{self._place_code if self.level is None else 'frame.index'} = {code}"

    def call(self, method: str) -> str:
        """Write the statement that replaces the times by what a method for dates makes of them."""
        return self.replace(f"{self.code}{self.dt}.{method}")

    def round(self, length: str) -> str:
        """Write the statement that rounds the times."""
        return self.call(f'round("{length}")')

    def sort(self) -> str:
        """Write the statement that sorts the frame by time; equal times keep their order."""
        if self.level is None:
            return f'frame = frame.sort_values({quote(self.name)}, kind="stable")'
        return 'frame = frame.sort_index(kind="stable")'

    def drop_empty(self) -> str:
        """Write the statement that removes rows without a time."""
        return f"frame = frame[{self.code}.notna()]"

    def localize(self, zone: str) -> str:
        """Write the statement that gives local times their zone; of two equal hours the first is summer time."""
        local = "" if self.is_naive else f'tz_convert("UTC"){self.dt}.tz_localize(None){self.dt}.'
        return self.call(f'{local}tz_localize("{zone}", ambiguous=~{self.code}.duplicated())')

    def drop_copies(self) -> str:
        """Write the statement that keeps the first row of each time."""
        return f"frame = frame[~{self.code}.duplicated()]"

    def resample(self, columns: Mapping[str, str], phase: int) -> str:
        """Write the statement that makes hourly bars of shorter ones.

        Args:
            columns: names in the frame by open, high, low, close and volume; of further columns the last value stays.
            phase: seconds after the full hour at which bars open.
        """
        rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
        rules_code = ", ".join(f"{quote(column)}: {quote(rules.get(name, 'last'))}" for name, column in columns.items())
        on = f", on={quote(self.name)}" if self.level is None else f", level={self.level}" if self.levels > 1 else ""
        offset = f', offset="{phase}s"' if phase else ""
        return f'frame = frame.resample("1h"{on}{offset}).agg({{{rules_code}}}).dropna(subset=[{quote(columns["open"])}])'


def quote(name: object) -> str:
    """Write a name as Python, in double quotes where it has none."""
    return f'"{name}"' if isinstance(name, str) and name.isprintable() and not {'"', "\\"} & set(name) else shorten(repr(name))


def refuse_rows(bad: np.ndarray, timestamps: np.ndarray, what: str, cure: str = "correct or remove them") -> None:
    """Raise CampaignError where rows are `bad`, bool (N,): what is wrong, in how many rows, the first one's time, the cure."""
    if bad.any():
        first = format_time(timestamps[int(bad.argmax())])
        raise CampaignError(f"{what} in {int(bad.sum())} of {len(bad)} rows, first at {first} UTC; {cure}")


def format_time(time: np.datetime64) -> str:
    return str(time).replace("T", " ")[:-3] if time == time.astype("datetime64[m]") else str(time).replace("T", " ")


def format_step(seconds: int) -> str:
    """Write a length of time in hours, or in minutes where it is shorter."""
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} minutes" if seconds != 60 else "1 minute"


def describe_unfinished(timestamps: np.ndarray) -> str:
    """Say that the last bar had not ended when it was written."""
    step = format_step(int((timestamps[-1] - timestamps[-2]) / SECOND))
    found = f"the last bar, at {format_time(timestamps[-1])} UTC, opens {step} after the one before"
    return f"{found}, as an unfinished bar of live data does; remove it: frame = frame.iloc[:-1]"
