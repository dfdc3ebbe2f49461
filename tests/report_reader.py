"""Read reports as those see them who look at them: Markdown as GitHub shows it, pages as a browser does."""

import dataclasses
import re
from collections.abc import Container, Iterator, Sequence
from html import escape, unescape
from html.parser import HTMLParser
from typing import Any

from report.blocks import Block, Bullets, Folded, Paragraph, Section, Table

NAMES_OF_USERS = ["A|B", "*x*", "<b>", "_a_", "`c`", "[d](e)", "~~f~~", "back\\slash", "$g$", "&amp;", "<script>", "h_i", "j-k.l"]


def unescaped(text: str) -> str:
    """What a reader sees: by the rules of CommonMark and GitHub a character after a backslash is itself."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Replace names in `value`, keys too."""
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **{key: renamed(entry, names) for key, entry in fields.items()})
    if isinstance(value, dict):
        return {renamed(key, names): renamed(entry, names) for key, entry in value.items()}
    if isinstance(value, list):
        return [renamed(entry, names) for entry in value]
    return names.get(value, value) if isinstance(value, str) else value


def tables(text: str) -> Iterator[tuple[str, str, list[list[str]]]]:
    """Yield of each table its section, its caption, and its cells by row as a reader sees them."""
    section = caption = ""
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([unescaped(cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            yield section, caption, rows
            rows = []
        section = line[3:] if line.startswith("## ") else section
        caption = line.removesuffix(":") if line.endswith(":") else caption


def named(text: str) -> dict[str, list[dict[str, str]]]:
    """The tables of a report by their captions, a dict a row."""
    found = {caption: [dict(zip(head, row, strict=True)) for row in rows] for _, caption, (head, _, *rows) in tables(text)}
    assert len(found) == len(list(tables(text))), "no two have the same caption"
    return found


def check_widths(text: str, wrapping: Container[str] = ()) -> None:
    """Assert that GitHub shows every table whole, in a column of 830 pixels.

    A letter is about 8.5 of them, a cell's padding 27, and only words of heads, of first cells and of columns in `wrapping` wrap.
    """
    for section, _, (head, _, *rows) in tables(text):
        words = [max(map(len, name.split())) for name in head]
        cells = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for n, name in enumerate(head):
            if n == 0 or name in wrapping:
                cells[n] = max(len(word) for row in rows for word in row[n].split())
        width = sum(8.5 * max(pair) + 27 for pair in zip(words, cells, strict=True))
        assert width < 830, f"{section}: {head}"
    assert set(re.findall(r"</?(\w+)", re.sub(r"\\<", "", text))) <= {"details", "summary"}, "GitHub strips most other elements"


class Reader(HTMLParser):
    """Collects what a page would load, whether every element is closed, and what is kept together on paper."""

    VOID = frozenset({"meta", "link", "br", "line", "circle", "rect"})

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.kept: list[list[str]] = []  # for each element with class keep, the elements in it
        self.depths: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for kept in self.kept[len(self.kept) - len(self.depths) :]:
            kept += [tag, dict(attrs).get("class") or ""]
        if dict(attrs).get("class") == "keep":
            assert not self.depths, "one in another"
            self.kept.append([])
            self.depths.append(len(self.open))
        self.loaded += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if self.depths and self.depths[-1] == len(self.open):
            self.depths.pop()


def page_tables(text: str) -> dict[str, list[dict[str, str]]]:
    """Read the tables by caption, a dict a row."""
    found = {}
    for caption, table in re.findall(r'<p class="note caption">(.*?)</p>.*?(<table.*?</table>)', text):
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)]
        head, *rows = [[unescape(re.sub(r"<[^>]*>", "", cell)) for cell in row] for row in cells]
        found[unescape(caption)] = [dict(zip(head, row, strict=True)) for row in rows]
    return found


def charts(text: str) -> dict[str, str]:
    """The SVG of each chart by its caption."""
    return dict(re.findall(r"<figcaption>(.*?)</figcaption>(<svg.*?</svg>)", text))


def check_page(text: str, sections: Sequence[Section]) -> None:
    """Assert that a page says what the blocks say: tables cell by cell, but those that a picture stands for; every sentence."""
    shown = page_tables(text)

    def check(blocks: Sequence[Block]) -> None:
        for block in blocks:
            match block:
                case Table():
                    assert [list(row.values()) for row in shown[block.caption]] == [list(row) for row in block.rows]
                    assert list(shown[block.caption][0]) == list(block.head)
                case Folded():
                    assert f"<details><summary>{escape(block.summary)}</summary>" in text
                    check(block.blocks)
                case Paragraph():
                    assert f">{escape(block.text)}</p>" in text
                case Bullets():
                    for item in block.items:
                        assert f"<li>{escape(item)}</li>" in text

    for section in sections:
        check(section.blocks)
