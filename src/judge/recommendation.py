"""Recommend which networks to search, from validation alone, so that test stays unseen."""

import dataclasses
from collections.abc import Mapping, Sequence

from judge.family import Answer


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What to search.

    reference: the reference with the highest cross-fitted validation F1, which a network has to exceed.
    primary: the network to search first; None where none is shown to be worth a search.
    secondary: those worth a search that cannot be told from it, in their order.
    order: all networks by cross-fitted validation F1, for whoever searches all the same.
    reasons: why, by network.
    """

    reference: str
    primary: str | None
    secondary: list[str]
    order: list[str]
    reasons: dict[str, str]

    @property
    def worthy(self) -> list[str]:
        """The networks to search, in their order."""
        return [self.primary, *self.secondary] if self.primary else []

    @property
    def best(self) -> str:
        """The network with the highest F1 of those worth a search, or of all where none is."""
        return self.primary or self.order[0]


def best_reference(val_f1: Mapping[str, float]) -> str:
    """Return the reference with the highest F1; of equals the first. `val_f1`: cross-fitted, by reference."""
    return max(val_f1, key=lambda name: val_f1[name])


def recommend(
    val_f1: Mapping[str, float],
    reference: str,
    above_reference: Sequence[Answer],
    between_networks: Sequence[Answer],
    labels: Mapping[str, str],
    *,
    minimum: float,
) -> Recommendation:
    """Recommend the networks whose F1 exceeds the best reference's beyond chance, over the networks together.

    Args:
        val_f1: cross-fitted validation F1 by network, mean over seeds.
        reference: the best one.
        above_reference: whether each network exceeds it, one-sided.
        between_networks: whether every two networks differ.
        labels: names for people.
        minimum: F1 that a network has to exceed, too.
    """
    order = sorted(val_f1, key=lambda name: -val_f1[name])
    found = {answer.one: answer for answer in above_reference}
    worthy = [name for name in order if found[name].is_clear and val_f1[name] > minimum]
    reasons = {name: _reason(val_f1[name], found[name], labels[reference], minimum) for name in order}
    if not worthy:
        return Recommendation(reference, None, [], order, reasons)
    primary, *others = worthy
    clear = {frozenset((answer.one, answer.other)) for answer in between_networks if answer.is_clear}
    secondary = [name for name in others if frozenset((primary, name)) not in clear]
    for name in others:
        relation = "cannot be told from" if name in secondary else "is beyond chance below"
        reasons[name] += f"; {relation} {labels[primary]}"
    return Recommendation(reference, primary, secondary, order, reasons)


def _reason(f1: float, answer: Answer, reference: str, minimum: float) -> str:
    p_value = f"p {answer.p_value:.3f}" if answer.p_value >= 0.001 else "p < 0.001"
    figures = f"cross-fitted F1 {f1:.3f} against {f1 - answer.difference:.3f} of {reference} ({p_value})"
    if f1 <= minimum:
        return f"{figures}: not above the minimum of {minimum:.3f}"
    if answer.is_clear:
        return f"{figures}: beyond chance"
    if not answer.error_is_known:
        return f"{figures}: unknown how much of the difference is chance: one seed, or too few days"
    return f"{figures}: not beyond chance"
