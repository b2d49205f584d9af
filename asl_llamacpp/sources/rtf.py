"""RTF files."""

from __future__ import annotations

from typing import Any

from .errors import parsing
from .formats import Format
from .markdown_table import markdown_table
from .pieces import Pieces
from .source import Source

_BAR, _ESCAPED_BAR = "\ue07c", "\\u-8068 ?"  # a bar that is no cell's end


def begins_as_rtf(data: bytes) -> bool:
    """Whether it begins as RTF does."""
    return data.startswith(b"{\\rtf")


def read_rtf(data: bytes, name: str) -> Source:
    """The text of an RTF file; rows of cells become tables. Without headings, which RTF tells by their looks alone.

    Raises ValueError for a file that is broken.
    """
    pieces = Pieces()
    with parsing(name, "an RTF"):
        rows: list[list[str]] = []
        for line in rtf_text(data.decode("latin-1").replace("|", _ESCAPED_BAR)).split("\n"):
            if line.endswith("|"):
                rows.append([cell.strip().replace(_BAR, "|") for cell in line[:-1].split("|")])
                continue
            if rows:
                pieces.text(markdown_table(rows))
                rows = []
            pieces.text(line.replace(_BAR, "|"))
        if rows:
            pieces.text(markdown_table(rows))
    return pieces.source(name)


def rtf_text(rtf: str) -> str:
    """The plain text, a cell of a table ended by |. `rtf` has a character for each byte."""
    from striprtf import striprtf

    convert: Any = striprtf.rtf_to_text
    return str(convert(rtf, errors="replace"))


FORMAT = Format(read_rtf, in_bytes=begins_as_rtf)
