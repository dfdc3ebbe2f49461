"""Turn hourly bars into scaled rows with labels, split by time.

The figures that a leak would show in are measured on the arrays as they are written, and stand in metrics/generate_data.json.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import core.startup

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from pydantic import Field, field_validator, model_validator
from sklearn.preprocessing import StandardScaler

from bars.durations import measure_durations
from bars.features import extra_columns
from bars.findings import summarise_findings
from bars.labels import DISTANCES, BarrierKind, Barriers
from bars.leak_audit import leak_audit
from bars.reading import SIMULATED_MARKER
from bars.rows import (
    ARRAYS,
    AssetRows,
    Cuts,
    PreparedSplits,
    RowRules,
    SplitRows,
    choose_symbols,
    collect_findings,
    cut_times,
    read_asset_rows,
    split_and_fit_scaler,
)
from bars.scaling import scale
from core.errors import CampaignError, format_value, join_first, print_stderr
from core.files import write_bytes, write_json, write_rows
from core.params import Settings, read_section
from core.run import run

OUT = Path("data/training_data")
METRICS = Path("metrics/generate_data.json")
ARRAY_NOTES = {
    "X": "float32 (rows, features), standard deviations from the train mean, clipped",
    "y": "int8 (rows,), 1 profit, 0 stop or neither, -1 the row ends no sample",
    "asset_ids": "int16 (rows,), see asset_id_mapping.json",
    "timestamps": "datetime64[s] (rows,), UTC, opening time of the bar",
    "returns": "float64 (rows,), what the trade paid before costs, share of the entry price; NaN without a label",
    "held": "int16 (rows,), bars until the trade ended; 0 without a label",
    "closes": "float64 (rows,), closing price of the bar, as in the bars' file",
    "mirrored": "int8 (rows,), as y for the trade with the signs turned, a short one: 1 it would have won",
    "window": "a sample is the `lookback` rows that end at a row with y >= 0",
}


class Data(Settings):
    bars: str = Field(min_length=1)
    symbols: list[str] | None = Field(min_length=1)
    features: list[str] = Field(min_length=1)
    lookback: int = Field(ge=1, le=1000)
    barrier: BarrierKind
    profit: float = Field(gt=0, le=1)
    stop: float = Field(gt=0, lt=1)
    profit_atr: float = Field(gt=0, le=1000)
    stop_atr: float = Field(gt=0, le=1000)
    horizon: int = Field(ge=1, le=1000)
    max_gap: int = Field(ge=1, le=10_000)
    splits: list[float] = Field(min_length=3, max_length=3)
    clip: float = Field(gt=0, le=1000)

    @field_validator("features")
    @classmethod
    def _unique(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("a list without repetition")
        return names

    @field_validator("splits")
    @classmethod
    def _sum_to_one(cls, shares: list[float]) -> list[float]:
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError("three shares above 0 that sum to 1 (train, validation, test)")
        return shares

    @model_validator(mode="after")
    def _plain_symbols(self) -> "Data":
        for symbol in self.symbols or []:
            if Path(symbol).name != symbol or symbol in (".", ".."):
                found = format_value(symbol)
                raise ValueError(f"data.symbols names {found}; a symbol is a directory's plain name under data.bars")
        return self

    def row_rules(self) -> RowRules:
        """Select the settings by which bars become rows."""
        profit, stop = (getattr(self, key) for key in DISTANCES[self.barrier])
        return RowRules(
            features=tuple(self.features),
            barriers=Barriers(self.barrier, profit, stop),
            horizon=self.horizon,
            max_gap=self.max_gap,
            lookback=self.lookback,
        )


def require_usable(rows: Sequence[AssetRows | str]) -> list[AssetRows]:
    """Return the rows of all symbols. Raises CampaignError, naming the first bad ones, where one cannot be used."""
    reasons = [reason for reason in rows if isinstance(reason, str)]
    if reasons:
        count = f"{len(reasons)} of {len(rows)} symbols cannot be used: " if len(rows) > 1 else ""
        rest = "; python src/campaign.py bars lists all"
        raise CampaignError(count + join_first(reasons, max_characters=1000, separator="; ", rest=rest))
    return [asset for asset in rows if isinstance(asset, AssetRows)]


def count_samples(rows: SplitRows) -> dict[str, Any]:
    labels = rows.y[rows.is_sample]
    return {
        "rows": len(rows.y),
        "samples": len(labels),
        "positives": int(labels.sum()),
        "positive_share": float(labels.mean()),
    }


def describe_split(rows: SplitRows) -> dict[str, Any]:
    first, last = rows.timestamps.min(), rows.timestamps.max()
    return count_samples(rows) | {"first_bar": f"{first}Z", "last_bar": f"{last}Z"}


def describe_hours(
    symbols: Sequence[str], assets: Sequence[AssetRows], rules: RowRules, splits: Mapping[str, SplitRows]
) -> dict[str, Any]:
    """Describe how long windows and trades of all samples last, and name the assets whose bars are no hours of trading."""
    timestamps, closes_at, is_sample = (
        np.concatenate([getattr(rows, name) for rows in splits.values()]) for name in ("timestamps", "closes_at", "is_sample")
    )
    durations = measure_durations(timestamps, closes_at, is_sample, lookback=rules.lookback, horizon=rules.horizon)
    longer = [symbol for symbol, rows in zip(symbols, assets, strict=True) if rows.durations.is_longer]
    return dataclasses.asdict(durations) | {"assets_with_longer_bars": longer}


def describe_data(
    root: Path,
    symbols: Sequence[str],
    assets: Sequence[AssetRows],
    rules: RowRules,
    cuts: Cuts,
    splits: Mapping[str, SplitRows],
    scaler: StandardScaler,
    *,
    clip: float,
    audit: Mapping[str, float],
) -> dict[str, Any]:
    """Describe the arrays for whoever reads them: metadata.json, without the content hash."""
    return {
        "source": root.name,
        "simulated": (root / SIMULATED_MARKER).is_file(),
        "assets": symbols,
        "features": list(rules.features),
        "lookback": rules.lookback,
        "barrier": rules.barriers.kind,
        "profit": rules.barriers.profit,
        "stop": rules.barriers.stop,
        "horizon": rules.horizon,
        "max_gap_hours": rules.max_gap,
        "cuts": cuts.describe(),
        "splits": {split: describe_split(rows) for split, rows in splits.items()},
        "hours": describe_hours(symbols, assets, rules, splits),
        "leak_audit": audit,
        "extra_columns": extra_columns(rules.features),
        "scaler": {"mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist(), "clip": clip},
        "arrays": ARRAY_NOTES,
    }


def measure(assets: Sequence[AssetRows], splits: Mapping[str, SplitRows], *, audit: Mapping[str, float]) -> dict[str, Any]:
    """Count what became of the bars: metrics/generate_data.json."""
    bars = sum(rows.bars for rows in assets)
    lost = {
        "warm_up": sum(rows.warm_up for rows in assets),
        "window_incomplete": sum(rows.window_incomplete for rows in splits.values()),
        "label_unknown": sum(rows.label_unknown for rows in splits.values()),
        "purged": sum(rows.purged for rows in splits.values()),
    }
    return {
        "assets": len(assets),
        "bars": bars,
        "gaps": sum(rows.gaps for rows in assets),
        "splits": {split: count_samples(rows) for split, rows in splits.items()},
        "bars_without_sample": {
            "share": sum(lost.values()) / bars,
            **{f"share_{reason}": count / bars for reason, count in lost.items()},
        },
        "leak_audit": audit,
    }


def write_arrays(out: Path, splits: Mapping[str, SplitRows], scaler: StandardScaler, *, clip: float) -> "hashlib._Hash":
    """Write the arrays of all splits, X scaled and clipped. Returns a SHA-256 of their content."""
    digest = hashlib.sha256()
    for split, rows in splits.items():
        for name in ARRAYS:
            pieces = scale(rows.X, scaler, clip) if name == "X" else [getattr(rows, name)]
            write_rows(out / f"{split}_{name}.npy", pieces, rows=len(rows.y), digest=digest)
    return digest


def write_scaler(path: Path, scaler: StandardScaler) -> None:
    pickled = io.BytesIO()
    joblib.dump(scaler, pickled)
    write_bytes(path, pickled.getvalue())


def write_data(
    out: Path,
    root: Path,
    symbols: Sequence[str],
    assets: Sequence[AssetRows],
    rules: RowRules,
    cuts: Cuts,
    prepared: PreparedSplits,
    *,
    clip: float,
) -> dict[str, Any]:
    """Audit the splits, and write them to the directory `out` with all that says what they are.

    Args:
        root: directory of the bars.

    Returns:
        What metadata.json holds, but for the content hash.

    Raises:
        CampaignError: the audit has found a leak.
    """
    splits, scaler, _ = prepared
    audit = leak_audit(splits, cuts, assets, lookback=rules.lookback, max_gap=rules.max_gap)
    digest = write_arrays(out, splits, scaler, clip=clip)
    write_scaler(out / "scalers.joblib", scaler)
    write_json(out / "asset_id_mapping.json", {symbol: number for number, symbol in enumerate(symbols)})
    metadata = describe_data(root, symbols, assets, rules, cuts, splits, scaler, clip=clip, audit=audit)
    digest.update(json.dumps(metadata).encode())
    write_json(out / "metadata.json", metadata | {"content_hash": digest.hexdigest()})
    return metadata


def report_splits(program: str, described: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a line for each split, as metadata.json describes it."""
    for split, of_split in described.items():
        print_stderr(
            f"{program}: {split:5} {of_split['samples']:>9,} samples, {of_split['positive_share']:.1%} positive, "
            f"{of_split['first_bar'][:13]}h to {of_split['last_bar'][:13]}h UTC"
        )


def main() -> None:
    settings = read_section("data", Data)
    root, rules = Path(settings.bars), settings.row_rules()
    symbols = choose_symbols(root, settings.symbols)
    assets = require_usable(read_asset_rows(root, symbols, rules))
    cuts = cut_times(np.concatenate([rows.timestamps for rows in assets]), settings.splits)
    prepared = split_and_fit_scaler(assets, symbols, cuts, rules)
    is_simulated = (root / SIMULATED_MARKER).is_file()
    findings = collect_findings(dict(zip(symbols, assets, strict=True)), simulated=is_simulated)
    for warning in [*prepared.warnings, *summarise_findings(findings)]:
        print_stderr(f"generate_data: warning: {warning}")
    metadata = write_data(OUT, root, symbols, assets, rules, cuts, prepared, clip=settings.clip)
    write_json(METRICS, measure(assets, prepared.splits, audit=metadata["leak_audit"]))
    report_splits("generate_data", metadata["splits"])


if __name__ == "__main__":
    run(main)
