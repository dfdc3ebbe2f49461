"""The comparison as Markdown, from plain values only."""

import copy
import re
from collections.abc import Iterator
from typing import Any

from core.names import NAMES


def percent(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:+.{digits}%}"


def literal(value: Any) -> Any:
    """`value` with the texts in it such that Markdown shows them as they are: names of symbols and columns are users' own."""
    if isinstance(value, dict):
        made = copy.copy(value)  # its kind knows which file lacks a key
        made.clear()
        made.update({literal(key): literal(entry) for key, entry in value.items()})
        return made
    if isinstance(value, list | tuple):
        return type(value)(map(literal, value))
    if isinstance(value, str):
        return re.sub(r"([\\`*\[\]<>~$&])|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(value.split()))
    return value


def code(text: str) -> str:
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def listing(names: list[str]) -> str:
    return ", ".join(NAMES[name] for name in names) or "none"


def with_interval(f1: dict[str, Any]) -> str:
    low, high = f1["interval"]
    return f"{f1['mean']:.3f} [{low:.3f}, {high:.3f}]"


FLATTERED = (
    "Validation F1 is flattered: epoch and threshold were chosen on it, so that scores without any information exceed "
    "always-positive there, too; the gap to train looks smaller for it, and so may the spread over seeds. What the choice is "
    "worth shows at other times: the highest F1 of the same scores, at any threshold, after labels were moved in time. "
    "Validation orders what to search; how much was learnt, test tells."
)


REGIMES = "they tell the luck of days like these, not what another year brings."


def simplest(result: dict[str, Any]) -> str:
    """What the references are whose names do not tell."""
    return (
        f"One column: {result['one_column']} of the last bar alone, the column that ranks the labels of train best. Asset prior: "
        "each asset's share of positives in train, whatever its bars. A model that does no better than these has learnt no more."
    )


def assets_of_test(result: dict[str, Any]) -> int:
    """How many assets have samples there."""
    return len(next(iter(result["models"].values()))["test"]["by_asset"])


def stakes(result: dict[str, Any]) -> str:
    """How trades are counted."""
    assets = assets_of_test(result)
    stake = f"1/{assets} of the capital at the start" if assets > 1 else "all of the capital at the start"
    return (
        f"Trades at the tuned threshold, means over seeds, {result['cost_per_trade']:.2%} of costs a round trip; one position an "
        "asset, so that of samples called one after the other only the first is traded: a hit rate is not the precision. A "
        f"trade's stake is {stake}, whatever was won or lost since; at a total of −100% the capital is gone. A drawdown is that "
        "of closed trades."
    )


def break_even(result: dict[str, Any]) -> str:
    """What the hit rates have to reach."""
    return (
        "Break-even: the hit rate at which the same trades would pay nothing, with what hits and the others paid on average; "
        f"where every trade ends at a barrier it is {result['break_even_precision']:.1%}, and trades that time out move it."
    )


DECIDE = "What decides the search, on validation"
TOLD = "What else to know before one is searched or traded; none of these decides"


def value_of_gate(gate: dict[str, Any], key: str) -> str:
    """Its `value` or `threshold` as text."""
    value = gate[key]
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.1%}" if gate["percent"] else f"{value:.3f}"


def rows_of_gates(gates: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, list[list[dict[str, Any]]]]]:
    """The two kinds of gates with their captions: for each gate the findings on every architecture, in order."""
    every = [list(same) for same in zip(*gates.values(), strict=True)]
    for caption, decides in ((DECIDE, True), (TOLD, False)):
        yield caption, [same for same in every if same[0]["decides"] == decides]


def thresholds(same: list[dict[str, Any]]) -> str:
    """One where they are the same for all architectures."""
    found = [value_of_gate(gate, "threshold") for gate in same]
    return " / ".join(found if len(set(found)) > 1 else found[:1])


def leaderboard(result: dict[str, Any]) -> str:
    """Ordered by validation, so that test stays unseen by the order."""
    level = f"{result['confidence']:.0%}"
    rows = []
    for name in result["ranking"]:
        val, test = result["models"][name]["val"], result["models"][name]["test"]
        figures = [test[key] for key in ("ensemble_f1", "pr_auc", "roc_auc", "precision", "recall", "f1_at_0.5", "brier_score")]
        calibration = (test["expected_calibration_error"], test["expected_calibration_error_scaled"])
        rows.append(
            [
                NAMES[name],
                with_interval(val["f1"]),
                with_interval(test["f1"]),
                "–" if test["f1"]["std"] is None else f"{test['f1']['std']:.3f}",
            ]
            + [f"{figure:.3f}" for figure in (*figures, *calibration)]
        )
    head = [
        "model",
        f"validation F1 [{level}]",
        f"test F1 [{level}]",
        "std over seeds",
        "F1 of the ensemble",
        "PR AUC",
        "ROC AUC",
    ]
    head += ["precision", "recall", "F1 at 0.5", "Brier", "calibration error", "after temperature"]
    return table(head, rows)


def gates(result: dict[str, Any]) -> str:
    parts = []
    head = ["gate", *(NAMES[name] for name in result["gates"]), "threshold"]
    for caption, every in rows_of_gates(result["gates"]):
        rows = []
        for same in every:
            marks = [f"{'pass' if gate['passed'] else '**fail**'} ({value_of_gate(gate, 'value')})" for gate in same]
            rows.append([same[0]["gate"], *marks, thresholds(same)])
        parts += [f"{caption}:", table(head, rows)]
    return "\n\n".join(parts)


def training(result: dict[str, Any]) -> str:
    rows = []
    for name, model in result["models"].items():
        if found := model.get("training"):
            seeds = [" · ".join(map(str, found[key])) for key in ("best_epochs", "epochs")]
            gap = found["train_f1"] - found["val_f1"]
            figures = (found["train_f1"], found["val_f1"], gap, found["val_f1_range_last_10_epochs"])
            rows.append([NAMES[name], *seeds, *(f"{figure:.3f}" for figure in figures)])
    head = ["model", "best epoch of each seed", "epochs run", "train F1", "validation F1", "gap"]
    return table([*head, "range of validation F1 over the last 10 epochs, or all"], rows)


def money(result: dict[str, Any]) -> str:
    rows = []
    for name in result["ranking"]:
        paid = result["models"][name]["test"]["money"]
        low, high = paid["return_per_day_interval"]
        rows.append(
            [NAMES[name], f"{paid['trades']:,.0f}"]
            + ["–" if paid[key] is None else f"{paid[key]:.1%}" for key in ("hit_rate", "break_even_hit_rate")]
            + [percent(paid[key]) for key in ("mean_return", "mean_return_net")]
            + [percent(paid[key], 1) for key in ("total_return", "total_return_net")]
            + [f"{percent(paid['return_per_day_net'])} [{percent(low)}, {percent(high)}]"]
            + [f"{paid['max_drawdown']:.1%}"]
        )
    rows.append(["no trade", "0", "–", "–", "–", "–", "+0.0%", "+0.0%", "+0.00%", "0.0%"])
    head = ["model", "trades", "hit rate", "break-even", "a trade, before costs", "after costs", "total, before costs"]
    return table([*head, "after costs", "a day", "largest drawdown"], rows)


def by_group(result: dict[str, Any], kind: str) -> str:
    """Test F1 of every model on each asset or month; `kind` is by_asset or by_month."""
    models = {name: result["models"][name]["test"][kind] for name in result["ranking"]}
    rows = []
    for group, first in next(iter(models.values())).items():
        scores = [found[group]["f1"] for found in models.values()]
        counts = [f"{first['samples']:,.0f}", f"{first['positive_share']:.1%}"]
        rows.append([group, *counts, *("–" if f1 is None else f"{f1:.3f}" for f1 in scores)])
    return table([kind.removeprefix("by_"), "samples", "positive", *(NAMES[name] for name in models)], rows)


def setting(value: Any) -> str:
    texts = isinstance(value, list) and any(isinstance(entry, str) for entry in value)
    return "[" + ", ".join(f"'{entry}'" for entry in value) + "]" if texts else str(value)


def settings(result: dict[str, Any]) -> str:
    return "\n".join(
        f"- {section}: " + ", ".join(f"{key} {setting(value)}" for key, value in values.items())
        for section, values in result["settings"].items()
    )


def leaks(metadata: dict[str, Any]) -> str:
    """The figures that a leak would show in, in words."""
    return "; ".join(f"{name.replace('_', ' ')}: {value:g}" for name, value in metadata["leak_audit"].items())


def would_have_lost(result: dict[str, Any]) -> str:
    """Names the models that look good and lose."""
    if not result["losing"]:
        return "No model with a test F1 above always-positive would have lost money."
    return f"A test F1 above always-positive, and yet money lost after costs: {listing(result['losing'])}."


def search(result: dict[str, Any]) -> str:
    found = result["search_first"]
    groups = {"primary": [found["primary"]] if found["primary"] else [], "secondary": found["secondary"]}
    groups["set aside"] = found["set_aside"]
    return "\n".join(f"- {kind}: {NAMES[name]}, {found['reasons'][name]}" for kind, names in groups.items() for name in names)


def differences(result: dict[str, Any], split: str) -> str:
    rows = [
        [
            f"{NAMES[pair['better']]} over {NAMES[pair['worse']]}",
            f"{pair['difference']:.3f}",
            f"[{pair['interval'][0]:.3f}, {pair['interval'][1]:.3f}]",
            f"{pair['p_holm']:.3f}",
            "clear" if pair["clear"] else "tie",
        ]
        for pair in sorted(result["pairs"][split], key=lambda pair: -pair["difference"])
    ]
    return table(["pair", "difference", "corrected interval", "corrected p", "verdict"], rows)


def comparison(result: dict[str, Any], metadata: dict[str, Any]) -> str:
    """The whole report.

    Args:
        result: what compare found (metrics/compare.json), and the settings by section.
        metadata: data/training_data/metadata.json.
    """
    source, result, metadata = code(metadata["source"]), literal(result), literal(metadata)
    parts = ["# Comparison"]
    if result["simulated"]:
        parts.append("**SIMULATED market: these figures show that the campaign works, not that a model makes money.**")
    data = [
        [split, f"{part['first_bar'][:10]} to {part['last_bar'][:10]}", f"{part['samples']:,}", f"{part['positive_share']:.1%}"]
        for split, part in metadata["splits"].items()
    ]
    parts += [
        "## Verdict",
        " ".join(result["verdict"]),
        "## Gates",
        gates(result),
        FLATTERED,
        "## Leaderboard",
        leaderboard(result),
        "F1 of the positive class at the threshold that is best on validation, mean over seeds; ordered by validation; all but "
        f"the first column on test. Intervals: bootstrap over blocks of {result['block_days']['test']} days "
        f"({result['days']['test']} days of test), with the spread over seeds; {REGIMES} Chance level of PR AUC: "
        f"{result['models'][result['ranking'][0]]['test']['pr_auc_chance']:.3f}. {simplest(result)}",
        "## Training",
        training(result),
        "Means over seeds; each F1 at the threshold that is best for it.",
        "## Money",
        money(result),
        would_have_lost(result),
        f"{stakes(result)} {break_even(result)}",
        "## Differences in test F1",
        differences(result, "test"),
        "Corrected for the number of pairs (Holm).",
        "## Test F1 by asset and month",
        by_group(result, "by_asset"),
        by_group(result, "by_month"),
        "## What to search first",
        search(result),
        "## Data and settings",
        f"{len(metadata['assets'])} assets from {source}: {', '.join(metadata['assets'])}. A trade wins at "
        f"+{metadata['profit']:.1%} before -{metadata['stop']:.1%} within {metadata['horizon']} bars.",
        table(["split", "bars", "samples", "positive"], data),
        f"Leak audit: {leaks(metadata)}.",
        settings(result),
    ]
    return "\n\n".join(parts) + "\n"
