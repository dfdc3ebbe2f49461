"""Errors that a user can cause, and the formatting of values in their texts."""

import contextlib
import datetime
import itertools
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping

MAX_CHARACTERS = 80  # of one value
MAX_ENTRIES = 5  # of one list


class CampaignError(Exception):
    """An error that a user can cause. Its text is one line: what was found, where, what to do."""


def format_value(value: object, depth: int = 2) -> str:
    """Format a value as params.yaml would have it, in few characters.

    Args:
        value: anything; long, deeply nested and cyclic values are cut off with an ellipsis.
        depth: levels of lists and mappings that are shown.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > 8 * MAX_CHARACTERS:
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str):
        return repr(value) if len(value) <= MAX_CHARACTERS else f"{value[:MAX_CHARACTERS]!r}… ({len(value):,} characters)"
    if isinstance(value, Mapping | list | tuple | set):
        return _format_collection(value, depth)
    return shorten(value if isinstance(value, datetime.date) else repr(value))


def _format_collection(value: Mapping | list | tuple | set, depth: int) -> str:
    left, right = "{}" if isinstance(value, Mapping | set) else "[]"
    entries = list(itertools.islice(value, MAX_ENTRIES)) if depth else []
    texts = [format_value(entry, depth - 1) for entry in entries]
    if isinstance(value, Mapping):
        texts = [f"{text}: {format_value(value[key], depth - 1)}" for text, key in zip(texts, entries, strict=True)]
    if len(value) > len(entries):
        texts.append(f"… ({len(value):,} in all)" if depth else "…")
    return left + ", ".join(texts) + right


def shorten(text: object, max_characters: int = MAX_CHARACTERS) -> str:
    """Cut `text` to one printable line of about `max_characters`, an ellipsis at the end."""
    line = to_one_line(str(text)[: 10 * max_characters])
    return line if len(line) <= max_characters else line[:max_characters].rstrip() + "…"


def join_first(
    entries: Iterable[object],
    *,
    max_entries: int = MAX_ENTRIES,
    max_characters: int = MAX_CHARACTERS,
    separator: str = ", ",
    rest: str = "",
) -> str:
    """Join the first entries, each shortened, and count the others: ``A, B and 3 more``.

    Args:
        entries: shown by `str`.
        max_entries: that are shown.
        max_characters: of each entry.
        separator: between entries.
        rest: added to the count, to say where the others can be found.
    """
    entries = entries if isinstance(entries, Collection) else list(entries)
    first = [shorten(entry, max_characters) for entry in itertools.islice(entries, max_entries)]
    more = len(entries) - len(first)
    return separator.join(first) + (f"{separator if separator != ', ' else ' '}and {more:,} more{rest}" if more else "")


def to_one_line(text: object) -> str:
    """Fold white space into single blanks, and escape characters that cannot be printed."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(str(text).split()))


_collected: list[str] | None = None


@contextlib.contextmanager
def collecting_lines() -> Iterator[list[str]]:
    """Collect in a list what `print_stderr` would print in the block: standard error is another machine's."""
    global _collected
    _collected = lines = []
    try:
        yield lines
    finally:
        _collected = None


def print_stderr(text: str) -> None:
    """Print a line on standard error, where it never mixes with results. Does nothing where that is closed or full."""
    if _collected is not None:
        _collected.append(text)
        return
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:  # print(file=None) would write to standard output
            print(text, file=sys.stderr, flush=True)
