"""Choose the bars to score, score them, and say what is said of each."""

from collections.abc import Mapping, Sequence

import numpy as np

from serve.model import Model
from serve.scoring import AssetBars, score
from serve.signals import Signal, make_signals


def predict(model: Model, assets: Sequence[AssetBars], wanted: Mapping[str, np.ndarray]) -> list[Signal]:
    """Score bars of all assets, ordered by time and symbol.

    Args:
        wanted: by symbol, bool (R,), which rows; each has a window.
    """
    some = [asset for asset in assets if wanted[asset.symbol].any()]
    if not some:
        return []
    scores = score(some, wanted, model.files, model.recipe)
    signals = [signal for asset in some for signal in make_signals(model, asset, wanted[asset.symbol], scores[asset.symbol])]
    return sorted(signals, key=lambda signal: (signal.timestamp, signal.symbol))


def choose_newest(assets: Sequence[AssetBars]) -> dict[str, np.ndarray]:
    """Choose the newest bar of each asset."""
    return {asset.symbol: choose_rows(asset, None) for asset in assets}


def choose_rows(asset: AssetBars, first: np.datetime64 | None) -> np.ndarray:
    """Choose the rows to score, bool (R,): those from a time on, or the last; each has a window."""
    if first is not None:
        return asset.has_window & (asset.bars.timestamps[asset.rows] >= first)
    newest = np.zeros(len(asset.rows), bool)
    newest[-1] = asset.rows[-1] == len(asset.bars) - 1
    return newest & asset.has_window
