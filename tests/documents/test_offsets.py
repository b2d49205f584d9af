"""Where tokens begin in their text: exact where the bytes match, close to it where a tokenizer changed them."""

from __future__ import annotations

import time
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl_llamacpp.documents.offsets import char_offsets

texts = st.text(max_size=80) | st.text("ab é😀\n語.", max_size=80)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of these sizes; the last one takes the rest."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


def words(text: str, pieces: list[bytes]) -> list[str]:
    offsets = char_offsets(text, pieces)
    return [text[start:stop] for start, stop in pairwise(offsets)]


@given(texts, st.lists(st.integers(0, 6), max_size=40), st.booleans())
def test_each_token_has_the_characters_whose_first_byte_it_holds(text: str, sizes: list[int], space: bool) -> None:
    data = b" " * space + text.encode("utf-8", "surrogatepass")
    pieces = cut(data, sizes)
    owners = [token for token, piece in enumerate(pieces) for byte in piece if byte & 0xC0 != 0x80][space:]
    offsets = char_offsets(text, pieces)
    assert offsets.dtype == np.int64
    assert len(owners) == len(text)
    for token, (start, stop) in enumerate(pairwise(offsets)):
        assert owners[start:stop] == [token] * (stop - start)
    assert offsets[-1] == len(text)


@given(texts, st.lists(st.binary(max_size=5) | st.sampled_from([b"a", b" b", b"\n"]), max_size=40))
def test_any_bytes_give_offsets_that_never_decrease_and_stay_within_the_text(text: str, pieces: list[bytes]) -> None:
    offsets = char_offsets(text, pieces)
    assert offsets.shape == (len(pieces) + 1,)
    assert (np.diff(offsets) >= 0).all()
    assert offsets[0] >= 0
    assert offsets[-1] == len(text)


def test_a_tokenizer_that_changes_case_spaces_and_accents() -> None:
    text = "Hello World, this  Is a Café\n\nof Normalised tokens"
    pieces = [b"hello", b" world", b",", b" this", b" is", b" a", b" cafe", b" of", b" normal", b"ised", b" tokens"]
    found = ["Hello", " World", ",", " this", "  Is", " a", " Café", "\n\nof", " Normal", "ised", " tokens"]
    assert words(text, pieces) == found


def test_a_piece_that_is_not_there_does_not_drag_the_others_along() -> None:
    text = "one two three four five six seven " * 40
    pieces = [word.encode() for word in text.split()]
    for at in range(5, 280, 10):
        pieces[at] = b"<unk>"
    offsets = char_offsets(text, pieces)
    starts = np.array([0, *(at + 1 for at, letter in enumerate(text[:-1]) if letter == " ")])
    known = np.array([piece != b"<unk>" for piece in pieces])
    np.testing.assert_array_equal(offsets[:-1][known], starts[known])


def test_a_letter_that_occurs_far_ahead_is_not_taken_for_the_next_token() -> None:
    text = "one two three four five six " * 3 + "zebra " + "seven eight nine ten " * 4
    pieces = [word.encode() for word in text.split()]
    pieces.insert(2, b"z")
    starts = np.array([0, *(at + 1 for at, letter in enumerate(text[:-1]) if letter == " ")])
    np.testing.assert_array_equal(np.delete(char_offsets(text, pieces), 2)[:-1], starts)


def test_decomposed_accents_stay_close() -> None:
    text = "Žluťoučký kůň úpěl ďábelské ódy. " * 50
    pieces = [unicodedata.normalize("NFD", word).encode() for word in text.split()]
    starts = [0, *(at + 1 for at, letter in enumerate(text[:-1]) if letter == " ")]
    assert np.abs(char_offsets(text, pieces)[:-1] - starts).max() <= 8


@pytest.mark.parametrize("text", ["", "abc"])
def test_no_tokens(text: str) -> None:
    assert char_offsets(text, []).tolist() == [len(text)]


def test_a_long_document_takes_no_time() -> None:
    text = "Ein Käfer läuft, 語 und 😀.\n" * 17_000
    pieces = cut(text.encode(), [5] * 110_000)
    began = time.perf_counter()
    char_offsets(text, pieces)
    assert time.perf_counter() - began < 1.0  # 0.05 s on an idle machine
