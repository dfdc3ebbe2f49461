"""Arrange what was found over folds in tables."""

import math
from collections.abc import Iterable, Mapping, Sequence

from judge.family import Answer
from judge.names import Roster
from judge.over_folds import OverFolds
from judge.verdict import listing
from judge.walk_forward_result import FoldSummary, ModelOverFolds, ValidationChoice, WalkForward
from report.blocks import Table
from report.numbers import DASH, fixed, level_text, p_text, percent, rate, with_interval

RULE = "validation's choice"  # in place of a model: in each fold the first on validation


def moment(text: str) -> str:
    """Shorten an ISO time to its day; the hour stays where it is no midnight."""
    day, _, hour = text.partition("T")
    return day if not hour or hour.startswith("00:00") else f"{day}T{hour[:2]}"


def cut_table(folds: Sequence[FoldSummary]) -> Table:
    """Show when each fold's splits begin and end."""
    rows = []
    for fold in folds:
        cuts = (fold.cuts.train_from, fold.cuts.val_from, fold.cuts.test_from, fold.cuts.test_until)
        rows.append([fold.name, *map(moment, cuts), f"{fold.days:,}"])
    head = ["fold", "train from", "validation from", "test from", "test until", "days of test"]
    return Table("Folds, in time", head, rows)


def fold_table(folds: Sequence[FoldSummary], labels: Mapping[str, str]) -> Table:
    """Show what each fold's test holds, and what the fold says alone."""
    rows = [
        [
            fold.name,
            f"{fold.samples:,}",
            f"{fold.positives / fold.samples:.1%}",
            percent(fold.buy_and_hold.total_return, 1),
            labels[fold.best_on_validation],
            labels[fold.best_on_test],
            listing(fold.worth_a_search, labels) or "none",
        ]
        for fold in folds
    ]
    head = ["fold", "samples", "profits", "buy and hold", "first on validation", "first on test", "worth a search"]
    return Table("What each fold's test holds, and what the fold says alone", head, rows)


def typical_error(figure: OverFolds) -> float | None:
    """Return the root mean square of the standard errors within folds; None where none is known."""
    known = [error for error in figure.errors if error is not None]
    return math.sqrt(sum(error**2 for error in known) / len(known)) if known else None


def over_folds_table(caption: str, result: WalkForward, key: str, labels: Mapping[str, str], above: str = "") -> Table:
    """Show one figure of all models over folds.

    Args:
        key: field of `ModelOverFolds`, f1 or direction_auc.
        above: head of a column that says whether the figure is apart from a coin's; none where empty.
    """
    answers = {answer.one: answer for answer in result.answers.direction}
    rows = []
    for name in result.ranking:
        row = [labels[name], *_over_folds(getattr(result.models[name], key), result)]
        rows.append([*row, _side(answers.get(name), result)] if above else row)
    if key == "f1":
        rows.append([RULE, *_over_folds(result.choice.f1, result)])
    head = ["model", f"mean over folds [{level_text(result.confidence)}]", "spread between folds", "typical error within"]
    return Table(caption, [*head, "change shown?", *([above] if above else [])], rows)


def _over_folds(figure: OverFolds, result: WalkForward) -> list[str]:
    """Write a figure's mean, spread, error and change."""
    changes = DASH
    if figure.changes_p is not None:
        changes = f"{'yes' if figure.changes_p < 1 - result.confidence else 'no'} (p {p_text(figure.changes_p, result.draws)})"
    return [with_interval(figure.mean, figure.interval), fixed(figure.std), fixed(typical_error(figure)), changes]


def _side(answer: Answer | None, result: WalkForward) -> str:
    """Say whether a difference is above or below zero beyond chance."""
    if answer is None:
        return DASH
    side = ("above" if answer.difference > 0 else "below") if answer.is_clear else "no"
    return f"{side} (p {p_text(answer.p_value, result.draws)})"


def by_fold_tables(caption: str, result: WalkForward, key: str, roster: Roster, form: str = ".3f") -> list[Table]:
    """Show one figure of every model in every fold with its standard error, the networks before the references.

    Args:
        key: field of `ModelOverFolds`.
    """
    tables, labels = [], roster.labels
    for kind, wanted in (("networks", True), ("references", False)):
        names = [name for name in result.ranking if (name in roster.networks) == wanted]
        rows = []
        for number, fold in enumerate(result.folds):
            figures = [getattr(result.models[name], key) for name in names]
            rows.append([fold.name, *(_with_error(own.by_fold[number], own.errors[number], form) for own in figures)])
        if names:
            tables.append(Table(f"{caption}: {kind}", ["fold", *(labels[name] for name in names)], rows))
    return tables


def _with_error(value: float | None, error: float | None, form: str) -> str:
    if value is None or not error:
        return fixed(value, form)
    return f"{fixed(value, form)} ±{fixed(error, form.lstrip('+'))}"


def ranks(figures: Mapping[str, float | None]) -> dict[str, int | None]:
    """Rank figures from 1, the highest; equal ones share the lower number, and None has none."""
    known = [figure for figure in figures.values() if figure is not None]
    return {name: None if own is None else 1 + sum(other > own for other in known) for name, own in figures.items()}


def ranks_by_fold(result: WalkForward, key: str) -> list[dict[str, int | None]]:
    """Rank the models in each fold by a field of `ModelOverFolds`, by name."""
    return [
        ranks({name: getattr(model, key).by_fold[number] for name, model in result.models.items()})
        for number in range(len(result.folds))
    ]


def choice_table(result: WalkForward, labels: Mapping[str, str]) -> Table:
    """Show of each fold what the first on validation was worth on test, and how far the two orders agree."""
    rows = []
    for number, (fold, chosen, test) in enumerate(
        zip(result.folds, result.choice.models, ranks_by_fold(result, "f1"), strict=True)
    ):
        best = result.models[fold.best_on_test].f1.by_fold[number]
        taken = result.choice.f1.by_fold[number]
        figures = (labels[chosen], fixed(taken), str(test[chosen]), labels[fold.best_on_test], fixed(best))
        rows.append([fold.name, *figures, fixed(fold.rank_agreement, "+.2f")])
    head = ["fold", "first on validation", "its test F1", "its rank on test", "first on test", "best test F1", "Kendall's tau"]
    return Table("The first on validation, and what it was on test", head, rows)


def rank_table(result: WalkForward, labels: Mapping[str, str]) -> Table:
    """Show the models' mean ranks, and how often each was first."""
    val, test = (ranks_by_fold(result, key) for key in ("val_f1", "f1"))
    rows = []
    for name in result.ranking:
        means = (fixed(_mean(fold[name] for fold in folds), ".1f") for folds in (val, test))
        first = (sum(getattr(fold, key) == name for fold in result.folds) for key in ("best_on_validation", "best_on_test"))
        rows.append([labels[name], *means, *map(str, first)])
    head = ["model", "mean rank on validation", "mean rank on test", "folds first on validation", "folds first on test"]
    return Table(f"Ranks among {len(result.ranking)} models, 1 the highest F1", head, rows)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def rule_table(result: WalkForward, labels: Mapping[str, str]) -> Table:
    """Show the rule to take the first on validation beside the models."""
    rows = []
    for label, own in sorted(_all(result, labels).items(), key=lambda item: item[0] != RULE):
        f1, track = own.f1, own.track
        figures = (fixed(getattr(track, key)) for key in ("f1", "precision", "recall", "roc_auc", "brier_skill"))
        rows.append([label, with_interval(f1.mean, f1.interval), *figures])
    joined = ("F1, joined", "precision", "recall", "ROC AUC", "Brier skill")
    head = ["model", f"test F1, mean over folds [{level_text(result.confidence)}]", *joined]
    return Table(f"{RULE.capitalize()}, beside each model taken in every fold", head, rows)


def trades_table(result: WalkForward, labels: Mapping[str, str]) -> Table:
    """Show the trades of each model over all test periods."""
    rows = []
    for label, own in _all(result, labels).items():
        money, trades = own.track.money, own.track.trades
        rows.append(
            [
                label,
                fixed(money["trades"], ",.0f"),
                f"{sum(number > 0 for number in trades)} of {len(trades)}",
                rate(money["hit_rate"]),
                rate(money["break_even_hit_rate"]),
                percent(money["mean_return"]),
                percent(money["mean_return_net"]),
            ]
        )
    head = ["model", "trades", "folds with trades", "hit rate", "break-even", "mean trade, gross", "mean trade, net"]
    return Table("Trades over all test periods", head, rows)


def capital_table(result: WalkForward, labels: Mapping[str, str]) -> Table:
    """Show what the trades make of the capital over all test periods."""
    answers = {answer.one: answer for answer in result.answers.trade}
    shown = {labels[name]: _gain(answers.get(name), result) for name in result.ranking}
    rows = []
    for label, own in _all(result, labels).items():
        money, a_day = own.track.money, own.return_per_day
        total, drawdown = percent(money["total_return_net"], 1), rate(money["max_drawdown"])
        rows.append([label, total, with_interval(a_day.mean, a_day.interval, "+.3%"), shown.get(label, DASH), drawdown])
    held = result.buy_and_hold
    rows.append(["buy and hold", percent(held.total_return, 1), DASH, DASH, rate(held.max_drawdown)])
    rows.append(["no trade", "0.0%", "0.000%", DASH, "0.0%"])
    a_day = f"a day, net [{level_text(result.confidence)}]"
    return Table("What they make of the capital", ["model", "total, net", a_day, "gain shown?", "largest drawdown"], rows)


def _gain(answer: Answer | None, result: WalkForward) -> str:
    """Say whether a return exceeds zero beyond chance."""
    if answer is None:
        return DASH
    return f"{'yes' if answer.is_clear else 'no'} (p {p_text(answer.p_value, result.draws)})"


def _all(result: WalkForward, labels: Mapping[str, str]) -> dict[str, ModelOverFolds | ValidationChoice]:
    """Return every model, then validation's choice, by label."""
    return {labels[name]: result.models[name] for name in result.ranking} | {RULE: result.choice}
