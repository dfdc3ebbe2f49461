"""List the bars under a directory, and what the campaign would refuse of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bars.reading import find_symbols
from bars.rows import AssetRows, RowRules, choose_symbols, cut_times, read_asset_rows, split_and_fit_scaler
from core.errors import CampaignError
from core.params import read_section
from generate_data import Data

HEAD = ("symbol", "first bar, UTC", "last bar", "bars", "gaps over {} h", "no volume", "largest move", "positive")
TEXT_COLUMNS = 3  # of the table, the first; the others are numbers


def format_time(time: np.datetime64) -> str:
    return str(time).replace("T", " ")[:16]


def describe_symbol(symbol: str, rows: AssetRows) -> tuple[str, ...]:
    """Make a line of the table.

    A move is from close to close of two bars; positive is the share of label 1 among labelled bars.
    """
    counts = (f"{count:,}" for count in (rows.bars, rows.gaps, rows.zero_volume))
    positive = rows.y[rows.y >= 0].mean()
    return symbol, format_time(rows.first), format_time(rows.last), *counts, f"{rows.largest_move:+,.1%}", f"{positive:.1%}"


def lay_out(lines: list[tuple[str, ...]]) -> str:
    """Align the columns: text to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def align(line: tuple[str, ...]) -> str:
        left = [cell.ljust(width) for cell, width in zip(line[:TEXT_COLUMNS], widths, strict=False)]
        right = [cell.rjust(width) for cell, width in zip(line[TEXT_COLUMNS:], widths[TEXT_COLUMNS:], strict=True)]
        return "  ".join(left + right)

    return "\n".join(map(align, lines))


def print_table(assets: Mapping[str, AssetRows], max_gap: int) -> None:
    head = tuple(name.format(max_gap) for name in HEAD)
    print(lay_out([head, *(describe_symbol(symbol, rows) for symbol, rows in assets.items())]))


def print_splits(assets: Mapping[str, AssetRows], shares: Sequence[float], rules: RowRules) -> None:
    """Print the times at which the rows are split by `shares`, and warnings. Raises CampaignError where a split is refused."""
    cuts = cut_times(np.concatenate([rows.timestamps for rows in assets.values()]), shares)
    print(f"validation from {format_time(cuts.val)} UTC, test from {format_time(cuts.test)} UTC")
    for warning in split_and_fit_scaler(list(assets.values()), list(assets), cuts, rules).warnings:
        print(f"warning: {warning}")


def main(root: Path | None = None) -> None:
    """Print a line for each symbol under `root`; None: what data.bars and data.symbols name.

    Raises:
        CampaignError: a symbol would be refused.
    """
    settings = read_section("data", Data)
    symbols = choose_symbols(Path(settings.bars), settings.symbols) if root is None else find_symbols(root)
    root = root or Path(settings.bars)
    rows = dict(zip(symbols, read_asset_rows(root, symbols, settings.row_rules()), strict=True))
    usable = {symbol: result for symbol, result in rows.items() if isinstance(result, AssetRows)}
    refused = [result for result in rows.values() if isinstance(result, str)]
    if usable:
        print_table(usable, settings.max_gap)
    for reason in refused:
        print(f"refused: {reason}")
    if usable:
        print_splits(usable, settings.splits, settings.row_rules())
    if refused:
        found = f"{len(refused)} of {len(symbols)} symbols under {root} would be refused"
        raise CampaignError(f"{found}; mend them, or have data.symbols name the others")
