"""Read hourly bars from parquet files, and refuse bars that cannot be used."""

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

from core.errors import CampaignError, join_first, shorten

HOUR = np.timedelta64(3600, "s")
COLUMNS = ("open", "high", "low", "close", "volume")
SIMULATED_MARKER = "SIMULATED.json"  # file that simulate_market leaves beside its bars
MAX_ROWS = 24 * 366 * 500  # the hours of 500 years; a small file can claim any number of rows
MAX_BYTES = 2**30  # of the columns that are read, as the file states it; they take some 10 bytes a row each


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
    """List the symbol directories under `root`, sorted by name.

    Raises:
        CampaignError: `root` is no directory, has no symbol directory, or holds links or names that cannot be used.
        OSError: `root` cannot be read.
    """
    if not root.is_dir():
        raise CampaignError(f"no bars at {shorten(root, 200)}{_explain_no_directory(root)}")
    entries = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    if broken := sorted(entry.name for entry in entries if entry.is_symlink() and not entry.exists()):
        raise CampaignError(f"{root}: {join_first(broken)} leads nowhere; mend the link or remove it")
    symbols = sorted(entry.name for entry in entries if entry.is_dir())
    if not symbols:
        raise CampaignError(f"no symbol directory under {root}: put <SYMBOL>/1Hour/data.parquet files there")
    if unprintable := [symbol for symbol in symbols if not symbol.isprintable()]:
        raise CampaignError(f"{root}: {join_first(unprintable)} is no name of printable UTF-8 characters; rename the directory")
    if not any(bars_path(root, symbol).parent.is_dir() for symbol in symbols):
        for below in (root / symbol for symbol in symbols):
            if any(bars_path(below, entry.name).is_file() for entry in below.iterdir()):
                raise CampaignError(f"no symbol directory under {root}, but under {below}: set data.bars to that")
    inside = os.path.realpath(root)
    escaping = [s for s in symbols if not Path(os.path.realpath(bars_path(root, s))).is_relative_to(inside)]
    if escaping:
        raise CampaignError(f"{root}: {join_first(escaping)} leads out of the directory; replace the link by the files")
    return symbols


def _explain_no_directory(root: Path) -> str:
    """Say why there are no bars at `root`, and what to do."""
    expanded = os.path.expanduser(os.path.expandvars(root))
    if expanded != str(root) and "\0" not in expanded:
        return f": ~ and variables are not expanded there, nor by DVC; set data.bars to {shorten(expanded, 200)}"
    if root.is_symlink() and not root.exists():
        return ": the link leads nowhere; mend it, or change data.bars"
    if root.exists():
        return ": it is a file; set data.bars to the directory of the symbols"
    return ": put <SYMBOL>/1Hour/data.parquet files there, or change data.bars"


def bars_path(root: Path, symbol: str) -> Path:
    return root / symbol / "1Hour" / "data.parquet"


def read_bars(path: Path, extra: Sequence[str] = ()) -> Bars:
    """Read and check one file of hourly bars.

    Args:
        path: parquet file with a `timestamp` index or column (bar opening time; UTC where no zone is given) and Open, High,
            Low, Close, Volume in any letter case.
        extra: names of further columns to read, as spelt in the file.

    Raises:
        CampaignError: the bars cannot be used; says what is wrong, where, and what to do.
        OSError: the system refuses for a reason that other bars would not change, such as too many open files.
        MemoryError: names `path`.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # pandas would read all files of a directory as one table, and wait for a pipe's writer
            kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise CampaignError(f"{path} is {kind}, not a parquet file; write the symbol's bars as one file")
        return bars_from_frame(_read_frame(path, extra), extra)
    except CampaignError as error:
        raise error if str(error).startswith(str(path)) else CampaignError(f"{path}: {error}") from None
    except MemoryError as error:
        raise MemoryError(f"while reading {path}: {shorten(error)}") from error
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
    """Read the needed columns, after a check that they fit into memory. Raises as `read_bars` does."""
    try:
        with pq.ParquetFile(path) as parquet:
            wanted = _check_contents(parquet, extra)
        return pd.read_parquet(path, columns=wanted)
    except (CampaignError, MemoryError):
        raise
    except OSError as error:
        if error.errno is not None:  # the system's; pyarrow gives no number for a bad file
            raise
        reason = error
    except Exception as error:  # a damaged file fails in many ways
        reason = error
    raise CampaignError(f"{path} is not a readable parquet file ({shorten(reason, 160)}); write it again")


def _check_contents(parquet: pq.ParquetFile, extra: Sequence[str]) -> list[str]:
    """Check columns and sizes by the file's metadata. Returns the names of the columns to read; raises CampaignError."""
    metadata, schema = parquet.metadata, parquet.schema_arrow
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    wanted = [name for name in schema.names if name.lower() in (*COLUMNS, "timestamp") or name in extra]
    needed = {*wanted, *(name for name in index if isinstance(name, str))}
    _check_columns([name for name in schema.names if name not in index], extra)
    if metadata.num_rows > MAX_ROWS:
        rows = f"{metadata.num_rows:,} rows"
        raise CampaignError(f"the file says it has {rows}, more than there are hours in 500 years; write it again")
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    size = sum(column.total_uncompressed_size for column in columns if column.path_in_schema.split(".")[0] in needed)
    if size > MAX_BYTES:
        raise CampaignError(f"the file says its columns take {size:,} bytes, for {metadata.num_rows:,} rows; write it again")
    return wanted


def _check_columns(names: Sequence[str], extra: Sequence[str]) -> None:
    """Raise CampaignError where a column is missing or ambiguous."""
    by_name: dict[str, list[str]] = {}
    for name in names:
        by_name.setdefault(name.lower(), []).append(name)
    missing = [name.capitalize() for name in COLUMNS if name not in by_name]
    missing += [name for name in extra if name not in names]
    if missing:
        found = join_first(names, max_entries=20) or "none"
        raise CampaignError(f"no column {join_first(missing)} (found: {found}); add what is missing, or rename what is there")
    ambiguous = [" and ".join(by_name[name]) for name in (*COLUMNS, "timestamp") if len(by_name.get(name, [])) > 1]
    ambiguous += [f"{name} and {name}" for name in extra if names.count(name) > 1]
    if ambiguous:
        raise CampaignError(f"column names are ambiguous ({', '.join(ambiguous)}); keep one of each")


def bars_from_frame(frame: pd.DataFrame, extra: Sequence[str] = ()) -> Bars:
    """Make bars of a frame, checked as `read_bars` does.

    Args:
        frame: timestamps and columns as `read_bars` wants them in a file.
        extra: names of further columns.

    Raises:
        CampaignError: the bars cannot be used.
    """
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
    """Convert the timestamps to UTC, datetime64[s] (N,). Raises CampaignError."""
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
    """Raise CampaignError where timestamps do not increase, or bars are not hourly."""
    steps = np.diff(timestamps)
    _refuse(np.append(False, steps == np.timedelta64(0, "s")), timestamps, "duplicate timestamps", "remove the copies")
    _refuse(np.append(False, steps < np.timedelta64(0, "s")), timestamps, "decreasing timestamps", "sort by time")
    short = steps < HOUR
    if len(steps) and np.median(steps.astype(np.int64)) != 3600:
        median = np.median(steps.astype(np.int64)) / 3600
        raise CampaignError(f"not hourly bars: the usual step is {median:g} h; resample them to one hour")
    _refuse(np.append(False, short), timestamps, "steps shorter than an hour", "resample them to one hour")


def _numbers(column: pd.Series, timestamps: np.ndarray) -> np.ndarray:
    """Convert a column to finite float64. Raises CampaignError."""
    if column.dtype.kind not in "iuf":
        raise CampaignError(f"column {column.name} holds {column.dtype}, not numbers; convert it")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    _refuse(np.isnan(values), timestamps, f"NaN in {column.name}", "fill or remove them")
    _refuse(np.isinf(values), timestamps, f"infinite {column.name}")
    return values


def _refuse(bad: np.ndarray, timestamps: np.ndarray, what: str, cure: str = "correct or remove them") -> None:
    """Raise CampaignError where rows are `bad`, bool (N,): what is wrong, in how many rows, the first one's time, the cure."""
    if bad.any():
        first = str(timestamps[int(bad.argmax())]).replace("T", " ")[:16]
        raise CampaignError(f"{what} in {int(bad.sum())} of {len(bad)} rows, first at {first} UTC; {cure}")


def split_at_gaps(timestamps: np.ndarray, max_gap: int) -> Iterator[slice]:
    """Split rows into sequences at each step longer than `max_gap` hours.

    Args:
        timestamps: datetime64[s] (N,), increasing.
        max_gap: hours.

    Yields:
        The rows of each sequence; none is empty.
    """
    starts = np.flatnonzero(np.diff(timestamps) > max_gap * HOUR) + 1
    for start, end in pairwise([0, *starts.tolist(), len(timestamps)]):
        if end > start:
            yield slice(start, end)
