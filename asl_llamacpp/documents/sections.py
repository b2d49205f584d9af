"""A document that is longer than the context: each section is asked, and the evidence of all is answered from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .answer import AnswerStream, SectionReport
from .chat_prompt import document_tokens
from .dividing import SECTION_TOKENS, cut_out, divide
from .document import Document
from .evidence import Span
from .protocols import Model
from .question import Question
from .text import DocumentText
from .turns import Turn

GAP = "\n[...]\n"
"""Stands between two passages that are not neighbours."""

ANSWER_ROOM = 256
"""Tokens that passages leave for an answer of any length."""

SPARE_TOKENS = 32
"""Passages that were cut out may take a few tokens more than within the text."""


class SectionedDocument(Document):
    """A document whose questions are put to each section in turn if it does not fit the context as a whole."""

    def __init__(self, llm: Model, content: DocumentText, name: str, system: str = "") -> None:
        super().__init__(llm, content, name, system=system)
        self._sections: list[tuple[tuple[int, int], Document]] = []
        self._most = 0
        self._union: Document | None = None

    def _stream(self, asked: Question) -> AnswerStream:
        question, history, max_tokens = asked.text, asked.history, asked.max_tokens or ANSWER_ROOM
        n_around = len(self.prompt(question, history)) - len(self.tokens)
        if len(self.tokens) + n_around + max_tokens <= self._llm.n_ctx():
            return super()._stream(asked)
        room = self._llm.n_ctx() - self.n_head - n_around - max_tokens
        if room < 2 * SECTION_TOKENS:
            self._check_room(n_around, max_tokens)
        with self._llm.turn.hold():
            return self._answer_sections(asked, room)

    def _answer_sections(self, asked: Question, room: int) -> AnswerStream:
        ranges, reports = self._evidence(asked.text, asked.history, room)
        union = cut_out(self.content, ranges, GAP)
        if self._union is not None:
            self._union.close()
        self._union = Document(self._llm, union, self.name, system=self._system)
        self._llm.shelf.register(self._union)
        answers = self._union._stream(asked)
        answers.sections = reports
        return answers

    def _evidence(
        self, question: str, history: Sequence[Turn], room: int
    ) -> tuple[list[tuple[int, int]], list[SectionReport]]:
        """Ranges of the text that the sections' selections kept, the best that `room` tokens take, and how."""
        found: list[tuple[float, int, tuple[int, int]]] = []
        read = []
        for i, (place, section) in enumerate(self._divided(room)):
            self._llm.reset()
            self._llm.eval(section.prompt(question, history))
            report = self._llm.last_prefill
            seen = section.attention(report) if report is not None else None
            if seen is None:
                raise ValueError(
                    f"kv_policy={str(self._llm.kv_policy)!r} gives no scores, so a document longer than n_ctx="
                    f"{self._llm.n_ctx()} cannot be read by sections: use 'asl'"
                )
            for span in seen.evidence:  # their scores are relative to the best of their section
                found.append((span.score * seen.ranked.largest, i, self._in_document(span)))
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
        return _merged(self.text, (place for _, _, place in chosen)), reports

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
        section = Document(self._llm, content, f"{self.name}, part {i + 1}", system=self._system)
        self._llm.shelf.register(section)
        return section

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


def _merged(text: str, ranges: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order; those with nothing but white space between them as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and not text[merged[-1][1] : start].strip():
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
