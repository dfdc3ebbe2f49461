"""A terminal to test on: a pty, and a screen that shows what was written to it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import termios
import threading
import time

TOKENS = re.compile(r"\x1b\[(\d*)([A-Za-z])|\r|\n|[^\x00-\x1f]")
MARK = b"\x1b[0m"  # of the end of what was written so far; shows nothing


class Terminal:
    """Renders what is written to `child`, the end of a pty that is a program's terminal. Keeps all lines that scroll away.

    When it is resized it wraps lines anew and the cursor stays on its character, as tmux and most terminals do.
    """

    def __init__(self, columns: int, rows: int = 24):
        self.parent, self.child = pty.openpty()
        self.rows: list[list[str]] = [[]]
        self.wrapped = [False]  # whether a row goes on in the next one
        self.y = self.x = 0
        self.written = ""
        self.data, self.is_open = bytearray(), True
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int = 24) -> None:
        self.show()
        fcntl.ioctl(self.parent, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        old = [*zip(self.rows, self.wrapped, strict=True)]
        cursor, self.rows, self.wrapped, line = (self.y, self.x), [], [], []
        for y, (row, goes_on) in enumerate(old):
            at = len(line) + cursor[1] if y == cursor[0] else None
            line = line + row
            if at is not None:
                self.y, self.x = len(self.rows) + at // columns, at % columns
            if not goes_on:
                pieces = [line[first : first + columns] for first in range(0, len(line), columns)] or [[]]
                self.rows += pieces
                self.wrapped += [True] * (len(pieces) - 1) + [False]
                line = []
        self.columns = columns

    def show(self, seconds: float = 0.0) -> list[str]:
        """Wait, then take in all that was written. Returns all lines, without the blanks at their ends."""
        time.sleep(seconds)
        os.write(self.child, MARK)
        while (end := self.data.find(MARK)) < 0:  # a program may have written more behind it: the next call's
            assert self.reader.is_alive()
            time.sleep(0.002)
        end += len(MARK)
        text = bytes(self.data[:end]).decode()
        del self.data[:end]
        self.written += text
        assert not TOKENS.sub("", text)
        for token in TOKENS.finditer(text):
            self._take(token[0], int(token[1] or 1), token[2])
        return ["".join(row).rstrip() for row in self.rows]

    def close(self) -> None:
        """Hang up, as a terminal whose window is closed."""
        self.is_open = False
        self.reader.join()
        os.close(self.parent)

    def _read(self) -> None:
        """Take in what is written, for else its writer would have to wait."""
        with contextlib.suppress(OSError):  # nobody has it as a terminal any more
            while self.is_open:
                if select.select([self.parent], [], [], 0.02)[0]:
                    self.data += os.read(self.parent, 65536)

    def _take(self, character: str, count: int, command: str | None) -> None:
        if command == "A":
            assert self.y >= count, "it draws above its own lines"
            self.y -= count
        elif command in ("J", "K"):
            del self.rows[self.y][min(self.x, self.columns - 1) :]
            self.wrapped[self.y] = False
            if command == "J":
                del self.rows[self.y + 1 :], self.wrapped[self.y + 1 :]
        elif command == "m":
            pass
        elif command is not None:
            raise AssertionError(f"unknown command {command}")
        elif character == "\r":
            self.x = 0
        elif character == "\n":
            self._down()
        else:
            if self.x == self.columns:
                self.wrapped[self.y] = True
                self._down()
                self.x = 0
            row = self.rows[self.y]
            row += " " * (self.x + 1 - len(row))
            row[self.x] = character
            self.x += 1

    def _down(self) -> None:
        self.y += 1
        if self.y == len(self.rows):
            self.rows.append([])
            self.wrapped.append(False)
