"""The page: every section and chart, nothing loaded, the same bytes, and no complaint from a browser."""

import copy
import dataclasses
import json
import re
from html import escape
from html.parser import HTMLParser

import pytest

from browser import browse, in_a_browser
from judge.gates import Gate
from judge.pairs import Pair
from judge.train_record import SettingsRecord
from report.page import tie_groups
from report.style import STYLE
from report.svg import Scale
from sample import LABELS, ROSTER, sample

SECTIONS = (
    "Verdict", "What to search first", "Gates", "Leaderboard", "Learning curves", "Ranking and calibration on test",
    "Differences", "Money", "Assets and months", "Data and settings",
)  # fmt: skip


class Reader(HTMLParser):
    """Collects what a page would load, whether every element is closed, and what is kept together on paper."""

    VOID = frozenset({"meta", "link", "br", "line", "circle", "rect"})

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.kept: list[list[str]] = []  # for each element with class keep, the elements in it
        self.depths: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for kept in self.kept[len(self.kept) - len(self.depths) :]:
            kept += [tag, dict(attrs).get("class") or ""]
        if dict(attrs).get("class") == "keep":
            assert not self.depths, "one in another"
            self.kept.append([])
            self.depths.append(len(self.open))
        self.loaded += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if self.depths and self.depths[-1] == len(self.open):
            self.depths.pop()


def test_all_sections_and_charts_stand_in_their_order():
    text = sample().page()
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == [escape(title) for title in SECTIONS]
    charts = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    learning = [f"{label}, {what}" for label in ROSTER.networks.values() for what in ("F1", "losses")]
    matrices = [LABELS[name] for name in sample().result.ranking]
    assert charts == [
        "F1 with 95% intervals", *learning, "Precision and recall", "ROC", "Calibration", *matrices,
        "Who is tied with whom on test", "Stricter thresholds: net return", "Stricter thresholds: precision",
        "Net return a day, 95% intervals", "Test F1 by asset", "Test F1 by month",
    ]  # fmt: skip
    chance = sample().result.models["always_positive"].test["pr_auc_chance"]
    assert "break-even at the barriers 0.329" in text and f"chance {chance:.3f}" in text and "no gain" in text
    assert len(re.findall(r'<svg viewBox[^>]* role="img" aria-label', text)) == text.count("<desc>") == len(charts)
    assert "no data" not in text.lower() and "None" not in text and "nan" not in re.sub("<style>.*</style>", "", text, flags=re.S)


def tables(text: str) -> dict[str, list[dict[str, str]]]:
    """Read the tables by caption, a dict a row; of columns of one name the last counts. Small text is in brackets."""
    found = {}
    for caption, table in re.findall(r'<p class="note caption">(.*?)</p>.*?(<table.*?</table>)', text):
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)]
        head, *rows = [[re.sub(r"<[^>]*>", " ", cell).strip() for cell in row] for row in cells]
        found[caption] = [dict(zip(head, row, strict=True)) for row in rows if len(row) == len(head)]
    return found


def test_every_figure_stands_under_its_head():
    result = sample().result
    gates, board, clear, ties, money = (
        next(rows for caption, rows in tables(sample().page()).items() if caption.startswith(start))
        for start in ("Below each mark", "Ordered by validation F1", "Pairs that differ", "Ties in test F1", "Trades on test")
    )
    for row, found in zip(gates, zip(*result.gates.values(), strict=True), strict=True):
        for label, gate in zip(ROSTER.networks.values(), found, strict=True):
            assert row["gate"] == gate.gate
            assert row[label].startswith("✓ pass" if gate.passed else "✗ fail")
    for row, paid, name in zip(board, money, result.ranking, strict=False):
        model = result.models[name]
        assert row["model"] == paid["model"] == LABELS[name]
        assert row["validation F1"].startswith(f"{model.val['f1']['mean']:.3f}")
        assert row["test F1"].startswith(f"{model.test['f1']['mean']:.3f}")
        kinds = {"hit rate": ("hit_rate", ".1%"), "break-even": ("break_even_hit_rate", ".1%")}
        kinds |= {"mean before costs": ("mean_return", "+.2%"), "mean after costs": ("mean_return_net", "+.2%")}
        kinds |= {"total before costs": ("total_return", "+.1%"), "total after costs": ("total_return_net", "+.1%")}
        figures = model.test["money"]
        assert {head: paid[head] for head in kinds} == {
            head: f"{figures[key]:{form}}".replace("-", "−") for head, (key, form) in kinds.items()
        }
    pairs = {f"{LABELS[pair.better]} over {LABELS[pair.worse]}": pair.clear for pair in result.pairs["test"]}
    assert {row["pair"]: True for row in clear} | {row["pair"]: False for row in ties} == pairs
    assert len(clear) + len(ties) == 36


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


def test_what_is_not_known_is_a_dash():
    """As `compare` leaves it: one seed has no spread, a model without a call no trade, a month without a profit no F1."""
    found = sample(seeds=1)
    search = dataclasses.replace(found.result.search_first, primary=None, secondary=[], set_aside=list(ROSTER.networks))
    silent = found.result.models["mlp"].test
    assert silent["f1"]["std"] is None
    silent["money"] |= {"trades": 0} | dict.fromkeys(("hit_rate", "break_even_hit_rate", "mean_return", "mean_return_net"))
    next(iter(silent["by_month"].values()))["f1"] = None
    gates = found.result.gates
    assert Gate("stable: spread of validation F1 over seeds", False, None, 0.03) in gates["mlp"]
    gates["mlp"][7] = Gate("test hit rate above break-even", False, None, None, percent=True)
    text = found.changed(search_first=search).page()
    assert (
        "<td>–</td>" in text and "No architecture is shown to be worth" in text and "None" not in text and Reader(text).open == []
    )


def test_what_a_reference_cannot_have_is_a_dash_and_said_so():
    text = sample().page()
    calibration = next(rows for caption, rows in tables(text).items() if caption.startswith("Calibration on test"))
    undefined = {row["model"]: [head for head, cell in row.items() if cell == "–"] for row in calibration}
    assert undefined == {label: [] for label in LABELS.values()} | {"always positive": ["log loss"]}
    assert "its log loss is infinite before calibration" in text


def test_models_above_always_positive_that_lose_money_are_listed_with_their_losses():
    found = sample()
    totals = {"gru": -0.144, "mlp": -0.3912, "prior": -1.2}
    for name, total in totals.items():
        found.result.models[name].test["money"]["total_return_net"] = total
    floor = found.result.models["always_positive"].test["f1"]["mean"]
    (said,) = re.findall(
        rf"<p>Better than always-positive in test F1 \({floor:.3f}\), but losing capital after costs: (.*?)\.</p>",
        found.changed(losing=list(totals)).page(),
    )
    assert said == "GRU + attention 14.4%, MLP 39.1%, asset prior all"


def test_what_the_networks_were_trained_with_is_the_last_setting_of_train():
    rows = tables(sample().page())["train"]
    assert [row["setting"] for row in rows] == [
        "seeds", "epochs", "batch_size", "learning_rate", "trained with",
    ]  # fmt: skip
    assert rows[-1]["value"] == "precision float32, torch 2.13.0, processor AVX2"


def test_ties_are_folded_with_their_count():
    found = sample()
    pairs = found.result.pairs["test"]
    text = found.page()
    ties = sum(not pair.clear for pair in pairs)
    folded = re.search(r"<details><summary>(.*?)</summary>(.*?)</details>", text)
    assert folded[1] == f"{ties} ties" and folded[2].count("<tr>") == ties + 1
    assert f"{36 - ties} of 36 pairs of models differ in test F1 beyond chance." in text
    text = found.changed(pairs={"test": [dataclasses.replace(pair, clear=False) for pair in pairs]}).page()
    assert (
        "None of 36 pairs of models differs" in text and "<summary>36 ties</summary>" in text and "Pairs that differ" not in text
    )


def test_print_keeps_legends_with_charts_and_tables_whole():
    read = Reader(sample().page())
    assert re.search(r"@media print \{.*\.keep[^}]*break-inside: avoid", STYLE, re.DOTALL)
    assert re.search(r"@media print \{.*h2, h3[^}]*break-after: avoid", STYLE, re.DOTALL)
    legends, tables_kept, figures = ([kept for kept in read.kept if what in kept] for what in ("legend", "table", "figure"))
    assert len(legends) == read.tags.count("ul") and all("figure" in kept for kept in legends)
    assert len(tables_kept) == read.tags.count("table") and all("note caption" in kept for kept in tables_kept)
    assert sum(kept.count("figure") for kept in figures) == read.tags.count("figure")


def test_two_models_never_share_a_colour():
    """In the charts with a line or a dot a model."""
    text = sample().page()
    charts = dict(re.findall(r"<figcaption>(.*?)</figcaption>(<svg.*?</svg>)", text))
    lines = re.findall(r'<path [^>]*stroke="(.*?)"', charts["Precision and recall"])
    assert len(lines) == len(set(lines)) == 7
    for title in ("F1 with 95% intervals", "Who is tied with whom on test"):
        dots = [fill for fill in re.findall(r'<circle [^>]*fill="(.*?)"', charts[title]) if fill != "currentColor"]
        assert len(dots) == len(set(dots)) == 9


def test_tie_groups_are_the_largest_ones():
    def pair(one: str, other: str, clear: bool) -> Pair:
        return Pair(one, other, difference=0.1, interval=[0.0, 0.2], p_value=0.02, p_holm=0.04, clear=clear)

    pairs = [pair("a", "b", False), pair("b", "c", False), pair("a", "c", True)]
    pairs += [pair(name, "d", True) for name in "abc"]
    assert tie_groups(pairs) == [["a", "b"], ["b", "c"]]


@pytest.mark.parametrize(
    ("scale", "written"),
    [
        (Scale(0, 1, 0, 100), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Scale(-0.011, 0.02, 0, 100, percent=True), ["−1%", "0%", "1%", "2%"]),
        (Scale(0.01, 1, 0, 100, log=True), ["1%", "2%", "5%", "10%", "20%", "50%", "100%"]),
        (Scale(1, 3, 0, 100, whole=True), ["1", "2", "3"]),
        (Scale(0.5, 1, 0, 100, whole=True), ["1"]),
        (Scale(1, 17, 0, 100, whole=True), ["5", "10", "15"]),
        (Scale(0.2213, 0.2391, 0, 100), ["0.225", "0.230", "0.235"]),
    ],
)
def test_ticks_are_round_and_written_as_short_as_they_can(scale, written):
    assert [shown for _, shown in scale.ticks(20)] == written
    assert all(-1e-6 <= scale(value) <= 100 + 1e-6 for value, _ in scale.ticks(20))


@in_a_browser
def test_a_browser_has_nothing_to_complain_about(tmp_path):
    file = tmp_path / "page.html"
    file.write_text(sample().page(), encoding="utf-8")
    seen = browse(file, tmp_path / "profile")
    assert "Who is tied with whom" in seen.stdout
    assert "CONSOLE" not in seen.stderr


MEASURE = """
onload = () => {
  const page = document.querySelector('iframe').contentDocument, at = (element) => element.getBoundingClientRect();
  const scroll = page.querySelector('.gates').parentElement, first = page.querySelector('.gates tbody tr:nth-child(2) th');
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
