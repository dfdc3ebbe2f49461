"""Write figures as texts; what is None is a dash."""

import re
from collections.abc import Sequence

DASH = "–"


def minus(text: str) -> str:
    """Write real minus signs before numbers; hyphens within names and dates stay."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)


def fixed(value: float | None, form: str = ".3f") -> str:
    """Write a number by a format specification; what rounds to zero has no sign."""
    if value is None:
        return DASH
    text = f"{value:{form}}"
    return minus(text if re.search("[1-9]", text) else text.lstrip("+-"))


def percent(value: float | None, digits: int = 2) -> str:
    """Write a share as a percentage with its sign."""
    return fixed(value, f"+.{digits}%")


def rate(value: float | str | None) -> str:
    """Write a rate from 0 to 1 as a percentage; a text is left as it is."""
    return value if isinstance(value, str) else fixed(value, ".1%")


def level_text(confidence: float) -> str:
    """Write a confidence, or an error probability, as a percentage."""
    return f"{100 * confidence:.4g}%"


def with_interval(value: float | None, interval: Sequence[float] | None, form: str = ".3f") -> str:
    """Write a figure with its interval in brackets."""
    if value is None or interval is None:
        return fixed(value, form)
    return f"{fixed(value, form)} [{', '.join(fixed(end, form) for end in interval)}]"


def p_text(p_value: float | None, draws: int) -> str:
    """Write a p-value of so many draws, which tell none below one in all; small ones with digits to tell 0.0498 from 0.05."""
    if p_value is None:
        return DASH
    least = max(0.001, 1 / draws)
    if p_value < least:
        return f"<{least:.3f}"
    return f"{p_value:.4f}" if p_value < 0.1 else f"{p_value:.3f}"
