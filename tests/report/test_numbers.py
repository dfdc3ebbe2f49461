"""Figures as texts."""

import pytest

from report.numbers import fixed, level_text, minus, p_text, percent, rate, with_interval


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [(None, ".3f", "–"), (0.1234, ".3f", "0.123"), (-0.1234, "+.3f", "−0.123"), (-0.0001, "+.1%", "0.0%"), (0.0, "+.2f", "0.00"),
     (1234.4, ",.0f", "1,234"), (0.02, "+.1%", "+2.0%")],
)  # fmt: skip
def test_a_number_has_a_real_minus_and_zero_no_sign(value, form, text):
    assert fixed(value, form) == text


def test_only_numbers_get_a_minus():
    assert minus("CNN-LSTM lost -1.5% (-2.0% to -1.0%) from 2021-08-01 on, [-3, ATR-14]") == (
        "CNN-LSTM lost −1.5% (−2.0% to −1.0%) from 2021-08-01 on, [−3, ATR-14]"
    )


def test_intervals_are_left_out_where_there_is_none():
    assert with_interval(0.3, [0.25, 0.35]) == "0.300 [0.250, 0.350]"
    assert with_interval(-0.001, [-0.002, 0.0], "+.1%") == "−0.1% [−0.2%, 0.0%]"
    assert with_interval(0.3, None) == "0.300"
    assert with_interval(None, None) == "–"


def test_rates_may_be_words():
    assert [rate(value) for value in ("any", "none", None, 0.329)] == ["any", "none", "–", "32.9%"]
    assert (percent(0.0123), percent(None)) == ("+1.23%", "–")


@pytest.mark.parametrize(
    ("p_value", "draws", "text"),
    [(None, 200, "–"), (0.001, 200, "<0.005"), (0.0, 10_000, "<0.001"), (0.0498, 10_000, "0.0498"), (0.1234, 10_000, "0.123"),
     (1.0, 10_000, "1.000")],
)  # fmt: skip
def test_a_p_value_is_never_zero_and_never_rounded_to_the_level(p_value, draws, text):
    assert p_text(p_value, draws) == text


@pytest.mark.parametrize(("confidence", "text"), [(0.95, "95%"), (0.999, "99.9%"), (0.9999, "99.99%"), (1 - 0.95, "5%")])
def test_a_confidence_is_never_rounded_to_certainty(confidence, text):
    assert level_text(confidence) == text
