"""Say in sentences what was found: whether anything is worth a search or a trade, and what was learnt.

A sentence states a difference, a gain or a loss only where chance does not explain it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from judge.family import Answer
from judge.recommendation import Recommendation
from judge.train_record import differing_settings

BY_SEEDS = " (seeds "  # in what a train record says of precision, torch and processor where they differ between seeds


def listing(names: Iterable[str], labels: Mapping[str, str]) -> str:
    """Join the labels of models with commas."""
    return ", ".join(labels[name] for name in names)


def first_sentence(worth_a_search: Sequence[str], worth_a_trade: Sequence[str], labels: Mapping[str, str]) -> str:
    """Say whether anything is shown to be worth a search or a trade."""
    search, trade = listing(worth_a_search, labels), listing(worth_a_trade, labels)
    if not search and not trade:
        return "No: nothing is shown to be worth a search or a trade."
    if not search:
        return f"Nothing is shown to be worth a search; worth a trade: {trade}."
    if not trade:
        return f"Worth a search: {search}. Nothing is shown to be worth a trade."
    return f"Worth a search: {search}. Worth a trade: {trade}."


def search_sentence(recommended: Recommendation, labels: Mapping[str, str]) -> str:
    """Say what to search, or in which order to search all the same."""
    reference = labels[recommended.reference]
    if recommended.primary is None:
        return (
            f"No network's cross-fitted validation F1 is above the minimum and, beyond chance, above that of {reference}, the "
            f"best reference; whoever searches all the same starts with the highest: {listing(recommended.order, labels)}."
        )
    then = f", then {listing(recommended.secondary, labels)}, which cannot be told from it" if recommended.secondary else ""
    better = f"Cross-fitted validation F1 is beyond chance above that of {reference}, the best reference"
    others = [name for name in recommended.order if name not in recommended.worthy]
    rest = f" Do not search {listing(others, labels)}." if others else ""
    return f"Search {labels[recommended.primary]} first{then}. {better}.{rest}"


def test_sentence(
    test_f1: Mapping[str, float], answers: Sequence[Answer], days: int, margin: float, labels: Mapping[str, str]
) -> str:
    """Say who has the highest F1 on test, and which models chance does not explain that of.

    Args:
        test_f1: mean over seeds of every model.
        answers: to the questions asked on test.
        days: of test.
        margin: a difference of F1 that does not matter.
    """
    return leader_sentence("On test", test_f1, answers, f"{days} days", margin, labels)


def leader_sentence(
    where: str, f1: Mapping[str, float], answers: Sequence[Answer], span: str, margin: float, labels: Mapping[str, str]
) -> str:
    """Say who has the highest F1, and which models chance does not explain that of.

    Models tie as `is_tie` says. That no difference was found is no tie.

    Args:
        where: and how the sentence begins. span: what was judged on, "26 days".
        f1: of every model.
        answers: to the questions asked about it.
        margin: a difference of F1 that does not matter.
    """
    first = max(f1, key=lambda name: f1[name])
    own = {
        answer.other if answer.one == first else answer.one: answer for answer in answers if first in (answer.one, answer.other)
    }
    below = [name for name, answer in own.items() if answer.is_clear]
    tied = [name for name, answer in own.items() if name not in below and is_tie(answer, margin)]
    open_ones = [name for name in own if name not in below and name not in tied]
    unasked = [name for name in f1 if name != first and name not in own]
    text = f"{where} {labels[first]} has the highest F1 ({f1[first]:.3f})"
    if below:
        text += f", beyond chance above {listing(below, labels)}"
    if tied:
        text += f"; it ties with {listing(tied, labels)}: any difference is below {margin:.3f}"
    if open_ones:
        text += f"; {span} cannot tell it from {listing(open_ones, labels)}"
        smallest = max(own[name].detectable for name in open_ones)
        if not all(own[name].error_is_known for name in open_ones):
            text += ": with one seed, or so few days, no difference shows"
        elif smallest < 1:
            text += f": from {smallest:.3f} on a difference would have shown, at 80% power"
        else:
            text += ": hardly any difference would have shown"
    if unasked:
        text += f"; whether it is above {listing(unasked, labels)} was not asked"
    return text + "."


def is_tie(answer: Answer, margin: float) -> bool:
    """Tell whether a difference as large as the margin would have shown, and the whole interval lies within the margin."""
    return answer.error_is_known and max(answer.detectable, *(abs(end) for end in answer.interval)) < margin


def direction_sentence(answers: Sequence[Answer], confidence: float, labels: Mapping[str, str], where: str = "on test") -> str:
    """Say whether any model tells a rise from a fall.

    Args:
        answers: direction AUC less 0.5, by model. where: it was measured.
    """
    if not answers:
        return "Test has too few winners of one direction to say whether a model tells a rise from a fall."
    up = [answer for answer in answers if answer.is_clear and answer.difference > 0]
    down = [answer for answer in answers if answer.is_clear and answer.difference < 0]
    if not up and not down:
        low, high = (0.5 + end(answer.difference for answer in answers) for end in (min, max))
        return (
            f"No model is shown to tell a rise from a fall (direction AUC {where} {low:.2f} to {high:.2f}; 0.5 is a coin): "
            "what was learnt, if anything, may be when prices move, not where to."
        )
    parts = []
    for what, clear in (("rises are told from falls by", up), ("falls are scored above rises by", down)):
        if clear:
            parts.append(f"{what} " + ", ".join(f"{labels[answer.one]} ({0.5 + answer.difference:.2f})" for answer in clear))
    text = "; ".join(parts)
    return f"Beyond chance, {text} (direction AUC {where}, {100 * confidence:.4g}% confidence over all models; 0.5 is a coin)."


def money_sentence(label: str, money: Mapping[str, Any], found: Answer | None, confidence: float, buy_and_hold: float) -> str:
    """Say whether one model's trades on test show a gain or a loss.

    A gain is what makes the model worth a trade. A loss is told by the interval of this model alone.

    Args:
        money: its figures at money's threshold, means over seeds.
        found: whether its daily return exceeds zero, one-sided, among all models that trade; None without a trade.
        buy_and_hold: total return of holding the same assets, after costs.
    """
    held = f"buy and hold of the same assets: {buy_and_hold:+.1%}"
    if found is None:
        return f"{label} takes no trade on test ({held})."
    low, high = money["return_per_day_interval"]
    trades, totals = f"{money['trades']:,.0f} trades of {label} on test", f"total {money['total_return_net']:+.1%}; {held}"
    if found.is_clear:
        least = f"at {100 * confidence:.4g}% confidence at least {found.interval[0]:+.3%}"
        return f"The {trades} gained beyond chance after costs: {found.difference:+.3%} of the capital a day, {least} ({totals})."
    interval = f"{100 * confidence:.4g}% interval of the return a day {low:+.3%} to {high:+.3%}"
    if not found.error_is_known:
        return (
            f"Whether the {trades} show a gain or a loss is unknown: one seed, or so few days, cannot say ({interval}; {totals})."
        )
    if high < 0:
        return f"The {trades} lost beyond chance after costs ({interval}; {totals})."
    alone = " of this model alone, which counts less beside the others" if low > 0 else ""
    return f"The {trades} show neither a gain nor a loss beyond chance after costs ({interval}{alone}; {totals})."


def settings_differences(loops: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]) -> list[str]:
    """Return a sentence where the networks were trained with different settings of the loop, else nothing.

    Args:
        loops: those settings of each network, as its train record has them.
    """
    texts = [
        f"{key} " + ", ".join(f"{loop[key]} ({labels[name]})" for name, loop in loops.items())
        for key in differing_settings(loops.values())
    ]
    return [f"The networks did not have the same settings: {'; '.join(texts)}."] if texts else []


def training_differences(trained_with: Mapping[str, Mapping[str, str]], labels: Mapping[str, str]) -> list[str]:
    """Return a sentence where the networks were not trained alike, else nothing.

    Args:
        trained_with: precision, torch and processor of each network, as its train record has them.
    """
    different = []
    for what in next(iter(trained_with.values())):
        values = {name: used[what] for name, used in trained_with.items()}
        if len(set(values.values())) > 1 or any(BY_SEEDS in value for value in values.values()):
            different.append(f"{what} " + ", ".join(f"{value} ({labels[name]})" for name, value in values.items()))
    if not different:
        return []
    return [f"Not trained alike: {'; '.join(different)}. Differences between them may come from that: train all on one machine."]
