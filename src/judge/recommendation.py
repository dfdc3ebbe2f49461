"""Recommend which architectures to search, from validation alone, so that test stays unseen."""

import dataclasses
from collections.abc import Mapping, Sequence

from judge.pairs import Pair, is_clear


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What to search, each list ordered by validation F1.

    primary: the architecture to search first; None where none is shown to be worth a search.
    secondary: those tied with it. set_aside: all others.
    reasons: why, by architecture.
    """

    primary: str | None
    secondary: list[str]
    set_aside: list[str]
    reasons: dict[str, str]

    @property
    def best(self) -> str:
        """The architecture with the highest validation F1 of those worth a search, or of all where none is."""
        return self.primary or self.set_aside[0]


def recommend(
    val_f1: Mapping[str, float],
    floors: Mapping[str, Mapping[str, float]],
    pairs: Sequence[Pair],
    labels: Mapping[str, str],
) -> Recommendation:
    """Recommend what to search.

    Args:
        val_f1: validation F1 by architecture, mean over seeds.
        floors: by architecture, what its validation F1 has to exceed to be worth a search, by name.
        pairs: on validation.
        labels: name for people by architecture.
    """
    order = sorted(val_f1, key=lambda name: -val_f1[name])
    reasons = {}
    for name in order:
        if missed := [f"{floor} ({least:.3f})" for floor, least in floors[name].items() if val_f1[name] <= least]:
            reasons[name] = f"validation F1 {val_f1[name]:.3f} is not above {' or '.join(missed)}"
    worthy = [name for name in order if name not in reasons]
    if not worthy:
        return Recommendation(primary=None, secondary=[], set_aside=order, reasons=reasons)
    primary, *others = worthy
    reasons[primary] = f"highest validation F1, {val_f1[primary]:.3f}"
    secondary = [name for name in others if not is_clear(pairs, primary, name)]
    for name in others:
        below = f"{val_f1[primary] - val_f1[name]:.3f} below {labels[primary]} on validation"
        reasons[name] = f"{below}, within chance: a tie" if name in secondary else f"{below}, beyond chance"
    set_aside = [name for name in order if name != primary and name not in secondary]
    return Recommendation(primary, secondary, set_aside, reasons)
