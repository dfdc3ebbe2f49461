"""List the bars under a directory, what is wrong with them, and what the campaign would refuse of them."""

import dataclasses
import json
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bars.findings import Finding, format_time
from bars.reading import SIMULATED_MARKER, find_symbols
from bars.rows import (
    AssetRows,
    Cuts,
    RowRules,
    choose_symbols,
    collect_findings,
    cut_times,
    read_asset_rows,
    split_and_fit_scaler,
)
from core.errors import CampaignError, join_first
from core.params import read_section
from generate_data import Data

HEAD = ("symbol", "first bar, UTC", "last bar", "bars", "gaps over {} h", "no volume", "largest move", "positive")
NARROW_HEAD = ("symbol", "first bar", "last bar", "bars", "gaps\n> {} h", "no\nvolume", "largest\nmove", "positive")
TEXT_COLUMNS = 3  # of the table, the first; the others are numbers
NO_BREAK_SPACE = "\u00a0"
MIN_WIDTH = 40  # columns of a terminal; in a narrower one lines are wrapped by the terminal
FILE_WIDTH = 120  # where the output is no terminal


@dataclasses.dataclass(frozen=True)
class Examination:
    """What there is under `root`.

    assets: by symbol, those that the campaign would use. refused: by symbol, why it would not.
    cuts: times at which rows are split; None where no symbol can be used.
    warnings: lines of the split. split_error: why it would be refused; None where it would not.
    """

    root: Path
    assets: dict[str, AssetRows]
    refused: dict[str, str]
    findings: list[Finding]
    cuts: Cuts | None
    warnings: list[str]
    split_error: str | None


# --- looking ----------------------------------------------------------------------------------------------------------


def examine(root: Path, symbols: Sequence[str], shares: Sequence[float], rules: RowRules) -> Examination:
    """Read the bars of all `symbols` as generate_data will, and split them by `shares`."""
    results = dict(zip(symbols, read_asset_rows(root, symbols, rules), strict=True))
    assets = {symbol: result for symbol, result in results.items() if isinstance(result, AssetRows)}
    cuts, warnings, split_error = None, [], None
    if assets:
        cuts = cut_times(np.concatenate([rows.timestamps for rows in assets.values()]), shares)
        try:
            warnings = split_and_fit_scaler(list(assets.values()), list(assets), cuts, rules).warnings
        except CampaignError as error:
            split_error = str(error)
    return Examination(
        root=root,
        assets=assets,
        refused={symbol: result for symbol, result in results.items() if isinstance(result, str)},
        findings=collect_findings(assets, simulated=(root / SIMULATED_MARKER).is_file()),
        cuts=cuts,
        warnings=warnings,
        split_error=split_error,
    )


def list_problems(found: Examination) -> list[str]:
    """List what has to be mended before training, each with its cure."""
    problems = []
    if found.refused:
        count = f"{len(found.refused)} of {len(found.refused) + len(found.assets)} symbols under {found.root}"
        problems.append(f"{count} would be refused; mend them, or have data.symbols name the others")
    if found.split_error:
        problems.append(found.split_error)
    for kind, findings in group_by_kind(found.findings).items():
        if findings[0].must_mend:
            symbols = dict.fromkeys(finding.symbol for finding in findings)
            problems.append(f"{kind}: {join_first(symbols)} under {found.root}; {findings[0].cure}")
    return problems


def group_by_kind(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Group findings by kind, those that must be mended first."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: not finding.must_mend):
        by_kind.setdefault(finding.kind, []).append(finding)
    return by_kind


# --- text -------------------------------------------------------------------------------------------------------------


def positive_share(rows: AssetRows) -> float:
    """Return the share of label 1 among labelled bars."""
    return float(rows.y[rows.y >= 0].mean())


def describe_symbol(symbol: str, rows: AssetRows) -> tuple[str, ...]:
    """Make a line of the table; a move is from close to close of two bars."""
    times = (format_time(time) for time in (rows.first, rows.last))
    counts = (f"{count:,}" for count in (rows.bars, rows.gaps, rows.zero_volume))
    return symbol, *times, *counts, f"{rows.largest_move:+,.1%}", f"{positive_share(rows):.1%}"


def lay_out(head: Sequence[str], lines: Sequence[tuple[str, ...]]) -> str:
    """Align the columns below their heads of one or two lines: text to the left, numbers to the right."""
    height = 1 + max(name.count("\n") for name in head)
    heads = zip(*(("\n" * (height - 1) + name).split("\n")[-height:] for name in head), strict=True)
    rows = [*heads, *lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def align(line: tuple[str, ...]) -> str:
        left = [cell.ljust(width) for cell, width in zip(line[:TEXT_COLUMNS], widths, strict=False)]
        right = [cell.rjust(width) for cell, width in zip(line[TEXT_COLUMNS:], widths[TEXT_COLUMNS:], strict=True)]
        return "  ".join(left + right)

    return "\n".join(align(row).rstrip() for row in rows)


def write_table(assets: Mapping[str, AssetRows], max_gap: int, width: int) -> str:
    """Write a line for each symbol, without the time of day where that is too wide; else a paragraph."""
    lines = [describe_symbol(symbol, rows) for symbol, rows in assets.items()]
    narrow_lines = [(symbol, first[:10], last[:10], *figures) for symbol, first, last, *figures in lines]
    for head, described in ((HEAD, lines), (NARROW_HEAD, narrow_lines)):
        table = lay_out([name.format(max_gap) for name in head], described)
        if max(map(len, table.splitlines())) <= width:
            return table
    paragraphs = (
        f"{symbol}: {first} to {last}, {bars} bars, {gaps} gaps over {max_gap} h, {zero_volume} without volume, "
        f"largest move {move}, {positive} positive"
        for symbol, first, last, bars, gaps, zero_volume, move, positive in lines
    )
    return "\n".join(wrap(paragraph, width) for paragraph in paragraphs)


def wrap(text: str, width: int, indent: str = "", hanging: str = "  ") -> str:
    """Wrap `text` to `width` columns, the first line indented by `indent`, the others by `hanging` more.

    A number stays beside its unit.
    """
    joined = re.sub(r"(?<=[\d>]) (?=\d|h\b|bars\b|%)", NO_BREAK_SPACE, text)
    options = {"break_long_words": False, "break_on_hyphens": False}
    wrapped = textwrap.fill(joined, width, initial_indent=indent, subsequent_indent=indent + hanging, **options)
    return wrapped.replace(NO_BREAK_SPACE, " ")


def describe_hours(assets: Mapping[str, AssetRows]) -> Iterator[str]:
    """Say how long windows and trades last where bars are hours, a line for all symbols in which they last alike."""
    alike: dict[str, list[str]] = {}
    for symbol, rows in assets.items():
        if not rows.durations.is_longer:
            alike.setdefault(str(rows.durations), []).append(symbol)
    for text, symbols in alike.items():
        where = "" if len(symbols) == len(assets) else f" in {join_first(symbols, max_entries=20)}"
        yield f"median duration{where}: {text}"


def describe_findings(findings: Iterable[Finding], width: int) -> Iterator[str]:
    """Write the findings of each kind below a head, each with symbol, time and text, and their cure."""
    for kind, alike in group_by_kind(findings).items():
        yield f"{'to mend' if alike[0].must_mend else 'warning'}: {kind}"
        names = [finding.symbol or "all" for finding in alike]
        longest = max(map(len, names))
        for name, finding in zip(names, alike, strict=True):
            yield wrap(f"{name.ljust(longest)}  {finding.where}  {finding.what}", width, "  ", " " * (longest + 2))
        yield wrap(f"cure: {alike[0].cure}", width, "  ")


def write_text(found: Examination, max_gap: int, width: int) -> Iterator[str]:
    """Write what was found, for a terminal of `width` columns."""
    if found.assets:
        yield write_table(found.assets, max_gap, width)
    yield from (f"refused: {reason}" for reason in found.refused.values())
    if found.cuts:
        yield wrap(f"validation from {format_time(found.cuts.val)} UTC, test from {format_time(found.cuts.test)} UTC", width)
    yield from (wrap(line, width) for line in describe_hours(found.assets))
    yield from (f"warning: {warning}" for warning in found.warnings)
    yield from describe_findings(found.findings, width)


# --- JSON -------------------------------------------------------------------------------------------------------------


def to_json(found: Examination) -> dict[str, Any]:
    """Gather what was found for scripts; times are UTC, shares and hours plain numbers."""
    return {
        "root": str(found.root),
        "symbols": [symbol_to_json(symbol, rows) for symbol, rows in found.assets.items()],
        "refused": [{"symbol": symbol, "reason": reason} for symbol, reason in found.refused.items()],
        "cuts": None if found.cuts is None else {"val": f"{found.cuts.val}Z", "test": f"{found.cuts.test}Z"},
        "warnings": found.warnings,
        "findings": [dataclasses.asdict(finding) for finding in found.findings],
        "problems": list_problems(found),
    }


def symbol_to_json(symbol: str, rows: AssetRows) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "first_bar": f"{rows.first}Z",
        "last_bar": f"{rows.last}Z",
        "bars": rows.bars,
        "gaps": rows.gaps,
        "bars_without_volume": rows.zero_volume,
        "largest_move": rows.largest_move,
        "positive_share": positive_share(rows),
        "hours": dataclasses.asdict(rows.durations),
    }


# --- all of it --------------------------------------------------------------------------------------------------------


def main(root: Path | None = None, *, as_json: bool = False) -> None:
    """Print what is found under `root`; None: what data.bars and data.symbols name.

    Raises:
        CampaignError: something has to be mended before training.
    """
    settings = read_section("data", Data)
    symbols = choose_symbols(Path(settings.bars), settings.symbols) if root is None else find_symbols(root)
    found = examine(root or Path(settings.bars), symbols, settings.splits, settings.row_rules())
    if as_json:
        print(json.dumps(to_json(found), indent=2))
    else:
        width = max(MIN_WIDTH, shutil.get_terminal_size((FILE_WIDTH, 24)).columns)
        print("\n".join(write_text(found, settings.max_gap, width)))
    if problems := list_problems(found):
        raise CampaignError("; ".join(problems))
