"""Every figure of the Markdown reports stands where its head says, and no branch of words says more than was found."""

import dataclasses
import html
import re
from typing import Any

import pytest

from judge.equity import Growth
from judge.family import Answer
from judge.names import BASELINES
from judge.train_record import SettingsRecord
from report.markdown import table
from report.numbers import fixed, p_text, percent, rate, with_interval
from report_reader import NAMES_OF_USERS, check_widths, named, renamed, tables, unescaped
from sample import COST, LABELS, OVERFIT, ROSTER, Sample, sample

NETWORKS = list(ROSTER.networks)
RANKING = "Ranking, all on test; precision and recall at the threshold chosen on validation for F1"  # a table's caption


def test_a_name_with_a_bar_stays_in_its_cell():
    assert table(["symbol", "F1"], [["BTC|USDT", "0.3"]]).splitlines() == [
        "| symbol | F1 |",
        "|---|---:|",
        r"| BTC\|USDT | 0.3 |",
    ]


@pytest.fixture(scope="module")
def odd() -> Sample:
    """A campaign whose assets and columns have the names of `NAMES_OF_USERS`."""
    found = sample(assets=len(NAMES_OF_USERS))
    found = renamed(found, dict(zip(found.metadata["assets"], NAMES_OF_USERS, strict=True)) | {"atr_14": "<i>_x_"})
    found.metadata["source"] = "my`bars"
    values = {"features": NAMES_OF_USERS, "bars": "a_b/*c*", "lookback": 24, "splits": [0.7, 0.15, 0.15]}
    found.settings.append(SettingsRecord("data", tuple(values.items())))
    return found.changed(cost_per_trade=dict.fromkeys(NAMES_OF_USERS, COST))


def test_names_of_users_are_shown_as_they_are(odd):
    for text in (odd.comparison(), odd.decision()):
        plain = re.sub(r"\\([!-/:-@\[-`{-~])", lambda found: chr(0xE000 + ord(found[1])), text)
        plain = re.sub(r"</?(details|summary)>", "", plain)
        assert not re.search(r"[<>`~$&]|\]\(|\*(?!\*)\w+\*(?!\*)|(?<!\w)_|_(?!\w)", re.sub(r"\*\*.*?\*\*", "", plain))
        assert "my`bars" in unescaped(text)
    shown = unescaped(odd.comparison())
    assert ", ".join(NAMES_OF_USERS) in shown
    assert "features ['" + "', '".join(NAMES_OF_USERS) + "'], bars a_b/*c*, lookback 24, splits [0.7, 0.15, 0.15]" in shown
    assert "<i>_x_ of the last bar" in shown
    assert "Costs of a round trip: A|B 0.30%, *x* 0.30%, <b> 0.30%, " in shown


def test_names_of_users_make_no_tags_in_html(odd):
    text = odd.page()
    for name in ("<b>", "<script>", "<i>_x_"):
        assert html.escape(name) in text
    assert not re.search(r"<(b|i)>|<script>(?!\W*\()", text.replace(html.escape("<script>"), ""))


@pytest.fixture(scope="module")
def shown() -> dict[str, list[dict[str, str]]]:
    return named(sample().comparison())


def test_sections_stand_in_their_order():
    text = sample().comparison()
    assert re.findall("^#+ (.*)", text, re.MULTILINE) == [
        "Comparison", "Verdict", "What to search", "Gates", "Leaderboard", "Direction or volatility", "Training", "Money",
        "Differences in test F1", "Test F1 by asset", "Test F1 by month", "Data and settings",
    ]  # fmt: skip
    assert "None" not in text and "nan" not in text


@pytest.mark.parametrize("document", [Sample.comparison, Sample.decision])
def test_the_first_sentence_says_whether_anything_is_worth_it(document):
    found = sample()
    lines = document(found.changed(simulated=False)).splitlines()
    assert lines[2] == f"**{found.result.verdict[0]}**"
    lines = document(found).splitlines()
    assert lines[2].startswith("**SIMULATED market")
    assert lines[4] == f"**{found.result.verdict[0]}**"


def test_the_other_sentences_are_the_verdict():
    found = sample()
    text = unescaped(found.comparison()).replace("−", "-")
    for sentence in found.result.verdict[1:]:
        assert f"\n- {sentence}\n" in text


def test_what_to_search_is_shown_with_the_test_that_decides(shown):
    result = sample().result
    rows = shown["On validation, in the order of cross-fitted F1"]
    by_name = {answer.one: answer for answer in result.answers.search}
    assert [row["network"] for row in rows] == [LABELS[name] for name in result.search.order]
    for row, name in zip(rows, result.search.order, strict=True):
        f1, answer = result.models[name].val["cross_fitted_f1"], by_name[name]
        assert row["validation F1, cross-fitted [95%]"] == with_interval(f1["mean"], f1["interval"])
        difference = f"{fixed(answer.difference, '+.3f')} [≥ {fixed(answer.interval[0], '+.3f')}]"
        assert row[f"less that of {LABELS[result.search.reference]} [≥]"] == difference
        assert row["p"] == p_text(answer.p_value, result.draws)
        assert row["worth a search?"].startswith("yes" if name in result.search.worthy else "no")
    assert [row["worth a search?"] for row in rows] == ["yes: first", "yes: next", *["no: not beyond chance"] * 2]


def with_search(found: Sample, **changes: Any) -> Sample:
    """The same where the answer on the GRU network, and what follows from it, are others."""
    answers = [dataclasses.replace(own, **changes) if own.one == "gru" else own for own in found.result.answers.search]
    search = dataclasses.replace(found.result.search, primary="lstm", secondary=[])
    return found.changed(answers=dataclasses.replace(found.result.answers, search=answers), search=search)


def test_each_reason_against_a_search_is_told():
    found = sample()
    assert "| no: error unknown |" in with_search(found, is_clear=False, error_is_known=False).comparison()
    below = with_search(found)
    assert "| no: below LSTM + attention |" in below.comparison()
    below.result.gates["gru"][0] = dataclasses.replace(below.result.gates["gru"][0], passed=False)
    assert "| no: below minimum |" in below.comparison()


def test_gates_show_mark_value_threshold_and_p(shown):
    result = sample().result
    deciding = shown["These two decide what is worth a search, on validation alone"]
    informing = shown["These inform: they decide nothing, but are good to know before a search or a trade"]
    assert (len(deciding), len(informing)) == (2, 8)
    rows = [*deciding, *informing]
    for gate, row in enumerate(rows):
        for name in NETWORKS:
            own = result.gates[name][gate]
            assert row["gate (threshold)"].split(" (")[0] == own.gate
            assert row[LABELS[name]].startswith("✓ " if own.passed else "✗ ")
            assert row[LABELS[name]].endswith(f", p {p_text(own.p_value, result.draws)}") == (own.p_value is not None)
    by_gate = {row["gate (threshold)"]: row for row in rows}
    gaps = {LABELS[name]: f"{'✓' if gap < 0.08 else '✗'} {gap:.3f}" for name, gap in OVERFIT.items()}
    assert by_gate["train F1 less validation F1 (0.080)"] == gaps | {"gate (threshold)": "train F1 less validation F1 (0.080)"}
    assert by_gate["converged: seeds that stopped early (all)"]["MLP"] == "✗ 1 of 3"
    hit_rates = by_gate["hit rate on test above break-even, beyond chance"]
    for name in NETWORKS:
        money = result.models[name].test["money"]
        expected = f"{rate(money['hit_rate'])} ({rate(money['break_even_hit_rate'])})"
        assert hit_rates[LABELS[name]].split(" ", 1)[1] == expected


def test_the_shift_test_is_shown_of_all_models(shown):
    result = sample().result
    for row, name in zip(shown["Shift test on validation"], result.ranking, strict=True):
        f1, shifted = result.models[name].val["f1"]["mean"], result.models[name].val["shifted_f1"]
        mark = "✓ yes" if f1 > shifted else "✗ no"
        assert list(row.values()) == [LABELS[name], f"{f1:.3f}", f"{shifted:.3f}", mark]


def test_the_leaderboard_tells_validation_from_test(shown):
    result = sample().result
    f1 = shown["F1 of the positive class, in the order of cross-fitted validation F1"]
    ranking = shown[RANKING]
    probabilities = shown["Probabilities on test, after the calibration that was fitted on validation"]
    for name, *rows in zip(result.ranking, f1, ranking, probabilities, strict=True):
        val, test = result.models[name].val["cross_fitted_f1"], result.models[name].test
        assert [row["model"] for row in rows] == [LABELS[name]] * 3
        row = rows[0] | rows[1] | rows[2]
        assert row["validation, cross-fitted [95%]"] == with_interval(val["mean"], val["interval"])
        assert row["test [95%]"] == with_interval(test["f1"]["mean"], test["f1"]["interval"])
        assert row["direction AUC [95%]"] == with_interval(test["direction_auc"], test["direction_auc_interval"])
        keys = {
            "PR AUC": "pr_auc", "ROC AUC": "roc_auc", "precision": "precision", "recall": "recall", "F1 at 0.5": "f1_at_0.5",
            "Brier score": "calibrated_brier_score", "Brier skill": "brier_skill", "log loss": "calibrated_log_loss",
            "calibration error": "calibrated_expected_calibration_error",
        }  # fmt: skip
        assert {head: row[head] for head in keys} == {head: fixed(test[key]) for head, key in keys.items()}
        seeds = (fixed(test["f1"]["std"]), fixed(test["ensemble_f1"])) if name in NETWORKS else ("–", "–")
        assert (row["std over seeds, test"], row["ensemble, test"]) == seeds
        p_value = result.confidence_set[name]
        assert row["in the confidence set"] == f"{'yes' if p_value > 0.05 else 'no'} (p {p_text(p_value, result.draws)})"
    assert {row["in the confidence set"].split()[0] for row in probabilities} == {"yes", "no"}


def test_it_says_from_which_days_intervals_come():
    found = sample()
    days, blocks = found.result.days, found.result.block_days
    text = found.comparison()
    assert f"column of validation come from its {days['val']} days (blocks of {blocks['val']})" in text
    assert f"columns of test from its {days['test']} days (blocks of {blocks['test']})" in text
    assert found.changed(confidence=0.999).comparison().count("99.9%") > 5


def test_training_shows_each_network(shown):
    result = sample().result
    rows = shown["Epochs of each seed; F1 as means over seeds"]
    assert [row["network"] for row in rows] == [LABELS[name] for name in NETWORKS]
    for row, name in zip(rows, NETWORKS, strict=True):
        training = result.models[name].training
        spread = next(gate.value for gate in result.gates[name] if gate.gate.startswith("stable"))
        assert list(row.values())[1:] == [
            "2 · 4 · 6", "17 · 19 · 21", *(fixed(training[key]) for key in ("train_f1", "val_f1")), f"{OVERFIT[name]:.3f}",
            fixed(spread),
        ]  # fmt: skip


PLACES = {
    "test": ("test", "money"),
    "validation": ("val", "money"),
    "test, at the threshold that is best for F1": ("test", "money_at_f1"),
}


@pytest.mark.parametrize("where", PLACES)
def test_trades_and_capital_are_shown_with_what_doing_nothing_returns(shown, where):
    result = sample().result
    split, key = PLACES[where]
    trades, capital = shown[f"Trades on {where}"], shown[f"What they make of the capital, on {where}"]
    names = [*(LABELS[name] for name in result.ranking), "buy and hold", "no trade"]
    assert [row["model"] for row in trades] == [row["model"] for row in capital] == names
    for name, *rows in zip(result.ranking, trades, capital, strict=False):
        money, row = getattr(result.models[name], split)[key], rows[0] | rows[1]
        assert row["trades"] == fixed(money["trades"], ",.0f")
        assert (row["hit rate"], row["break-even"]) == (rate(money["hit_rate"]), rate(money["break_even_hit_rate"]))
        assert (row["mean trade, gross"], row["mean trade, net"]) == (
            percent(money["mean_return"]), percent(money["mean_return_net"]),
        )  # fmt: skip
        totals = [percent(money[total], 1) for total in ("total_return", "total_return_net")]
        assert [row["total, gross"], row["total, net"]] == totals
        assert row["largest drawdown"] == fixed(money["max_drawdown"], ".1%")
        margin = money.get("hit_rate_above_break_even"), money.get("hit_rate_above_break_even_interval")
        assert row.get("above break-even [95%]", "–") == with_interval(*margin, "+.1%")
        a_day = row["a day, net [95%]"] if where == "test" else row["a day, net"]
        assert a_day == with_interval(money["return_per_day_net"], money.get("return_per_day_interval"), "+.3%")
    held, nothing = capital[-2:]
    assert (held["total, net"], held["largest drawdown"]) == ("+10.0%", "30.0%")
    assert (nothing["total, net"], nothing["largest drawdown"], trades[-1]["trades"]) == ("0.0%", "0.0%", "0")


def test_what_is_for_comparison_only_is_folded():
    text = sample().comparison()
    summaries = re.findall(r"<details><summary>(.*?)</summary>\n\n", text)
    assert summaries == [
        "The same on validation, where the threshold was chosen", "Trades at F1's threshold, on test",
        "Test F1 of the references by asset", "Test F1 of the references by month",
    ]  # fmt: skip
    assert text.count("</details>") == 4


def test_costs_may_differ_by_asset():
    found = sample()
    assert "A round trip costs 0.30% of the entry price." in found.comparison()
    assert "Costs of a round trip" not in found.comparison()
    text = found.changed(cost_per_trade={"A": 0.001, "B": 0.004}).comparison()
    assert "A round trip costs 0.10% to 0.40% of the entry price, by asset." in text
    assert "Costs of a round trip: A 0.10%, B 0.40%." in text


def test_barriers_may_be_shares_or_multiples_of_the_atr():
    found = sample()
    for text in (found.comparison(), found.page()):
        assert "A trade wins at +5.0% before −2.0% within 8 bars." in text
        assert "It is 32.9% if every trade ends at a barrier" in text
    found.metadata.update({"barrier": "atr", "profit": 4.2, "stop": 1.7})
    atr = found.changed(break_even_precision=None)
    for text in (atr.comparison(), atr.page()):
        assert "A trade wins at +4.2 ATR before −1.7 ATR (ATR: average true range over the 14 bars up to entry) within 8" in text
        assert "Each trade has barriers of its own" in text and "if every trade ends at a barrier" not in text


def test_differences_are_shown_by_question(shown):
    result = sample().result
    reference = result.search.reference
    assert reference not in BASELINES
    captions = {
        f"Less {LABELS[reference]}, the best reference on validation": [(name, reference) for name in NETWORKS],
        "Less always positive, which knows nothing": [
            (name, "always_positive") for name in LABELS if name != "always_positive"
        ],
        "Less asset prior, which knows the asset alone": [
            (name, "prior") for name in LABELS if name not in ("always_positive", "prior")
        ],
        "Less one column, which knows one column of the last bar alone": [
            (name, "one_column") for name in LABELS if name not in BASELINES
        ],
    }  # fmt: skip
    answers = {(answer.one, answer.other): answer for answer in result.answers.test}
    for caption, pairs in captions.items():
        rows = {row["model"]: row for row in shown[caption]}
        assert rows.keys() == {LABELS[one] for one, _ in pairs}
        for one, other in pairs:
            answer, row = answers[one, other], rows[LABELS[one]]
            assert row["difference [95%]"] == with_interval(answer.difference, answer.interval, "+.3f")
            assert row["p"] == p_text(answer.p_value, result.draws)
            assert row["would have shown from"] == (fixed(answer.detectable) if not answer.is_clear else "–")
            assert (row["finding"] in ("above", "below")) == answer.is_clear
    networks = shown["Networks among each other, the first less the second"]
    assert len(networks) == 6 and all(row["difference [95%]"].startswith("+") for row in networks)
    for row in networks:
        one, other = (next(name for name in NETWORKS if LABELS[name] == label) for label in row["pair"].split(" − "))
        turned = answers.get((one, other)) or answers[other, one]
        f1 = [result.models[name].test["f1"]["mean"] for name in (one, other)]
        assert row["difference [95%]"].split(" ")[0] == fixed(f1[0] - f1[1], "+.3f")
        assert row["difference [95%]"].endswith(f"{fixed(max(map(abs, turned.interval)), '+.3f')}]")


def differing(
    difference: float, half_width: float, *, is_clear: bool = False, known: bool = True, detectable: float = 0.05
) -> Answer:
    interval = [difference - half_width, difference + half_width]
    return Answer("gru", "gradient_boosting", difference, interval, 0.01 if is_clear else 0.4, is_clear, known, detectable)


@pytest.mark.parametrize(
    ("answer", "cells"),
    [
        (differing(0.1, 0.05, is_clear=True), ["+0.100 [+0.050, +0.150]", "0.0100", "–", "above"]),
        (differing(-0.1, 0.05, is_clear=True), ["−0.100 [−0.150, −0.050]", "0.0100", "–", "below"]),
        (differing(0.005, 0.01, detectable=0.015), ["+0.005 [−0.005, +0.015]", "0.400", "0.015", "tie"]),
        (differing(0.005, 0.01), ["+0.005 [−0.005, +0.015]", "0.400", "0.050", "cannot be told apart"]),
        (differing(0.015, 0.01, detectable=0.015), ["+0.015 [+0.005, +0.025]", "0.400", "0.015", "cannot be told apart"]),
        (differing(0.005, 0.01, known=False), ["+0.005 [−0.005, +0.015]", "0.400", "–", "cannot be told apart"]),
    ],
)
def test_a_tie_is_what_lies_within_the_margin(answer, cells):
    found = sample()
    answers = dataclasses.replace(found.result.answers, test=[answer])
    text = found.changed(answers=answers).comparison()
    (rows,) = (rows for section, _, rows in tables(text) if section == "Differences in test F1")
    assert rows[2:] == [["GRU + attention", *cells]]
    assert ("The error of some differences is not known" in text) == (not answer.error_is_known)
    assert f"with {found.result.days['test']} days of test" in text


def test_the_best_reference_may_know_nothing_itself():
    found = sample()
    search = dataclasses.replace(found.result.search, reference="prior")
    shown = named(found.changed(search=search).comparison())
    less_prior = shown["Less asset prior, the best reference on validation"]
    assert {row["model"] for row in less_prior} == {LABELS[name] for name in LABELS if name not in ("always_positive", "prior")}
    assert "Less asset prior, which knows the asset alone" not in shown


@pytest.mark.parametrize("document", [Sample.comparison, Sample.decision])
def test_github_shows_every_table_whole(document):
    check_widths(document(sample(assets=20)), ("finding", "worth a search?"))


def test_settings_end_with_what_the_networks_were_trained_with():
    assert (
        "- train: seeds [1, 2, 3], epochs 100, batch_size 128, learning_rate 0.001, trained with precision "
        "float32, torch 2.13.0, processor AVX2\n- mlp: hidden_sizes [256, 128, 64], dropout 0.3, asset_embedding 8\n"
    ) in sample().comparison()


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


def test_what_is_not_known_is_a_dash():
    """One seed has no spread, a model without a trade no hit rate, a month without a profit no F1, few winners no direction."""
    found = sample(seeds=1)
    silent = found.result.models["mlp"].test
    assert silent["f1"]["std"] is None
    keys = ("hit_rate", "break_even_hit_rate", "mean_return", "mean_return_net", "return_per_day_interval")
    keys += ("hit_rate_above_break_even", "hit_rate_above_break_even_interval")
    silent["money"] |= {"trades": 0, "return_per_day_net": 0.0} | dict.fromkeys(keys)
    silent |= {"direction_auc": None, "direction_auc_interval": None}
    next(iter(silent["by_month"].values()))["f1"] = None
    gates = found.result.gates["mlp"]
    gates[-2:] = [dataclasses.replace(gate, passed=False, value=None, p_value=None) for gate in gates[-2:]]
    rows = named(found.comparison())
    trades = {row["model"]: row for row in rows["Trades on test"]}
    assert list(trades["MLP"].values()) == ["MLP", "0", *["–"] * 5]
    capital = {row["model"]: row for row in rows["What they make of the capital, on test"]}
    assert capital["MLP"]["a day, net [95%]"] == "0.000%"
    ranked = {row["model"]: row for row in rows[RANKING]}
    assert ranked["MLP"]["direction AUC [95%]"] == "–"
    assert rows["Test F1 of the networks by month"][0]["MLP"] == "–"
    informing = rows["These inform: they decide nothing, but are good to know before a search or a trade"]
    assert informing[-1]["MLP"] == "✗ –"
    for text in (found.comparison(), found.decision()):
        assert "None" not in text


def test_one_seed_makes_nothing_clear():
    found = sample(seeds=1)
    assert found.result.verdict[0].startswith("No")
    text = found.comparison()
    assert "one seed" in text and text.count("no: error unknown") == 4
    assert "without the spread over seeds" in text and "without the spread over seeds" not in sample().comparison()
    said = found.decision()
    assert "Search none yet" in said and "Train with several seeds" in said and "1 seed each" in said
    assert "with one seed, or so few days, no advantage could have been shown" in said


def test_a_decision_names_all_that_speaks_against_it_and_what_is_next():
    found = sample()
    said = unescaped(found.decision())
    failed = {(LABELS[name], gate.gate) for name in ("gru", "lstm") for gate in found.result.gates[name] if not gate.passed}
    listed = re.findall(r"^- (.*) fails: (.*) \(", said, re.MULTILINE)
    assert failed == set(listed) and ("GRU + attention", "train F1 less validation F1") in failed
    assert "\nSearch GRU + attention, then LSTM + attention (cross-fitted validation F1 against gradient boosting, " in said
    assert found.result.worth_a_trade
    assert f"Worth a trade: {', '.join(LABELS[name] for name in found.result.worth_a_trade)} (daily return on test" in said
    for name in found.result.search.worthy:
        answer = next(answer for answer in found.result.answers.search if answer.one == name)
        assert f"at least {answer.interval[0]:.3f} above it (p {p_text(answer.p_value, found.result.draws)})" in said
    for name in ("cnn_lstm", "mlp"):
        assert f"- {LABELS[name]}: {found.result.search.reasons[name]}." in said
    assert "- Buy and hold of the same assets on test: total +10.0%, largest drawdown 30.0%." in said


def test_a_decision_to_trade_alone_asks_for_unseen_days():
    found = sample()
    none = dataclasses.replace(found.result.search, primary=None, secondary=[])
    said = unescaped(found.changed(search=none, worth_a_search=[], worth_a_trade=["prior"]).decision())
    assert "\nSearch none (" in said and "Worth a trade: asset prior (daily return on test after costs above zero" in said
    assert "Repeat it on days that nobody has seen before money is at risk" in said
    assert "- Models were picked for a trade on the days of test, so their figures there are flattered.\n" in said


def test_a_decision_for_no_search_says_what_may_have_been_missed():
    found = sample()
    none = dataclasses.replace(found.result.search, primary=None, secondary=[])
    held = {"test": Growth(-0.123, 0.5), "val": Growth(0.0, 0.0)}
    said = unescaped(found.changed(search=none, worth_a_search=[], worth_a_trade=[], buy_and_hold=held).decision())
    assert "\nSearch none (cross-fitted validation F1 against gradient boosting, one-sided, at 95% over all networks)." in said
    assert "Trade none." in said and "Worth a trade" not in said.split("## Decision")[1]
    missed = max(answer.detectable for answer in found.result.answers.search)
    assert f"an advantage in F1 below {missed:.3f} may have been missed" in said
    for name in NETWORKS:
        assert f"- {LABELS[name]}: {found.result.search.reasons[name]}." in said
    assert "total −12.3%" in said
