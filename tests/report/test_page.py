"""The page: every section and chart, nothing loaded, the same bytes, and no complaint from a browser."""

import copy
import json
import re
import subprocess
from html import escape
from itertools import pairwise

import pytest

from browser import BROWSER, FLAGS, browse, in_a_browser
from judge.train_record import SettingsRecord
from report.sections import arrange
from report.style import STYLE
from report.svg import Axis, Row, Scale, interval_plot
from report_reader import Reader, charts, check_page, page_tables
from sample import LABELS, ROSTER, sample

SECTIONS = (
    "Verdict", "What to search", "Gates", "Leaderboard", "Direction or volatility", "Training", "Money", "Differences in test F1",
    "Test F1 by asset", "Test F1 by month", "Data and settings",
)  # fmt: skip


def test_all_sections_and_charts_stand_in_their_order():
    text = sample().page()
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == [escape(title) for title in SECTIONS]
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    learning = [f"{label}, {what}" for label in ROSTER.networks.values() for what in ("F1", "losses")]
    matrices = [LABELS[name] for name in sample().result.ranking]
    assert captions == [
        "F1 with 95% intervals", "Precision and recall", "ROC", "Calibration before the map", *matrices,
        "Direction AUC with 95% intervals", *learning, "Stricter thresholds: net return", "Stricter thresholds: precision",
        "Net return a day on test, 95% intervals", "Less gradient boosting, the best reference on validation",
        "Less always positive, which knows nothing", "Less asset prior, which knows the asset alone",
        "Less one column, which knows one column of the last bar alone",
        "Test F1 by asset", "Test F1 by month",
    ]  # fmt: skip
    chance = sample().result.models["always_positive"].test["pr_auc_chance"]
    assert "break-even at the barriers 0.329" in text and f"chance {chance:.3f}" in text and "no gain" in text
    assert len(re.findall(r'<svg viewBox[^>]* role="img" aria-label', text)) == text.count("<desc>") == len(captions)
    assert "no data" not in text.lower() and "None" not in text and "nan" not in re.sub("<style>.*</style>", "", text, flags=re.S)


def test_it_says_what_the_markdown_says():
    found = sample()
    text = found.page()
    check_page(text, arrange(found.result, found.metadata, ROSTER, found.settings))
    assert len(page_tables(text)) > 15
    assert f'<p class="choice">{escape(found.result.verdict[0])}</p>' in text


def test_a_simulated_market_is_said_at_the_top_and_a_real_one_is_not():
    text = sample().page()
    assert text.index("SIMULATED market") < text.index("Verdict</h2>")
    assert "SIMULATED" not in sample().changed(simulated=False).page()


def test_nothing_is_loaded_and_every_element_is_closed():
    text = sample().page()
    read = Reader(text)
    assert read.open == []
    assert {link for link in read.loaded if not link.startswith("#")} == {"data:,"}
    assert not {"script", "img", "iframe", "object", "image", "use"} & set(read.tags)
    assert "url(" not in text and "@import" not in text and "http" not in text


def test_the_same_input_gives_the_same_page_and_is_left_as_it_was():
    given = sample()
    before = copy.deepcopy(given)
    assert given.page() == given.page() == sample().page()
    assert given == before


def test_names_are_escaped():
    found = sample(assets=1)
    for model in found.result.models.values():
        model.test["by_asset"] = {"<b>&": next(iter(model.test["by_asset"].values()))}
    found.metadata["assets"] = ["<b>&"]
    found.settings.append(SettingsRecord("<i>", (("<u>", "</table>"),)))
    text = found.page()
    assert "&lt;b&gt;&amp;" in text and not re.search("<[biu]>", text)
    assert Reader(text).open == []


def test_a_model_without_a_figure_is_left_out_of_its_chart():
    """As `compare` leaves it: no trade has no daily return, few winners no direction AUC, a month without a profit no F1."""
    found = sample(seeds=1)
    for name, model in found.result.models.items():
        model.test["direction_auc"] = model.test["direction_auc_interval"] = None
        if name != "mlp":
            model.test["money"]["return_per_day_interval"] = None
    next(iter(found.result.models["mlp"].test["by_month"].values()))["f1"] = None
    text = found.changed(break_even_precision=None).page()
    drawn = charts(text)
    assert "Direction AUC with 95% intervals" not in drawn
    assert drawn["Net return a day on test, 95% intervals"].count("<circle") == 1
    assert ">–</text>" in drawn["Test F1 by month"]
    assert "break-even at the barriers" not in text and "None" not in text and Reader(text).open == []
    found.result.models["mlp"].test["money"]["return_per_day_interval"] = None
    assert "Net return a day on test" not in found.page()


def test_differences_are_drawn_with_the_intervals_that_were_tested():
    found = sample()
    chart = charts(found.page())["Less gradient boosting, the best reference on validation"]
    lines = [
        list(map(float, ends)) for ends in re.findall(r'<line x1="([^"]*)" y1="[^"]*" x2="([^"]*)" y2="[^"]*" stroke="#', chart)
    ]
    (zero,) = (float(x) for x in re.findall(r'<line x1="([^"]*)"[^>]*class="guide"', chart))
    answers = [own for own in found.result.answers.test if own.other == "gradient_boosting" and own.one in ROSTER.networks]
    answers.sort(key=lambda answer: -answer.difference)
    pixels = (lines[0][1] - lines[0][0]) / (answers[0].interval[1] - answers[0].interval[0])  # of a difference of 1
    assert len(lines) == len(answers) == 4
    for answer, ends in zip(answers, lines, strict=True):
        assert ends == pytest.approx([zero + pixels * end for end in answer.interval], abs=1)


def test_what_the_networks_were_trained_with_is_the_last_setting_of_train():
    (said,) = re.findall(r"<li>train: (.*?)</li>", sample().page())
    assert said.startswith("seeds [1, 2, 3], ")
    assert said.endswith("trained with precision float32, torch 2.13.0, processor AVX2")


def test_what_passed_and_what_failed_differ_in_colour_and_in_mark():
    text = sample().page()
    assert text.count('<span class="pass">✓</span> ') == text.count("✓") - text.count("✓ passed") > 0
    assert text.count('<span class="fail">✗</span> ') == text.count("✗") - text.count("✗ failed") > 0


@in_a_browser
@pytest.mark.slow
def test_print_shows_what_is_folded_on_the_screen(tmp_path):
    """A PDF holds no hidden text: it is longer than that of a page that keeps it folded."""
    pages = {"unfolded": sample().page(), "folded": sample().page().replace("details::details-content", "details::none")}
    sizes = {}
    for name, page in pages.items():
        (tmp_path / f"{name}.html").write_text(page)
        printed = tmp_path / f"{name}.pdf"
        flags = [*FLAGS, f"--user-data-dir={tmp_path / name}", f"--print-to-pdf={printed}", "--no-pdf-header-footer"]
        subprocess.run([BROWSER, *flags, (tmp_path / f"{name}.html").as_uri()], check=True, timeout=120, capture_output=True)
        sizes[name] = printed.read_bytes().count(b"/Type /Page\n")
    assert sizes["unfolded"] > sizes["folded"] > 0


def test_print_keeps_legends_with_charts_and_tables_whole():
    text = sample().page()
    read = Reader(text)
    assert re.search(r"@media print \{.*\.keep[^}]*break-inside: avoid", STYLE, re.DOTALL)
    assert re.search(r"@media print \{.*h2, h3[^}]*break-after: avoid", STYLE, re.DOTALL)
    legends, tables_kept, figures = ([kept for kept in read.kept if what in kept] for what in ("legend", "table", "figure"))
    assert len(legends) == text.count('class="legend"') and all("figure" in kept for kept in legends)
    assert len(tables_kept) == read.tags.count("table") and all("note caption" in kept for kept in tables_kept)
    assert sum(kept.count("figure") for kept in figures) == read.tags.count("figure")


def test_two_models_never_share_a_colour():
    """In the charts with a line or a dot a model."""
    drawn = charts(sample().page())
    lines = re.findall(r'<path [^>]*stroke="(.*?)"', drawn["Precision and recall"])
    assert len(lines) == len(set(lines)) == 7
    for title in ("F1 with 95% intervals", "Direction AUC with 95% intervals"):
        dots = [fill for fill in re.findall(r'<circle [^>]*fill="(.*?)"', drawn[title]) if fill != "currentColor"]
        assert len(dots) == len(set(dots)) == 9


@pytest.mark.parametrize(
    ("scale", "written"),
    [
        (Scale(0, 1, 0, 100), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Scale(-0.011, 0.02, 0, 100, percent=True), ["−1%", "0%", "1%", "2%"]),
        (Scale(0.3, 6, 0, 100, log=True), ["0.5", "1", "2", "5"]),
        (Scale(0.01, 1, 0, 100, log=True, percent=True), ["1%", "2%", "5%", "10%", "20%", "50%", "100%"]),
        (Scale(1, 3, 0, 100, whole=True), ["1", "2", "3"]),
        (Scale(0.5, 1, 0, 100, whole=True), ["1"]),
        (Scale(1, 17, 0, 100, whole=True), ["5", "10", "15"]),
        (Scale(0.2213, 0.2391, 0, 100), ["0.225", "0.230", "0.235"]),
    ],
)
def test_ticks_are_round_and_written_as_short_as_they_can(scale, written):
    assert [shown for _, shown in scale.ticks(20)] == written
    assert all(-1e-6 <= scale(value) <= 100 + 1e-6 for value, _ in scale.ticks(20))


@pytest.mark.parametrize("interval", [[-0.0002, 0.0007], [0.0, 0.0003], [-0.02, 0.02], [-0.4, 2.0]])
def test_numbers_below_an_interval_plot_do_not_touch(interval):
    rows = [Row("gradient boosting", "#000000", 0.0, interval, "+0.000%")]
    plot = interval_plot("title", "text", rows, Axis("a day", percent=True), (0.0, "none"))
    numbers = re.findall(r'<text x="([^"]*)" y="68.0" text-anchor="middle" class="quiet">(.*?)</text>', plot)
    assert len(numbers) > 1
    for (left, one), (right, other) in pairwise(numbers):
        assert float(right) - float(left) > 8 * max(len(one), len(other))


@in_a_browser
def test_a_browser_has_nothing_to_complain_about(tmp_path):
    file = tmp_path / "page.html"
    file.write_text(sample().page(), encoding="utf-8")
    seen = browse(file, tmp_path / "profile")
    assert "Less gradient boosting" in seen.stdout
    assert "CONSOLE" not in seen.stderr


MEASURE = """
onload = () => {
  const page = document.querySelector('iframe').contentDocument, at = (element) => element.getBoundingClientRect();
  const scroll = page.querySelector('#gates .scroll'), first = scroll.querySelector('tbody tr:nth-child(2) th');
  const before = at(first).left;
  scroll.scrollLeft = 200;
  const found = {
    page: page.documentElement.scrollWidth, width: page.documentElement.clientWidth,
    choice: at(page.querySelector('.choice')).bottom,
    hidden: scroll.scrollWidth - scroll.clientWidth, moved: at(first).left - before,
    shade: page.defaultView.getComputedStyle(scroll).backgroundAttachment,
  };
  document.querySelector('p').textContent = JSON.stringify(found);
};
"""


@pytest.mark.slow
@in_a_browser
def test_a_phone_shows_the_choice_at_once_and_that_tables_scroll(tmp_path):
    file = tmp_path / "frame.html"
    frame = f'<iframe width="360" height="640" srcdoc="{escape(sample(months=20).page())}"></iframe>'
    file.write_text(f"{frame}<p></p><script>{MEASURE}</script>", encoding="utf-8")
    found = json.loads(re.search(r"<p>(\{.*?\})</p>", browse(file, tmp_path / "profile").stdout)[1])
    assert found["page"] == found["width"] <= 360, "tables scroll, not the page"
    assert found["choice"] < 640, "the choice is on the first screen"
    assert found["hidden"] > 100 and abs(found["moved"]) < 1, "the first column stays where the others scroll"
    assert found["shade"] == "local, scroll", "a shade that the end of the table covers"
