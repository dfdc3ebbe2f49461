"""Make rows of new bars as the campaign's data were made, and score them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bars import features
from bars.reading import HOUR, WARM_UP, Bars, bars_path, read_bars, split_at_gaps
from core.errors import CampaignError, join_first
from core.metrics import sigmoid
from learn.dataset import Split
from learn.device import device, prepare_process
from learn.fit import predict
from learn.models import load_model
from serve.model import Recipe

if TYPE_CHECKING:
    from torch import nn

SETTLED = 400  # bars since the sequence began; from then on recursive averages and running sums have forgotten where they began


@dataclasses.dataclass(frozen=True)
class AssetBars:
    """One asset's finished bars, and which of them can be scored.

    X: float32 (R, F), scaled features of the rows after each sequence's warm-up.
    rows: int64 (R,), the bar of each row.
    has_window: bool (R,), whether the row is at least the T-th of its sequence.
    atr: float64 (N,), average true range; None where barriers need none.
    age: int64 (R,), bars of the row's sequence up to it; those of the first one begin with the file.
    """

    symbol: str
    bars: Bars
    X: np.ndarray
    rows: np.ndarray
    has_window: np.ndarray
    age: np.ndarray
    atr: np.ndarray | None

    @property
    def is_settled(self) -> np.ndarray:
        """Which rows have the features that more bars before the first one would give them, but for rounding; bool (R,)."""
        return (self.age >= SETTLED) | (self.rows >= self.age)  # after a break in the bars a sequence begins in any case

    @classmethod
    def of(cls, symbol: str, bars: Bars, recipe: Recipe) -> "AssetBars":
        """Compute the rows of all sequences. Raises CampaignError where a feature is not finite, or no bar has a window."""
        parts, rows, ages = [], [], []
        atr = np.full(len(bars), np.nan) if recipe.barriers.kind == "atr" else None
        for where in split_at_gaps(bars.timestamps, recipe.max_gap):
            sequence = bars[where]
            if atr is not None:
                atr[where] = features.average_true_range(sequence)
            raw = features.compute(sequence, recipe.features)[WARM_UP:]
            if not np.isfinite(raw).all():
                row, column = np.argwhere(~np.isfinite(raw))[0]
                found = f"{symbol}: feature {recipe.features[column]} is not finite at {sequence.timestamps[WARM_UP + row]} UTC"
                raise CampaignError(f"{found}; mend the bars there")
            parts.append(np.clip((raw - recipe.mean) / recipe.scale, -recipe.clip, recipe.clip).astype(np.float32))
            rows.append(np.arange(where.start + WARM_UP, where.start + WARM_UP + len(raw)))
            ages.append(WARM_UP + 1 + np.arange(len(raw)))
        age = np.concatenate(ages)
        has_window = age >= WARM_UP + recipe.lookback
        if not has_window.any():
            needed = WARM_UP + recipe.lookback
            raise CampaignError(
                f"{symbol} has {len(bars)} finished bars, and no {needed} of them without a step over {recipe.max_gap} h "
                f"(warm-up {WARM_UP} + lookback {recipe.lookback}); add older bars"
            )
        return cls(symbol, bars, np.concatenate(parts), np.concatenate(rows), has_window, age, atr)


def read_assets(root: Path, symbols: Sequence[str], recipe: Recipe, now: np.datetime64 | None) -> list[AssetBars]:
    """Read the finished bars of symbols; `now` as `prepare_assets` takes it.

    Raises:
        CampaignError: a symbol's bars cannot be used, or the model never saw it.
    """
    check_known(symbols, recipe, f"under {root}; choose with --symbols")
    extra = features.extra_columns(recipe.features)
    assets = []
    for symbol in symbols:
        path = bars_path(root, symbol)
        bars = read_bars(path, extra)
        seconds = int(path.stat().st_mtime)  # what was not over when the file was written, was written unfinished
        known = None if now is None else min(now, np.datetime64(seconds, "s"))
        assets += prepare_assets({symbol: bars}, recipe, known)
    return assets


def check_known(symbols: Sequence[str], recipe: Recipe, where: str) -> None:
    """Raise CampaignError where the model never saw one of the symbols."""
    if unknown := [symbol for symbol in symbols if symbol not in recipe.asset_ids]:
        known = join_first(list(recipe.asset_ids), max_entries=20)
        raise CampaignError(f"the model never saw {join_first(unknown)}, it knows {known}: {where}")


def prepare_assets(bars: Mapping[str, Bars], recipe: Recipe, now: np.datetime64 | None) -> list[AssetBars]:
    """Leave out unfinished bars, and compute the rows of each asset.

    Args:
        bars: by symbol.
        now: datetime64[s], UTC; a bar is finished an hour after it opened. None: all are, as in a simulated market.

    Raises:
        CampaignError: no bar is finished, or there are too few for one window.
    """
    assets = []
    for symbol, own in bars.items():
        finished = len(own) if now is None else int(np.searchsorted(own.timestamps, now - HOUR, side="right"))
        if not finished:
            raise CampaignError(f"{symbol}: no bar is finished by {now} UTC; check the clock, or the bars' zone")
        assets.append(AssetBars.of(symbol, own[:finished], recipe))
    return assets


def score(
    assets: Sequence[AssetBars], wanted: Mapping[str, np.ndarray], files: Sequence[Path], recipe: Recipe
) -> dict[str, np.ndarray]:
    """Score chosen rows with every network, float64 (S, K) by symbol.

    A window's score does not depend on what is scored with it (`learn.fit.predict`), so that one by one gives the same bits.

    Args:
        wanted: by symbol, bool (R,), which rows; each has a window.
        files: of the S networks.

    Raises:
        CampaignError: a file is no network of this campaign, or not of these features.
    """
    prepare_process()
    labels = [np.where(wanted[asset.symbol], 0, -1).astype(np.int8) for asset in assets]
    ids = [np.full(len(asset.X), recipe.asset_ids[asset.symbol]) for asset in assets]
    split = Split.of(
        np.concatenate([asset.X for asset in assets]),
        np.concatenate(labels),
        np.concatenate(ids),
        lookback=recipe.lookback,
        device=device(),
    )
    scores = np.stack([sigmoid(predict(load_checked(file, recipe).to(split.X.device), split)) for file in files])
    ends = np.cumsum([int(wanted[asset.symbol].sum()) for asset in assets])
    return dict(zip((asset.symbol for asset in assets), np.split(scores, ends[:-1], axis=1), strict=True))


def load_checked(file: Path, recipe: Recipe) -> "nn.Module":
    """Load a network. Raises CampaignError where its shape is not that of the recipe."""
    network, content = load_model(file)
    shape = {"n_features": len(recipe.features), "n_assets": len(recipe.asset_ids), "lookback": recipe.lookback}
    differing = [name for name, size in shape.items() if content["arguments"][name] != size]
    if differing:
        found = ", ".join(f"{name} {content['arguments'][name]}, the data {shape[name]}" for name in differing)
        raise CampaignError(f"{file} has {found}; train and judge it anew: dvc repro")
    return network
