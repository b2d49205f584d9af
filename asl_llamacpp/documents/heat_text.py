"""A document's text as HTML: shaded by attention, with its kept passages, pages and sections marked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from ..selection.ranks import rank
from .evidence import Span
from .place_text import pages_text, place_text
from .text import Part

SHARES = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
"""The strongest shade is for the best 1 % of the kept tokens, the next one up to 2.5 %, and so on."""

SHADES = "abcdefghij"
"""Their class names, the strongest first: of one letter, for a long document has thousands of them."""


def document_html(
    parts: Sequence[Part],
    kept: NDArray[np.bool_],
    scores: NDArray[np.float32],
    offsets: NDArray[np.int64],
    listed: Sequence[Span],
) -> str:
    """The text of all parts; `listed` are the spans that get anchors s1, s2, ..., the arrays are those of `spans`."""
    shades = _shades(kept, scores)
    blocks = []
    for part in parts:
        begin, end = part.start_in_document, part.start_in_document + part.length
        lines = "".join(_part_html(part, shades, np.clip(offsets, begin, end) - begin, listed))
        blocks.append(f'<h3>{escape(part.source.name)}</h3>\n<div class="doc" dir="auto">{lines}</div>\n')
    return "".join(blocks)


def _shades(kept: NDArray[np.bool_], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each token its index in `SHADES`, or -1 where it was not kept: int64 [n]."""
    shades = np.full(len(kept), -1, np.int64)
    ranks = rank(scores[kept])
    shades[kept] = np.searchsorted(np.ceil(np.array(SHARES) * len(ranks)), ranks)
    return shades


def _part_html(
    part: Part, shades: NDArray[np.int64], offsets: NDArray[np.int64], listed: Sequence[Span]
) -> Iterator[str]:
    text = part.text
    before, after = _marks(part, listed)
    shown = np.flatnonzero(offsets[1:] > offsets[:-1])
    starts, classes = offsets[:-1][shown], shades[shown]
    changes = np.append(True, classes[1:] != classes[:-1])[: len(classes)]
    starts, classes = starts[changes], classes[changes]
    cuts = sorted({0, len(text), *starts.tolist(), *before, *after})
    tokens = (np.searchsorted(starts, cuts, side="right") - 1).tolist()
    for start, stop, token in zip(cuts, [*cuts[1:], len(text)], tokens, strict=True):
        yield from after.get(start, ())
        yield from before.get(start, ())
        piece = escape(text[start:stop], quote=False)
        shade = int(classes[token]) if token >= 0 else -1
        yield f"<i class={SHADES[shade]}>{piece}</i>" if shade >= 0 and piece else piece


def _marks(part: Part, listed: Sequence[Span]) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """HTML by character of the part: what stands before it, and what closes there."""
    before: dict[int, list[str]] = defaultdict(list)
    after: dict[int, list[str]] = {}
    for start, label in _borders(part):
        before[start].append(f'<span class="place">{escape(label)}</span>')
    for number, span in enumerate(listed, 1):
        start, stop = span.start - part.start_in_source, span.end - part.start_in_source
        if part.source.name == span.source and start >= 0 and stop <= part.length:
            badge = f'<a class="badge" href="#e{number}" title="back to the list">{number}</a>'
            before[start].append(f'<span class="span" id="s{number}">{badge}')
            after[stop] = ["</span>"]
    return before, after


def _borders(part: Part) -> Iterator[tuple[int, str]]:
    """The lines of the part where another page or section begins."""
    known: tuple[int | None, str | None] = (None, None)
    at = 0
    for line in part.text.splitlines(keepends=True):
        place = part.source.place(part.start_in_source + at)
        if place != known and line.strip():
            known = place
            page, section = place
            printed = part.source.page_label(page)
            pages = None if page is None else pages_text(page, page, printed, printed)
            if label := place_text(pages, section):
                yield at, label
        at += len(line)
