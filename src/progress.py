"""Show how trainings go: bars that are redrawn in place on a terminal, plain lines elsewhere.

Nothing here can change a result, and no trouble with the terminal ends a training.
"""

import collections
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import stage

TICK = 0.5  # seconds until the bars are drawn again: clocks advance, and the terminal may have been resized
RECENT = 10  # epochs whose mean pace predicts the time left: the pace changes when another seed ends
BAR = (10, 30)  # columns of a bar, at least and at most
ESSENTIAL = 4  # fields of a line that are worth more than its bar
ROOMY = 79  # columns from which fields are aligned and stand two blanks apart


class Progress:
    """Show one training: as a bar among those of the others on a terminal, as lines elsewhere.

    Used as a context: the bar goes with it, and leaves its last state as a line where the training did not come to its end.
    """

    def __init__(self, name: str, epochs: int):
        self.name, self.epochs = name, epochs
        self.done = 0
        self.rate: float | None = None  # learning rate of the last epoch
        self.record: Mapping[str, float] = {}
        self.best = ""
        self.began = time.monotonic()
        self.ends = collections.deque([self.began], RECENT + 1)  # of this run's last epochs, and the start before them
        self.has_stopped = False

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
        """Start the clock. The epochs of an earlier run, in `history`, took none of this run's time and are not told again."""
        self.began = time.monotonic()
        self.ends = collections.deque([self.began], RECENT + 1)
        if history:
            self._take(history[-1], best_epoch, best_f1)
            self.say(f"goes on after epoch {self.done}: {self.best}")

    def epoch(self, record: Mapping[str, float], best_epoch: int, best_f1: float) -> None:
        """Show the epoch that has just ended; `record` is its row of the training history."""
        now = time.monotonic()
        seconds = now - self.ends[-1]
        self.ends.append(now)
        last_rate = self.rate
        self._take(record, best_epoch, best_f1)
        if last_rate is not None and self.rate != last_rate:
            self.say(f"epoch {self.done}: learning rate {last_rate:g} -> {self.rate:g}")
        if self in _screen.running:
            _screen.draw()
            return
        losses = f"loss {record['train_loss']:.4f}/{record['val_loss']:.4f}"
        scores = f"F1 {record['train_f1']:.3f}/{record['val_f1']:.3f}"
        self.say(f"epoch {self.done}/{self.epochs}: train/val {losses}, {scores}, {self.best}, {seconds:.1f} s")

    def stopped(self, summary: Mapping[str, Any], patience: int) -> None:
        """Say why the training is over, and its best epoch; `summary` is that of `training`."""
        why = f"no better F1 for {patience} epochs" if summary["stopped_early"] else "all epochs done"
        best = f"best {summary['val_f1_score_positive_class']:.3f} at {summary['best_epoch']}"
        self.say(f"stopped after epoch {summary['epochs']}: {why}; {best}")
        self.has_stopped = True

    def _take(self, record: Mapping[str, float], best_epoch: int, best_f1: float) -> None:
        self.record, self.done, self.rate = record, int(record["epoch"]), record["learning_rate"]
        self.best = f"best {best_f1:.3f} at {best_epoch}"

    def _fields(self, *, aligned: bool) -> list[str]:
        """Return what a line tells, in order of importance; the first `ESSENTIAL` fit 60 columns."""
        now, digits = time.monotonic(), len(str(self.epochs))
        elapsed = f"{clock(now - self.began)} elapsed"
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
        at_most = f"at most {clock(left):>{5 * aligned or 1}}"  # training may stop early
        return [count, best, loss, at_most, *more, f"{pace:.1f} s an epoch"]


def lines(trainings: Sequence[Progress], width: int) -> list[str]:
    """Return the state of each training in at most `width` columns: what matters least is left out first."""
    aligned = width >= ROOMY
    gap = "  " if aligned else " "
    rows = [training._fields(aligned=aligned) for training in trainings]
    longest = max((len(training.name) for training in trainings), default=0)
    names = [training.name.ljust(longest) for training in trainings]
    if any(longest + len("".join(gap + field for field in fields[:ESSENTIAL])) > width for fields in rows):
        names = [name.partition(" ")[2] or name for name in names]  # the lines above name the architecture
    told = []
    for name, fields in zip(names, rows, strict=True):
        text = ""
        for number, field in enumerate(fields):
            bar = BAR[0] + len(" ||") if number >= ESSENTIAL else 0
            if len(name) + len(text) + len(gap) + len(field) + bar > width:
                break
            text += gap + field
        told.append(text)
    size = min(width - len(name + text) - len(" ||") for name, text in zip(names, told, strict=True)) if rows else 0
    size = min(size, BAR[1]) if size >= BAR[0] else 0

    def bar_of(training: Progress) -> str:
        return f" |{(_block() * round(size * training.done / training.epochs)).ljust(size)}|" if size else ""

    return [(name + bar_of(training) + text)[:width] for training, name, text in zip(trainings, names, told, strict=True)]


def say(text: str) -> None:
    """Write a line to standard error, above the bars where there are any."""
    if _screen.running:
        _screen.draw(text)
    else:
        stage.say(text)


@contextlib.contextmanager
def bars() -> Iterator[None]:
    """Take the bars off the terminal when the block ends, however it does, so that what follows stands below them."""
    try:
        yield
    finally:
        _screen.remove(*_screen.running)


def clock(seconds: float) -> str:
    """Format a duration: 0:07, 12:34 or 1:02:03."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class _Screen:
    """Draw the bars of the running trainings below all that has been said.

    Between two drawings the cursor rests on the first column of the first bar. A terminal that is resized keeps it there, so
    that clearing from the cursor on leaves nothing behind, however the lines were wrapped anew.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.running: list[Progress] = []
        self.ticker: threading.Thread | None = None
        self.size = (0, 0)  # columns and rows of the last drawing

    def add(self, training: Progress) -> None:
        with self.lock:
            self.running = sorted([*self.running, training], key=lambda one: (len(one.name), one.name))
            self.draw()
            if self.ticker is None:
                self.ticker = threading.Thread(target=self._tick, daemon=True)
                self.ticker.start()

    def remove(self, *trainings: Progress) -> None:
        """Take bars away; those of trainings that did not come to their end stay as lines."""
        with self.lock:
            shown = zip(self.running, lines(self.running, self._size()[0] - 1), strict=True)
            left = [line for training, line in shown if training in trainings and not training.has_stopped]
            kept = [training for training in self.running if training not in trainings]
            if len(kept) < len(self.running):
                self.running = kept
                self.draw("\n".join(left))

    def draw(self, said: str = "") -> None:
        with self.lock:
            columns, rows = size = self._size()
            bars = lines(self.running, columns - 1)  # a full line would wrap
            most = max(rows - 1, 1)
            if len(bars) > most:
                bars[most - 1 :] = [f"and {len(bars) - most + 1} more"[: columns - 1]]
            cleared = "\x1b[J" if said or size != self.size else ""  # else lines are written over, which does not flicker
            self.size = size
            text = f"\r{cleared}{said}" + "\n" * bool(said) + "\x1b[K\n".join(bars) + "\x1b[J\r"
            text += f"\x1b[{len(bars) - 1}A" if len(bars) > 1 else ""
            with contextlib.suppress(OSError, ValueError, AttributeError):  # the terminal is gone, or was closed
                # past Python's buffer, which would keep what cannot be written
                os.write(sys.stderr.fileno(), text.encode(sys.stderr.encoding or "utf-8", "replace"))

    def _size(self) -> tuple[int, int]:
        """Return columns and rows; a terminal that does not know has 80 and 24."""
        try:
            columns, rows = os.get_terminal_size(sys.stderr.fileno())
        except (OSError, ValueError, AttributeError):
            columns, rows = 0, 0
        return columns or 80, rows or 24

    def _tick(self) -> None:
        while True:
            time.sleep(TICK)
            with self.lock:
                if not self.running:
                    self.ticker = None
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
