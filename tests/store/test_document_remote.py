"""Documents whose layers lie on RPC servers, and documents under a budget in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_fixtures import greedy, logits, prompt
from llama_fixtures import load_narrow as load
from rpc_servers import Server
from test_document_stores import DOCUMENTS, QUESTIONS, report_of

POLICY = "asl:layer=14,select_k=64,window=16"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.stop()


@pytest.mark.parametrize("settings", [{}, {"document_store": "device"}, {"kv_budget": 100}])
def test_documents_on_a_server_answer_as_here(server: Server, settings: dict[str, Any]) -> None:
    """From memory that this process cannot read; half of the layers are here."""
    answers = []
    for where in ({"rpc_servers": server.address, "n_gpu_layers": 16}, {}):
        llm = load(kv_policy=POLICY, document_min=256, **settings, **where)
        answers.append([])
        for question in QUESTIONS[:2]:
            for document in DOCUMENTS:
                answers[-1].append(greedy(llm, document + question, 4))
                assert (report_of(llm).reused > 0) == (question is QUESTIONS[1])
        llm.close()
    assert answers[0] == answers[1]


def test_a_budget_in_bytes_holds_for_every_question() -> None:
    """The first prompt is longer than the second, so that the document's cells are too many for its plan."""
    limit = 16_300_000
    policy = "asl:keep=heads,tau=1e-9,l_max=20,select_k=64,window=16"
    settings: dict[str, Any] = {"kv_policy": policy, "kv_budget": f"{limit}B", "n_ctx": 1024}
    llm = load(document_min=200, **settings)
    document, reused = prompt(330), []
    for n in (330, 60, 200, 10, 12):
        tokens = document + prompt(402)[-n:]
        answer, report, last = greedy(llm, tokens, 2), report_of(llm), logits(llm)
        assert report.kv_bytes <= limit
        reused.append(report.reused)
        fresh = load(n_ubatch=report.reused or 512, **settings)  # an ubatch border where the document ends
        assert greedy(fresh, tokens, 2) == answer
        assert report_of(fresh).selection_layer == report.selection_layer
        assert logits(fresh).tobytes() == last.tobytes()
        fresh.close()
    assert reused[:4] == [0, 0, 0, 0] and reused[4] > 300
