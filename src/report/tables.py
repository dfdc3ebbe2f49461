"""Make the tables of the reports from the comparison; those of models have a row a model, in the order of the ranking."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from judge.comparison import Comparison, ModelResult
from judge.equity import Growth
from judge.family import Answer
from judge.gates import STABLE, Gate
from judge.names import BASELINES, Roster
from judge.verdict import is_tie
from report.blocks import Folded, Table
from report.numbers import DASH, fixed, level_text, p_text, percent, rate, with_interval

PASSED, FAILED = "✓", "✗"  # the first character of a gate's cell

Groups = Mapping[str, Mapping[str, float | None]]  # figures of one model by asset or month, as `judge.seed_means.group_means`


def search_table(result: Comparison, labels: Mapping[str, str]) -> Table:
    """List the networks by cross-fitted F1, with what the test against the best reference says."""
    search, level = result.search, level_text(result.confidence)
    answers = {answer.one: answer for answer in result.answers.search}
    rows = []
    for name in search.order:
        f1, answer = result.models[name].val["cross_fitted_f1"], answers[name]
        rows.append(
            [
                labels[name],
                with_interval(f1["mean"], f1["interval"]),
                f"{fixed(answer.difference, '+.3f')} [≥ {fixed(answer.interval[0], '+.3f')}]",
                p_text(answer.p_value, result.draws),
                _worth(result, name, answer, labels),
            ]
        )
    head = ["network", f"validation F1, cross-fitted [{level}]", f"less that of {labels[search.reference]} [≥]", "p"]
    return Table("On validation, in the order of cross-fitted F1", [*head, "worth a search?"], rows)


def _worth(result: Comparison, name: str, answer: Answer, labels: Mapping[str, str]) -> str:
    search = result.search
    if name == search.primary:
        return "yes: first"
    if name in search.secondary:
        return "yes: next"
    if not answer.error_is_known:
        return "no: error unknown"
    if not answer.is_clear:
        return "no: not beyond chance"
    if not next(gate for gate in result.gates[name] if gate.decides).passed:
        return "no: below minimum"
    return f"no: below {labels[search.primary]}"


def gate_tables(gates: Mapping[str, Sequence[Gate]], labels: Mapping[str, str], draws: int) -> list[Table]:
    """Show the gates that decide, then those that inform: a row a gate, a column a network."""
    rows = list(zip(*gates.values(), strict=True))
    captions = {
        True: "These two decide what is worth a search, on validation alone",
        False: "These inform: they decide nothing, but are good to know before a search or a trade",
    }
    tables = []
    for decides, caption in captions.items():
        cells = []
        for row in rows:
            if row[0].decides == decides:
                thresholds = [figure_text(gate.threshold, gate) for gate in row]
                common = f" ({thresholds[0]})" if len(set(thresholds)) == 1 else ""
                own = ["" if common else f" ({threshold})" for threshold in thresholds]
                cells.append([row[0].gate + common, *(_cell(*pair, draws) for pair in zip(row, own, strict=True))])
        tables.append(Table(caption, ["gate (threshold)", *(labels[name] for name in gates)], cells))
    return tables


def _cell(gate: Gate, threshold: str, draws: int) -> str:
    p_value = "" if gate.p_value is None else f", p {p_text(gate.p_value, draws)}"
    return f"{PASSED if gate.passed else FAILED} {figure_text(gate.value, gate)}{threshold}{p_value}"


def figure_text(figure: float | str | None, gate: Gate) -> str:
    """Write the value or the threshold of a gate."""
    return figure if isinstance(figure, str) else fixed(figure, ".1%" if gate.percent else ".3f")


def shift_table(result: Comparison, labels: Mapping[str, str]) -> Table:
    """Compare validation F1 with that on labels of other times."""
    rows = []
    for name in result.ranking:
        f1, shifted = result.models[name].val["f1"]["mean"], result.models[name].val["shifted_f1"]
        rows.append([labels[name], fixed(f1), fixed(shifted), f"{PASSED} yes" if f1 > shifted else f"{FAILED} no"])
    head = ["model", "validation F1", "F1 on shifted labels", "knows when?"]
    return Table("Shift test on validation", head, rows)


def f1_table(result: Comparison, labels: Mapping[str, str]) -> Table:
    """Show F1 on validation and on test."""
    rows = []
    for name in result.ranking:
        val, test = result.models[name].val["cross_fitted_f1"], result.models[name].test["f1"]
        ensemble = None if test["std"] is None else result.models[name].test["ensemble_f1"]
        rows.append(
            [
                labels[name],
                *(with_interval(f1["mean"], f1["interval"]) for f1 in (val, test)),
                fixed(test["std"]),
                fixed(ensemble),
            ]
        )
    level = level_text(result.confidence)
    head = ["model", f"validation, cross-fitted [{level}]", f"test [{level}]", "std over seeds, test", "ensemble, test"]
    return Table("F1 of the positive class, in the order of cross-fitted validation F1", head, rows)


def ranking_table(result: Comparison, labels: Mapping[str, str]) -> Table:
    """Show how well scores rank, and precision and recall."""
    rows = []
    for name in result.ranking:
        test = result.models[name].test
        direction = with_interval(test["direction_auc"], test["direction_auc_interval"])
        others = (fixed(test[key]) for key in ("precision", "recall", "f1_at_0.5"))
        rows.append([labels[name], fixed(test["pr_auc"]), fixed(test["roc_auc"]), direction, *others])
    direction = f"direction AUC [{level_text(result.confidence)}]"
    head = ["model", "PR AUC", "ROC AUC", direction, "precision", "recall", "F1 at 0.5"]
    return Table("Ranking, all on test; precision and recall at the threshold chosen on validation for F1", head, rows)


def probability_table(result: Comparison, labels: Mapping[str, str]) -> Table:
    """Show how good the probabilities are after the calibration."""
    keys = ("calibrated_brier_score", "brier_skill", "calibrated_log_loss", "calibrated_expected_calibration_error")
    rows = []
    for name in result.ranking:
        p_value = result.confidence_set[name]
        holds = "yes" if p_value > 1 - result.confidence else "no"
        figures = (fixed(result.models[name].test[key]) for key in keys)
        rows.append([labels[name], *figures, f"{holds} (p {p_text(p_value, result.draws)})"])
    head = ["model", "Brier score", "Brier skill", "log loss", "calibration error", "in the confidence set"]
    return Table("Probabilities on test, after the calibration that was fitted on validation", head, rows)


def training_table(result: Comparison, labels: Mapping[str, str]) -> Table:
    """Show how each network converged."""
    rows = []
    for name, gates in result.gates.items():
        training = result.models[name].training
        epochs = (" · ".join(map(str, training[key])) for key in ("best_epochs", "epochs"))
        spread = next(gate.value for gate in gates if gate.gate == STABLE)
        figures = (training["train_f1"], training["val_f1"], training["train_f1"] - training["val_f1"], spread)
        rows.append([labels[name], *epochs, *map(fixed, figures)])
    head = ["network", "best epochs", "epochs run", "train F1", "validation F1", "gap", "spread near the best"]
    return Table("Epochs of each seed; F1 as means over seeds", head, rows)


def trades_table(result: Comparison, labels: Mapping[str, str], split: str, key: str, caption: str) -> Table:
    """Show the trades of each model; `key`: money, or money_at_f1."""
    rows, level = [], level_text(result.confidence)
    has_margin = "hit_rate_above_break_even" in _money(result, result.ranking[0], split, key)
    for name in result.ranking:
        money = _money(result, name, split, key)
        margin = money.get("hit_rate_above_break_even"), money.get("hit_rate_above_break_even_interval")
        rows.append(
            [
                labels[name],
                fixed(money["trades"], ",.0f"),
                rate(money["hit_rate"]),
                rate(money["break_even_hit_rate"]),
                *([with_interval(*margin, "+.1%")] if has_margin else []),
                percent(money["mean_return"]),
                percent(money["mean_return_net"]),
            ]
        )
    head = ["model", "trades", "hit rate", "break-even", *([f"above break-even [{level}]"] if has_margin else [])]
    head += ["mean trade, gross", "mean trade, net"]
    rows += [["buy and hold", "1 an asset", *[DASH] * (len(head) - 2)], ["no trade", "0", *[DASH] * (len(head) - 2)]]
    return Table(caption, head, rows)


def capital_table(result: Comparison, labels: Mapping[str, str], split: str, key: str, caption: str) -> Table:
    """Show what the trades make of the capital; `key`: money, or money_at_f1."""
    rows = []
    has_interval = "return_per_day_interval" in _money(result, result.ranking[0], split, key)
    for name in result.ranking:
        money = _money(result, name, split, key)
        a_day = with_interval(money["return_per_day_net"], money.get("return_per_day_interval"), "+.3%")
        totals = (percent(money[total], 1) for total in ("total_return", "total_return_net"))
        rows.append([labels[name], *totals, a_day, fixed(money["max_drawdown"], ".1%")])
    held: Growth = result.buy_and_hold[split]
    rows.append(["buy and hold", DASH, percent(held.total_return, 1), DASH, fixed(held.max_drawdown, ".1%")])
    rows.append(["no trade", "0.0%", "0.0%", "0.000%", "0.0%"])
    a_day = f"a day, net [{level_text(result.confidence)}]" if has_interval else "a day, net"
    return Table(caption, ["model", "total, gross", "total, net", a_day, "largest drawdown"], rows)


def _money(result: Comparison, name: str, split: str, key: str) -> Mapping[str, Any]:
    model: ModelResult = result.models[name]
    return {"val": model.val, "test": model.test}[split][key]


def split_answers(answers: Sequence[Answer], reference: str, roster: Roster) -> dict[str, list[Answer]]:
    """Part the answers on test by what was asked: against the best reference, between networks, against each of `BASELINES`."""
    networks = roster.networks
    asked = {
        "reference": lambda answer: answer.one in networks and answer.other == reference,
        "networks": lambda answer: answer.one in networks and answer.other in networks,
        **{own: lambda answer, own=own: answer.other == own and own != reference for own in BASELINES},
    }
    if reference in BASELINES:  # then the first kind leaves out the references
        asked["reference"] = lambda answer: answer.other == reference
    return {kind: own for kind, belongs in asked.items() if (own := [a for a in answers if belongs(a)])}


def difference_tables(
    answers: Sequence[Answer], reference: str, roster: Roster, *, confidence: float, draws: int, margin: float
) -> list[Table]:
    """Show the differences in test F1, a table a kind of question.

    Args:
        reference: the best one on validation.
        confidence, draws: of intervals and p-values.
        margin: a difference that does not matter.
    """
    labels, level = roster.labels, level_text(confidence)
    tables = []
    for kind, of_kind in split_answers(answers, reference, roster).items():
        rows = []
        shown = map(turn, of_kind) if kind == "networks" else of_kind
        for answer in sorted(shown, key=lambda answer: -answer.difference):
            pair = f"{labels[answer.one]} − {labels[answer.other]}" if kind == "networks" else labels[answer.one]
            shows = answer.detectable if answer.error_is_known and not answer.is_clear and answer.detectable < 1 else None
            rows.append(
                [
                    pair,
                    with_interval(answer.difference, answer.interval, "+.3f"),
                    p_text(answer.p_value, draws),
                    fixed(shows),
                    finding(answer, margin),
                ]
            )
        first = "pair" if kind == "networks" else "model"
        head = [first, f"difference [{level}]", "p", "would have shown from", "finding"]
        tables.append(Table(difference_caption(reference, kind, labels), head, rows))
    return tables


def turn(answer: Answer) -> Answer:
    """Put the model with the higher figure first; the interval has two ends."""
    if answer.difference >= 0:
        return answer
    low, high = answer.interval
    return replace(answer, one=answer.other, other=answer.one, difference=-answer.difference, interval=[-high, -low])


def difference_caption(reference: str, kind: str, labels: Mapping[str, str]) -> str:
    """Name the differences of one kind of `split_answers`."""
    if kind == "networks":
        return "Networks among each other, the first less the second"
    if kind == "reference":
        return f"Less {labels[reference]}, the best reference on validation"
    return f"Less {labels[kind]}, which knows {BASELINES[kind]}"


def finding(answer: Answer, margin: float) -> str:
    """Say in a word what an answer on test says."""
    if answer.is_clear:
        return "above" if answer.difference > 0 else "below"
    return "tie" if is_tie(answer, margin) else "cannot be told apart"


def pick_groups(result: Comparison, kind: str) -> dict[str, Groups]:
    """Pick the figures of every model by asset or month, in the order of the ranking; `kind` is by_asset or by_month."""
    return {name: result.models[name].test[kind] for name in result.ranking}


def group_blocks(figures: Mapping[str, Groups], roster: Roster, name_of_group: str) -> list[Table | Folded]:
    """Show the test F1 of every model on each group, the references folded.

    Args:
        figures: of each model, in the order of the columns.
        name_of_group: asset or month.
    """
    labels = roster.labels
    networks = [name for name in figures if name in roster.networks]
    references = [name for name in figures if name not in roster.networks]
    of_networks, of_references = [], []
    for group, first in next(iter(figures.values())).items():
        f1 = {name: fixed(groups[group]["f1"]) for name, groups in figures.items()}
        counts = [group, f"{first['samples']:,.0f}", f"{first['positive_share']:.1%}"]
        of_networks.append([*counts, *(f1[name] for name in networks)])
        of_references.append([group, *(f1[name] for name in references)])
    head = [name_of_group, "samples", "profits", *(labels[name] for name in networks)]
    table = Table(f"Test F1 of the networks by {name_of_group}", head, of_networks)
    caption = f"Test F1 of the references by {name_of_group}"
    return [table, Folded(caption, [Table(caption, [name_of_group, *(labels[name] for name in references)], of_references)])]


def split_table(splits: Mapping[str, Mapping[str, Any]]) -> Table:
    """Show dates and sizes of the splits."""
    rows = [
        [split, part["first_bar"][:10], part["last_bar"][:10], f"{part['samples']:,}", f"{part['positive_share']:.1%}"]
        for split, part in splits.items()
    ]
    return Table("Splits, by time", ["split", "first bar", "last bar", "samples", "profits"], rows)


def leak_table(figures: Iterable[tuple[str, float]]) -> Table:
    """Show the figures in which a leak would show."""
    rows = [[name.replace("_", " "), f"{value:g}"] for name, value in figures]
    return Table("Leak audit, measured on the arrays (hours must not be negative, counts must be zero)", ["what", "figure"], rows)
