"""`Llama`'s own arguments: none is swallowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_cpp import LlamaGrammar
from llama_fixtures import load_narrow, narrow_path

from asl_llamacpp import Llama


@pytest.mark.parametrize(
    ("name", "near"),
    [("kv_budgt", "kv_budget"), ("n_gpu_layer", "n_gpu_layers"), ("chat_template_kwargs", None)],
)
def test_an_unknown_argument_is_named(name: str, near: str | None) -> None:
    with pytest.raises(TypeError, match=f"Llama has no argument '{name}'" + (f": did you mean {near}" if near else "")):
        Llama(narrow_path(), **{name: 1})  # type: ignore[arg-type]


def test_a_path_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(narrow_path())
    monkeypatch.setenv("HOME", str(path.parent))
    for given in (path, f"~/{path.name}"):
        assert Llama(given, vocab_only=True, verbose=False).model_path == str(path)


@pytest.mark.parametrize("text", ["root ::= (", "a ::= 'x'", "root ::= nothing", 'root ::= root "a" | "b"'])
def test_a_wrong_grammar_is_an_error_and_not_the_end(text: str) -> None:
    llm = load_narrow(kv_policy="full", n_ctx=256)
    for stream in (False, True):
        with pytest.raises(ValueError, match="cannot be parsed"):
            list(llm.create_completion("Hi", grammar=LlamaGrammar.from_string(text), stream=stream))
    assert llm("Hi", max_tokens=1)["usage"]["completion_tokens"] == 1
