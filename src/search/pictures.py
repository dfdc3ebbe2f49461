"""Draw a search: its trials in order, over each setting, and over all settings at once."""

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

from report.charts import grid, keep, note
from report.numbers import fixed
from report.svg import Axis, Line, Scale, circle, drawing, line_chart, stroke, text
from report.wording import setting
from search.result import Result
from search.space import flat_entries
from search.trials import BASELINE, COMPLETE, Trial

COLOUR, GREY, BASE = "#0072B2", "#7F7F7F", "#D55E00"
WIDTH, APART, EDGE = 360, 54, 26  # pixels: of the picture of all settings, between its axes, and left and right of them
HIGHLIGHTED = 0.2  # share of the trials
LONGEST_CHOICE = 14  # letters


def draw(result: Result, objective: str) -> str:
    """Draw all pictures; `objective` names it for people."""
    figures = [draw_history(result, objective), *draw_slices(result, objective)]
    words = "Blue: the best fifth of the trials. Orange: the baseline. Pruned trials have the score of their first seed."
    return grid(figures) + keep(draw_coordinates(result, objective), note(words))


def draw_history(result: Result, objective: str) -> str:
    """Draw each trial's score in order, with the best of the complete ones so far."""
    points = [(float(trial.number), trial.score) for trial in result.trials if trial.score is not None]
    complete = [(float(trial.number), trial.score) for trial in result.trials if trial.state == COMPLETE]
    best = itertools.accumulate((score for _, score in complete), max)
    so_far = list(zip((number for number, _ in complete), best, strict=True))
    lines = [Line(so_far, COLOUR, width=1.9), _dots(points, GREY)]
    words = f"{objective} of each trial, dots, and the best so far, the line."
    return line_chart("trials in order", words, lines, Axis("trial", whole=True), Axis(objective))


def draw_slices(result: Result, objective: str) -> list[str]:
    """Draw the scores over each setting that is a range."""
    figures = []
    for key, entry in flat_entries(result.settings.space[result.name]).items():
        if not isinstance(entry, dict):
            continue
        points = [(float(trial.values[key]), trial.score) for trial in result.trials if trial.score is not None]
        if len({at for at, _ in points}) > 1:
            axis, words = Axis(key, log=bool(entry.get("log"))), f"{objective} of each trial over {key}."
            figures.append(line_chart(key, words, [_dots(points, COLOUR)], axis, Axis(objective)))
    return figures


def _dots(points: Sequence[tuple[float, float]], colour: str) -> Line:
    return Line(points, colour, width=0, dots=[2.2] * len(points))


def draw_coordinates(result: Result, objective: str) -> str:
    """Draw each trial as a line down through an axis a setting, and that of its score: parallel coordinates, fit for a phone."""
    entries = flat_entries(result.settings.space[result.name])
    scored = [trial for trial in result.trials if trial.score is not None]
    ranked = sorted(scored, key=lambda trial: (-(trial.score or 0.0), trial.number))
    best = {trial.number for trial in ranked[: math.ceil(HIGHLIGHTED * len(ranked))]}
    scale = Scale(ranked[-1].score, ranked[0].score, EDGE, WIDTH - EDGE) if ranked[-1].score != ranked[0].score else None
    rows = [(key, _scale_of(entry, [trial.values[key] for trial in scored])) for key, entry in entries.items()]

    def across(trial: Trial) -> list[float]:
        ends = scale(trial.score) if scale else WIDTH / 2
        return [*(_position(trial.values[key], own) for key, own in rows), ends]

    lines, above, parts = [], [], []
    for trial in sorted(scored, key=lambda trial: (trial.number == BASELINE, trial.number in best)):
        steps = "L".join(f"{x:.1f} {_height(number)}" for number, x in enumerate(across(trial)))
        is_plain = trial.number != BASELINE and trial.number not in best
        colour = BASE if trial.number == BASELINE else COLOUR
        look = 'class="faint"' if is_plain else f'stroke="{colour}" stroke-width="1.5"'
        lines.append(f'<path d="M{steps}" fill="none" {look}/>')
        if not is_plain:
            above += [circle(x, _height(number), 2.2, f'fill="{colour}"') for number, x in enumerate(across(trial))]
    for number, (key, own) in enumerate(rows):
        parts += _axis(number, key, [(at, written) for at, written in own[1]])
    ends = [(scale.start, fixed(scale.low)), (scale.end, fixed(scale.high))] if scale else [(WIDTH / 2, fixed(ranked[0].score))]
    parts += _axis(len(rows), objective, ends)
    words = f"Each trial is a line through its settings to its {objective}; the best fifth and the baseline are coloured."
    return drawing("all settings at once", words, WIDTH, _height(len(rows)) + 22, [*lines, *above, *parts])


Ticks = list[tuple[float, str]]


def _height(number: int) -> int:
    """Return where the axis of that number lies."""
    return 26 + APART * number


def _axis(number: int, name: str, ticks: Ticks) -> list[str]:
    y = _height(number)
    parts = [stroke(EDGE, y, WIDTH - EDGE, y, 'class="grid"'), text(2, y - 9, name, kind="halo")]
    for at, written in ticks:
        anchor = "start" if at <= EDGE else "end" if at >= WIDTH - EDGE else "middle"
        parts.append(text(at + {"start": -EDGE + 2, "middle": 0, "end": EDGE - 2}[anchor], y + 13, written, anchor, "small halo"))
    return parts


def _scale_of(entry: Any, values: Sequence[Any]) -> tuple[Any, Ticks]:
    """Return where values of a setting lie: a scale of a range, or the places of choices by their JSON; and its ticks."""
    if isinstance(entry, dict):
        own = [float(value) for value in values]
        low, high = min(float(entry["low"]), *own), max(float(entry["high"]), *own)
        scale = Scale(low, high, EDGE, WIDTH - EDGE, bool(entry.get("log")))
        return scale, [(scale.start, f"{low:g}"), (scale.end, f"{high:g}")]
    choices = list(dict.fromkeys([json.dumps(choice) for choice in entry] + [json.dumps(value) for value in values]))
    step = (WIDTH - 2 * EDGE) / max(len(choices) - 1, 1)
    places = {choice: EDGE + step * number for number, choice in enumerate(choices)}
    return places, [(at, _short(json.loads(choice))) for choice, at in places.items()]


def _short(value: Any) -> str:
    written = setting(value)
    return written if len(written) <= LONGEST_CHOICE else written[: LONGEST_CHOICE - 1] + "…"


def _position(value: Any, scale: tuple[Any, Ticks]) -> float:
    where, _ = scale
    return where(float(value)) if isinstance(where, Scale) else where[json.dumps(value)]
