"""Write the recommendation of the present run as a decision record."""

from typing import Any

from judge.comparison import Comparison
from judge.names import Roster
from judge.verdict import listing
from report.markdown import INFORMING, OPTIMISM, PASSED_BY_CHANCE, code, gate_text, literal, with_interval

ALTERNATIVES = ("gradient_boosting", "logistic_regression", "one_column", "prior")  # references to use without a search


def decision(result: Comparison, metadata: dict[str, Any], roster: Roster) -> str:
    """Write context, decision, evidence and alternatives in Markdown; `metadata`: data/training_data/metadata.json."""
    source, result, metadata, labels = code(metadata["source"]), literal(result), literal(metadata), roster.labels
    search, models = result.search_first, result.models
    primary = search.primary
    simulated = ", a SIMULATED market" if result.simulated else ""
    seeds = len(models[search.best].seeds)
    first, last = (metadata["splits"][split][key][:10] for split, key in (("train", "first_bar"), ("test", "last_bar")))
    context = (
        f"{len(result.gates)} architectures were trained with the same settings on {len(metadata['assets'])} assets from "
        f"{source}{simulated}, hourly bars from {first} to {last}, {seeds} seed{'s' if seeds > 1 else ''} each. "
        "A hyperparameter search is worth its price only where the baseline has learnt something."
    )
    leader, _, *others = result.verdict
    evidence = [leader, *others]
    failures: list[str] = []
    if primary is None:
        chosen = "Search none: no architecture is shown to be worth it. Look for better features, labels or data first."
    else:
        chosen = f"Search {labels[primary]} first."
        if search.secondary:
            them = "them" if len(search.secondary) > 1 else "it"
            chosen += f" {listing(search.secondary, labels)} cannot be told apart from it: search {them} next."
        evidence += [f"Validation F1 of {labels[primary]}: {with_interval(models[primary].val['f1'])}.", OPTIMISM]
        failures = [
            f"{labels[primary]} fails: {gate.gate} ({gate_text(gate.value, gate)}, threshold {gate_text(gate.threshold, gate)})."
            for gate in result.gates[primary]
            if not gate.passed
        ]
    alternatives = [f"{labels[name]}: {search.reasons[name]}." for name in (*search.secondary, *search.set_aside)]
    for name in ALTERNATIVES:
        alternatives.append(f"{labels[name]}, no search needed: test F1 {with_interval(models[name].test['f1'])}.")
    parts = ["# Decision: what to search first", "## Context", context, "## Decision", chosen, "## Evidence", bullets(evidence)]
    if failures:
        parts += ["## What speaks against it", f"{INFORMING}. {PASSED_BY_CHANCE}", bullets(failures)]
    parts += ["## Alternatives", bullets(alternatives)]
    return "\n\n".join(parts) + "\n"


def bullets(lines: list[str]) -> str:
    """Write a bulleted list."""
    return "\n".join(f"- {line}" for line in lines)
