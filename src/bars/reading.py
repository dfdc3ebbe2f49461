"""Read hourly bars from parquet files, and refuse bars that cannot be used."""

import contextlib
import dataclasses
import decimal
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bars.cures import quote, refuse_rows
from bars.grid import check_hourly, check_order
from bars.timestamps import HOUR, find_times, is_time_name, simplify, to_utc
from core.errors import CampaignError, join_first, shorten

COLUMNS = ("open", "high", "low", "close", "volume")
SIMULATED_MARKER = "SIMULATED.json"  # file that simulate_market leaves beside its bars
MAX_ROWS = 24 * 366 * 500  # the hours of 500 years; a small file can claim any number of rows
WARM_UP = 100  # bars; the slowest average (Wilder, 14 bars) has forgotten all but (13/14)^86 = 0.2 % of its start
ROUNDING = 1e-9  # of a price; how far adjusted prices may lie outside Low..High
NO_NUMBER = "[^0-9.eE+-]"  # characters, such as of currencies
MAX_BYTES = 2**30  # of the columns that are read, as the file states it; they take some 10 bytes a row each


@dataclasses.dataclass(frozen=True)
class Bars:
    """One asset's bars, oldest first; N bars.

    timestamps: datetime64[s] (N,), UTC, the opening time of the bar; strictly increasing.
    open, high, low, close: float64 (N,), positive, low <= open and close <= high.
    volume: float64 (N,), zero or more.
    extra: further numeric columns by name, float64 (N,), finite from bar `WARM_UP` on; used as features as they are.
    unread: names of the file's other columns.
    """

    timestamps: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    extra: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.timestamps)

    def __getitem__(self, rows: slice) -> "Bars":
        return Bars(
            self.timestamps[rows],
            **{column: getattr(self, column)[rows] for column in COLUMNS},
            extra={name: values[rows] for name, values in self.extra.items()},
            unread=self.unread,
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
        path: parquet file with the bars' opening times (UTC where no zone is given) and Open, High, Low, Close, Volume in any
            letter case. The times are a `timestamp` column, the index, or the only date-time column.
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
        frame, unread = _read_frame(path, extra)
        simulated = (path.parents[2] / SIMULATED_MARKER).is_file() if len(path.parents) > 2 else False
        return bars_from_frame(frame, extra, unread=unread, simulated=simulated)
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


def _read_frame(path: Path, extra: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Read the needed columns, after a check that they fit into memory. Raises as `read_bars` does.

    Returns:
        The frame, and the names of the other columns.
    """
    try:
        with pq.ParquetFile(path) as parquet:
            wanted, unread = _check_contents(parquet, extra)
        return pd.read_parquet(path, columns=wanted), unread
    except (CampaignError, MemoryError):
        raise
    except OSError as error:
        if error.errno is not None:  # the system's; pyarrow gives no number for a bad file
            raise
        reason = error
    except Exception as error:  # a damaged file fails in many ways
        reason = error
    raise CampaignError(f"{path} is not a readable parquet file ({shorten(reason, 160)}); write it again")


def _check_contents(parquet: pq.ParquetFile, extra: Sequence[str]) -> tuple[list[str], list[str]]:
    """Check columns and sizes by the file's metadata. Returns the columns to read, and the others; raises CampaignError."""
    metadata, schema = parquet.metadata, parquet.schema_arrow
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    times = _time_columns(schema, index)
    wanted = [name for name in schema.names if name.lower() in COLUMNS or name in times or name in extra]
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
    return wanted, [name for name in schema.names if name not in wanted and name not in index]


def _time_columns(schema: pa.Schema, index: Sequence[object]) -> set[str]:
    """Name the columns of a file that may hold opening times: of a date-time type, else of a usual name; and times of day."""
    named = {name for name in schema.names if name.lower() == "timestamp"}
    date_times = {field.name for field in schema if pa.types.is_timestamp(field.type)}
    names = {name for name in schema.names if is_time_name(name) and name.lower() not in COLUMNS}
    usual = {name for name in names if not date_times or simplify(name) == "time"}
    return {name for name in named | date_times | usual if name not in index and (name in named or schema.names.count(name) == 1)}


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


def bars_from_frame(
    frame: pd.DataFrame, extra: Sequence[str] = (), *, unread: Sequence[str] = (), simulated: bool = False
) -> Bars:
    """Make bars of a frame, checked as `read_bars` does.

    Args:
        frame: times and columns as `read_bars` wants them in a file.
        extra: names of further columns.
        unread: names of columns that the file has and `frame` lacks.
        simulated: whether the bars are of the simulated market, which may lie in 1970 or in the future.

    Raises:
        CampaignError: the bars cannot be used.
    """
    _check_columns([str(column) for column in frame.columns], extra)
    times = find_times(frame)
    if not len(frame):
        raise CampaignError("the file has no rows; remove the symbol or write its bars")
    timestamps = to_utc(times, simulated=simulated)
    by_name = {str(column).lower(): column for column in frame.columns}
    values = {name: _to_float(frame[by_name[name]]) for name in COLUMNS}
    features = {name: _to_float(frame[name]) for name in extra}
    check_order(timestamps, times, [*values.values(), *features.values()])
    check_hourly(timestamps, times, {name: by_name[name] for name in COLUMNS} | {name: name for name in extra})
    for name, column in values.items():
        refuse_rows(np.isnan(column), timestamps, f"NaN in {by_name[name]}", _fill_cure(name, by_name[name]))
        refuse_rows(np.isinf(column), timestamps, f"infinite {by_name[name]}")
    for name in COLUMNS[:4]:
        refuse_rows(values[name] <= 0, timestamps, f"zero or negative {name.capitalize()}")
    refuse_rows(values["volume"] < 0, timestamps, "negative Volume")
    for name, column in features.items():
        _check_feature(name, column, timestamps)
    used = {str(by_name[name]) for name in COLUMNS} | {*extra, str(times.name)}
    others = [name for name in (*map(str, frame.columns), *unread) if name not in used]
    return Bars(timestamps, **_clip_rounding(values, timestamps), extra=features, unread=tuple(others))


def _to_float(column: pd.Series) -> np.ndarray:
    """Convert a column to float64; decimals to the nearest one. Raises CampaignError."""
    name = shorten(column.name)
    if column.dtype.kind in "iuf":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    objects = column.to_numpy(dtype=object, na_value=None) if column.dtype.kind == "O" else np.empty(0, object)
    if any(isinstance(value, decimal.Decimal) for value in objects):
        with contextlib.suppress(TypeError, ValueError):
            return np.array([np.nan if value is None else float(value) for value in objects])
    if len(objects) and all(value is None for value in objects):
        raise CampaignError(f"column {name} is empty; fill it or remove it")
    raise CampaignError(f"column {name} holds {column.dtype}, not numbers; {_number_cure(column)}")


def _number_cure(column: pd.Series) -> str:
    """Say how to convert a column to numbers."""
    code = f"frame[{quote(column.name)}]"
    if column.dtype.kind == "b":
        return f"convert it: {code} = {code}.astype(float)"
    texts = column.astype(str)
    without_commas, digits = texts.str.replace(",", ""), texts.str.replace(NO_NUMBER, "", regex=True)
    changes = {"": texts, '.str.replace(",", "")': without_commas, f'.str.replace(r"{NO_NUMBER}", "", regex=True)': digits}
    for change, changed in changes.items():
        if len(texts) and pd.to_numeric(changed, errors="coerce").notna().all():
            return f"convert it: {code} = pd.to_numeric({code}.astype(str){change})"
    example = shorten(repr(texts.iloc[0]), 30) if len(texts) else "nothing"
    return f"convert it, or write it again (its first value is {example})"


def _fill_cure(name: str, column: str) -> str:
    cure = f"remove those rows: frame = frame.dropna(subset=[{quote(column)}])"
    return f"fill them with 0 where nothing was traded, or {cure}" if name == "volume" else cure


def _clip_rounding(values: dict[str, np.ndarray], timestamps: np.ndarray) -> dict[str, np.ndarray]:
    """Clip Open and Close to Low..High where they lie outside by rounding, as adjusted prices do.

    Raises:
        CampaignError: they lie further outside, or High is below Low.
    """
    low, high = values["low"], values["high"]
    refuse_rows(high < low * (1 - ROUNDING), timestamps, "High below Low")
    low, high = np.minimum(low, high), np.maximum(low, high)
    clipped = values | {"low": low, "high": high}
    for name in ("open", "close"):
        outside = (values[name] > high * (1 + ROUNDING)) | (values[name] < low * (1 - ROUNDING))
        refuse_rows(outside, timestamps, f"{name.capitalize()} outside Low..High")
        clipped[name] = np.clip(values[name], low, high)
    return clipped


def _check_feature(name: str, values: np.ndarray, timestamps: np.ndarray) -> None:
    """Raise CampaignError where an extra column is not finite after the first `WARM_UP` bars, of which no row is used."""
    infinite = np.isinf(values)
    infinite[:WARM_UP] = False
    refuse_rows(infinite, timestamps, f"infinite {name}")
    empty = ~np.isfinite(values)
    leading = len(values) if empty.all() else int((~empty).argmax())
    what = f"NaN in {name}, not counted those of the first {WARM_UP} bars,"
    empty[:WARM_UP] = False
    if leading == len(values) and empty.any():
        refuse_rows(empty, timestamps, what, f"the column is empty; take {name} out of data.features")
    if leading > WARM_UP:
        cure = f"its first {leading} values are empty; remove rows of the warm-up: frame = frame.iloc[{leading - WARM_UP}:]"
        refuse_rows(empty, timestamps, what, cure)
    code = f"frame[{quote(name)}]"
    refuse_rows(empty, timestamps, what, f"repeat the last known value: {code} = {code}.ffill()")


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
