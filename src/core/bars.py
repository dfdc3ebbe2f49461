"""Read hourly bars and refuse bad ones."""

import dataclasses
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from core.errors import CampaignError, few, shortened

HOUR = np.timedelta64(3600, "s")
COLUMNS = ("open", "high", "low", "close", "volume")
MOST_ROWS = 24 * 366 * 500  # no more hours than that have been, and a small file can claim any number
MOST_BYTES = 2**30  # of the columns that are read, which take some 10 a row each


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
        CampaignError: `root` is no directory, has no symbol directory, or holds links or names that cannot be used.
        OSError: `root` cannot be read.
    """
    if not root.is_dir():
        raise CampaignError(f"no bars at {shortened(root, 200)}{_why_not(root)}")
    entries = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    if lost := sorted(entry.name for entry in entries if entry.is_symlink() and not entry.exists()):
        raise CampaignError(f"{root}: {few(lost)} leads nowhere; mend the link or remove it")
    symbols = sorted(entry.name for entry in entries if entry.is_dir())
    if not symbols:
        raise CampaignError(f"no symbol directory under {root}: put <SYMBOL>/1Hour/data.parquet files there")
    if odd := [symbol for symbol in symbols if not symbol.isprintable()]:
        raise CampaignError(f"{root}: {few(odd)} is no name of printable UTF-8 characters; rename the directory")
    if not any(path_of(root, symbol).parent.is_dir() for symbol in symbols):
        for below in (root / symbol for symbol in symbols):
            if any(path_of(below, entry.name).is_file() for entry in below.iterdir()):
                raise CampaignError(f"no symbol directory under {root}, but under {below}: set data.bars to that")
    inside = os.path.realpath(root)
    escaping = [s for s in symbols if not Path(os.path.realpath(path_of(root, s))).is_relative_to(inside)]
    if escaping:
        raise CampaignError(f"{root}: {few(escaping)} leads out of the directory; replace the link by the files")
    return symbols


def _why_not(root: Path) -> str:
    """Why there are no bars at `root`, and what to do."""
    meant = os.path.expanduser(os.path.expandvars(root))
    if meant != str(root) and "\0" not in meant:
        return f": nobody replaces ~ or variables there, and DVC takes them as they are; set data.bars to {shortened(meant, 200)}"
    if root.is_symlink() and not root.exists():
        return ": the link leads nowhere; mend it, or change data.bars"
    if root.exists():
        return ": it is a file; set data.bars to the directory of the symbols"
    return ": put <SYMBOL>/1Hour/data.parquet files there, or change data.bars"


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
        OSError: the system refuses for want of something that more or other bars would not give it.
        MemoryError: names `path`.
    """
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):  # pandas would read all files of a directory as one table, and wait for a pipe's writer
            what = "a directory" if stat.S_ISDIR(kind) else "a pipe or a device"
            raise CampaignError(f"{path} is {what}, not a parquet file; write the symbol's bars as one file")
        return from_frame(_read_frame(path, extra), extra)
    except CampaignError as error:
        raise error if str(error).startswith(str(path)) else CampaignError(f"{path}: {error}") from None
    except MemoryError as error:
        raise MemoryError(f"while reading {path}: {shortened(error)}") from error
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; put the bars there, or have data.symbols name those that are meant") from None
    except PermissionError:
        raise CampaignError(f"{path} may not be read; check the permissions") from None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG):
            error.filename = error.filename or str(path)
            raise
        raise CampaignError(f"{path} cannot be reached ({os.strerror(error.errno)}); put the symbol's bars there") from None


def _read_frame(path: Path, extra: Sequence[str]) -> pd.DataFrame:
    """The columns that are needed, after a look at how much the file says it holds. Raises as `read_bars` does."""
    try:
        with pq.ParquetFile(path) as parquet:
            found, schema = parquet.metadata, parquet.schema_arrow
            names = schema.names
            index = (schema.pandas_metadata or {}).get("index_columns", [])
            rows = found.num_rows
            wanted = [name for name in names if name.lower() in (*COLUMNS, "timestamp") or name in extra]
            needed = {*wanted, *(name for name in index if isinstance(name, str))}
            _check_columns([name for name in names if name not in index], extra)
            if rows > MOST_ROWS:
                raise CampaignError(f"the file says it has {rows:,} rows, more than there are hours in 500 years; write it again")
            groups = (found.row_group(number) for number in range(found.num_row_groups))
            columns = (group.column(number) for group in groups for number in range(group.num_columns))
            size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema.split(".")[0] in needed)
            if size > MOST_BYTES:
                raise CampaignError(f"the file says its columns take {size:,} bytes, for {rows:,} rows; write it again")
        return pd.read_parquet(path, columns=wanted)
    except (CampaignError, MemoryError):
        raise
    except OSError as error:
        if error.errno is not None:  # pyarrow has no number for what is wrong with the file
            raise
        reason = error
    except Exception as error:  # a damaged file fails in many ways
        reason = error
    raise CampaignError(f"{path} is not a readable parquet file ({shortened(reason, 160)}); write it again")


def _check_columns(names: Sequence[str], extra: Sequence[str]) -> None:
    """Raises CampaignError where one is missing or stands twice."""
    by_name: dict[str, list[str]] = {}
    for name in names:
        by_name.setdefault(name.lower(), []).append(name)
    missing = [name.capitalize() for name in COLUMNS if name not in by_name]
    missing += [name for name in extra if name not in names]
    if missing:
        found = few(names, most=20) or "none"
        raise CampaignError(f"no column {few(missing)} (found: {found}); add what is missing, or rename what is there")
    twice = [" and ".join(by_name[name]) for name in (*COLUMNS, "timestamp") if len(by_name.get(name, [])) > 1]
    twice += [f"{name} and {name}" for name in extra if names.count(name) > 1]
    if twice:
        raise CampaignError(f"column names are ambiguous ({', '.join(twice)}); keep one of each")


def from_frame(frame: pd.DataFrame, extra: Sequence[str] = ()) -> Bars:
    """The bars in `frame`, checked as `read_bars` does. Raises CampaignError."""
    _check_columns([str(column) for column in frame.columns], extra)
    timestamps = _timestamps(frame)
    if not len(timestamps):
        raise CampaignError("the file has no rows; remove the symbol or write its bars")
    by_name = {str(column).lower(): column for column in frame.columns}
    _check_clock(timestamps)
    values = {name: _numbers(frame[by_name[name]], timestamps) for name in COLUMNS}
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
        unit = ', unit="s" or "ms" if it counts from 1970' if pd.api.types.is_numeric_dtype(times.dtype) else ""
        raise CampaignError(f"no timestamp index or column of a date-time type ({found}); convert it with pd.to_datetime{unit}")
    times = pd.DatetimeIndex(times)
    if times.hasnans:
        raise CampaignError(f"{int(times.isna().sum())} empty timestamps; remove those rows")
    times = times if times.tz is None else times.tz_convert("UTC").tz_localize(None)
    seconds = times.values.astype("datetime64[s]")
    if (seconds != times.values).any():
        unit = ': seconds or milliseconds since 1970 need pd.to_datetime(…, unit="s" or "ms")' if times[0].year == 1970 else ""
        raise CampaignError(f"timestamps with fractions of a second, the first {times[0]}; hourly bars open on the second{unit}")
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
