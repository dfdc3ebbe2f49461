"""Turn bars into rows with features and labels, and split them by time."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.preprocessing import StandardScaler

from bars import features
from bars.durations import Durations, measure_durations
from bars.findings import Finding, examine_bars, find_longer_bars, find_short_history, find_survivorship, time_written
from bars.labels import DISTANCES, NO_LABEL, Barriers, Trades, triple_barrier
from bars.reading import HOUR, SIMULATED_MARKER, Bars, bars_path, find_symbols, read_bars, split_at_gaps
from bars.scaling import check_scaler, fit_scaler
from core.errors import CampaignError, join_first
from core.fan_out import fan_out
from core.task import Task

ARRAYS = ("X", "y", "asset_ids", "timestamps", "returns", "held", "closes", "mirrored")  # a file each and split, so hashed
RECOMPUTED_ROWS = 24  # before a cut, at least; a feature that looks n bars ahead differs in the last n
LABELS = ("label", "mirrored label")  # what a check calls them
MIN_CUTS = 24  # of an asset; all together take a third of the stage's time
MIN_DAYS = 4  # of validation and of test; as `judge.uncertainty` needs, whose imports take longer than this stage
NO_DATE = np.datetime64("NaT")
FIRST_DATE, LAST_DATE = np.datetime64("0001-01-01", "s"), np.datetime64("9999-12-31", "s")  # before and after any bar
NO_TIME = np.timedelta64(0, "s")


@dataclasses.dataclass(frozen=True)
class RowRules:
    """Say how bars become rows.

    features: F names, each known to `bars.features` or a column of the bars' files.
    barriers: of a trade.
    horizon: bars until a trade is closed.
    max_gap: hours; no window, warm-up or label crosses a longer step.
    lookback: bars of a window.
    """

    features: tuple[str, ...]
    barriers: Barriers
    horizon: int
    max_gap: int
    lookback: int


@dataclasses.dataclass(frozen=True)
class SequenceRows:
    """Rows of one sequence of bars, oldest first, without its warm-up; arrays as in `AssetRows`."""

    timestamps: np.ndarray
    X: np.ndarray
    y: np.ndarray
    returns: np.ndarray
    held: np.ndarray
    mirrored: np.ndarray
    closes: np.ndarray
    closes_at: np.ndarray


class RecomputedRows(NamedTuple):
    """The last R rows before a cut, computed without the bars after it.

    X: float64 (R, F), features before scaling, from the bars up to the cut.
    trades: of the R rows, from those bars and as many more as the last trade may last.
    """

    X: np.ndarray
    trades: Trades


@dataclasses.dataclass(frozen=True)
class FutureCheck:
    """What recomputing rows without later bars has found.

    rows: number of rows recomputed, those of all cuts together.
    values: number of features and labels compared in them.
    changed: by feature, "label" or "mirrored label", the number of values that differ; only what differs is listed.
    """

    rows: int
    values: int
    changed: dict[str, int]


@dataclasses.dataclass(frozen=True)
class AssetRows:
    """Rows of all sequences of one asset, oldest first; R rows.

    timestamps: datetime64[s] (R,), UTC, opening time of the bar.
    X: float64 (R, F), features before scaling.
    y: int8 (R,), label, -1 where there is none.
    returns: float64 (R,), the trade's before costs; NaN without a label.
    held: int16 (R,), bars until the trade ended; 0 without a label.
    mirrored: int8 (R,), label of the mirrored trade, -1 where there is none.
    closes: float64 (R,), closing price of the bar, as in the bars' file.
    closes_at: datetime64[s] (R,), when the last bar that the label may look at has closed; NaT without a label.
    sequence: int64 (R,), number of the sequence.
    bars, warm_up, gaps, zero_volume: numbers of bars read, rows lost to warm-up, breaks, bars without volume.
    largest_move: change of the close over one bar that is largest in size, a share with its sign.
    future_check: what later bars change, as they never should.
    first, last: opening times of the first and last bar read.
    durations: of windows and trades.
    hidden_columns: columns of the file that have the name of a computed feature, which is used.
    findings: what a user should know of the bars.
    """

    timestamps: np.ndarray
    X: np.ndarray
    y: np.ndarray
    returns: np.ndarray
    held: np.ndarray
    mirrored: np.ndarray
    closes: np.ndarray
    closes_at: np.ndarray
    sequence: np.ndarray
    bars: int
    warm_up: int
    gaps: int
    zero_volume: int
    largest_move: float
    future_check: FutureCheck
    first: np.datetime64
    last: np.datetime64
    durations: Durations
    hidden_columns: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


@dataclasses.dataclass(frozen=True)
class Cuts:
    """The times at which all assets' rows are split; datetime64[s].

    val, test: opening times of the first bars of validation and test.
    start, end: train begins and test ends with these; by default with the bars.
    embargo: timedelta64[s]; so long before the next split begins, labels of train and validation must be known.
    """

    val: np.datetime64
    test: np.datetime64
    start: np.datetime64 = FIRST_DATE
    end: np.datetime64 = LAST_DATE
    embargo: np.timedelta64 = NO_TIME

    def describe(self) -> dict[str, str | float]:
        """Describe the cuts for metadata.json; what is left to the bars is left out."""
        bounds = {"start": (self.start, FIRST_DATE), "end": (self.end, LAST_DATE)}
        bounded = {name: f"{time}Z" for name, (time, default) in bounds.items() if time != default}
        embargo = {"embargo_hours": float(self.embargo / HOUR)} if self.embargo else {}
        return {"val": f"{self.val}Z", "test": f"{self.test}Z", **bounded, **embargo}


@dataclasses.dataclass(frozen=True)
class SplitRows:
    """Rows of all assets in one split, one asset after the other; R rows together.

    X: float64 (r, F) of each asset, features before scaling; views, no copies.
    y, mirrored: int8 (R,), labels, -1 where the row ends no sample.
    asset_ids: int16 (R,), position of the asset.
    timestamps, closes_at: datetime64[s] (R,); returns, closes: float64 (R,); held: int16 (R,); as in `AssetRows`.
    window_incomplete, label_unknown, purged: numbers of rows that end no sample, by reason.
    """

    X: list[np.ndarray]
    y: np.ndarray
    asset_ids: np.ndarray
    timestamps: np.ndarray
    closes_at: np.ndarray
    returns: np.ndarray
    held: np.ndarray
    mirrored: np.ndarray
    closes: np.ndarray
    window_incomplete: int
    label_unknown: int
    purged: int

    @property
    def is_sample(self) -> np.ndarray:
        """Which rows end a sample; bool (R,)."""
        return self.y >= 0


class PreparedSplits(NamedTuple):
    """What `split_and_fit_scaler` returns: rows by split, the scaler of train, and warnings of one line each."""

    splits: dict[str, SplitRows]
    scaler: StandardScaler
    warnings: list[str]


# --- one asset ------------------------------------------------------------------------------------------------------


def sequence_rows(bars: Bars, rules: RowRules) -> SequenceRows:
    """Compute features and labels of one sequence of bars; no row where all is warm-up."""
    trades = triple_barrier(bars, rules.barriers, horizon=rules.horizon, atr=find_atr(bars, rules.barriers))
    closes_at = np.full(len(bars), NO_DATE, "datetime64[s]")
    closes_at[: max(0, len(bars) - rules.horizon)] = bars.timestamps[rules.horizon :] + HOUR
    closes_at[trades.labels == NO_LABEL] = NO_DATE
    settled = slice(features.WARM_UP, None)
    return SequenceRows(
        timestamps=bars.timestamps[settled],
        X=features.compute(bars, rules.features)[settled],
        y=trades.labels[settled],
        returns=trades.returns[settled],
        held=trades.held[settled],
        mirrored=trades.mirrored[settled],
        closes=bars.close[settled],
        closes_at=closes_at[settled],
    )


def find_atr(bars: Bars, barriers: Barriers) -> np.ndarray | None:
    """Compute the average true range at each bar, float64 (N,); None where the barriers need none."""
    return features.average_true_range(bars) if barriers.kind == "atr" else None


def find_future_dependent(bars: Bars, rows: SequenceRows, rules: RowRules) -> FutureCheck:
    """Find features and labels that change when later bars are cut off.

    The last rows before each of `choose_cuts` are recomputed and compared to the last bit. A label is compared with its
    trade's return and length. Columns of the files are left out: bars cut off do not change them, whatever they know.

    Args:
        bars: one sequence with at least one labelled row after warm-up.
        rows: what `sequence_rows` makes of it.
    """
    computed = np.isin(rules.features, features.KNOWN)
    names = [*np.array(rules.features)[computed].tolist(), *LABELS]
    counts, recomputed_rows = np.zeros(len(names), np.int64), 0
    for cut in choose_cuts(bars, rules.horizon):
        recomputed = recompute_rows(bars, cut, rules)
        end = cut + 1 - features.WARM_UP
        last = slice(end - len(recomputed.X), end)
        trades = recomputed.trades
        is_other = (
            (rows.y[last] != trades.labels) | (rows.held[last] != trades.held) | differs(rows.returns[last], trades.returns),
            rows.mirrored[last] != trades.mirrored,
        )
        counts += [*(rows.X[last] != recomputed.X)[:, computed].sum(axis=0), *np.sum(is_other, axis=1)]
        recomputed_rows += len(recomputed.X)
    changed = {name: int(count) for name, count in zip(names, counts, strict=True) if count}
    return FutureCheck(rows=recomputed_rows, values=recomputed_rows * len(names), changed=changed)


def differs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Find where two float64 arrays differ in any bit that counts: NaN is NaN's equal."""
    return (one != other) & ~(np.isnan(one) & np.isnan(other))


def choose_cuts(bars: Bars, horizon: int) -> list[int]:
    """Choose the bars after which a sequence is cut off, to recompute the rows before.

    Each hour of the day has a cut, so that a feature that looks one bar ahead in that hour alone is found; or several, where
    there would be fewer than `MIN_CUTS`. They are early, where few bars have to be computed again. Where bars never pause there
    is one every seven bars, through all days of a week. The close moves in the bar after the cut, if it ever does: a return
    of zero over that bar would look like an unknown one. The last labelled row is one more.

    Args:
        bars: one sequence with at least one labelled row after warm-up.
        horizon: bars until a trade is closed.

    Returns:
        Positions of labelled rows after warm-up, increasing.
    """
    labelled = np.arange(features.WARM_UP, len(bars) - horizon)
    moves = bars.close[labelled + 1] != bars.close[labelled]
    hours = bars.timestamps[labelled].astype("datetime64[h]").astype(np.int64) % 24
    traded_hours = list(dict.fromkeys(hours.tolist()))  # in the order in which they first come
    weeks = np.arange(-(-MIN_CUTS // len(traded_hours)))
    cuts = {int(labelled[-1])}
    for number, hour in enumerate(traded_hours):
        with_hour = labelled[(hours == hour) & moves]
        if not len(with_hour):
            with_hour = labelled[hours == hour]
        days = 1 + 7 * (7 * number % 24) // 24 + 7 * weeks  # hour 7 is 7 bars after hour 0, hour 1 is 49
        cuts.update(with_hour[np.minimum(days, len(with_hour) - 1)].tolist())
    return sorted(cuts)


def recompute_rows(bars: Bars, cut: int, rules: RowRules) -> RecomputedRows:
    """Compute the last rows of a sequence that is cut off after bar `cut`.

    There are `RECOMPUTED_ROWS` or, where trades last longer, as many as a trade has bars; fewer after warm-up.

    Args:
        bars: one sequence; at least ``rules.horizon`` bars follow the cut.
        cut: position of the last bar that is known, after warm-up.
    """
    size = min(max(RECOMPUTED_ROWS, rules.horizon), cut + 1 - features.WARM_UP)
    known, traded = bars[: cut + 1], bars[cut + 1 - size : cut + 1 + rules.horizon]
    atr = find_atr(known, rules.barriers)
    trades = triple_barrier(traded, rules.barriers, horizon=rules.horizon, atr=None if atr is None else atr[-size:])
    X = features.compute(known, rules.features)
    return RecomputedRows(X[-size:], Trades(*(column[:size] for column in trades)))


def asset_rows(bars: Bars, rules: RowRules) -> AssetRows:
    """Compute features and labels of one asset; nothing crosses a step longer than ``rules.max_gap``.

    Raises:
        CampaignError: no sequence of bars is long enough for one sample, or a feature is not finite.
    """
    sequences = [bars[rows] for rows in split_at_gaps(bars.timestamps, rules.max_gap)]
    longest = max(range(len(sequences)), key=lambda number: len(sequences[number]))
    _check_length(len(bars), len(sequences[longest]), rules)
    parts = [sequence_rows(sequence, rules) for sequence in sequences]
    names = [field.name for field in dataclasses.fields(SequenceRows)]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    _check_finite(columns["X"], columns["timestamps"], rules.features)
    sequence = np.repeat(np.arange(len(parts)), [len(part.y) for part in parts])
    is_sample = has_window(sequence, rules.lookback) & (columns["y"] >= 0)
    moves = np.diff(bars.close) / bars.close[:-1]
    return AssetRows(
        **columns,
        sequence=sequence,
        bars=len(bars),
        warm_up=len(bars) - len(columns["y"]),
        gaps=len(sequences) - 1,
        zero_volume=int((bars.volume == 0).sum()),
        largest_move=float(moves[np.abs(moves).argmax()]),
        future_check=find_future_dependent(sequences[longest], parts[longest], rules),
        first=bars.timestamps[0],
        last=bars.timestamps[-1],
        durations=measure_durations(
            columns["timestamps"], columns["closes_at"], is_sample, lookback=rules.lookback, horizon=rules.horizon
        ),
        hidden_columns=tuple(name for name in rules.features if name in bars.unread),
    )


def add_findings(rows: AssetRows, symbol: str, bars: Bars, written: np.datetime64 | None) -> AssetRows:
    """Add what was found in the `bars` of a symbol; `written`: when their file was written, None where that is unknown."""
    findings = [*examine_bars(symbol, bars, written), *find_longer_bars(symbol, rows.first, rows.durations)]
    return dataclasses.replace(rows, findings=tuple(findings))


def _check_length(bars: int, longest: int, rules: RowRules) -> None:
    needed = features.WARM_UP + rules.lookback + rules.horizon
    if longest < needed:
        raise CampaignError(
            f"{bars} bars, the longest sequence without a step over {rules.max_gap} h has {longest}; at least {needed} are "
            f"needed (warm-up {features.WARM_UP} + lookback {rules.lookback} + horizon {rules.horizon}); "
            "add bars or remove the symbol"
        )


def _check_finite(X: np.ndarray, timestamps: np.ndarray, names: Sequence[str]) -> None:
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise CampaignError(
            f"feature {names[column]} is not finite at {timestamps[row]} UTC; mend its function or the bars, or leave it out"
        )


def read_asset_rows(
    root: Path,
    symbols: Sequence[str],
    rules: RowRules,
    *,
    read: Callable[[Path, Sequence[str]], Bars] = read_bars,
) -> list[AssetRows | str]:
    """Read each symbol's rows, side by side.

    Args:
        root: directory of the bars.
        read: returns the bars of a file, with the extra columns named.

    Returns:
        One entry a symbol; where it cannot be used a line of text: which file, what is wrong, what to do.
    """
    extra = features.extra_columns(rules.features)
    is_simulated = (root / SIMULATED_MARKER).is_file()  # a simulated market may lie in the future

    def task(symbol: str) -> Task:
        path = bars_path(root, symbol)
        written = None if is_simulated else time_written(path)
        return Task(symbol, _try_to_read, (path,), (path, symbol, rules, extra, written, read))

    return fan_out([task(symbol) for symbol in symbols], here=read is not read_bars)


def _try_to_read(
    copy: Path,
    path: Path,
    symbol: str,
    rules: RowRules,
    extra: Sequence[str],
    written: np.datetime64 | None,
    read: Callable[[Path, Sequence[str]], Bars],
) -> AssetRows | str:
    """Read a symbol's rows, or return the line that says why they cannot be used.

    Args:
        copy: the file. path: its name for people. extra: columns to read beside the usual ones.
        written: as in `add_findings`. read: as in `read_asset_rows`.
    """
    try:
        bars = read(copy, extra)
        return add_findings(asset_rows(bars, rules), symbol, bars, written)
    except CampaignError as error:
        known = f" (known features: {', '.join(features.KNOWN)})" if extra and "no column" in str(error) else ""
        text = str(error).replace(str(copy), str(path))
        return (text if text.startswith(str(path)) else f"{path}: {text}") + known


def collect_findings(assets: Mapping[str, AssetRows], *, simulated: bool) -> list[Finding]:
    """List the findings on each asset and on all together.

    Args:
        assets: by symbol.
        simulated: whether the market is: its histories are as long as was asked for, and none is missing.
    """
    findings = [finding for rows in assets.values() for finding in rows.findings]
    if simulated:
        return findings
    short = (finding for symbol, rows in assets.items() for finding in find_short_history(symbol, rows.first, rows.bars))
    return [*findings, *short, *find_survivorship({symbol: rows.last for symbol, rows in assets.items()})]


def choose_symbols(root: Path, wanted: Sequence[str] | None, symbols: Sequence[str] | None = None) -> list[str]:
    """List the symbols to use, sorted.

    Args:
        root: directory of the bars.
        wanted: those to use; None uses all.
        symbols: those that exist; None looks under `root`.

    Raises:
        CampaignError: a wanted one does not exist, or as `find_symbols` does.
    """
    symbols = find_symbols(root) if symbols is None else list(symbols)
    if wanted is None:
        return symbols
    if missing := sorted(set(wanted) - set(symbols)):
        there = join_first(symbols, max_entries=20)
        raise CampaignError(f"data.symbols names {join_first(missing)}, not found under {root} (there: {there})")
    return sorted(set(wanted))


# --- splits ---------------------------------------------------------------------------------------------------------


def cut_times(timestamps: np.ndarray, splits: Sequence[float]) -> Cuts:
    """Find the times at which the shares `splits` of all assets' rows together have opened.

    Args:
        timestamps: datetime64[s] (R,), rows of all assets in any order.
        splits: shares of train, validation and test.
    """
    ordered = np.sort(timestamps)
    return Cuts(*(ordered[min(len(ordered) - 1, round(len(ordered) * share))] for share in np.cumsum(splits)[:2]))


def rows_between(rows: AssetRows, start: np.datetime64, end: np.datetime64) -> AssetRows:
    """Select the rows that open at `start` or later and have closed by `end`, as views.

    Counts, and the first and last bar, stay those of the whole asset.
    """
    inside = slice(np.searchsorted(rows.timestamps, start), np.searchsorted(rows.timestamps, end - HOUR, side="right"))
    values = vars(rows).items()
    return dataclasses.replace(rows, **{name: value[inside] for name, value in values if isinstance(value, np.ndarray)})


def ends_sample(rows: AssetRows, known_by: np.datetime64, *, lookback: int) -> np.ndarray:
    """Find the rows that end a sample, of one asset in one split.

    A sample needs `lookback` rows of one sequence inside the split, and a label that is known in time. A trade that could
    still be open at the cut is purged, whatever became of it (López de Prado 2018, section 7.4.1).

    Args:
        rows: R rows, all of the split.
        known_by: when labels must be known: at the end of the split, or earlier by the embargo.

    Returns:
        bool (R,).
    """
    return has_window(rows.sequence, lookback) & (rows.y >= 0) & (rows.closes_at <= known_by)


def has_window(sequence: np.ndarray, lookback: int) -> np.ndarray:
    """Find the rows that are at least the `lookback`-th of those that are there of their sequence; bool (R,).

    Args:
        sequence: int64 (R,), number of the sequence of each row.
    """
    position = np.arange(len(sequence))
    starts_sequence = np.diff(sequence, prepend=-1) != 0
    age = position - np.maximum.accumulate(np.where(starts_sequence, position, 0))  # rows of the sequence before
    return age >= lookback - 1


def split_rows(assets: Sequence[AssetRows], cuts: Cuts, *, lookback: int) -> dict[str, SplitRows]:
    """Split the rows of all assets at the same two times: "train", "val" and "test"."""
    before_val, before_test = cuts.val - cuts.embargo, cuts.test - cuts.embargo
    return {
        "train": _rows_of_split(assets, cuts.start, cuts.val, before_val, lookback=lookback),
        "val": _rows_of_split(assets, cuts.val, cuts.test, before_test, lookback=lookback),
        "test": _rows_of_split(assets, cuts.test, cuts.end, cuts.end, lookback=lookback),
    }


def _rows_of_split(
    assets: Sequence[AssetRows], start: np.datetime64, end: np.datetime64, known_by: np.datetime64, *, lookback: int
) -> SplitRows:
    parts = [rows_between(asset, start, end) for asset in assets]
    is_sample = np.concatenate([ends_sample(rows, known_by, lookback=lookback) for rows in parts])
    names = ("y", "mirrored", "timestamps", "closes_at", "returns", "held", "closes")
    columns = {name: np.concatenate([getattr(rows, name) for rows in parts]) for name in names}
    labels, mirrored = columns.pop("y"), columns.pop("mirrored")
    unknown = labels < 0
    purged = ~unknown & ~(columns["closes_at"] <= known_by)
    return SplitRows(
        X=[rows.X for rows in parts],
        y=np.where(is_sample, labels, NO_LABEL),
        mirrored=np.where(is_sample, mirrored, NO_LABEL),
        asset_ids=np.repeat(np.arange(len(parts), dtype=np.int16), [len(rows.y) for rows in parts]),
        **columns,
        window_incomplete=int((~is_sample & ~unknown & ~purged).sum()),
        label_unknown=int(unknown.sum()),
        purged=int(purged.sum()),
    )


def split_and_fit_scaler(
    assets: Sequence[AssetRows], symbols: Sequence[str], cuts: Cuts, rules: RowRules, *, lengths: str = "data.splits"
) -> PreparedSplits:
    """Split the rows of all assets, check the samples, and fit the scaler on train.

    Args:
        lengths: the setting that says how long the splits are, for errors.

    Raises:
        CampaignError: as `check_samples` and `check_scaler` do.
    """
    splits = split_rows(assets, cuts, lookback=rules.lookback)
    warnings = check_samples(splits, symbols, rules.barriers, lengths) + describe_hidden_columns(assets, symbols)
    scaler = fit_scaler(splits["train"].X)
    check_scaler(scaler, rules.features)
    return PreparedSplits(splits, scaler, warnings)


def without_untrained(
    assets: Sequence[AssetRows], symbols: Sequence[str], cuts: Cuts, *, lookback: int
) -> tuple[list[AssetRows], list[str]]:
    """Empty the rows of assets that have no sample in train; the others keep their numbers.

    Returns:
        The rows of all assets, and the symbols of those that were emptied.
    """
    train = split_rows(assets, cuts, lookback=lookback)["train"]
    absent = _assets_without_sample(train, symbols)
    kept = [
        rows_between(rows, LAST_DATE, LAST_DATE) if symbol in absent else rows
        for rows, symbol in zip(assets, symbols, strict=True)
    ]
    return kept, absent


def describe_hidden_columns(assets: Sequence[AssetRows], symbols: Sequence[str]) -> list[str]:
    """Warn of columns of the files that are not used, since a computed feature has their name; one line a column."""
    hidden: dict[str, list[str]] = {}
    for symbol, rows in zip(symbols, assets, strict=True):
        for name in rows.hidden_columns:
            hidden.setdefault(name, []).append(symbol)
    return [
        f"the column {name} of {join_first(having)} is not used: the computed feature {name} hides it; rename the column"
        for name, having in hidden.items()
    ]


def check_samples(splits: Mapping[str, SplitRows], symbols: Sequence[str], barriers: Barriers, lengths: str) -> list[str]:
    """Refuse splits that cannot be trained on or judged.

    An asset without any row is left out on purpose, and not looked for.

    Args:
        lengths: the setting that says how long the splits are.

    Returns:
        Warnings, one line each: assets without a sample in validation or test.

    Raises:
        CampaignError: a split has no sample, one class, or too few days to be judged on; or an asset has no training sample.
    """
    for split, rows in splits.items():
        _check_classes(split, rows, barriers, lengths)
        if split != "train":
            _check_days(split, rows, lengths)
    used = {symbol for number, symbol in enumerate(symbols) if any((rows.asset_ids == number).any() for rows in splits.values())}
    absent = {
        split: [symbol for symbol in _assets_without_sample(rows, symbols) if symbol in used] for split, rows in splits.items()
    }
    if absent["train"]:
        raise CampaignError(
            f"no training sample for {join_first(absent['train'])} (bars begin after the train cut, or too few); "
            "list the other symbols in data.symbols, or remove these"
        )
    return [
        f"{join_first(absent[split])} {'has' if len(absent[split]) == 1 else 'have'} no sample in {split}: "
        f"{'it is' if len(absent[split]) == 1 else 'they are'} not judged there"
        for split in ("val", "test")
        if absent[split]
    ]


def _check_classes(split: str, rows: SplitRows, barriers: Barriers, lengths: str) -> None:
    classes = np.unique(rows.y[rows.is_sample])
    if len(classes) < 2:
        found = "no sample" if not len(classes) else f"only label {classes[0]} in its samples"
        profit, stop = DISTANCES[barriers.kind]
        raise CampaignError(f"the {split} split has {found}; add bars, or change {lengths}, data.{profit} or data.{stop}")


def _check_days(split: str, rows: SplitRows, lengths: str) -> None:
    days = len(np.unique(rows.timestamps[rows.is_sample].astype("datetime64[D]")))
    if days < MIN_DAYS:
        raise CampaignError(
            f"the {split} split has samples on {days} day(s), at least {MIN_DAYS} are needed to tell a difference from chance; "
            f"add bars, or change {lengths}"
        )


def _assets_without_sample(rows: SplitRows, symbols: Sequence[str]) -> list[str]:
    samples = np.bincount(rows.asset_ids[rows.is_sample], minlength=len(symbols))
    return [symbol for symbol, count in zip(symbols, samples, strict=True) if not count]
