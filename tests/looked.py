"""Test splits and looks at them, as far as the ledger reads them."""

from pathlib import Path

import numpy as np

from core.files import write_array, write_json
from watch.ledger import Look

HOUR = np.timedelta64(3600, "s")


def write_test(
    directory: Path, *, first: str = "2024-01-01", hours: int = 24 * 30, symbols: tuple[str, ...] = ("AAA", "BBB"), seed: int = 1
) -> Path:
    """Write what the ledger reads of a test split: a price that every hour of the calendar has by itself."""
    times = np.datetime64(first, "s") + np.arange(hours) * HOUR
    closes = 100 + np.sin(times.astype(float) * seed)
    for name, own in {
        "timestamps": np.tile(times, len(symbols)),
        "closes": np.tile(closes, len(symbols)),
        "asset_ids": np.repeat(np.arange(len(symbols), dtype=np.int16), hours),
    }.items():
        write_array(directory / f"test_{name}.npy", own)
    write_json(directory / "asset_id_mapping.json", {symbol: number for number, symbol in enumerate(symbols)})
    write_json(directory / "metadata.json", {"content_hash": f"{first} {hours} {symbols} {seed}"})
    return directory


def look(directory: Path, *, f1: float = 0.3, kind: str = "campaign", **settings: object) -> Look:
    daily = np.random.default_rng(0).normal(0.001, 0.01, 50)
    return Look.at(kind, [directory], settings, {"mlp": f1}, {"mlp": daily})
