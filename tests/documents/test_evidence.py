"""What the selection kept, as passages: they are where they say, hold every kept word, and the telling ones lead."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asl_llamacpp.documents.attention import Attention
from asl_llamacpp.documents.evidence import FIRST_TOKENS, FOLLOWS, Span, attention, ranked, scored_passages
from asl_llamacpp.documents.passages import LONGEST
from asl_llamacpp.documents.text import Part
from asl_llamacpp.selection.units import unit_starts
from asl_llamacpp.sources.source import Source, make_marks

PAGE = 100


def paged(name: str, text: str) -> Source:
    """A source with pages of 100 characters."""
    return Source(name, text, make_marks(range(0, max(len(text), 1), PAGE), []))


Document = tuple[list[Part], NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_], NDArray[np.float32]]
letters = st.text("ab 1.\né-語", max_size=60) | st.text(max_size=30) | st.just("Ab cd. " * 150)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Parts with separators between them, tokens of any length over all of it, any selection and scores."""
    parts, at = [], draw(st.integers(0, 5))
    for number in range(draw(st.integers(0, 3))):
        text = draw(letters)
        start = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, len(text) - start))
        parts.append(Part(paged(f"file {number}", text), at, start, length))
        at += length + draw(st.integers(0, 5))
    steps = draw(st.lists(st.integers(0, 7), max_size=60))
    offsets = np.minimum(np.cumsum([0, *steps]), at)
    offsets[-1] = at if len(offsets) > 1 else 0
    n = len(offsets) - 1
    kept = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    scores = np.array(draw(st.lists(st.floats(0, 9, width=32), min_size=n, max_size=n)), np.float32)
    begins = sorted({0, *draw(st.lists(st.integers(0, max(n - 1, 0)), max_size=20))}) if n else []
    return parts, offsets, np.array(begins, np.int32), kept, scores


@given(documents())
def test_passages_are_where_they_say_and_ranked(document: Document) -> None:
    parts, offsets, starts, kept, scores = document
    found = ranked(kept, scores, offsets, starts, parts)
    by_name = {part.source.name: part for part in parts}
    for span in found.spans:
        part = by_name[span.source]
        assert part.start_in_source <= span.start < span.end <= part.start_in_source + part.length
        assert span.text == part.source.text[span.start : span.end] == span.text.strip()
        assert any(map(str.isalnum, span.text))
        assert (span.page, span.last_page) == (1 + span.start // PAGE, 1 + (span.end - 1) // PAGE)
    order = [(-span.score, span.source, span.start) for span in found.spans]
    assert order == sorted(order)
    assert all(0 <= span.score <= 1 for span in found.spans)
    assert not found.spans or found.spans[0].score == (found.largest > 0)
    covered = [(span.source, at) for span in found.spans for at in range(span.start, span.end)]
    assert len(set(covered)) == len(covered), "passages overlap"


@given(documents())
def test_each_kept_letter_is_in_a_passage(document: Document) -> None:
    parts, offsets, starts, kept, scores = document
    found = ranked(kept, scores, offsets, starts, parts).spans
    covered = {(span.source, at) for span in found for at in range(span.start, span.end)}
    for token in np.flatnonzero(kept):
        for at in range(offsets[token], offsets[token + 1]):
            for part in parts:
                here = at - part.start_in_document
                if 0 <= here < part.length and part.text[here].isalnum():
                    assert (part.source.name, here + part.start_in_source) in covered


# --- what a reader sees ----------------------------------------------------------------------------------


def seen(source: Source, scores: dict[str, float]) -> Attention:
    """A text with a token for each character, of which the words of `scores` were kept (their first place)."""
    text = source.text
    kept, values = np.zeros(len(text), bool), np.zeros(len(text), np.float32)
    for word, score in scores.items():
        at = text.index(word)
        kept[at : at + len(word)], values[at : at + len(word)] = True, score
    starts = unit_starts([character.encode() for character in text], 10 * LONGEST)
    return Attention([Part(source, 0, 0, len(text))], np.arange(len(text) + 1), starts, values, kept, 12)


def ask(text: str, scores: dict[str, float]) -> list[Span]:
    return seen(Source("notes.txt", text), scores).evidence


FILLER = "Nothing of note happened that year, and the winter was long and mild. " * 4


def test_a_passage_is_a_sentence() -> None:
    found = ask(FILLER + "The key is under the mat. " + FILLER, {"under": 1.0})
    assert [span.text for span in found] == ["The key is under the mat."]


def test_a_long_sentence_is_whole() -> None:
    clause = "and then, as nobody had expected, another thing took place, "
    sentence = clause.capitalize() + clause * 4 + "the password became swordfish, " + clause * 5 + "and so on."
    found = ask(FILLER + sentence + " " + FILLER, {"word became sword": 1.0})
    assert [span.text for span in found] == [sentence]


def test_a_line_is_a_passage() -> None:
    assert ask("A title\nthe value is 12\nmore text", {"value": 1.0})[0].text == "the value is 12"


@pytest.mark.parametrize(("between", "more"), [(" ", FOLLOWS * 2.5), ("\n", FOLLOWS * 2.5), ("\n\n", 0.0)])
def test_a_passage_has_a_share_of_what_it_follows(between: str, more: float) -> None:
    """In its own paragraph: it may say "it" for what was named there."""
    text = f"{FILLER}One thing is known.{between}Another is strange. {FILLER}"
    found = ask(text, {f"known.{between}Another": 0.5, "range": 1.0})
    assert [span.text for span in found] == ["Another is strange.", "One thing is known."]
    # of 5 letters, and of the best 8 of 12
    assert [span.score for span in found] == [1.0, pytest.approx(2.5 / (6.5 + more))]


def test_what_follows_is_not_handed_on() -> None:
    text = "The key is here. And here it stays. Nothing more is known. Nobody asks for it."
    passages = seen(Source("a", text), {"key": 1.0})
    scores = [one.score for one in scored_passages(passages.scores, passages.offsets, passages.starts, passages.parts)]
    assert scores == [3 / 8, pytest.approx(FOLLOWS * 3 / 8), 0.0, 0.0]


@pytest.mark.parametrize("stop", ["", "."])
def test_a_passage_has_one_page_and_section_those_of_its_strongest_token(stop: str) -> None:
    """A selection over a page border: what stands on page 3 is not cited as page 2, whether a sentence ends there."""
    terms = f"The contract runs for a year and may be ended in May, with notice to both parties in writing{stop}"
    text = f"{terms}\nFees\nThe yearly fee is 30 euros. Nothing else is owed."
    at = text.index("Fees")
    source = Source("contract.pdf", text, make_marks([0, 0, at], [(0, "Terms"), (at, "Fees")]))
    found = seen(source, {f"in writing{stop}\nFees\nThe yearly": 0.5, "30 euros": 1.0}).evidence
    assert [(span.page, span.section) for span in found if "30 euros" in span.text] == [(3, "Fees")]
    assert {(span.text, span.page, span.section) for span in found} == {
        (terms, 2, "Terms"), ("Fees", 3, "Fees"), ("The yearly fee is 30 euros.", 3, "Fees"),
    }  # fmt: skip
    assert found[0].text == "The yearly fee is 30 euros."


@pytest.mark.parametrize("between", [" ", "\n\n", "\n"])
@pytest.mark.parametrize("middle", ["two", "two,"])
def test_a_sentence_that_goes_on_over_a_page_is_one_passage(between: str, middle: str) -> None:
    sentence = f"One sentence goes on over {middle}{between}pages of it and ends there."
    text = f"Before it. {sentence} Behind it."
    source = Source("a.pdf", text, make_marks([0, text.index("pages")], []), page_labels=("iv", "v"))
    found = seen(source, {"goes on": 0.5, "ends": 1.0, "Behind": 0.25}).evidence
    assert [(span.text, span.page, span.last_page, span.pages) for span in found] == [
        (sentence, 1, 2, "pages iv-v (sheets 1-2)"), ("Behind it.", 2, 2, "page v (sheet 2)")
    ]  # fmt: skip


@pytest.mark.parametrize("middle", ["two.\n\npages", "two\n\nPages", "2\n\n3 pages", "two:\n\n- pages"])
def test_a_page_ends_a_passage_where_its_sentence_may_end(middle: str) -> None:
    text = f"One sentence goes on over {middle} of it and ends there."
    before, after = text.split("\n\n")
    source = Source("a.pdf", text, make_marks([0, text.index(after)], []))
    found = seen(source, {"goes on": 0.5, "ends": 1.0}).evidence
    assert {(span.text, span.pages) for span in found} == {(before, "page 1"), (after, "page 2")}


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


def test_a_token_over_a_border_counts_for_both_sides_and_separators_for_none() -> None:
    left, right = Source("left", "xx alpha"), Source("right", "beta yy")
    parts = [Part(left, 0, 0, 8), Part(right, 11, 0, 7)]  # xx alpha|---|beta yy
    offsets = np.array([0, 3, 13, 18])
    starts = np.array([0], np.int32)
    found = ranked(np.array([False, True, False]), np.ones(3, np.float32), offsets, starts, parts).spans
    assert [(span.source, span.text) for span in found] == [("left", "xx alpha"), ("right", "beta yy")]


@pytest.mark.parametrize("lengths", [(3, 4, 4), (4, 3, 4), (3, 3, 3)])
def test_arrays_that_do_not_fit_are_refused(lengths: tuple[int, int, int]) -> None:
    kept, scores, offsets = (np.zeros(length) for length in lengths)
    with pytest.raises(ValueError, match=r"n, n and n \+ 1"):
        ranked(kept.astype(bool), scores.astype(np.float32), offsets.astype(np.int64), np.zeros(1, np.int32), [])


@pytest.mark.parametrize(
    ("text", "pruned", "says"),
    [
        (FILLER, True, "The model was allowed to see these passages in its deeper layers; they are ranked by the"),
        (FILLER, False, "Nothing was pruned: the model saw the whole text in all layers. These passages are its best"),
        ("Two words. And more.", True, "The text is too short to rank its passages by the attention"),
        ("Two words. And more.", False, "at layer 12: nothing was pruned. This is no proof"),
        ("", False, "too short to rank"),
    ],
)
def test_it_says_what_it_is(text: str, pruned: bool, says: str) -> None:
    offsets, scores = np.arange(len(text) + 1), np.ones(len(text), np.float32)
    starts = unit_starts([character.encode() for character in text])
    kept = np.ones(len(text), np.bool_) if pruned else None
    found = Attention([Part(Source("a", text), 0, 0, len(text))], offsets, starts, scores, kept, 12)
    assert says in found.note
    assert "This is no proof that the answer rests on them." in found.note


def test_where_nothing_was_pruned_the_best_units_are_shown() -> None:
    text = "".join(f"Sentence number {number} is here. " for number in range(10, 50))
    scores = np.zeros(len(text), np.float32)
    for number, score in ((20, 2.0), (30, 3.0), (40, 1.0)):
        scores[text.index(f"number {number}") :][:9] = score
    starts = unit_starts([character.encode() for character in text])
    found = Attention([Part(Source("a", text), 0, 0, len(text))], np.arange(len(text) + 1), starts, scores, None, 12)
    assert [span.text for span in found.evidence[:4]] == [f"Sentence number {n} is here." for n in (30, 20, 31, 40)]
    assert 0 <= found.shown.sum() - len(text) / 8 < len("Sentence number 10 is here. ")


def test_a_long_document_takes_no_time() -> None:
    n, text = 100_000, "Some words are kept, and some are not. " * 10_500
    random = np.random.default_rng(0)
    scores, kept = random.random(n).astype(np.float32), random.random(n) < 0.05
    part = Part(Source("long", text), 0, 0, 4 * n)
    began = time.process_time()
    starts = np.arange(0, n, 10, dtype=np.int32)
    assert len(ranked(kept, scores, np.arange(n + 1) * 4, starts, [part]).spans) > 500
    assert time.process_time() - began < 5.0  # 0.4 s on an idle machine


@pytest.mark.parametrize(
    ("pages", "section", "where"),
    [
        ((3, 3, None, None), "Costs", "notes.pdf · page 3 · Costs · attention 0.71"),
        ((3, 3, None, None), None, "notes.pdf · page 3 · attention 0.71"),
        ((3, 4, None, None), None, "notes.pdf · pages 3-4 · attention 0.71"),
        ((6, 6, "iv", "iv"), None, "notes.pdf · page iv (sheet 6) · attention 0.71"),
        ((6, 8, "iv", None), None, "notes.pdf · pages iv-8 (sheets 6-8) · attention 0.71"),
        ((None, None, None, None), "Costs", "notes.pdf · Costs · attention 0.71"),
        ((None, None, None, None), None, "notes.pdf · attention 0.71"),
    ],
)
def test_the_place_in_words(
    pages: tuple[int | None, int | None, str | None, str | None], section: str | None, where: str
) -> None:
    first, *more = pages
    assert Span("text", "notes.pdf", first, section, 0, 4, 0.7123, *more).where == where
