"""The page: every section and chart, nothing loaded, the same bytes, and no complaint from a browser."""

import copy
import json
import re
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest

from browser import browse, in_a_browser
from core.names import NAMES
from report.page import page, tie_groups
from report.style import STYLE
from report.svg import Scale
from sample import NETWORKS, sample

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
    text = page(*sample())
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == [escape(title) for title in SECTIONS]
    charts = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    learning = [f"{NAMES[name]}, {what}" for name in NETWORKS for what in ("F1", "losses")]
    matrices = [NAMES[name] for name in sample()[0]["ranking"]]
    assert charts == [
        "F1 with 95% intervals", *learning, "Precision and recall", "ROC", "Calibration", *matrices,
        "Who is tied with whom on test", "Stricter thresholds: net return", "Stricter thresholds: precision",
        "Net return a day, 95% intervals", "Test F1 by asset", "Test F1 by month",
    ]  # fmt: skip
    assert "break-even at the barriers 0.329" in text and "chance 0.122" in text and "no gain" in text
    assert len(re.findall(r'<svg viewBox[^>]* role="img" aria-label', text)) == text.count("<desc>") == len(charts)
    assert "no data" not in text.lower() and "None" not in text and "nan" not in re.sub("<style>.*</style>", "", text, flags=re.S)


def tables(text: str) -> dict[str, list[dict[str, str]]]:
    """Tables by caption, a dict a row; of columns of one name the last counts. Small text is in brackets."""
    found = {}
    for caption, table in re.findall(r'<p class="note caption">(.*?)</p>.*?(<table.*?</table>)', text):
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)]
        head, *rows = [[re.sub(r"<[^>]*>", " ", cell).strip() for cell in row] for row in cells]
        found[caption] = [dict(zip(head, row, strict=True)) for row in rows if len(row) == len(head)]
    return found


def test_every_figure_stands_under_its_head():
    result = sample()[0]
    gates, board, clear, ties, money = (
        next(rows for caption, rows in tables(page(*sample())).items() if caption.startswith(start))
        for start in ("Below each mark", "Ordered by validation F1", "Pairs that differ", "Ties in test F1", "Trades on test")
    )
    for row, same in zip(gates, zip(*result["gates"].values(), strict=True), strict=True):
        for name, gate in zip(result["gates"], same, strict=True):
            assert row["gate"] == gate["gate"]
            assert row[NAMES[name]].startswith("✓ pass" if gate["passed"] else "✗ fail")
    for row, paid, name in zip(board, money, result["ranking"], strict=False):
        model = result["models"][name]
        assert row["model"] == paid["model"] == NAMES[name]
        assert row["validation F1"].startswith(f"{model['val']['f1']['mean']:.3f}")
        assert row["test F1"].startswith(f"{model['test']['f1']['mean']:.3f}")
        kinds = {"hit rate": ("hit_rate", ".1%"), "break-even": ("break_even_hit_rate", ".1%")}
        kinds |= {"mean before costs": ("mean_return", "+.2%"), "mean after costs": ("mean_return_net", "+.2%")}
        kinds |= {"total before costs": ("total_return", "+.1%"), "total after costs": ("total_return_net", "+.1%")}
        figures = model["test"]["money"]
        assert {head: paid[head] for head in kinds} == {
            head: f"{figures[key]:{form}}".replace("-", "−") for head, (key, form) in kinds.items()
        }
    pairs = {f"{NAMES[pair['better']]} over {NAMES[pair['worse']]}": pair["clear"] for pair in result["pairs"]["test"]}
    assert {row["pair"]: True for row in clear} | {row["pair"]: False for row in ties} == pairs
    assert len(clear) + len(ties) == 36


def test_a_simulated_market_is_said_at_the_top_and_a_real_one_is_not():
    result, metadata, curves = sample()
    assert page(result, metadata, curves).index("SIMULATED market") < page(result, metadata, curves).index("Verdict</h2>")
    assert "SIMULATED" not in page(result | {"simulated": False}, metadata, curves)


def test_nothing_is_loaded_and_every_element_is_closed():
    read = Reader(page(*sample()))
    assert read.open == []
    assert {link for link in read.loaded if not link.startswith("#")} == {"data:,"}
    assert not {"script", "img", "iframe", "object", "image", "use"} & set(read.tags)
    assert "url(" not in page(*sample()) and "@import" not in page(*sample()) and "http" not in page(*sample())


def test_the_same_input_gives_the_same_page_and_is_left_as_it_was():
    given = sample()
    before = copy.deepcopy(given)
    assert page(*given) == page(*given) == page(*sample())
    assert given == before


def test_names_are_escaped():
    result, metadata, curves = sample(assets=1)
    for model in result["models"].values():
        model["test"]["by_asset"] = {"<b>&": next(iter(model["test"]["by_asset"].values()))}
    metadata["assets"], result["settings"]["<i>"] = ["<b>&"], {"<u>": "</table>"}
    text = page(result, metadata, curves)
    assert "&lt;b&gt;&amp;" in text and not re.search("<[biu]>", text)
    assert Reader(text).open == []


def test_what_is_not_known_is_a_dash():
    """As `compare` leaves it: one seed has no spread, a model without a call no trade, a month without a profit no F1."""
    result, metadata, curves = sample(seeds=1)
    result["search_first"] = {"primary": None, "secondary": [], "set_aside": ["mlp"], "reasons": {"mlp": "no"}}
    silent = result["models"]["mlp"]["test"]
    silent["f1"]["std"] = None
    silent["money"] |= {"trades": 0} | dict.fromkeys(("hit_rate", "break_even_hit_rate", "mean_return", "mean_return_net"))
    next(iter(silent["by_month"].values()))["f1"] = None
    result["gates"]["mlp"][4] |= {"value": None, "threshold": None}
    text = page(result, metadata, curves)
    assert (
        "<td>–</td>" in text and "No architecture is shown to be worth" in text and "None" not in text and Reader(text).open == []
    )


def test_what_a_reference_cannot_have_is_a_dash_and_said_so():
    text = page(*sample())
    calibration = next(rows for caption, rows in tables(text).items() if caption.startswith("Calibration on test"))
    undefined = {row["model"]: [head for head, cell in row.items() if cell == "–"] for row in calibration}
    assert undefined == {name: [] for name in NAMES.values()} | {
        "always positive": ["log loss", "after temperature", "temperature"]
    }
    assert "its log loss is infinite, and a temperature changes nothing" in text


def test_models_above_always_positive_that_lose_money_are_said_so():
    (said,) = re.findall(
        r"<p>Test F1 above always-positive \(0.222\), and capital lost after costs all the same: (.*?)\.</p>", page(*sample())
    )
    assert said == "CNN-LSTM 14.4%, MLP 39.1%, logistic regression 78.3%, one column all, asset prior all"


def test_ties_are_folded_with_their_count():
    result, metadata, curves = sample()
    text = page(result, metadata, curves)
    ties = sum(not pair["clear"] for pair in result["pairs"]["test"])
    folded = re.search(r"<details><summary>(.*?)</summary>(.*?)</details>", text)
    assert folded[1] == f"{ties} ties" and folded[2].count("<tr>") == ties + 1
    assert f"{36 - ties} of 36 pairs of models differ in test F1 beyond chance." in text
    result["pairs"]["test"] = [pair | {"clear": False} for pair in result["pairs"]["test"]]
    text = page(result, metadata, curves)
    assert (
        "None of 36 pairs of models differs" in text and "<summary>36 ties</summary>" in text and "Pairs that differ" not in text
    )


def test_print_keeps_legends_with_charts_and_tables_whole():
    read = Reader(page(*sample()))
    assert re.search(r"@media print \{.*\.keep[^}]*break-inside: avoid", STYLE, re.DOTALL)
    assert re.search(r"@media print \{.*h2, h3[^}]*break-after: avoid", STYLE, re.DOTALL)
    legends, tables_kept, figures = ([kept for kept in read.kept if what in kept] for what in ("legend", "table", "figure"))
    assert len(legends) == read.tags.count("ul") and all("figure" in kept for kept in legends)
    assert len(tables_kept) == read.tags.count("table") and all("note caption" in kept for kept in tables_kept)
    assert sum(kept.count("figure") for kept in figures) == read.tags.count("figure")


def test_two_models_never_share_a_colour():
    """In the charts with a line or a dot a model."""
    text = page(*sample())
    charts = dict(re.findall(r"<figcaption>(.*?)</figcaption>(<svg.*?</svg>)", text))
    lines = re.findall(r'<path [^>]*stroke="(.*?)"', charts["Precision and recall"])
    assert len(lines) == len(set(lines)) == 7
    for title in ("F1 with 95% intervals", "Who is tied with whom on test"):
        dots = [fill for fill in re.findall(r'<circle [^>]*fill="(.*?)"', charts[title]) if fill != "currentColor"]
        assert len(dots) == len(set(dots)) == 9


def test_tie_groups_are_the_largest_ones():
    def pair(one: str, other: str, clear: bool) -> dict[str, Any]:
        return {"better": one, "worse": other, "clear": clear}

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
    file.write_text(page(*sample()), encoding="utf-8")
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
    frame = f'<iframe width="360" height="640" srcdoc="{escape(page(*sample(months=20)))}"></iframe>'
    file.write_text(f"{frame}<p></p><script>{MEASURE}</script>", encoding="utf-8")
    found = json.loads(re.search(r"<p>(\{.*?\})</p>", browse(file, tmp_path / "profile").stdout)[1])
    assert found["page"] == found["width"] <= 360, "tables scroll, not the page"
    assert found["choice"] < 640, "the choice is on the first screen"
    assert found["hidden"] > 100 and abs(found["moved"]) < 1, "the first column stays where the others scroll"
    assert found["shade"] == "local, scroll", "a shade that the end of the table covers"
