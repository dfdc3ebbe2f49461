"""List the bars under a directory, and what the campaign would refuse of them. For people; no stage runs it.

Usage: python src/check_data.py [ROOT]    (when left out: data.bars and data.symbols of params.yaml)
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # python -P and PYTHONSAFEPATH leave it out
import guard

import argparse
from pathlib import Path

import numpy as np

import stage
from core.bars import find_symbols
from core.errors import CampaignError
from generate_data import Data, Rows, choose_symbols, cut_times, read_rows, split_and_scale


def survey(symbol: str, rows: Rows) -> tuple[str, ...]:
    """One line of the table: a move is from close to close of two bars, positive the share of label 1 among labelled bars."""
    first, last = (str(time).replace("T", " ")[:16] for time in (rows.first, rows.last))
    share = rows.y[rows.y >= 0].mean()
    counts = (f"{count:,}" for count in (rows.bars, rows.gaps, rows.zero_volume))
    return symbol, first, last, *counts, f"{rows.largest_move:+,.1%}", f"{share:.1%}"


def lay_out(lines: list[tuple[str, ...]]) -> str:
    """Columns under each other: three of text, then numbers."""
    text = 3  # columns; the rest are numbers
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        [cell.ljust(width) for cell, width in zip(line[:text], widths[:text], strict=True)]
        + [cell.rjust(width) for cell, width in zip(line[text:], widths[text:], strict=True)]
        for line in lines
    )
    return "\n".join("  ".join(line) for line in aligned)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", nargs="?", type=Path)
    root = parser.parse_args().root
    settings = stage.read_section("data", Data)
    symbols = choose_symbols(Path(settings.bars), settings.symbols) if root is None else find_symbols(root)
    root = Path(settings.bars) if root is None else root
    found = dict(zip(symbols, read_rows(root, symbols, settings), strict=True))
    good = {symbol: rows for symbol, rows in found.items() if isinstance(rows, Rows)}
    bad = [rows for rows in found.values() if isinstance(rows, str)]
    if good:
        gaps = f"gaps over {settings.max_gap} h"
        head = ("symbol", "first bar, UTC", "last bar", "bars", gaps, "no volume", "largest move", "positive")
        print(lay_out([head, *(survey(symbol, rows) for symbol, rows in good.items())]))
    for reason in bad:
        print(f"refused: {reason}")
    if good:
        cuts = cut_times(np.concatenate([rows.timestamps for rows in good.values()]), settings.splits)
        val, test = (str(cut).replace("T", " ")[:16] for cut in cuts)
        print(f"validation from {val} UTC, test from {test} UTC")
        for warning in split_and_scale(list(good.values()), list(good), cuts, settings)[-1]:
            print(f"warning: {warning}")
    if bad:
        found = f"{len(bad)} of {len(symbols)} symbols under {root} would be refused"
        raise CampaignError(f"{found}; mend them, or have data.symbols name the others")


if __name__ == "__main__":
    stage.run(main, takes_arguments=True)
