"""A prefill that was stopped: what had run of the document need not run again, and answers are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from llama_fixtures import load_narrow, logits

from asl_llamacpp import Llama, Progress

POLICY = "asl:layer=14,select_k=64,window=16"
RULE = "asl:l_min=10,l_max=18,select_k=64,window=16"
TEXT = "The mill stood by the river, and nobody had worked there for many years. " * 75
OTHER = TEXT.replace("mill", "church")
UBATCH = 256
SETTINGS: dict[str, Any] = {"kv_policy": POLICY, "n_ctx": 1536, "n_ubatch": UBATCH, "n_batch": UBATCH}


class Stop(Exception):
    pass


@contextmanager
def counted(llm: Llama) -> Iterator[Callable[[], int]]:
    """Counts layers times tokens that the engine runs; those of a run that is stopped up to its last ubatch."""
    engine, total, last = llm._engine, 0, Progress(0, 1, 0, 0, "")
    assert engine is not None
    run, told = engine.run, llm.on_progress

    def on_progress(progress: Progress) -> None:
        nonlocal last
        last = progress
        if told is not None:
            told(progress)

    def counting(il_begin: int, il_end: int, *more: Any) -> None:
        nonlocal total
        done = 0
        try:
            run(il_begin, il_end, *more)
            done = last.n_tokens
        except BaseException:
            done = last.tokens
            raise
        finally:
            total += (il_end - il_begin) * done

    engine.run, llm.on_progress = counting, on_progress  # type: ignore[method-assign]
    try:
        yield lambda: total
    finally:
        engine.run, llm.on_progress = run, told  # type: ignore[method-assign]


def stop_when(llm: Llama, when: Callable[[Progress], bool]) -> None:
    def check(progress: Progress) -> None:
        if when(progress):
            raise Stop

    llm.on_progress = check


def cost_of_fresh(question: str, settings: dict[str, Any]) -> tuple[int, Any]:
    llm = load_narrow(**settings)
    document = llm.read(text=TEXT)
    with counted(llm) as cost:
        document.ask(question, max_tokens=1)
    return cost(), logits(llm)


STOPS: dict[str, Callable[[Progress], bool]] = {
    "second ubatch": lambda progress: progress.tokens == UBATCH,
    "half of the first layers": lambda progress: progress.tokens == 3 * UBATCH,
    "before the selection's layer": lambda progress: progress.tokens == 0 and progress.layer > 0,
    "behind the selection": lambda progress: progress.phase == "deep",
}


@pytest.mark.parametrize("policy", [POLICY, RULE], ids=["layer", "rule"])
@pytest.mark.parametrize("where", STOPS)
def test_the_next_question_goes_on_where_it_was(where: str, policy: str) -> None:
    settings = {**SETTINGS, "kv_policy": policy}
    llm = load_narrow(**settings)
    document = llm.read(text=TEXT)
    n = len(document.tokens)
    assert n > 4 * UBATCH
    stop_when(llm, STOPS[where])
    with counted(llm) as cost, pytest.raises(Stop):
        document.ask("Where did the mill stand, and who had worked there?", max_tokens=1)
    first = cost()
    assert first > 0 and document.state is not None and document.state.layers > 0
    llm.on_progress = None
    question = "What is it that stood by the river for many years?"
    with counted(llm) as cost:
        answer = document.ask(question, max_tokens=1)
    assert answer.report.reused > 0
    fresh, want = cost_of_fresh(question, settings)
    assert first + cost() <= 1.1 * fresh
    assert abs(logits(llm) - want).max() < 1e-4


def test_stopped_again_and_again_it_comes_to_an_end() -> None:
    llm = load_narrow(**SETTINGS)
    document = llm.read(text=TEXT)
    question = "What is it that stood by the river for many years?"
    total = n_stops = 0
    while True:
        calls = 0

        def third(progress: Progress) -> bool:
            nonlocal calls
            calls += 1
            return calls == 3

        stop_when(llm, third)
        with counted(llm) as cost:
            try:
                document.ask(question, max_tokens=1)
            except Stop:
                n_stops += 1
            total += cost()
        if calls < 3:
            break
        assert n_stops < 20
    fresh, want = cost_of_fresh(question, SETTINGS)
    assert n_stops > 1 and total <= 1.2 * fresh
    assert abs(logits(llm) - want).max() < 1e-4


def test_a_prompt_that_is_no_document_goes_on_too() -> None:
    settings = {**SETTINGS, "document_min": 64}
    llm = load_narrow(**settings)
    prompt = TEXT + "Where did the mill stand?"
    stop_when(llm, STOPS["half of the first layers"])
    with pytest.raises(Stop):
        llm.create_completion(prompt, max_tokens=1)
    llm.on_progress = None
    llm.create_completion(prompt, max_tokens=1)
    assert llm.last_prefill is not None and llm.last_prefill.reused == 3 * UBATCH
    fresh = load_narrow(**settings)
    fresh.create_completion(prompt, max_tokens=1)
    assert abs(logits(llm) - logits(fresh)).max() < 1e-4


def test_what_was_held_of_another_document_is_not_taken_for_it() -> None:
    """Stopped before anything of the second one has run: the context may still have the first."""
    llm = load_narrow(**SETTINGS)
    one, other = llm.read(text=TEXT, name="one"), llm.read(text=OTHER, name="other")
    one.ask("Where?", max_tokens=1)
    stop_when(llm, lambda progress: True)
    with pytest.raises(Stop):
        other.ask("Where?", max_tokens=1)
    assert other.state is not None and other.state.layers == 0
    llm.on_progress = None
    other.ask("What is it that stood there?", max_tokens=1)
    fresh = load_narrow(**SETTINGS)
    document = fresh.read(text=OTHER)
    document.ask("What is it that stood there?", max_tokens=1)
    assert abs(logits(llm) - logits(fresh)).max() < 1e-4


@pytest.mark.parametrize("more", [{"kv_budget": 64}, {"document_store": "disk"}, {"type_k": 8, "type_v": 8}], ids=str)
def test_where_nothing_can_be_kept_it_begins_anew(more: dict[str, Any]) -> None:
    settings = {**SETTINGS, **more}
    llm = load_narrow(**settings)
    document = llm.read(text=TEXT)
    stop_when(llm, STOPS["half of the first layers"])
    with pytest.raises(Stop):
        document.ask("Where did the mill stand?", max_tokens=1)
    llm.on_progress = None
    question = "What is it that stood by the river for many years?"
    document.ask(question, max_tokens=1)
    _, want = cost_of_fresh(question, settings)
    assert abs(logits(llm) - want).max() < 1e-4
