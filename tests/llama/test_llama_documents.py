"""Several questions about one document: the second starts from the first one's state, and is answered as if alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import oracle
import pytest
from llama_fixtures import PRUNE, cells, greedy, logits, prompt
from llama_fixtures import load as load_real
from llama_fixtures import load_narrow as load
from narrow_model import N_EMBD

from asl_llamacpp import Llama, PrefillReport
from asl_llamacpp.selection.arrays import Ints
from asl_llamacpp.store import entry as document_entry
from asl_llamacpp.store.entry import Compared, Entry, common_prefix

DOCUMENT = prompt(330)
QUESTIONS = [
    tokens
    for recorded in oracle.prompts()
    for tokens in (recorded.tokens.tolist()[-40:], recorded.tokens.tolist()[100:150])
]
RULE = "asl:l_min=7,l_obs=4,tau=0.6,select_k=128,window=16"


def report_of(llm: Llama) -> PrefillReport:
    assert llm.last_prefill is not None
    return llm.last_prefill


@pytest.mark.parametrize(
    ("load", "kv_policy", "questions"),
    [
        pytest.param(load, PRUNE, QUESTIONS[1:6], id="layer given"),
        pytest.param(load_real, RULE, QUESTIONS[1:8], id="rule", marks=pytest.mark.slow),
        pytest.param(load, "fastkv:select_k=128", QUESTIONS[1:4], id="fastkv"),
    ],
)
def test_questions_are_answered_as_by_a_fresh_object(
    load: Callable[..., Llama], kv_policy: str, questions: list[list[int]]
) -> None:
    """The same tokens go deeper, wherever the document is; from the same layer on the answer is the same bit for bit.

    The fresh object gets an ubatch border where the document ends.
    """
    llm = load(kv_policy=kv_policy, document_min=256)
    greedy(llm, DOCUMENT + QUESTIONS[0], 2)
    assert report_of(llm).reused == 0
    deepest = 0
    for question in questions:
        answer = greedy(llm, DOCUMENT + question, 4)
        report, last = report_of(llm), logits(llm)
        assert report.reused >= len(DOCUMENT)
        assert report.selection_layer is not None and report.selection_layer >= deepest
        deepest = report.selection_layer
        fresh = load(kv_policy=kv_policy, n_ubatch=report.reused)
        alone = greedy(fresh, DOCUMENT + question, 4)
        np.testing.assert_array_equal(report_of(fresh).selected, report.selected)
        if report_of(fresh).selection_layer == deepest:
            assert alone == answer
            assert logits(fresh).tobytes() == last.tobytes()
            assert cells(fresh) == cells(llm)
        fresh.close()


def test_another_document_starts_anew() -> None:
    llm = load(kv_policy=PRUNE, document_min=200)
    llm.eval(DOCUMENT)
    llm.reset()
    llm.eval(prompt(300, start=50))
    assert report_of(llm).reused == 0
    llm.reset()
    llm.eval(prompt(300, start=50)[:250] + QUESTIONS[0])
    assert report_of(llm).reused == 250


@pytest.mark.parametrize("settings", [{"document_min": None}, {"document_min": 400}, {}])
def test_short_prefixes_are_not_reused(settings: dict[str, int | None]) -> None:
    llm = load(kv_policy=PRUNE, **{"document_min": 200, **settings} if settings else {})
    for question in QUESTIONS[:2]:
        llm.reset()
        llm.eval(DOCUMENT + question)
        assert report_of(llm).reused == 0


def test_an_interrupted_question_leaves_a_usable_object() -> None:
    def interrupt(progress: object) -> None:
        raise KeyboardInterrupt

    llm = load(kv_policy=PRUNE, document_min=200)
    llm.eval(DOCUMENT + QUESTIONS[0])
    want = greedy(load(kv_policy=PRUNE), DOCUMENT + QUESTIONS[1], 4)
    llm.on_progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        greedy(llm, DOCUMENT + QUESTIONS[1], 4)
    llm.on_progress = None
    assert greedy(llm, DOCUMENT + QUESTIONS[1], 4) == want


def test_a_prompt_is_compared_with_each_document_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though three ask which document it begins with: whether the cache may serve it, how to evaluate it, from what."""
    compared: list[int] = []

    def count(document: Ints, tokens: Ints) -> int:
        compared.append(len(document))
        return common_prefix(document, tokens)

    monkeypatch.setattr(document_entry, "common_prefix", count)
    llm = load(kv_policy="asl:select_k=512")
    documents = [llm.read(text="The key is red. " * 40), llm.read(text="The door is blue. " * 30)]
    lengths = sorted(len(document.tokens) for document in documents)
    asked: list[tuple[int, str]] = []
    for document, question in [(0, "Which?"), (1, "Which?"), (0, "Why?"), (0, "Why?")]:
        compared.clear()
        answer = documents[document].ask(question, max_tokens=2)
        assert sorted(compared) in (lengths, []), question  # none: the same prompt once more
        known = 0 if question == "Which?" else len(documents[document].tokens)
        assert answer.report.reused == (answer.report.n_prompt if (document, question) in asked else known)
        asked.append((document, question))


def test_what_was_compared_is_not_mixed_up() -> None:
    one, two = (Entry(np.array(tokens, dtype=np.int32)) for tokens in ([1, 2, 3], [1, 2, 4]))
    prompt = [1, 2, 4, 5]
    compared = Compared(prompt)
    assert [compared.shared(entry) for entry in (one, two, one)] == [2, 3, 2]
    one.tokens = np.array([1, 9], dtype=np.int32)  # it was shortened
    assert compared.shared(one) == 1
    assert compared.is_of([1, 2, 4, 5]) and not compared.is_of([1, 2, 4])
    prompt[0] = 7
    assert not compared.is_of(prompt)


def test_memory_is_that_of_the_larger_prompt() -> None:
    """Ten questions: the KV does not pile up."""
    llm = load(kv_policy=PRUNE, document_min=200)
    sizes = set()
    for question in QUESTIONS[:10]:
        llm.reset()
        llm.eval(DOCUMENT + question)
        assert llm._engine is not None
        info = llm._engine.info()
        sizes.add((info.kv_bytes, info.n_groups))
        assert info.n_held <= info.held_bytes / (N_EMBD * 4) <= 1.25 * info.n_held
    assert len({groups for _, groups in sizes}) == 1
    assert max(size for size, _ in sizes) <= 1.6 * min(size for size, _ in sizes)
