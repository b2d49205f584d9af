"""LlamaIndex, Haystack and guidance, where they are installed."""

from __future__ import annotations

from typing import Any

import pytest
from llama_fixtures import load_narrow
from served import TEXT

from asl_llamacpp import Document, Llama

QUESTION = "What is the pass key?"


def test_llama_index(llm: Llama, document: Document) -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core.llms import ChatMessage

    from asl_llamacpp.integrations.llama_index import ASL

    own = document.ask(QUESTION, max_tokens=3)
    model = ASL(llm=llm, document=document, max_tokens=3)
    found = model.complete(QUESTION)
    assert found.text.strip() == own.text
    assert [span["start"] for span in found.additional_kwargs["evidence"]] == [span.start for span in own.evidence]
    assert [piece.text for piece in model.stream_complete(QUESTION)][-1].strip() == own.text
    assert model.chat([ChatMessage(role="user", content=QUESTION)]).message.content.strip() == own.text
    assert model.metadata.context_window == llm.n_ctx()
    assert ASL(llm=llm, max_tokens=2).complete("Hi").text


def test_haystack(llm: Llama, document: Document) -> None:
    pytest.importorskip("haystack")
    from haystack import Document as HaystackDocument
    from haystack import Pipeline
    from haystack.dataclasses import ChatMessage

    from asl_llamacpp.integrations.haystack import ASLChatGenerator

    own = document.ask(QUESTION, max_tokens=3)
    pipeline = Pipeline()
    pipeline.add_component("llm", ASLChatGenerator(llm, document, max_tokens=3))
    found: Any = pipeline.run({"llm": {"messages": [ChatMessage.from_user(QUESTION)]}})["llm"]
    assert found["replies"][0].text == own.text
    assert [passage.content for passage in found["evidence"]] == [span.text for span in own.evidence]
    brought = [HaystackDocument(content=TEXT[:1000]), HaystackDocument(content="The end.")]
    plain = ASLChatGenerator(llm, max_tokens=2)
    assert plain.run([ChatMessage.from_user(QUESTION)], documents=brought)["evidence"]
    assert plain.run([ChatMessage.from_user("Hi")])["evidence"] == []


def test_guidance_is_refused_by_name_where_the_cache_is_pruned(llm: Llama) -> None:
    def asks(name: str, handle: str) -> Any:
        """As code in a module of that name would."""
        return eval(f"llm.{handle}", {"__name__": name, "llm": llm})

    for handle in ("ctx", "model"):
        with pytest.raises(ValueError, match="guidance evaluates tokens on its own"):
            asks("guidance.models._llama_cpp", handle)
        assert asks("another", handle)


def test_guidance_itself(llm: Llama) -> None:
    guidance: Any = pytest.importorskip("guidance")
    with pytest.raises(ValueError, match="guidance evaluates"):
        guidance.models.LlamaCpp(llm)
    full = load_narrow(kv_policy="full", n_ctx=512, logits_all=True)
    assert str(guidance.models.LlamaCpp(full) + "Once upon a time" + guidance.gen(max_tokens=2)).startswith("Once")
    full.close()
