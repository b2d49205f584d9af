"""Which bytes each token is, in real vocabularies: none is lost or shifted, and what cannot be told is refused."""

# ruff: noqa: RUF001 - the signs are those of many scripts

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vocabularies import BYTE_LEVEL, SENTENCE_PIECE, Vocabulary, released, vocabulary

from asl_llamacpp.documents.byte_spans import byte_spans
from asl_llamacpp.selection.transfer import Spans, transfer

TEXTS = [
    "Plain words, and 3.14.\n\n\tEnd  ",
    "  two spaces before, and   within",
    "我爱北京。天安门。",
    "👩‍🔬 🧪🔬 emoji 🇩🇪",
    "é à ñ ȴ ⅷ ﬁ Ａ",
    "a <|im_start|>user<|im_end|> </s><bos> <0x0A> b",
    "ሰላም ነው። नमस्ते ಕನ್ನಡ 𓀀𓀁",
    "\x00\x01\r\n\x7f",
]
WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cn", "Co", "Cc"], exclude_characters="▁"), max_size=60
) | st.lists(st.sampled_from([*TEXTS, " ", "the ", "THE", "\n", "<s>", "한국", "x"]), max_size=8).map("".join)


@pytest.fixture(scope="module")
def both(smollm2_path: Path, gemma_path: Path) -> tuple[Vocabulary, Vocabulary]:
    return vocabulary(smollm2_path), vocabulary(gemma_path)


def check_owners(text: str, pieces: list[bytes], spans: Spans) -> None:
    """Each token has exactly its own bytes, but for a space that SentencePiece adds before the text."""
    data = text.encode()
    assert len(spans) == len(pieces)
    added = len(b"".join(pieces)) - len(data)
    assert added in (0, 1)
    for i, (begin, end) in enumerate(spans.tolist()):
        of_text = pieces[i][added:] if i == 0 else pieces[i]
        assert data[begin:end] == of_text
    edges = spans.ravel().tolist()
    assert [0, *edges[1::2]] == [*edges[::2], len(data)]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", BYTE_LEVEL + SENTENCE_PIECE)
def test_every_byte_has_one_owner(name: str, text: str) -> None:
    pieces = released(name).pieces(text)
    check_owners(text, pieces, byte_spans(text, pieces, name))


@settings(max_examples=200)
@given(text=WORDS)
@example(text="")
@example(text=" ")
def test_an_owner_in_one_is_an_owner_in_the_other(both: tuple[Vocabulary, Vocabulary], text: str) -> None:
    """Bytes given as scores to their owners in one vocabulary come to the tokens that have them in the other one."""
    mine, yours = (v.pieces(text) for v in both)
    theirs, ours = byte_spans(text, mine, "SmolLM2"), byte_spans(text, yours, "Gemma")
    check_owners(text, mine, theirs)
    check_owners(text, yours, ours)
    numbers = np.arange(len(theirs), dtype=np.float32)
    owner = np.repeat(numbers, theirs[:, 1] - theirs[:, 0])  # of each byte
    found = transfer(numbers, theirs, ours)
    for score, (begin, end) in zip(found.tolist(), ours.tolist(), strict=True):
        if end > begin:
            assert score == owner[begin:end].max()


@given(text=WORDS)
def test_names_of_special_tokens_that_are_meant(both: tuple[Vocabulary, Vocabulary], text: str) -> None:
    """A raw prompt has its template in it: a token's name is its bytes."""
    for model in both:
        pieces = model.pieces(text, special=True)
        spans = byte_spans(text, pieces, "a model")
        assert [text.encode()[a:b] for a, b in spans.tolist()] == pieces


def test_a_vocabulary_that_rewrites_texts_is_refused_by_name() -> None:
    text = "THE CONTRACT BETWEEN BOTH PARTIES ENDS IN MAY. Größe, Élan. " * 20
    with pytest.raises(ValueError, match=r"the tokens of bert are not the text: at byte 0 .* vocabulary"):
        byte_spans(text, released("bert-bge").pieces(text), "bert")


@pytest.mark.parametrize("name", [*SENTENCE_PIECE, "nomic-bert-moe", "gemma-4"])
@pytest.mark.parametrize("changed", ["▁", "▁▁", "Ａ", "ﬁ", "①", "…"])
def test_what_is_rewritten_shifts_nothing(name: str, changed: str) -> None:
    """SentencePiece takes its own sign for a space, NFKC a wide letter for a plain one: all behind it stays."""
    text = f"The first half of it stands here {changed} and here the second one of them."
    pieces = released(name).pieces(text)
    spans = byte_spans(text, pieces, name)
    data = text.encode()
    begin = data.index(changed.encode()) - 1
    end = begin + len(changed.encode()) + 2
    same = [i for i, (a, b) in enumerate(spans.tolist()) if b <= begin or a >= end]
    assert len(same) >= len(pieces) - 6
    for i in same:
        assert data[spans[i, 0] : spans[i, 1]] == (pieces[i] if i else pieces[i].lstrip())
    assert spans[0, 0] == 0 and spans[-1, 1] == len(text.encode())


def test_bytes_that_are_no_text(smollm2_path: Path) -> None:
    """llama.cpp takes a sign for each such byte, which has its place."""
    text = b"half a character \xe5\x8c, and then more of it"
    pieces = vocabulary(smollm2_path).pieces(text)
    assert b"".join(pieces) != text
    spans = byte_spans(text, pieces, "SmolLM2").tolist()
    assert [text[a:b] for a, b in spans[-5:]] == pieces[-5:]


def test_bytes_that_a_vocabulary_lacks(smollm2_path: Path) -> None:
    """SmolLM2 has no 0xF1, with which characters of empty planes begin."""
    text = "before \U00040000 it is, and behind"
    pieces = vocabulary(smollm2_path).pieces(text)
    assert len(b"".join(pieces)) == len(text.encode()) - 1
    spans = byte_spans(text, pieces, "SmolLM2").tolist()
    assert [text.encode()[a:b] for a, b in spans[-4:]] == pieces[-4:]


@pytest.mark.parametrize(("every", "refused"), [(10, True), (40, False)])
def test_a_text_that_is_rewritten_everywhere_is_refused(every: int, refused: bool) -> None:
    words = [str(i).zfill(every - 1) for i in range(200)]
    text, pieces = "".join(f"A{word}" for word in words), [f"a{word}".encode() for word in words]
    if refused:
        with pytest.raises(ValueError, match="rewrites"):
            byte_spans(text, pieces, "x")
    else:
        assert byte_spans(text, pieces, "x")[:, 0].tolist() == list(range(0, 200 * every, every))


def test_a_character_that_a_vocabulary_lacks() -> None:
    """The token for what is unknown stands for it, and nothing behind it is shifted."""
    assert byte_spans("ab☃cdefghijk", [b"ab", b"", b"cde", b"fghijk"], "x").tolist() == [
        [0, 2],
        [2, 5],
        [5, 8],
        [8, 14],
    ]
    assert byte_spans("ab☃cdefghijk", [b"ab", b"cde", b"fghijk"], "x").tolist() == [[0, 2], [5, 8], [8, 14]]
    assert byte_spans("☃", [b""], "x").tolist() == [[0, 3]]
    assert byte_spans("ab☃", [b"ab", b"?"], "x").tolist() == [[0, 2], [2, 5]]


def test_a_character_that_is_written_in_another_way() -> None:
    """Its tokens have all of its bytes, also those that have more than it."""
    text = "the ﬁrst one, and the ﬁfth one"
    pieces = [b"the", b" f", b"irst", b" one, and the", b" ", b"fi", b"fth one"]
    spans = byte_spans(text, pieces, "x").tolist()
    assert [text.encode()[a:b].decode() for a, b in spans] == [
        *("the", " ﬁ", "ﬁrst", " one, and the", " ", "ﬁ", "fth one")
    ]


@pytest.mark.parametrize(("before", "after"), [("", " "), ("  ", ""), (" \n", "\n\n")])
def test_spaces_that_are_taken_from_the_ends(before: str, after: str) -> None:
    text = f"{before}some words{after}"
    spans = byte_spans(text, [b"some", b" words"], "x").tolist()
    assert spans == [[len(before), len(before) + 4], [len(before) + 4, len(before) + 10]]


@given(st.lists(st.binary(max_size=6), max_size=30), st.text(max_size=60))
def test_any_pieces_are_spans_or_refused(pieces: list[bytes], text: str) -> None:
    try:
        spans = byte_spans(text, pieces, "x")
    except ValueError as error:
        assert "the tokens of x are not the text" in str(error)
        return
    n = len(text.encode())
    assert spans.shape == (len(pieces), 2)
    assert (spans >= 0).all() and (spans <= n).all() and (spans[:, 1] >= spans[:, 0]).all()
    transfer(np.zeros(len(spans), np.float32), spans, spans)


def test_takes_milliseconds_at_128k(both: tuple[Vocabulary, Vocabulary]) -> None:
    text = " ".join(TEXTS[:3]) * 300
    pieces = both[0].pieces(text)
    pieces = pieces * (131_072 // len(pieces) + 1)
    whole = b"".join(pieces).decode()
    start = time.process_time()
    byte_spans(whole, pieces, "x")
    assert time.process_time() - start < 0.2, len(pieces)
