"""Scores of one model's tokens carried to another's, by the bytes of the text that both have."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats

Spans: TypeAlias = NDArray[np.int64]
"""[n, 2]: the byte that each token begins with in a text, and the one behind its last, neither ever decreasing. A byte
is in two tokens only where a vocabulary writes a text in another way. A row of twice the same byte is a token without
bytes; (-1, -1) is one that is not of the text."""

OUTSIDE = -1


def transfer(scores: Floats, theirs: Spans, ours: Spans) -> Floats:
    """Scores of `ours`, float32 [n]: of each token the largest score of `theirs` that it has a byte in common with.

    A token without bytes has the score of the one that holds the byte before it, or at the text's beginning the byte
    behind it. nan where there is no score: the token is not of the text, or no token of `theirs` covers it.

    scores  float32 [m], finite; those of tokens that are not of the text, or without bytes, do not count
    theirs  int64 [m, 2], of the tokens that were scored
    ours    int64 [n, 2]

    Raises ValueError for spans that are not in order, or not as many as the scores.
    """
    if len(scores) != len(theirs):
        raise ValueError(f"{len(scores)} scores of {len(theirs)} tokens")
    _check(theirs, "theirs")
    _check(ours, "ours")
    found = np.full(len(ours), np.nan, dtype=np.float32)
    owners = np.flatnonzero(theirs[:, 1] > theirs[:, 0])
    inside = np.flatnonzero(ours[:, 0] != OUTSIDE)
    if not (owners.size and inside.size):
        return found
    begins, ends = theirs[owners].T
    wanted_begins, wanted_ends = _with_a_byte(ours[inside]).T
    first = np.searchsorted(ends, wanted_begins, side="right")
    behind = np.searchsorted(begins, wanted_ends, side="left")
    covered = behind > first
    padded = np.append(scores[owners].astype(np.float32, copy=False), np.float32(-np.inf))  # `behind` may be its end
    ranges = np.stack([first[covered], behind[covered]], axis=1).ravel()
    if ranges.size:
        found[inside[covered]] = np.maximum.reduceat(padded, ranges)[::2]
    return found


def _with_a_byte(spans: Spans) -> Spans:
    """Each span with at least one byte: the one before it, or the first one of the text."""
    begins = np.where(spans[:, 0] == spans[:, 1], np.maximum(spans[:, 0] - 1, 0), spans[:, 0])
    return np.stack([begins, np.maximum(spans[:, 1], begins + 1)], axis=1)


def _check(spans: Spans, name: str) -> None:
    inside = spans[spans[:, 0] != OUTSIDE]
    if (inside[:, 1] < inside[:, 0]).any() or (np.diff(inside, axis=0) < 0).any():
        raise ValueError(f"the spans of {name} are not in order")
