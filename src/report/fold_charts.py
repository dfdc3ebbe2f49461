"""Draw the pictures of the walk-forward page."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from statistics import NormalDist

from judge.names import Roster
from judge.over_folds import OverFolds
from judge.walk_forward_result import WalkForward
from report import fold_wording as wording
from report.charts import dash, draw_differences, draw_groups, grid, keep, legend, note
from report.fold_tables import RULE
from report.numbers import fixed, level_text, percent
from report.svg import Axis, Guide, Line, Row, bounds, interval_plot, line_chart

PANEL = (200, 165)  # size of a small chart
LEAST_CAPITAL = 0.01  # below, a curve on a logarithmic axis runs along the bottom
WIDE = 4.0  # highest capital over the lowest one, from which on the axis is logarithmic
HELD = "3 3"  # dash of buy and hold
BETWEEN_MARKS = 44  # pixels that a date takes


def draw(result: WalkForward, roster: Roster) -> dict[str, str]:
    """Draw every picture that `report.walk_forward.arrange` names, as HTML."""
    groups = {name: result.models[name].track.by_asset for name in result.ranking}
    return {
        "f1": draw_f1(result, roster),
        "direction": draw_direction(result, roster),
        "validation": draw_validation(result, roster),
        "differences": draw_differences(result.answers.test, result.reference, roster) if result.answers.test else "",
        "equity": draw_equity(result, roster),
        "money": draw_money(result, roster),
        "by_asset": draw_groups(groups, "asset", roster),
    }


def draw_f1(result: WalkForward, roster: Roster) -> str:
    """Draw the means of test F1, and chart it by fold beside always positive."""
    baseline = result.models["always_positive"].f1
    guide = [Line(run, "currentColor", kind="guide") for run in runs(baseline.by_fold)]
    means = draw_means(result, "f1", "test F1", roster, (baseline.mean, "always positive"))
    return means + draw_panels(result, "f1", "test F1", roster, guide, "always positive")


def draw_direction(result: WalkForward, roster: Roster) -> str:
    """Draw the means of direction AUC, and chart it by fold beside a coin; empty where no fold has one."""
    guide = [Line([(-0.5, 0.5), (len(result.folds) - 0.5, 0.5)], "currentColor", kind="guide")]
    means = draw_means(result, "direction_auc", "direction AUC", roster, (0.5, "a coin"))
    return means and means + draw_panels(result, "direction_auc", "direction AUC", roster, guide, "0.5, a coin")


def draw_means(result: WalkForward, key: str, what: str, roster: Roster, guide: tuple[float, str]) -> str:
    """Draw the mean of each model over folds with its interval, single folds below it; empty where no figure is known.

    Args:
        key: field of `ModelOverFolds`, `what` its name for people.
        guide: a figure to read the others against, with its name.
    """
    rows, several = [], len(result.folds) > 1
    for name in result.ranking:
        figure: OverFolds = getattr(result.models[name], key)
        if figure.mean is not None:
            within = 0.0 if several else reach(result.confidence) * (figure.errors[0] or 0)
            interval = figure.interval or [max(figure.mean - within, 0.0), min(figure.mean + within, 1.0)]
            singles = known(figure.by_fold) if several else []
            row = Row(roster.labels[name], roster.colours[name], figure.mean, interval, fixed(figure.mean), singles=singles)
            rows.append(row)
    if not rows:
        return ""
    where, level = "over folds" if several else "of the fold", level_text(result.confidence)
    title = f"{what[0].upper()}{what[1:]} {where} with {level} intervals"
    spoken = f"Mean of {what}: " + "; ".join(f"{row.label} {row.text}" for row in rows) + "."
    plot = interval_plot(title, spoken, rows, Axis(f"{what}, mean over folds" if several else what), guide)
    return keep(note(wording.SINGLE_FOLDS if several else wording.ERROR_WITHIN), plot)


def draw_panels(result: WalkForward, key: str, what: str, roster: Roster, baseline: Sequence[Line], baseline_name: str) -> str:
    """Chart one figure by fold, a panel a model with the error within each fold; all panels have the same axes.

    Args:
        key: field of `ModelOverFolds`, `what` its name for people.
        baseline: what all panels show in grey, with its name for people; always positive has no panel beside.

    Returns:
        HTML; empty with a single fold, of which `draw_means` shows as much.
    """
    if len(result.folds) == 1:
        return ""
    names = [name for name in result.ranking if name != "always_positive"]
    figures: Mapping[str, OverFolds] = {name: getattr(result.models[name], key) for name in names}
    widths = reach(result.confidence)
    ends = [value for line in baseline for _, value in line.points]
    for figure in figures.values():
        for value, error in zip(figure.by_fold, figure.errors, strict=True):
            if value is not None:
                ends += [value - widths * (error or 0), value + widths * (error or 0)]
    low, high = bounds([min(max(end, 0.0), 1.0) for end in ends])
    y_axis, x_axis = Axis(what, (max(low, 0.0), min(high, 1.0))), fold_axis(result, PANEL[0])
    charts = []
    for name in names:
        others = [
            Line(run, "currentColor", kind="faint") for other in names if other != name for run in runs(figures[other].by_fold)
        ]
        figure, own = figures[name], []
        for run in runs(figure.by_fold):
            errors = [None if (error := figure.errors[int(at)]) is None else widths * error for at, _ in run]
            own.append(Line(run, roster.colours[name], width=1.9, dots=[3.0] * len(run), errors=errors))
        values = zip((fold.name for fold in result.folds), figure.by_fold, strict=True)
        spoken = f"{what} by fold: " + "; ".join(f"{fold} {fixed(value)}" for fold, value in values) + "."
        charts.append(
            line_chart(
                f"{roster.labels[name]}: {fixed(figure.mean)}", spoken, [*others, *baseline, *own], x_axis, y_axis, size=PANEL
            )
        )
    explained = wording.PANELS.format(guide=baseline_name, level=level_text(result.confidence))
    return keep(note(explained), grid(charts, "panels"))


def draw_validation(result: WalkForward, roster: Roster) -> str:
    """Chart test F1 against cross-fitted validation F1, a panel a fold and a dot a model."""
    models, labels, colours = result.models, roster.labels, roster.colours
    every = [value for model in models.values() for value in known([*model.val_f1.by_fold, *model.f1.by_fold])]
    low, high = bounds(every)
    low, high = max(low, 0.0), min(high, 1.0)
    charts = []
    for number, fold in enumerate(result.folds):
        points = {name: (models[name].val_f1.by_fold[number], models[name].f1.by_fold[number]) for name in result.ranking}
        dots = [Line([point], colours[name], dots=[4.2]) for name, point in points.items() if None not in point]
        spoken = "; ".join(f"{labels[name]} {fixed(val)} and {fixed(test)}" for name, (val, test) in points.items())
        title = f"{fold.name}: tau {fixed(fold.rank_agreement, '+.2f')}"
        axes = Axis("F1 on validation", (low, high)), Axis("F1 on test", (low, high))
        diagonal = [Guide((low, low), (high, high), "")]
        charts.append(line_chart(title, f"F1 on validation and test: {spoken}.", dots, *axes, diagonal, size=(PANEL[0], 190)))
    shown = legend((labels[name], colours[name], "") for name in result.ranking)
    return keep(note(wording.VALIDATION_AGAINST_TEST), shown, grid(charts, "panels"))


def draw_equity(result: WalkForward, roster: Roster) -> str:
    """Chart the capital over the joined test periods: networks, and references, each beside buy and hold and the rule."""
    days = [float(date.fromisoformat(day[:10]).toordinal()) for day in result.equity_days]
    curves = {name: result.models[name].track.equity for name in result.ranking}
    every = [*result.buy_and_hold_equity, *result.choice.track.equity, *(value for curve in curves.values() for value in curve)]
    lowest, highest = max(min(every), LEAST_CAPITAL), max(every)
    log = highest / lowest > WIDE
    y_range = (lowest / 1.05, highest * 1.05) if log else bounds([*every, 1.0])
    start = _ordinal(result.folds[0].name)
    x_range = (start, days[-1])
    marks = thinned([(_ordinal(fold.name), fold.name) for fold in result.folds], x_range, 400)
    x_axis = Axis("", x_range, marks=marks)
    y_axis = Axis("capital, start = 1" + (", log" if log else ""), y_range, log=log)

    def line(equity: Sequence[float], colour: str, style: str = "", width: float = 1.7) -> Line:
        shown = [max(value, lowest) for value in equity]
        return Line([(start, 1.0), *zip(days, shown, strict=True)], colour, style, width)

    starts = [Line([(_ordinal(fold.name), y_range[0]), (_ordinal(fold.name), y_range[1])], "currentColor", kind="faint")
              for fold in result.folds[1:]]  # fmt: skip
    held = line(result.buy_and_hold_equity, "currentColor", HELD, 1.3)
    beside = [*starts, held, line(result.choice.track.equity, "currentColor", width=1.3)]
    charts, unchanged = [], [Guide((x_range[0], 1.0), (x_range[1], 1.0), "")]
    for title, wanted in (("Networks", True), ("References", False)):
        names = [name for name in result.ranking if (name in roster.networks) == wanted]
        own = [line(curves[name], roster.colours[name], dash(name, roster)) for name in names]
        at_the_end = "; ".join(f"{roster.labels[name]} {fixed(curves[name][-1], '.2f')}" for name in names)
        others = ((RULE, result.choice.track.equity), ("buy and hold", result.buy_and_hold_equity))
        others_at_the_end = "; ".join(f"{label} {fixed(equity[-1], '.2f')}" for label, equity in others)
        spoken = f"Capital at the end: {at_the_end}; {others_at_the_end}."
        if own:
            charts.append(line_chart(f"{title}: capital", spoken, [*beside, *own], x_axis, y_axis, unchanged, size=(400, 260)))
    entries = [(roster.labels[name], roster.colours[name], dash(name, roster)) for name in result.ranking]
    entries += [(RULE, "currentColor", ""), ("buy and hold", "currentColor", HELD)]
    explained = note(wording.EQUITY.format(rule=RULE.capitalize(), scale=wording.LOGARITHMIC if log else ""))
    return keep(explained, legend(entries), grid(charts, "two"))


def draw_money(result: WalkForward, roster: Roster) -> str:
    """Draw each model's net return a day with its interval over folds; empty where none has one."""
    rows = []
    for name in result.ranking:
        figure = result.models[name].return_per_day
        if figure.mean is not None and figure.interval is not None:
            singles = known(figure.by_fold)
            labels = roster.labels[name], roster.colours[name]
            rows.append(Row(*labels, figure.mean, figure.interval, percent(figure.mean, 3), singles=singles))
    if not rows:
        return ""
    title = f"Net return a day over folds, {level_text(result.confidence)} intervals"
    spoken = "Net return a day: " + "; ".join(f"{row.label} {row.text}" for row in rows) + "."
    axis = Axis("net return a day, mean over folds", percent=True)
    return keep(note(wording.SINGLE_FOLDS), interval_plot(title, spoken, rows, axis, (0.0, "no trade")))


def reach(confidence: float) -> float:
    """Return how many standard errors an interval reaches to each side."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def known(values: Iterable[float | None]) -> list[float]:
    """Return the values that are not None."""
    return [value for value in values if value is not None]


def runs(values: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Part a figure by fold into the stretches in which it is known, as points (number of the fold, figure)."""
    stretches: list[list[tuple[float, float]]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append((float(number), value))
    return [stretch for stretch in stretches if stretch]


def fold_axis(result: WalkForward, width: float) -> Axis:
    """Return the axis of a chart `width` pixels wide that has a place for each fold."""
    x_range = (-0.5, len(result.folds) - 0.5)
    return Axis("", x_range, marks=thinned([(float(n), fold.name) for n, fold in enumerate(result.folds)], x_range, width))


def thinned(marks: Sequence[tuple[float, str]], x_range: tuple[float, float], width: float) -> list[tuple[float, str]]:
    """Keep marks that have room, each written as month and day, with the year below where it is a new one.

    Args:
        marks: each a place on the axis with the name of a fold.
        width: of the chart in pixels.
    """
    pixels = (width - 60) / (x_range[1] - x_range[0])
    kept: list[tuple[float, str]] = []
    last, year = float("-inf"), ""
    for at, name in marks:
        if (at - last) * pixels >= BETWEEN_MARKS:
            kept.append((at, name[5:10] if name[:4] == year else f"{name[5:10]}/{name[:4]}"))
            last, year = at, name[:4]
    return kept


def _ordinal(fold: str) -> float:
    """Return the end of the day before a fold's test period, on an axis on which a day's number is its end."""
    return float(date.fromisoformat(fold[:10]).toordinal()) - 1
