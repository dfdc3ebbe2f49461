"""Adjust bars for splits: prices before a split are divided by its ratio, volumes multiplied."""

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bars.reading import COLUMNS, HOUR, Bars
from core.errors import CampaignError, format_value, join_first, shorten

MIN_CHECKED_RATIO = 1.5  # new shares for an old one, or the inverse; a smaller split is not told from an ordinary move
MAX_RATIO = 10_000
EARLIEST_MIDNIGHT, LATEST_MIDNIGHT = -14 * HOUR, 12 * HOUR  # of a date anywhere on earth, counted from its midnight in UTC
MAX_BYTES = 2**24  # of a file of splits
RATIO = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(?:\s*(?::|/|-?for-?)\s*(\d+(?:\.\d+)?))?")  # 4, 0.25, 3:2, 3/2, 3 for 2
TIME = re.compile(r"((?:1[89]|2\d)\d\d-\d\d-\d\d)(?:[T ]\d\d:\d\d(?::\d\d)?\s*(?:Z|UTC|[+-]\d\d:?\d\d)?)?")


@dataclasses.dataclass(frozen=True)
class Split:
    """A split of one asset.

    timestamp: datetime64[s], UTC; bars that open at it or later have the new prices.
    ratio: new shares for an old one; 4 is a split of 4 for 1, 0.25 a reverse split of 1 for 4.
    is_date: whether `timestamp` is the midnight of a date, of an exchange whose time zone is not known.
    """

    timestamp: np.datetime64
    ratio: float
    is_date: bool = False


# --- adjusting --------------------------------------------------------------------------------------------------------


def adjust_bars(bars: Bars, splits: Sequence[Split]) -> Bars:
    """Divide the prices before each split by its ratio, and multiply the volumes.

    Splits before the second bar and after the last one change nothing. Extra columns stay as they are.

    Args:
        bars: N bars in raw prices.
        splits: in any order.

    Raises:
        CampaignError: as `find_first_bar` does.
    """
    factors = np.ones(len(bars))
    for split in splits:
        factors[: find_first_bar(bars, split)] *= split.ratio
    prices = {name: getattr(bars, name) / factors for name in COLUMNS[:4]}
    return dataclasses.replace(bars, **prices, volume=bars.volume * factors)


def find_first_bar(bars: Bars, split: Split) -> int:
    """Return the position of the first bar in new prices; 0 where the split lies outside the bars.

    A date begins at another hour in each time zone. The first bar that opens on the date in UTC is taken. Where that one
    does not open with the split's jump, bars at the date's beginning elsewhere on earth are tried.

    Raises:
        CampaignError: no such bar opens nearer to the split's price than to the close before, though the split is one of 3
            for 2 or more. Prices are adjusted already, or the split is wrong.
    """
    first = int(np.searchsorted(bars.timestamps, split.timestamp))
    if first in (0, len(bars)):
        return 0
    if abs(math.log(split.ratio)) < math.log(MIN_CHECKED_RATIO):
        return first
    candidates = [first]
    if split.is_date:
        bounds = [split.timestamp + EARLIEST_MIDNIGHT, split.timestamp + LATEST_MIDNIGHT]
        candidates += range(*np.maximum(np.searchsorted(bars.timestamps, bounds), 1).tolist())
    for position in candidates:
        jump = math.log(bars.close[position - 1] / bars.open[position])
        if abs(jump - math.log(split.ratio)) < abs(jump):
            return position
    raise CampaignError(
        f"the split of {format_ratio(split.ratio)} at {format_split_time(split)} is not in the prices, which open there at "
        f"{bars.open[first] / bars.close[first - 1]:.4g} of the Close before; remove the split if the bars are adjusted "
        "already, else correct its time or ratio"
    )


def format_ratio(ratio: float) -> str:
    """Write a ratio as brokers do: "4 for 1", "1 for 4", "1.5 for 1"."""
    return f"{ratio:.6g} for 1" if ratio >= 1 else f"1 for {1 / ratio:.6g}"


def format_split_time(split: Split) -> str:
    return str(split.timestamp)[:10] if split.is_date else f"{str(split.timestamp)[:16].replace('T', ' ')} UTC"


# --- files of splits --------------------------------------------------------------------------------------------------


def read_splits(path: Path) -> dict[str, list[Split]]:
    """Read a file of splits.

    Args:
        path: CSV in UTF-8 with a header and the columns symbol, date or timestamp, and ratio, such as `AAPL,2020-08-31,4`.
            A date is the first day with new prices. A timestamp without a zone is UTC. A ratio is a number or two, as in 3:2.

    Returns:
        The splits of each symbol, in order of time.

    Raises:
        CampaignError: the file cannot be read, or a line of it is no split.
    """
    splits: dict[str, list[Split]] = {}
    for number, symbol, time, ratio in _read_lines(path):
        where = f"{path}, line {number}"
        if not symbol:
            raise CampaignError(f"{where}: no symbol; add it, or remove the line")
        timestamp, is_date = _parse_time(time, where)
        split = Split(timestamp, _parse_ratio(ratio, where), is_date)
        if any(split.timestamp == other.timestamp for other in splits.get(symbol, [])):
            raise CampaignError(f"{where}: a second split of {shorten(symbol)} at {format_split_time(split)}; remove one of them")
        splits.setdefault(symbol, []).append(split)
    return {symbol: sorted(own, key=lambda split: split.timestamp) for symbol, own in splits.items()}


def _read_lines(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Yield number, symbol, time and ratio of each line but the header and empty ones. Raises CampaignError."""
    lines = csv.reader(io.StringIO(_read_text(path), newline=""), skipinitialspace=True)
    try:
        filled = ((lines.line_num, [cell.strip() for cell in line]) for line in lines if any(map(str.strip, line)))
        _, names = next(filled, (0, []))
        columns = _find_columns([name.lower() for name in names], path)
        for number, cells in filled:
            if len(cells) != len(names):
                raise CampaignError(f"{path}, line {number}: {len(cells)} cells below {len(names)} columns; correct the line")
            yield number, *(cells[column] for column in columns)
    except csv.Error as error:
        raise CampaignError(f"{path}, line {lines.line_num}: no CSV ({shorten(error)}); correct the line") from None


def _read_text(path: Path) -> str:
    """Read a text of at most `MAX_BYTES`. Raises CampaignError."""
    try:
        if not path.is_file():
            found = "is no file" if path.exists() else "not found"
            raise CampaignError(f"{path} {found}; name a CSV file with the columns symbol, date and ratio")
        if path.stat().st_size > MAX_BYTES:
            raise CampaignError(f"{path} has {path.stat().st_size:,} bytes, too many for a file of splits; name another file")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CampaignError(f"{path} is no text in UTF-8; save it as CSV in UTF-8") from None
    except PermissionError:
        raise CampaignError(f"{path} may not be read; check the permissions") from None
    except ValueError:  # a null byte in the name
        raise CampaignError(f"{shorten(repr(str(path)))} is no name of a file; name a CSV file") from None


def _find_columns(names: Sequence[str], path: Path) -> tuple[int, int, int]:
    """Find the positions of symbol, time and ratio. Raises CampaignError."""
    times = [name for name in names if name in ("date", "timestamp")]
    if len(times) == 1 and all(names.count(name) == 1 for name in ("symbol", "ratio")):
        return names.index("symbol"), names.index(times[0]), names.index("ratio")
    found = join_first(names, max_entries=10) or "nothing"
    raise CampaignError(f"{path}: the header is {found}; it must name symbol, date or timestamp, and ratio, once each")


def _parse_time(text: str, where: str) -> tuple[np.datetime64, bool]:
    """Parse a date or a time. Returns it in UTC, and whether it is a date. Raises CampaignError."""
    try:
        if not (match := TIME.fullmatch(text)):
            raise ValueError
        time = pd.Timestamp(text)
        time = time if time.tz is None else time.tz_convert("UTC").tz_localize(None)
        return np.datetime64(time.to_datetime64(), "s"), match[1] == text
    except ValueError:  # pandas' errors for days that do not exist and years out of range are such, too
        found = format_value(text)
        raise CampaignError(f"{where}: {found} is no date; write 2020-08-31 or 2020-08-31 13:00+00:00") from None


def _parse_ratio(text: str, where: str) -> float:
    """Parse new shares for old ones, or their quotient. Raises CampaignError."""
    match = RATIO.fullmatch(text)
    new, old = (float(match[1]), float(match[2] or 1)) if match else (0.0, 0.0)
    if not (old > 0 and 1 / MAX_RATIO <= new / old <= MAX_RATIO):
        cure = "write new shares for old ones, such as 4, 3:2 or 1:10"
        raise CampaignError(f"{where}: {format_value(text)} is no ratio of a split from 1/10,000 to 10,000; {cure}")
    if new == old:
        raise CampaignError(f"{where}: a ratio of 1 splits nothing; remove the line")
    return new / old
