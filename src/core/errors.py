"""Errors that a user can cause, and how what was found is shown in one."""

import datetime
import itertools
from collections.abc import Collection, Iterable, Mapping

LONGEST, MOST = 80, 5  # characters of a value, entries of a list


class CampaignError(Exception):
    """What a user can cause; its text is one line: what was found, where, what to do."""


def shown(value: object, depth: int = 2) -> str:
    """A value of a user's as params.yaml would have it, in few characters, however long, deep or cyclic it is."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > 8 * LONGEST:
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str):
        return repr(value) if len(value) <= LONGEST else f"{value[:LONGEST]!r}… ({len(value):,} characters)"
    if isinstance(value, Mapping | list | tuple | set):
        left, right = "{}" if isinstance(value, Mapping | set) else "[]"
        first = list(itertools.islice(value, MOST)) if depth else []
        pairs = isinstance(value, Mapping)
        parts = [f"{shown(one, depth - 1)}: {shown(value[one], depth - 1)}" if pairs else shown(one, depth - 1) for one in first]
        more = f"… ({len(value):,} in all)" if depth else "…"
        return left + ", ".join(parts + [more] * (len(value) > len(first))) + right
    return shortened(value if isinstance(value, datetime.date) else repr(value))


def shortened(text: object, longest: int = LONGEST) -> str:
    """One printable line of at most about `longest` characters."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(str(text)[: 10 * longest].split()))
    return line if len(line) <= longest else line[:longest].rstrip() + "…"


def few(entries: Iterable[object], *, most: int = MOST, longest: int = LONGEST, between: str = ", ", rest: str = "") -> str:
    """The first `most` entries and how many more there are; `rest` says where to find those."""
    entries = entries if isinstance(entries, Collection) else list(entries)
    first = [shortened(entry, longest) for entry in itertools.islice(entries, most)]
    more = len(entries) - len(first)
    return between.join(first) + (f"{between if between != ', ' else ' '}and {more:,} more{rest}" if more else "")
