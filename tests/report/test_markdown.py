"""Every figure of the Markdown reports stands where its head says."""

import dataclasses
import html
import re
from collections.abc import Iterator
from typing import Any

import pytest

from judge.train_record import SettingsRecord
from report.markdown import gate_text, table
from sample import LABELS, OVERFIT, ROSTER, Sample, sample


def test_a_name_with_a_bar_stays_in_its_cell():
    assert table(["symbol", "F1"], [["BTC|USDT", "0.3"]]).splitlines() == [
        "| symbol | F1 |",
        "|---|---:|",
        r"| BTC\|USDT | 0.3 |",
    ]


NAMES_OF_USERS = ["A|B", "*x*", "<b>", "_a_", "`c`", "[d](e)", "~~f~~", "back\\slash", "$g$", "&amp;", "<script>", "h_i", "j-k.l"]


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Replace names in `value`, keys too."""
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **{key: renamed(entry, names) for key, entry in fields.items()})
    if isinstance(value, dict):
        return {renamed(key, names): renamed(entry, names) for key, entry in value.items()}
    if isinstance(value, list):
        return [renamed(entry, names) for entry in value]
    return names.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def odd() -> Sample:
    """A campaign whose assets and columns have the names of `NAMES_OF_USERS`."""
    found = sample(assets=len(NAMES_OF_USERS))
    found = renamed(found, dict(zip(found.metadata["assets"], NAMES_OF_USERS, strict=True)) | {"atr_14": "<i>_x_"})
    found.metadata["source"] = "my`bars"
    values = {"features": NAMES_OF_USERS, "bars": "a_b/*c*", "lookback": 24, "splits": [0.7, 0.15, 0.15]}
    found.settings.append(SettingsRecord("data", tuple(values.items())))
    return found


def test_names_of_users_are_shown_as_they_are(odd):
    """Read back by the rules of CommonMark and GitHub: after a backslash a character is itself."""
    for text in (odd.comparison(), odd.decision()):
        assert "`` my`bars ``" in text
        plain = re.sub(r"\\([!-/:-@\[-`{-~])", lambda found: chr(0xE000 + ord(found[1])), text.replace("`` my`bars ``", ""))
        plain = re.sub(r"</?(details|summary)>", "", plain)
        assert not re.search(r"[<>`~$&]|\]\(|\*(?!\*)\w+\*(?!\*)|(?<!\w)_|_(?!\w)", re.sub(r"\*\*.*?\*\*", "", plain))
    shown = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", odd.comparison())
    assert ", ".join(NAMES_OF_USERS) in shown
    assert "features ['" + "', '".join(NAMES_OF_USERS) + "'], bars a_b/*c*, lookback 24, splits [0.7, 0.15, 0.15]" in shown
    assert "<i>_x_ of the last bar" in shown


def test_names_of_users_make_no_tags_in_html(odd):
    text = odd.page()
    for name in ("<b>", "<script>", "<i>_x_"):
        assert html.escape(name) in text
    assert not re.search(r"<(b|i)>|<script>(?!\W*\()", text.replace(html.escape("<script>"), ""))


def tables(text: str) -> Iterator[tuple[str, bool, list[list[str]]]]:
    """Yield of each table its section, whether it is folded, and its cells by row."""
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
    found: dict[str, list[dict[str, str]]] = {}
    for section, folded, (head, _, *rows) in tables(sample().comparison()):
        if not folded:
            for row in rows:
                known = [other for other in found.get(section, []) if other[head[0]] == row[0]] if head[0] == "model" else []
                if not known:
                    known = [{}]
                    found.setdefault(section, []).extend(known)
                known[0].update(zip(head, row, strict=True))
    return found


def test_gates_show_mark_value_and_threshold(report):
    gates = sample().result.gates
    rows = {re.sub(r" \([^(]*\)$", "", row["gate"]): row for row in report["Gates"]}
    assert len(rows) == len(gates["mlp"])
    marks = {True: "✓ ", False: "**✗** "}
    for name, label in ROSTER.networks.items():
        for gate in gates[name]:
            assert rows[gate.gate][label].startswith(marks[gate.passed])
    gaps = {LABELS[name]: f"{marks[gap < 0.08]}{gap:.3f}" for name, gap in OVERFIT.items()}
    assert rows["train-validation F1 gap"] == gaps | {"gate": "train-validation F1 gap (0.080)"}
    assert rows["converged: seeds that did not stop early"]["MLP"] == "**✗** 2, 3"
    hit_rates = {name: gate for name in gates for gate in gates[name] if gate.gate == "test hit rate above break-even"}
    assert len({gate_text(gate.threshold, gate) for gate in hit_rates.values()}) > 1
    for name, gate in hit_rates.items():
        shown = f"{marks[gate.passed]}{gate.value:.1%} ({gate.threshold:.1%})"
        assert rows["test hit rate above break-even"][LABELS[name]] == shown


def test_the_leaderboard_tells_validation_from_test(report):
    result = sample().result
    for row, name in zip(report["Leaderboard"], result.ranking, strict=True):
        val, test = result.models[name].val, result.models[name].test
        assert row["validation F1 [95%]"].startswith(f"{val['f1']['mean']:.3f} [")
        assert row["test F1 [95%]"].startswith(f"{test['f1']['mean']:.3f} [")
        for head, key in (("PR AUC", "pr_auc"), ("ROC AUC", "roc_auc"), ("precision", "precision"), ("recall", "recall")):
            assert row[head] == f"{test[key]:.3f}"


def test_what_a_reference_cannot_have_is_a_dash(report):
    """Scores of 1 have no finite log loss; without seeds there is no spread and no ensemble."""
    for row in report["Leaderboard"]:
        network = row["model"] in ROSTER.networks.values()
        assert (row["seed std"] == "–", row["ensemble F1"] == "–") == (not network, not network)
    text = sample().comparison()
    (rows,) = (rows for _, folded, rows in tables(text) if folded and "log loss" in rows[0])
    undefined = {row[0]: [head for head, cell in zip(rows[0], row, strict=True) if cell == "–"] for row in rows[2:]}
    assert undefined == {label: [] for label in LABELS.values()} | {"always positive": ["log loss"]}
    assert "its log loss is infinite before calibration" in text


def test_money_stands_under_its_heads(report):
    *rows, nothing = report["Money"]
    for row, name in zip(rows, sample().result.ranking, strict=True):
        paid = sample().result.models[name].test["money"]
        figures = (LABELS[name], f"{paid['trades']:,.0f}", f"{paid['max_drawdown']:.1%}")
        assert (row["model"], row["trades"], row["largest drawdown"]) == figures
        assert (row["hit rate"], row["break-even"]) == (f"{paid['hit_rate']:.1%}", f"{paid['break_even_hit_rate']:.1%}")
        assert row["mean trade, gross"] == f"{paid['mean_return']:+.2%}"
        assert row["mean trade, net"] == f"{paid['mean_return_net']:+.2%}"
        assert row["total, gross"] == f"{paid['total_return']:+.1%}"
        assert row["total, net"] == f"{paid['total_return_net']:+.1%}"
        assert row["a day, net [95%]"].startswith(f"{paid['return_per_day_net']:+.2%} [")
    assert (nothing["model"], nothing["total, net"], nothing["largest drawdown"]) == ("no trade", "+0.0%", "0.0%")


def test_pairs_that_differ_are_shown_and_ties_are_folded():
    found = sample()
    pairs = found.result.pairs["test"]
    clear = {f"{LABELS[pair.better]} over {LABELS[pair.worse]}": pair.clear for pair in pairs}
    text = found.comparison()
    shown, ties = ([row[0] for row in rows[2:]] for section, _, rows in tables(text) if section == "Differences in test F1")
    assert (set(shown), set(ties)) == ({pair for pair in clear if clear[pair]}, {pair for pair in clear if not clear[pair]})
    assert shown and ties, "the sample has both kinds"
    assert f"{len(shown)} of 36 pairs of models differ in test F1 beyond chance." in text
    assert f"<details><summary>{len(ties)} ties</summary>\n\n|" in text

    tied, different = (
        found.changed(pairs={"test": [dataclasses.replace(pair, clear=clear) for pair in pairs]}).comparison()
        for clear in (False, True)
    )
    assert "None of 36 pairs of models differs in test F1 beyond chance.\n\n<details><summary>36 ties</summary>" in tied
    ((folded, rows),) = ((folded, rows) for section, folded, rows in tables(tied) if section == "Differences in test F1")
    assert (folded, len(rows)) == (True, 38)
    assert "ties</summary>" not in different


@pytest.mark.parametrize("document", [Sample.comparison, Sample.decision])
def test_github_shows_every_table_whole(document):
    """In a column of 830 pixels: a letter is about 8.5 of them, a cell's padding 27, and only words of names and heads wrap."""
    text = document(sample(assets=20, months=20))
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
    found = sample()
    lines = found.changed(simulated=False).comparison().splitlines()
    assert lines[:3] == ["# Comparison", "", f"**{found.result.verdict[1]}**"]
    assert lines[2] == "**Search GRU + attention first, then LSTM + attention (a tie); set aside CNN-LSTM, MLP.**"


def test_settings_end_with_what_the_networks_were_trained_with():
    assert (
        "- train: seeds [1, 2, 3], epochs 100, batch_size 128, learning_rate 0.001, trained with precision "
        "float32, torch 2.13.0, processor AVX2\n- mlp: hidden_sizes [256, 128, 64], dropout 0.3, asset_embedding 8\n"
    ) in sample().comparison().replace("\\_", "_")


def test_a_decision_names_all_that_speaks_against_it_and_what_is_next():
    found = sample()
    said = found.decision()
    failed = {gate.gate for gate in found.result.gates["gru"] if not gate.passed}
    assert failed == set(re.findall(r"^- GRU \+ attention fails: (.*) \(", said, re.MULTILINE)) == {"train-validation F1 gap"}
    assert "Search GRU + attention first. LSTM + attention cannot be told apart from it: search it next." in said


def test_a_decision_for_no_search_names_every_architecture_with_its_reason():
    found = sample()
    search = found.result.search_first
    order = [name for name in found.result.ranking if name in ROSTER.networks]
    none = dataclasses.replace(search, primary=None, secondary=[], set_aside=order)
    said = found.changed(search_first=none).decision()
    assert "## Decision\n\nSearch none: no architecture is shown to be worth it." in said
    for name in order:
        assert f"- {LABELS[name]}: {search.reasons[name]}." in said


@pytest.mark.parametrize("document", [Sample.comparison, Sample.page])
def test_a_report_says_in_how_many_rows_leaks_were_looked_for_and_where_they_were_not(document):
    found = sample()
    looked = "Values that know the future were looked for in 1,800 rows (41,400 values)"
    assert looked in document(found)
    assert "Columns of the files" not in document(found)
    found.metadata["extra_columns"] = ["flow", "<b>"]
    text = document(found).replace("\\", "").replace("&lt;", "<").replace("&gt;", ">")
    assert "Columns of the files cannot be checked so, whatever they know: flow, <b>." in text


def test_the_report_says_how_long_windows_and_trades_last():
    found = sample()
    first = found.metadata["assets"][0]
    lasts = (
        "A window of 24 bars lasts 24 h in the median and at most 95 h in 95 % of the samples. "
        "A trade of 8 bars lasts 8 h in the median and at most 31 h in 95 % of the samples, unless a barrier ends it before."
    )
    warning = f"Bars are not hours in {first}: sessions are short, or hours without trades have no bar. Read 24 and 8 bars"
    for text in (found.comparison(), found.page()):
        assert lasts in text
        assert warning in text
    hours = found.metadata["hours"] | {"assets_with_longer_bars": []}
    found = dataclasses.replace(found, metadata=found.metadata | {"hours": hours})
    for text in (found.comparison(), found.page()):
        assert lasts in text
        assert "Bars are not hours" not in text
