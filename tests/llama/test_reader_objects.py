"""A `Llama` with a reader as an object: pickled, saved, shared by threads, freed; and what the reader leaves."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_fixtures import greedy, load_narrow, logits, narrow_path

from asl_llamacpp import Llama, StateMismatchError

N_CTX, SELECT_K, LAYER = 2048, 256, 14
POLICY = f"asl:layer={LAYER},select_k={SELECT_K},window=32"
TEXT = " ".join(f"The box number {i} holds {i * 7} green marbles and a letter from Zürich." for i in range(40))
QUESTION = "How many marbles are in box 7?"

CELL_BYTES = 2 * 3 * 64 * 2
"""K and V of one token in one layer: 3 heads of 64, f16."""


def load(**settings: Any) -> Llama:
    given = {"kv_policy": POLICY, "n_ctx": N_CTX, "reader": narrow_path(), **settings}
    return load_narrow(**{name: value for name, value in given.items() if value is not None})


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    with closing(load()) as llm:
        yield llm


def prompt_row(llm: Llama) -> bytes:
    llm.reset()
    llm.eval(llm.tokenize(TEXT.encode()))
    assert llm.last_prefill is not None and llm.last_prefill.read is not None
    return logits(llm).tobytes()


def test_the_reader_has_one_layer_at_a_time_and_leaves_nothing(llm: Llama) -> None:
    """Beside it the windows of the layers up to it, for each of which 256 cells are allocated."""
    prompt_row(llm)
    report = llm.last_prefill
    assert report is not None and report.read is not None and llm.reader is not None
    reader: Any = llm.reader.llm
    n_cells = -(-report.read.n_prompt // 256) * 256
    assert report.read.peak_kv_bytes == (n_cells + (LAYER + 1) * 256) * CELL_BYTES
    assert reader._engine.info().kv_bytes == reader._engine.info().hidden_bytes == 0
    assert report.peak_kv_bytes == 30 * 2 * 256 * CELL_BYTES, "256 chosen, and as many for an answer"


def test_pickled_and_back(llm: Llama) -> None:
    with closing(load(positions="compact", reader_options={"n_ubatch": 128})) as other:
        want = prompt_row(other)
        with closing(pickle.loads(pickle.dumps(other))) as twin:
            assert twin.reader.llm.context_params.n_ubatch == 128 and str(twin.kv_policy) == str(other.kv_policy)
            assert twin.n_tokens == other.n_tokens
            assert twin.last_prefill.read.selected.tolist() == other.last_prefill.read.selected.tolist()
            assert prompt_row(twin) == want
    assert want != prompt_row(llm), "positions make a difference"


def test_a_saved_state_goes_on_with_the_same_reader_only(llm: Llama) -> None:
    first = greedy(llm, llm.tokenize(TEXT.encode()), 1)
    state = pickle.loads(pickle.dumps(llm.save_state()))
    stream = llm.generate(first, temp=0.0, reset=False)
    want = [next(stream) for _ in range(6)]
    with closing(load()) as other:
        other.load_state(state)
        stream = other.generate(first, temp=0.0, reset=False)
        assert [next(stream) for _ in range(6)] == want
    for settings in ({"reader": None}, {"positions": "compact"}):
        with closing(load(**settings)) as other, pytest.raises(StateMismatchError, match="another policy"):
            other.load_state(state)


def test_both_models_go_with_the_object() -> None:
    """At once, as the object of one model does, though documents and what is known of them refer to each other."""
    llm: Any = load()
    document = llm.read(text=TEXT)
    document.ask(QUESTION, max_tokens=1)
    gone, reader = weakref.ref(llm), llm.reader.llm
    gc.disable()
    try:
        del document, llm
        assert gone() is None
    finally:
        gc.enable()
    with pytest.raises(ValueError, match="this Llama was closed"):
        reader.tokenize(b"Nobody else used it.")


def test_what_is_known_of_a_document_goes_with_it(llm: Llama) -> None:
    document = llm.read(text=TEXT)
    document.ask(QUESTION, max_tokens=1)
    n = len(llm.documents)
    document.close()
    assert len(llm.documents) == n - 1
    with pytest.raises(ValueError, match="closed"):
        document.save("nowhere.asldoc")


def test_a_state_that_the_small_model_saved_alone_serves(llm: Llama, tmp_path: Path) -> None:
    with closing(load(reader=None)) as small:
        document = small.read(text=TEXT)
        document.ask(QUESTION, max_tokens=1)
        document.save(tmp_path / "a.asldoc")
    fresh = llm.read(text=TEXT).ask(QUESTION + " 1", max_tokens=4)
    opened = llm.open_document(tmp_path / "a.asldoc").ask(QUESTION + " 2", max_tokens=4)
    again = llm.open_document(tmp_path / "a.asldoc").ask(QUESTION + " 1", max_tokens=4)
    assert opened.report.read is not None and opened.report.read.reused > 800
    assert fresh.report.selected is not None and again.report.selected is not None
    assert fresh.report.selected.tolist() == again.report.selected.tolist() and fresh.text == again.text


def test_threads_take_turns(llm: Llama) -> None:
    document = llm.read(text=TEXT + " And more.")
    questions = [f"{QUESTION} {i}" for i in range(4)]
    want = {question: chosen(document, question) for question in questions}
    found: dict[str, list[int]] = {}

    def ask(question: str) -> None:
        found[question] = chosen(document, question)

    threads = [threading.Thread(target=ask, args=(question,)) for question in reversed(questions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == want and len({str(row) for row in want.values()}) > 1


def chosen(document: Any, question: str) -> list[int]:
    report = document.ask(question, max_tokens=2).report
    return np.asarray(report.selected).tolist()


def test_a_prompt_that_the_reader_has_no_room_for_says_why() -> None:
    with closing(load(reader_options={"n_ctx": 256})) as llm:
        with pytest.raises(ValueError, match="raise n_ctx in reader_options"):
            llm.eval(llm.tokenize(TEXT.encode()))
        llm.reset()
        llm.eval(llm.tokenize(b"A few words."))
        assert llm.n_tokens > 0


def test_a_budget_lowers_what_is_chosen() -> None:
    with closing(load(kv_budget=128)) as llm:
        prompt_row(llm)
        report = llm.last_prefill
        assert report is not None and report.n_selected == 128 and set(report.cells) == {128}
        assert "select_k lowered from 256 to 128" in report.reason


@pytest.mark.parametrize("name", ["kv_policy", "vocab_only", "reader"])
def test_options_that_are_not_the_readers_to_choose(name: str) -> None:
    with pytest.raises(TypeError, match=f"reader_options has no argument '{name}'"):
        load(reader_options={name: True})
    with pytest.raises(TypeError, match="a dict of arguments"):
        Llama(narrow_path(), reader=narrow_path(), reader_options=5, verbose=False)  # type: ignore[arg-type]
