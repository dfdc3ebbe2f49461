"""Write a report as Markdown.

GitHub shows a table in a column of about 830 pixels: none is wider.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from judge.comparison import Comparison
from judge.names import Roster
from judge.train_record import SettingsRecord
from report.blocks import Block, Bullets, Folded, Paragraph, Picture, Section, Table
from report.sections import arrange
from report.wording import SIMULATED

SPECIAL = re.compile(r"[\\`*<>~$&|]|(?<=\])[(\[:]|(?<![^\W_])_|_(?![^\W_])")  # "a_b" and "[1, 2]" stay as they are


def escape(text: str) -> str:
    """Escape a text so that Markdown shows it as it is: users name symbols and columns."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of plain cells; all columns but the first are aligned right."""
    return "\n".join([_row(head), "|---|" + "---:|" * (len(head) - 1), *map(_row, rows)])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(escape, cells)) + " |"


def bullets(items: Iterable[str]) -> str:
    """Write a list of plain items."""
    return "\n".join(f"- {escape(item)}" for item in items)


def strong(text: str) -> str:
    """Write a plain text in bold."""
    return f"**{escape(text)}**"


def write_block(block: Block) -> str:
    """Write one block; of a picture, what stands in its place."""
    match block:
        case Paragraph():
            return strong(block.text) if block.is_warning else escape(block.text)
        case Bullets():
            return bullets(block.items)
        case Table():
            return f"{escape(block.caption)}:\n\n{table(block.head, block.rows)}"
        case Folded():
            summary = html.escape(block.summary, quote=False)
            return f"<details><summary>{summary}</summary>\n\n{write_blocks(block.blocks)}\n\n</details>"
        case Picture():
            return write_blocks(block.instead)


def write_blocks(blocks: Iterable[Block]) -> str:
    """Write blocks, with an empty line between two."""
    return "\n\n".join(text for text in map(write_block, blocks) if text)


def comparison(result: Comparison, metadata: Mapping[str, Any], roster: Roster, settings: Sequence[SettingsRecord]) -> str:
    """Write the whole comparison.

    Args:
        metadata: data/training_data/metadata.json.
        settings: what the networks were trained with.
    """
    sections = arrange(result, metadata, roster, settings)
    return document("Comparison", result.verdict[0], sections, simulated=result.simulated)


def document(title: str, choice: str, sections: Iterable[Section], *, simulated: bool) -> str:
    """Write sections under a title.

    Args:
        choice: the sentence that stands above all others.
        simulated: whether the bars are, which is said at the top.
    """
    parts = [f"# {title}", *([strong(SIMULATED)] if simulated else []), strong(choice)]
    for section in sections:
        parts += [f"## {section.title}", write_blocks(section.blocks)]
    return "\n\n".join(parts) + "\n"
