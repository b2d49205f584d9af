"""A completed document: every question sees all of it at the price of its own tokens, wherever the state is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_fixtures import PRUNE, load_narrow, logits

from asl_llamacpp import BudgetError, ContextOverflow, Document, Llama, PrefillReport, Progress

TEXT = "The river runs past the old mill, and nobody expects rain in June. " * 22 + "The pass key is 48213."
QUESTIONS = (
    "What is the pass key of the vault, and who wrote it down in the book of the mill, long before the rain came?",
    "Does anybody expect rain in June, and if not, what does the old miller say about the river and the vault?",
)
N_LAYER, SELECTED_AFTER = 30, 14


def load(**settings: Any) -> Llama:
    return load_narrow(**{"kv_policy": PRUNE, "n_ctx": 768, **settings})


def read(llm: Llama) -> Document:
    return llm.read(text=TEXT, name="river")


def answered(document: Document, question: str) -> tuple[str, Any, PrefillReport]:
    answer = document.ask(question, max_tokens=4)
    return answer.text, logits(document._llm), answer.report  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def full() -> list[tuple[str, Any, PrefillReport]]:
    """What stock llama.cpp answers to the whole prompt at once."""
    llm = load(kv_policy="full", flash_attn=True, n_ubatch=1024, n_batch=1024)
    found = []
    for question in QUESTIONS:
        llm.reset()
        found.append(answered(read(llm), question))
    llm.close()
    return found


def check_equal_to_full(document: Document, full: list[tuple[str, Any, PrefillReport]], rounds: int = 1) -> None:
    """Bit for bit; each question runs its own tokens alone, and nothing is selected."""
    llm: Any = document._llm
    for _ in range(rounds):
        for question, (text, last, _) in zip(QUESTIONS, full, strict=True):
            seen: list[Progress] = []
            llm.on_progress = seen.append
            got, own, report = answered(document, question)
            llm.on_progress = None
            assert got == text
            assert own.tobytes() == last.tobytes()
            assert report.selected is None and "run through all layers" in report.reason
            n_template = report.reused - len(document.tokens)  # that follows the document, if the context has it
            assert 0 <= n_template < 5 and report.reused_layers == N_LAYER
            assert {one.n_tokens for one in seen} == {report.n_prompt - report.reused}
            assert min(report.cells) >= report.n_prompt
            assert f"{report.reused} of them known in 30 of 30 layers" in str(report)


def depth(document: Document) -> tuple[int, str | None]:
    assert document.state is not None
    return document.state.layers, document.state.place


WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "context": ({}, "context"),
    "device": ({"document_store": "device"}, "device"),
    "ram": ({}, "ram"),
    "disk": ({"document_store": "disk"}, "disk"),
    "two passes": ({"kv_policy": "asl-2pass:layer=14,select_k=128,window=16"}, "ram"),
    "a large budget": ({"kv_budget": "1GiB"}, "context"),
}


@pytest.mark.parametrize("way", WAYS)
def test_questions_to_a_completed_document_equal_those_of_stock_llama_cpp(
    way: str, full: list[tuple[str, Any, PrefillReport]]
) -> None:
    settings, place = WAYS[way]
    llm = load(**settings)
    document = read(llm)
    first = document.ask(QUESTIONS[1], max_tokens=1)
    assert first.report.selection_layer == SELECTED_AFTER
    if way != "context":
        llm("Something else in between", max_tokens=1)
        assert depth(document) == (15, place if way != "a large budget" else "ram")
    document.complete()
    assert document.state is not None and document.state.layers == N_LAYER
    check_equal_to_full(document, full, rounds=2)
    llm("Something else in between", max_tokens=1)
    assert depth(document) == (N_LAYER, place if place != "context" else "ram")
    check_equal_to_full(document, full)
    llm.close()


def test_nothing_of_the_layers_that_are_there_runs_again() -> None:
    llm = load()
    document = read(llm)
    document.ask(QUESTIONS[0], max_tokens=1)
    seen: list[Progress] = []
    llm.on_progress = seen.append
    document.complete()
    assert [one.layer for one in seen if one.tokens == 0] == list(range(15, N_LAYER))
    assert {(one.phase, one.layers, one.n_tokens) for one in seen} == {("document", N_LAYER, len(document.tokens))}
    seen.clear()
    document.complete()
    assert not seen
    fresh = read(load(on_progress=seen.append))
    fresh.complete()  # without any question before
    assert [one.layer for one in seen if one.tokens == 0] == list(range(N_LAYER))


class Stop(Exception):
    pass


def stopping_at(layer: int, how: Callable[[], None]) -> Callable[[Progress], None]:
    def on_progress(progress: Progress) -> None:
        if progress.phase == "document" and progress.layer == layer:
            how()

    return on_progress


def raise_stop() -> None:
    raise Stop


def raise_interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("store", ["context", "ram", "device", "disk"])
@pytest.mark.parametrize("layer", [15, 22, 29])
def test_whatever_stops_it_costs_the_layer_that_runs(
    layer: int, store: str, full: list[tuple[str, Any, PrefillReport]]
) -> None:
    llm = load(**{} if store == "context" else {"document_store": store})
    document = read(llm)
    before = document.ask(QUESTIONS[0], max_tokens=1).report
    if store != "context":
        llm("Something else in between", max_tokens=1)
    for error, how in ((Stop, raise_stop), (KeyboardInterrupt, raise_interrupt)):
        llm.on_progress = stopping_at(layer, how)
        with pytest.raises(error):
            document.complete()
        assert depth(document)[0] == layer
    llm.on_progress = None
    # a question in between goes on from there: the same tokens are selected, behind the layers that have run
    report = document.ask(QUESTIONS[0], max_tokens=1).report
    assert (report.reused, report.reused_layers) == (len(document.tokens), layer)
    np.testing.assert_array_equal(report.selected, before.selected)
    assert (report.selection_layer, report.scores_layer) == (layer - 1, SELECTED_AFTER)
    assert ("the document had run on before" in report.reason) == (layer > 15)
    seen: list[Progress] = []
    llm.on_progress = seen.append
    document.complete()
    assert min(one.layer for one in seen) == layer
    check_equal_to_full(document, full)
    llm.close()


def test_another_thread_aborts_it(full: list[tuple[str, Any, PrefillReport]]) -> None:
    llm = load()
    document = read(llm)
    document.ask(QUESTIONS[0], max_tokens=1)
    assert llm._engine is not None
    engine = llm._engine

    def abort() -> None:
        thread = threading.Thread(target=engine.abort)
        thread.start()
        thread.join()

    llm.on_progress = stopping_at(20, abort)
    with pytest.raises(RuntimeError, match="aborted"):
        document.complete()
    llm.on_progress = None
    assert depth(document) == (20, "context")
    document.complete()
    check_equal_to_full(document, full)


def test_a_stopped_question_before_it(full: list[tuple[str, Any, PrefillReport]]) -> None:
    """A short one reaches into the document, and costs its last tokens when it is stopped."""
    llm = load()
    document = read(llm)
    document.ask(QUESTIONS[0], max_tokens=1)
    llm.on_progress = lambda progress: raise_stop()
    with pytest.raises(Stop):
        document.ask("?", max_tokens=1)
    llm.on_progress = None
    document.complete()
    # other ubatch borders round otherwise
    for question, (text, _, _) in zip(QUESTIONS, full, strict=True):
        got, _, report = answered(document, question)
        assert got.split()[0] == text.split()[0] and report.reused_layers == N_LAYER


def test_saved_and_opened(tmp_path: Path, full: list[tuple[str, Any, PrefillReport]]) -> None:
    llm = load()
    document = read(llm)
    document.prefill()
    document.save(tmp_path / "shallow.asldoc")
    document.close()
    opened = llm.open_document(tmp_path / "shallow.asldoc")
    assert depth(opened) == (15, "file")
    opened.complete()
    opened.save(tmp_path / "deep.asldoc")
    opened.close()
    deep = load().open_document(tmp_path / "deep.asldoc")
    assert depth(deep) == (N_LAYER, "file") and "all 30 layers have run, in: file" in str(deep)
    check_equal_to_full(deep, full)


def test_evidence_and_heat_map(tmp_path: Path) -> None:
    document = read(load())
    document.complete()
    answer = document.ask(QUESTIONS[0], max_tokens=1)
    assert answer.report.shown_layer == SELECTED_AFTER and answer.evidence
    added = answer.report.shown
    assert added is not None and len(added) == answer.report.n_prompt - 16
    answer.save_heat_map(tmp_path / "map.html")
    assert QUESTIONS[0] in (tmp_path / "map.html").read_text()


def test_what_any_question_looks_at_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that asks nothing runs beside the first question to a completed document, and not beside the next ones."""
    llm = load()
    document = read(llm)
    document.complete()
    assert llm._engine is not None
    seen: list[int] = []
    contrast = llm._engine.contrast
    monkeypatch.setattr(llm._engine, "contrast", lambda *arguments: (seen.append(1), contrast(*arguments))[1])
    first = document.ask(QUESTIONS[0], max_tokens=1).report
    other = document.ask(QUESTIONS[1], max_tokens=1).report
    again = document.ask(QUESTIONS[0], max_tokens=1).report
    assert len(seen) == 1 and other.contrasted
    np.testing.assert_array_equal(again.shown, first.shown)


@pytest.mark.parametrize("model", ["tiny-gemma2", "tiny-gpt-oss"])
@pytest.mark.parametrize("budget", [None, "1GiB"])
def test_a_ring_of_cells(tiny_path: Callable[[str], Path], model: str, budget: str | None) -> None:
    """What the ring forgets is kept on the host, and a stopped run goes on from there."""
    settings: dict[str, Any] = {"swa_full": False, "n_ctx": 1024, "flash_attn": True}
    llm = load_narrow(tiny_path(model), kv_policy="fastkv:layer=2,select_k=128", kv_budget=budget, **settings)
    tokens = np.random.default_rng(0).integers(3, 250, 700).tolist()
    cache = llm.pruned_cache
    assert cache is not None
    entry = cache.store.add(tokens[:600], "numbers")
    n_layer = len(cache.shape.layers)
    llm.eval(tokens[:650])
    llm.on_progress = stopping_at(n_layer - 1, raise_stop)
    with pytest.raises(Stop):
        cache.complete(entry, llm.on_progress)
    llm.on_progress = None
    assert cache.store.layers(entry) == n_layer - 1
    cache.complete(entry, None)
    llm.reset()
    llm.eval(tokens)
    assert llm.last_prefill is not None and llm.last_prefill.reused_layers == n_layer
    stock = load_narrow(tiny_path(model), kv_policy="full", **settings)
    stock.eval(tokens)
    np.testing.assert_allclose(logits(llm), logits(stock), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"kv_budget": 256}, "kv_budget=256 has no room for the .* tokens of river in all layers"),
        ({"kv_budget": 0.5}, "kv_budget=0.5 has no room"),
        ({"kv_budget": "15MiB"}, "kv_budget=15MiB has no room"),
        ({"document_limit": "5MiB"}, "more than document_limit=.*5.0 MiB.*: raise document_limit"),
    ],
)
def test_where_it_cannot_be_nothing_is_lost(settings: dict[str, Any], why: str) -> None:
    llm = load(**settings)
    document = read(llm)
    document.ask(QUESTIONS[0], max_tokens=1)
    before = depth(document)
    with pytest.raises(BudgetError, match=why):
        document.complete()
    assert depth(document) == before and before[0] == 15
    assert document.ask(QUESTIONS[1], max_tokens=1).report.reused == len(document.tokens)


def test_what_is_kept_nowhere_may_be_completed_in_the_context(full: list[tuple[str, Any, PrefillReport]]) -> None:
    llm = load(document_limit=0)
    document = read(llm)
    document.ask(QUESTIONS[0], max_tokens=1)
    document.complete()
    check_equal_to_full(document, full)


def test_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's error, and the layers before are kept."""
    llm = load()
    document = read(llm)
    document.ask(QUESTIONS[0], max_tokens=1)
    assert llm._engine is not None
    run = llm._engine.run

    def fails(il_begin: int, il_end: int, *scores: Any) -> None:
        if il_begin == 20:
            raise MemoryError("an allocation failed")
        run(il_begin, il_end, *scores)

    monkeypatch.setattr(llm._engine, "run", fails)
    with pytest.raises(MemoryError, match="allocation"):
        document.complete()
    assert depth(document) == (20, "context")
    monkeypatch.undo()
    assert document.ask(QUESTIONS[0], max_tokens=1).report.reused_layers == 20


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = load(document_store="disk")
    document = read(llm)
    document.ask(QUESTIONS[0], max_tokens=1)
    llm("Something else in between", max_tokens=1)

    def full(spool: object, array: object) -> object:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr("asl_llamacpp.store.spool.Spool.__call__", full)
        document.complete()
    assert depth(document) == (15, "disk")
    document.complete()
    assert depth(document) == (N_LAYER, "disk")


def test_policies_without_a_selection_and_stock() -> None:
    llm = load(kv_policy="snapkv:budget=96,window=16")
    document = read(llm)
    document.complete()
    assert depth(document) == (N_LAYER, "ram")
    report = document.ask(QUESTIONS[0], max_tokens=1).report
    assert report.reused == len(document.tokens) and max(report.cells) < 110  # compressed, as the policy says
    stock = read(load(kv_policy="full"))
    stock.complete()
    assert stock.state is None


def test_documents_that_cannot_be_completed() -> None:
    llm = load(n_ctx=256)
    long = llm.read(text=TEXT, overflow="sections")
    with pytest.raises(ContextOverflow, match="raise n_ctx"):
        long.complete()
    long.close()
    with pytest.raises(ValueError, match="was closed"):
        long.complete()
