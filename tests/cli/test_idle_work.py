"""A chat reads on while nobody asks, and stops at once when somebody does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_fixtures import PRUNE, narrow_path

from asl_llamacpp.cli.chat_session import ChatSession
from asl_llamacpp.cli.idle_work import IdleWork
from asl_llamacpp.llama.opening import load_document

TEXT = "The river runs past the old mill, and nobody expects rain in June. " * 30
QUESTION = "Does anybody expect rain in June, and what does the old miller say about the river and the mill?"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[ChatSession]:
    yield from opened(tmp_path)


def opened(folder: Path, **options: Any) -> Iterator[ChatSession]:
    (folder / "river.txt").write_text(TEXT)
    options |= {"n_ctx": 1024, "n_threads": 1, "n_threads_batch": 1, "n_ubatch": 64}
    with ChatSession(narrow_path(), load_document([str(folder / "river.txt")]), PRUNE, options) as session:
        yield session


def ask(session: ChatSession) -> None:
    stream = session.ask(QUESTION)
    next(stream)
    session.keep(QUESTION, stream)


def layers(session: ChatSession) -> int:
    assert session.document.state is not None
    return session.document.state.layers


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_it_stops_within_an_ubatch_and_goes_on(session: ChatSession) -> None:
    idle = IdleWork(session)
    with idle.working():
        assert idle.status == ""  # nothing was asked yet
    ask(session)
    assert layers(session) == 15
    engine = session.llm._engine
    assert engine is not None
    with idle.working():
        until(lambda: idle.status.startswith("reading on, layer 18 of 30"))
        begun = []
        run = engine.run
        engine.run = lambda *arguments, **options: (begun.append(arguments), run(*arguments, **options))[1]  # type: ignore[method-assign,func-returns-value]
        idle._wanted.set()
    del engine.run
    assert len(begun) <= 1 and not engine.running and idle.status == ""
    reached = layers(session)
    assert 17 <= reached <= 19 and session.llm.on_progress is None
    ask(session)
    report = session.llm.last_prefill
    assert report is not None and report.reused_layers == reached and report.selection_layer == reached - 1
    with idle.working():
        until(lambda: layers(session) == 30 and idle.status == "")
    ask(session)
    assert session.llm.last_prefill is not None and session.llm.last_prefill.reused_layers == 30
    with idle.working():
        assert not session.can_complete
    assert idle.take_refusal() is None


def test_between_two_lines(session: ChatSession) -> None:
    def typed() -> Iterator[str]:
        yield "first"
        until(lambda: idle.status != "")
        yield "second"
        until(lambda: layers(session) == 30)
        yield "third"

    idle, seen = IdleWork(session), []
    for line in idle.between(typed()):
        engine = session.llm._engine
        assert engine is not None and not engine.running
        ask(session)
        seen.append((line, layers(session) == 30))
    assert seen == [("first", False), ("second", False), ("third", True)]


def test_switched_off(session: ChatSession) -> None:
    ask(session)
    with IdleWork(session, enabled=False).working():
        time.sleep(0.1)
    assert layers(session) == 15


def test_a_refusal_is_told_once(tmp_path: Path) -> None:
    sessions = opened(tmp_path, kv_budget=128)
    session = next(sessions)
    idle = IdleWork(session)
    ask(session)
    with idle.working():
        until(lambda: idle.refusal is not None)
    told = idle.take_refusal()
    assert told is not None and told.startswith("kv_budget=128 has no room") and idle.take_refusal() is None
    with idle.working():
        assert idle.refusal is None
    ask(session)
    sessions.close()  # type: ignore[attr-defined]
