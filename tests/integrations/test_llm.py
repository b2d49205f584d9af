"""The plugin of `llm`: a question about files, a conversation, and what its log keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_fixtures import PRUNE, narrow_path
from pdf_files import pdf_bytes
from places import ROOT
from served import TEXT

llm: Any = pytest.importorskip("llm")


@pytest.fixture
def model() -> Any:
    """As `llm` finds it: by the entry point, or told, where the package was installed before it had one."""
    from llm.plugins import load_plugins, pm

    from asl_llamacpp.integrations import llm_plugin

    load_plugins()
    if not pm.is_registered(llm_plugin):
        pm.register(llm_plugin)
    return llm.get_model("asl")


def test_the_entry_point_names_the_plugin() -> None:
    assert 'asl = "asl_llamacpp.integrations.llm_plugin"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def options(**more: Any) -> dict[str, Any]:
    return {"model": str(narrow_path()), "policy": PRUNE, "max_tokens": 3, "threads": 1, **more}


def test_a_conversation_about_fragments_and_attachments(model: Any, tmp_path: Path) -> None:
    (tmp_path / "mill.pdf").write_bytes(pdf_bytes(["The mill is old and the miller sleeps"] * 6))
    chat = model.conversation()
    fragment = llm.Fragment(TEXT, str(tmp_path / "valley.txt"))
    attachment = llm.Attachment(path=str(tmp_path / "mill.pdf"))
    first = chat.prompt("What is the pass key?", fragments=[fragment], attachments=[attachment], **options())
    assert first.text()
    document = model._opened.document
    assert {source.name for source in document.sources} == {"valley.txt", "mill.pdf"}
    found = {span["source"] for span in first.response_json["evidence"]}
    assert found and found <= {"valley.txt", "mill.pdf"}
    assert chat.prompt("And the mill?", **options()).text()
    assert model._opened.document is document  # the same documents: their state is used again
    assert model._opened.llama.last_prefill.reused == len(document.tokens)


def test_a_fragment_of_any_format_keeps_its_pages(model: Any, tmp_path: Path) -> None:
    from asl_llamacpp.integrations.llm_plugin import load_fragment

    file = tmp_path / "mill.pdf"
    file.write_bytes(pdf_bytes([f"The mill {i} is old and the miller sleeps until noon in June" for i in range(8)]))
    answer = model.prompt("What?", fragments=[load_fragment(str(file))], **options())
    assert answer.text() and all(span["page"] for span in answer.response_json["evidence"])


def test_without_documents_it_is_a_plain_chat(model: Any) -> None:
    pieces = list(model.prompt("Hi", system="Be brief.", **options(n_ctx=512)))
    assert "".join(pieces)
    with pytest.raises(FileNotFoundError):
        model.prompt("Hi", **options(model="missing.gguf")).text()
