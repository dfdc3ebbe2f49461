"""What a person sees of trainings: on terminals of any width, in logs, after a resume, and when the terminal is gone."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from core import errors
from terminal import Terminal
from watch import progress, tracking


class Clock:
    """Stands in for `time`; it advances when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        threading.Event().wait()  # for ever: nothing is drawn but what a test draws


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Standard error is this terminal, 60 columns wide."""
    made = Terminal(60)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_screen", progress._Screen())
    with open(made.child, "w", closefd=False) as stream:
        for module in (progress, errors):  # pytest sets sys.stderr itself, again and again
            monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=stream))
        yield made
    if made.is_open:
        made.close()
    os.close(made.child)


def record(epoch: int, rate: float = 0.001) -> dict[str, float]:
    losses = {"train_loss": 0.0412, "val_loss": 0.0450}
    return {"epoch": epoch, "learning_rate": rate, **losses, "train_f1": 0.412, "val_f1": 0.297}


def begun(name: str = "cnn_lstm seed 1", history: int = 0) -> progress.Progress:
    """A training of 100 epochs, on the screen, `history` of which an earlier run has done."""
    training = progress.Progress(name, 100).__enter__()
    training.begin([record(epoch) for epoch in range(1, history + 1)], 8, 0.316)
    return training


def three(clock: Clock) -> list[progress.Progress]:
    """Three seeds in epoch 17, a second each."""
    trainings = [begun(f"cnn_lstm seed {seed}") for seed in (1, 2, 10)]
    for epoch in range(1, 18):
        clock.now += 1
        for number, training in enumerate(trainings):
            training.end_epoch(record(epoch), 8 + number, 0.316)
    return trainings


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (5, "seed"),
        (20, "seed 1   17/100"),
        (40, "seed 1   17/100 best 0.316 at 8"),
        (60, "seed 1   17/100 best 0.316 at 8 loss 0.0450 at most 1:23"),
        (80, "cnn_lstm seed 1 17/100 best 0.316 at 8 loss 0.0450 at most 1:23"),
        (100, "cnn_lstm seed 1  |██        |   17/100  best 0.316 at 8    loss 0.0450  at most  1:23  0:17 elapsed"),
        (
            200,
            "cnn_lstm seed 1  |█████                         |   17/100  best 0.316 at 8    loss 0.0450  at most  1:23"
            "  0:17 elapsed  F1 0.297  train F1 0.412 loss 0.0412  1.0 s an epoch",
        ),
    ],
)
def test_at_any_width_the_bars_are_one_line_each_and_what_matters_most_is_there(terminal, clock, columns, expected):
    terminal.resize(columns)
    three(clock)
    shown = terminal.show()
    assert [len(line) < columns for line in shown] == [True] * 3
    assert " ".join(shown[0].split()) == " ".join(expected.split())
    if columns >= 40:
        assert {re.search("best", line).start() for line in shown} == {shown[0].index("best")}, "they are aligned"


@pytest.mark.parametrize("columns", [60, 100])
def test_notes_stand_above_the_bars_and_a_finished_seed_leaves_a_line(terminal, clock, columns):
    terminal.resize(columns)
    first, second, third = three(clock)
    second.end_epoch(record(18, rate=0.0005), 9, 0.316)
    progress.say("x" * columns + "y")
    summary = {"stopped_early": True, "val_f1_score_positive_class": 0.316, "epochs": 17, "best_epoch": 2}
    first.end(summary, 15)
    first.__exit__()
    ended = "cnn_lstm seed 1: stopped after epoch 17: no better F1 for 15 epochs; best 0.316 at 2"
    said = ["cnn_lstm seed 2: epoch 18: learning rate 0.001 -> 0.0005", "x" * columns, "y"]
    said += [line.rstrip() for line in (ended[:columns], ended[columns:]) if line]
    *above, two, ten = terminal.show()
    assert above == said
    assert re.match(r"(cnn_lstm )?seed 2 .* 18/100", two)
    assert re.match(r"(cnn_lstm )?seed 10 .* 17/100", ten)
    for training in (second, third):
        training.has_ended = True
        training.__exit__()
    assert terminal.show() == [*said, ""]
    assert (terminal.x, terminal.y) == (0, len(said))


def test_a_resize_leaves_no_debris(terminal, clock):
    terminal.resize(120)
    trainings = three(clock)
    progress.say("above")
    for columns in (60, 100, 35, 120, 200, 10):
        terminal.resize(columns)
        if columns == 35:
            trainings[0].say("a line that is longer than the terminal is wide")
        else:
            trainings[0].end_epoch(record(17), 8, 0.316)
        bars = progress.lay_out(trainings, columns - 1)
        assert [" ".join(line.split()) for line in terminal.show()[-3:]] == [" ".join(line.split()) for line in bars]
    terminal.resize(200)
    trainings[0].end_epoch(record(17), 8, 0.316)
    assert terminal.show()[:-3] == ["above", "cnn_lstm seed 1: a line that is longer than the terminal is wide"]


def test_the_time_left_after_a_resume_is_that_of_this_runs_epochs(terminal, clock):
    training = begun(history=16)
    *said, bar = terminal.show()
    assert said == ["cnn_lstm seed 1: goes on after epoch 16: best 0.316 at 8"]
    assert " 16/100 best 0.316 at 8 " in bar
    assert "at most" not in bar
    clock.now += 2
    training.end_epoch(record(17), 8, 0.316)
    assert "at most 2:46" in terminal.show()[-1], "83 epochs of 2 s"
    clock.now += 1
    progress.say("a second later")
    assert "at most 2:45" in terminal.show()[-1]
    for epoch in range(18, 29):
        clock.now += 1
        training.end_epoch(record(epoch), 8, 0.316)
    assert "at most 1:12" in terminal.show()[-1], "the pace of the last ten"
    clock.now += 7200
    progress.say("the machine slept")
    assert "at most 0:00" in terminal.show()[-1]


def test_a_log_has_a_line_for_each_epoch_of_this_run_with_its_seconds(clock, capsys):
    training = begun(history=16)
    clock.now += 2.26
    training.end_epoch(record(17, rate=0.0005), 17, 0.32)
    summary = {"stopped_early": False, "val_f1_score_positive_class": 0.32, "epochs": 17, "best_epoch": 17}
    training.end(summary, 15)
    training.__exit__()
    assert capsys.readouterr().err.splitlines() == [
        "cnn_lstm seed 1: goes on after epoch 16: best 0.316 at 8",
        "cnn_lstm seed 1: epoch 17: learning rate 0.001 -> 0.0005",
        "cnn_lstm seed 1: epoch 17/100: train/val loss 0.0412/0.0450, F1 0.412/0.297, best 0.320 at 17, 2.3 s",
        "cnn_lstm seed 1: stopped after epoch 17: all epochs done; best 0.320 at 17",
    ]


def test_an_interrupt_leaves_the_last_state_as_lines(terminal, clock):
    trainings = three(clock)
    expected = progress.lay_out(trainings, 59)
    with contextlib.suppress(KeyboardInterrupt), progress.clearing_bars():
        os.write(terminal.child, b"^C")
        raise KeyboardInterrupt
    assert terminal.show() == [*expected, ""]
    for training in trainings:
        training.__exit__()
    assert terminal.show() == [*expected, ""]


def test_more_seeds_than_rows_are_counted(terminal, clock):
    terminal.resize(60, 4)
    three(clock)
    begun("cnn_lstm seed 4")
    assert [line[:7].strip() for line in terminal.show()] == ["seed 1", "seed 2", "and 2 m"]


def test_lines_of_the_writer_stand_above_the_bars(terminal, clock):
    """The writer is another process, and does not know of the bars."""
    training = begun("mlp seed 1")
    code = "import sys; print('tracking: run mlp 12ab in sqlite:////a/long/path/to/the/campaign/mlflow.db', file=sys.stderr)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    tracking.Writer(process).close(wait=True)
    clock.now += 1
    training.end_epoch(record(1), 1, 0.297)
    *said, bar = terminal.show()
    assert "".join(said) == "tracking: run mlp 12ab in sqlite:////a/long/path/to/the/campaign/mlflow.db"
    assert bar == "mlp seed 1   1/100 best 0.297 at 1 loss 0.0450 at most 1:39"


def test_bars_are_drawn_again_without_an_epoch(terminal, monkeypatch):
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.05)
    training = begun("mlp seed 1")
    assert "0:01 elapsed" in terminal.show(1.2)[-1]
    training.__exit__()


@pytest.mark.parametrize("trouble", ["gone", "closed", "full"])
def test_a_standard_error_that_cannot_be_written_ends_no_training(terminal, clock, monkeypatch, trouble):
    training = begun()
    if trouble == "gone":
        terminal.close()
    elif trouble == "closed":
        progress.sys.stderr.close()
    else:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, terminal.child)
        os.close(full)
    with progress.clearing_bars():
        training.end_epoch(record(1), 1, 0.297)
        training.say("note")
        training.__exit__()


def test_a_terminal_that_cannot_draw_gets_lines(terminal, clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    begun(history=3)
    assert terminal.show() == ["cnn_lstm seed 1: goes on after epoch 3: best 0.316 at 8", ""]


@pytest.mark.parametrize(("seconds", "text"), [(7.9, "0:07"), (754, "12:34"), (3723, "1:02:03"), (360000, "100:00:00")])
def test_durations_are_clock_faces(seconds, text):
    assert progress.format_duration(seconds) == text


def test_a_tally_stands_above_the_trainings_with_the_best_and_the_time_left(clock, terminal):
    with progress.Tally("mlp", 31) as tally, progress.Progress("mlp trial 9 seed 1", 100):
        assert [line.split()[:2] for line in terminal.show()[:2]] == [["mlp", "|"], ["mlp", "trial"]]
        clock.now += 60
        assert tally.count(9, 1, "best 0.4675 at trial 5") == 60 / 8 * 22
        clock.now += 10
        progress._screen.draw()
        assert re.search(r"^mlp .*9/31 +best 0\.4675 at trial 5 +2:35 left", terminal.show()[0])
        tally.has_ended = True


def test_a_tally_says_nothing_where_there_is_no_terminal(capsys):
    with progress.Tally("mlp", 31) as tally:
        tally.count(3, 0, "best 0.4675 at trial 1")
    assert capsys.readouterr().err == ""
