"""CSV files as tables."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import replace

from .errors import UnreadableError, parsing
from .formats import READABLE, Format
from .pieces import Pieces
from .source import Source
from .text import marked_encoding

_DELIMITERS = ",;\t|"
_LONGEST_CELL = 2**31 - 1
_WESTERN = "cp1252"
_ENCODINGS = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp932", "gb18030", "big5", "cp949"]
_LOOKED_AT = 64 * 2**10  # characters
_DECLARED = re.compile(r"sep=(.)\n", re.IGNORECASE)


def read_csv(data: bytes, name: str) -> Source:
    """The table, whose first row is its head. What divides the cells is found out; "sep=;" in the first line says it.

    Raises ValueError for a binary file, or one whose encoding cannot be told.
    """
    text, encoding = decoded(data, name)
    csv.field_size_limit(_LONGEST_CELL)  # of the whole process: only ever raised
    pieces = Pieces()
    if declared := _DECLARED.match(text):
        delimiter, text = declared[1], text[declared.end() :]
    else:
        delimiter = likely_delimiter(text)
    with parsing(name, "a CSV"):
        rows = [row for row in csv.reader(_lines(text), delimiter=delimiter) if any(map(str.strip, row))]
    pieces.table(rows)
    source = pieces.source(name)
    warning = f"it is not UTF-8, and was read as {encoding}: look whether letters with accents are right"
    return source if encoding == "utf-8" else replace(source, warnings=(warning,))


def decoded(data: bytes, name: str) -> tuple[str, str]:
    """A text with "\\n" as line end, and "utf-8" or what else it is most likely in. ValueError for a binary file."""
    marked = marked_encoding(data)
    encoding = "utf-8"
    try:
        text = data.decode(marked or "utf-8")
    except UnicodeDecodeError:
        if marked or b"\0" in data:
            raise UnreadableError(f"{name} is a binary file, or damaged text: only {READABLE}") from None
        encoding = likely_encoding(data)
        text = data.decode(encoding, "replace")
    if "\0" in text:
        raise UnreadableError(f"{name} is a binary file: only {READABLE}")
    return text.replace("\r\n", "\n").replace("\r", "\n"), encoding


def likely_encoding(data: bytes) -> str:
    """Of a text that is not UTF-8; where several are as likely, that of western Europe."""
    from charset_normalizer import from_bytes

    matches = list(from_bytes(data, cp_isolation=_ENCODINGS))
    if not matches:
        return _WESTERN
    best = (matches[0].chaos, matches[0].coherence)
    equal = {name for one in matches if (one.chaos, one.coherence) == best for name in one.could_be_from_charset}
    return _WESTERN if _WESTERN in equal else matches[0].encoding


def likely_delimiter(text: str) -> str:
    """Which of , ; tab and | gives most rows the same number of cells, more than one."""
    lines = _lines(text[:_LOOKED_AT])
    if len(text) > _LOOKED_AT:
        lines = lines[:-1]

    def score(delimiter: str) -> tuple[float, int]:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
        width, n = max(widths.items(), key=lambda item: (item[0] > 1, item[1]), default=(1, 0))
        return (n / max(widths.total(), 1) if width > 1 else 0.0, width)

    try:
        return max(_DELIMITERS, key=score)
    except csv.Error:
        return ","


def _lines(text: str) -> list[str]:
    """With their ends, so that a cell over several lines keeps them."""
    return [line + "\n" for line in text.split("\n")]


FORMAT = Format(read_csv, suffixes=frozenset({".csv", ".tsv", ".tab"}))
