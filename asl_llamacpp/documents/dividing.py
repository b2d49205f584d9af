"""Cutting the text of a document: into sections, and out of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .text import DocumentText, Part

SECTION_TOKENS = 256
"""A section longer than the context is cut at paragraphs, but no piece is shorter than this."""


def borders(content: DocumentText) -> list[int]:
    """Where the text may be divided: at sources, sections and pages, and at paragraphs; offsets, sorted."""
    places = {0, len(content.text)}
    for part in content.parts:
        shift = part.start_in_document - part.start_in_source
        end = part.start_in_document + part.length
        places.add(part.start_in_document)
        places |= {mark.start + shift for mark in part.source.marks if 0 <= mark.start + shift < end}
    return sorted(places)


def divide(content: DocumentText, offsets: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Ranges of the text, in order and without gaps, of at most `most` tokens each.

    `offsets`: where the tokens begin, as `Document.offsets`. A range ends at the last border of a source, a section or
    a page that it reaches, else at the last paragraph or line, else wherever it must.
    """
    starts = np.asarray(offsets)
    text, places = content.text, borders(content)
    ranges = []
    begin = 0
    while begin < len(text):
        i = int(np.searchsorted(starts, begin))
        reach = int(starts[min(i + most, len(starts) - 1)])
        end = reach
        if reach < len(text):
            least = int(starts[min(i + min(SECTION_TOKENS, most // 2), len(starts) - 1)])
            inside = [place for place in places if least < place <= reach]
            paragraph, line = text.rfind("\n\n", least, reach), text.rfind("\n", least, reach)
            end = inside[-1] if inside else paragraph + 2 if paragraph >= 0 else line + 1 if line >= 0 else reach
        end = max(end, begin + 1)
        ranges.append((begin, end))
        begin = end
    return ranges


def cut_out(content: DocumentText, ranges: Sequence[tuple[int, int]], gap: str = "") -> DocumentText:
    """The text of these ranges, in order, `gap` between two that are not neighbours; parts follow."""
    pieces: list[str] = []
    parts: list[Part] = []
    length, before = 0, 0
    for start, end in ranges:
        if pieces and start > before:
            pieces.append(gap)
            length += len(gap)
        for part in content.parts:
            first = max(start, part.start_in_document)
            last = min(end, part.start_in_document + part.length)
            if first < last:
                source_start = part.start_in_source + first - part.start_in_document
                parts.append(Part(part.source, length + first - start, source_start, last - first))
        pieces.append(content.text[start:end])
        length += end - start
        before = end
    return DocumentText("".join(pieces), tuple(parts), content.left_out)
