"""What of a document the selection kept, as passages of its sources, ranked by attention.

For a question, ASL picks at one layer the tokens that go deeper, by the attention that the last tokens of the prompt
pay them. The passages here show what the model was allowed to see in the deeper layers. They are no proof: whether
the answer uses a passage, and whether it reads it rightly, is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..selection.ranks import rank
from .passages import letters_before, passages
from .text import Part

FIRST_TOKENS = 4
"""The first tokens of a document draw attention whatever they say, so they count nothing for a passage's score."""

LAST_TOKENS = 64
"""Tokens shortly before the question are favoured for being near: the last ones count less and less, down to 0."""


@dataclass(frozen=True)
class Span:
    """A passage of a source, of which the selection kept at least a word.

    `start` and `end` are character offsets in the source's text: source.text[start:end] == text. `page` and `section`
    are those of its begin. `score`, 0 to 1, is the largest pooled attention among its kept tokens, relative to the
    largest of the document; `attention` says which tokens count.
    """

    text: str
    source: str
    page: int | None
    section: str | None
    start: int
    end: int
    score: float

    @property
    def where(self) -> str:
        """As "notes.pdf · page 3 · Costs · attention 0.71"."""
        place = place_text(self.page, self.section)
        return " · ".join(filter(None, (self.source, place, f"attention {self.score:.2f}")))


def place_text(page: int | None, section: str | None) -> str:
    """As "page 3 · Costs"; empty where neither is known."""
    return " · ".join(([f"page {page}"] if page is not None else []) + ([section] if section else []))


def top_tokens(scores: NDArray[np.float32], share: float) -> NDArray[np.bool_]:
    """The best `share` (0 to 1) of tokens by `scores`, float32 [n]: bool [n], at least one token if there is any.

    It stands in for the selection where nothing was pruned. Of equal scores the lower position comes first.

    Raises:
        ValueError: `share` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, not {share:g}")
    kept: NDArray[np.bool_] = rank(scores) <= np.ceil(share * len(scores))
    return kept


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


def spans(
    kept: NDArray[np.bool_],
    scores: NDArray[np.float32],
    offsets: NDArray[np.int64],
    parts: Sequence[Part],
    merge_gap: int = 8,
    most: int | None = None,
) -> list[Span]:
    """The passages that the selection kept, best first; of equal scores the earlier one. `most` of them, or all.

    A passage is a run of kept tokens, over gaps of at most `merge_gap` tokens, widened to whole words and, where it
    costs little, to whole sentences. A long run is cut at sentence ends. Passages do not overlap, none crosses the
    border of a part, and each kept token with a letter or digit of a part is in one.

    Args:
        kept: bool [n], which of the document's tokens went deeper.
        scores: float32 [n], pooled attention at the selection layer, 0 for tokens without.
        offsets: integers [n + 1], where each token begins in the document, as `char_offsets` gives them.
        parts: what the document is made of, by position; text between parts belongs to no source.

    Raises:
        ValueError: the lengths of the arrays do not fit each other.
    """
    check_lengths(kept, scores, offsets)
    weighted = attention(scores)
    found: list[tuple[float, Part, int, int]] = []
    for part in parts:
        begin, end = part.start_in_document, part.start_in_document + part.length
        first = max(int(np.searchsorted(offsets, begin, side="right")) - 1, 0)
        last = int(np.searchsorted(offsets, end, side="left"))
        text, local = part.text, np.clip(offsets[first : last + 1], begin, end) - begin
        if len(local) < 2:
            continue
        letters = letters_before(text)[local]
        words = kept[first:last] & (letters[1:] > letters[:-1])
        value = np.where(words, weighted[first:last], 0)
        for start, stop, score in passages(text, words, value, local, merge_gap):
            found.append((score, part, start, stop))
    largest = max((score for score, *_ in found), default=0.0)
    found.sort(key=lambda entry: -entry[0])
    return [_span(part, start, stop, score / largest if largest else 0.0) for score, part, start, stop in found[:most]]


def check_lengths(kept: NDArray[np.bool_], scores: NDArray[np.float32], offsets: NDArray[np.int64]) -> None:
    """Raises ValueError where the arrays are not [n], [n] and [n + 1]."""
    if not len(kept) == len(scores) == len(offsets) - 1:
        raise ValueError(
            f"kept, scores and offsets must have lengths n, n and n + 1, not {len(kept)}, {len(scores)}, {len(offsets)}"
        )


def _span(part: Part, start: int, stop: int, score: float) -> Span:
    shift = part.start_in_source
    page, section = part.source.place(shift + start)
    return Span(part.text[start:stop], part.source.name, page, section, shift + start, shift + stop, score)
