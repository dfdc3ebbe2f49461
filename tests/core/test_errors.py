"""Values and lists in the texts of errors: short, on one line, whatever they are."""

import datetime

import pytest

from core.errors import format_value, join_first, print_stderr, shorten, to_one_line


def nested(levels: int) -> list:
    value: list = ["x"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


CYCLE: list = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (1e-4, "0.0001"),
        ("a", "'a'"),
        ("x" * 81, f"'{'x' * 80}'… (81 characters)"),
        (0xF << 99_999, "a whole number of 100003 bits"),
        (datetime.date(2022, 1, 3), "2022-01-03"),
        ([], "[]"),
        ([1, "a"], "[1, 'a']"),
        ({"a": {"b": {"c": 1}}}, "{'a': {'b': {…}}}"),
        (list(range(9)), "[0, 1, 2, 3, 4, … (9 in all)]"),
        (nested(30), "[[[…], […], […], […], […], … (10 in all)], [[…], […], […], […], […], … (10 in all)], "),
        (CYCLE, "[[[…]]]"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "value",
)
def test_values_are_formatted_as_params_yaml_has_them_and_cut_off(value, text):
    formatted = format_value(value)
    assert formatted == text or (text.endswith(", ") and formatted.startswith(text))
    assert len(formatted) < 300


def test_text_is_shortened_to_one_printable_line():
    assert shorten("a\n  b\x1b[1m") == "a b\\x1b[1m"
    assert shorten("word " * 100, 12) == "word word wo…"
    assert to_one_line("a\n\tb  c\x00") == "a b c\\x00"


def test_the_first_entries_are_joined_and_the_others_counted():
    assert join_first(["A"]) == "A"
    assert join_first("ABCDEFG") == "A, B, C, D, E and 2 more"
    assert (
        join_first((letter for letter in "ABC"), max_entries=2, separator="; ", rest="; see there")
        == "A; B; and 1 more; see there"
    )
    assert join_first(["x" * 9], max_characters=3) == "xxx…"


def test_a_message_without_standard_error_is_dropped(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", None)
    print_stderr("lost")
    assert capsys.readouterr().out == ""
