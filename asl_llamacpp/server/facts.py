"""What an answer tells beside its text: evidence, attention along the documents, and what was pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..documents.answer import Answer
from ..documents.attention import Attention
from ..documents.evidence import Span, attention
from ..documents.text import Part
from ..prefill.report import PrefillReport
from ..sources import Source

BINS = 200
"""Values of attention along one document."""


def evidence(answer: Answer, ids: Mapping[str, str], sources: Mapping[str, Source]) -> list[dict[str, Any]]:
    """The answer's passages, best first. `ids` by the name that a source has in the answer, `sources` by id."""
    return [_passage(span, ids[span.source], sources[ids[span.source]]) for span in answer.evidence]


def _passage(span: Span, document: str, source: Source) -> dict[str, Any]:
    rects = [
        {"page": page, "rect": [round(float(x), 2) for x in rect]} for page, rect in source.rects(span.start, span.end)
    ]
    return {
        "document": document,
        "page": span.page,
        "label": page_label(source, span.page),
        "last_page": span.last_page,
        "last_label": page_label(source, span.last_page),
        "pages": span.pages,
        "section": span.section,
        "start": span.start,
        "end": span.end,
        "text": span.text,
        "score": round(span.score, 4),
        "rects": rects,
    }


def page_label(source: Source, page: int | None) -> str | None:
    """What is printed on a page as its number; None: the document has no pages."""
    if page is None:
        return None
    return source.page_label(page) or str(page)


def attention_bins(seen: Attention | None, ids: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each document the attention along its text, in `BINS` values of 0 to 1, the largest of all being 1."""
    if seen is None:
        return []
    weighted = attention(seen.scores)
    largest = float(weighted.max(initial=0.0)) or 1.0
    bins: dict[str, Any] = {document: np.zeros(BINS, np.float32) for document in ids.values()}
    for part in seen.parts:
        _add(bins[ids[part.source.name]], part, weighted / largest, seen.offsets[:-1])
    return [
        {"document": document, "bins": [round(float(value), 3) for value in values]}
        for document, values in bins.items()
    ]


def _add(bins: Any, part: Part, weights: Any, offsets: Any) -> None:
    """Each bin gets the largest weight of the tokens that begin in it."""
    first = int(np.searchsorted(offsets, part.start_in_document))
    last = int(np.searchsorted(offsets, part.start_in_document + part.length))
    at = offsets[first:last] - part.start_in_document + part.start_in_source
    places = np.minimum(at * BINS // max(len(part.source.text), 1), BINS - 1)
    np.maximum.at(bins, places, weights[first:last])


def pruning(report: PrefillReport | None, notes: list[str]) -> dict[str, Any] | None:
    """What the prefill left out, and what that saved; None: there was none."""
    if report is None:
        return None
    made = report.selection
    return {
        "policy": report.policy,
        "n_tokens": report.n_prompt,
        "n_kept": report.n_selected,
        "layer": report.selection_layer,
        "n_layer": report.n_layer,
        "place": None if report.selected is None else report.place,
        "reader": None if report.read is None else {"layer": made.selection_layer, "n_layer": made.n_layer},
        "reason": report.reason,
        "reused": report.reused,
        "reused_layers": report.reused_layers,
        "kv_bytes": report.kv_bytes,
        "kv_bytes_full": report.kv_bytes_full,
        "peak_kv_bytes": report.peak_kv_bytes,
        "seconds": {phase: round(seconds, 4) for phase, seconds in report.seconds.items()},
        "notes": [*report.notes, *notes],
    }
