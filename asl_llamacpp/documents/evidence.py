"""What of a document the selection kept, as passages of its sources, ranked by attention.

For a question, ASL picks at one layer the tokens that go deeper, by the attention that the last tokens of the prompt
pay them. The passages here show what the model was allowed to see in the deeper layers. They are no proof: whether
the answer uses a passage, and whether it reads it rightly, is not known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..selection.arrays import Ints
from ..selection.unit_scores import BEST
from .passages import Passage, passages, tokens_with_words
from .place_text import pages_text, place_text
from .text import Part

FIRST_TOKENS = 4
"""The first tokens of a document draw attention whatever they say, so they count nothing for a passage's score."""

FOLLOWS = 0.4
"""Share of its score that a passage gives to the next one of its paragraph: that often says "it" for what was named."""

LAST_TOKENS = 64
"""Tokens shortly before the question are favoured for being near: the last ones count less and less, down to 0."""


@dataclass(frozen=True)
class Span:
    """A passage of a source, of which the selection kept at least a word.

    `start` and `end` are character offsets in the source's text: source.text[start:end] == text. `section` is that of
    all of it, and so is `page`, unless a sentence goes on over the page's end: `last_page` is where it ends. `label`
    and `last_label` are what is printed on these two pages as their numbers, where that is something else. `score`,
    0 to 1, is that of `scored_passages`, relative to the best passage's.
    """

    text: str
    source: str
    page: int | None
    section: str | None
    start: int
    end: int
    score: float
    last_page: int | None = None
    label: str | None = None
    last_label: str | None = None

    @property
    def pages(self) -> str | None:
        """As "page 3", "pages 3-4" or "page iv (sheet 6)"; None where the source has no pages."""
        if self.page is None:
            return None
        return pages_text(self.page, self.last_page or self.page, self.label, self.last_label)

    @property
    def where(self) -> str:
        """As "notes.pdf · page 3 · Costs · attention 0.71"."""
        place = place_text(self.pages, self.section)
        return " · ".join(filter(None, (self.source, place, f"attention {self.score:.2f}")))


def attention(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """`scores`, float32 [n], weighted so that a token's place alone does not lift it: the same shape.

    The first `FIRST_TOKENS` count nothing, and the last `LAST_TOKENS` (of a short document its last eighth) less and
    less. What a token says is judged elsewhere: only tokens with a letter or a digit count.
    """
    n = len(scores)
    last = min(LAST_TOKENS, n // 8)
    weights = np.minimum(np.arange(n, 0, -1, dtype=np.float32) / (last + 1), np.float32(1))
    weights[:FIRST_TOKENS] = 0
    return scores * weights


@dataclass(frozen=True)
class Ranked:
    """Passages that the selection kept, best first, and what they were chosen from.

    spans    of equal scores the earlier one comes first
    largest  the pooled attention that a score of 1 stands for; 0: nothing of the text has any
    n        passages of the text that have any attention, kept or not
    """

    spans: list[Span]
    largest: float
    n: int


@dataclass(frozen=True)
class Scored:
    """A passage, and `words`: bool, which of its tokens have a letter or digit."""

    score: float
    passage: Passage
    words: NDArray[np.bool_]


def scored_passages(
    scores: NDArray[np.float32],
    offsets: NDArray[np.int64],
    starts: Ints,
    parts: Sequence[Part],
    follows: float = FOLLOWS,
) -> list[Scored]:
    """All passages, in the order of the text.

    A passage is a unit of the text, cut where a page or section begins, so that each has one place; see `passages`. It
    counts as much as a unit of the selection: the mean of its best tokens, those with a letter or digit, by
    `attention`. On top of that comes `follows` times what the passage before it has, without a blank line between.
    Passages do not overlap, none crosses the border of a part, and each token with a letter or digit of a part is in
    one.

    Args:
        scores: float32 [n], what the question attends to, 0 for tokens without.
        offsets: integers [n + 1], where each token begins in the document, as `char_offsets` gives them.
        starts: int32 [n_units], the tokens that its units begin with, as `unit_starts` gives them.
        parts: what the document is made of, by position; text between parts belongs to no source.
    """
    weighted = attention(scores)
    found: list[Scored] = []
    for part in parts:
        words = tokens_with_words(part, offsets)
        values = np.where(words, weighted, np.float32(0))
        own, end = 0.0, 0
        for passage in passages(part, offsets, starts):
            before = 0.0 if _BLANK_LINE.search(part.text, end, passage.start) else own
            own, end = _mean_of_best(values[passage.first : passage.last]), passage.stop
            found.append(Scored(own + follows * before, passage, words[passage.first : passage.last]))
    return found


_BLANK_LINE = re.compile(r"\n\s*\n")


def ranked(
    kept: NDArray[np.bool_],
    scores: NDArray[np.float32],
    offsets: NDArray[np.int64],
    starts: Ints,
    parts: Sequence[Part],
) -> Ranked:
    """The passages of which the selection kept at least a word, by `scored_passages`, which has the other arguments.

    kept: bool [n], which of the document's tokens went deeper.

    Raises:
        ValueError: the lengths of the arrays do not fit each other.
    """
    check_lengths(kept, scores, offsets)
    return kept_ones(kept, scored_passages(scores, offsets, starts, parts))


def kept_ones(kept: NDArray[np.bool_], passages: Sequence[Scored]) -> Ranked:
    """Of all passages, those with a word that was kept: see `ranked`."""
    found = [one for one in passages if (kept[one.passage.first : one.passage.last] & one.words).any()]
    largest = max((one.score for one in found), default=0.0)
    found.sort(key=lambda one: -one.score)
    spans = [_span(one.passage, one.score / largest if largest else 0.0) for one in found]
    return Ranked(spans, largest, sum(one.score > 0 for one in passages))


def best_passages(passages: Sequence[Scored], n: int, count: int) -> NDArray[np.bool_]:
    """Which of a document's `n` tokens lie in its best passages, whole ones that hold `count` tokens: bool [n]."""
    best = np.zeros(n, np.bool_)
    for one in sorted(passages, key=lambda one: -one.score):
        tokens = best[one.passage.first : one.passage.last]
        count -= len(tokens) - int(np.count_nonzero(tokens))  # two may share a token
        tokens[:] = True
        if count <= 0:
            break
    return best


def _mean_of_best(values: NDArray[np.float32]) -> float:
    """As `unit_scores` has it, of one unit: what a short one lacks counts as 0."""
    return float(np.sort(values)[-BEST:].sum()) / BEST


def check_lengths(kept: NDArray[np.bool_], scores: NDArray[np.float32], offsets: NDArray[np.int64]) -> None:
    """Raises ValueError where the arrays are not [n], [n] and [n + 1]."""
    if not len(kept) == len(scores) == len(offsets) - 1:
        raise ValueError(
            f"kept, scores and offsets must have lengths n, n and n + 1, not {len(kept)}, {len(scores)}, {len(offsets)}"
        )


def _span(passage: Passage, score: float) -> Span:
    part, shift = passage.part, passage.part.start_in_source
    start, stop = shift + passage.start, shift + passage.stop
    source = part.source
    page, section = source.place(start)
    last_page, _ = source.place(stop - 1)
    labels = source.page_label(page), source.page_label(last_page)
    return Span(source.text[start:stop], source.name, page, section, start, stop, score, last_page, *labels)
