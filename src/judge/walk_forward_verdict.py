"""Say in sentences what was found over folds: a difference or a change only where chance does not explain it."""

from collections import Counter
from collections.abc import Mapping

from judge.over_folds import OverFolds
from judge.verdict import direction_sentence, leader_sentence, listing, money_sentence
from judge.walk_forward_result import WalkForward


def verdict_over_folds(found: WalkForward, labels: Mapping[str, str]) -> list[str]:
    """Return the verdict, the most important sentence first."""
    folds = len(found.folds)
    sentences = [first_sentence_over_folds(found, labels)]
    if folds > 1:
        f1 = {name: found.models[name].f1.mean for name in labels}
        sentences.append(
            leader_sentence("On test, mean over folds,", f1, found.answers.test, f"{folds} folds", found.margin, labels)
        )
    sentences += [choice_sentence(found, labels), rank_sentence(found, labels)]
    if folds > 1:
        sentences.append(direction_sentence(found.answers.direction, found.confidence, labels, "on test, mean over folds"))
        sentences += change_sentences(found, labels)
        sentences.append(trade_sentence(found, labels))
    return sentences + missing_sentences(found, labels)


def first_sentence_over_folds(found: WalkForward, labels: Mapping[str, str]) -> str:
    """Say whether anything is shown to be better than the references, or worth a trade."""
    folds = len(found.folds)
    if folds == 1:
        return "One fold alone shows no spread between folds: over folds nothing is clear, neither better nor worth a trade."
    better, trade = listing(found.better, labels), listing(found.worth_a_trade, labels)
    reference = f"{labels[found.reference]}, the reference that is best on validation"
    if not better and not trade:
        return f"Over {folds} folds: no, nothing is shown to be better than the references or worth a trade."
    if not better:
        return f"Over {folds} folds nothing is shown to be better than the references; worth a trade: {trade}."
    then = f"Worth a trade: {trade}." if trade else "Nothing is shown to be worth a trade."
    return f"Over {folds} folds: yes, better than {reference}: {better}. {then}"


def choice_sentence(found: WalkForward, labels: Mapping[str, str]) -> str:
    """Say what it was worth to take what validation says, in each fold."""
    choice, returned = found.choice, found.choice.return_per_day
    taken = ", ".join(f"{labels[name]} in {count}" for name, count in Counter(choice.models).most_common())
    f1 = f"{'mean ' if len(choice.models) > 1 else ''}test F1 {choice.f1.mean:.3f}"
    text = f"Always taking what validation says ({taken}) had {f1}{interval_text(choice.f1, found.confidence, '.3f')}"
    text += f", {choice.behind_best:.3f} behind the best of each fold"
    if not any(choice.track.trades):
        return f"{text}; it takes no trade."
    if returned.interval is None:
        shown = "whether its trades gain or lose is unknown"
    elif returned.interval[0] > 0:
        shown = "its trades gained beyond chance after costs, asked alone"
    elif returned.interval[1] < 0:
        shown = "its trades lost beyond chance after costs"
    else:
        shown = "its trades show neither a gain nor a loss beyond chance after costs"
    return (
        f"{text}; {shown}: {returned.mean:+.3%} of the capital a day{interval_text(returned, found.confidence, '+.3%')}; total "
        f"{choice.track.money['total_return_net']:+.1%}, buy and hold of the same assets {found.buy_and_hold.total_return:+.1%}."
    )


def interval_text(figure: OverFolds, confidence: float, form: str) -> str:
    """Write the interval of a mean over folds; empty where there is none."""
    if figure.interval is None:
        return ""
    low, high = figure.interval
    return f" ({100 * confidence:.4g}% interval {low:{form}} to {high:{form}})"


def rank_sentence(found: WalkForward, labels: Mapping[str, str]) -> str:
    """Say whether validation orders the models as test does."""
    folds, best = len(found.folds), found.rank_agreement.best_was_best
    text = f"The best on validation was the best on test in {best} of {folds} fold{'s' if folds > 1 else ''}"
    known = [fold.rank_agreement for fold in found.folds if fold.rank_agreement is not None]
    if not known:
        return f"{text}; validation or test ranks no model above another."
    spread = f" on average ({min(known):.2f} to {max(known):.2f})" if len(known) > 1 else ""
    return (
        f"{text}; both order the {len(labels)} models with a rank correlation of {found.rank_agreement.mean:.2f}{spread}, "
        "where 1 is the same order and 0 none in common (Kendall's tau-b)."
    )


def change_sentences(found: WalkForward, labels: Mapping[str, str]) -> list[str]:
    """Say which figures on test change between folds by more than the error within them."""
    beyond = "changes between folds beyond the error within them"
    sentences = []
    for name in changing(found, "direction_auc"):
        own = found.models[name].direction_auc
        values = [value for value in own.by_fold if value is not None]
        text = f"The direction AUC of {labels[name]} {beyond}: {', '.join(f'{value:.2f}' for value in values)}"
        if min(values) < 0.5 < max(values):
            text += ", on both sides of a coin's 0.5: what told rises from falls in one fold misled in another"
        sentences.append(f"{text} (p {p_text(own.changes_p)}).")
    for name in changing(found, "return_per_day"):
        own = found.models[name].return_per_day
        values = ", ".join(f"{value:+.3%}" for value in own.by_fold if value is not None)
        sentences.append(f"The return a day of {labels[name]} {beyond}: {values} (p {p_text(own.changes_p)}).")
    shares = [fold.positives / fold.samples for fold in found.folds]
    for kind, label in (("f1", "F1"), ("pr_auc", "PR AUC")):
        if names := changing(found, kind):
            sentences.append(
                f"Test {label} of {listing(names, labels)} {beyond}; it also depends on the share of positives, which was "
                f"{min(shares):.1%} to {max(shares):.1%}."
            )
    return sentences or ["No figure on test is shown to change between folds beyond the error within them."]


def changing(found: WalkForward, kind: str) -> list[str]:
    """Name the models of which one figure changes between folds."""
    p_values = {name: getattr(model, kind).changes_p for name, model in found.models.items()}
    return [name for name, p_value in p_values.items() if p_value is not None and p_value < 1 - found.confidence]


def p_text(p_value: float) -> str:
    """Write a p-value; small ones with digits to tell 0.0498 from 0.05."""
    if p_value < 0.001:
        return "< 0.001"
    return f"{p_value:.4f}" if p_value < 0.1 else f"{p_value:.3f}"


def trade_sentence(found: WalkForward, labels: Mapping[str, str]) -> str:
    """Say whether the trades of one model show a gain or a loss: of what is worth a trade, else of the best network."""
    networks = [name for name, model in found.models.items() if model.kind == "network"]
    name = (found.worth_a_trade or [max(networks, key=lambda name: found.models[name].val_f1.mean)])[0]
    model = found.models[name]
    money = model.track.money | {"return_per_day_interval": model.return_per_day.interval}
    answer = next((own for own in found.answers.trade if own.one == name), None)
    return money_sentence(labels[name], money, answer, found.confidence, found.buy_and_hold.total_return)


def missing_sentences(found: WalkForward, labels: Mapping[str, str]) -> list[str]:
    """Say of what some folds know nothing; nothing where each fold has every figure."""
    without = [fold.name for number, fold in enumerate(found.folds) if _lacks_direction(found, number)]
    sentences = []
    if without:
        sentences.append(f"Without winners of both directions, and so without a direction AUC: {', '.join(without)}.")
    partly = {
        name: sum(not trades for trades in model.track.trades)
        for name, model in found.models.items()
        if any(model.track.trades) and not all(model.track.trades)
    }
    if partly:
        of = ", ".join(f"{labels[name]} in {count} of {len(found.folds)} folds" for name, count in partly.items())
        sentences.append(f"Not to trade was the choice of {of}; such a fold counts as a return of 0.")
    return sentences


def _lacks_direction(found: WalkForward, number: int) -> bool:
    return any(model.direction_auc.by_fold[number] is None for model in found.models.values())
