"""Say what a report shows, without saying how: `report.markdown` and `report.page` write the same blocks.

Every text is plain: whoever writes a block escapes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Paragraph:
    """A sentence or more. is_warning: not to be missed. is_note: explains what stands above it."""

    text: str
    is_warning: bool = False
    is_note: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table under its caption; the first cell of a row is its header, the others are numbers or a few words."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Folded:
    """Blocks that are hidden behind a summary until someone unfolds them."""

    summary: str
    blocks: Sequence["Block"]


@dataclass(frozen=True)
class Picture:
    """Charts of the page, by their name. instead: what Markdown, which has none, shows in their place."""

    name: str
    instead: Sequence["Block"] = ()


Block = Paragraph | Bullets | Table | Folded | Picture


@dataclass(frozen=True)
class Section:
    """A part of a report under its title; `anchor` is how a link names it."""

    anchor: str
    title: str
    blocks: Sequence[Block]
