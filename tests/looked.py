"""Test splits and looks at them, as far as the ledger reads them."""

from pathlib import Path

import numpy as np

from core.files import write_json
from watch.ledger import Look

HOUR = np.timedelta64(3600, "s")


def write_test(
    directory: Path,
    *,
    first: str = "2024-01-01",
    hours: int = 24 * 30,
    symbols: tuple[str, ...] = ("AAA", "BBB"),
    simulated: bool = False,
) -> Path:
    """Write what the ledger reads of a test split."""
    start = np.datetime64(first, "s")
    ends = {"first_bar": f"{start}Z", "last_bar": f"{start + (hours - 1) * HOUR}Z"}
    metadata = {"simulated": simulated, "assets": list(symbols), "splits": {"test": ends}}
    write_json(directory / "metadata.json", metadata | {"content_hash": f"{first} {hours} {symbols}"})
    return directory


def look(directory: Path, *, f1: float = 0.3, kind: str = "campaign", **settings: object) -> Look:
    daily = np.random.default_rng(0).normal(0.001, 0.01, 50)
    return Look.at(kind, [directory], settings, {"mlp": f1}, {"mlp": daily})
