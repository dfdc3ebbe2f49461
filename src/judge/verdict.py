"""Say in sentences what was found: who leads, what to search, what it would have returned, and whether to trade."""

from collections.abc import Iterable, Mapping
from typing import Any

from judge.pairs import Standing
from judge.recommendation import Recommendation


def listing(names: Iterable[str], labels: Mapping[str, str]) -> str:
    """Join the labels of models with commas."""
    return ", ".join(labels[name] for name in names)


def leader_sentence(standing: Standing, test_f1: Mapping[str, float], labels: Mapping[str, str]) -> str:
    """Say who leads on test, and with whom it is tied; `test_f1`: mean over seeds of every model."""
    first, f1 = labels[standing.first], test_f1[standing.first]
    if standing.winner:
        return f"{first} has the best test F1 ({f1:.3f}), beyond chance against every other model."
    tied_with_all = len(standing.ties) == len(test_f1) - 1
    others = "every other model" if tied_with_all else listing(standing.ties, labels)
    return f"No winner: {first} leads on test (F1 {f1:.3f}), tied within chance with {others}."


def search_sentence(recommended: Recommendation, labels: Mapping[str, str]) -> str:
    """Say what to search."""
    best = labels[recommended.best]
    if recommended.primary is None:
        reason = recommended.reasons[recommended.best]
        return f"No architecture is shown to be worth a search. The best, {best}: {reason}."
    ties = "ties" if len(recommended.secondary) > 1 else "a tie"
    then = f", then {listing(recommended.secondary, labels)} ({ties})" if recommended.secondary else ""
    aside = f"; set aside {listing(recommended.set_aside, labels)}" if recommended.set_aside else ""
    return f"Search {best} first{then}{aside}."


def money_sentence(label: str, money: Mapping[str, Any], confidence: float) -> str:
    """Say what a model's trades on test would have made of the capital; `money`: its figures, means over seeds."""
    if not money["trades"]:
        return f"{label} took no trade on test."
    low, high = money["return_per_day_interval"]
    within_chance = f" (the {confidence:.0%} interval of its daily return includes zero)" if low <= 0 <= high else ""
    hits, break_even = "", money["break_even_hit_rate"]
    if break_even is not None:
        hits = f"; {money['hit_rate']:.1%} of them hit the profit barrier, and {break_even:.1%} would break even"
    return (
        f"On test {label} would have {made_or_lost(money['total_return_net'])} the capital after costs, in "
        f"{money['trades']:,.0f} trades{within_chance}{hits}."
    )


def made_or_lost(total: float) -> str:
    """Word a total return, a share of the capital; with constant stakes it can be less than −1."""
    if total > 0:
        return f"made {total:.1%} of"
    return f"lost {-total:.1%} of" if total > -1 else "lost all of"


def readiness_sentence(profitable: Iterable[str], labels: Mapping[str, str]) -> str:
    """Say whether a network is ready to be traded; `profitable`: those with a return above zero beyond chance."""
    if names := listing(profitable, labels):
        return f"Test returns after costs above zero, beyond chance: {names}."
    return "No network's test return after costs is above zero beyond chance: none is ready to be traded."


def training_differences(trained_with: Mapping[str, Mapping[str, str]], labels: Mapping[str, str]) -> list[str]:
    """Return a sentence where the networks were not trained alike, else nothing.

    Args:
        trained_with: precision, torch and processor of each network.
    """
    different = []
    for what in next(iter(trained_with.values())):
        values = {name: used[what] for name, used in trained_with.items()}
        if len(set(values.values())) > 1:
            different.append(f"{what} " + ", ".join(f"{value} ({labels[name]})" for name, value in values.items()))
    if not different:
        return []
    return [f"Not trained alike: {'; '.join(different)}. Differences between them may come from that: train all on one machine."]
