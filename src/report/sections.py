"""Arrange what a report says: its sections in their order, the same for Markdown and for the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from judge.comparison import Comparison
from judge.names import Roster
from judge.train_record import SettingsRecord
from judge.verdict import direction_sentence
from report import tables, wording
from report.blocks import Block, Bullets, Folded, Paragraph, Picture, Section
from report.committed import described
from report.numbers import minus


def arrange(result: Comparison, metadata: Mapping[str, Any], roster: Roster, settings: Sequence[SettingsRecord]) -> list[Section]:
    """Return all sections, as plain text.

    Args:
        metadata: data/training_data/metadata.json.
        settings: what the networks were trained with.
    """
    labels = roster.labels
    return [
        Section("verdict", "Verdict", _verdict(result)),
        Section("search", "What to search", _search(result, labels)),
        Section("gates", "Gates", _gates(result, labels)),
        Section("leaderboard", "Leaderboard", _leaderboard(result, labels)),
        Section("direction", "Direction or volatility", _direction(result, labels)),
        Section("training", "Training", _training(result, labels)),
        Section("money", "Money", _money(result, labels)),
        Section("differences", "Differences in test F1", _differences(result, roster)),
        Section("assets", "Test F1 by asset", [_note(wording.GROUPS), _group(result, roster, "by_asset")]),
        Section("months", "Test F1 by month", [_group(result, roster, "by_month")]),
        Section("data", "Data and settings", _data(result, metadata, settings)),
    ]


def _note(text: str) -> Paragraph:
    return Paragraph(text, is_note=True)


def _verdict(result: Comparison) -> list[Block]:
    explained = map(_note, (wording.explain_chance(result.confidence), wording.explain_references(result.one_column)))
    return [Bullets([minus(sentence) for sentence in result.verdict[1:]]), *explained]


def _search(result: Comparison, labels: Mapping[str, str]) -> list[Block]:
    minimum = next(gate.threshold for gate in result.gates[result.search.order[0]] if gate.decides)
    return [tables.search_table(result, labels), _note(wording.explain_cross_fitting(minimum, result.confidence))]


def _gates(result: Comparison, labels: Mapping[str, str]) -> list[Block]:
    return [
        *tables.gate_tables(result.gates, labels, result.draws),
        _note(wording.GATES),
        tables.shift_table(result, labels),
        _note(wording.SHIFT_TEST),
    ]


def _leaderboard(result: Comparison, labels: Mapping[str, str]) -> list[Block]:
    chance = result.models[result.ranking[0]].test["pr_auc_chance"]
    return [
        Picture("f1"),
        tables.f1_table(result, labels),
        _note(wording.explain_intervals(result)),
        tables.ranking_table(result, labels),
        _note(wording.RANKING.format(chance=chance)),
        tables.probability_table(result, labels),
        _note(wording.PROBABILITIES.format(level=f"{1 - result.confidence:.4g}")),
        Picture("curves"),
    ]


def _direction(result: Comparison, labels: Mapping[str, str]) -> list[Block]:
    said = direction_sentence(result.answers.direction, result.confidence, labels)
    return [Paragraph(minus(said)), Picture("direction"), _note(wording.DIRECTION)]


def _training(result: Comparison, labels: Mapping[str, str]) -> list[Block]:
    return [tables.training_table(result, labels), _note(wording.TRAINING), Picture("learning")]


def _money(result: Comparison, labels: Mapping[str, str]) -> list[Block]:
    def both(split: str, key: str, where: str) -> list[Block]:
        return [
            tables.trades_table(result, labels, split, key, f"Trades on {where}"),
            tables.capital_table(result, labels, split, key, f"What they make of the capital, on {where}"),
        ]

    return [
        _note(wording.explain_threshold()),
        *both("test", "money", "test"),
        _note(wording.explain_stakes(result)),
        _note(wording.explain_break_even(result.break_even_precision)),
        Picture("money"),
        Folded("The same on validation, where the threshold was chosen", both("val", "money", "validation")),
        Folded(
            "Trades at F1's threshold, on test",
            [_note(wording.WHY_NOT_F1), *both("test", "money_at_f1", "test, at the threshold that is best for F1")],
        ),
    ]


def _differences(result: Comparison, roster: Roster) -> list[Block]:
    unknown = not all(answer.error_is_known for answer in result.answers.test)
    return [
        Picture("differences"),
        *tables.difference_tables(
            result.answers.test,
            result.search.reference,
            roster,
            confidence=result.confidence,
            draws=result.draws,
            margin=result.margin,
        ),
        _note(wording.DIFFERENCES.format(margin=result.margin, seen=f"{result.days['test']} days of test")),
        *([_note(wording.ERROR_UNKNOWN)] if unknown else []),
    ]


def _group(result: Comparison, roster: Roster, kind: str) -> Picture:
    return Picture(kind, tables.group_blocks(tables.pick_groups(result, kind), roster, kind.removeprefix("by_")))


def _data(result: Comparison, metadata: Mapping[str, Any], settings: Sequence[SettingsRecord]) -> list[Block]:
    assets, features = metadata["assets"], metadata["features"]
    said = (
        f"{len(assets)} assets (bars: {metadata['source']}): {', '.join(assets)}. {wording.describe_trade(metadata)} A network "
        f"sees {metadata['lookback']} bars of {len(features)} features: {', '.join(features)}. "
        f"{wording.describe_hours(metadata)}"
    )
    warning, costs = wording.warn_of_longer_bars(metadata), wording.list_costs(result.cost_per_trade)
    return [
        Paragraph(said),
        *([Paragraph(warning, is_warning=True)] if warning else []),
        *([Paragraph(costs)] if costs else []),
        tables.split_table(metadata["splits"]),
        tables.leak_table(wording.leak_figures(metadata)),
        _note(wording.explain_recomputed(metadata)),
        Bullets(_settings(settings, described(result.trained_with))),
    ]


def _settings(settings: Sequence[SettingsRecord], trained_with: str) -> list[str]:
    """List the settings by section, those of `train` with what the networks were trained with."""
    lines = []
    for part in settings:
        texts = [f"{key} {wording.setting(value)}" for key, value in part.values]
        if part.section == "train":
            texts.append(f"trained with {trained_with}")
        lines.append(f"{part.section}: {', '.join(texts)}")
    return lines
