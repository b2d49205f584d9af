"""Scores carried by bytes: each byte's owner gives its score, whatever the tokens of both models are."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl_llamacpp.selection.arrays import Floats
from asl_llamacpp.selection.transfer import Spans, transfer


def spans(rows: Any) -> Spans:
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def by_bytes(scores: Floats, theirs: Spans, ours: Spans) -> list[float]:
    """The same, byte by byte."""
    owners = {
        byte: float(score)
        for score, (begin, end) in zip(scores, theirs.tolist(), strict=True)
        for byte in range(begin, end)
    }
    found = []
    for begin, end in ours.tolist():
        bytes_ = [max(begin - 1, 0)] if begin == end else range(begin, end)
        known = [] if begin < 0 else [owners[byte] for byte in bytes_ if byte in owners]
        found.append(max(known, default=float("nan")))
    return found


@st.composite
def tokens(draw: st.DrawFn, n_bytes: int) -> Spans:
    """A text of so many bytes cut anywhere, tokens without bytes among them, tokens that are not of it around them."""
    cuts = sorted(draw(st.lists(st.integers(0, n_bytes), max_size=12)))
    edges = [0, *cuts, n_bytes]
    rows = [(-1, -1)] * draw(st.integers(0, 2))
    rows += list(pairwise(edges))
    return spans(rows + [(-1, -1)] * draw(st.integers(0, 2)))


@given(st.data(), st.integers(1, 40))
def test_each_byte_has_its_owners_score(data: st.DataObject, n_bytes: int) -> None:
    theirs, ours = data.draw(tokens(n_bytes)), data.draw(tokens(n_bytes))
    scores = np.random.default_rng(n_bytes).permutation(len(theirs)).astype(np.float32) - 3
    found = transfer(scores, theirs, ours)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, by_bytes(scores, theirs, ours))
    np.testing.assert_array_equal(np.isnan(found), ours[:, 0] < 0)


@given(st.data(), st.integers(1, 40))
def test_the_same_tokens_have_the_same_scores(data: st.DataObject, n_bytes: int) -> None:
    both = data.draw(tokens(n_bytes))
    scores = np.arange(len(both), dtype=np.float32)
    has_bytes = both[:, 1] > both[:, 0]
    np.testing.assert_array_equal(transfer(scores, both, both)[has_bytes], scores[has_bytes])


def test_what_is_not_covered_has_no_score() -> None:
    found = transfer(np.array([5], np.float32), spans([(2, 4)]), spans([(0, 2), (2, 3), (3, 9), (9, 10)]))
    np.testing.assert_array_equal(found, [np.nan, 5, 5, np.nan])


def test_a_rewritten_character_lies_in_several_tokens() -> None:
    theirs = spans([(0, 1), (1, 4), (1, 4), (4, 5)])
    found = transfer(np.array([1, 2, 7, 3], np.float32), theirs, spans([(0, 1), (1, 2), (2, 4), (4, 5)]))
    np.testing.assert_array_equal(found, [1, 7, 7, 3])


def test_nothing_at_all() -> None:
    none = np.empty(0, np.float32)
    assert transfer(none, spans([]), spans([])).shape == (0,)
    np.testing.assert_array_equal(transfer(none, spans([]), spans([(0, 3), (-1, -1)])), [np.nan, np.nan])


@pytest.mark.parametrize(
    ("n", "theirs", "ours", "named"),
    [
        (2, [(0, 1)], [(0, 1)], "2 scores of 1 tokens"),
        (2, [(1, 2), (0, 1)], [(0, 1)], "theirs"),
        (1, [(0, 1)], [(1, 0)], "ours"),
        (1, [(0, 1)], [(0, 2), (0, 1)], "ours"),
    ],
)
def test_spans_that_are_none_are_refused(n: int, theirs: Any, ours: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        transfer(np.zeros(n, np.float32), spans(theirs), spans(ours))


def test_takes_milliseconds_at_128k() -> None:
    rng = np.random.default_rng(0)
    n_bytes = 600_000

    def cut(n: int) -> Spans:
        edges = np.sort(rng.choice(np.arange(1, n_bytes), n - 1, replace=False))
        return np.stack([np.append(0, edges), np.append(edges, n_bytes)], axis=1)

    theirs, ours = cut(140_000), cut(131_072)
    scores = rng.random(len(theirs), dtype=np.float32)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        transfer(scores, theirs, ours)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05, seconds
