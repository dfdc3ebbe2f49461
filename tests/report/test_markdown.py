"""Every figure of the Markdown reports stands where its head says."""

import html
import itertools
import re
from typing import Any

import pytest

from core.names import NAMES, NETWORKS
from report.decisions import decision
from report.markdown import comparison, table
from report.page import page
from sample import sample


def test_a_name_with_a_bar_stays_in_its_cell():
    assert table(["symbol", "F1"], [["BTC|USDT", "0.3"]]).splitlines() == [
        "| symbol | F1 |",
        "|---|---:|",
        r"| BTC\|USDT | 0.3 |",
    ]


NAMES_OF_USERS = ["A|B", "*x*", "<b>", "_a_", "`c`", "[d](e)", "~~f~~", "back\\slash", "$g$", "&amp;", "<script>", "h_i", "j-k.l"]


def named(value: Any, names: dict[str, str]) -> Any:
    """`value` with other names, keys too."""
    if isinstance(value, dict):
        return {named(key, names): named(entry, names) for key, entry in value.items()}
    if isinstance(value, list):
        return [named(entry, names) for entry in value]
    return names.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def odd() -> tuple[dict, dict, dict]:
    """What is reported of assets, and of a column, with the names of `NAMES_OF_USERS`."""
    result, metadata, curves = sample(assets=len(NAMES_OF_USERS))
    names = dict(zip(metadata["assets"], NAMES_OF_USERS, strict=True))
    result, metadata = named(result, names), named(metadata, names) | {"source": "my`bars"}
    result["settings"]["data"] = {"features": NAMES_OF_USERS, "bars": "a_b/*c*", "lookback": 24, "splits": [0.7, 0.15, 0.15]}
    return result | {"one_column": "<i>_x_"}, metadata, curves


def test_names_of_users_are_shown_as_they_are(odd):
    """Read back by the rules of CommonMark and GitHub: after a backslash a character is itself."""
    for text in (comparison(*odd[:2]), decision(*odd[:2])):
        assert "`` my`bars ``" in text
        plain = re.sub(r"\\([!-/:-@\[-`{-~])", lambda found: chr(0xE000 + ord(found[1])), text.replace("`` my`bars ``", ""))
        assert not re.search(r"[<>`~$&]|\]\(|\*(?!\*)\w+\*(?!\*)|(?<!\w)_|_(?!\w)", re.sub(r"\*\*.*?\*\*", "", plain))
    shown = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", comparison(*odd[:2]))
    assert ", ".join(NAMES_OF_USERS) in shown
    assert "features ['" + "', '".join(NAMES_OF_USERS) + "'], bars a_b/*c*, lookback 24, splits [0.7, 0.15, 0.15]" in shown
    assert "<i>_x_ of the last bar" in shown


def test_names_of_users_make_no_tags_in_html(odd):
    text = page(*odd)
    for name in ("<b>", "<script>", "<i>_x_"):
        assert html.escape(name) in text
    assert not re.search(r"<(b|i)>|<script>(?!\W*\()", text.replace(html.escape("<script>"), ""))


@pytest.fixture(scope="module")
def report() -> dict[str, list[dict[str, str]]]:
    """Tables of a report by section, a dict a row; columns of one name are told apart by their number."""
    result, metadata, _ = sample()
    tables: dict[str, list[dict[str, str]]] = {}
    section, head = "", []
    for line in comparison(result, metadata).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            section, head = line[3:], []
        elif not line.startswith("|"):
            head = []
        elif not head:
            head = [f"{name} {cells[:number].count(name) or ''}".strip() for number, name in enumerate(cells)]
        elif not line.startswith("|---"):
            tables.setdefault(section, []).append(dict(zip(head, cells, strict=True)))
    return tables


def test_gates_are_marked_as_they_were_found(report):
    gates = sample()[0]["gates"]
    rows = {row["gate"]: row for row in report["Gates"]}
    assert len(rows) == len(gates["mlp"])
    for name, gate in itertools.chain(*([(name, gate) for gate in gates[name]] for name in NETWORKS)):
        assert rows[gate["gate"]][NAMES[name]].startswith("pass (" if gate["passed"] else "**fail** (")
    assert rows["train-validation F1 gap"]["MLP"] == "pass (0.171)"
    assert rows["converged: stopped early in every seed"]["MLP"] == "**fail** (2, 3)"


def test_the_leaderboard_tells_validation_from_test(report):
    models = sample()[0]["models"]
    for row, name in zip(report["Leaderboard"], sample()[0]["ranking"], strict=True):
        val, test = models[name]["val"], models[name]["test"]
        assert row["validation F1 [95%]"].startswith(f"{val['f1']['mean']:.3f} [")
        assert row["test F1 [95%]"].startswith(f"{test['f1']['mean']:.3f} [")
        for head, key in (("PR AUC", "pr_auc"), ("ROC AUC", "roc_auc"), ("precision", "precision"), ("recall", "recall")):
            assert row[head] == f"{test[key]:.3f}"


def test_money_stands_under_its_heads(report):
    *rows, nothing = report["Money"]
    for row, name in zip(rows, sample()[0]["ranking"], strict=True):
        paid = sample()[0]["models"][name]["test"]["money"]
        assert (row["model"], row["trades"], row["largest drawdown"]) == (NAMES[name], "412", "31.4%")
        assert (row["hit rate"], row["break-even"]) == (f"{paid['hit_rate']:.1%}", "21.3%")
        assert row["a trade, before costs"] == f"{paid['mean_return']:+.2%}"
        assert row["after costs"] == f"{paid['mean_return_net']:+.2%}"
        assert row["total, before costs"] == f"{paid['total_return']:+.1%}"
        assert row["after costs 1"] == f"{paid['total_return_net']:+.1%}"
        assert row["a day"].startswith(f"{paid['return_per_day_net']:+.2%} [")
    assert nothing["model"] == "no trade"
    assert {nothing[head] for head in ("hit rate", "break-even", "a trade, before costs", "after costs")} == {"–"}
    assert nothing["largest drawdown"] == "0.0%"


def test_differences_are_those_on_test(report):
    pairs = {f"{NAMES[pair['better']]} over {NAMES[pair['worse']]}": pair for pair in sample()[0]["pairs"]["test"]}
    rows = report["Differences in test F1"]
    assert {row["pair"] for row in rows} == set(pairs)
    assert all(row["verdict"] == ("clear" if pairs[row["pair"]]["clear"] else "tie") for row in rows)


def test_a_decision_names_all_that_speaks_against_it_and_what_is_next():
    result, metadata, _ = sample()
    said = decision(result, metadata)
    failed = {gate["gate"] for gate in result["gates"]["gru"] if not gate["passed"]}
    assert set(re.findall(r"^- GRU \+ attention fails: (.*) \(", said, re.MULTILINE)) == failed
    assert "Search GRU + attention first. LSTM + attention cannot be told apart from it: search it next." in said
