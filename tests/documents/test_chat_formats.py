"""Chat formats and handlers that a `Llama` is given: a document's prompt is what they make of it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from llama_cpp.llama_chat_format import Jinja2ChatFormatter, Llava15ChatHandler
from llama_fixtures import load

from asl_llamacpp import Llama
from asl_llamacpp.documents.chat_prompt import frame, has_chat_template
from asl_llamacpp.documents.query import Query, prompt_tokens
from asl_llamacpp.documents.saved_document import template_hash
from asl_llamacpp.documents.turns import Turn

VOCAB: dict[str, Any] = {"kv_policy": "full", "vocab_only": True}


@pytest.fixture(params=["smollm2_path", "gemma_path"])  # a template in its file; a base model
def model(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def handler() -> Any:
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    return Jinja2ChatFormatter(template, eos_token="", bos_token="").to_chat_handler()


def whole(llm: Llama) -> str:
    return llm.detokenize(prompt_tokens(llm, Query("The key is red.", "Which?")), special=True).decode()


@pytest.mark.parametrize(
    ("given", "begin", "end"),
    [
        ("chatml", "<|im_start|>user\nThe key is red.", "Which?<|im_end|>\n<|im_start|>assistant"),
        ("llama-2", "[INST]The key is red.", "Which?  [/INST]"),  # also the parent's fallback
        (handler, "<user>The key is red.", "Which?<assistant>"),
    ],
)
def test_it_stands_around_the_document(model: Path, given: Any, begin: str, end: str) -> None:
    chosen = {"chat_format": given} if isinstance(given, str) else {"chat_handler": given()}
    llm = load(model, **VOCAB, **chosen)
    text = whole(llm)
    assert begin in text and text.rstrip().endswith(end)
    pieces = frame(llm, "Which?", [Turn("Who?", "She.")]).after
    assert [text for text, special in pieces if not special] == ["Who?", "She.", "Which?"]


def test_a_base_model_without_any_is_asked_in_plain_text(gemma_path: Path) -> None:
    llm = load(gemma_path, **VOCAB)
    for base in (llm, pickle.loads(pickle.dumps(llm))):
        assert not has_chat_template(base)
        assert whole(base).endswith("The key is red.\n\nQuestion: Which?\nAnswer:")
    llm.chat_format = "chatml"
    assert "<|im_start|>" in whole(llm) and "<|im_start|>" in whole(pickle.loads(pickle.dumps(llm)))


def test_documents_are_saved_for_one_format(gemma_path: Path) -> None:
    formats = [None, "llama-2", "chatml"]
    assert len({template_hash(load(gemma_path, **VOCAB, chat_format=name)) for name in formats}) == 3


def test_what_cannot_be_used_is_refused(model: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot render the prompt: .*dance"):
        frame(load(model, **VOCAB, chat_format="dance"), "Which?")

    class Images(Llava15ChatHandler):
        def __init__(self) -> None:  # needs no projector to be refused
            pass

    with pytest.raises(ValueError, match="open the model without chat_handler="):
        frame(load(model, **VOCAB, chat_handler=Images()), "Which?")
