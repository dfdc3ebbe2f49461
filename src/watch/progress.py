"""Show how trainings go: bars that are redrawn in place on a terminal, plain lines elsewhere.

Nothing here can change a result, and no failure of the terminal ends a training.
"""

import collections
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core import errors

REDRAW_SECONDS = 0.5  # between drawings: clocks advance, and the terminal may have been resized
PACE_EPOCHS = 10  # last epochs whose mean pace predicts the time left: the pace changes when another seed ends
MIN_BAR, MAX_BAR = 10, 30  # columns
ESSENTIAL_FIELDS = 4  # first fields of a line, which are worth more than its bar
ALIGNED_COLUMNS = 79  # from so many on, fields are aligned and two blanks apart


class Progress:
    """Show one training: as a bar among those of the others on a terminal, as lines elsewhere.

    It is a context manager, whose end removes the bar. Where the training did not end, its last state stays as a line.
    """

    def __init__(self, name: str, epochs: int):
        self.name, self.epochs = name, epochs
        self.done = 0
        self.rate: float | None = None  # learning rate of the last epoch
        self.record: Mapping[str, float] = {}
        self.best = ""
        self.began = time.monotonic()
        self.ends = collections.deque([self.began], PACE_EPOCHS + 1)  # of this run's last epochs, after its start
        self.has_ended = False

    def __enter__(self) -> "Progress":
        if _is_terminal():
            _screen.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _screen.remove(self)

    def say(self, text: str) -> None:
        """Write a line with the training's name, above the bars."""
        say(f"{self.name}: {text}")

    def begin(self, history: Sequence[Mapping[str, float]], best_epoch: int, best_f1: float) -> None:
        """Start the clock. Epochs of an earlier run, in `history`, took none of this run's time and are not shown again."""
        self.began = time.monotonic()
        self.ends = collections.deque([self.began], PACE_EPOCHS + 1)
        if history:
            self._keep(history[-1], best_epoch, best_f1)
            self.say(f"goes on after epoch {self.done}: {self.best}")

    def end_epoch(self, record: Mapping[str, float], best_epoch: int, best_f1: float) -> None:
        """Show the epoch that has just ended; `record` is its row of the training history."""
        now = time.monotonic()
        seconds = now - self.ends[-1]
        self.ends.append(now)
        last_rate = self.rate
        self._keep(record, best_epoch, best_f1)
        if last_rate is not None and self.rate != last_rate:
            self.say(f"epoch {self.done}: learning rate {last_rate:g} -> {self.rate:g}")
        if self in _screen.running:
            _screen.draw()
            return
        losses = f"loss {record['train_loss']:.4f}/{record['val_loss']:.4f}"
        scores = f"F1 {record['train_f1']:.3f}/{record['val_f1']:.3f}"
        self.say(f"epoch {self.done}/{self.epochs}: train/val {losses}, {scores}, {self.best}, {seconds:.1f} s")

    def end(self, summary: Mapping[str, Any], patience: int) -> None:
        """Say why the training ended, and its best epoch; `summary` is `learn.worker.Trained`'s."""
        why = f"no better F1 for {patience} epochs" if summary["stopped_early"] else "all epochs done"
        best = f"best {summary['val_f1_score_positive_class']:.3f} at {summary['best_epoch']}"
        self.say(f"stopped after epoch {summary['epochs']}: {why}; {best}")
        self.has_ended = True

    def _keep(self, record: Mapping[str, float], best_epoch: int, best_f1: float) -> None:
        self.record, self.done, self.rate = record, int(record["epoch"]), record["learning_rate"]
        self.best = f"best {best_f1:.3f} at {best_epoch}"

    def _fields(self, *, aligned: bool) -> list[str]:
        """Return the fields of the training's line, in order of importance; the first `ESSENTIAL_FIELDS` fit 60 columns."""
        now, digits = time.monotonic(), len(str(self.epochs))
        elapsed = f"{format_duration(now - self.began)} elapsed"
        count = f"{self.done:>{digits}}/{self.epochs}"
        if not self.record:
            return [count, elapsed]
        best, loss = self.best.ljust(len("best 0.123 at ") + digits * aligned), f"loss {self.record['val_loss']:.4f}"
        more = [elapsed, f"F1 {self.record['val_f1']:.3f}"]
        more += [f"train F1 {self.record['train_f1']:.3f} loss {self.record['train_loss']:.4f}"]
        if len(self.ends) == 1:
            return [count, best, loss, *more]
        pace = (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)
        left = max(0.0, pace * (self.epochs - self.done) - (now - self.ends[-1]))
        at_most = f"at most {format_duration(left):>{5 * aligned or 1}}"  # training may stop early
        return [count, best, loss, at_most, *more, f"{pace:.1f} s an epoch"]


class Tally(Progress):
    """Show how many of several things are done, such as the trials of a search: a bar above those of the trainings.

    Elsewhere than on a terminal it shows nothing; whoever counts writes lines.
    """

    def __init__(self, name: str, total: int):
        super().__init__(name, total)
        self.left = 0.0  # seconds, at the last count

    def count(self, done: int, before: int, best: str) -> float:
        """Show that so many are done; returns how many seconds the others will take.

        Args:
            before: that were done before this run.
        """
        now = time.monotonic()
        self.done, self.best = done, best
        self.left = (now - self.began) / max(done - before, 1) * (self.epochs - done)
        self.ends.append(now)
        if self in _screen.running:
            _screen.draw()
        return self.left

    def _fields(self, *, aligned: bool) -> list[str]:
        now, digits = time.monotonic(), len(str(self.epochs))
        count, elapsed = f"{self.done:>{digits}}/{self.epochs}", f"{format_duration(now - self.began)} elapsed"
        if not self.best:
            return [count, elapsed]
        left = max(0.0, self.left - (now - self.ends[-1]))
        return [count, self.best, f"{format_duration(left)} left", elapsed]


def lay_out(trainings: Sequence[Progress], width: int) -> list[str]:
    """Return a line for each training in at most `width` columns; what matters least is left out first."""
    aligned = width >= ALIGNED_COLUMNS
    gap = "  " if aligned else " "
    fields = [training._fields(aligned=aligned) for training in trainings]
    names = [training.name for training in trainings]
    longest = max(map(len, names), default=0)
    if any(longest + len("".join(gap + field for field in row[:ESSENTIAL_FIELDS])) > width for row in fields):
        names = [name.partition(" ")[2] or name for name in names]  # the lines above name the architecture
        longest = max(map(len, names))
    names = [name.ljust(longest) for name in names]
    texts = [_join_fields(row, gap, width - len(name)) for name, row in zip(names, fields, strict=True)]
    free = min((width - len(name + text) - len(" ||") for name, text in zip(names, texts, strict=True)), default=0)
    size = min(free, MAX_BAR) if free >= MIN_BAR else 0

    def bar_of(training: Progress) -> str:
        return f" |{(_block() * round(size * training.done / training.epochs)).ljust(size)}|" if size else ""

    return [(name + bar_of(training) + text)[:width] for training, name, text in zip(trainings, names, texts, strict=True)]


def _join_fields(fields: Sequence[str], gap: str, width: int) -> str:
    """Join the first fields that fit, beside a bar of least size for those that are not essential."""
    text = ""
    for number, field in enumerate(fields):
        bar = MIN_BAR + len(" ||") if number >= ESSENTIAL_FIELDS else 0
        if len(text) + len(gap) + len(field) + bar > width:
            break
        text += gap + field
    return text


def say(text: str) -> None:
    """Write a line to standard error, above the bars where there are any."""
    if _screen.running:
        _screen.draw(text)
    else:
        errors.print_stderr(text)


@contextlib.contextmanager
def clearing_bars() -> Iterator[None]:
    """Remove all bars from the terminal when the block ends, however it does, so that later lines stand below them."""
    try:
        yield
    finally:
        _screen.remove(*_screen.running)


def format_duration(seconds: float) -> str:
    """Format a duration: 0:07, 12:34 or 1:02:03."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class _Screen:
    """Draw the bars of the running trainings below all lines.

    Between two drawings the cursor rests on the first column of the first bar. A terminal that is resized keeps it there, so
    that clearing from the cursor on leaves nothing behind, even if the terminal has wrapped the lines again.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.running: list[Progress] = []
        self.redrawer: threading.Thread | None = None
        self.size = (0, 0)  # columns and rows of the last drawing

    def add(self, training: Progress) -> None:
        with self.lock:
            self.running = sorted([*self.running, training], key=lambda one: (len(one.name), one.name))
            self.draw()
            if self.redrawer is None:
                self.redrawer = threading.Thread(target=self._redraw, daemon=True)
                self.redrawer.start()

    def remove(self, *trainings: Progress) -> None:
        """Remove bars; those of trainings that did not end stay as lines."""
        with self.lock:
            shown = zip(self.running, lay_out(self.running, self._size()[0] - 1), strict=True)
            left = [line for training, line in shown if training in trainings and not training.has_ended]
            kept = [training for training in self.running if training not in trainings]
            if len(kept) < len(self.running):
                self.running = kept
                self.draw("\n".join(left))

    def draw(self, text: str = "") -> None:
        """Draw all bars again, and `text` above them."""
        with self.lock:
            columns, rows = size = self._size()
            bars = lay_out(self.running, columns - 1)  # a full line would wrap
            most = max(rows - 1, 1)
            if len(bars) > most:
                bars[most - 1 :] = [f"and {len(bars) - most + 1} more"[: columns - 1]]
            cleared = "\x1b[J" if text or size != self.size else ""  # else lines are written over, which does not flicker
            self.size = size
            output = f"\r{cleared}{text}" + "\n" * bool(text) + "\x1b[K\n".join(bars) + "\x1b[J\r"
            output += f"\x1b[{len(bars) - 1}A" if len(bars) > 1 else ""
            with contextlib.suppress(OSError, ValueError, AttributeError):  # the terminal is gone, or was closed
                # not through Python's buffer, which would keep what cannot be written
                os.write(sys.stderr.fileno(), output.encode(sys.stderr.encoding or "utf-8", "replace"))

    def _size(self) -> tuple[int, int]:
        """Return columns and rows; 80 and 24 for a terminal that does not tell."""
        try:
            columns, rows = os.get_terminal_size(sys.stderr.fileno())
        except (OSError, ValueError, AttributeError):
            columns, rows = 0, 0
        return columns or 80, rows or 24

    def _redraw(self) -> None:
        while True:
            time.sleep(REDRAW_SECONDS)
            with self.lock:
                if not self.running:
                    self.redrawer = None
                    return
                self.draw()


_screen = _Screen()


def _is_terminal() -> bool:
    """Tell whether standard error can be drawn on."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return False


def _block() -> str:
    return "█" if "utf" in (sys.stderr.encoding or "").lower() else "#"
