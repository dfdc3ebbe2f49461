"""Find in bars what would make labels and features wrong, or a result less sure than it looks."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from bars.adjustment import MAX_RATIO, Split, format_ratio
from bars.durations import Durations
from bars.reading import COLUMNS, HOUR, Bars
from core.errors import join_first

DAY = 24 * HOUR
LEVEL_BARS = 24  # before and after a jump, whose median close is the price level there
MIN_LEVEL_BARS = 7  # a session of an exchange; fewer at the end of the bars do not show a level
MIN_TICKS = 10  # a smaller change is no jump: coins of 0.00000002 halve by one tick
SPLIT_TOLERANCE = 0.045  # of Open over the Close before, against a whole number or its inverse
LEVEL_TOLERANCE = 0.15  # likewise of the level after over the Close before
PRINT_JUMP = 1.5  # Open over the Close before, or the inverse, from which a jump that does not last is a bad print
WICK_FACTOR = 4  # Open and Close over Low, or High over both, from which a bar's extreme is named
CHANGE_PAUSE = 30 * DAY  # a longer step can hide that a symbol was given to another series
CHANGED_JUMP = 1.25  # over such a step, Open over the Close before, or the inverse
LONG_GAP = 14 * DAY  # longer than any holidays
STALE_BARS = 24  # the same prices for so many bars in a row
MAX_ZERO_VOLUME = 0.05  # share of the bars
MIN_BARS = 2000  # a year of sessions, or 12 weeks around the clock
SAME_END = 7 * DAY  # bars that end so close to each other end together

ADJUST = "adjust the prices: python src/campaign.py import FILES --splits detect, or --splits FILE (docs/own-bars.md)"
IGNORE_OVERFLOW = np.errstate(over="ignore", divide="ignore", invalid="ignore")  # a quotient of prices may exceed float64


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found in the bars of a symbol.

    symbol: None where it concerns all symbols together.
    kind: the same words for all findings of a kind.
    what, where, cure: texts; where is a time in UTC, opening of the first bar concerned.
    must_mend: whether it has to be mended before training; else it is a warning.
    """

    symbol: str | None
    kind: str
    what: str
    where: str
    cure: str
    must_mend: bool = False


def format_time(time: np.datetime64) -> str:
    return str(time)[:16].replace("T", " ")


# --- jumps of the price -----------------------------------------------------------------------------------------------


def _log_jumps(bars: Bars) -> np.ndarray:
    """Return the logarithm of each Open but the first over the Close before, 0 for a few ticks; float64 (N - 1,)."""
    opens, closes = bars.open[1:], bars.close[:-1]
    return np.where(np.abs(opens - closes) < MIN_TICKS * _tick(bars), 0, np.log(opens) - np.log(closes))


def _tick(bars: Bars) -> float:
    """Return the smallest change of the price from bar to bar; 0 where there is none."""
    changes = np.abs(np.diff(bars.close))
    return float(changes[changes > 0].min(initial=np.inf)) if changes.any() else 0.0


@IGNORE_OVERFLOW
def find_splits(bars: Bars) -> list[Split]:
    """Find splits of n for 1 and reverse splits of 1 for n, n a whole number, that prices are not adjusted for.

    A bar opens near n times the close before, or its nth part, and the price level of the bars after stays there. Other
    ratios, such as 3 for 2, look like a real move and are not found.
    """
    jumps = np.exp(_log_jumps(bars))
    factors = np.maximum(jumps, 1 / jumps)
    is_near = np.abs(factors / np.maximum(np.rint(factors), 2) - 1) <= SPLIT_TOLERANCE
    positions = (np.flatnonzero(is_near & (factors <= MAX_RATIO)) + 1).tolist()
    ratios = [_nearest_ratio(jumps[position - 1]) for position in positions]
    return [
        Split(bars.timestamps[position], ratio)
        for number, (position, ratio) in enumerate(zip(positions, ratios, strict=True))
        if _level_follows(bars, position, ratio, *_level_bounds(number, positions, ratios, len(bars)))
    ]


def _nearest_ratio(jump: float) -> float:
    """Return the ratio of the split that explains `jump`: from 11 on more than one n is near, and the roundest is taken."""
    factor = max(jump, 1 / jump)
    lowest, highest = factor / (1 + SPLIT_TOLERANCE), factor / (1 - SPLIT_TOLERANCE)
    for unit in (1000, 500, 100, 50, 10, 5):
        n = round(factor / unit) * unit
        if n and lowest <= n <= highest:
            break
    else:
        n = max(2, round(factor))
    return float(n) if jump < 1 else 1 / n


def _level_bounds(number: int, positions: Sequence[int], ratios: Sequence[float], size: int) -> tuple[int, int]:
    """Return where the levels before and after a jump begin and end: not beyond another jump, unless one undoes the other."""
    position = positions[number]
    start, end = max(0, position - LEVEL_BARS), min(size, position + LEVEL_BARS)
    undone = [abs(ratio * ratios[number] - 1) < LEVEL_TOLERANCE for ratio in ratios]
    if number > 0 and not undone[number - 1]:
        start = max(start, positions[number - 1])
    if number + 1 < len(positions) and not undone[number + 1]:
        end = min(end, positions[number + 1])
    return start, end


def _level_follows(bars: Bars, position: int, ratio: float, start: int, end: int) -> bool:
    """Tell whether the price level follows a split's jump at `position`, from the level of bars before to that after."""
    if min(position, len(bars) - position) < MIN_LEVEL_BARS:
        return False
    after = np.median(bars.close[position:end])
    from_close, from_level = (before / after for before in (bars.close[position - 1], np.median(bars.close[start:position])))
    off = from_close / ratio if ratio > 1 else ratio / from_close
    shift = np.log(from_level) / np.log(ratio)  # 1: the level changes as the split says; 0: not at all
    return bool(abs(off - 1) <= LEVEL_TOLERANCE and shift > 0.5)


def _find_jumps(symbol: str, bars: Bars) -> Iterator[Finding]:
    """Name splits, changed series and bad prints."""
    splits = {split.timestamp: split for split in find_splits(bars)}
    for split in splits.values():
        what = f"a split of {format_ratio(split.ratio)}"
        yield Finding(symbol, "split not adjusted for", what, format_time(split.timestamp), ADJUST, must_mend=True)
    is_change = _is_changed_series(bars)
    is_jump = is_change | (np.abs(_log_jumps(bars)) >= np.log(PRINT_JUMP))
    last_print = -LEVEL_BARS
    for position in (np.flatnonzero(is_jump) + 1).tolist():
        if bars.timestamps[position] in splits:
            continue
        if is_change[position - 1]:
            yield _describe_change(symbol, bars, position)
        elif position - last_print >= LEVEL_BARS and _is_undone(bars, position):
            yield _describe_print(symbol, bars, position)
            last_print = position


def _is_changed_series(bars: Bars) -> np.ndarray:
    """Find the steps after which a symbol seems to stand for another series; bool (N - 1,)."""
    return (np.diff(bars.timestamps) > CHANGE_PAUSE) & (np.abs(_log_jumps(bars)) >= np.log(CHANGED_JUMP))


def _describe_change(symbol: str, bars: Bars, position: int) -> Finding:
    time, before = bars.timestamps[position], bars.timestamps[position - 1]
    opens_at = f"{bars.open[position] / bars.close[position - 1]:.2f} of the last Close"
    what = f"opens at {opens_at} after {(time - before) // DAY} days without bars: maybe another series"
    cure = "keep one series under a symbol: leave the older bars out, or name them as another symbol"
    return Finding(symbol, "changed series", what, format_time(time), cure)


def _is_undone(bars: Bars, position: int) -> bool:
    """Tell whether the price level after the jump at `position` is nearer to the level before than to the jump's."""
    before, after = bars.close[max(0, position - LEVEL_BARS) : position], bars.close[position : position + LEVEL_BARS]
    shift = np.log(np.median(after) / np.median(before))
    return bool(shift / np.log(bars.open[position] / bars.close[position - 1]) < 0.5)


def _describe_print(symbol: str, bars: Bars, position: int) -> Finding:
    """Name the price beside the jump at `position` that is farther from the level around it."""
    level = np.median(bars.close[max(0, position - LEVEL_BARS) : position + LEVEL_BARS])
    prices = {("Close", position - 1): bars.close[position - 1], ("Open", position): bars.open[position]}
    (name, bar), price = max(prices.items(), key=lambda entry: abs(np.log(entry[1] / level)))
    what = f"{name} {price:.6g}, {price / level:.2g} times the price around it, is gone a day later"
    return Finding(symbol, "bad print", what, format_time(bars.timestamps[bar]), "correct the bar, or remove it")


def _find_wicks(symbol: str, bars: Bars) -> Iterator[Finding]:
    """Name bars whose High or Low is far from their own Open and Close."""
    bodies = np.minimum(bars.open, bars.close), np.maximum(bars.open, bars.close)
    ticks = MIN_TICKS * _tick(bars)
    is_low = (bodies[0] >= WICK_FACTOR * bars.low) & (bodies[0] - bars.low >= ticks)
    is_high = (bars.high >= WICK_FACTOR * bodies[1]) & (bars.high - bodies[1] >= ticks)
    for bar in np.flatnonzero(is_low | is_high).tolist():
        name, price = ("Low", bars.low[bar]) if is_low[bar] else ("High", bars.high[bar])
        what = f"{name} {price:.6g}, Open {bars.open[bar]:.6g}, Close {bars.close[bar]:.6g}"
        cure = "correct it unless it was traded: it touches a barrier of every trade that is open"
        yield Finding(symbol, "lone High or Low", what, format_time(bars.timestamps[bar]), cure)


# --- time and volume --------------------------------------------------------------------------------------------------


def _find_gaps(symbol: str, bars: Bars) -> Iterator[Finding]:
    """Name the longest step without bars, and count the long ones, but for those at which the series changes."""
    steps = np.where(_is_changed_series(bars), HOUR, np.diff(bars.timestamps))
    count = int((steps > LONG_GAP).sum())
    if count:
        longest = int(steps.argmax())
        what = f"{steps[longest] // DAY} days without bars" + (f", the longest of {count} such gaps" if count > 1 else "")
        cure = "add the bars, unless there was no trade; nothing crosses a step longer than data.max_gap"
        yield Finding(symbol, "long gap", what, format_time(bars.timestamps[longest]), cure)


def _find_stale(symbol: str, bars: Bars) -> Iterator[Finding]:
    """Name stretches of bars whose four prices are those of the bar before."""
    is_copy = np.all([np.diff(getattr(bars, name)) == 0 for name in COLUMNS[:4]], axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_copy, [False]])))
    starts, lengths = edges[::2], edges[1::2] - edges[::2] + 1  # with the bar that is copied
    starts, lengths = starts[lengths >= STALE_BARS], lengths[lengths >= STALE_BARS]
    if len(starts):
        stretches = f"{len(starts)} stretches, the longest of {lengths.max():,}" if len(starts) > 1 else "a row"
        what = f"{lengths.sum():,} bars with the prices of the bar before in {stretches}"
        cure = "remove bars that only fill hours without trades"
        yield Finding(symbol, "stale prices", what, format_time(bars.timestamps[starts[0]]), cure)


def _find_zero_volume(symbol: str, bars: Bars) -> Iterator[Finding]:
    without = bars.volume == 0
    if without.mean() > MAX_ZERO_VOLUME:
        cure = "remove bars that only fill hours without trades, or leave obv_20 and volume_sma_20 out of data.features"
        first = bars.timestamps[int(without.argmax())]
        yield Finding(symbol, "no volume", f"{without.mean():.0%} of the bars have none", format_time(first), cure)


def _find_unfinished(symbol: str, bars: Bars, written: np.datetime64) -> Iterator[Finding]:
    """Name a last bar that had not closed when its file was written."""
    last = bars.timestamps[-1]
    if last + HOUR > written:
        what = f"the last bar's hour was not over when its file was written, {format_time(written)}"
        yield Finding(symbol, "unfinished last bar", what, format_time(last), "remove it, or check the time zone")


# --- all of it --------------------------------------------------------------------------------------------------------


@IGNORE_OVERFLOW
def examine_bars(symbol: str, bars: Bars, written: np.datetime64 | None = None) -> list[Finding]:
    """Find what a user should know of one symbol's bars.

    Args:
        bars: N bars.
        written: datetime64[s], UTC, when their file was written; None where that says nothing, as of a simulated market.
    """
    finders = (_find_jumps, _find_wicks, _find_gaps, _find_stale, _find_zero_volume)
    found = [finding for find in finders for finding in find(symbol, bars)]
    return found if written is None else [*found, *_find_unfinished(symbol, bars, written)]


def find_longer_bars(symbol: str, first: np.datetime64, durations: Durations) -> list[Finding]:
    """Tell how long windows and trades last where a bar is not an hour of trading; at most one finding.

    Args:
        first: opening time of the first bar.
        durations: of the symbol's samples.
    """
    if not durations.is_longer:
        return []
    cure = "read data.lookback and data.horizon as bars, or change them where so many hours are meant"
    return [Finding(symbol, "bars that are not hours, median duration", str(durations), format_time(first), cure)]


def find_short_history(symbol: str, first: np.datetime64, bars: int) -> list[Finding]:
    """Tell whether a symbol has only a few `bars`, from `first` on; at most one finding."""
    if bars >= MIN_BARS:
        return []
    cure = "add older bars: few market phases teach little and judge little"
    return [Finding(symbol, "short history", f"{bars:,} bars, fewer than {MIN_BARS:,}", format_time(first), cure)]


def find_survivorship(last_bars: Mapping[str, np.datetime64]) -> list[Finding]:
    """Tell whether no asset ends before the others; at most one finding.

    Assets that end together, within a week, end with their source. One that ends alone before the others has left the market.

    Args:
        last_bars: opening time of each symbol's last bar.
    """
    ends = np.sort(np.array(list(last_bars.values()), "datetime64[s]"))
    groups = np.split(ends, np.flatnonzero(np.diff(ends) > SAME_END) + 1)
    if len(ends) < 2 or any(len(group) == 1 for group in groups[:-1]):
        return []
    what = f"all {len(ends)} have bars to the end of their source: those that left the market are missing"
    cure = "add assets that were delisted; until then returns look better than they were"
    where = ", ".join(f"{str(group[-1])[:10]} ({len(group)})" for group in groups[::-1])
    return [Finding(None, "no asset that ends early", what, where, cure)]


def time_written(path: Path) -> np.datetime64 | None:
    """Return when a file was written, datetime64[s] in UTC; None where it is not there."""
    try:
        return np.datetime64(int(path.stat().st_mtime), "s")
    except OSError:
        return None


def summarise_findings(findings: Iterable[Finding]) -> list[str]:
    """Make a line of each kind: the first findings, how many more there are, the cure."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    lines = []
    for kind, found in by_kind.items():
        entries = [f"{each.symbol or 'all'} {each.where} ({each.what})" for each in found]
        shown = join_first(entries, max_entries=3, max_characters=160, rest="; python src/campaign.py bars lists all")
        lines.append(f"{kind}: {shown}; {found[0].cure}")
    return lines
