"""A document, and what is right to read in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_MARKS = re.compile(r"^[ \t]*(?:#{1,6}|[-*+>]|[•◦▪])[ \t]+|\\(?=[|#])", re.MULTILINE)
_RULE = re.compile(r"^\s*\|?(?:\s*:?-{2,}:?\s*\|)+(?:\s*:?-{2,}:?\s*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """name   with the suffix of its format
    make   gives the file's bytes
    text   what is to be read, in this order; line ends, and marks of lists and headings, count nothing
    pages  the same by page, for formats that have pages; empty: not told
    rows   rows of its tables, cell by cell: "" is an empty cell
    absent what nobody is to see
    """

    name: str
    make: Callable[[], bytes]
    text: str
    pages: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        return self.name.rpartition(".")[2]


def words(text: str) -> list[str]:
    """The words of a text without Markdown's marks for headings, lists and tables."""
    text = _RULE.sub(" ", text).replace("```", " ")
    return _MARKS.sub("", text).replace("|", " ").split()


def has_row(text: str, row: tuple[str, ...]) -> bool:
    """Whether a line of a text has these cells, between bars or tabs, each at its place."""
    for line in text.splitlines():
        line = line.strip(" ")
        if line.startswith("|") and line.endswith("|") and len(line) > 1:
            cells = re.split(r"(?<!\\)\|", line[1:-1])
        else:
            cells = line.split("\t")
        if tuple(" ".join(cell.split()) for cell in cells) == row:
            return True
    return False
