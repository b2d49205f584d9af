"""One model and one document for all adapters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llama_fixtures import PRUNE, load_narrow
from served import OPTIONS, TEXT

from asl_llamacpp import Document, Llama


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    llm = load_narrow(kv_policy=PRUNE, **OPTIONS)
    yield llm
    llm.close()


@pytest.fixture(scope="module")
def document(llm: Llama) -> Document:
    return llm.read(text=TEXT, name="valley")
