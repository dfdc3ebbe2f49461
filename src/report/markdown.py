"""Write the comparison as Markdown, from plain values only.

GitHub shows a table in a column of about 830 pixels: wide ones are split, long ones folded into <details>.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from core.names import NAMES, NETWORKS


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


def table(head: list[str], rows: list[list[str]], *, numbers: bool = True) -> str:
    """A Markdown table; the first column is text, the others are `numbers` or text, too."""
    lines = ["| " + " | ".join(head) + " |", "|---" + ("|---:" if numbers else "|---") * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def folded(summary: str, content: str) -> str:
    """Hide `content` behind `summary`, as GitHub and a browser unfold it."""
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def listing(names: list[str]) -> str:
    return ", ".join(NAMES[name] for name in names) or "none"


def with_interval(f1: dict[str, Any]) -> str:
    low, high = f1["interval"]
    return f"{f1['mean']:.3f} [{low:.3f}, {high:.3f}]"


FLATTERED = (
    "Validation F1 is optimistic, because epoch and threshold were chosen on it: even scores without information exceed "
    "always-positive there. That also narrows the gap to train, and may narrow the spread over seeds. The shift test measures "
    "how much the choice is worth: labels are shifted in time, and the same scores get the threshold that is best for them. Use "
    "validation to decide what to search, and test to judge what was learnt."
)
BEYOND_CHANCE = (
    'A gate "beyond chance" can fail although its value is above the threshold: then chance is enough to explain the difference.'
)
REGIMES = "they tell the sampling error of days like these, and nothing of a change of regime."
NO_LOG_LOSS = "Always positive scores every sample 1: its log loss is infinite, and a temperature changes nothing."
ENSEMBLE = "the ensemble is the mean score of the seeds. A model without seeds has neither a spread nor an ensemble."
CALIBRATION = {
    "brier_score": "Brier score",
    "log_loss": "log loss",
    "expected_calibration_error": "calibration error",
    "expected_calibration_error_scaled": "after temperature",
    "temperature": "temperature",
}
UNDEFINED = {"always_positive": ("log_loss", "expected_calibration_error_scaled", "temperature")}


def on_test(result: Mapping[str, Any], name: str, key: str) -> float | None:
    """Return a model's figure on test; None where it has no meaning for that model."""
    test = result["models"][name]["test"]
    if key in UNDEFINED.get(name, ()) or (key == "ensemble_f1" and test["f1"]["std"] is None):
        return None
    return test[key]


def fixed(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else f"{value:{form}}"


def simplest(result: Mapping[str, Any]) -> str:
    """Explain the two references whose names do not."""
    return (
        f"One column: a logistic regression on {result['one_column']} of the last bar, the column that ranks the labels of train "
        "best. Asset prior: each asset's share of positives in train, whatever its bars show. A network that does no better than "
        "these has learnt nothing more."
    )


def assets_of_test(result: Mapping[str, Any]) -> int:
    """Count the assets that have samples on test."""
    return len(next(iter(result["models"].values()))["test"]["by_asset"])


def stakes(result: Mapping[str, Any]) -> str:
    """Explain how trades are counted."""
    assets = assets_of_test(result)
    stake = f"1/{assets} of the initial capital" if assets > 1 else "all of the initial capital"
    return (
        f"Trades are taken at the threshold chosen on validation and cost {result['cost_per_trade']:.2%} a round trip; figures "
        "are means over seeds. An asset holds one position at a time: of overlapping signals only the first is traded, so the "
        f"hit rate is not the precision. Each trade stakes {stake}, whatever was won or lost before; at a total of −100% the "
        "capital is gone. Drawdowns are those of closed trades."
    )


def break_even(result: Mapping[str, Any]) -> str:
    """Explain what the hit rates have to reach."""
    return (
        "Break-even is the hit rate at which these trades would return nothing after costs, given what hits and misses returned "
        f"on average. It is {result['break_even_precision']:.1%} if every trade ends at a barrier; trades that time out move it."
    )


DECIDE = "What decides the search, on validation"
TOLD = "What else to know before a search or a trade; none of these decides"


def value_of_gate(gate: dict[str, Any], key: str) -> str:
    """Write the `value` or the `threshold` of a gate."""
    value = gate[key]
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.1%}" if gate["percent"] else f"{value:.3f}"


def rows_of_gates(gates: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, list[list[dict[str, Any]]]]]:
    """Yield the two kinds of gates with their captions: for each gate the findings on every architecture, in order."""
    every = [list(same) for same in zip(*gates.values(), strict=True)]
    for caption, decides in ((DECIDE, True), (TOLD, False)):
        yield caption, [same for same in every if same[0]["decides"] == decides]


def common_threshold(same: list[dict[str, Any]]) -> str | None:
    """Write the threshold of a gate; None where the architectures have different ones."""
    found = {value_of_gate(gate, "threshold") for gate in same}
    return found.pop() if len(found) == 1 else None


def leaderboard(result: dict[str, Any]) -> list[str]:
    """Tables of F1, of ranking and of calibration, ordered by validation, so that test stays unseen by the order."""
    level = f"{result['confidence']:.0%}"
    f1 = []
    for name in result["ranking"]:
        val, test = result["models"][name]["val"]["f1"], result["models"][name]["test"]["f1"]
        figures = (test["std"], on_test(result, name, "ensemble_f1"))
        f1.append([NAMES[name], with_interval(val), with_interval(test), *map(fixed, figures)])

    def on_test_of(heads: dict[str, str]) -> str:
        rows = [[NAMES[name], *(fixed(on_test(result, name, key)) for key in heads)] for name in result["ranking"]]
        return table(["model", *heads.values()], rows)

    ranking = {"pr_auc": "PR AUC", "roc_auc": "ROC AUC", "precision": "precision", "recall": "recall", "f1_at_0.5": "F1 at 0.5"}
    return [
        table(["model", f"validation F1 [{level}]", f"test F1 [{level}]", "seed std", "ensemble F1"], f1),
        on_test_of(ranking),
        on_test_of(CALIBRATION),
    ]


def gates(result: dict[str, Any]) -> str:
    parts = ["✓ passed, ✗ failed; beside it the value, in brackets the threshold: the gate's, or each network's own."]
    head = ["gate", *(NAMES[name] for name in result["gates"])]
    for caption, every in rows_of_gates(result["gates"]):
        rows = []
        for same in every:
            common = common_threshold(same)
            own = ["" if common else f" ({value_of_gate(gate, 'threshold')})" for gate in same]
            marks = [
                f"{'✓' if gate['passed'] else '**✗**'} {value_of_gate(gate, 'value')}{threshold}"
                for gate, threshold in zip(same, own, strict=True)
            ]
            rows.append([same[0]["gate"] + (f" ({common})" if common else ""), *marks])
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
    head = ["model", "best epochs", "epochs run", "train F1", "validation F1", "gap", "range at the end"]
    return table(head, rows)


def money(result: dict[str, Any]) -> list[str]:
    """Two tables: the trades, and what they make of the capital."""
    trades, capital = [], []
    for name in result["ranking"]:
        paid = result["models"][name]["test"]["money"]
        low, high = paid["return_per_day_interval"]
        trades.append(
            [NAMES[name], f"{paid['trades']:,.0f}"]
            + [fixed(paid[key], ".1%") for key in ("hit_rate", "break_even_hit_rate")]
            + [percent(paid[key]) for key in ("mean_return", "mean_return_net")]
        )
        capital.append(
            [
                NAMES[name],
                *(percent(paid[key], 1) for key in ("total_return", "total_return_net")),
                f"{percent(paid['return_per_day_net'])} [{percent(low)}, {percent(high)}]",
                f"{paid['max_drawdown']:.1%}",
            ]
        )
    capital.append(["no trade", "+0.0%", "+0.0%", "+0.00%", "0.0%"])
    level = f"{result['confidence']:.0%}"
    head = ["model", "trades", "hit rate", "break-even", "mean trade, gross", "mean trade, net"]
    of_capital = ["model", "total, gross", "total, net", f"a day, net [{level}]", "largest drawdown"]
    return [table(head, trades), table(of_capital, capital)]


def by_group(result: dict[str, Any], kind: str) -> str:
    """Test F1 of every model on each asset or month, the references folded; `kind` is by_asset or by_month."""
    of = kind.removeprefix("by_")
    models = {name: result["models"][name]["test"][kind] for name in result["ranking"]}
    networks, references = [], []
    for group, first in next(iter(models.values())).items():
        scores = {name: fixed(found[group]["f1"]) for name, found in models.items()}
        counts = [group, f"{first['samples']:,.0f}", f"{first['positive_share']:.1%}"]
        networks.append([*counts, *(f1 for name, f1 in scores.items() if name in NETWORKS)])
        references.append([group, *(f1 for name, f1 in scores.items() if name not in NETWORKS)])
    head = [of, "samples", "positive", *(NAMES[name] for name in models if name in NETWORKS)]
    simple = [of, *(NAMES[name] for name in models if name not in NETWORKS)]
    return table(head, networks) + "\n\n" + folded(f"The references by {of}", table(simple, references))


def setting(value: Any) -> str:
    texts = isinstance(value, list) and any(isinstance(entry, str) for entry in value)
    return "[" + ", ".join(f"'{entry}'" for entry in value) + "]" if texts else str(value)


def settings(result: dict[str, Any]) -> str:
    return "\n".join(
        f"- {section}: " + ", ".join(f"{key} {setting(value)}" for key, value in values.items())
        for section, values in result["settings"].items()
    )


def leaks(metadata: dict[str, Any]) -> str:
    """Write the figures in which a leak would show."""
    return "; ".join(f"{name.replace('_', ' ')}: {value:g}" for name, value in metadata["leak_audit"].items())


def would_have_lost(result: dict[str, Any]) -> str:
    """Name the models that look good and lose."""
    if not result["losing"]:
        return "No model with a test F1 above always-positive lost money after costs."
    return f"Test F1 above always-positive, and money lost after costs all the same: {listing(result['losing'])}."


def search(result: dict[str, Any]) -> str:
    found = result["search_first"]
    groups = {"primary": [found["primary"]] if found["primary"] else [], "secondary": found["secondary"]}
    groups["set aside"] = found["set_aside"]
    rows = [[NAMES[name], kind, found["reasons"][name]] for kind, names in groups.items() for name in names]
    return table(["model", "order", "reason"], rows, numbers=False)


def sorted_pairs(result: Mapping[str, Any], split: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the pairs that differ beyond chance and the ties, the greatest difference first."""
    pairs = sorted(result["pairs"][split], key=lambda pair: -pair["difference"])
    return [pair for pair in pairs if pair["clear"]], [pair for pair in pairs if not pair["clear"]]


def count_of_pairs(clear: list[Any], ties: list[Any]) -> str:
    """Say how many pairs differ."""
    every = len(clear) + len(ties)
    return f"{len(clear) or 'None'} of {every} pairs of models differ{'s' * (len(clear) <= 1)} in test F1 beyond chance."


def differences(result: dict[str, Any], split: str) -> str:
    """The pairs that differ; the ties folded."""
    clear, ties = (
        [
            [
                f"{NAMES[pair['better']]} over {NAMES[pair['worse']]}",
                f"{pair['difference']:.3f}",
                f"[{pair['interval'][0]:.3f}, {pair['interval'][1]:.3f}]",
                f"{pair['p_holm']:.3f}",
            ]
            for pair in pairs
        ]
        for pairs in sorted_pairs(result, split)
    )
    head = ["pair", "difference", "corrected interval", "corrected p"]
    parts = [count_of_pairs(clear, ties), table(head, clear) if clear else ""]
    parts.append(folded(f"{len(ties)} ties", table(head, ties)) if ties else "")
    return "\n\n".join(part for part in parts if part)


def comparison(result: dict[str, Any], metadata: dict[str, Any]) -> str:
    """Write the whole report.

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
    days, blocks, level = result["days"]["test"], result["block_days"]["test"], f"{result['confidence']:.0%}"
    leads, advice, *others = result["verdict"]
    scores, ranking, calibration = leaderboard(result)
    trades, capital = money(result)
    parts += [
        f"**{advice}**",
        "## Verdict",
        "\n".join(f"- {sentence}" for sentence in (leads, *others)),
        "## What to search first",
        search(result),
        "Chosen on validation, so that test stays unseen.",
        "## Gates",
        gates(result),
        BEYOND_CHANCE,
        FLATTERED,
        "## Leaderboard",
        scores,
        "Ranking on test, and what is called at the threshold:",
        ranking,
        folded("Calibration on test", calibration + "\n\n" + NO_LOG_LOSS),
        "Models are ordered by validation F1; every other column is on test. F1 is that of the positive class at the threshold "
        f"chosen on validation, a mean over seeds; {ENSEMBLE} Intervals: {level}, bootstrap "
        f"over blocks of {blocks} days ({days} days of test), with the spread over seeds; {REGIMES} Chance level of PR AUC: "
        f"{result['models'][result['ranking'][0]]['test']['pr_auc_chance']:.3f}. {simplest(result)}",
        "## Training",
        training(result),
        "F1 and its range are means over seeds, each F1 at the threshold that is best for it. The range is that of validation F1 "
        "over the last 10 epochs, or over all where there were fewer.",
        "## Money",
        trades,
        "What they make of the capital; net is after costs:",
        capital,
        would_have_lost(result),
        f"{stakes(result)} {break_even(result)}",
        "## Differences in test F1",
        differences(result, "test"),
        "Intervals and p are corrected for the number of pairs (Holm).",
        "## Test F1 by asset",
        by_group(result, "by_asset"),
        "## Test F1 by month",
        by_group(result, "by_month"),
        "## Data and settings",
        f"{len(metadata['assets'])} assets from {source}: {', '.join(metadata['assets'])}. A trade wins at "
        f"+{metadata['profit']:.1%} before −{metadata['stop']:.1%} within {metadata['horizon']} bars.",
        table(["split", "bars", "samples", "positive"], data),
        f"Leak audit: {leaks(metadata)}.",
        settings(result),
    ]
    return "\n\n".join(parts) + "\n"
