"""Write the recommendation of the present run as a decision record."""

from typing import Any

from core.names import NAMES
from report.markdown import BEYOND_CHANCE, FLATTERED, TOLD, code, listing, literal, value_of_gate, with_interval


def decision(result: dict[str, Any], metadata: dict[str, Any]) -> str:
    """Write context, decision, evidence and alternatives in Markdown; arguments as in `report.markdown.comparison`."""
    source, result, metadata = code(metadata["source"]), literal(result), literal(metadata)
    search, models = result["search_first"], result["models"]
    primary = search["primary"]
    simulated = ", a SIMULATED market" if result["simulated"] else ""
    seeds = len(models["mlp"]["seeds"])
    first, last = (metadata["splits"][split][key][:10] for split, key in (("train", "first_bar"), ("test", "last_bar")))
    context = (
        f"{len(result['gates'])} architectures were trained with the same settings on {len(metadata['assets'])} assets from "
        f"{source}{simulated}, hourly bars from {first} to {last}, {seeds} seed{'s' if seeds > 1 else ''} each. "
        "A hyperparameter search is worth its price only where the baseline has learnt something."
    )
    if primary is None:
        chosen = "Search none: no architecture is shown to be worth it. Look for better features, labels or data first."
        others = search["set_aside"]
    else:
        chosen = f"Search {NAMES[primary]} first."
        if search["secondary"]:
            them = "them" if len(search["secondary"]) > 1 else "it"
            chosen += f" {listing(search['secondary'])} cannot be told apart from it: search {them} next."
        others = [*search["secondary"], *search["set_aside"]]
    cautions: list[str] = []
    evidence = [f"- {sentence}" for sentence in (result["verdict"][0], *result["verdict"][2:])]
    if primary is not None:
        evidence += [f"- Validation F1 of {NAMES[primary]}: {with_interval(models[primary]['val']['f1'])}.", f"- {FLATTERED}"]
        cautions = [
            f"- {NAMES[primary]} fails: {gate['gate']} ({value_of_gate(gate, 'value')}, threshold "
            f"{value_of_gate(gate, 'threshold')})."
            for gate in result["gates"][primary]
            if not gate["passed"]
        ]
    alternatives = [f"- {NAMES[name]}: {search['reasons'][name]}." for name in others]
    for name in ("gradient_boosting", "logistic_regression", "one_column", "prior"):
        alternatives.append(f"- {NAMES[name]}, no search needed: test F1 {with_interval(models[name]['test']['f1'])}.")
    parts = ["# Decision: what to search first", "## Context", context, "## Decision", chosen, "## Evidence"]
    parts.append("\n".join(evidence))
    if cautions:
        parts += ["## What speaks against it", f"{TOLD}. {BEYOND_CHANCE}", "\n".join(cautions)]
    parts += ["## Alternatives", "\n".join(alternatives)]
    return "\n\n".join(parts) + "\n"
