"""A document that is longer than the context: each section is asked, and the evidence of all is answered from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .answer import AnswerStream
from .chat_prompt import Turn, document_tokens
from .document import Document, DocumentText
from .evidence import Part, Span, attention

if TYPE_CHECKING:
    from .reading import Reading

GAP = "\n[...]\n"
"""Stands between two passages that are not neighbours."""

SPARE_TOKENS = 32
"""Passages that were cut out may take a few tokens more than within the text."""

SECTION_TOKENS = 256
"""A section longer than the context is cut at paragraphs, but no piece is shorter than this."""


@dataclass(frozen=True)
class SectionReport:
    """How one section of a long document was read: its place, and what was kept of it.

    start, end     character offsets in the document's text
    n_tokens       of the section
    n_passages     of its evidence that the answer was made from
    selection_layer as in `PrefillReport`
    """

    start: int
    end: int
    n_tokens: int
    n_passages: int
    selection_layer: int | None


def borders(content: DocumentText) -> list[int]:
    """Where the text may be divided: at sources, sections and pages, and at paragraphs; offsets, sorted."""
    places = {0, len(content.text)}
    for part in content.parts:
        shift = part.start_in_document - part.start_in_source
        end = part.start_in_document + part.length
        places.add(part.start_in_document)
        places |= {mark.start + shift for mark in part.source.marks if 0 <= mark.start + shift < end}  # type: ignore[attr-defined]
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
    return DocumentText("".join(pieces), tuple(parts))


class SectionedDocument(Document):
    """A document whose questions are put to each section in turn if it does not fit the context as a whole."""

    def __init__(self, llm: Reading, content: DocumentText, name: str) -> None:
        super().__init__(llm, content, name)
        self._sections: list[tuple[tuple[int, int], Document]] = []
        self._most = 0
        self._union: Document | None = None

    def _stream(
        self, question: str, history: Sequence[Turn], max_tokens: int, sampling: dict[str, Any]
    ) -> AnswerStream:
        n_around = len(self.prompt(question, history)) - len(self.tokens)
        if len(self.tokens) + n_around + max_tokens <= self._llm.n_ctx():
            return super()._stream(question, history, max_tokens, sampling)
        room = self._llm.n_ctx() - self.n_head - n_around - max_tokens
        if room < 2 * SECTION_TOKENS:
            self._check_room(n_around, max_tokens)
        ranges, reports = self._evidence(question, history, room)
        union = cut_out(self.content, ranges, GAP)
        if self._union is not None:
            self._union.close()
        self._union = self._llm.register_document(Document(self._llm, union, self.name))
        answers = self._union._stream(question, history, max_tokens, sampling)
        answers.sections = reports
        return answers

    def _evidence(
        self, question: str, history: Sequence[Turn], room: int
    ) -> tuple[list[tuple[int, int]], list[SectionReport]]:
        """Ranges of the text that the sections' selections kept, the best that `room` tokens take, and how."""
        found: list[tuple[float, int, tuple[int, int]]] = []
        read = []
        for i, (place, section) in enumerate(self._divided(room)):
            self._llm.reset()  # type: ignore[no-untyped-call]
            self._llm.eval(section.prompt(question, history))
            report = self._llm.last_prefill
            seen = section.attention(report) if report is not None else None
            if seen is None:
                raise ValueError(
                    f"kv_policy={str(self._llm.kv_policy)!r} gives no scores, so a document longer than n_ctx="
                    f"{self._llm.n_ctx()} cannot be read by sections: use 'asl'"
                )
            # the spans' scores are relative to the best of their section
            scale = float((attention(seen.scores) * seen.shown).max(initial=0.0))
            for span in seen.evidence:
                found.append((span.score * scale, i, self._in_document(span)))
            read.append((place, section.n_tokens, report.selection_layer if report is not None else None))
        chosen = self._best(found, room)
        if not chosen:
            raise ValueError(
                f"no section of {self.name} has a word that could be evidence: there is nothing to answer from"
            )
        reports = [
            SectionReport(*place, n_tokens, sum(1 for _, j, _ in chosen if j == i), layer)
            for i, (place, n_tokens, layer) in enumerate(read)
        ]
        return _merged(place for _, _, place in chosen), reports

    def _divided(self, room: int) -> list[tuple[tuple[int, int], Document]]:
        """The sections as documents, kept from question to question as long as they are small enough."""
        if not self._sections or self._most > room:
            for _, section in self._sections:
                section.close()
            # some room, so that a longer question does not divide it anew
            self._most = max(SECTION_TOKENS, room - min(256, room // 4))
            self._sections = [
                (place, self._section(place, i))
                for i, place in enumerate(divide(self.content, self.offsets.tolist(), self._most))
                if self.content.text[slice(*place)].strip()
            ]
        return self._sections

    def _section(self, place: tuple[int, int], i: int) -> Document:
        content = cut_out(self.content, [place])
        return self._llm.register_document(Document(self._llm, content, f"{self.name}, part {i + 1}"))

    def _in_document(self, span: Span) -> tuple[int, int]:
        for part in self.content.parts:
            inside = part.start_in_source <= span.start and span.end <= part.start_in_source + part.length
            if inside and part.source.name == span.source:
                shift = part.start_in_document - part.start_in_source
                return span.start + shift, span.end + shift
        raise AssertionError("a span lies in none of the parts")

    def _best(
        self, found: list[tuple[float, int, tuple[int, int]]], room: int
    ) -> list[tuple[float, int, tuple[int, int]]]:
        """The passages with most attention whose tokens, and the gaps between them, fit."""
        gap = len(document_tokens(self._llm, GAP)) + 1
        chosen, used = [], SPARE_TOKENS
        for passage in sorted(found, key=lambda passage: -passage[0]):
            start, end = passage[2]
            size = int(np.searchsorted(self.offsets, end) - np.searchsorted(self.offsets, start, "right") + 1) + gap
            if used + size <= room:
                chosen.append(passage)
                used += size
        return chosen

    def close(self) -> None:
        for _, section in self._sections:
            section.close()
        self._sections = []
        if self._union is not None:
            self._union.close()
        super().close()


def _merged(ranges: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
