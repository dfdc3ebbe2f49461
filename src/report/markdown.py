"""Write the comparison as Markdown, from plain values only.

GitHub shows a table in a column of about 830 pixels: wide ones are split, long ones folded into <details>.
"""

import copy
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from judge.comparison import Comparison
from judge.family import Answer
from judge.gates import Gate
from judge.names import Roster
from judge.recommendation import Recommendation
from judge.train_record import SettingsRecord
from judge.verdict import listing
from report.committed import described


def percent(value: float | None, digits: int = 2) -> str:
    """Write a share with its sign; a dash where it is None."""
    return "–" if value is None else f"{value:+.{digits}%}"


def literal(value: Any) -> Any:
    """Escape every text in `value`, keys too, so that Markdown shows it as it is: users name symbols and columns."""
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(
            value, **{field.name: literal(getattr(value, field.name)) for field in dataclasses.fields(value)}
        )
    if isinstance(value, dict):
        escaped = copy.copy(value)  # of the same class, which may know which file lacks a key
        escaped.clear()
        escaped.update({literal(key): literal(entry) for key, entry in value.items()})
        return escaped
    if isinstance(value, list | tuple):
        return type(value)(map(literal, value))
    if isinstance(value, str):
        return re.sub(r"([\\`*\[\]<>~$&])|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(value.split()))
    return value


def code(text: str) -> str:
    """Quote a text as code, with a fence longer than any in it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def table(head: list[str], rows: list[list[str]], *, numbers: bool = True) -> str:
    """Write a table; the first column is text, the others are `numbers`, aligned right, or text, too."""
    lines = ["| " + " | ".join(head) + " |", "|---" + ("|---:" if numbers else "|---") * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def folded(summary: str, content: str) -> str:
    """Hide `content` behind `summary`, as GitHub and a browser unfold it."""
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def with_interval(f1: Mapping[str, Any]) -> str:
    """Write a mean F1 with its interval."""
    low, high = f1["interval"]
    return f"{f1['mean']:.3f} [{low:.3f}, {high:.3f}]"


OPTIMISM = (
    "Validation F1 is optimistic, because epoch and threshold were chosen on it: even scores without information exceed "
    "always-positive there. This also narrows the gap to train, and can narrow the spread over seeds. The shift test measures "
    "how much is due to choosing: each asset's labels are shifted in time (a circular shift), so that they no longer belong to "
    "the scores, and the threshold is chosen anew. Use validation to decide what to search, and test to judge what was learnt."
)
PASSED_BY_CHANCE = (
    'A gate "beyond chance" can fail although its value is above the threshold: chance alone could then explain the difference.'
)
REGIMES = "they cover the sampling error of days like these, not a change of regime."
NO_LOG_LOSS = "Always positive scores every sample 1: its log loss is infinite before calibration."
ENSEMBLE = "the ensemble is the mean score of the seeds. A model without seeds has neither a spread nor an ensemble."
CALIBRATION = {
    "brier_score": "Brier score",
    "log_loss": "log loss",
    "expected_calibration_error": "calibration error",
    "calibrated_expected_calibration_error": "after calibration",
}
RECOMPUTED = ("rows_recomputed", "values_recomputed")  # figures of the leak audit that say how much was looked at
UNDEFINED = {"always_positive": ("log_loss",)}


def figure_on_test(result: Comparison, name: str, key: str) -> float | None:
    """Return a model's figure on test; None where it has no meaning for that model."""
    test = result.models[name].test
    if key in UNDEFINED.get(name, ()) or (key == "ensemble_f1" and test["f1"]["std"] is None):
        return None
    return test[key]


def fixed(value: float | None, form: str = ".3f") -> str:
    """Write a number; a dash where it is None."""
    return "–" if value is None else f"{value:{form}}"


def explain_references(one_column: str) -> str:
    """Explain the two references whose names do not; `one_column`: the feature of the first."""
    return (
        f"One column: a logistic regression on {one_column} of the last bar, the column that ranks the labels of train "
        "best. Asset prior: each asset's share of positives in train, whatever its bars show. A network that is no better than "
        "these two has learnt nothing beyond them."
    )


def count_test_assets(result: Comparison) -> int:
    """Count the assets that have samples on test."""
    return len(next(iter(result.models.values())).test["by_asset"])


def explain_stakes(result: Comparison) -> str:
    """Explain how trades are counted."""
    assets = count_test_assets(result)
    stake = f"1/{assets} of the current equity" if assets > 1 else "all of the current equity"
    return (
        f"Trades are taken at the threshold chosen on validation and cost {result.cost_per_trade:.2%} a round trip; figures "
        "are means over seeds. An asset holds one position at a time: of overlapping signals only the first is traded, so the "
        f"hit rate is not the precision. Each trade stakes {stake}, at most the free cash. Drawdowns count closed "
        "trades only, as shares of the peak."
    )


def explain_break_even(break_even_precision: float | None) -> str:
    """Explain what the hit rates have to reach."""
    text = (
        "Break-even is the hit rate at which these trades would return nothing after costs, given what hits and misses returned "
    )
    if break_even_precision is None:
        return f"{text}on average."
    return f"{text}on average. It is {break_even_precision:.1%} if every trade ends at a barrier; trades that time out move it."


DECIDING = "These decide what is searched (on validation)"
INFORMING = "These decide nothing, but are good to know before a search or a trade"


def gate_text(figure: float | list[int] | None, gate: Gate) -> str:
    """Write the value or the threshold of a gate."""
    if figure is None:
        return "unknown"
    if isinstance(figure, list):
        return ", ".join(map(str, figure)) or "none"
    return f"{figure:.1%}" if gate.percent else f"{figure:.3f}"


def gate_rows(gates: Mapping[str, list[Gate]]) -> Iterator[tuple[str, list[list[Gate]]]]:
    """Yield the two kinds of gates, each with its caption: for every gate the findings on all architectures, in order."""
    rows = [list(row) for row in zip(*gates.values(), strict=True)]
    for caption, decides in ((DECIDING, True), (INFORMING, False)):
        yield caption, [row for row in rows if row[0].decides == decides]


def common_threshold(row: Iterable[Gate]) -> str | None:
    """Write the threshold of a gate; None where the architectures have different ones."""
    thresholds = {gate_text(gate.threshold, gate) for gate in row}
    return thresholds.pop() if len(thresholds) == 1 else None


def leaderboard(result: Comparison, labels: Mapping[str, str]) -> list[str]:
    """Write the tables of F1, of ranking and of calibration, ordered by validation, so that test stays unseen by the order."""
    level = f"{result.confidence:.0%}"
    f1 = []
    for name in result.ranking:
        val, test = result.models[name].val["f1"], result.models[name].test["f1"]
        figures = (test["std"], figure_on_test(result, name, "ensemble_f1"))
        f1.append([labels[name], with_interval(val), with_interval(test), *map(fixed, figures)])

    def table_on_test(heads: Mapping[str, str]) -> str:
        rows = [[labels[name], *(fixed(figure_on_test(result, name, key)) for key in heads)] for name in result.ranking]
        return table(["model", *heads.values()], rows)

    ranking = {"pr_auc": "PR AUC", "roc_auc": "ROC AUC", "precision": "precision", "recall": "recall", "f1_at_0.5": "F1 at 0.5"}
    return [
        table(["model", f"validation F1 [{level}]", f"test F1 [{level}]", "seed std", "ensemble F1"], f1),
        table_on_test(ranking),
        table_on_test(CALIBRATION),
    ]


def gate_tables(gates: Mapping[str, list[Gate]], labels: Mapping[str, str]) -> str:
    """Write a table of the gates that decide and one of the others, a column an architecture."""
    parts = [
        "✓ passed, ✗ failed, each with its value. Thresholds are in brackets: behind the gate's name where all networks share "
        "one, else behind each value."
    ]
    head = ["gate", *(labels[name] for name in gates)]
    for caption, rows in gate_rows(gates):
        cells = []
        for row in rows:
            common = common_threshold(row)
            marks = [
                f"{'✓' if gate.passed else '**✗**'} {gate_text(gate.value, gate)}"
                + ("" if common else f" ({gate_text(gate.threshold, gate)})")
                for gate in row
            ]
            cells.append([row[0].gate + (f" ({common})" if common else ""), *marks])
        parts += [f"{caption}:", table(head, cells)]
    return "\n\n".join(parts)


def training_table(result: Comparison, labels: Mapping[str, str]) -> str:
    """Write how each network converged."""
    rows = []
    for name, model in result.models.items():
        if training := model.training:
            seeds = [" · ".join(map(str, training[key])) for key in ("best_epochs", "epochs")]
            gap = training["train_f1"] - training["val_f1"]
            figures = (training["train_f1"], training["val_f1"], gap, training["val_f1_range_last_10_epochs"])
            rows.append([labels[name], *seeds, *(f"{figure:.3f}" for figure in figures)])
    head = ["model", "best epochs", "epochs run", "train F1", "validation F1", "gap", "range at the end"]
    return table(head, rows)


def money_tables(result: Comparison, labels: Mapping[str, str]) -> list[str]:
    """Write two tables: the trades, and what they make of the capital."""
    trades, capital = [], []
    for name in result.ranking:
        money = result.models[name].test["money"]
        low, high = money["return_per_day_interval"]
        trades.append(
            [labels[name], f"{money['trades']:,.0f}"]
            + [fixed(money[key], ".1%") for key in ("hit_rate", "break_even_hit_rate")]
            + [percent(money[key]) for key in ("mean_return", "mean_return_net")]
        )
        capital.append(
            [
                labels[name],
                *(percent(money[key], 1) for key in ("total_return", "total_return_net")),
                f"{percent(money['return_per_day_net'])} [{percent(low)}, {percent(high)}]",
                f"{money['max_drawdown']:.1%}",
            ]
        )
    capital.append(["no trade", "+0.0%", "+0.0%", "+0.00%", "0.0%"])
    level = f"{result.confidence:.0%}"
    trades_head = ["model", "trades", "hit rate", "break-even", "mean trade, gross", "mean trade, net"]
    capital_head = ["model", "total, gross", "total, net", f"a day, net [{level}]", "largest drawdown"]
    return [table(trades_head, trades), table(capital_head, capital)]


def group_tables(result: Comparison, roster: Roster, kind: str) -> str:
    """Write the test F1 of every model on each asset or month, the references folded; `kind` is by_asset or by_month."""
    group_name, labels = kind.removeprefix("by_"), roster.labels
    networks = [name for name in result.ranking if name in roster.networks]
    references = [name for name in result.ranking if name not in roster.networks]
    figures = {name: result.models[name].test[kind] for name in result.ranking}
    of_networks, of_references = [], []
    for group, first in figures[result.ranking[0]].items():
        f1 = {name: fixed(groups[group]["f1"]) for name, groups in figures.items()}
        counts = [group, f"{first['samples']:,.0f}", f"{first['positive_share']:.1%}"]
        of_networks.append([*counts, *(f1[name] for name in networks)])
        of_references.append([group, *(f1[name] for name in references)])
    head = [group_name, "samples", "positive", *(labels[name] for name in networks)]
    folded_table = table([group_name, *(labels[name] for name in references)], of_references)
    return table(head, of_networks) + "\n\n" + folded(f"The references by {group_name}", folded_table)


def setting(value: Any) -> str:
    """Write the value of a setting, texts of a list in quotes."""
    texts = isinstance(value, list) and any(isinstance(entry, str) for entry in value)
    return "[" + ", ".join(f"'{entry}'" for entry in value) + "]" if texts else str(value)


def settings_list(settings: Iterable[SettingsRecord], trained_with: str) -> str:
    """List the settings by section, those of `train` with what the networks were trained with."""
    lines = []
    for part in settings:
        texts = [f"{key} {setting(value)}" for key, value in part.values]
        if part.section == "train":
            texts.append(f"trained with {trained_with}")
        lines.append(f"- {part.section}: {', '.join(texts)}")
    return "\n".join(lines)


def leak_figures(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Write the figures in which a leak would show, by what they measure."""
    return {name.replace("_", " "): f"{value:g}" for name, value in metadata["leak_audit"].items() if name not in RECOMPUTED}


def explain_recomputed(metadata: Mapping[str, Any]) -> str:
    """Say in how many rows values that know the future were looked for, and which columns could not be."""
    rows, values = (metadata["leak_audit"][name] for name in RECOMPUTED)
    text = (
        f"Values that know the future were looked for in {rows:,} rows ({values:,} values): they were recomputed from histories "
        "cut off right after them, at each hour of the day of each asset."
    )
    if columns := metadata["extra_columns"]:
        text += f" Columns of the files cannot be checked so, whatever they know: {', '.join(columns)}."
    return text


def explain_hours(metadata: dict[str, Any]) -> str:
    """Say how long windows and trades last by the clock."""
    hours = metadata["hours"]
    window, trade = (
        f"{duration['bars']} bars lasts {duration['median']:.0f} h in the median and at most {duration['percentile_95']:.0f} h "
        "in 95 % of the samples"
        for duration in (hours["window"], hours["trade"])
    )
    return f"A window of {window}. A trade of {trade}, unless a barrier ends it before."


def warn_of_longer_bars(metadata: dict[str, Any]) -> str:
    """Name the assets in which a bar is not an hour of trading; empty where there is none."""
    assets = metadata["hours"]["assets_with_longer_bars"]
    if not assets:
        return ""
    return (
        f"Bars are not hours in {', '.join(assets)}: sessions are short, or hours without trades have no bar. Read "
        f"{metadata['lookback']} and {metadata['horizon']} bars as bars, not as hours."
    )


def losing_models(losing: list[str], labels: Mapping[str, str]) -> str:
    """Name the models with a good F1 that lose money."""
    if not losing:
        return "No model that is better than always-positive in test F1 lost money after costs."
    return f"Better than always-positive in test F1, but losing money after costs: {listing(losing, labels)}."


def search_table(recommended: Recommendation, labels: Mapping[str, str]) -> str:
    """Write what to search in which order, with the reasons."""
    kinds = dict.fromkeys(recommended.secondary, "secondary") | dict.fromkeys(recommended.set_aside, "set aside")
    if recommended.primary:
        kinds = {recommended.primary: "primary"} | kinds
    rows = [[labels[name], kind, recommended.reasons[name]] for name, kind in kinds.items()]
    return table(["model", "order", "reason"], rows, numbers=False)


def clear_and_tied(pairs: Iterable[Answer]) -> tuple[list[Answer], list[Answer]]:
    """Part the pairs that differ beyond chance from the ties, each with the greatest difference first."""
    ordered = sorted(pairs, key=lambda pair: -pair.difference)
    return [pair for pair in ordered if pair.clear], [pair for pair in ordered if not pair.clear]


def count_pairs(clear: int, ties: int) -> str:
    """Say how many pairs differ."""
    return f"{clear or 'None'} of {clear + ties} pairs of models differ{'s' * (clear <= 1)} in test F1 beyond chance."


def pair_tables(pairs: Iterable[Answer], labels: Mapping[str, str]) -> str:
    """Write the pairs that differ, and the ties folded."""
    clear, ties = (
        [
            [
                f"{labels[pair.better]} over {labels[pair.worse]}",
                f"{pair.difference:.3f}",
                f"[{pair.interval[0]:.3f}, {pair.interval[1]:.3f}]",
                f"{pair.p_holm:.3f}",
            ]
            for pair in some
        ]
        for some in clear_and_tied(pairs)
    )
    head = ["pair", "difference", "corrected interval", "corrected p"]
    parts = [count_pairs(len(clear), len(ties)), table(head, clear) if clear else ""]
    parts.append(folded(f"{len(ties)} ties", table(head, ties)) if ties else "")
    return "\n\n".join(part for part in parts if part)


def comparison(result: Comparison, metadata: dict[str, Any], roster: Roster, settings: Sequence[SettingsRecord]) -> str:
    """Write the whole report.

    Args:
        metadata: data/training_data/metadata.json.
        settings: what the networks were trained with.
    """
    source, trained_with, labels = code(metadata["source"]), literal(described(result.trained_with)), roster.labels
    result, metadata, settings = literal(result), literal(metadata), literal(settings)
    parts = ["# Comparison"]
    if result.simulated:
        parts.append("**SIMULATED market: these figures show that the campaign works, not that a model makes money.**")
    data = [
        [split, f"{part['first_bar'][:10]} to {part['last_bar'][:10]}", f"{part['samples']:,}", f"{part['positive_share']:.1%}"]
        for split, part in metadata["splits"].items()
    ]
    days, blocks, level = result.days["test"], result.block_days["test"], f"{result.confidence:.0%}"
    leader, advice, *others = result.verdict
    f1, ranking, calibration = leaderboard(result, labels)
    trades, capital = money_tables(result, labels)
    chance = result.models[result.ranking[0]].test["pr_auc_chance"]
    parts += [
        f"**{advice}**",
        "## Verdict",
        "\n".join(f"- {sentence}" for sentence in (leader, *others)),
        "## What to search first",
        search_table(result.search_first, labels),
        "Chosen on validation, so that test stays unseen.",
        "## Gates",
        gate_tables(result.gates, labels),
        PASSED_BY_CHANCE,
        OPTIMISM,
        "## Leaderboard",
        f1,
        "Ranking on test, and precision and recall at the threshold:",
        ranking,
        folded("Calibration on test", calibration + "\n\n" + NO_LOG_LOSS),
        "Models are ordered by validation F1; every other column is on test. F1 is that of the positive class at the threshold "
        f"chosen on validation, a mean over seeds; {ENSEMBLE} Intervals: {level}, bootstrap "
        f"over blocks of {blocks} days ({days} days of test), with the spread over seeds; {REGIMES} Chance level of PR AUC: "
        f"{chance:.3f}. {explain_references(result.one_column)}",
        "## Training",
        training_table(result, labels),
        "F1 and its range are means over seeds, each F1 at its own best threshold. The range is the highest less the lowest "
        "validation F1 of the last 10 epochs, or of all where there were fewer.",
        "## Money",
        trades,
        "What these trades make of the capital; net is after costs:",
        capital,
        losing_models(result.losing, labels),
        f"{explain_stakes(result)} {explain_break_even(result.break_even_precision)}",
        "## Differences in test F1",
        pair_tables(result.pairs["test"], labels),
        "Intervals and p are corrected for the number of pairs (Holm).",
        "## Test F1 by asset",
        group_tables(result, roster, "by_asset"),
        "## Test F1 by month",
        group_tables(result, roster, "by_month"),
        "## Data and settings",
        f"{len(metadata['assets'])} assets from {source}: {', '.join(metadata['assets'])}. A trade wins at "
        f"+{metadata['profit']:.1%} before −{metadata['stop']:.1%} within {metadata['horizon']} bars. "
        f"{explain_hours(metadata)}",
        *(f"**{warning}**" for warning in [warn_of_longer_bars(metadata)] if warning),
        table(["split", "bars", "samples", "positive"], data),
        f"Leak audit: {'; '.join(f'{name}: {figure}' for name, figure in leak_figures(metadata).items())}. "
        + explain_recomputed(metadata),
        settings_list(settings, trained_with),
    ]
    return "\n\n".join(parts) + "\n"
