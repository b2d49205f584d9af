"""The structure of plain text and Markdown: headings and page breaks, with their offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .source import Section

_LINE = re.compile(r"[^\n\f]*")  # a form feed ends a page, so a line too
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_HASHES = re.compile(r" {0,3}#{1,6}[ \t]+(?P<title>.*)")
_CLOSING_HASHES = re.compile(r"(?:^|[ \t])#+$")
_UNDERLINE = re.compile(r" {0,3}(?:={2,}|-{2,})$")
_NO_TITLE = re.compile(r"\s{4}|\s*(?:[-+*>|]|\d+[.)])(?:\s|$)|\s*\|")  # code, lists, quotes, tables


def page_starts(text: str) -> list[int]:
    """Where pages begin, from the form feeds between them; empty for a text without any."""
    breaks = [match.end() for match in re.finditer("\f", text)]
    if breaks and not text[breaks[-1] :].strip():
        breaks.pop()  # it ends the last page
    return [0, *breaks] if breaks else []


def headings(text: str) -> list[Section]:
    """Headings with hashes or underlines, with the offset of their line; not those in fenced code."""
    found: list[Section] = []
    before = ["", ""]  # the last two lines: a title that is underlined has a blank line above it
    start_before = 0
    for start, line in _lines_outside_code(text):
        if match := _HASHES.match(line):
            title = _CLOSING_HASHES.sub("", match["title"]).strip()
            if title:
                found.append((start, title))
        elif _UNDERLINE.match(line) and _can_be_underlined(*before):
            found.append((start_before, before[1].strip()))
        before = [before[1], line]
        start_before = start
    return found


def looks_like_markdown(text: str) -> bool:
    """Whether there is a heading with a blank line before and after it. Comments in scripts seldom stand like that."""
    lines = ["", "", *(line for _, line in _lines_outside_code(text)), ""]
    return any(
        (_HASHES.match(line) and not before and not after)
        or (_UNDERLINE.match(line) and _can_be_underlined(above, before))
        for above, before, line, after in zip(lines, lines[1:], lines[2:], lines[3:], strict=False)
    )


def _can_be_underlined(above: str, title: str) -> bool:
    return not above and bool(title) and not (_NO_TITLE.match(title) or _HASHES.match(title) or _UNDERLINE.match(title))


def _lines_outside_code(text: str) -> Iterator[tuple[int, str]]:
    """Offset and text, without white space at its end, of each line; lines of fenced code come as "```"."""
    fence = ""
    start = 0
    while start <= len(text):
        match = _LINE.match(text, start)
        assert match is not None  # it matches the empty string
        line = match[0].rstrip()
        opening = _FENCE.match(line)
        if fence:
            yield start, "```"
            if opening and opening[1].startswith(fence) and not line.strip(" " + fence[0]):
                fence = ""
        else:
            fence = opening[1] if opening else ""
            yield start, "```" if opening else line
        start = match.end() + 1
        if text.startswith("\f", match.end()):
            yield match.end(), ""  # a title and its line are on one page
