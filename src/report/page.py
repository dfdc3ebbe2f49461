"""Write a report as one HTML page that needs nothing else: what the Markdown says, and the pictures."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from judge.comparison import Comparison
from judge.names import Roster
from judge.train_record import SettingsRecord
from report.blocks import Block, Bullets, Folded, Paragraph, Picture, Section, Table
from report.charts import Rows, draw
from report.numbers import minus
from report.sections import arrange
from report.style import STYLE
from report.tables import FAILED, PASSED
from report.wording import SIMULATED, count_test_assets


def page(
    result: Comparison,
    metadata: Mapping[str, Any],
    roster: Roster,
    settings: Sequence[SettingsRecord],
    curves: Mapping[str, Rows],
) -> str:
    """Write the whole comparison: one HTML document without scripts or anything to load; the same input, the same text.

    Args:
        metadata: data/training_data/metadata.json.
        settings: what the networks were trained with.
        curves: rows of learning, pr, roc, calibration and threshold, as plots/*.csv have them; numbers may be text.
    """
    title, sections = "Comparison of trading classifiers", arrange(result, metadata, roster, settings)
    pictures = draw(result, roster, curves)
    return document(title, _subtitle(result, metadata), result.verdict[0], sections, pictures, simulated=result.simulated)


def document(
    title: str, subtitle: str, choice: str, sections: Sequence[Section], pictures: Mapping[str, str], *, simulated: bool
) -> str:
    """Write a page of sections.

    Args:
        choice: the sentence that stands above all others.
        pictures: HTML by the name of each `Picture`.
        simulated: whether the bars are, which is said at the top.
    """
    links = "".join(f'<a href="#{section.anchor}">{escape(section.title)}</a>' for section in sections)
    body = "".join(
        f'<section id="{section.anchor}"><h2>{escape(section.title)}</h2>{_write_all(section.blocks, pictures)}</section>\n'
        for section in sections
    )
    banner = _paragraph(SIMULATED, "banner") if simulated else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>{_paragraph(subtitle, 'sub')}{banner}{_paragraph(minus(choice), 'choice')}</header>\n"
        f'<nav aria-label="Sections">{links}</nav>\n<main>\n{body}</main>\n</body>\n</html>\n'
    )


def _subtitle(result: Comparison, metadata: Mapping[str, Any]) -> str:
    test, assets, every = metadata["splits"]["test"], count_test_assets(result), len(metadata["assets"])
    of = f"{assets} asset{'s' * (assets > 1)}" if assets == every else f"{assets} of {every} assets (the others have none there)"
    dates = f"{test['first_bar'][:10]} to {test['last_bar'][:10]}"
    return f"{len(result.models)} models, judged on {test['samples']:,} samples of {of}, {dates}"


def _write_all(blocks: Sequence[Block], pictures: Mapping[str, str]) -> str:
    return "".join(_write(block, pictures) for block in blocks)


def _write(block: Block, pictures: Mapping[str, str]) -> str:
    """Write one block."""
    match block:
        case Paragraph():
            return _paragraph(block.text, "banner" if block.is_warning else "note" if block.is_note else "")
        case Bullets():
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
        case Table():
            return _table(block)
        case Folded():
            return f"<details><summary>{escape(block.summary)}</summary>{_write_all(block.blocks, pictures)}</details>"
        case Picture():
            return pictures[block.name]


def _paragraph(text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f"<p{style}>{escape(text)}</p>"


def _table(block: Table) -> str:
    """Write a table in a container that scrolls by itself, whole on one printed page where it fits."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in block.head)
    body = ""
    for first, *cells in block.rows:
        body += f'<tr><th scope="row">{escape(first)}</th>' + "".join(f"<td>{_cell(cell)}</td>" for cell in cells) + "</tr>"
    name = escape(block.caption)
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    scroll = f'<div class="scroll" role="region" tabindex="0" aria-label="{name}">{table}</div>'
    return f'<div class="keep"><p class="note caption">{name}</p>{scroll}</div>'


def _cell(text: str) -> str:
    """Write a cell: what passed and what failed in colour, an interval in small letters."""
    for mark, kind in ((PASSED, "pass"), (FAILED, "fail")):
        if text.startswith(mark):
            return f'<span class="{kind}">{mark}</span>{escape(text.removeprefix(mark))}'
    return re.sub(r"(\[[^\]]*\])$", r"<small>\1</small>", escape(text))
