"""Read tables of bars from files of other tools: CSV, parquet, feather, JSON, and these compressed or in a zip."""

import ast
import csv
import dataclasses
import io
import json
import lzma
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq

from core.errors import CampaignError, join_first, shorten

MAX_BYTES = 2**31  # of a file, and of what a compressed one holds
SNIFFED_LINES = 20
DELIMITERS = ("\t", ";", "|", ",")  # the first one that every line has often enough
MIN_COLUMNS = 5  # time, open, high, low, close
PRICE_NAMES = {"open", "high", "low", "close"}
MULTI_HEADER_NAMES = {"", "price", "ticker", "attributes"}  # of the column levels of yfinance and pandas_datareader
OTHER_FORMATS = {  # first bytes: name, and what to do
    b"\x89HDF": ("an HDF5 file", "write the frame as parquet: frame.to_parquet(…)"),
    b"SQLite format 3": ("a SQLite database", "export the table as CSV"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "save the sheet as CSV"),
    b"%PDF": ("a PDF", "give a table of bars"),
    b"\x80\x03": ("a pickle, which can run any code", "write the frame as parquet: frame.to_parquet(…)"),
    b"\x80\x04": ("a pickle, which can run any code", "write the frame as parquet: frame.to_parquet(…)"),
    b"\x80\x05": ("a pickle, which can run any code", "write the frame as parquet: frame.to_parquet(…)"),
}
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz"}


@dataclasses.dataclass(frozen=True)
class Table:
    """One table of bars as a file holds it; N rows.

    path: the file.
    kind: its format, for the user.
    frame: N rows; columns are named by text. Text of a CSV is not converted.
    has_names: False where columns have no names; they are then "1", "2", …
    symbol: of all rows, where the file says it outside the rows; None where it does not.
    is_zipped: whether the file is a zip.
    member: file inside the zip; else empty.
    """

    path: Path
    kind: str
    frame: pd.DataFrame
    has_names: bool = True
    symbol: str | None = None
    is_zipped: bool = False
    member: str = ""


def normalize(name: object) -> str:
    """Reduce a column's name to small letters and digits: "<OPEN>", "1. open" and "Open" are "open"."""
    return re.sub(r"[\W_]", "", re.sub(r"^\d+\.\s*", "", str(name).lower()))


def read_tables(path: Path, encoding: str = "utf-8") -> list[Table]:
    """Read all tables of a file, whose format is recognised by its content.

    Args:
        path: CSV (also tab or semicolon separated), parquet, feather or JSON; these in gzip, bz2, xz, zstd or a zip.
        encoding: of text without a byte order mark.

    Raises:
        CampaignError: the file is missing, damaged, of another format or too large.
    """
    if not path.exists():
        raise CampaignError(f"{path} not found; name files that are there")
    if path.is_dir():
        raise CampaignError(f"{path} is a directory; name the files in it, such as {path}/*")
    if not path.is_file():
        raise CampaignError(f"{path} is a pipe or a device; write the bars to a file first")
    if path.stat().st_size > MAX_BYTES:
        raise CampaignError(f"{path} has more than {MAX_BYTES / 2**30:g} GiB; split it, and import the parts in one command")
    try:
        tables = list(_read_content(path, path.read_bytes(), encoding))
    except PermissionError:
        raise CampaignError(f"{path} may not be read; check the permissions") from None
    except CampaignError as error:
        raise CampaignError(f"{path}: {error}") from None
    if not any(len(table.frame) for table in tables):
        raise CampaignError(f"{path} holds no rows; leave it out")
    return tables


def _read_content(path: Path, data: bytes, encoding: str) -> Iterator[Table]:
    """Yield the tables of a file's content. Raises CampaignError."""
    if data.startswith(b"PK\x03\x04"):
        yield from _read_zip(path, data, encoding)
        return
    for magic, compression in COMPRESSIONS.items():
        if data.startswith(magic):
            for table in _read_plain(path, _decompress(data, compression), encoding):
                yield dataclasses.replace(table, kind=f"{table.kind} in {compression}")
            return
    yield from _read_plain(path, data, encoding)


def _decompress(data: bytes, compression: str) -> bytes:
    try:
        with (
            lzma.open(io.BytesIO(data)) if compression == "xz" else pa.input_stream(pa.BufferReader(data), compression) as stream
        ):
            content = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, lzma.LZMAError, pa.ArrowException) as error:
        raise CampaignError(f"damaged {compression} ({shorten(error)}); fetch or write it again") from None
    if len(content) > MAX_BYTES:
        raise CampaignError(f"holds more than {MAX_BYTES / 2**30:g} GiB; split it, and import the parts in one command")
    return content


def _read_zip(path: Path, data: bytes, encoding: str) -> Iterator[Table]:
    for name, content in _unzip(data):
        for table in _read_plain(path, content, encoding):
            yield dataclasses.replace(table, kind=f"{table.kind} in zip", is_zipped=True, member=name)


def _unzip(data: bytes) -> list[tuple[str, bytes]]:
    """List names and contents of a zip's files. Raises CampaignError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir() and not _is_hidden(member.filename)]
            if any(member.filename == "[Content_Types].xml" for member in members):
                raise CampaignError("an Excel workbook; save the sheet as CSV")
            if sum(member.file_size for member in members) > MAX_BYTES:
                raise CampaignError(f"holds more than {MAX_BYTES / 2**30:g} GiB; unpack it, and import the parts")
            return [(member.filename, archive.read(member)) for member in members]
    except (CampaignError, MemoryError):
        raise
    except Exception as error:  # a damaged zip fails in many ways; with a password in one more
        raise CampaignError(f"damaged or encrypted zip ({shorten(error)}); fetch it again, or unpack it first") from None


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _read_plain(path: Path, data: bytes, encoding: str) -> list[Table]:
    """Read what is not compressed. Raises CampaignError."""
    for magic, (name, cure) in OTHER_FORMATS.items():
        if data.startswith(magic):
            raise CampaignError(f"{name}; {cure}")
    try:
        if data.startswith(b"PAR1"):
            with pa.BufferReader(data) as buffer:
                _check_size(pq.ParquetFile(buffer).metadata)
            return _tables_of_frame(path, "parquet", pd.read_parquet(io.BytesIO(data)))
        if data.startswith((b"ARROW1", b"FEA1")):
            return _tables_of_frame(path, "feather", pyarrow.feather.read_feather(io.BytesIO(data)))
        if data.startswith(b"\xff\xff\xff\xff"):
            return _tables_of_frame(path, "Arrow stream", pa.ipc.open_stream(data).read_pandas())
    except (CampaignError, MemoryError):
        raise
    except Exception as error:  # a damaged file fails in many ways
        raise CampaignError(f"damaged ({shorten(error, 160)}); fetch or write it again") from None
    text = _decode(data, encoding)
    if text.lstrip()[:1] in ("[", "{"):
        return _read_json(path, text)
    return _read_csv(path, text)


def _check_size(metadata: pq.FileMetaData) -> None:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    if (size := sum(group.total_byte_size for group in groups)) > MAX_BYTES:
        raise CampaignError(f"says its columns take {size:,} bytes; split it, and import the parts in one command")


def _decode(data: bytes, encoding: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif data.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except LookupError:
        raise CampaignError(f"no encoding {encoding!r} is known; such as --encoding gb18030 or cp1252") from None
    except UnicodeDecodeError:
        raise CampaignError(
            f"no text in {encoding}, and no format that is known; name its encoding, as --encoding gb18030"
        ) from None
    if "\0" in text:
        raise CampaignError("no text, and no format that is known; write the bars as CSV or parquet")
    return text


# --- frames -------------------------------------------------------------------------------------------------------------


def _tables_of_frame(path: Path, kind: str, frame: pd.DataFrame) -> list[Table]:
    """Make tables of a frame: index levels become columns, and columns of several symbols become a table each."""
    frame = _name_pairs(frame)
    if frame.columns.nlevels == 2:
        return [Table(path, kind, _flatten(part), symbol=symbol or None) for symbol, part in _split_by_symbol(frame)]
    if frame.columns.nlevels > 2:
        raise CampaignError(f"columns have {frame.columns.nlevels} levels; write a column for each of time, prices and volume")
    return [Table(path, kind, _flatten(frame))]


def _flatten(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn index levels into columns, but for a plain count of rows, and name all columns by text."""
    index = frame.index
    levels = [index.get_level_values(number) for number in range(index.nlevels)]
    names = ["" if name is None else str(name) for name in index.names]
    if index.nlevels == 1 and names == [""] and pd.api.types.is_integer_dtype(index.dtype) and _is_count(index):
        levels, names = [], []
    columns = [level.to_series(index=range(len(frame))) for level in levels]
    columns += [frame.iloc[:, position].reset_index(drop=True) for position in range(frame.shape[1])]
    flat = pd.concat(columns, axis=1) if columns else pd.DataFrame()
    flat.columns = [*names, *("" if name is None else str(name) for name in frame.columns)]
    return flat


def _is_count(index: pd.Index) -> bool:
    """Tell whether an index of whole numbers counts rows, also of a part of a frame; a time is far larger."""
    return len(index) == 0 or (int(index.min()) >= 0 and int(index.max()) < 10**8)


def _name_pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """Restore two column levels from names such as "('Close', 'AAPL')", as libraries without levels write them."""
    pairs = [_parse_pair(name) for name in frame.columns] if frame.columns.nlevels == 1 else []
    if sum(pair is not None for pair in pairs) < len(PRICE_NAMES):
        return frame
    others = [name for name, pair in zip(frame.columns, pairs, strict=True) if pair is None or not pair[1]]  # the index
    if others:
        frame = frame.set_index(others[0])
    restored = frame[[name for name in frame.columns if _parse_pair(name)]]
    restored.columns = pd.MultiIndex.from_tuples([_parse_pair(name) for name in restored.columns])
    restored.index.name = next(iter(_parse_pair(others[0]) or others[:1])) if others else None
    return restored


def _parse_pair(name: object) -> tuple[str, str] | None:
    if isinstance(name, str) and re.fullmatch(r"\((['\"]).*\1, (['\"]).*\2\)", name):
        pair = ast.literal_eval(name)
        if isinstance(pair, tuple) and len(pair) == 2:
            return str(pair[0]), str(pair[1])
    return None


def _split_by_symbol(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Split a frame with two column levels, prices and symbols in either order. Raises CampaignError."""
    levels = [{str(name).lower() for name in frame.columns.get_level_values(number)} for number in (0, 1)]
    prices = [number for number in (0, 1) if levels[number] >= PRICE_NAMES]
    if len(prices) != 1:
        raise CampaignError("columns have two levels, and not exactly one holds Open, High, Low, Close; write one of them")
    symbols = frame.columns.get_level_values(1 - prices[0])
    for symbol in dict.fromkeys(symbols):
        part = frame.loc[:, symbols == symbol]
        yield str(symbol), part.set_axis(part.columns.get_level_values(prices[0]), axis=1)


# --- CSV ----------------------------------------------------------------------------------------------------------------


def _read_csv(path: Path, text: str) -> list[Table]:
    """Read a CSV, every cell as text. Raises CampaignError."""
    lines = [line for line in text[: 2**20].splitlines()[: 3 * SNIFFED_LINES] if line.strip()]
    delimiter = _find_delimiter(lines[-SNIFFED_LINES:] if len(lines) > SNIFFED_LINES else lines[len(lines) // 2 :])
    rows = list(csv.reader(lines, delimiter=delimiter))
    skipped = next((number for number, row in enumerate(rows) if len(row) >= MIN_COLUMNS and not row[0].startswith("#")), None)
    if skipped is None:
        raise CampaignError(f"no table of bars: lines are such as {lines[-1] if lines else ''!r}; give a CSV, parquet or JSON")
    rows = rows[skipped:]
    heads = _count_heads(rows)
    body = _read_cells(text, lines[skipped + heads - 1] if skipped + heads else None, delimiter)
    kind = {"\t": "tab-separated text", ",": "CSV"}.get(delimiter, f"text separated by {delimiter}")
    if heads == 0:
        body.columns = [str(number + 1) for number in range(body.shape[1])]
        return [Table(path, f"{kind} without header", body, has_names=False)]
    names = [[cell.strip() for cell in row] for row in rows[:heads]]
    if heads == 1:
        header, body = _fit(names[0], body)
        return [Table(path, kind, body.set_axis(header, axis=1))]
    if {len(row) for row in names} != {body.shape[1]}:
        raise CampaignError(f"the header names {len(names[0])} columns, rows have {body.shape[1]}; mend the header")
    body = body.set_axis(pd.MultiIndex.from_arrays(names[:2]), axis=1)
    times = body.iloc[:, 0]
    frame = body.iloc[:, 1:].set_index(pd.Index(times, name=names[2][0] if heads == 3 else ""))
    return _tables_of_frame(path, f"{kind} with {heads} header lines", frame)


def _find_delimiter(lines: list[str]) -> str:
    for delimiter in DELIMITERS:
        if lines and all(line.count(delimiter) >= MIN_COLUMNS - 1 for line in lines):
            return delimiter
    return ","


def _count_heads(rows: list[list[str]]) -> int:
    """Count the header lines of a CSV: none, one, or two to three where columns have levels."""
    if len(rows) > 2 and all(row[0].strip().lower() in MULTI_HEADER_NAMES for row in rows[:2]):
        levels = [{cell.strip().lower() for cell in row} for row in rows[:2]]
        if sum(level >= PRICE_NAMES for level in levels) == 1:
            return 2 if any(cell.strip() for cell in rows[2][1:]) else 3
    return 0 if sum(is_number(cell) for cell in rows[0]) >= len(PRICE_NAMES) else 1


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number, with a decimal point or comma."""
    return re.fullmatch(r"\s*[+-]?(\d[\d,.]*|\.\d+)([eE][+-]?\d+)?\s*", cell) is not None


def _read_cells(text: str, last_head: str | None, delimiter: str) -> pd.DataFrame:
    """Read the lines below `last_head`, or all lines for None, as columns of text. Raises CampaignError."""
    if last_head is not None:
        text = text[text.index(last_head) + len(last_head) :]
    text = text.lstrip("\r\n")
    if not text.strip():
        raise CampaignError("holds no rows below the header; leave it out")
    width = len(next(csv.reader([text[: text.find("\n")] if "\n" in text else text], delimiter=delimiter)))
    try:
        names = [str(number) for number in range(width)]
        table = pyarrow.csv.read_csv(
            io.BytesIO(text.encode("utf-8")),
            read_options=pyarrow.csv.ReadOptions(column_names=names),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowInvalid as error:
        raise CampaignError(f"damaged CSV ({shorten(error, 160)}); mend that row, or fetch the file again") from None
    return table.to_pandas()


def _fit(names: list[str], body: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """Fit a header and its rows, of which either may end with delimiters that the other lacks. Raises CampaignError."""
    while len(names) > body.shape[1] and not names[-1]:
        names = names[:-1]
    while len(names) < body.shape[1] and (body.iloc[:, -1] == "").all():
        body = body.iloc[:, :-1]
    if len(names) != body.shape[1]:
        raise CampaignError(f"the header names {len(names)} columns, rows have {body.shape[1]}; mend the header")
    return names, body


# --- JSON ---------------------------------------------------------------------------------------------------------------

WRAPPERS = {"bars", "results", "result", "data", "candles", "rows", "ticks", "list", "klines", "values", "quotes", "ohlcv"}


def _read_json(path: Path, text: str) -> list[Table]:
    """Read JSON, or lines of JSON. Raises CampaignError."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise CampaignError("JSON nested too deeply; write an array of bars") from None
    except ValueError as error:
        try:
            content = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise CampaignError(f"damaged JSON ({shorten(error)}); fetch or write it again") from None
    tables = [
        Table(path, kind, _flatten(frame), has_names, symbol) for kind, frame, has_names, symbol in _find_frames(content, None)
    ]
    if not tables:
        raise CampaignError(
            f"no bars in the JSON ({shorten(text[:300])}); give an array of [time, open, high, low, close, volume]"
        )
    return tables


def _find_frames(content: Any, symbol: str | None, depth: int = 0) -> Iterator[tuple[str, pd.DataFrame, bool, str | None]]:
    """Yield kind, frame, whether columns have names, and symbol for each table in parsed JSON. Raises CampaignError."""
    if depth > 4 or not content:
        return
    if isinstance(content, list):
        if all(isinstance(row, list) for row in content):
            if len({len(row) for row in content}) > 1:
                raise CampaignError("rows of the JSON have different lengths; mend them, or fetch the file again")
            if not any(isinstance(cell, list | dict) for cell in content[0]):
                frame = pd.DataFrame(content)
                frame.columns = [str(number + 1) for number in range(frame.shape[1])]
                yield "JSON arrays", frame, False, symbol
        elif all(isinstance(row, dict) for row in content):
            if any(_has_bars(value) for value in content[0].values()):
                for part in content:
                    yield from _find_frames(part, symbol, depth + 1)
            else:
                yield "JSON records", pd.DataFrame(content), True, symbol
    elif isinstance(content, dict):
        yield from _find_frames_of_object(content, symbol, depth)


def _find_frames_of_object(content: dict[str, Any], symbol: str | None, depth: int) -> Iterator[tuple]:
    """Yield as `_find_frames` does, of a JSON object: columns, pandas' orients, or a wrapper around tables."""
    symbol = _find_symbol(content) or symbol
    if _has_prices(content):
        columns = {key: value for key, value in content.items() if isinstance(value, list | dict)}
        if all(isinstance(value, dict) for value in columns.values()):  # pandas' to_json(): {column: {index: value}}
            frame = pd.DataFrame(columns)
            yield "JSON columns", frame.reset_index(drop=True) if _counts(frame.index) else frame, True, symbol
        elif len({len(value) for value in columns.values()}) == 1:
            yield "JSON columns", pd.DataFrame(columns), True, symbol
        else:
            raise CampaignError("columns of the JSON have different lengths; mend them, or fetch the file again")
    elif isinstance(content.get("data"), list) and isinstance(content.get("columns"), list):  # pandas' orient="split"
        frame = pd.DataFrame(content["data"], columns=content["columns"])
        if "index" in content and not _counts(content["index"]):
            frame.insert(0, "", content["index"])
        yield "JSON split", frame, True, symbol
    elif content and all(isinstance(row, dict) and _has_prices(row) for row in content.values()):  # {time: {column: value}}
        if any(isinstance(value, list | dict) for row in content.values() for value in row.values()):
            for key, value in content.items():
                yield from _find_frames(value, key, depth + 1)
        else:
            frame = pd.DataFrame(list(content.values()))
            frame.insert(0, "", list(content))
            yield "JSON by time", frame, True, symbol
    else:
        for key, value in content.items():
            if _has_bars(value) and key != "schema":  # of pandas' orient="table"
                is_wrapper = key.lower() in WRAPPERS or " " in key  # such as "Time Series (60min)"
                yield from _find_frames(value, symbol if is_wrapper else key, depth + 1)


def _has_prices(content: dict[str, Any]) -> bool:
    names = {normalize(key) for key in content}
    return names >= PRICE_NAMES or names >= {"o", "h", "l", "c"}


def _find_symbol(content: dict[str, Any]) -> str | None:
    """Find the symbol that an object names, also in an object of metadata inside it."""
    for fields in (content, *(value for value in content.values() if isinstance(value, dict))):
        for key, value in fields.items():
            if normalize(key) in ("ticker", "symbol", "pair") and isinstance(value, str) and value:
                return value
    return None


def _has_bars(value: Any) -> bool:
    return bool(value) and (
        isinstance(value, dict) or (isinstance(value, list) and all(isinstance(row, list | dict) for row in value))
    )


def _counts(index: Any) -> bool:
    return [str(value) for value in index] == [str(number) for number in range(len(index))]


def describe_names(table: Table) -> str:
    """List a table's columns, for an error."""
    return join_first((name or "(without a name)" for name in table.frame.columns), max_entries=20)
