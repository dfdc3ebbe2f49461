"""Every figure of the Markdown reports stands where its head says."""

import html
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from core.names import NAMES, NETWORKS
from report.decisions import decision
from report.markdown import comparison, table, value_of_gate
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
        plain = re.sub(r"</?(details|summary)>", "", plain)
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


def tables(text: str) -> Iterator[tuple[str, bool, list[list[str]]]]:
    """Section, whether it is folded, and cells by row of each table."""
    section, depth, rows = "", 0, []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            yield section, depth > 0, rows
            rows = []
        depth += line.count("<details>") - line.count("</details>")
        section = line[3:] if line.startswith("## ") else section


@pytest.fixture(scope="module")
def report() -> dict[str, list[dict[str, str]]]:
    """A report's unfolded tables by section, a dict a row; where a section has several, those of the same rows are joined."""
    result, metadata, _ = sample()
    found: dict[str, list[dict[str, str]]] = {}
    for section, folded, (head, _, *rows) in tables(comparison(result, metadata)):
        if not folded:
            for row in rows:
                known = [other for other in found.get(section, []) if other[head[0]] == row[0]] if head[0] == "model" else []
                if not known:
                    known = [{}]
                    found.setdefault(section, []).extend(known)
                known[0].update(zip(head, row, strict=True))
    return found


def test_gates_are_marked_as_they_were_found(report):
    gates = sample()[0]["gates"]
    rows = {re.sub(r" \([^(]*\)$", "", row["gate"]): row for row in report["Gates"]}
    assert len(rows) == len(gates["mlp"])
    for name, gate in itertools.chain(*([(name, gate) for gate in gates[name]] for name in NETWORKS)):
        assert rows[gate["gate"]][NAMES[name]].startswith("✓ " if gate["passed"] else "**✗** ")
    assert rows["train-validation F1 gap"] == {
        "gate": "train-validation F1 gap (0.080)", "MLP": "**✗** 0.099", "LSTM + attention": "✓ 0.072",
        "GRU + attention": "✓ 0.065", "CNN-LSTM": "**✗** 0.087",
    }  # fmt: skip
    assert rows["converged: seeds that did not stop early"]["MLP"] == "**✗** 2, 3"
    own = {
        NAMES[name]: value_of_gate(gate, "threshold") for name in NETWORKS for gate in gates[name] if "hit rate" in gate["gate"]
    }
    assert len(set(own.values())) == 4
    assert all(rows["test hit rate above break-even"][name].endswith(f" ({threshold})") for name, threshold in own.items())


def test_the_leaderboard_tells_validation_from_test(report):
    models = sample()[0]["models"]
    for row, name in zip(report["Leaderboard"], sample()[0]["ranking"], strict=True):
        val, test = models[name]["val"], models[name]["test"]
        assert row["validation F1 [95%]"].startswith(f"{val['f1']['mean']:.3f} [")
        assert row["test F1 [95%]"].startswith(f"{test['f1']['mean']:.3f} [")
        for head, key in (("PR AUC", "pr_auc"), ("ROC AUC", "roc_auc"), ("precision", "precision"), ("recall", "recall")):
            assert row[head] == f"{test[key]:.3f}"


def test_what_a_reference_cannot_have_is_a_dash(report):
    """Scores of 1 have no finite log loss and take no temperature; without seeds there is no spread and no ensemble."""
    for row in report["Leaderboard"]:
        network = row["model"] in NETWORKS.values()
        assert (row["seed std"] == "–", row["ensemble F1"] == "–") == (not network, not network)
    text = comparison(*sample()[:2])
    (rows,) = (rows for _, folded, rows in tables(text) if folded and "log loss" in rows[0])
    undefined = {row[0]: [head for head, cell in zip(rows[0], row, strict=True) if cell == "–"] for row in rows[2:]}
    assert undefined == {name: [] for name in NAMES.values()} | {
        "always positive": ["log loss", "after temperature", "temperature"]
    }
    assert "its log loss is infinite, and a temperature changes nothing" in text


def test_money_stands_under_its_heads(report):
    *rows, nothing = report["Money"]
    for row, name in zip(rows, sample()[0]["ranking"], strict=True):
        paid = sample()[0]["models"][name]["test"]["money"]
        assert (row["model"], row["trades"], row["largest drawdown"]) == (NAMES[name], "412", "31.4%")
        assert (row["hit rate"], row["break-even"]) == (f"{paid['hit_rate']:.1%}", f"{paid['break_even_hit_rate']:.1%}")
        assert row["mean trade, gross"] == f"{paid['mean_return']:+.2%}"
        assert row["mean trade, net"] == f"{paid['mean_return_net']:+.2%}"
        assert row["total, gross"] == f"{paid['total_return']:+.1%}"
        assert row["total, net"] == f"{paid['total_return_net']:+.1%}"
        assert row["a day, net [95%]"].startswith(f"{paid['return_per_day_net']:+.2%} [")
    assert (nothing["model"], nothing["total, net"], nothing["largest drawdown"]) == ("no trade", "+0.0%", "0.0%")


def test_pairs_that_differ_are_shown_and_ties_are_folded():
    result, metadata, _ = sample()
    pairs = {f"{NAMES[pair['better']]} over {NAMES[pair['worse']]}": pair["clear"] for pair in result["pairs"]["test"]}
    text = comparison(result, metadata)
    shown, ties = ([row[0] for row in rows[2:]] for section, _, rows in tables(text) if section == "Differences in test F1")
    assert (set(shown), set(ties)) == ({pair for pair in pairs if pairs[pair]}, {pair for pair in pairs if not pairs[pair]})
    assert f"{len(shown)} of 36 pairs of models differ in test F1 beyond chance." in text
    assert f"<details><summary>{len(ties)} ties</summary>\n\n|" in text

    result["pairs"]["test"] = [pair | {"clear": False} for pair in result["pairs"]["test"]]
    text = comparison(result, metadata)
    assert "None of 36 pairs of models differs in test F1 beyond chance.\n\n<details><summary>36 ties</summary>" in text
    ((folded, rows),) = ((folded, rows) for section, folded, rows in tables(text) if section == "Differences in test F1")
    assert (folded, len(rows)) == (True, 38)
    result["pairs"]["test"] = [pair | {"clear": True} for pair in result["pairs"]["test"]]
    assert "ties</summary>" not in comparison(result, metadata)


@pytest.mark.parametrize("document", [comparison, decision])
def test_github_shows_every_table_whole(document):
    """In a column of 830 pixels: a letter is about 8.5 of them, a cell's padding 27, and only words of names and heads wrap."""
    text = document(*sample(assets=20, months=20)[:2])
    for section, _, (head, line, *rows) in tables(text):
        words = [max(map(len, name.split())) for name in head]
        cells = [max(len(cell.replace("**", "")) for cell in column) for column in zip(*rows, strict=True)]
        text_columns = [n for n, mark in enumerate(line) if mark == "---"]
        for n in text_columns:
            cells[n] = max(len(word) for row in rows for word in row[n].split())
        width = sum(8.5 * max(pair) + 27 for pair in zip(words, cells, strict=True))
        assert width < 830, f"{section}: {head}"
    assert set(re.findall(r"</?(\w+)", text)) <= {"details", "summary"}, "GitHub strips most other elements"


def test_the_choice_is_the_first_sentence():
    result, metadata, _ = sample()
    lines = comparison(result | {"simulated": False}, metadata).splitlines()
    assert lines[:3] == [
        "# Comparison",
        "",
        "**Search GRU + attention first, then LSTM + attention (a tie); set aside CNN-LSTM, MLP.**",
    ]


def test_a_decision_names_all_that_speaks_against_it_and_what_is_next():
    result, metadata, _ = sample()
    said = decision(result, metadata)
    failed = {gate["gate"] for gate in result["gates"]["gru"] if not gate["passed"]}
    assert set(re.findall(r"^- GRU \+ attention fails: (.*) \(", said, re.MULTILINE)) == failed
    assert "Search GRU + attention first. LSTM + attention cannot be told apart from it: search it next." in said
