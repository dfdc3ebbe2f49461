"""Write what was decided in the present run, and why, as a decision record."""

from collections.abc import Mapping
from typing import Any

from judge.comparison import Comparison
from judge.names import Roster
from judge.verdict import listing
from report.markdown import bullets, escape, strong
from report.numbers import level_text, minus, p_text, percent, rate, with_interval
from report.tables import figure_text
from report.wording import SIMULATED

ALTERNATIVES = ("gradient_boosting", "logistic_regression", "one_column", "prior")  # references to use without a search


def decision(result: Comparison, metadata: Mapping[str, Any], roster: Roster) -> str:
    """Write context, decision, evidence and alternatives in Markdown; `metadata`: data/training_data/metadata.json."""
    parts = ["# Decision: what to search, what to trade", *([strong(SIMULATED)] if result.simulated else [])]
    parts += [strong(result.verdict[0]), "## Context", escape(_context(result, metadata))]
    parts += [
        "## Decision",
        escape(_decision(result, roster.labels)),
        "## Evidence",
        bullets(map(minus, _evidence(result, roster))),
    ]
    if against := _against(result, roster.labels):
        parts += ["## What speaks against it", bullets(against)]
    parts += ["## Alternatives", bullets(_alternatives(result, roster.labels))]
    return "\n\n".join(parts) + "\n"


def _context(result: Comparison, metadata: Mapping[str, Any]) -> str:
    seeds = len(result.models[result.search.best].seeds)
    first, last = (metadata["splits"][split][key][:10] for split, key in (("train", "first_bar"), ("test", "last_bar")))
    return (
        f"{len(result.gates)} architectures were trained with the same settings on {len(metadata['assets'])} assets "
        f"(bars: {metadata['source']}), hourly bars from {first} to {last}, {seeds} seed{'s' if seeds > 1 else ''} each. A "
        "hyperparameter search is worth its price only where the baseline has learnt something that cheaper models have not."
    )


def _decision(result: Comparison, labels: Mapping[str, str]) -> str:
    search, reference = result.search, labels[result.search.reference]
    test = f"cross-fitted validation F1 against {reference}, one-sided, at {level_text(result.confidence)} over all networks"
    if not all(answer.error_is_known for answer in result.answers.search):
        text = f"Search none yet ({test}): the error is not known. Train with several seeds, on more days."
    elif search.primary is None:
        text = f"Search none ({test}). Look for other features, labels or data first."
    else:
        then = f", then {listing(search.secondary, labels)}" if search.secondary else ""
        text = f"Search {labels[search.primary]}{then} ({test})."
    if not result.worth_a_trade:
        return f"{text} Trade none."
    trade = listing(result.worth_a_trade, labels)
    return (
        f"{text} Worth a trade: {trade} (daily return on test after costs above zero, one-sided, at "
        f"{level_text(result.confidence)} over all models that trade). Repeat it on days that nobody has seen before money is "
        "at risk: test has now been looked at."
    )


def _evidence(result: Comparison, roster: Roster) -> list[str]:
    search, labels, level = result.search, roster.labels, level_text(result.confidence)
    reference = result.models[search.reference].val["cross_fitted_f1"]
    lines = [
        f"The best reference on validation is {labels[search.reference]}: cross-fitted F1 "
        f"{with_interval(reference['mean'], reference['interval'])} ({level})."
    ]
    for name in search.worthy:
        f1 = result.models[name].val["cross_fitted_f1"]
        answer = next(answer for answer in result.answers.search if answer.one == name)
        lines.append(
            f"{labels[name]}: {with_interval(f1['mean'], f1['interval'])}, at least {answer.interval[0]:.3f} above it (p "
            f"{p_text(answer.p_value, result.draws)})."
        )
    return lines + result.verdict[2:]


def _against(result: Comparison, labels: Mapping[str, str]) -> list[str]:
    """List the gates at which what is to be searched fails; where nothing is, what may have been missed."""
    lines = []
    for name in result.search.worthy:
        for gate in result.gates[name]:
            if not gate.passed:
                value, threshold = (figure_text(figure, gate) for figure in (gate.value, gate.threshold))
                p_value = "" if gate.p_value is None else f", p {p_text(gate.p_value, result.draws)}"
                lines.append(f"{labels[name]} fails: {gate.gate} ({value}, threshold {threshold}{p_value}).")
    if any("beyond chance" in line for line in lines):
        lines.append("A gate beyond chance fails also where the difference is there and these days do not show it.")
    if not result.search.worthy:
        unseen = max(answer.detectable for answer in result.answers.search)
        if all(answer.error_is_known for answer in result.answers.search):
            size = f"with {result.days['val']} days of validation an advantage in F1 below {unseen:.3f} may have been missed"
        else:
            size = "with one seed, or so few days, no advantage could have been shown"
        lines.append(f"That none was shown does not say that there is none: {size}.")
    if result.worth_a_trade:
        lines.append("Models were picked for a trade on the days of test, so their figures there are flattered.")
    return lines


def _alternatives(result: Comparison, labels: Mapping[str, str]) -> list[str]:
    search = result.search
    lines = [f"{labels[name]}: {search.reasons[name]}." for name in search.order if name not in search.worthy]
    for name in ALTERNATIVES:
        f1 = result.models[name].test["f1"]
        lines.append(f"{labels[name]}, no search needed: test F1 {with_interval(f1['mean'], f1['interval'])}.")
    held = result.buy_and_hold["test"]
    total, drawdown = percent(held.total_return, 1), rate(held.max_drawdown)
    lines.append(f"Buy and hold of the same assets on test: total {total}, largest drawdown {drawdown}.")
    return lines
