"""The texts of tokens: joined they are the text, and names of a template's tokens are none of it."""

# ruff: noqa: RUF001 - the signs are those of many scripts

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llama_fixtures import load_narrow

from asl_llamacpp import Llama
from asl_llamacpp.selection.units import unit_starts


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    llm = load_narrow()
    yield llm
    llm.close()


@pytest.mark.parametrize(
    "text", ["Plain words, and 3.14.\n\n\tEnd", "我爱北京。天安门。", "🧪🔬 emoji 👩‍🔬", "é à ñ ȴ ⅷ", "\x00\x01"]
)
def test_texts_joined_are_the_text(llm: Llama, text: str) -> None:
    assert llm._engine is not None
    tokens = llm.tokenize(text.encode(), add_bos=False)
    found = llm._engine.vocabulary.texts(tokens)
    assert b"".join(found) == text.encode() == llm.detokenize(tokens)
    assert len(found) == len(tokens)


def test_a_templates_tokens_have_none_and_are_borders(llm: Llama) -> None:
    assert llm._engine is not None
    tokens = llm.tokenize(b"One two<|im_end|><|im_start|>three four", add_bos=False, special=True)
    found = llm._engine.vocabulary.texts(tokens)
    assert found == [b"One", b" two", b"", b"", b"three", b" four"]
    assert unit_starts(found).tolist() == [0, 4]


def test_sentences_of_characters_in_several_tokens(llm: Llama) -> None:
    """No sentence ends within a character, though this vocabulary has most of these in two or three tokens."""
    assert llm._engine is not None
    text = "敏捷的狐狸跳过懒狗。钥匙在门垫下面！它是什么？" * 8
    found = llm._engine.vocabulary.texts(llm.tokenize(text.encode(), add_bos=False))
    assert len(found) > len(text)
    starts = unit_starts(found).tolist()
    pieces = [b"".join(found[a:b]).decode() for a, b in zip(starts, [*starts[1:], len(found)], strict=True)]
    assert pieces == ["敏捷的狐狸跳过懒狗。", "钥匙在门垫下面！", "它是什么？"] * 8
