"""Write the comparison as one HTML page that needs nothing else, from plain values only."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import networkx

from judge.comparison import Comparison, ModelResult
from judge.family import Answer
from judge.gates import Gate
from judge.names import NO_CURVE, Roster
from judge.recommendation import Recommendation
from judge.train_record import SettingsRecord
from judge.verdict import listing
from report.committed import described
from report.markdown import (
    CALIBRATION,
    ENSEMBLE,
    NO_LOG_LOSS,
    OPTIMISM,
    PASSED_BY_CHANCE,
    REGIMES,
    clear_and_tied,
    common_threshold,
    count_pairs,
    count_test_assets,
    explain_break_even,
    explain_hours,
    explain_recomputed,
    explain_references,
    explain_stakes,
    figure_on_test,
    gate_rows,
    gate_text,
    leak_figures,
    warn_of_longer_bars,
)
from report.style import STYLE
from report.svg import Axis, Guide, Line, Row, confusion_matrix, critical_difference, heat_map, interval_plot, line_chart, swatch

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

Rows = list[dict[str, Any]]  # of a CSV file


def _dash(name: str, roster: Roster) -> str:
    """Return the dash of a model's line."""
    return DASHES[list(roster.labels).index(name) % len(DASHES)]


def _minus(number: str) -> str:
    """Write a real minus sign."""
    return number.replace("-", "−")


def _fixed(value: float | None, form: str = ",.3f") -> str:
    """Write a number; a dash where it is None."""
    return "–" if value is None else _minus(f"{value:{form}}")


def _between(interval: Sequence[float], form: str = ".3f") -> str:
    """Write an interval as small text."""
    return f"<small>[{', '.join(_fixed(end, form) for end in interval)}]</small>"


def _plain(value: Any) -> str:
    """Write the value of a setting."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _paragraphs(*sentences: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return "".join(f"<p{style}>{escape(sentence)}</p>" for sentence in sentences if sentence)


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Write a table in a container that scrolls by itself, whole on one printed page where it fits.

    Args:
        rows: cells of HTML; the first of a row is its header, and one alone is the header of the rows below.
        kind: class of the table.
    """
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = ""
    for first, *cells in rows:
        scope = 'scope="row"' if cells else f'scope="rowgroup" colspan="{len(head)}"'
        first = first if cells else f"<span>{first}</span>"
        body += f"<tr><th {scope}>{first}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    name, table = escape(caption), f'<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    scroll = f'<div class="scroll" role="region" tabindex="0" aria-label="{name}">{table}</div>'
    return f'<div class="keep"><p class="note caption">{name}</p>{scroll}</div>'


def _keep(*parts: str) -> str:
    """Keep parts together on one printed page."""
    return f'<div class="keep">{"".join(parts)}</div>'


def _grid(figures: Iterable[str], kind: str = "") -> str:
    return f'<div class="grid {kind}">{"".join(figures)}</div>'


def _legend(entries: Iterable[tuple[str, str, str]]) -> str:
    """Write a legend; an entry is a text, the colour and the dash of its line."""
    return '<ul class="legend">' + "".join(f"<li>{swatch(c, dash)}{escape(t)}</li>" for t, c, dash in entries) + "</ul>"


def _model_legend(names: Iterable[str], roster: Roster) -> str:
    """Write a legend of models."""
    labels, colours = roster.labels, roster.colours
    return _legend((labels[name], colours[name], _dash(name, roster)) for name in names)


def _curves(
    rows: Iterable[Mapping[str, Any]], x: str, y: str, roster: Roster, least: float = 0.0
) -> dict[str, list[tuple[float, float]]]:
    """Collect the points (x, y) of each model that has a curve, from the x `least` on."""
    names = {label: name for name, label in roster.labels.items()}
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in roster.labels}
    for row in rows:
        if float(row[x]) >= least:
            curves[names[row["model"]]].append((float(row[x]), float(row[y])))
    return {name: points for name, points in curves.items() if points}


def _lines(curves: Mapping[str, list[tuple[float, float]]], roster: Roster) -> list[Line]:
    """Draw a line a model, the references thinner."""
    widths = {name: 1.9 if name in roster.networks else 1.4 for name in curves}
    colours = roster.colours
    return [Line(points, colours[name], _dash(name, roster), widths[name]) for name, points in curves.items()]


def _spoken(models: Mapping[str, ModelResult], names: Iterable[str], key: str, labels: Mapping[str, str]) -> str:
    """Tell each model's score on test, for those who do not see the chart."""
    return "; ".join(f"{labels[name]} {_fixed(models[name].test[key])}" for name in names) + "."


def _gates(gates: Mapping[str, list[Gate]], labels: Mapping[str, str]) -> str:
    """Write the table of gates, those that decide first."""
    rows: list[list[str]] = []
    for kind, kind_rows in gate_rows(gates):
        rows.append([escape(kind)])
        for row in kind_rows:
            common, cells = common_threshold(row), []
            for gate in row:
                mark = '<span class="pass">✓ pass</span>' if gate.passed else '<span class="fail">✗ fail</span>'
                threshold = "" if common else f" ({gate_text(gate.threshold, gate)})"
                cells.append(f"{mark}<br><small>{escape(_minus(gate_text(gate.value, gate) + threshold))}</small>")
            rows.append([escape(row[0].gate), *cells, escape(_minus(common or "in brackets"))])
    caption = "Below each mark is the network's value, with its threshold in brackets where thresholds differ"
    table = _table(caption, ["gate", *(labels[name] for name in gates), "threshold"], rows, "gates")
    return table + _paragraphs(PASSED_BY_CHANCE, OPTIMISM, kind="note")


def _leaderboard(result: Comparison, roster: Roster) -> str:
    """Show F1 with its intervals, and the table of scores."""
    models, level = result.models, f"{result.confidence:.0%}"
    labels, colours = roster.labels, roster.colours
    rows, board = [], []
    for name in result.ranking:
        val, test = models[name].val["f1"], models[name].test["f1"]
        singles = test["by_seed"] if len(test["by_seed"]) > 1 else []
        texts = (labels[name], colours[name], test["mean"], test["interval"], _fixed(test["mean"]))
        rows.append(Row(*texts, pale=val["mean"], pale_interval=val["interval"], singles=singles))
        f1s = [f"{_fixed(f1['mean'])} {_between(f1['interval'])}" for f1 in (val, test)]
        keys = ("ensemble_f1", "pr_auc", "roc_auc", "precision", "recall", "f1_at_0.5")
        others = [figure_on_test(result, name, key) for key in keys]
        board.append([labels[name], *f1s, *map(_fixed, [test["std"], *others])])
    always = models["always_positive"].test
    spoken = "; ".join(f"{row.label} {row.text}" for row in rows)
    head = ["model", "validation F1", "test F1", "std over seeds", "ensemble F1", "PR AUC", "ROC AUC", "precision", "recall"]
    days, blocks = result.days["test"], result.block_days["test"]
    explained = (
        f"F1 is the mean over seeds, each at the threshold that is best on validation; {ENSEMBLE} "
        f"Intervals: {level}, {result.draws:,} bootstrap draws of blocks of {blocks} days; test has {days} days. "
        f"Intervals count the spread over seeds; {REGIMES} "
        f"PR AUC by chance: {_fixed(always['pr_auc_chance'])}. {explain_references(result.one_column)}"
    )
    guide = always["f1"]["mean"], "always positive, test"
    plot = interval_plot(f"F1 with {level} intervals", f"Test F1: {spoken}.", rows, Axis("F1 of the positive class"), guide)
    note = "● test with its interval; ○ validation above it; small ticks: single seeds on test."
    return (
        _keep(_paragraphs(note, kind="note"), plot)
        + _table("Ordered by validation F1; all other columns are test", [*head, "F1 at 0.5"], board)
        + _paragraphs(explained, kind="note")
    )


def _convergence(models: Mapping[str, ModelResult], labels: Mapping[str, str]) -> str:
    """Write how each network converged."""
    rows = []
    for name, model in models.items():
        if training := model.training:
            seeds = [" · ".join(map(str, training[key])) for key in ("best_epochs", "epochs")]
            train, val, moved = (training[key] for key in ("train_f1", "val_f1", "val_f1_range_last_10_epochs"))
            rows.append([labels[name], *seeds, *map(_fixed, (train, val, train - val, moved))])
    head = ["model", "best epoch of each seed", "epochs run", "train F1", "validation F1", "gap"]
    head += ["range over the last 10 epochs, or all"]
    return _table("Convergence: F1 is the mean over seeds, the range that of validation F1", head, rows)


def _learning(rows: Iterable[Mapping[str, Any]], roster: Roster) -> str:
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
    legend = _legend((f"seed {seed}", "currentColor", dash) for seed, dash in zip(numbers, DASHES * len(numbers), strict=False))
    note = "A dot marks each seed's best epoch. F1 axes are the same for all, loss axes are not."
    return _keep(_paragraphs(note, kind="note"), legend, _grid(figures, "four"))


def _ranking_and_calibration(result: Comparison, curves: Mapping[str, Rows], roster: Roster) -> str:
    """Chart PR, ROC and calibration curves and the confusion matrices."""
    models, labels = result.models, roster.labels
    chance = models["always_positive"].test["pr_auc_chance"]
    pr = _curves(curves["pr"], "recall", "precision", roster, LEAST_RECALL)
    roc = _curves(curves["roc"], "fpr", "tpr", roster)
    observed, samples = (_curves(curves["calibration"], "predicted", key, roster) for key in ("observed", "samples"))
    most = max(n for points in samples.values() for _, n in points)
    sizes = {name: [1.2 + 3 * math.sqrt(n / most) for _, n in points] for name, points in samples.items()}
    bins = [replace(line, dots=sizes[name]) for name, line in zip(observed, _lines(observed, roster), strict=True)]
    top = max(v for points in observed.values() for point in points for v in point)
    flat = listing(NO_CURVE, labels)
    by_chance = [Guide((1, chance), (0, chance), f"chance {chance:.3f}")]
    seen = [f"Area: {_spoken(models, pr, 'pr_auc', labels)}", f"Area: {_spoken(models, roc, 'roc_auc', labels)}"]
    seen += [f"Expected calibration error: {_spoken(models, observed, 'expected_calibration_error', labels)}"]
    unit, square = (0.0, 1.0), (0.0, top)
    called, precision = Axis("recall, share of profits called", unit), Axis("precision")
    rates = Axis("false positive rate", unit), Axis("true positive rate", unit)
    score = Axis("mean score of the bin", square), Axis("share of profits", square)
    charts = [
        line_chart("Precision and recall", seen[0], _lines(pr, roster), called, precision, by_chance),
        line_chart("ROC", seen[1], _lines(roc, roster), *rates, [Guide((0, 0), (1, 1), "")]),
        line_chart("Calibration", seen[2], bins, *score, [Guide((0, 0), (top, top), "")]),
    ]
    matrices = []
    for name in result.ranking:
        counts = models[name].test["confusion"]
        said = f"{counts['tp']:,} of {counts['tp'] + counts['fn']:,} profits called, {counts['fp']:,} calls without profit."
        matrices.append(confusion_matrix(labels[name], said, **counts))
    rows = [[labels[name], *(_fixed(figure_on_test(result, name, key)) for key in CALIBRATION)] for name in result.ranking]
    head = ["model", *CALIBRATION.values()]
    note = (
        f"Precision is drawn from recall {LEAST_RECALL:g} on. On the dashed diagonal a model ranks by chance (ROC), or its score "
        "is the share of profits (calibration; larger dots hold more samples). Models that score all samples of an asset alike "
        f"have no curve: {flat}."
    )
    of_matrices = "Best validation seed. Rows: what was true, with shares of it; columns: what was called."
    return (
        _keep(_paragraphs(note, kind="note"), _model_legend(pr | roc | observed, roster), _grid(charts))
        + _keep("<h3>Confusion matrices</h3>", _paragraphs(of_matrices, kind="note"), _grid(matrices, "small"))
        + _table("Calibration on test: expected error before and after the calibration on validation", head, rows)
        + _paragraphs(NO_LOG_LOSS, kind="note")
    )


def tie_groups(pairs: Iterable[Answer]) -> list[list[str]]:
    """List the largest groups of models of which every pair is a tie; a model that ties with none is in no group."""
    ties = networkx.Graph((pair.better, pair.worse) for pair in pairs if not pair.clear)
    return sorted(sorted(group) for group in networkx.find_cliques(ties))


def _differences(result: Comparison, roster: Roster) -> str:
    """Show who is tied with whom, the pairs that differ, and the ties folded."""
    standing, labels, colours = result.test_verdict, roster.labels, roster.colours
    clear, ties = clear_and_tied(result.pairs["test"])
    said = f"{labels[standing.first]} leads on test; tied with it: {listing(standing.ties, labels)}."
    if standing.winner:
        said = f"{labels[standing.winner]} is better on test than every other model, beyond chance."
    f1 = {name: result.models[name].test["f1"]["mean"] for name in result.ranking}
    groups = sorted(tie_groups(ties), key=lambda group: [-max(f1[name] for name in group), *group])
    bars = [[labels[name] for name in group] for group in groups]
    seen = " ".join(f"Tied: {', '.join(bar)}." for bar in bars) or "No ties."
    head = ["pair", "difference in F1", "corrected interval", "p", "p, Holm"]

    def rows(pairs: Iterable[Answer]) -> Iterable[list[str]]:
        for pair in pairs:
            numbers = [_fixed(pair.difference), _between(pair.interval), _fixed(pair.p_value), _fixed(pair.p_holm)]
            yield [f"{labels[pair.better]} over {labels[pair.worse]}", *numbers]

    corrected = "intervals and Holm's p are corrected for the number of pairs"
    differ = _table(f"Pairs that differ in test F1 beyond chance; {corrected}", head, rows(clear)) if clear else ""
    table = _table(f"Ties in test F1; {corrected}", head, rows(ties))
    folded = f"<details><summary>{len(ties)} ties</summary>{table}</details>" if ties else ""
    note = "A bar joins a group of models in which every pair is tied; its knots are the members."
    chart = critical_difference(
        "Who is tied with whom on test",
        seen,
        values={labels[name]: value for name, value in f1.items()},
        colours={labels[name]: colours[name] for name in f1},
        groups=bars,
        axis=Axis("test F1"),
    )
    return (
        _paragraphs(f"{said[0].upper()}{said[1:]} {count_pairs(len(clear), len(ties))}")
        + _keep(_paragraphs(note, kind="note"), chart)
        + differ
        + folded
    )


def _losing_models(result: Comparison, labels: Mapping[str, str]) -> str:
    """Name the models that are above always-positive and would have lost money, with what they would have lost."""
    if not result.losing:
        return ""
    models = result.models
    lost = {name: -models[name].test["money"]["total_return_net"] for name in result.losing}
    amounts = ", ".join(f"{labels[name]} {f'{share:.1%}' if share < 1 else 'all'}" for name, share in lost.items())
    floor = models["always_positive"].test["f1"]["mean"]
    return f"Better than always-positive in test F1 ({floor:.3f}), but losing capital after costs: {amounts}."


def _money(result: Comparison, rows: Rows, roster: Roster) -> str:
    """Show what trades return: by threshold, by day, and the table; `rows`: of plots/threshold_curves.csv."""
    labels, level, even = roster.labels, f"{result.confidence:.0%}", result.break_even_precision
    money = {name: result.models[name].test["money"] for name in result.ranking}
    returns, precision = (_curves(rows, "share_called", key, roster, LEAST_SHARE) for key in ("mean_return_net", "precision"))
    start = min(at for points in returns.values() for at, _ in points)
    called = Axis("share of samples called, log", (start, 1.0), percent=True, log=True)
    at_barriers = [] if even is None else [Guide((start, even), (1, even), f"break-even at the barriers {even:.3f}")]
    no_gain = [Guide((start, 0), (1, 0), "no gain")]
    days = []
    for name, row in money.items():
        day = row["return_per_day_net"]
        if row["trades"]:
            days.append(Row(labels[name], roster.colours[name], day, row["return_per_day_interval"], _fixed(day, "+.2%")))
    seen = ["Mean return a trade after costs", f"Precision, break-even at the barriers {_fixed(even)}"]
    seen = [f"{what}, against the share of samples called positive." for what in seen]
    per_trade, per_day = Axis("mean net return a trade", percent=True), Axis("net return a day", percent=True)
    spoken = "; ".join(f"{row.label} {row.text}" for row in days)
    charts = [
        line_chart("Stricter thresholds: net return", seen[0], _lines(returns, roster), called, per_trade, no_gain),
        line_chart("Stricter thresholds: precision", seen[1], _lines(precision, roster), called, Axis("precision"), at_barriers),
        interval_plot(f"Net return a day, {level} intervals", f"{spoken}.", days, per_day, (0.0, "no trade")),
    ]
    every = money["always_positive"]["total_return_net"]
    board = []
    for name, row in money.items():
        total = row["total_return_net"]
        cells = [_fixed(row["trades"], ",.0f"), _fixed(row["hit_rate"], ".1%"), _fixed(row["break_even_hit_rate"], ".1%")]
        cells += [_fixed(row["mean_return"], "+.2%"), _fixed(row["mean_return_net"], "+.2%")]
        cells += [_fixed(amount, "+.1%") for amount in (row["total_return"], total, total - every)]
        cells += [_fixed(row["return_per_day_net"], "+.2%"), _between(row["return_per_day_interval"], "+.2%")]
        cells += [_fixed(row["max_drawdown"], ".1%")]
        board.append([labels[name], *cells])
    caption = "Trades on test at the tuned threshold: means in shares of the entry price, totals and days of the capital"
    nothing = _fixed(-every, "+.1%")
    board.append(["no trade", "0", "–", "–", "–", "–", "0.0%", "0.0%", nothing, "0.00%", "", "0.0%"])
    head = ["model", "trades", "hit rate", "break-even", "mean before costs", "mean after costs", "total before costs"]
    stricter = (
        f"Thresholds are stricter to the left, down to {LEAST_SHARE:.0%} of the samples called; fewer trades would say little."
    )
    head += ["total after costs", "against always positive", "a day", f"{level} interval", "largest drawdown"]
    return (
        _paragraphs(
            explain_stakes(result),
            explain_break_even(even),
            _losing_models(result, labels),
        )
        + _keep(_paragraphs(stricter, kind="note"), _model_legend(returns | precision, roster), _grid(charts))
        + _table(caption, head, board)
    )


def _heat(result: Comparison, key: str, title: str, labels: Mapping[str, str]) -> str:
    """Shade the test F1 of every model in every group of `key`; before it stands the share of profits."""
    names = result.ranking
    tables = [result.models[name].test[key] for name in names]
    groups = list(tables[0])
    values = [[table[group]["f1"] for table in tables] for group in groups]
    notes = [_fixed(tables[0][group]["positive_share"], ".0%") for group in groups]
    seen = "A column a model; a stronger colour is higher. The first column is the share of samples with a profit."
    return heat_map(title, seen, [labels[name] for name in names], groups, values, notes=notes, notes_label="profits")


def _search(recommended: Recommendation, labels: Mapping[str, str]) -> str:
    """Write what to search in which order, with the reasons."""
    order = [("primary", name) for name in (recommended.primary,) if name]
    order += [("secondary", name) for name in recommended.secondary] + [("set aside", name) for name in recommended.set_aside]
    rows = [[labels[name], f"<strong>{kind}</strong>", escape(recommended.reasons[name])] for kind, name in order]
    none = "" if recommended.primary else "No architecture is shown to be worth a hyperparameter search."
    table = _table("Chosen on validation, so that test stays unseen", ["model", "order", "reason"], rows, "words")
    return _paragraphs(none) + table


def _data(metadata: Mapping[str, Any], settings: Sequence[SettingsRecord], trained_with: str) -> str:
    """Describe bars, splits, leak audit and settings, those of `train` with what the networks were trained with."""
    rows = []
    for split, part in metadata["splits"].items():
        numbers = [escape(part["first_bar"][:10]), escape(part["last_bar"][:10]), f"{part['samples']:,}"]
        rows.append([escape(split), *numbers, _fixed(part["positive_share"], ".1%")])
    said = (
        f"Bars: {metadata['source']}, {len(metadata['assets'])} assets: {', '.join(metadata['assets'])}. A trade wins at "
        f"+{metadata['profit']:.1%} before −{metadata['stop']:.1%} within {metadata['horizon']} bars. A network sees "
        f"{metadata['lookback']} bars of {len(metadata['features'])} features: {', '.join(metadata['features'])}. "
        f"{explain_hours(metadata)}"
    )
    tables = []
    for part in settings:
        cells = [[escape(key), escape(_plain(value))] for key, value in part.values]
        if part.section == "train":
            cells.append(["trained with", escape(trained_with)])
        tables.append(f"<div>{_table(part.section, ['setting', 'value'], cells, 'words')}</div>")
    splits = _table("Splits, by time", ["split", "first bar", "last bar", "samples", "profits"], rows)
    measured = [[escape(name), figure] for name, figure in leak_figures(metadata).items()]
    caption = "Leak audit, measured on the arrays: hours must not be negative, counts must be zero"
    leaks = _table(caption, ["what", "figure"], measured)
    looked_at = _paragraphs(explain_recomputed(metadata), kind="note")
    notes = _paragraphs(said, warn_of_longer_bars(metadata))
    return notes + splits + leaks + looked_at + f"<h3>Settings</h3>{_grid(tables)}"


def page(
    result: Comparison,
    metadata: Mapping[str, Any],
    roster: Roster,
    settings: Sequence[SettingsRecord],
    curves: Mapping[str, Rows],
) -> str:
    """Write the whole report: one HTML document without scripts or anything to load; the same input, the same text.

    Args:
        metadata: data/training_data/metadata.json.
        settings: what the networks were trained with.
        curves: rows of learning, pr, roc, calibration and threshold, as plots/*.csv have them; numbers may be text.
    """
    labels = roster.labels
    leader, advice, *others = result.verdict
    heats = [_heat(result, f"by_{group}", f"Test F1 by {group}", labels) for group in ("asset", "month")]
    note = "A stronger colour is a higher F1. Where profits are frequent it is higher for any model: compare along a row."
    sections = [
        ("verdict", "Verdict", _paragraphs(leader, *others)),
        ("search", "What to search first", _search(result.search_first, labels)),
        ("gates", "Gates", _gates(result.gates, labels)),
        ("leaderboard", "Leaderboard", _leaderboard(result, roster)),
        ("learning", "Learning curves", _learning(curves["learning"], roster) + _convergence(result.models, labels)),
        ("curves", "Ranking and calibration on test", _ranking_and_calibration(result, curves, roster)),
        ("differences", "Differences", _differences(result, roster)),
        ("money", "Money", _money(result, curves["threshold"], roster)),
        ("stability", "Assets and months", _keep(_paragraphs(note, kind="note"), _grid(heats, "two"))),
        ("data", "Data and settings", _data(metadata, settings, described(result.trained_with))),
    ]
    test = metadata["splits"]["test"]
    assets, every = count_test_assets(result), len(metadata["assets"])
    of = f"{assets} asset{'s' * (assets > 1)}" if assets == every else f"{assets} of {every} assets (the others have none there)"
    sub = f"{len(result.models)} models, judged on {test['samples']:,} samples of {of}, "
    sub += f"{test['first_bar'][:10]} to {test['last_bar'][:10]}"
    warning = "SIMULATED market: these figures show that the campaign works, not that a model makes money."
    links = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title, _ in sections)
    body = "".join(f'<section id="{anchor}"><h2>{escape(title)}</h2>{content}</section>\n' for anchor, title, content in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>Comparison of trading classifiers</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>Comparison of trading classifiers</h1>{_paragraphs(sub, kind='sub')}"
        f"{_paragraphs(advice, kind='choice')}{_paragraphs(warning, kind='banner') if result.simulated else ''}</header>\n"
        f'<nav aria-label="Sections">{links}</nav>\n<main>\n{body}</main>\n</body>\n</html>\n'
    )
