"""What is said of each bar: score, probability, call, prices and times; as a table in CSV, JSON lines or parquet."""

import contextlib
import csv
import dataclasses
import fcntl
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bars.reading import HOUR
from core.errors import CampaignError, to_one_line
from core.files import write_bytes, write_text
from serve.calendar import next_opening
from serve.model import Model
from serve.scoring import AssetBars

Row = dict[str, Any]
ENDINGS = (".csv", ".jsonl", ".parquet")
TRADE, NONE = "trade", "none"


@dataclasses.dataclass(frozen=True)
class Signal:
    """A bar's row; times are ISO texts in UTC, prices those of the bars.

    timestamp: when the bar opened. known_from: when it had closed, and not before.
    score: mean over seeds, from 0 to 1. probability: the same after the calibration.
    spread: standard deviation of the seeds' scores; None of one seed.
    call: trade or none, at the threshold for money.
    entry_price: the bar's close. profit_price, stop_price: the barriers; None where they have no distance.
    latest_exit: close of the horizon's last bar, as the asset's bars of late let expect it.
    fingerprint: of the model and what was chosen for it (`serve.model.fingerprint_of`).
    worth_a_trade: whether the report calls the model so.
    """

    timestamp: str
    known_from: str
    symbol: str
    model: str
    score: float
    probability: float
    spread: float | None
    call: str
    entry_price: float
    profit_price: float | None
    stop_price: float | None
    latest_exit: str
    fingerprint: str
    worth_a_trade: bool


COLUMNS = tuple(field.name for field in dataclasses.fields(Signal))


def make_signals(model: Model, asset: AssetBars, wanted: np.ndarray, scores: np.ndarray) -> list[Signal]:
    """Say what is said of chosen rows of an asset.

    Args:
        wanted: bool (R,), K rows. scores: float64 (S, K), of each network.
    """
    recipe, choices, bars = model.recipe, model.choices, asset.bars
    mean = scores.mean(axis=0)
    probabilities = choices.calibration.apply(mean)
    spreads = scores.std(axis=0, ddof=1).tolist() if len(scores) > 1 else [None] * len(mean)
    signals = []
    for place, row in enumerate(asset.rows[wanted]):
        price = float(bars.close[row])
        distance = price if asset.atr is None else float(asset.atr[row])
        is_called = choices.money_threshold is not None and mean[place] >= choices.money_threshold
        signals.append(
            Signal(
                timestamp=_iso(bars.timestamps[row]),
                known_from=_iso(bars.timestamps[row] + HOUR),
                symbol=asset.symbol,
                model=model.title,
                score=float(mean[place]),
                probability=float(probabilities[place]),
                spread=spreads[place],
                call=TRADE if is_called else NONE,
                entry_price=price,
                profit_price=price + recipe.barriers.profit * distance if distance > 0 else None,
                stop_price=price - recipe.barriers.stop * distance if distance > 0 else None,
                latest_exit=_iso(_latest_exit(bars.timestamps, int(row), recipe.horizon)),
                fingerprint=model.fingerprint,
                worth_a_trade=model.worth_a_trade,
            )
        )
    return signals


def _latest_exit(timestamps: np.ndarray, row: int, horizon: int) -> np.datetime64:
    """Return when the last bar of a trade's horizon closes; where that bar is not there yet it is a guess."""
    if row + horizon < len(timestamps):
        return timestamps[row + horizon] + HOUR
    return next_opening(timestamps, row + horizon - len(timestamps) + 1) + HOUR


def _iso(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[s]')}Z"


# --- tables ---------------------------------------------------------------------------------------------------------


def check_ending(path: Path) -> None:
    """Raise CampaignError where no table can be written to a file of that name."""
    if path.suffix not in ENDINGS:
        raise CampaignError(f"{path} has no ending that says how to write it; take one of {', '.join(ENDINGS)}")


def to_text(rows: Sequence[Row], ending: str) -> str:
    """Write rows as CSV with a head, or as JSON lines. Floats keep every digit."""
    if ending == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write rows to a file by its ending, whole or not at all."""
    if path.suffix != ".parquet":
        write_text(path, to_text(rows, path.suffix))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=_schema()), buffer)
    write_bytes(path, buffer.getvalue())


def _schema() -> Any:
    import pyarrow as pa

    types = {"float": pa.float64(), "float | None": pa.float64(), "bool": pa.bool_()}
    return pa.schema(
        [
            (field.name, types.get(str(getattr(field.type, "__name__", field.type)), pa.string()))
            for field in dataclasses.fields(Signal)
        ]
    )


NUMBERS = ("score", "probability", "spread", "entry_price", "profit_price", "stop_price")
NEEDED = ("score", "probability", "entry_price")
TIMES = ("timestamp", "known_from", "latest_exit")


def read_table(path: Path) -> list[Row]:
    """Read rows that `write_table` wrote. Raises CampaignError where the file holds something else."""
    check_ending(path)
    try:
        rows = _read_rows(path)
        for row in rows:
            if tuple(row) != COLUMNS:
                raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
            for name in TIMES:
                np.datetime64(row[name].removesuffix("Z"), "s")
            if not all(isinstance(row[name], float) for name in NEEDED):
                raise ValueError(f"the bar of {row['timestamp']} lacks a number")
        return rows
    except FileNotFoundError:
        raise CampaignError(f"{path} not found; predict writes it with --append") from None
    except OSError:
        raise
    except Exception as error:  # a foreign file fails in many ways
        raise CampaignError(f"{path} holds no predictions ({to_one_line(error)[:160]}); take another file") from None


def _read_rows(path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        return [_from_text(row) for row in reader]


def _from_text(row: Mapping[str, str]) -> Row:
    """Read a row of CSV: numbers, and nothing for None."""
    values: Row = {name: (float(text) if text else None) if name in NUMBERS else text for name, text in row.items()}
    return values | {"worth_a_trade": {"True": True, "False": False}[row["worth_a_trade"]]}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a table for the block, and wait for who has it; the lock is a file beside it, ``.<name>.lock``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def append(path: Path, rows: Sequence[Row]) -> int:
    """Add rows that a table lacks, by symbol, bar and model with its fingerprint; returns how many. Call it under `locked`."""
    present = read_table(path) if path.exists() else []
    known = {key_of(row) for row in present}
    new = [row for row in rows if key_of(row) not in known]
    if new:
        write_table(path, [*present, *new])
    return len(new)


def key_of(row: Row) -> tuple[str, str, str, str]:
    return row["symbol"], row["timestamp"], row["model"], row["fingerprint"]


def last_bars(rows: Sequence[Row], fingerprint: str) -> dict[str, np.datetime64]:
    """Return the newest bar that a table has of each symbol by the model of that fingerprint."""
    last: dict[str, np.datetime64] = {}
    for row in rows:
        if row["fingerprint"] == fingerprint:
            time = np.datetime64(row["timestamp"].removesuffix("Z"), "s")
            last[row["symbol"]] = max(last.get(row["symbol"], time), time)
    return last
