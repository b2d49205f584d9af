"""Text that grows block by block: paragraphs, headings, list items, with what stands before each of their lines."""

from __future__ import annotations

import re

from .source import Heading

_SPACE = re.compile(r"[ \t\n\r\f]+")
_SPACE_RUN = re.compile(r" {2,}")
_AROUND_BREAK = re.compile(r" *\n *")


class Blocks:
    """Collects inline text, and closes it as a block; lines of a block have the prefix that was pushed last."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._inline: list[str] = []
        self._gap = 0  # line ends that the next block is to have before it
        self._prefixes: list[list[str]] = []  # of the first line, and of further ones
        self._headings: list[Heading] = []

    def text(self, text: str) -> None:
        """Inline text, whose white space is one space."""
        self._inline.append(_SPACE.sub(" ", text))

    def line_break(self) -> None:
        self._inline.append("\n")

    def push(self, first: str, further: str) -> None:
        """What stands before the first line of what comes, and before further ones."""
        self._prefixes.append([first, further])

    def pop(self) -> None:
        self._prefixes.pop()

    def gap(self, n: int) -> None:
        """End the block, and have at least so many line ends before the next one."""
        self.close()
        self._gap = max(self._gap, n)

    def close(self, level: int = 0) -> None:
        """End the block; with a level it is a heading."""
        text = _AROUND_BREAK.sub("\n", _SPACE_RUN.sub(" ", "".join(self._inline))).strip(" \n")
        self._inline = []
        if not text:
            return
        if level:
            title = " ".join(text.split())
            self._put("#" * level + " " + title)
            self._headings.append(Heading(self._length - len(title) - level - 1, title, level))
        else:
            self._put(text)

    def literal(self, text: str) -> None:
        """A block of lines as they are."""
        self.close()
        if text.strip("\n"):
            self._put(text.strip("\n"))

    def _put(self, block: str) -> None:
        lead = "\n" * self._gap if self._pieces else ""
        lines = []
        for number, line in enumerate(block.split("\n")):
            prefix = "".join(own[0] if number == 0 else own[1] for own in self._prefixes)
            if number == 0:
                for own in self._prefixes:
                    own[0] = own[1]
            lines.append((prefix + line).rstrip() if not line else prefix + line)
        piece = lead + "\n".join(lines)
        self._pieces.append(piece)
        self._length += len(piece)
        self._gap = 1

    def finished(self) -> tuple[str, list[Heading]]:
        """The text, and its headings."""
        self.close()
        return "".join(self._pieces), self._headings
