"""One `Llama` used from several threads: every one gets what it would have got alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import llama_cpp
import numpy as np
import pytest
from llama_fixtures import PRUNE, load_narrow, logits, prompt, text

import asl_llamacpp

T = TypeVar("T")
TEXT = " ".join(f"Article {i}: the fee of item {i * 7} is {i * 13} euros." for i in range(14))


@pytest.fixture(scope="module")
def llm() -> asl_llamacpp.Llama:
    return load_narrow(kv_policy=PRUNE, n_ctx=1024, logits_all=True)


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What the calls return, all begun at the same moment."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(60) for future in [pool.submit(run, call) for call in calls]]


def test_questions_from_four_threads(llm: asl_llamacpp.Llama) -> None:
    """Each answer is about its own question, and has the report and the token counts of its own prompt."""
    document = llm.read(text=TEXT)
    questions = ["What" + " of it" * i + "?" for i in range(4)]
    answers = at_once([lambda q=q: document.ask(q, max_tokens=3) for q in questions])
    for question, answer in zip(questions, answers, strict=True):
        assert answer.question == question and answer.report.n_prompt == len(document.prompt(question))
        assert answer.usage["prompt_tokens"] == answer.report.n_prompt
        assert answer.evidence
    document.close()


def test_streams_chats_states_and_documents_together(llm: asl_llamacpp.Llama) -> None:
    tokens = prompt(100)
    document = llm.read(text=TEXT)

    def logprobs() -> float:
        done = llm.create_completion(tokens, max_tokens=1, temperature=0.0, logprobs=1)
        return done["choices"][0]["logprobs"]["token_logprobs"][0]

    def stream() -> str:
        return "".join(document.ask("Which fee?", max_tokens=4, stream=True))

    def chat() -> int:
        messages = [{"role": "user", "content": "Say something."}]
        chunks = list(llm.create_chat_completion(messages, max_tokens=3, stream=True, temperature=0.0))
        return len(chunks)

    def read_and_forget() -> int:
        other = llm.read(text=TEXT[:300], name="other")
        other.prefill()
        other.close()
        return other.n_tokens

    def state() -> int:
        return int(llm.save_state().n_tokens)

    alone = logprobs()
    found = at_once([logprobs, stream, chat, read_and_forget, state, logprobs])
    assert found[0] == pytest.approx(alone, abs=1e-3) and found[5] == pytest.approx(alone, abs=1e-3)
    assert found[2] >= 2 and found[3] > 0
    assert [known.name for known in llm.documents if known.name == "other"] == []
    document.close()


def test_a_document_longer_than_the_context_from_two_threads() -> None:
    llm = load_narrow(kv_policy=PRUNE, n_ctx=1024)
    document = llm.read(text=TEXT * 5, overflow="sections")
    assert not document.fits
    answers = at_once([lambda q=q: document.ask(q, max_tokens=2) for q in ("Which fee?", "Which item, and why?")])
    assert all(len(answer.sections) > 1 for answer in answers)


def test_a_stream_keeps_others_waiting_until_it_is_closed(llm: asl_llamacpp.Llama) -> None:
    stream = llm.create_completion(prompt(80), max_tokens=50, stream=True, temperature=0.0)
    next(stream)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: text(llm, prompt(40)))
        time.sleep(0.3)
        assert not other.done()
        stream.close()
        assert isinstance(other.result(60), str)


def test_a_thread_is_told_of_its_own_open_stream(llm: asl_llamacpp.Llama) -> None:
    document = llm.read(text=TEXT)
    stream = document.ask("Which fee?", max_tokens=20, stream=True)
    next(stream)
    for call in (
        lambda: document.ask("Which item?", max_tokens=1),
        lambda: llm.create_completion("Hello", max_tokens=1),
        lambda: llm.create_chat_completion([{"role": "user", "content": "Hello"}], max_tokens=1),
        lambda: llm.eval([1]),
        document.prefill,
    ):
        with pytest.raises(RuntimeError, match=r"stream open.*close\(\)"):
            call()
    assert llm.tokenize(b"a word") and len(document.prompt("Which item?")) > len(document.tokens)  # need no turn
    llm.read(text="A second document.", name="second").close()
    assert stream.finish().usage["completion_tokens"] > 1
    assert document.ask("Which item?", max_tokens=1).report.n_prompt


def test_progress_and_facts_are_there_while_another_thread_prefills() -> None:
    llm = load_narrow(kv_policy=PRUNE, n_ctx=1024)
    document = llm.read(text=TEXT)
    begun, go_on = threading.Event(), threading.Event()

    def wait(step: object) -> None:
        begun.set()
        assert go_on.wait(60)

    llm.on_progress = wait
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: document.ask("Which fee?", max_tokens=1))
        assert begun.wait(60)
        known = document.state
        assert known is not None and known.layers == 0 and llm.documents == [known]
        assert str(document) and llm.n_ctx() == 1024 and llm.last_prefill is None
        go_on.set()
        asked.result(60)
    assert document.state.layers > 0 and llm.documents == [document.state]


def test_close_waits_for_others_and_then_refuses_them() -> None:
    llm = load_narrow(kv_policy="full", n_ctx=256)
    stream = llm.create_completion(prompt(40), max_tokens=20, stream=True)
    next(stream)
    with ThreadPoolExecutor(2) as pool:
        closing = pool.submit(llm.close)
        time.sleep(0.2)
        asking = pool.submit(lambda: llm.create_completion("Hello", max_tokens=1))
        time.sleep(0.2)
        assert not closing.done() and not asking.done()
        assert list(stream)
        closing.result(60)
        with pytest.raises(ValueError, match="closed"):
            asking.result(60)


def test_own_stream_does_not_keep_close_from_its_work() -> None:
    llm = load_narrow(kv_policy=PRUNE, n_ctx=256)
    stream = llm.create_completion(prompt(40), max_tokens=20, stream=True)
    next(stream)
    llm.close()
    with pytest.raises(ValueError, match="closed"):
        list(stream)


def test_low_level_streams_of_one_thread_still_alternate(llm: asl_llamacpp.Llama) -> None:
    stream = llm.generate(prompt(30), temp=0.0)
    next(stream)
    llm.reset()
    llm.eval(prompt(90))
    assert np.isfinite(logits(llm)).all()
    stream.close()
    assert isinstance(llm, llama_cpp.Llama)
