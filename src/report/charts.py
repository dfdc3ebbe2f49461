"""Draw the pictures of the page from the comparison and from the rows of plots/*.csv."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from judge.comparison import Comparison, ModelResult
from judge.family import Answer
from judge.names import NO_CURVE, Roster
from judge.verdict import listing
from report.numbers import fixed, level_text, percent
from report.svg import Axis, Guide, Line, Row, confusion_matrix, heat_map, interval_plot, line_chart, swatch
from report.tables import Groups, difference_caption, pick_groups, split_answers

DASHES = (
    "",
    "7 3",
    "2 2.5",
    "9 3 2 3",
    "13 3",
    "4 3",
    "1 4",
    "1 2",
)  # beside colour, by the position of the model, or of the seed
LEAST_SHARE = 0.01  # of samples called: below, a curve is a handful of trades
LEAST_RECALL = 0.02  # likewise; .dvc/plots/curves_by_model.json has the same

Rows = Sequence[Mapping[str, Any]]  # of a CSV file
Points = dict[str, list[tuple[float, float]]]  # by model


def draw(result: Comparison, roster: Roster, curves: Mapping[str, Rows]) -> dict[str, str]:
    """Draw every picture that `report.sections` names, as HTML.

    Args:
        curves: rows of learning, pr, roc, calibration and threshold, as plots/*.csv have them; numbers may be text.
    """
    return {
        "f1": draw_f1(result, roster),
        "curves": draw_curves(result, curves, roster),
        "direction": draw_direction(result, roster),
        "learning": draw_learning(curves["learning"], roster),
        "money": draw_money(result, curves["threshold"], roster),
        "differences": draw_differences(result.answers.test, result.search.reference, roster),
        "by_asset": draw_groups(pick_groups(result, "by_asset"), "asset", roster),
        "by_month": draw_groups(pick_groups(result, "by_month"), "month", roster),
    }


def draw_f1(result: Comparison, roster: Roster) -> str:
    """Draw F1 on test with its interval and seeds, and above it the cross-fitted one on validation."""
    models, level, rows = result.models, level_text(result.confidence), []
    for name in result.ranking:
        val, test = models[name].val["cross_fitted_f1"], models[name].test["f1"]
        singles = test["by_seed"] if len(test["by_seed"]) > 1 else []
        texts = (roster.labels[name], roster.colours[name], test["mean"], test["interval"], fixed(test["mean"]))
        rows.append(Row(*texts, pale=val["mean"], pale_interval=val["interval"], singles=singles))
    guide = models["always_positive"].test["f1"]["mean"], "always positive, test"
    plot = interval_plot(
        f"F1 with {level} intervals", _spoken_rows("Test F1", rows), rows, Axis("F1 of the positive class"), guide
    )
    return keep(note("● test; ○ above it: validation, cross-fitted; small ticks: single seeds on test."), plot)


def draw_direction(result: Comparison, roster: Roster) -> str:
    """Draw each model's direction AUC with its interval; empty where test has too few winners of one kind."""
    rows = []
    for name in result.ranking:
        test = result.models[name].test
        auc, interval = test["direction_auc"], test["direction_auc_interval"]
        if auc is not None:
            rows.append(Row(roster.labels[name], roster.colours[name], auc, interval, fixed(auc)))
    if not rows:
        return ""
    title, spoken = f"Direction AUC with {level_text(result.confidence)} intervals", _spoken_rows("Direction AUC on test", rows)
    return keep(interval_plot(title, spoken, rows, Axis("direction AUC on test"), (0.5, "a coin")))


def draw_differences(answers: Sequence[Answer], reference: str, roster: Roster) -> str:
    """Draw the differences in test F1 to the best reference on validation and to each of `judge.names.BASELINES`."""
    labels, colours, plots = roster.labels, roster.colours, []
    for kind, of_kind in split_answers(answers, reference, roster).items():
        if kind != "networks":
            rows = [
                Row(labels[a.one], colours[a.one], a.difference, a.interval, fixed(a.difference, "+.3f"))
                for a in sorted(of_kind, key=lambda answer: -answer.difference)
            ]
            title = difference_caption(reference, kind, labels)
            plots.append(
                interval_plot(title, _spoken_rows("Difference", rows), rows, Axis("difference in test F1"), (0.0, "equal"))
            )
    return keep(note("Intervals are corrected for the number of questions."), grid(plots))


def draw_learning(rows: Rows, roster: Roster) -> str:
    """Chart each network's validation F1 and, below it, the losses; every seed has its own dash, its best epoch a dot."""
    colours = {label: roster.colours[name] for name, label in roster.networks.items()}
    runs: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        run = runs.setdefault(row["model"], {}).setdefault(str(row["seed"]), {})
        for key in ("epoch", "val_f1", "train_loss", "val_loss"):
            run.setdefault(key, []).append(float(row[key]))
    every = [run for seeds in runs.values() for run in seeds.values()]
    last = max(len(run["epoch"]) for run in every)
    epochs = Axis("epoch", (min(1.0, last - 0.5), float(last)), whole=True)
    f1_axis = Axis("validation F1", (0.0, max(max(run["val_f1"]) for run in every) * 1.05))
    figures = []
    for name, seeds in runs.items():
        f1, losses, longest = [], [], max(seeds.values(), key=lambda run: len(run["epoch"]))
        for dash, run in zip(DASHES * len(seeds), seeds.values(), strict=False):
            best = run["val_f1"].index(max(run["val_f1"]))
            dots = [3.2 if n == best else 0 for n in range(best + 1)]
            f1.append(Line(list(zip(run["epoch"], run["val_f1"], strict=True)), colours[name], dash, 1.5, dots))
            for part, colour, width in (("train", "currentColor", 0.9), ("val", colours[name], 1.6)):
                points = list(zip(run["epoch"], run[f"{part}_loss"], strict=True))
                losses.append(Line(points, colour, dash, width, label=part if run is longest else ""))
        seen = f"{len(seeds)} seeds." if len(seeds) > 1 else "One seed."
        upper = line_chart(f"{name}, F1", seen, f1, epochs, f1_axis, size=(250, 190))
        lower = line_chart(f"{name}, losses", seen, losses, epochs, Axis("loss"), size=(250, 180))
        figures.append(f"<div>{upper}{lower}</div>")
    numbers = dict.fromkeys(seed for seeds in runs.values() for seed in seeds)
    seeds_legend = legend(
        (f"seed {seed}", "currentColor", dash) for seed, dash in zip(numbers, DASHES * len(numbers), strict=False)
    )
    said = "A dot marks each seed's best epoch. F1 axes are the same for all, loss axes are not."
    return keep(note(said), seeds_legend, grid(figures, "four"))


def draw_curves(result: Comparison, curves: Mapping[str, Rows], roster: Roster) -> str:
    """Chart PR, ROC and calibration curves, and the confusion matrices."""
    models, labels = result.models, roster.labels
    chance = models["always_positive"].test["pr_auc_chance"]
    pr = _curves(curves["pr"], "recall", "precision", roster, LEAST_RECALL)
    roc = _curves(curves["roc"], "fpr", "tpr", roster)
    observed, samples = (_curves(curves["calibration"], "predicted", key, roster) for key in ("observed", "samples"))
    most = max(n for points in samples.values() for _, n in points)
    sizes = {name: [1.2 + 3 * math.sqrt(n / most) for _, n in points] for name, points in samples.items()}
    bins = [replace(line, dots=sizes[name]) for name, line in zip(observed, _lines(observed, roster), strict=True)]
    top = max(v for points in observed.values() for point in points for v in point)
    by_chance = [Guide((1, chance), (0, chance), f"chance {chance:.3f}")]
    unit, square = (0.0, 1.0), (0.0, top)
    called, precision = Axis("recall, share of profits called", unit), Axis("precision")
    rates = Axis("false positive rate", unit), Axis("true positive rate", unit)
    score = Axis("mean score of the bin", square), Axis("share of profits", square)
    seen = [f"Area: {_spoken(models, pr, 'pr_auc', labels)}", f"Area: {_spoken(models, roc, 'roc_auc', labels)}"]
    seen += [f"Calibration error: {_spoken(models, observed, 'expected_calibration_error', labels)}"]
    charts = [
        line_chart("Precision and recall", seen[0], _lines(pr, roster), called, precision, by_chance),
        line_chart("ROC", seen[1], _lines(roc, roster), *rates, [Guide((0, 0), (1, 1), "")]),
        line_chart("Calibration before the map", seen[2], bins, *score, [Guide((0, 0), (top, top), "")]),
    ]
    matrices = []
    for name in result.ranking:
        counts = models[name].test["confusion"]
        said = f"{counts['tp']:,} of {counts['tp'] + counts['fn']:,} profits called, {counts['fp']:,} calls without profit."
        matrices.append(confusion_matrix(labels[name], said, **counts))
    said = (
        f"On test, best seed on validation. Precision is drawn from recall {LEAST_RECALL:g} on. On the dashed diagonal a model "
        "ranks by chance (ROC), or its score is the share of profits (calibration; larger dots hold more samples). Models that "
        f"score all samples of an asset alike have no curve: {listing(NO_CURVE, labels)}."
    )
    of_matrices = "Best seed on validation, at F1's threshold. Rows: what was true, with shares of it; columns: what was called."
    return keep(note(said), model_legend(pr | roc | observed, roster), grid(charts)) + keep(
        "<h3>Confusion matrices on test</h3>", note(of_matrices), grid(matrices, "small")
    )


def draw_money(result: Comparison, rows: Rows, roster: Roster) -> str:
    """Chart what trades return: by threshold, and by day; `rows`: of plots/threshold_curves.csv."""
    level, even, days = level_text(result.confidence), result.break_even_precision, []
    returns, precision = (_curves(rows, "share_called", key, roster, LEAST_SHARE) for key in ("mean_return_net", "precision"))
    start = min(at for points in returns.values() for at, _ in points)
    called = Axis("share of samples called, log", (start, 1.0), percent=True, log=True)
    at_barriers = [] if even is None else [Guide((start, even), (1, even), f"break-even at the barriers {even:.3f}")]
    no_gain = [Guide((start, 0), (1, 0), "no gain")]
    seen = [f"{what}, against the share of samples called." for what in ("Mean return of a trade after costs", "Precision")]
    per_trade, per_day = Axis("mean net return of a trade", percent=True), Axis("net return a day", percent=True)
    charts = [
        line_chart("Stricter thresholds: net return", seen[0], _lines(returns, roster), called, per_trade, no_gain),
        line_chart("Stricter thresholds: precision", seen[1], _lines(precision, roster), called, Axis("precision"), at_barriers),
    ]
    for name in result.ranking:
        money = result.models[name].test["money"]
        interval, day = money["return_per_day_interval"], money["return_per_day_net"]
        if interval is not None:
            days.append(Row(roster.labels[name], roster.colours[name], day, interval, percent(day, 3)))
    if days:
        title, spoken = f"Net return a day on test, {level} intervals", _spoken_rows("Net return a day", days)
        charts.append(interval_plot(title, spoken, days, per_day, (0.0, "no trade")))
    stricter = (
        "The curves show all samples of test above a threshold, overlapping ones too, stricter to the left, down to "
        f"{LEAST_SHARE:.0%} of the samples. A threshold picked here would be picked on test."
    )
    return keep(note(stricter), model_legend(returns | precision, roster), grid(charts))


def draw_groups(figures: Mapping[str, Groups], name_of_group: str, roster: Roster) -> str:
    """Shade the test F1 of every model in every group; before it stands the share of profits.

    Args:
        figures: of each model, in the order of the columns.
        name_of_group: asset or month.
    """
    tables = list(figures.values())
    groups = list(tables[0])
    values = [[table[group]["f1"] for table in tables] for group in groups]
    notes = [fixed(tables[0][group]["positive_share"], ".0%") for group in groups]
    seen = "A column a model; a stronger colour is higher. The first column is the share of samples with a profit."
    title, columns = f"Test F1 by {name_of_group}", [roster.labels[name] for name in figures]
    chart = heat_map(title, seen, columns, groups, values, notes=notes, notes_label="profits")
    return keep(note("A stronger colour is a higher F1."), chart)


def keep(*parts: str) -> str:
    """Keep parts together on one printed page."""
    return f'<div class="keep">{"".join(parts)}</div>'


def note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def grid(figures: Iterable[str], kind: str = "") -> str:
    return f'<div class="grid {kind}">{"".join(figures)}</div>'


def legend(entries: Iterable[tuple[str, str, str]]) -> str:
    """Write a legend; an entry is a text, the colour and the dash of its line."""
    return '<ul class="legend">' + "".join(f"<li>{swatch(c, dash)}{escape(t)}</li>" for t, c, dash in entries) + "</ul>"


def model_legend(names: Iterable[str], roster: Roster) -> str:
    labels, colours = roster.labels, roster.colours
    return legend((labels[name], colours[name], dash(name, roster)) for name in names)


def dash(name: str, roster: Roster) -> str:
    """Return the dash of a model's line."""
    return DASHES[list(roster.labels).index(name) % len(DASHES)]


def _curves(rows: Rows, x: str, y: str, roster: Roster, least: float = 0.0) -> Points:
    """Collect the points (x, y) of each model that has a curve, from the x `least` on."""
    names = {label: name for name, label in roster.labels.items()}
    curves: Points = {name: [] for name in roster.labels}
    for row in rows:
        if float(row[x]) >= least:
            curves[names[row["model"]]].append((float(row[x]), float(row[y])))
    return {name: points for name, points in curves.items() if points}


def _lines(curves: Points, roster: Roster) -> list[Line]:
    """Draw a line a model, the references thinner."""
    widths = {name: 1.9 if name in roster.networks else 1.4 for name in curves}
    colours = roster.colours
    return [Line(points, colours[name], dash(name, roster), widths[name]) for name, points in curves.items()]


def _spoken(models: Mapping[str, ModelResult], names: Iterable[str], key: str, labels: Mapping[str, str]) -> str:
    """Tell each model's score on test, for those who do not see the chart."""
    return "; ".join(f"{labels[name]} {fixed(models[name].test[key])}" for name in names) + "."


def _spoken_rows(what: str, rows: Iterable[Row]) -> str:
    return f"{what}: {'; '.join(f'{row.label} {row.text}' for row in rows)}."
