"""What a chat prints about an answer: its passages, and a line of facts."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator

from ..documents.answer import Answer
from ..prefill.report import PrefillReport

_PASSAGE = 480


def plain(text: str) -> str:
    """Without control characters, which a document or an answer could use to play tricks on the terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


def evidence_lines(answer: Answer, most: int, width: int) -> Iterator[str]:
    """The best passages with their place and score, and what they are worth."""
    found = answer.evidence
    for number, span in enumerate(found[:most], 1):
        yield f"{number}. {plain(span.where)}"
        passage = textwrap.shorten(plain(span.text), _PASSAGE, placeholder=" ...")
        yield from textwrap.wrap(passage, width, initial_indent="   ", subsequent_indent="   ")
    if not found:
        yield "No passage was kept."
    yield f"{min(most, len(found))} of {len(found)} passages. {answer.evidence_note}"


def facts(report: PrefillReport, waited: float, finish_reason: str, max_tokens: int) -> str:
    """One line about how an answer came about."""
    parts = [f"first word after {waited:.1f} s"]
    if report.reused:
        parts.append(f"{report.reused:,} of {report.n_prompt:,} tokens known")
    if report.selected is not None:
        parts.append(f"{report.n_selected:,} of {report.n_prompt:,} went on {report.place}")
    elif report.reused and report.reused_layers == report.n_layer:
        parts.append("the whole document, nothing left out")
    if finish_reason == "length":
        parts.append(f"cut at {max_tokens} tokens, see --max-tokens")
    return " · ".join(parts)
