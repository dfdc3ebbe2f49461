"""The door for a person: its help, wrong usage, and what errors begin with."""

import re

import pytest

import campaign

NAMES = [campaign.command_name(function) for function in campaign.COMMANDS]


@pytest.fixture
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def help_text(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        campaign.parse([*arguments, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [60, 80, 160], indirect=True)
def test_help_lists_every_command_in_the_terminals_width(columns, capsys):
    lines = help_text(capsys).splitlines()
    assert max(map(len, lines)) <= columns
    listed = [line.split() for line in lines[lines.index("commands:") + 1 :]]
    assert [words[0] for words in listed if words and words[0] in NAMES] == NAMES


@pytest.mark.parametrize("columns", [160], indirect=True)
def test_a_wide_terminal_has_a_line_for_each_command(columns, capsys):
    text = help_text(capsys)
    for function in campaign.COMMANDS:
        assert re.search(rf"^  {campaign.command_name(function)} +{re.escape(function.__doc__)}$", text, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_of_its_own(name, capsys):
    text = help_text(capsys, name)
    assert text.startswith(f"usage: campaign.py {name} [-h]")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "campaign.py: error: the following arguments are required: COMMAND"),
        (["serve"], "campaign.py: error: argument COMMAND: invalid choice: 'serve' "),
        (["check", "--fast"], "campaign.py: error: unrecognized arguments: --fast"),
        (["bars", "one", "two"], "campaign.py: error: unrecognized arguments: two"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_argparses_line(arguments, line, capsys):
    with pytest.raises(SystemExit) as stop:
        campaign.parse(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(line)


def test_errors_begin_with_the_command(desk, monkeypatch):
    monkeypatch.setattr("sys.argv", ["campaign.py", "bars", "elsewhere"])
    with pytest.raises(SystemExit, match="^campaign bars: no bars at elsewhere"):
        campaign.main()
