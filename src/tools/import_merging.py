"""Combine rows of several files, resample them to hours, and merge them with the bars that are there."""

import contextlib
import dataclasses
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from bars.reading import COLUMNS, HOUR, Bars, bars_from_frame, bars_path, read_bars
from core.errors import CampaignError
from core.files import open_atomically

STAGED = ".importing"  # hidden, so that bars that are half written are never taken for a symbol
EQUAL_TOLERANCE = 1e-9  # of a value
ZONES_TO_NAME = ("America/New_York", "Europe/London", "Australia/Sydney")  # their clocks are set back on different days


@dataclasses.dataclass(frozen=True)
class Rows:
    """One asset's rows, N of them; bars of an hour or finer.

    timestamps: datetime64[us] (N,), UTC, the opening time.
    values: float64 (N, C).
    names: C of them: open, high, low, close, volume and further columns.
    sources: name of each row's file, object (N,).
    """

    timestamps: np.ndarray
    values: np.ndarray
    names: tuple[str, ...]
    sources: np.ndarray

    def __len__(self) -> int:
        return len(self.timestamps)

    def __getitem__(self, rows: slice | np.ndarray) -> "Rows":
        return dataclasses.replace(self, timestamps=self.timestamps[rows], values=self.values[rows], sources=self.sources[rows])

    @classmethod
    def of_bars(cls, bars: Bars, source: str) -> "Rows":
        columns = [*(getattr(bars, name) for name in COLUMNS), *bars.extra.values()]
        sources = np.full(len(bars), source, object)
        return cls(bars.timestamps.astype("datetime64[us]"), np.stack(columns, axis=1), (*COLUMNS, *bars.extra), sources)

    def to_bars(self) -> Bars:
        columns = dict(zip(self.names, self.values.T, strict=True))
        extra = {name: columns[name] for name in self.names[len(COLUMNS) :]}
        return Bars(self.timestamps.astype("datetime64[s]"), *(columns[name] for name in COLUMNS), extra=extra)

    def to_frame(self) -> pd.DataFrame:
        """Make a frame as the bars' files hold it."""
        names = [name.capitalize() for name in COLUMNS] + list(self.names[len(COLUMNS) :])
        index = pd.DatetimeIndex(self.timestamps.astype("datetime64[ms]"), name="timestamp").tz_localize("UTC")
        return pd.DataFrame(self.values, index=index, columns=names)


def format_time(time: np.datetime64) -> str:
    return str(time.astype("datetime64[m]")).replace("T", " ")


def combine(parts: Sequence[Rows], keep: str | None = None) -> Rows:
    """Put rows in order of time; of equal rows one stays.

    Args:
        parts: at least one, with the same columns.
        keep: "old" or "new": of rows that contradict each other, the first or the last one stays.

    Raises:
        CampaignError: rows contradict each other; names their files and the first one's time.
    """
    timestamps = np.concatenate([part.timestamps for part in parts])
    order = np.argsort(timestamps, kind="stable")
    values = np.concatenate([part.values for part in parts])[order]
    rows = Rows(timestamps[order], values, parts[0].names, np.concatenate([part.sources for part in parts])[order])
    same_time = np.append(False, rows.timestamps[1:] == rows.timestamps[:-1])
    if not same_time.any():
        return rows
    if keep == "new":
        return rows[~np.append(same_time[1:], False)]
    differs = same_time & np.append(False, ~_equal(rows.values[1:], rows.values[:-1]).all(axis=1))
    if differs.any() and keep is None:
        raise CampaignError(_describe_contradiction(rows, differs))
    return rows[~same_time]


def _equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compare values up to rounding, such as by another order of arithmetic in an adjustment for splits."""
    return np.isclose(a, b, rtol=EQUAL_TOLERANCE, atol=0, equal_nan=True)


def _describe_contradiction(rows: Rows, differs: np.ndarray) -> str:
    """Say where rows contradict the row before, and what to do."""
    second = int(differs.argmax())
    column = int((~_equal(rows.values[second], rows.values[second - 1])).argmax())
    sources = list(dict.fromkeys(rows.sources[second - 1 : second + 1]))
    figures = " and ".join(f"{value:.10g}" for value in rows.values[second - 1 : second + 1, column])
    who = " and ".join(sources) + (" contradict each other" if len(sources) == 2 else " contradicts itself")
    count = f"{int(differs.sum()):,} such rows" if differs.sum() > 1 else "one such row"
    found = f"{who} at {format_time(rows.timestamps[second])} UTC ({rows.names[column]} {figures}; {count})"
    zone = _zone_of_copies(rows.timestamps[differs]) if len(sources) == 1 else None
    if zone:
        return f"{found}; the hour at which clocks are set back comes twice, so that these are local times: --timezone {zone}"
    return f"{found}; --keep old keeps the first of them, --keep new the last"


def _zone_of_copies(times: np.ndarray) -> str | None:
    """Name a zone where clocks are set back at all of these times; None where there is none of the usual ones."""
    index = pd.DatetimeIndex(times)
    return next(
        (zone for zone in ZONES_TO_NAME if index.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").isna().all()),
        None,
    )


# --- hours --------------------------------------------------------------------------------------------------------------


def usual_step(timestamps: np.ndarray) -> np.timedelta64:
    """Return the most frequent step between rows, at most an hour; an hour for a single row."""
    steps = np.diff(np.sort(timestamps.astype("datetime64[s]").astype(np.int64)))
    counts = np.bincount(np.minimum(steps[steps > 0], 3600))
    return np.timedelta64(int(counts.argmax()), "s") if len(counts) else HOUR


def format_step(step: np.timedelta64) -> str:
    seconds = int(step.astype("timedelta64[s]").astype(int))
    return f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds} seconds"


def is_finer_than_hourly(timestamps: np.ndarray) -> bool:
    return len(timestamps) > 1 and bool(np.diff(timestamps).min() < HOUR)


def ends_unfinished(timestamps: np.ndarray) -> bool:
    """Tell whether the last step alone is shorter than an hour, as that of a bar that has not ended."""
    steps = np.diff(timestamps)
    return len(steps) > 2 and bool(steps[-1] < HOUR and steps[:-1].min() >= HOUR)


def resample(rows: Rows) -> Rows:
    """Make bars of whole hours, UTC: Open first, High max, Low min, Close last, Volume sum, further columns last.

    Hours without rows are left out.

    Raises:
        CampaignError: a row's bar does not lie within an hour.
    """
    step = usual_step(rows.timestamps)
    hours = rows.timestamps.astype("datetime64[h]")
    crosses = rows.timestamps - hours + step > HOUR
    if crosses.any():
        first = rows.timestamps[int(crosses.argmax())]
        raise CampaignError(
            f"bars of {format_step(step)} cannot be made bars of an hour: that of "
            f"{format_time(first)} UTC belongs to two hours; take bars of 1, 5, 15 or 30 minutes"
        )
    starts = np.flatnonzero(np.append(True, hours[1:] != hours[:-1]))
    ends = np.append(starts[1:], len(rows)) - 1
    column = dict(zip(rows.names, rows.values.T, strict=True))
    made = {
        "open": column["open"][starts],
        "high": np.maximum.reduceat(column["high"], starts),
        "low": np.minimum.reduceat(column["low"], starts),
        "close": column["close"][ends],
        "volume": np.add.reduceat(column["volume"], starts),
    }
    values = np.stack([made[name] if name in made else column[name][ends] for name in rows.names], axis=1)
    return Rows(hours[starts].astype("datetime64[us]"), values, rows.names, rows.sources[starts])


# --- the bars that are there --------------------------------------------------------------------------------------------


def read_present(root: Path, symbol: str, extra: Sequence[str]) -> Rows | None:
    """Read the bars of `symbol` that are there; None where there are none.

    Raises:
        CampaignError: they cannot be used, or have other columns than the files.
    """
    path = bars_path(root, symbol)
    if not path.exists():
        return None
    bars = read_bars(path)
    known = {*COLUMNS, "timestamp"}
    names = [name for name in pq.read_schema(path).names if name.lower() not in known and not name.startswith("__index_level")]
    present, chosen = set(names), set(extra)
    if present - chosen:
        raise CampaignError(f"{path} has further columns; import them too: --extra {','.join(names)}")
    if chosen - present:
        more = ",".join(sorted(chosen - present))
        raise CampaignError(
            f"{path} lacks {more}; leave out --extra {more}, or import all files anew into another directory: --to"
        )
    return Rows.of_bars(read_bars(path, extra) if extra else bars, str(path))


def check_usable(rows: Rows) -> None:
    """Raise CampaignError where the campaign would refuse the bars."""
    bars_from_frame(rows.to_frame(), rows.names[len(COLUMNS) :])


def equal_rows(a: Rows | None, b: Rows) -> bool:
    return a is not None and np.array_equal(a.timestamps, b.timestamps) and np.array_equal(a.values, b.values, equal_nan=True)


@contextlib.contextmanager
def locked_root(root: Path) -> Iterator[None]:
    """Create `root` where it is missing, and lock it against other imports; remove it again where it stays empty.

    Raises:
        CampaignError: another import into it runs.
        OSError: it cannot be created.
    """
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CampaignError(f"another import into {root} runs; wait for its end") from None
        yield
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):  # not empty
            root.rmdir()


def write_bars(root: Path, assets: Mapping[str, Rows]) -> None:
    """Write the bars of all assets; a symbol's file appears whole or not at all.

    All are written to a hidden directory first, so that a full disk changes nothing, and are then renamed.

    Raises:
        OSError: the disk is full, a directory is read-only, and so on.
    """
    staged = root / STAGED
    shutil.rmtree(staged, ignore_errors=True)  # of an import that was killed
    try:
        for symbol, rows in assets.items():
            with open_atomically(bars_path(staged, symbol)) as file:
                rows.to_frame().to_parquet(file, compression="zstd")
        for symbol in assets:
            if (root / symbol).exists():
                bars_path(root, symbol).parent.mkdir(exist_ok=True)
                bars_path(staged, symbol).replace(bars_path(root, symbol))
            else:
                (staged / symbol).rename(root / symbol)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
