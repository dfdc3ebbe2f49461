"""Hourly bars -> scaled rows with labels, split by time.

Every figure a leak would show in is measured on the arrays that were written and stands in metrics/generate_data.json.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from pydantic import Field, field_validator, model_validator
from sklearn.preprocessing import StandardScaler

import stage
from core import features
from core.bars import HOUR, Bars, find_symbols, path_of, read_bars, sequences
from core.errors import CampaignError, few, shown
from core.labels import NO_LABEL, triple_barrier

OUT = Path("data/training_data")
METRICS = Path("metrics/generate_data.json")
SPLITS = ("train", "val", "test")
ARRAYS = ("X", "y", "asset_ids", "timestamps", "returns", "held")
MARKER = "SIMULATED.json"  # left by simulate_market beside its bars
FEWEST_DAYS = 4  # of validation and of test; `core.chance.FEWEST_BLOCKS`, whose imports take longer than this stage
BLOCK = 4096  # rows scaled at a time: what is computed from them stays in the processor's cache


class Data(stage.Settings):
    bars: str = Field(min_length=1)
    symbols: list[str] | None = Field(min_length=1)
    features: list[str] = Field(min_length=1)
    lookback: int = Field(ge=1, le=1000)
    profit: float = Field(gt=0, le=1)
    stop: float = Field(gt=0, lt=1)
    horizon: int = Field(ge=1, le=1000)
    max_gap: int = Field(ge=1, le=10_000)
    splits: list[float] = Field(min_length=3, max_length=3)
    clip: float = Field(gt=0, le=1000)

    @field_validator("features")
    @classmethod
    def _once(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("a list without repetition")
        return names

    @field_validator("splits")
    @classmethod
    def _whole(cls, shares: list[float]) -> list[float]:
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError("three shares above 0 that sum to 1 (train, validation, test)")
        return shares

    @model_validator(mode="after")
    def _simple_names(self) -> "Data":
        for symbol in self.symbols or []:
            if Path(symbol).name != symbol or symbol in (".", ".."):
                raise ValueError(f"data.symbols names {shown(symbol)}; a symbol is a directory's plain name under data.bars")
        return self


@dataclasses.dataclass(frozen=True)
class Rows:
    """One asset's rows after warm-up, oldest first; R rows.

    timestamps: datetime64[s] (R,). X: float64 (R, F), raw. y: int8 (R,), -1 without a label. returns: float32 (R,).
    held: int16 (R,), bars until the trade ended.
    closes_at: datetime64[s] (R,), when the last bar that the label may look at has closed; NaT without a label.
    first, last: opening times of the first and last bar read.
    sequence: int64 (R,), rows of one number follow each other without a break.
    bars, warm_up, gaps, zero_volume: counts: bars read, rows lost to warm-up, breaks, bars without volume.
    largest_move: greatest change of the close from one bar to the next, up or down, a share.
    foreknown: features, and "label", that came out otherwise for one row from bars cut off after it; none but for a leak.
    """

    timestamps: np.ndarray
    X: np.ndarray
    y: np.ndarray
    returns: np.ndarray
    held: np.ndarray
    closes_at: np.ndarray
    sequence: np.ndarray
    bars: int
    warm_up: int
    gaps: int
    zero_volume: int
    largest_move: float
    foreknown: list[str]
    first: np.datetime64
    last: np.datetime64


def asset_rows(
    bars: Bars, *, names: Sequence[str], profit: float, stop: float, horizon: int, max_gap: int, lookback: int
) -> Rows:
    """Features and labels of one asset; nothing crosses a step longer than `max_gap` hours.

    Raises:
        CampaignError: no stretch of bars is long enough for one sample, or a feature is not finite.
    """
    needed = features.WARM_UP + lookback + horizon
    parts, stretches = [], list(sequences(bars.timestamps, max_gap))
    longest = max(stretches, key=lambda rows: rows.stop - rows.start)
    foreknown: list[str] = []
    for number, rows in enumerate(stretches):
        stretch = bars[rows]
        X = features.compute(stretch, names)[features.WARM_UP :]
        y, returns, held = triple_barrier(stretch, profit=profit, stop=stop, horizon=horizon)
        closes_at = np.full(len(stretch), np.datetime64("NaT"), "datetime64[s]")
        closes_at[: max(0, len(stretch) - horizon)] = stretch.timestamps[horizon:] + HOUR
        if rows is longest and len(stretch) > features.WARM_UP + horizon:
            t = (features.WARM_UP + len(stretch) - horizon) // 2
            known = features.compute(stretch[: t + 1], names)[-1]
            label, *_ = triple_barrier(stretch[t : t + horizon + 1], profit=profit, stop=stop, horizon=horizon)
            foreknown = [name for name, differs in zip(names, known != X[t - features.WARM_UP], strict=True) if differs]
            foreknown += ["label"] if label[0] != y[t] else []
        tail = slice(features.WARM_UP, None)
        sequence = np.full(len(X), number)
        parts.append((stretch.timestamps[tail], X, y[tail], returns[tail], held[tail], closes_at[tail], sequence))
    if (most := longest.stop - longest.start) < needed:
        raise CampaignError(
            f"{len(bars)} bars, the longest stretch without a step over {max_gap} h has {most}; at least {needed} are "
            f"needed (warm-up {features.WARM_UP} + lookback {lookback} + horizon {horizon}); add bars or remove the symbol"
        )
    moves = np.diff(bars.close) / bars.close[:-1]
    timestamps, X, y, returns, held, closes_at, sequence = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        found = f"feature {names[column]} is not finite at {timestamps[row]} UTC"
        raise CampaignError(f"{found}; mend its function or the bars, or leave it out")
    return Rows(
        timestamps=timestamps,
        X=X,
        y=y,
        returns=returns,
        held=held,
        closes_at=closes_at,
        sequence=sequence,
        bars=len(bars),
        warm_up=len(bars) - len(X),
        gaps=len(stretches) - 1,
        zero_volume=int((bars.volume == 0).sum()),
        largest_move=float(moves[np.abs(moves).argmax()]),
        foreknown=foreknown,
        first=bars.timestamps[0],
        last=bars.timestamps[-1],
    )


def cut_times(timestamps: np.ndarray, splits: Sequence[float]) -> tuple[np.datetime64, np.datetime64]:
    """The first bar times of validation and test: when `splits` of all assets' rows together have opened.

    Args:
        timestamps: datetime64[s] (R,), rows of all assets in any order.
        splits: shares of train, validation and test.
    """
    ordered = np.sort(timestamps)
    val, test = (ordered[min(len(ordered) - 1, round(len(ordered) * share))] for share in np.cumsum(splits)[:2])
    return val, test


def between(rows: Rows, start: np.datetime64, end: np.datetime64) -> Rows:
    """The rows that open at `start` or later and have closed by `end`, as views; counts, first and last stay the asset's."""
    inside = slice(np.searchsorted(rows.timestamps, start), np.searchsorted(rows.timestamps, end - HOUR, side="right"))
    values = vars(rows).items()
    return dataclasses.replace(rows, **{name: value[inside] for name, value in values if isinstance(value, np.ndarray)})


def ends_sample(rows: Rows, end: np.datetime64, *, lookback: int) -> np.ndarray:
    """Which of one asset's rows in a split that ends at `end` end a sample.

    A sample needs `lookback` rows without a break inside the split, and a label that is known by `end`: a trade that could
    still be open at the cut is left out, whatever became of it (purging; López de Prado 2018, section 7.4.1).

    Args:
        rows: R rows, all of the split.

    Returns:
        bool (R,).
    """
    run = np.arange(len(rows.sequence))
    fresh = np.diff(rows.sequence, prepend=-1) != 0
    age = run - np.maximum.accumulate(np.where(fresh, run, 0))
    return (age >= lookback - 1) & (rows.y >= 0) & (rows.closes_at <= end)


def assemble(assets: Sequence[Rows], cuts: tuple[np.datetime64, np.datetime64], *, lookback: int) -> dict[str, dict[str, Any]]:
    """Cut all assets at the same times.

    Returns:
        For each split: X, a list with float64 (r, F) unscaled of each asset, R rows together, no copies; y int8 (R,) with -1
        where a row ends no sample, asset_ids int16 (R,), timestamps and closes_at datetime64[s] (R,), returns float32 (R,),
        held int16 (R,), and counts of rows that end no sample by reason.
    """
    never, forever = np.datetime64("0001-01-01", "s"), np.datetime64("9999-12-31", "s")
    bounds = {"train": (never, cuts[0]), "val": cuts, "test": (cuts[1], forever)}
    result = {}
    for split, (start, end) in bounds.items():
        columns: dict[str, list[np.ndarray]] = {name: [] for name in (*ARRAYS, "closes_at")}
        lost = {"window_incomplete": 0, "label_unknown": 0, "purged": 0}
        for number, asset in enumerate(assets):
            rows = between(asset, start, end)
            sample = ends_sample(rows, end, lookback=lookback)
            made = {
                "y": np.where(sample, rows.y, NO_LABEL),
                "asset_ids": np.full(len(sample), number, np.int16),
            }
            for name, column in columns.items():
                column.append(made[name] if name in made else getattr(rows, name))
            unknown = rows.y < 0
            purged = ~unknown & ~(rows.closes_at <= end)
            lost["label_unknown"] += int(unknown.sum())
            lost["purged"] += int(purged.sum())
            lost["window_incomplete"] += int((~sample & ~unknown & ~purged).sum())
        result[split] = {name: parts if name == "X" else np.concatenate(parts) for name, parts in columns.items()}
        result[split]["lost"] = lost
    return result


def check_samples(splits: dict[str, dict[str, Any]], symbols: Sequence[str]) -> list[str]:
    """Refuse what cannot be trained on or judged.

    Returns:
        Warnings, one line each.

    Raises:
        CampaignError: a split is empty or has one class, too few days to be judged on, or an asset has no training sample.
    """
    for split, part in splits.items():
        found = np.unique(part["y"][part["y"] >= 0])
        if len(found) < 2:
            what = "no sample" if not len(found) else f"only label {found[0]} in its samples"
            raise CampaignError(f"the {split} split has {what}; add bars, or change data.splits, data.profit or data.stop")
        days = len(np.unique(part["timestamps"][part["y"] >= 0].astype("datetime64[D]")))
        if days < FEWEST_DAYS and split != "train":
            raise CampaignError(
                f"the {split} split has samples on {days} day(s), at least {FEWEST_DAYS} are needed to tell a difference from "
                "chance; add bars, or change data.splits"
            )
    held = {split: np.bincount(p["asset_ids"][p["y"] >= 0], minlength=len(symbols)) for split, p in splits.items()}
    absent = [symbol for symbol, count in zip(symbols, held["train"], strict=True) if not count]
    if absent:
        raise CampaignError(
            f"no training sample for {few(absent)} (bars begin after the train cut, or too few); "
            "list the other symbols in data.symbols, or remove these"
        )
    return [
        f"{few(absent)} {'has' if len(absent) == 1 else 'have'} no sample in {split}: "
        f"{'it is' if len(absent) == 1 else 'they are'} not judged there"
        for split in ("val", "test")
        if (absent := [symbol for symbol, count in zip(symbols, held[split], strict=True) if not count])
    ]


def leak_audit(
    splits: dict[str, dict[str, Any]],
    cuts: tuple[np.datetime64, np.datetime64],
    assets: Sequence[Rows],
    *,
    lookback: int,
    max_gap: int,
) -> dict[str, float]:
    """Measure on the finished arrays what a leak would show in.

    Returns:
        Hours between the newest bar that the scaler, or a label, saw and the first bar of the next split: zero or more.
        Windows that span two assets or a step longer than `max_gap` hours, rows of any asset on the wrong side of a cut, and
        features and labels that changed when the bars after them were cut off (one row of each asset): zero.

    Raises:
        CampaignError: a figure shows a leak.
    """
    first = {split: part["timestamps"].min() for split, part in splits.items()}
    known = {split: part["closes_at"][part["y"] >= 0].max() for split, part in splits.items()}
    crossing = 0
    for part in splits.values():
        ends = np.flatnonzero(part["y"] >= 0)
        step_over = np.diff(part["timestamps"]) > max_gap * HOUR
        breaks = np.cumsum(np.append(0, step_over | (np.diff(part["asset_ids"]) != 0)))
        crossing += int((breaks[ends] != breaks[np.maximum(ends - lookback + 1, 0)]).sum() + (ends < lookback - 1).sum())
    audit = {
        "hours_from_scaler_to_val": float((first["val"] - (splits["train"]["timestamps"].max() + HOUR)) / HOUR),
        "hours_from_train_labels_to_val": float((first["val"] - known["train"]) / HOUR),
        "hours_from_val_labels_to_test": float((first["test"] - known["val"]) / HOUR),
        "windows_across_a_break": crossing,
        "rows_beyond_a_cut": int(
            (splits["train"]["timestamps"] >= cuts[0]).sum()
            + (splits["val"]["timestamps"] < cuts[0]).sum()
            + (splits["val"]["timestamps"] >= cuts[1]).sum()
            + (splits["test"]["timestamps"] < cuts[1]).sum()
        ),
        "values_that_know_the_future": sum(len(rows.foreknown) for rows in assets),
    }
    if ahead := sorted({name for rows in assets for name in rows.foreknown} - {"label"}):
        one = "knows" if len(ahead) == 1 else "know"
        said = f"feature {few(ahead)} {one} the future: otherwise from bars that end with its row"
        raise CampaignError(f"{said}; mend its function in src/core/features.py, or remove it from data.features")
    zero = ("windows_across_a_break", "rows_beyond_a_cut", "values_that_know_the_future")
    if any(audit[name] for name in zero) or min(audit.values()) < 0:
        raise CampaignError(f"leak audit failed, a defect of this program, please report it: {audit}")
    return audit


def blocks(parts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Rows of all `parts` in order, up to `BLOCK` at a time."""
    for part in parts:
        for row in range(0, len(part), BLOCK):
            yield part[row : row + BLOCK]


@np.errstate(over="ignore", invalid="ignore")  # `check_scaler` refuses what overflows
def fit_scaler(parts: Sequence[np.ndarray]) -> StandardScaler:
    """``StandardScaler().fit(np.concatenate(parts))`` to the last bit, without the four copies of all rows that it makes.

    Like there, columns are summed one row after the other and the variance is found by the corrected two-pass algorithm.
    (A single column is summed pairwise there, and only nearly the same here.)

    Args:
        parts: float64 (r, F) each, finite, none empty.

    Source: Chan, Golub, LeVeque, Algorithms for Computing the Sample Variance (1983), equation 1.7.
    """

    def add(total: np.ndarray, block: np.ndarray) -> np.ndarray:
        return np.add.reduce(np.concatenate([total[None], block]))

    count, nothing = np.float64(sum(map(len, parts))), np.zeros(parts[0].shape[1])  # scikit-learn's is no integer either
    mean = functools.reduce(add, blocks(parts), nothing) / count
    drift = squares = nothing
    for block in blocks(parts):
        off = block - mean
        drift, squares = add(drift, off), add(squares, np.square(off))
    variance = (squares - drift**2 / count) / count
    scaler = StandardScaler().fit(parts[0][:1])
    scaler.n_samples_seen_, scaler.mean_, scaler.var_ = count, mean, variance
    scaler.scale_ = np.where(constant(scaler), 1.0, np.sqrt(variance))
    return scaler


@np.errstate(over="ignore", invalid="ignore")
def constant(scaler: StandardScaler) -> np.ndarray:
    """Which columns vary by no more than rounding does, and are not scaled; bool (F,)."""
    noise = scaler.n_samples_seen_ * np.finfo(np.float64).eps
    return scaler.var_ <= noise * scaler.var_ + (noise * scaler.mean_) ** 2


def check_scaler(scaler: StandardScaler, names: Sequence[str]) -> None:
    """Raises CampaignError where a feature of train, F `names`, is constant but for rounding, or too large for float64."""
    finite = np.isfinite(scaler.mean_) & np.isfinite(scaler.var_)
    for unfit, what in ((~finite, "too large to be scaled"), (constant(scaler), "constant")):
        if unfit.any():
            listed = [name for name, wrong in zip(names, unfit, strict=True) if wrong]
            raise CampaignError(f"feature {few(listed)} is {what} in train; remove it from data.features")


def scale(parts: Sequence[np.ndarray], scaler: StandardScaler, clip: float) -> Iterator[np.ndarray]:
    """Rows of all `parts` in order, scaled and clipped: float32 (up to `BLOCK`, F) at a time."""
    for block in blocks(parts):
        yield np.clip((block - scaler.mean_) / scaler.scale_, -clip, clip).astype(np.float32)


def read_rows(
    root: Path, symbols: Sequence[str], settings: Data, read: Callable[[Path, Sequence[str]], Bars] = read_bars
) -> list[Rows | str]:
    """Each symbol's rows, side by side; one line on what is wrong where they cannot be used."""
    extra = features.extra_columns(settings.features)

    def attempt(symbol: str) -> Rows | str:
        path = path_of(root, symbol)
        try:
            return asset_rows(
                read(path, extra),
                names=settings.features,
                profit=settings.profit,
                stop=settings.stop,
                horizon=settings.horizon,
                max_gap=settings.max_gap,
                lookback=settings.lookback,
            )
        except CampaignError as error:
            known = f" (known features: {', '.join(features.KNOWN)})" if extra and "no column" in str(error) else ""
            return (str(error) if str(error).startswith(str(path)) else f"{path}: {error}") + known

    with stage.parallel(len(symbols)) as parallel:
        return parallel(joblib.delayed(attempt)(symbol) for symbol in symbols)


def split_and_scale(
    assets: Sequence[Rows], symbols: Sequence[str], cuts: tuple[np.datetime64, np.datetime64], settings: Data
) -> tuple[dict[str, dict[str, Any]], StandardScaler, list[str]]:
    """What `assemble` makes of the assets, the scaler of train, and warnings. Raises CampaignError where it cannot be used."""
    splits = assemble(assets, cuts, lookback=settings.lookback)
    warnings = check_samples(splits, symbols)
    scaler = fit_scaler(splits["train"]["X"])
    check_scaler(scaler, settings.features)
    return splits, scaler, warnings


def choose_symbols(root: Path, wanted: Sequence[str] | None, symbols: Sequence[str] | None = None) -> list[str]:
    """`symbols`, those under `root` if left out, or the `wanted` ones, sorted. Raises CampaignError when one is not there."""
    symbols = find_symbols(root) if symbols is None else list(symbols)
    if wanted is None:
        return symbols
    if missing := sorted(set(wanted) - set(symbols)):
        raise CampaignError(f"data.symbols names {few(missing)}, not found under {root} (there: {few(symbols, most=20)})")
    return sorted(set(wanted))


def main() -> None:
    settings = stage.read_section("data", Data)
    root = Path(settings.bars)
    symbols = choose_symbols(root, settings.symbols)
    assets = read_rows(root, symbols, settings)
    if bad := [rows for rows in assets if isinstance(rows, str)]:
        count = f"{len(bad)} of {len(symbols)} symbols cannot be used: " if len(symbols) > 1 else ""
        lists = "; python src/check_data.py lists all"
        raise CampaignError(count + few(bad, longest=1000, between="; ", rest=lists))
    cuts = cut_times(np.concatenate([rows.timestamps for rows in assets]), settings.splits)
    splits, scaler, warnings = split_and_scale(assets, symbols, cuts, settings)
    for warning in warnings:
        stage.say(f"generate_data: warning: {warning}")
    audit = leak_audit(splits, cuts, assets, lookback=settings.lookback, max_gap=settings.max_gap)

    digest = hashlib.sha256()
    for split, part in splits.items():
        for name in ARRAYS:
            pieces = scale(part["X"], scaler, settings.clip) if name == "X" else [part[name]]
            stage.write_rows(OUT / f"{split}_{name}.npy", pieces, rows=len(part["y"]), digest=digest)
    pickled = io.BytesIO()
    joblib.dump(scaler, pickled)
    stage.write_bytes(OUT / "scalers.joblib", pickled.getvalue())
    stage.write_json(OUT / "asset_id_mapping.json", {symbol: number for number, symbol in enumerate(symbols)})

    def describe(part: dict[str, Any]) -> dict[str, Any]:
        y = part["y"][part["y"] >= 0]
        return {
            "rows": len(part["y"]),
            "samples": len(y),
            "positives": int(y.sum()),
            "positive_share": float(y.mean()),
            "first_bar": f"{part['timestamps'].min()}Z",
            "last_bar": f"{part['timestamps'].max()}Z",
        }

    described = {split: describe(part) for split, part in splits.items()}
    simulated = (root / MARKER).is_file()
    metadata = {
        "source": root.name,
        "simulated": simulated,
        "assets": symbols,
        "features": settings.features,
        "lookback": settings.lookback,
        "profit": settings.profit,
        "stop": settings.stop,
        "horizon": settings.horizon,
        "max_gap_hours": settings.max_gap,
        "cuts": {"val": f"{cuts[0]}Z", "test": f"{cuts[1]}Z"},
        "splits": described,
        "leak_audit": audit,
        "scaler": {"mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist(), "clip": settings.clip},
        "arrays": {
            "X": "float32 (rows, features), standard deviations from the train mean, clipped",
            "y": "int8 (rows,), 1 profit, 0 stop or neither, -1 the row ends no sample",
            "asset_ids": "int16 (rows,), see asset_id_mapping.json",
            "timestamps": "datetime64[s] (rows,), UTC, opening time of the bar",
            "returns": "float32 (rows,), what the trade paid before costs, share of the entry price; NaN without a label",
            "held": "int16 (rows,), bars until the trade ended; 0 without a label",
            "window": "a sample is the `lookback` rows that end at a row with y >= 0",
        },
    }
    digest.update(json.dumps(metadata).encode())
    stage.write_json(OUT / "metadata.json", metadata | {"content_hash": digest.hexdigest()})
    bars_read = sum(rows.bars for rows in assets)
    lost = {reason: sum(part["lost"][reason] for part in splits.values()) for reason in splits["train"]["lost"]}
    lost = {"warm_up": sum(rows.warm_up for rows in assets)} | lost
    stage.write_json(
        METRICS,
        {
            "assets": len(symbols),
            "bars": bars_read,
            "gaps": sum(rows.gaps for rows in assets),
            "splits": {split: {key: described[split][key] for key in list(described[split])[:4]} for split in SPLITS},
            "bars_without_sample": {
                "share": sum(lost.values()) / bars_read,
                **{f"share_{reason}": count / bars_read for reason, count in lost.items()},
            },
            "leak_audit": audit,
        },
    )
    for split in SPLITS:
        part = described[split]
        stage.say(
            f"generate_data: {split:5} {part['samples']:>9,} samples, {part['positive_share']:.1%} positive, "
            f"{part['first_bar'][:13]}h to {part['last_bar'][:13]}h UTC"
        )


if __name__ == "__main__":
    stage.run(main)
