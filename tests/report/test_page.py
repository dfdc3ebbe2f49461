"""The page: every section and chart, nothing loaded, the same bytes, and no complaint from a browser."""

import copy
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from core.names import NAMES
from report.page import page, tie_groups
from report.svg import Scale
from sample import NETWORKS, sample

SECTIONS = (
    "Verdict", "Gates", "Leaderboard", "Learning curves", "Ranking and calibration on test", "Differences", "Money",
    "Assets and months", "What to search first", "Data and settings",
)  # fmt: skip
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="neither chromium nor google-chrome on PATH")


class Reader(HTMLParser):
    """Collects what a page would load, and whether every element is closed."""

    VOID = frozenset({"meta", "link", "br", "line", "circle", "rect"})

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


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
    gates, board, pairs, money = (
        next(rows for caption, rows in tables(page(*sample())).items() if caption.startswith(start))
        for start in ("Each architecture", "Ordered by validation F1", "Paired differences in test F1", "Trades on test")
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
    clear = {f"{NAMES[pair['better']]} over {NAMES[pair['worse']]}": pair["clear"] for pair in result["pairs"]["test"]}
    assert {row["pair"]: row["verdict"] == "clear" for row in pairs} == clear


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
    assert "<td>–</td>" in text and "No architecture is worth" in text and "None" not in text and Reader(text).open == []


def test_a_model_above_always_positive_that_loses_money_is_said_so():
    text = page(*sample())
    assert "CNN-LSTM: test F1 0.303 is above always-positive (0.222), and its trades would still have lost " in text
    assert "GRU + attention: test F1" not in text


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


def browse(file: Path, profile: Path) -> subprocess.CompletedProcess:
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    command = [
        BROWSER,
        *flags,
        "--disable-sync",
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
        "--dump-dom",
        file.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@in_a_browser
def test_a_browser_has_nothing_to_complain_about(tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page(*sample()), encoding="utf-8")
    seen = browse(file, tmp_path / "profile")
    assert "Who is tied with whom" in seen.stdout
    assert "CONSOLE" not in seen.stderr


@in_a_browser
def test_a_phone_scrolls_tables_not_the_page(tmp_path):
    file = tmp_path / "frame.html"
    frame = f'<iframe width="360" height="700" srcdoc="{escape(page(*sample(months=20)))}"></iframe>'
    measure = "onload = () => { const d = document.querySelector('iframe').contentDocument.documentElement;"
    file.write_text(f"{frame}<p></p><script>{measure} document.querySelector('p').textContent = `wide ${{d.scrollWidth}} of "
                    "${d.clientWidth}`; };</script>", encoding="utf-8")  # fmt: skip
    wide, of = re.search(r"wide (\d+) of (\d+)", browse(file, tmp_path / "profile").stdout).groups()
    assert int(of) <= 360 and int(wide) == int(of)
