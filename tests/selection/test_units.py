"""Where a prompt is cut into units: in real sentences of many scripts, and what holds for any tokens."""

# ruff: noqa: RUF001 - the signs are those of many scripts

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl_llamacpp.selection.units import LONGEST, unit_starts


def tokens_of(text: str) -> list[bytes]:
    """Words with the space before them, and signs, as byte-level vocabularies have them."""
    tokens: list[bytes] = []
    for character in text:
        if tokens and character.isalnum() and (tokens[-1].decode()[-1].isalnum() or tokens[-1] == b" "):
            tokens[-1] += character.encode()
        else:
            tokens.append(character.encode())
    return tokens


def units(texts: Sequence[bytes], longest: int = LONGEST) -> list[bytes]:
    starts = unit_starts(texts, longest).tolist()
    return [b"".join(texts[a:b]) for a, b in zip(starts, [*starts[1:], len(texts)], strict=True)]


def cut(text: str) -> list[str]:
    return [unit.decode().strip() for unit in units(tokens_of(text))]


@pytest.mark.parametrize(
    "sentences",
    [
        ["The key is 4711.", "It lies there!", "Does it?", "Yes."],
        ["Dr. J. Smith of the U.S. Army paid 3.14 dollars, i.e. too much.", "Then he left at 5 p.m. or so."],
        ['She asked: "Why?" and went.', '"Because."', "(He knew.)", "So it was … long ago.", "Well... perhaps."],
        ["See Fig. 3 and No. 5.", "He said No.", "Then he went in Oct. 1990."],
        ["Am 3. Oktober 1990 war es so weit.", "Bis zum 19. Jahrhundert galt z. B. Nr. 7 nicht.", "Groß."],
        ["Das ist eine Forêt.", "Élan vital.", "Über alles."],
        ["It says so.[12]", "It does not."],
        ["Он пришёл.", "Она ушла, т. е. уехала.", "Всё!"],
        ["我爱北京。", "「天安门！」", "他说？", "好。"],
        ["これはペンです。", "次です。"],
        ["كيف حالك؟", "أنا بخير.", "شكرا۔"],
        ["यह एक वाक्य है।", "वह दूसरा है॥", "तीसरा"],
        ["እንዴት ነህ።", "ደህና ነኝ።"],
    ],
)
def test_sentences(sentences: list[str]) -> None:
    joined = " ".join(sentences) if sentences[0][-1] != "。" else "".join(sentences)
    assert cut(joined) == sentences


@pytest.mark.parametrize(
    "lines",
    [
        ["# A heading", "Text under it", "- an item", "- another, and more", "1. first", "2. second"],
        ["def f(x: int) -> int:", "return x + 1", "for name in names:", "print(name, file=out)"],
        ["| name | value |\n|---|---|", "| a | 1 |", "| b | 2 |"],
        ["alice,Berlin,34,engineer of bridges", "robert,Paris,27,painter of houses", "carol,Rome,41,maker of books"],
        ["Page one", "Page two"],
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n \n", "\f"])
def test_lines_rows_and_code(lines: list[str], end: str) -> None:
    assert cut(end.join(lines)) == lines


def test_lines_of_a_fixed_width_go_on() -> None:
    text = (
        "   Hacking might be characterized as an appropriate application of\n"
        "   ingenuity. Whether the result is a quick-and-dirty patchwork job or a\n"
        "   carefully crafted work of art, you have to admire the cleverness that\n"
        "   went into it\n\n"
        "   An important secondary meaning of {hack} is a creative practical joke\n"
        "   for people who have the time.\n"
    )
    assert [" ".join(unit.split()) for unit in cut(text)] == [
        "Hacking might be characterized as an appropriate application of ingenuity.",
        "Whether the result is a quick-and-dirty patchwork job or a carefully crafted work of art, "
        "you have to admire the cleverness that went into it",
        "An important secondary meaning of {hack} is a creative practical joke for people who have the time.",
    ]


def test_tokens_without_text_end_a_line() -> None:
    turns = [b"", b"system", b"\n", b"You", b" are", b"", b"\n", b"", b"user", b"\n", b"Text", b" here", b""]
    assert units(turns) == [b"system\n", b"You are\n", b"user\n", b"Text here"]


def test_what_has_no_word_belongs_to_the_unit_before() -> None:
    assert cut("----\n====\nOne.\n----\n\n}\n)\nTwo") == ["----\n====\nOne.\n----\n\n}\n)", "Two"]


def test_a_border_within_a_token_lies_behind_it() -> None:
    assert units([b"One", b'."\n\n', b"Two", b".  ", b"Three"]) == [b'One."\n\n', b"Two.  ", b"Three"]


def test_too_long_units_are_cut_at_the_best_place() -> None:
    words = [b" w"] * 30
    assert [len(unit.split()) for unit in units([*words, b";", *words])] == [30, 30]
    assert units([*words, b",", *words])[0].endswith(b",")
    assert units([*words, b",", b" w", b";", *words])[0].endswith(b";")
    assert [unit.count(b"w") for unit in units(words * 5)] == [37, 38, 37, 38]
    assert [len(unit) for unit in units([b"x"] * 100)] == [33, 33, 34]  # one word: anywhere


def test_a_character_in_several_tokens_is_not_cut() -> None:
    emoji = "🧪".encode()
    found = units([bytes([byte]) for byte in emoji * 40])
    assert all(len(unit) % 4 == 0 for unit in found) and len(found) > 1
    for unit in found:
        unit.decode()


signs = st.sampled_from([b"", b"a", b" b", b".", b". ", b"\n", b"\xe3\x80", b"\x82", b"1", b",", b" "])


@given(st.lists(signs | st.binary(max_size=5)), st.integers(1, 60))
def test_any_tokens(texts: list[bytes], longest: int) -> None:
    starts = unit_starts(texts, longest)
    assert starts.dtype == np.int32
    if not texts:
        assert len(starts) == 0
        return
    assert starts[0] == 0 and (np.diff(starts) > 0).all() and starts[-1] < len(texts)
    assert np.diff(np.append(starts, len(texts))).max() <= longest
    np.testing.assert_array_equal(starts, unit_starts(texts, longest))


@given(st.text("ab。.! \n語🧪é,", max_size=200))
def test_bytes_for_tokens_give_the_borders_of_the_text(text: str) -> None:
    """Where tokens are bytes, borders lie between characters, and are those of tokens that are characters."""
    data = text.encode()
    by_byte = unit_starts([data[i : i + 1] for i in range(len(data))], 10_000)
    by_character = unit_starts([character.encode() for character in text], 10_000)
    begins = np.cumsum([0, *(len(character.encode()) for character in text)])
    np.testing.assert_array_equal(by_byte, begins[by_character])


@pytest.mark.parametrize("text", ["word ", "x", "word\n", "a, ", " ", "\n", ". "])
def test_a_long_prompt_takes_no_time(text: str) -> None:
    """No text makes the search quadratic: 131,072 tokens, perhaps all in one line. 0.2 s on an idle machine."""
    began = time.process_time()
    unit_starts([text.encode()] * 131_072)
    assert time.process_time() - began < 2.0
