"""The walk-forward report: every figure stands where its head says, as Markdown and as a page, for one fold and for many."""

import copy
import dataclasses
import re
from html import escape
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from browser import browse, in_a_browser
from fold_sample import NO_DIRECTION, SILENT, make_fold, walk_forward
from judge.names import Roster
from judge.scores import leaderboard_row
from judge.walk_forward_result import WalkForward
from report.fold_charts import BETWEEN_MARKS, runs, thinned
from report.fold_rows import flat_metrics, score_rows
from report.fold_tables import RULE, moment, ranks
from report.numbers import fixed, p_text, percent, with_interval
from report.walk_forward import arrange, markdown, page
from report_reader import NAMES_OF_USERS, Reader, charts, check_page, check_widths, named, unescaped
from sample import LABELS, ROSTER

SECTIONS = [
    "Verdict", "Folds", "Test F1 over time", "Direction over time", "What validation says", "Differences in test F1", "Money",
    "Test F1 by asset",
]  # fmt: skip
F1 = "Test F1 over folds, the highest mean first"
DIRECTION = "Direction AUC over folds, in the order of test F1"
CAPITAL = "What they make of the capital"
TRADES = "Trades over all test periods"
MANY = 12


@pytest.fixture(scope="module")
def four() -> WalkForward:
    return walk_forward()


@pytest.fixture(scope="module")
def shown(four) -> dict[str, list[dict[str, str]]]:
    return named(markdown(four, ROSTER))


def test_with_one_seed_it_is_said_why_no_fold_alone_finds_anything_worth_a_search(four):
    one = walk_forward(4, seeds=1)
    assert not any(fold.worth_a_search for fold in one.folds)
    reason = "It is none wherever networks have one seed"
    assert reason in markdown(one, ROSTER)
    assert reason not in markdown(four, ROSTER)


def by_model(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {row["model"]: row for row in rows}


@pytest.mark.parametrize("folds", [1, 4, MANY])
def test_both_documents_say_the_same_whatever_the_number_of_folds(folds):
    found = walk_forward(folds)
    text, html = markdown(found, ROSTER), page(found, ROSTER)
    assert re.findall("^## (.*)", text, re.MULTILINE) == SECTIONS
    assert re.findall("<h2>(.*?)</h2>", html) == SECTIONS
    check_page(html, arrange(found, ROSTER))
    check_widths(text, ("finding", "first on validation", "first on test", "worth a search"))
    read = Reader(html)
    assert read.open == [] and read.loaded == ["data:,", *(f"#{section.anchor}" for section in arrange(found, ROSTER))]
    assert not {"script", "img", "iframe", "object", "image", "use"} & set(read.tags)
    assert "url(" not in html and "@import" not in html and "http" not in html
    for document in (text, re.sub("<style>.*</style>", "", html, flags=re.DOTALL)):
        assert not re.search(r"\bNone\b|\bnan\b|\binf\b|1 folds", document)


def test_the_verdict_stands_first(four):
    text, html = markdown(four, ROSTER), page(four, ROSTER)
    assert text.splitlines()[2].startswith("**SIMULATED market")
    assert unescaped(text.splitlines()[4]) == f"**{four.verdict[0]}**"
    for sentence in four.verdict[1:]:
        assert f"\n- {sentence}\n" in unescaped(text).replace("−", "-")
    assert html.index("SIMULATED market") < html.index(f'<p class="choice">{escape(four.verdict[0])}</p>') < html.index("<h2>")
    real = dataclasses.replace(four, simulated=False)
    assert "SIMULATED" not in page(real, ROSTER) + markdown(real, ROSTER)


def test_the_same_input_gives_the_same_page_and_is_left_as_it_was(four):
    before = copy.deepcopy(four)
    assert page(four, ROSTER) == page(four, ROSTER) == page(walk_forward(), ROSTER)
    assert four == before


def test_folds_are_shown_with_their_cuts_and_what_each_says_alone(four, shown):
    rows = zip(
        four.folds, shown["Folds, in time"], shown["What each fold's test holds, and what the fold says alone"], strict=True
    )
    for fold, cuts, says in rows:
        dates = ["train from", "validation from", "test from", "test until"]
        assert [cuts[head] for head in dates] == [text[:10] for text in dataclasses.astuple(fold.cuts)]
        assert (cuts["fold"], cuts["days of test"]) == (fold.name, str(fold.days))
        assert (says["samples"], says["profits"]) == (str(fold.samples), f"{fold.positives / fold.samples:.1%}")
        assert says["buy and hold"] == percent(fold.buy_and_hold.total_return, 1)
        number = four.folds.index(fold)
        for head, key in (("first on validation", "val_f1"), ("first on test", "f1")):
            f1 = {LABELS[name]: getattr(model, key).by_fold[number] for name, model in four.models.items()}
            assert f1[says[head]] == max(f1.values())
        assert says["worth a search"] == "none"


def test_a_fold_that_is_worth_a_search_names_the_networks(four):
    first = dataclasses.replace(four.folds[0], worth_a_search=["gru", "mlp"])
    rows = named(markdown(dataclasses.replace(four, folds=[first, *four.folds[1:]]), ROSTER))
    says = rows["What each fold's test holds, and what the fold says alone"]
    assert [row["worth a search"] for row in says] == ["GRU + attention, MLP", "none", "none", "none"]


@pytest.mark.parametrize(("caption", "key"), [(F1, "f1"), (DIRECTION, "direction_auc")])
def test_a_figure_over_folds_is_shown_with_spread_error_and_change(four, shown, caption, key):
    rows = by_model(shown[caption])
    assert [*rows][: len(four.ranking)] == [LABELS[name] for name in four.ranking]
    for name in four.ranking:
        own, row = getattr(four.models[name], key), rows[LABELS[name]]
        values = [value for value in own.by_fold if value is not None]
        errors = [error for error in own.errors if error is not None]
        assert row["mean over folds [95%]"] == with_interval(float(np.mean(values)), own.interval)
        assert row["spread between folds"] == fixed(float(np.std(values, ddof=1)))
        assert row["typical error within"] == fixed(float(np.linalg.norm(errors)) / len(errors) ** 0.5)
        said = (
            "–" if own.changes_p is None else f"{'yes' if own.changes_p < 0.05 else 'no'} (p {p_text(own.changes_p, four.draws)})"
        )
        assert row["change shown?"] == said
    if key == "f1":
        assert rows[RULE]["mean over folds [95%]"] == with_interval(four.choice.f1.mean, four.choice.f1.interval)


def changed(found: WalkForward, name: str, key: str, **fields: object) -> WalkForward:
    """The same with other fields of one figure of a model."""
    model = found.models[name]
    model = dataclasses.replace(model, **{key: dataclasses.replace(getattr(model, key), **fields)})
    return dataclasses.replace(found, models=found.models | {name: model})


@pytest.mark.parametrize(("p_value", "said"), [(0.0499, "yes (p 0.0499)"), (0.0501, "no (p 0.0501)"), (None, "–")])
def test_a_change_is_shown_below_the_level(four, p_value, said):
    rows = by_model(named(markdown(changed(four, "gru", "f1", changes_p=p_value), ROSTER))[F1])
    assert rows["GRU + attention"]["change shown?"] == said


@pytest.mark.parametrize(
    ("difference", "is_clear", "p_value", "said"),
    [(0.1, True, 0.02, "above (p 0.0200)"), (-0.1, True, 0.02, "below (p 0.0200)"), (0.1, False, 0.2, "no (p 0.200)"),
     (-0.1, False, 0.2, "no (p 0.200)")],
)  # fmt: skip
def test_a_side_of_a_coin_is_told_where_it_is_clear(four, difference, is_clear, p_value, said):
    (own,) = (answer for answer in four.answers.direction if answer.one == "gru")
    other = dataclasses.replace(own, difference=difference, is_clear=is_clear, p_value=p_value)
    found = dataclasses.replace(four, answers=dataclasses.replace(four.answers, direction=[other]))
    rows = by_model(named(markdown(found, ROSTER))[DIRECTION])
    assert rows["GRU + attention"]["apart from 0.5?"] == said
    assert rows["MLP"]["apart from 0.5?"] == "–"


@pytest.mark.parametrize(("is_clear", "p_value", "said"), [(True, 0.02, "yes (p 0.0200)"), (False, 0.2, "no (p 0.200)")])
def test_a_gain_is_told_where_it_is_clear(four, is_clear, p_value, said):
    (own,) = (answer for answer in four.answers.trade if answer.one == "gru")
    other = dataclasses.replace(own, is_clear=is_clear, p_value=p_value)
    found = dataclasses.replace(four, answers=dataclasses.replace(four.answers, trade=[other]))
    rows = by_model(named(markdown(found, ROSTER))[CAPITAL])
    assert rows["GRU + attention"]["gain shown?"] == said
    assert {rows[name]["gain shown?"] for name in ("MLP", RULE, "buy and hold", "no trade")} == {"–"}


@pytest.mark.parametrize(
    ("caption", "key", "form"),
    [("Test F1 by fold", "f1", ".3f"), ("Direction AUC by fold", "direction_auc", ".3f"),
     ("Net return a day by fold", "return_per_day", "+.3%")],
)  # fmt: skip
def test_every_fold_is_shown_with_its_error(four, shown, caption, key, form):
    for kind, is_network in (("networks", True), ("references", False)):
        rows = shown[f"{caption}: {kind}"]
        assert [row["fold"] for row in rows] == [fold.name for fold in four.folds]
        assert [*rows[0]][1:] == [LABELS[name] for name in four.ranking if (name in ROSTER.networks) == is_network]
        for number, row in enumerate(rows):
            for name, model in four.models.items():
                if (name in ROSTER.networks) == is_network:
                    value, error = (getattr(getattr(model, key), field)[number] for field in ("by_fold", "errors"))
                    within = f" ±{fixed(error, form.lstrip('+'))}" if error else ""
                    assert row[LABELS[name]] == fixed(value, form) + within


def test_ranks_and_the_choice_of_validation_are_shown(four, shown):
    val, test = (
        [stats.rankdata([-model.by_fold[n] for model in own.values()], method="min") for n in range(len(four.folds))]
        for own in ({name: getattr(model, key) for name, model in four.models.items()} for key in ("val_f1", "f1"))
    )
    names = list(four.models)
    rows = by_model(shown["Ranks among 9 models, 1 the highest F1"])
    for place, name in enumerate(names):
        row = rows[LABELS[name]]
        assert row["mean rank on validation"] == f"{np.mean([fold[place] for fold in val]):.1f}"
        assert row["mean rank on test"] == f"{np.mean([fold[place] for fold in test]):.1f}"
        assert row["folds first on validation"] == str(sum(fold.best_on_validation == name for fold in four.folds))
        assert row["folds first on test"] == str(sum(fold.best_on_test == name for fold in four.folds))
    for number, (fold, row) in enumerate(zip(four.folds, shown["The first on validation, and what it was on test"], strict=True)):
        chosen = four.choice.models[number]
        assert row["first on validation"] == LABELS[chosen]
        assert row["its test F1"] == fixed(four.models[chosen].f1.by_fold[number])
        assert row["its rank on test"] == str(test[number][names.index(chosen)])
        assert row["best test F1"] == fixed(max(model.f1.by_fold[number] for model in four.models.values()))
        assert row["Kendall's tau"] == fixed(fold.rank_agreement, "+.2f")


@given(st.dictionaries(st.text(), st.none() | st.integers(0, 4), min_size=1))
def test_equal_figures_share_the_lower_rank(figures):
    found = ranks(figures)
    known = {name: -value for name, value in figures.items() if value is not None}
    assert {name for name, rank in found.items() if rank is None} == figures.keys() - known.keys()
    expected = stats.rankdata(list(known.values()), method="min") if known else []
    assert [found[name] for name in known] == list(expected)


def test_the_choice_of_validation_stands_beside_the_models(four, shown):
    rows = shown[f"{RULE.capitalize()}, beside each model taken in every fold"]
    assert [row["model"] for row in rows] == [RULE, *(LABELS[name] for name in four.ranking)]
    for row, own in zip(rows, [four.choice, *(four.models[name] for name in four.ranking)], strict=True):
        assert row["test F1, mean over folds [95%]"] == with_interval(own.f1.mean, own.f1.interval)
        keys = {
            "F1, joined": "f1",
            "precision": "precision",
            "recall": "recall",
            "ROC AUC": "roc_auc",
            "Brier skill": "brier_skill",
        }
        assert {head: row[head] for head in keys} == {head: fixed(getattr(own.track, key)) for head, key in keys.items()}


def test_differences_are_shown_by_question(four, shown):
    reference = f"Less {LABELS[four.reference]}, the best reference on validation"
    assert {*by_model(shown[reference])} >= {LABELS[name] for name in ROSTER.networks}
    pairs = [row["pair"] for row in shown["Networks among each other, the first less the second"]]
    assert len(pairs) == 6
    answers = {(answer.one, answer.other): answer for answer in four.answers.test}
    for name in ROSTER.networks:
        answer, row = answers[name, "always_positive"], by_model(shown["Less always positive, which knows nothing"])[LABELS[name]]
        assert row["difference [95%]"] == with_interval(answer.difference, answer.interval, "+.3f")
    assert "with 4 folds the difference is within chance" in markdown(four, ROSTER)


def test_money_is_that_of_the_joined_test_periods(four, shown):
    labels = [*(LABELS[name] for name in four.ranking), RULE]
    assert [*by_model(shown[CAPITAL])] == [*labels, "buy and hold", "no trade"]
    assert [*by_model(shown[TRADES])] == labels
    for label, own in zip(labels, [*(four.models[name] for name in four.ranking), four.choice], strict=True):
        capital, trades, money = by_model(shown[CAPITAL])[label], by_model(shown[TRADES])[label], own.track.money
        assert capital["total, net"] == percent(own.track.equity[-1] - 1, 1) == percent(money["total_return_net"], 1)
        assert capital["a day, net [95%]"] == with_interval(own.return_per_day.mean, own.return_per_day.interval, "+.3%")
        assert trades["trades"] == fixed(sum(own.track.trades), ",.0f")
        assert trades["mean trade, net"] == percent(money["mean_return_net"])
    held, nothing = shown[CAPITAL][-2:]
    assert (held["total, net"], nothing["total, net"]) == (percent(four.buy_and_hold_equity[-1] - 1, 1), "0.0%")
    assert (held["largest drawdown"], nothing["largest drawdown"]) == (fixed(four.buy_and_hold.max_drawdown, ".1%"), "0.0%")


def test_a_fold_without_a_trade_returns_nothing_and_is_counted(four, shown):
    name, number = SILENT
    assert four.models[name].track.trades[number] == 0
    assert shown["Net return a day by fold: networks"][number][LABELS[name]] == "0.000%"
    assert by_model(shown[TRADES])[LABELS[name]]["folds with trades"] == "3 of 4"


def test_a_model_that_never_trades_has_dashes(four):
    money = four.models["mlp"].track.money | dict.fromkeys(("hit_rate", "break_even_hit_rate", "mean_return", "mean_return_net"))
    track = dataclasses.replace(
        four.models["mlp"].track, money=money | {"trades": 0}, trades=[0.0] * 4, equity=[1.0] * len(four.equity_days)
    )
    models = four.models | {"mlp": dataclasses.replace(four.models["mlp"], track=track)}
    answers = dataclasses.replace(four.answers, trade=[answer for answer in four.answers.trade if answer.one != "mlp"])
    found = dataclasses.replace(four, models=models, answers=answers)
    rows = named(markdown(found, ROSTER))
    assert list(by_model(rows[TRADES])["MLP"].values()) == ["MLP", "0", "0 of 4", "–", "–", "–", "–"]
    assert by_model(rows[CAPITAL])["MLP"]["gain shown?"] == "–"
    assert Reader(page(found, ROSTER)).open == []


def test_buy_and_hold_is_said_to_hold_between_test_periods_where_there_is_a_gap(four):
    gap = "It is held between the test periods, too"
    assert gap not in markdown(four, ROSTER)
    folds = [
        dataclasses.replace(fold, cuts=dataclasses.replace(fold.cuts, test_until="2022-11-20T00:00:00Z")) for fold in four.folds
    ]
    assert gap in markdown(dataclasses.replace(four, folds=folds), ROSTER)


def test_one_fold_has_no_spread_and_no_question():
    found = walk_forward(1)
    rows = named(markdown(found, ROSTER))
    for row in rows[F1]:
        assert (row["spread between folds"], row["change shown?"]) == ("–", "–") and "[" not in row["mean over folds [95%]"]
    assert {row["gain shown?"] for row in rows[CAPITAL]} == {"–"}
    text, html = markdown(found, ROSTER), page(found, ROSTER)
    assert "With one fold no spread between folds is known: nothing is asked." in text
    assert "Student's t" not in text and "beyond chance:" not in text.lower()
    drawn = charts(html)
    assert {"Test F1 of the fold with 95% intervals", "Networks: capital", "Test F1 by asset"} <= drawn.keys()
    assert not any(caption.startswith("MLP: ") for caption in drawn)


def panels(html: str, section: str) -> dict[str, str]:
    """The panel of each model in a section, by its label."""
    (part,) = re.findall(f'<section id="{section}">(.*?)</section>', html, re.DOTALL)
    return {caption.rpartition(": ")[0]: chart for caption, chart in charts(part).items() if ": " in caption}


@pytest.mark.parametrize("folds", [4, MANY])
def test_every_model_has_a_panel_with_its_line_and_bars(folds):
    found = walk_forward(folds)
    html = page(found, ROSTER)
    for section, key in (("f1", "f1"), ("direction", "direction_auc")):
        drawn = panels(html, section)
        assert [*drawn] == [LABELS[name] for name in found.ranking if name != "always_positive"]
        for name in found.ranking:
            if name != "always_positive":
                chart, figure = drawn[LABELS[name]], getattr(found.models[name], key)
                known = [value for value in figure.by_fold if value is not None]
                assert chart.count("<circle") == len(known)
                bars = re.findall(r'<line [^>]*stroke="#[0-9A-F]{6}" stroke-width="1.2"', chart)
                assert len(bars) == sum(bool(error) for error in figure.errors)
                assert 'class="guide"' in chart and chart.count('class="faint"') >= len(found.ranking) - 2


def test_a_bar_is_the_interval_of_the_error_within_its_fold(four):
    chart, figure = panels(page(four, ROSTER), "f1")["GRU + attention"], four.models["gru"].f1
    dots = [float(y) for y in re.findall(r'<circle cx="[^"]*" cy="([^"]*)"', chart)]
    pixels = (dots[0] - dots[2]) / (figure.by_fold[2] - figure.by_fold[0])  # of an F1 of 1
    bars = re.findall(r'<line x1="[^"]*" y1="([^"]*)" x2="[^"]*" y2="([^"]*)" stroke="#', chart)
    for (bottom, top), dot, error in zip(bars, dots, figure.errors, strict=True):
        assert float(bottom) - dot == pytest.approx(dot - float(top), abs=0.2) == pytest.approx(1.96 * error * pixels, abs=0.5)


def test_a_bar_ends_with_the_axis():
    found = changed(walk_forward(), "gru", "f1", errors=[5.0] * 4)
    chart = panels(page(found, ROSTER), "f1")["GRU + attention"]
    bars = re.findall(r'<line x1="[^"]*" y1="([^"]*)" x2="[^"]*" y2="([^"]*)" stroke="#', chart)
    ends = {tuple(sorted(map(float, bar))) for bar in bars}
    assert ends == {(22.0, 125.0)}, "top and bottom of the plot"


def test_a_line_is_parted_where_a_fold_has_no_figure(four):
    assert four.models["mlp"].direction_auc.by_fold[NO_DIRECTION] is None
    chart = panels(page(four, ROSTER), "direction")["MLP"]
    (first, second) = re.findall(r'<path d="M([^"]*)" fill="none" stroke="#', chart)
    assert (len(first.split("L")), len(second.split("L"))) == (2, 1)


@given(st.lists(st.none() | st.floats(0, 1)))
def test_runs_hold_all_known_values_and_never_join_over_a_gap(values):
    found = runs(values)
    assert [point for run in found for point in run] == [(n, value) for n, value in enumerate(values) if value is not None]
    assert all(right == left + 1 for run in found for (left, _), (right, _) in pairwise(run))
    assert all(following[0][0] > run[-1][0] + 1 for run, following in pairwise(found))


@given(st.lists(st.dates(), min_size=1, max_size=40, unique=True), st.integers(180, 500))
def test_dates_below_a_chart_have_room_and_name_each_new_year(dates, width):
    dates = sorted(dates)
    x_range = (-0.5, len(dates) - 0.5)
    marks = thinned([(n, date.isoformat()) for n, date in enumerate(dates)], x_range, width)
    pixels = (width - 60) / len(dates)
    assert marks[0][0] == 0 and all((right - left) * pixels >= BETWEEN_MARKS for (left, _), (right, _) in pairwise(marks))
    year = ""
    for at, written in marks:
        day, _, said = written.partition("/")
        year = said or year
        assert f"{year}-{day}" == dates[int(at)].isoformat()


@pytest.mark.parametrize(
    ("iso", "short"),
    [("2023-03-01", "2023-03-01"), ("2023-03-01T00:00:00Z", "2023-03-01"), ("2023-03-01T16:00:00Z", "2023-03-01T16")],
)
def test_a_time_is_shown_where_it_is_no_midnight(iso, short):
    assert moment(iso) == short


def equity_lines(html: str, title: str) -> list[list[float]]:
    """The heights of the curves of a chart of the capital, in pixels."""
    paths = re.findall(r'<path d="M([^"]*)" fill="none"', charts(html)[title])
    return [[float(point.split()[1]) for point in path.split("L")] for path in paths]


def test_curves_of_the_capital_end_at_the_totals(four):
    html = page(four, ROSTER)
    for title, is_network in (("Networks: capital", True), ("References: capital", False)):
        names = [name for name in four.ranking if (name in ROSTER.networks) == is_network]
        curves = equity_lines(html, title)[len(four.folds) - 1 :]  # behind the starts of the folds
        totals = [
            four.buy_and_hold_equity[-1],
            four.choice.track.equity[-1],
            *(four.models[name].track.equity[-1] for name in names),
        ]
        assert len(curves) == len(totals) and {len(curve) for curve in curves} == {len(four.equity_days) + 1}
        (start,) = {curve[0] for curve in curves}
        rises = [(start - curve[-1]) / (total - 1) for curve, total in zip(curves, totals, strict=True) if abs(total - 1) > 0.05]
        assert rises == pytest.approx([rises[0]] * len(rises), rel=0.05), "the same pixels for the same gain"


@pytest.mark.parametrize(("lowest", "is_log"), [(0.9, False), (0.0, True)])
def test_the_axis_of_the_capital_is_logarithmic_where_it_has_to_be(four, lowest, is_log):
    equity = np.linspace(1, lowest, len(four.equity_days)).tolist()
    found = dataclasses.replace(four, buy_and_hold_equity=equity)
    html = page(found, ROSTER)
    assert ("capital, start = 1, log" in html) == ("equal distances are equal growth" in html) == is_log
    assert max(max(curve) for curve in equity_lines(html, "Networks: capital")) <= 220.0, "nothing below the axis"


def test_a_panel_a_fold_shows_validation_against_test(four):
    drawn = charts(page(four, ROSTER))
    for fold in four.folds:
        chart = drawn[f"{fold.name}: tau {fixed(fold.rank_agreement, '+.2f')}"]
        assert chart.count("<circle") == len(four.models)


def test_names_of_users_are_shown_as_they_are():
    found = walk_forward(2, tuple(NAMES_OF_USERS))
    roster = Roster(dict(ROSTER.networks) | {"mlp": "<b>*M|L_P*"})
    text, html = markdown(found, roster), page(found, roster)
    rows = named(text)
    assert {row["asset"] for row in rows["Test F1 of the networks by asset"]} == {*NAMES_OF_USERS}
    assert "<b>*M|L_P*" in by_model(rows[F1])
    assert Reader(html).open == [] and not re.search(r"<(b|i|script)>", html)
    for name in ("<b>", "<script>"):
        assert f">{escape(name)}</text>" in html
    assert escape("<b>*M|L_P*") in html


def test_no_two_panels_or_tables_share_a_name(four):
    html = page(four, ROSTER)
    captions = re.findall(r'<p class="note caption">(.*?)</p>', html)
    assert len(captions) == len(set(captions))
    assert len(re.findall(r'<svg viewBox[^>]* role="img" aria-label', html)) == html.count("<desc>") == html.count("<figcaption>")


def test_rows_of_scores_have_every_model_in_every_fold(four):
    rows = score_rows(four, ROSTER)
    assert [(row["model"], row["fold"]) for row in rows] == [
        (label, fold.name) for label in LABELS.values() for fold in four.folds
    ]
    row = rows[list(LABELS).index("gru") * 4 + 3]
    model = four.models["gru"]
    assert list(row.values()) == [
        "GRU + attention", "2023-02-01", model.val_f1.by_fold[3], model.f1.by_fold[3], model.f1.errors[3],
        model.pr_auc.by_fold[3], model.direction_auc.by_fold[3], model.return_per_day.by_fold[3],
    ]  # fmt: skip


def test_metrics_of_a_single_fold_are_those_that_the_campaign_writes_of_it():
    """Under the same names; but for ROC AUC, which is that of calibrated scores, as they are joined."""
    found = walk_forward(1)
    fold = make_fold(0, ("COIN00USDT", "COIN01USDT"), 2, np.random.default_rng(5))
    for name, model in found.models.items():
        metrics, campaign = flat_metrics(model), leaderboard_row(fold.evaluation.models[name])
        same = metrics.keys() & campaign.keys()
        assert len(same) == 11 and {key for key in metrics if key not in same} == {
            "val_f1_cross_fitted_std_over_folds", "test_f1_std_over_folds", "test_pr_auc_std_over_folds",
            "test_direction_auc_std_over_folds", "test_return_per_day_net", "test_return_per_day_net_std_over_folds",
        }  # fmt: skip
        assert {key: metrics[key] for key in same} == pytest.approx({key: campaign[key] for key in same}, nan_ok=True)


def test_metrics_over_folds_are_means_with_their_spread(four):
    for model in four.models.values():
        metrics = flat_metrics(model)
        assert metrics["test_f1_score_positive_class"] == pytest.approx(np.mean(model.f1.by_fold))
        assert metrics["test_f1_std_over_folds"] == pytest.approx(np.std(model.f1.by_fold, ddof=1))
        assert metrics["test_trades"] == pytest.approx(sum(model.track.trades))


@in_a_browser
def test_a_browser_has_nothing_to_complain_about(four, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page(four, ROSTER), encoding="utf-8")
    seen = browse(file, tmp_path / "profile")
    assert "Networks: capital" in seen.stdout
    assert "CONSOLE" not in seen.stderr


@pytest.mark.slow
@in_a_browser
def test_a_phone_scrolls_tables_and_not_the_page(tmp_path):
    """Twelve folds and nine models in 390 pixels; two panels stand beside each other."""
    script = """onload = () => {
      const page = document.querySelector('iframe').contentDocument, at = (element) => element.getBoundingClientRect();
      const figures = page.querySelectorAll('#f1 .panels figure');
      document.querySelector('p').textContent = [page.documentElement.scrollWidth, at(page.querySelector('.choice')).bottom,
        at(figures[0]).top - at(figures[1]).top].join(' ');
    };"""
    file = tmp_path / "frame.html"
    frame = f'<iframe width="390" height="640" srcdoc="{escape(page(walk_forward(MANY), ROSTER))}"></iframe>'
    file.write_text(f"{frame}<p></p><script>{script}</script>", encoding="utf-8")
    width, choice, beside = map(float, re.search(r"<p>([-.\d ]+)</p>", browse(file, tmp_path / "profile").stdout)[1].split())
    assert width <= 390 and choice < 640 and beside == 0
