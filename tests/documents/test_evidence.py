"""What the selection kept, as passages: they are where they say, hold every kept word, and the telling ones lead."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asl_llamacpp.documents.evidence import FIRST_TOKENS, Span, attention, spans, top_tokens
from asl_llamacpp.documents.passages import LONGEST, SENTENCE_ROOM
from asl_llamacpp.documents.text import Part


@dataclass(frozen=True)
class Text:
    name: str
    text: str

    def place(self, offset: int) -> tuple[int | None, str | None]:
        return 1 + offset // 100, None


Document = tuple[list[Part], NDArray[np.int64], NDArray[np.bool_], NDArray[np.float32]]
letters = st.text("ab 1.\né-語", max_size=60) | st.text(max_size=30) | st.just("Ab cd. " * 150)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Parts with separators between them, tokens of any length over all of it, any selection and scores."""
    parts, at = [], draw(st.integers(0, 5))
    for number in range(draw(st.integers(0, 3))):
        text = draw(letters)
        start = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, len(text) - start))
        parts.append(Part(Text(f"file {number}", text), at, start, length))
        at += length + draw(st.integers(0, 5))
    steps = draw(st.lists(st.integers(0, 7), max_size=60))
    offsets = np.minimum(np.cumsum([0, *steps]), at)
    offsets[-1] = at if len(offsets) > 1 else 0
    n = len(offsets) - 1
    kept = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    scores = np.array(draw(st.lists(st.floats(0, 9, width=32), min_size=n, max_size=n)), np.float32)
    return parts, offsets, kept, scores


@given(documents(), st.integers(0, 9))
def test_passages_are_where_they_say_and_ranked(document: Document, gap: int) -> None:
    parts, offsets, kept, scores = document
    found = spans(kept, scores, offsets, parts, gap)
    by_name = {part.source.name: part for part in parts}
    for span in found:
        part = by_name[span.source]
        assert part.start_in_source <= span.start < span.end <= part.start_in_source + part.length
        assert span.text == part.source.text[span.start : span.end] == span.text.strip()
        assert any(map(str.isalnum, span.text))
        assert span.page == 1 + span.start // 100
        assert len(span.text) <= LONGEST + 2 * SENTENCE_ROOM
    order = [(-span.score, span.source, span.start) for span in found]
    assert order == sorted(order)
    assert all(0 <= span.score <= 1 for span in found)
    assert not found or found[0].score in (0, 1)
    covered = [(span.source, at) for span in found for at in range(span.start, span.end)]
    assert len(set(covered)) == len(covered), "passages overlap"


@given(documents(), st.integers(0, 9))
def test_each_kept_letter_is_in_a_passage(document: Document, gap: int) -> None:
    parts, offsets, kept, scores = document
    covered = {(s.source, at) for s in spans(kept, scores, offsets, parts, gap) for at in range(s.start, s.end)}
    for token in np.flatnonzero(kept):
        for at in range(offsets[token], offsets[token + 1]):
            for part in parts:
                here = at - part.start_in_document
                if 0 <= here < part.length and part.text[here].isalnum():
                    assert (part.source.name, here + part.start_in_source) in covered


# --- what a reader sees ----------------------------------------------------------------------------------


def ask(text: str, scores: dict[str, float], **options: int) -> list[Span]:
    """Passages of `text` with a token for each character, keeping the words of `scores` (their first place)."""
    kept, values = np.zeros(len(text), bool), np.zeros(len(text), np.float32)
    for word, score in scores.items():
        at = text.index(word)
        kept[at : at + len(word)], values[at : at + len(word)] = True, score
    part = Part(Text("notes.txt", text), 0, 0, len(text))
    return spans(kept, values, np.arange(len(text) + 1), [part], **options)


FILLER = "Nothing of note happened that year, and the winter was long and mild. " * 4


def test_a_passage_is_widened_to_its_sentence() -> None:
    found = ask(FILLER + "The key is under the mat. " + FILLER, {"under": 1.0})
    assert [span.text for span in found] == ["The key is under the mat."]


def test_a_long_sentence_is_widened_to_words_only() -> None:
    clause = "and then, as nobody had expected, another thing took place, "
    found = ask(clause * 5 + "the password became swordfish, " + clause * 5, {"word became sword": 1.0})
    assert [span.text for span in found] == ["password became swordfish,"]


def test_a_passage_does_not_cross_a_line_to_find_its_sentence() -> None:
    assert ask("A title\nthe value is 12\nmore text", {"value": 1.0})[0].text == "the value is 12"


def test_gaps_are_bridged_as_far_as_merge_gap() -> None:
    text = "One thing. Two. Another thing."
    picked = {"thing.": 1.0, "Another": 0.5}
    assert len(ask(text, picked, merge_gap=7)) == len(ask(text, picked, merge_gap=6)) - 1 == 1


def test_a_long_run_is_cut_and_its_best_piece_leads() -> None:
    text = FILLER + "The safe opens with 4711. " + FILLER
    kept = np.ones(len(text), bool)
    scores = np.full(len(text), 0.01, np.float32)
    scores[text.index("4711") :][:4] = 1
    found = spans(kept, scores, np.arange(len(text) + 1), [Part(Text("a", text), 0, 0, len(text))])
    assert len(found) > 1
    assert "4711" in found[0].text
    assert len(found[0].text) < LONGEST
    assert found[0].text[0] in "NT"
    assert found[0].text.endswith(".")


def test_a_long_run_is_cut_where_the_attention_is_weakest() -> None:
    text = " ".join(f"This is sentence number {number}." for number in range(10, 30))
    scores = np.full(len(text), 0.5, np.float32)
    low = text.index("This is sentence number 22.")
    scores[low - 9 : low + 9] = 0.1
    found = spans(np.ones(len(text), bool), scores, np.arange(len(text) + 1), [Part(Text("a", text), 0, 0, len(text))])
    assert len(found) == 2
    assert low in [span.start for span in found]


def test_first_tokens_and_punctuation_do_not_lead() -> None:
    text = "Once there was. " + FILLER + "\n-----\n" + FILLER + "The key is 4711. " + FILLER
    found = ask(text, {"Once": 90.0, "\n-----\n": 50.0, "4711": 1.0})
    assert [span.text for span in found] == ["The key is 4711.", "Once there was."]
    assert [span.score for span in found] == [1.0, 0.0]


def test_last_tokens_count_less_and_less() -> None:
    weights = attention(np.ones(1000, np.float32))
    assert weights[:FIRST_TOKENS].tolist() == [0] * FIRST_TOKENS
    assert (weights[FIRST_TOKENS:-64] == 1).all()
    assert (np.diff(weights[-65:]) < 0).all()
    assert 0 < weights[-1] < 0.02


def test_most_takes_the_best() -> None:
    text = FILLER.join(["", "First fact here. ", "Second fact there. ", ""])
    picked = {"First fact": 0.5, "Second fact": 1.0}
    assert [span.text for span in ask(text, picked, most=1)] == ["Second fact there."]
    assert len(ask(text, picked)) == 2


def test_a_token_over_a_border_counts_for_both_sides_and_separators_for_none() -> None:
    left, right = Text("left", "xx alpha"), Text("right", "beta yy")
    parts = [Part(left, 0, 0, 8), Part(right, 11, 0, 7)]  # xx alpha|---|beta yy
    offsets = np.array([0, 3, 13, 18])
    found = spans(np.array([False, True, False]), np.ones(3, np.float32), offsets, parts)
    assert [(span.source, span.text) for span in found] == [("left", "xx alpha"), ("right", "beta yy")]


@pytest.mark.parametrize("lengths", [(3, 4, 4), (4, 3, 4), (3, 3, 3)])
def test_arrays_that_do_not_fit_are_refused(lengths: tuple[int, int, int]) -> None:
    kept, scores, offsets = (np.zeros(length) for length in lengths)
    with pytest.raises(ValueError, match=r"n, n and n \+ 1"):
        spans(kept.astype(bool), scores.astype(np.float32), offsets.astype(np.int64), [])


def test_top_tokens() -> None:
    scores = np.array([1, 5, 5, 0], np.float32)
    assert top_tokens(scores, 0.25).tolist() == [False, True, False, False]
    assert top_tokens(scores, 0.3).tolist() == [False, True, True, False]
    assert top_tokens(scores, 1).all()
    assert top_tokens(scores[:0], 0.5).tolist() == []
    for share in (0, -1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="share"):
            top_tokens(scores, share)


def test_a_long_document_takes_no_time() -> None:
    n, text = 100_000, "Some words are kept, and some are not. " * 10_500
    scores = np.random.default_rng(0).random(n).astype(np.float32)
    part = Part(Text("long", text), 0, 0, 4 * n)
    began = time.perf_counter()
    assert len(spans(top_tokens(scores, 0.05), scores, np.arange(n + 1) * 4, [part])) > 500
    assert time.perf_counter() - began < 2.0  # 0.1 s on an idle machine


@pytest.mark.parametrize(
    ("page", "section", "where"),
    [
        (3, "Costs", "notes.pdf · page 3 · Costs · attention 0.71"),
        (3, None, "notes.pdf · page 3 · attention 0.71"),
        (None, "Costs", "notes.pdf · Costs · attention 0.71"),
        (None, None, "notes.pdf · attention 0.71"),
    ],
)
def test_the_place_in_words(page: int | None, section: str | None, where: str) -> None:
    assert Span("text", "notes.pdf", page, section, 0, 4, 0.7123).where == where
