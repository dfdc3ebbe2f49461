"""Arrange what the walk-forward report says, and write it as Markdown and as a page."""

from collections.abc import Mapping

from judge.names import Roster
from judge.verdict import direction_sentence
from judge.walk_forward_result import WalkForward
from judge.walk_forward_verdict import choice_sentence, rank_sentence
from report import fold_tables as tables
from report import fold_wording as wording
from report import markdown as md
from report import page as html
from report.blocks import Block, Bullets, Folded, Paragraph, Picture, Section
from report.fold_charts import draw
from report.numbers import minus
from report.tables import difference_tables, group_blocks
from report.wording import DIFFERENCES, DIRECTION, GROUPS, explain_references

TITLE = "Walk-forward over test periods"
OVER_FOLDS = "on test, mean over folds"


def markdown(result: WalkForward, roster: Roster) -> str:
    """Write the whole report as Markdown."""
    return md.document(TITLE, minus(result.verdict[0]), arrange(result, roster), simulated=result.simulated)


def page(result: WalkForward, roster: Roster) -> str:
    """Write the whole report as one HTML document without scripts or anything to load; the same input, the same text."""
    sections, pictures = arrange(result, roster), draw(result, roster)
    return html.document(TITLE, _subtitle(result), result.verdict[0], sections, pictures, simulated=result.simulated)


def _subtitle(result: WalkForward) -> str:
    folds, assets = result.folds, len(result.choice.track.by_asset)
    first, last = tables.moment(folds[0].cuts.test_from), tables.moment(folds[-1].cuts.test_until)
    return (
        f"{len(result.models)} models, trained and judged in {wording.count(len(folds), 'fold')} on "
        f"{sum(fold.samples for fold in folds):,} samples of {wording.count(assets, 'asset')}, {first} to {last}"
    )


def arrange(result: WalkForward, roster: Roster) -> list[Section]:
    """Return all sections, as plain text."""
    labels = roster.labels
    return [
        Section("verdict", "Verdict", _verdict(result)),
        Section("folds", "Folds", _folds(result, labels)),
        Section("f1", "Test F1 over time", _f1(result, roster)),
        Section("direction", "Direction over time", _direction(result, roster)),
        Section("validation", "What validation says", _validation(result, labels)),
        Section("differences", "Differences in test F1", _differences(result, roster)),
        Section("money", "Money", _money(result, roster)),
        Section("assets", "Test F1 by asset", _assets(result, roster)),
    ]


def _note(text: str) -> Paragraph:
    return Paragraph(text, is_note=True)


def _verdict(result: WalkForward) -> list[Block]:
    several = [wording.explain_chance(result.confidence)] if len(result.folds) > 1 else []
    explained = map(_note, (*several, explain_references("one column")))
    return [Bullets([minus(sentence) for sentence in result.verdict[1:]]), *explained]


def _folds(result: WalkForward, labels: Mapping[str, str]) -> list[Block]:
    has_one_seed = any(model.kind == "network" and len(model.seeds) == 1 for model in result.models.values())
    note = f"{wording.FOLDS} {wording.ONE_SEED}" if has_one_seed else wording.FOLDS
    return [tables.cut_table(result.folds), tables.fold_table(result.folds, labels), _note(note)]


def _f1(result: WalkForward, roster: Roster) -> list[Block]:
    caption = "Test F1 over folds, the highest mean first"
    explained = _note(wording.explain_over_folds(result))
    return [
        Picture("f1"),
        tables.over_folds_table(caption, result, "f1", roster.labels),
        *([explained] if len(result.folds) > 1 else []),
        _note(wording.F1_MOVES),
        _by_fold("Test F1 by fold", result, "f1", roster),
    ]


def _direction(result: WalkForward, roster: Roster) -> list[Block]:
    asked = result.answers.direction
    said = [Paragraph(minus(direction_sentence(asked, result.confidence, roster.labels, OVER_FOLDS)))] if asked else []
    caption = "Direction AUC over folds, in the order of test F1"
    return [
        *said,
        Picture("direction"),
        tables.over_folds_table(caption, result, "direction_auc", roster.labels, above="apart from 0.5?"),
        _note(DIRECTION),
        _note(wording.REGIME),
        _by_fold("Direction AUC by fold", result, "direction_auc", roster),
    ]


def _validation(result: WalkForward, labels: Mapping[str, str]) -> list[Block]:
    return [
        *(Paragraph(minus(sentence(result, labels))) for sentence in (choice_sentence, rank_sentence)),
        Picture("validation"),
        tables.choice_table(result, labels),
        tables.rank_table(result, labels),
        tables.rule_table(result, labels),
        _note(wording.VALIDATION_SAYS.format(rule=tables.RULE.capitalize())),
        _note(wording.JOINED),
    ]


def _differences(result: WalkForward, roster: Roster) -> list[Block]:
    asked, folds = result.answers.test, len(result.folds)
    if not asked:
        return [Paragraph(wording.ONE_FOLD)]
    return [
        Picture("differences"),
        *difference_tables(
            asked, result.reference, roster, confidence=result.confidence, draws=result.draws, margin=result.margin
        ),
        _note(DIFFERENCES.format(margin=result.margin, seen=wording.count(folds, "fold"))),
        _note(wording.DIFFERENCES_ARE_PAIRED),
    ]


def _money(result: WalkForward, roster: Roster) -> list[Block]:
    return [
        Picture("equity"),
        tables.capital_table(result, roster.labels),
        Picture("money"),
        tables.trades_table(result, roster.labels),
        _note(wording.explain_money(result)),
        _note(wording.BREAK_EVEN),
        _by_fold("Net return a day by fold", result, "return_per_day", roster, "+.3%"),
    ]


def _by_fold(caption: str, result: WalkForward, key: str, roster: Roster, form: str = ".3f") -> Folded:
    return Folded(caption, [*tables.by_fold_tables(caption, result, key, roster, form), _note(wording.WITHIN_FOLD)])


def _assets(result: WalkForward, roster: Roster) -> list[Block]:
    figures = {name: result.models[name].track.by_asset for name in result.ranking}
    joined = _note(f"All test periods together. {GROUPS}")
    return [joined, Picture("by_asset", group_blocks(figures, roster, "asset"))]
