"""Arrange what a search found, and write it as Markdown and as a page."""

from typing import Any

from report import markdown as md
from report import page as html
from report.blocks import Block, Bullets, Paragraph, Picture, Section, Table
from report.numbers import fixed, level_text, minus, percent
from report.wording import setting
from search.luck import BLOCKS
from search.objective import NAMES
from search.pictures import draw
from search.result import Result
from search.space import flat_entries
from search.trials import BASELINE, COMPLETE, FAILED, PRUNED, Trial

SHOWN = 5  # trials of the table, the best first; the CSV file beside has all
MEASURES = {
    "val_f1": "F1 on validation, cross-fitted",
    "pr_auc": "PR AUC on test",
    "f1": "F1 on test",
    "log_loss": "log loss on test, less than zero",
    "direction": "direction AUC on test less 0.5",
    "return": "return a day after costs on test",
}


def title(result: Result) -> str:
    return f"Search of {result.label}"


def markdown(result: Result) -> str:
    """Write the whole report as Markdown."""
    return md.document(title(result), minus(result.choice), arrange(result), simulated=result.simulated)


def page(result: Result) -> str:
    """Write the whole report as one HTML document without scripts or anything to load; the same input, the same text."""
    subtitle = (
        f"{len(result.trials) - 1} trials and the baseline, {len(result.settings.seeds)} seeds each, by {objective(result)}"
    )
    pictures = {"trials": draw(result, objective(result))}
    return html.document(title(result), subtitle, result.choice, arrange(result), pictures, simulated=result.simulated)


def objective(result: Result) -> str:
    return NAMES[result.settings.objective]


def arrange(result: Result) -> list[Section]:
    """Return all sections, as plain text."""
    return [
        Section("verdict", "Verdict", _verdict(result)),
        Section("contest", "Against the baseline", _contest(result)),
        Section("luck", "What luck is worth", _luck(result)),
        Section("trials", "Trials", _trials(result)),
        Section("settings", "Settings", _settings(result)),
    ]


def _verdict(result: Result) -> list[Block]:
    best, present = result.best, result.trials[BASELINE]
    states = [trial.state for trial in result.trials]
    said = [
        f"Of {len(result.trials) - 1} trials {states.count(COMPLETE) - 1} were trained with all seeds, {states.count(PRUNED)} "
        "with the "
        f"first alone, and {states.count(FAILED)} failed.",
        f"The best is trial {best.number}: {objective(result)} {fixed(best.score)} on validation, the baseline "
        f"{fixed(present.score)}. "
        "The best of many is flattered by its choice, so that this difference decides nothing.",
    ]
    if folds := result.settings.folds:
        said.append(f"Validation is {folds} periods before test, each with its train before it; scores are means over them.")
    if result.contest is not None:
        said.append(f"Its settings: {describe(best)}.")
        said.append(f"To make them the campaign's: {result.command}")
    return [Bullets(said)]


def describe(trial: Trial) -> str:
    return ", ".join(f"{key} {setting(value)}" for key, value in trial.values.items())


def _contest(result: Result) -> list[Block]:
    if result.contest is None:
        return [Paragraph("There is nothing to compare: the baseline has the best score.")]
    contest, rows = result.contest, []
    for key, name in MEASURES.items():
        found = contest.measures[key]
        if found is None:
            rows.append([name, "–", "–", "–", "–"])
            continue
        form = (lambda value: percent(value, 3)) if key == "return" else (lambda value: fixed(value, ".4f"))
        low, high = found.answer.interval
        difference = f"{form(found.answer.difference)} [{form(low)}, {form(high)}]"
        rows.append([name, form(found.optimised), form(found.baseline), difference, fixed(found.answer.p_value)])
    level = level_text(contest.confidence)
    caption = f"Best trial and baseline, each trained with {len(contest.seeds)} fresh seeds"
    head = ["measure", "best trial", "baseline", f"difference [{level}]", "p"]
    note = (
        f"“{MEASURES[contest.objective]}” decides: better or worse where its p is below {level_text(1 - contest.confidence)}. "
        "The other "
        "lines inform. Validation chose the settings, so that its line still flatters them; test had no part in the choice. "
        "Intervals "
        "hold for each line alone, and contain days and seeds."
    )
    return [Table(caption, head, rows), Paragraph(note, is_note=True)]


def _luck(result: Result) -> list[Block]:
    luck, said = result.luck, []
    if luck.overfitting is not None:
        said.append(
            f"Probability of overfitting: {luck.overfitting:.0%}. So often the trial that is best on one half of the days of "
            "validation "
            f"is not above the median on the other half ({BLOCKS} blocks of days, each choice of half of them); without any "
            "difference between trials it is about 50%."
        )
    if luck.deflated is not None:
        own = luck.deflated
        said.append(
            f"Deflated Sharpe ratio: {own.probability:.3f}, the probability that the best trial's daily returns on validation "
            "have a true "
            f"Sharpe ratio above {own.by_luck:.3f}, which luck gives the best of {luck.trials}; observed {own.sharpe:.3f} a day."
        )
    if luck.superior is not None:
        said.append(
            f"That no trial has a lower log loss than the baseline on validation has p {fixed(luck.superior)} (Hansen's test for "
            "superior "
            "predictive ability)."
        )
    source = (
        "Bailey, Borwein, López de Prado, Zhu (2017); Bailey, López de Prado (2014); Hansen (2005). All trials count, pruned "
        "ones and "
        "the baseline too."
    )
    return [Bullets(said), Paragraph(source, is_note=True)]


def _trials(result: Result) -> list[Block]:
    present = result.trials[BASELINE]
    ranked = sorted((trial for trial in result.trials if trial.scores), key=lambda trial: (-(trial.score or 0.0), trial.number))
    shown = [present, *(trial for trial in ranked if trial is not present)][: SHOWN + 1]
    rows = [
        ["score", *(fixed(trial.score, ".4f") for trial in shown)],
        ["state", *(trial.state for trial in shown)],
        *([key, *(_short(trial.values[key]) for trial in shown)] for key in present.values),
    ]
    caption = f"The baseline, and the {len(shown) - 1} best trials by {objective(result)} on validation"
    head = ["", *("baseline" if trial is present else f"trial {trial.number}" for trial in shown)]
    return [Picture("trials"), Table(caption, head, rows), *_importances(result)]


def _importances(result: Result) -> list[Block]:
    if not result.importances:
        return []
    rows = [[key, f"{share:.0%}"] for key, share in result.importances.items()]
    note = "fANOVA (Hutter, Hoos, Leyton-Brown 2014) over complete trials: with few of them, a hint at most."
    return [
        Table("Share of the scores' variance that a setting explains", ["setting", "share"], rows),
        Paragraph(note, is_note=True),
    ]


def describe_entry(entry: Any) -> str:
    """Describe an entry of a space: a range, or choices."""
    if isinstance(entry, dict):
        return f"{entry['low']} to {entry['high']}" + (", drawn by its order of magnitude" if entry.get("log") else "")
    *others, last = map(setting, entry)
    return f"{', '.join(others)} or {last}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else setting(value)


def _settings(result: Result) -> list[Block]:
    settings = result.settings
    names = ("batch", "seeds", "fresh_seeds", "folds", "objective", "sampler", "pruner", "startup_trials", "seed")
    of_space = [f"{key}: {describe_entry(entry)}" for key, entry in flat_entries(settings.space[result.name]).items()]
    said = ", ".join(f"{name} {setting(getattr(settings, name))}" for name in names if getattr(settings, name) is not None)
    return [Bullets([f"search: {said}", *of_space])]
