"""A program in a pseudo-terminal: what it shows, as a person would see it, and keys to press."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from places import ROOT

ROWS, COLUMNS = 200, 400
CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"

_SEQUENCE = re.compile(r"\x1b\[([?>0-9;]*)([@A-Za-z])|\x1b\][^\x07]*\x07|\x1b[^\[\]]|([\r\n\b\x07])")


class Screen:
    """The lines of a terminal that is so high that it need not scroll."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0
        self._rest = ""

    @property
    def text(self) -> str:
        return "\n".join("".join(line).rstrip() for line in self.lines).rstrip()

    def feed(self, text: str) -> None:
        text, at = self._rest + text, 0
        # a sequence that came in halves waits for its end
        cut = text.rfind("\x1b")
        end = cut if cut >= 0 and not _SEQUENCE.match(text, cut) else len(text)
        self._rest, text = text[end:], text[:end]
        for match in _SEQUENCE.finditer(text):
            self._print(text[at : match.start()])
            self._control(match)
            at = match.end()
        self._print(text[at:])

    def _line(self) -> list[str]:
        self.lines += [[] for _ in range(self.row + 1 - len(self.lines))]
        return self.lines[self.row]

    def _print(self, text: str) -> None:
        line = self._line()
        line += " " * (self.column + len(text) - len(line))
        line[self.column : self.column + len(text)] = text
        self.column += len(text)

    def _control(self, match: re.Match[str]) -> None:
        values, name, single = match.groups()
        count = int(values) if values and values.isdecimal() else 0
        if single == "\r":
            self.column = 0
        elif single == "\n":
            self.row, self.column = self.row + 1, 0
        elif single == "\b":
            self.column = max(self.column - 1, 0)
        elif name == "A":
            self.row = max(self.row - max(count, 1), 0)
        elif name == "B":
            self.row += max(count, 1)
        elif name == "C":
            self.column += max(count, 1)
        elif name == "D":
            self.column = max(self.column - max(count, 1), 0)
        elif name in ("K", "J"):
            line = self._line()
            del line[0 if count == 2 else self.column :]
            if name == "J":
                del self.lines[self.row + 1 :]


class Terminal:
    """Runs `python -m MODULE ARGUMENTS` until `close`; `screen` is what it shows."""

    def __init__(self, *arguments: str | Path, cwd: Path | None = None) -> None:
        self.screen = Screen()
        self.raw = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "PYTHONPATH": str(ROOT)}
        environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES", "CI")}

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=cwd, preexec_fn=own_terminal,
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._master)

    def read(self, seconds: float) -> bool:
        """Take in what comes within `seconds`; False: the program has ended and there is no more."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 1 << 16).decode(errors="replace")
        except OSError:
            return False
        self.raw += data
        self.screen.feed(data)
        return bool(data)

    def wait(self, pattern: str, seconds: float = 60, begin: int = 0) -> str:
        """Until the screen, from character `begin` on, has a match of `pattern`; returns the screen from there on."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.screen.text[begin:]):
            more = self.read(0.05)
            assert more and time.monotonic() < end, f"no {pattern!r} in:\n{self.screen.text}"
        return self.screen.text[begin:]

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def enter(self, line: str, seconds: float = 60) -> str:
        """Type a line at a prompt, `>`, and return what is shown before the next one."""
        begin = len(self.wait(r"(\n|\A)>\Z")) - 1
        self.press(line + ENTER)
        shown = self.wait(rf"\A> {re.escape(line.strip())}\n([\s\S]*\n)?>\Z", seconds, begin)
        return shown.partition("\n")[2].removesuffix(">").strip()

    def status(self, seconds: float = 20) -> int:
        """The exit status, once the program has ended."""
        end = time.monotonic() + seconds
        while self.read(0.05):
            assert time.monotonic() < end, f"it goes on:\n{self.screen.text}"
        return self.process.wait(timeout=seconds)
