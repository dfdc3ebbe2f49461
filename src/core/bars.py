"""Read hourly bars and refuse bad ones."""

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from core.errors import CampaignError

HOUR = np.timedelta64(3600, "s")
COLUMNS = ("open", "high", "low", "close", "volume")


@dataclasses.dataclass(frozen=True)
class Bars:
    """One asset's bars, oldest first; N bars.

    timestamps: datetime64[s] (N,), UTC, the opening time of the bar; strictly increasing.
    open, high, low, close: float64 (N,), positive, low <= open and close <= high.
    volume: float64 (N,), zero or more.
    extra: further numeric columns by name, float64 (N,), finite; used as features as they are.
    """

    timestamps: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    extra: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.timestamps)

    def __getitem__(self, rows: slice) -> "Bars":
        return Bars(
            self.timestamps[rows],
            **{column: getattr(self, column)[rows] for column in COLUMNS},
            extra={name: values[rows] for name, values in self.extra.items()},
        )


def find_symbols(root: Path) -> list[str]:
    """Names of the symbol directories under `root`, sorted.

    Raises:
        CampaignError: `root` is no directory, has no symbol directory, or holds links that lead out of it.
    """
    if not root.is_dir():
        raise CampaignError(f"no bars at {root}: put <SYMBOL>/1Hour/data.parquet files there, or change data.bars")
    symbols = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not symbols:
        raise CampaignError(f"no symbol directory under {root}: put <SYMBOL>/1Hour/data.parquet files there")
    if not any(path_of(root, symbol).parent.is_dir() for symbol in symbols):
        for below in (root / symbol for symbol in symbols):
            if any(path_of(below, entry.name).is_file() for entry in below.iterdir()):
                raise CampaignError(f"no symbol directory under {root}, but under {below}: set data.bars to that")
    escaping = [symbol for symbol in symbols if not path_of(root, symbol).resolve().is_relative_to(root.resolve())]
    if escaping:
        raise CampaignError(f"{root}: {', '.join(escaping)} leads out of the directory; replace the link by the files")
    return symbols


def path_of(root: Path, symbol: str) -> Path:
    return root / symbol / "1Hour" / "data.parquet"


def read_bars(path: Path, extra: Sequence[str] = ()) -> Bars:
    """Read and check one file of hourly bars.

    Args:
        path: parquet file with a `timestamp` index or column (bar opening time; UTC where no zone is given) and Open, High,
            Low, Close, Volume in any letter case.
        extra: names of further columns to read, as spelt in the file.

    Raises:
        CampaignError: the bars cannot be used; says what is wrong, where, and what to do.
    """
    if path.is_dir():  # pandas would read all files in it as one table
        raise CampaignError(f"{path} is a directory, not a parquet file; write the symbol's bars as one file")
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; put the bars there, or have data.symbols name those that are meant") from None
    except PermissionError:
        raise CampaignError(f"{path} may not be read; check the permissions") from None
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        reason = textwrap.shorten(str(error), 160, placeholder=" …")
        raise CampaignError(f"{path} is not a readable parquet file ({reason}); write it again") from None
    try:
        return _parse(frame, extra)
    except CampaignError as error:
        raise CampaignError(f"{path}: {error}") from None


def _parse(frame: pd.DataFrame, extra: Sequence[str]) -> Bars:
    timestamps = _timestamps(frame)
    if not len(timestamps):
        raise CampaignError("the file has no rows; remove the symbol or write its bars")
    by_name: dict[str, list[str]] = {}
    for column in frame.columns:
        by_name.setdefault(str(column).lower(), []).append(column)
    missing = [name.capitalize() for name in COLUMNS if name not in by_name]
    missing += [name for name in extra if name not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns)) or "none"
        raise CampaignError(f"no column {', '.join(missing)} (found: {found}); add what is missing, or rename what is there")
    twice = [" and ".join(by_name[name]) for name in COLUMNS if len(by_name[name]) > 1]
    if twice or not frame.columns.is_unique:
        raise CampaignError(f"column names are ambiguous ({', '.join(twice) or 'one stands twice'}); keep one of each")

    _check_clock(timestamps)
    values = {name: _numbers(frame[by_name[name][0]], timestamps) for name in COLUMNS}
    for name in COLUMNS[:4]:
        _refuse(values[name] <= 0, timestamps, f"zero or negative {name.capitalize()}")
    _refuse(values["volume"] < 0, timestamps, "negative Volume")
    _refuse(values["high"] < values["low"], timestamps, "High below Low")
    for name in ("open", "close"):
        outside = (values[name] > values["high"]) | (values[name] < values["low"])
        _refuse(outside, timestamps, f"{name.capitalize()} outside Low..High")
    return Bars(timestamps, **values, extra={name: _numbers(frame[name], timestamps) for name in extra})


def _timestamps(frame: pd.DataFrame) -> np.ndarray:
    columns = [column for column in frame.columns if str(column).lower() == "timestamp"]
    if len(columns) > 1:
        raise CampaignError(f"column names are ambiguous ({' and '.join(columns)}); keep one of each")
    times = frame[columns[0]] if columns else frame.index
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        found = f"the {'column' if columns else 'index'} {times.name or 'without a name'} holds {times.dtype}"
        raise CampaignError(f"no timestamp index or column of a date-time type ({found}); convert it with pd.to_datetime")
    times = pd.DatetimeIndex(times)
    if times.hasnans:
        raise CampaignError(f"{int(times.isna().sum())} empty timestamps; remove those rows")
    times = times if times.tz is None else times.tz_convert("UTC").tz_localize(None)
    seconds = times.values.astype("datetime64[s]")
    if (seconds != times.values).any():
        raise CampaignError("timestamps with fractions of a second; hourly bars open on the second")
    return seconds


def _check_clock(timestamps: np.ndarray) -> None:
    steps = np.diff(timestamps)
    _refuse(np.append(False, steps == np.timedelta64(0, "s")), timestamps, "duplicate timestamps", "remove the copies")
    _refuse(np.append(False, steps < np.timedelta64(0, "s")), timestamps, "decreasing timestamps", "sort by time")
    short = steps < HOUR
    if len(steps) and np.median(steps.astype(np.int64)) != 3600:
        median = np.median(steps.astype(np.int64)) / 3600
        raise CampaignError(f"not hourly bars: the usual step is {median:g} h; resample them to one hour")
    _refuse(np.append(False, short), timestamps, "steps shorter than an hour", "resample them to one hour")


def _numbers(column: pd.Series, timestamps: np.ndarray) -> np.ndarray:
    if column.dtype.kind not in "iuf":
        raise CampaignError(f"column {column.name} holds {column.dtype}, not numbers; convert it")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    _refuse(np.isnan(values), timestamps, f"NaN in {column.name}", "fill or remove them")
    _refuse(np.isinf(values), timestamps, f"infinite {column.name}")
    return values


def _refuse(bad: np.ndarray, timestamps: np.ndarray, what: str, cure: str = "correct or remove them") -> None:
    """Raise CampaignError naming how many rows are `bad` (bool (N,)) and the first one's time."""
    if bad.any():
        first = str(timestamps[int(bad.argmax())]).replace("T", " ")[:16]
        raise CampaignError(f"{what} in {int(bad.sum())} of {len(bad)} rows, first at {first} UTC; {cure}")


def sequences(timestamps: np.ndarray, max_gap: int) -> Iterator[slice]:
    """Rows between breaks: a step longer than `max_gap` hours ends one sequence and starts the next.

    Args:
        timestamps: datetime64[s] (N,), increasing.
        max_gap: hours.
    """
    breaks = np.flatnonzero(np.diff(timestamps) > max_gap * HOUR) + 1
    edges = [0, *breaks.tolist(), len(timestamps)]
    for first, end in pairwise(edges):
        if end > first:
            yield slice(first, end)
