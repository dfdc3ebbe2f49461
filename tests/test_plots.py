"""The charts of `dvc plots show`, as DVC's own renderer and a browser draw them."""

import re

import pytest
from dvc_render.html import HTML
from dvc_render.vega import VegaRenderer
from ruamel.yaml import YAML

from browser import browse, in_a_browser
from judge.names import NO_CURVE
from sample import LABELS, ROSTER, sample
from scaffold import PROJECT

TEMPLATES = PROJECT / ".dvc/plots"
PLOTS = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["plots"]
CHARTS = {name: chart for plot in PLOTS if isinstance(plot, dict) for name, chart in plot.items()}


def test_no_template_names_an_architecture():
    names = [script.stem.removeprefix("train_") for script in (PROJECT / "src").glob("train_*.py")]
    for template in TEMPLATES.iterdir():
        assert not re.search(rf"\b({'|'.join(names)})\b", template.read_text(), re.IGNORECASE), template


def render(name: str, rows: list[dict[str, str]]) -> str:
    """Render a chart of dvc.yaml as an element of the page."""
    chart = CHARTS[name]
    ((_, y),) = chart["y"].items()
    texts = {key: chart[key] for key in ("x", "title", "x_label", "y_label")}
    points = [row | {"rev": "workspace"} for row in rows]
    return VegaRenderer(points, name, y=y, template=chart["template"], template_dir=str(TEMPLATES), **texts).generate_html()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Draw charts in a browser, SVG by name. One precision is that of a single trade, as there is at the lowest recall."""
    curves, directory = sample().curves, tmp_path_factory.mktemp("plots")
    page = HTML((TEMPLATES / "page.html").read_text())
    page.with_element(render("learning_curves", [row for row in curves["learning"] if int(row["epoch"]) <= 3]))
    lower = [row | {"precision": str(0.7 * float(row["precision"]))} for row in curves["pr"]]  # far from 1
    page.with_element(render("pr_curves", [{"model": "MLP", "recall": "0.003", "precision": "1.0"}, *lower]))
    file = directory / "index.html"
    file.write_text(page.embed(), encoding="utf-8")
    charts = re.findall(r'<svg [^>]*class="marks".*?</svg>', browse(file, directory / "profile").stdout, re.DOTALL)
    return dict(zip(("learning_curves", "pr_curves"), charts, strict=True))


def labels(svg: str, axis: str) -> list[str]:
    """Read the visible numbers beside an axis, X or Y."""
    beside = re.search(rf'aria-label="{axis}-axis.*?role-axis-label"(.*?)</g>', svg, re.DOTALL)[1]
    return [text for text in re.findall(r"<text[^>]*>(.*?)</text>", beside) if text]


def colours(svg: str) -> list[str]:
    """List the colours of lines, each once, in their order."""
    lines = re.findall(r'<path [^>]*aria-roledescription="line mark"[^>]*>', svg)
    return list(dict.fromkeys(re.search('stroke="(.*?)"', line)[1].upper() for line in lines))


@in_a_browser
def test_epochs_are_whole_and_names_and_colours_those_of_the_report(drawn):
    svg = drawn["learning_curves"]
    assert labels(svg, "X") == ["1", "2", "3"]
    written = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert [text for text in written if text in LABELS.values()] == list(ROSTER.networks.values())
    assert colours(svg) == [ROSTER.colours[name] for name in ROSTER.networks]


@in_a_browser
def test_precision_is_drawn_where_it_lies_and_not_at_a_single_trade(drawn):
    precision = [float(text) for text in labels(drawn["pr_curves"], "Y")]
    assert precision[0] > 0
    assert precision[-1] < 0.9, "the precision of 1 of a single trade is left out"
    assert colours(drawn["pr_curves"]) == [colour for name, colour in ROSTER.colours.items() if name not in NO_CURVE]
