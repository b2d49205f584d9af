"""Several threads on one context: a progress display asks while another thread prefills, a button stops it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pruned_prefill import KEPT, N_SHALLOW, N_UBATCH, WINDOW, Logits, N, Prefill

from asl_llamacpp.engine.binding import PrefillAborted

N_LAYER = 6


def from_elsewhere(prefill: Prefill, call: Callable[[], object], at: int = N_UBATCH) -> list[object]:
    """Let another thread make `call` in the middle of each run, which goes on once that has returned."""
    results: list[object] = []

    def progress(_begin: int, _end: int, done: int, _n: int) -> None:
        if done == at:
            with ThreadPoolExecutor(1) as pool:
                try:
                    results.append(pool.submit(call).result(timeout=10))
                except ValueError as error:
                    results.append(error)

    prefill.engine.progress = progress
    return results


def test_what_a_progress_display_sees(prefill: Prefill, want: Logits) -> None:
    """It is answered within the run, with what was there before it."""
    engine = prefill.engine

    def look() -> object:
        info = engine.info()
        return (info.n_tokens, info.il_next, info.kv_bytes), [engine.layer(il) for il in range(N_LAYER)]

    seen, before = from_elsewhere(prefill, look), []
    prefill.go_to("begun")
    for il in range(N_LAYER):
        before.append(look())
        engine.run(il, il + 1)
        assert engine.info().il_next == il + 1 and engine.layer(il).n_cells == N
    assert seen == before
    engine.abort()
    engine.progress = None
    assert prefill.answer().tobytes() == want.tobytes()


CALLS: dict[str, Callable[[Prefill], object]] = {
    "begin": lambda p: p.engine.begin(p.tokens[:N], WINDOW, 0),
    "run": lambda p: p.engine.run(0, 1),
    "keep": lambda p: p.engine.keep(KEPT),
    "hold": lambda p: p.engine.hold(N),
    "resume": lambda p: p.engine.resume(10, p.tokens[:N], WINDOW, 0),
    "end": lambda p: p.engine.end(),
    "check": lambda p: p.engine.check(),
    "scores": lambda p: p.engine.scores(0),
    "positions": lambda p: p.engine.positions(0),
    "drop": lambda p: p.engine.drop(0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_other_calls_are_refused_meanwhile(prefill: Prefill, want: Logits, call: Callable[[Prefill], object]) -> None:
    raised = from_elsewhere(prefill, lambda: call(prefill))
    assert prefill.answer().tobytes() == want.tobytes()
    assert len(raised) == 1 and "layers are running" in str(raised[0])


@pytest.mark.parametrize("at", [0, N_UBATCH, 192], ids=["first ubatch", "second", "last"])
def test_abort_from_another_thread(prefill: Prefill, want: Logits, at: int) -> None:
    from_elsewhere(prefill, prefill.engine.abort, at)
    prefill.go_to("begun")
    with pytest.raises(PrefillAborted):
        prefill.engine.run(0, N_SHALLOW)
    prefill.assert_empty()
    prefill.engine.progress = None
    assert prefill.answer().tobytes() == want.tobytes()


def test_abort_at_any_moment_is_never_lost(prefill: Prefill, want: Logits) -> None:
    """Also between two runs, and when the last ubatch of one is done."""
    engine, go, stopped = prefill.engine, threading.Event(), threading.Event()

    def press() -> None:
        for pause in np.random.default_rng(0).uniform(0, 0.03, 100):
            go.wait()
            go.clear()
            time.sleep(pause)
            engine.abort()
            stopped.set()

    threading.Thread(target=press, daemon=True).start()
    for _ in range(100):
        go.set()
        with contextlib.suppress(PrefillAborted, ValueError):
            prefill.go_to("ran")
        assert stopped.wait(timeout=10)
        stopped.clear()
        prefill.assert_empty()
    assert prefill.answer().tobytes() == want.tobytes()


def test_an_exception_stays_in_its_thread(prefill: Prefill) -> None:
    """What the callback raises comes out of run, whoever else asks the engine in between."""
    engine, raised = prefill.engine, threading.Event()

    def progress(*_: int) -> None:
        raised.set()
        raise KeyboardInterrupt

    def ask() -> None:
        raised.wait()
        for _ in range(200):
            engine.info()

    engine.progress = progress
    for _ in range(20):
        raised.clear()
        prefill.go_to("begun")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask)
            with pytest.raises(KeyboardInterrupt):
                engine.run(0, 1)
            asked.result()


def test_scores_of_a_run_in_progress_are_refused(prefill: Prefill) -> None:
    """The window may span several ubatches: before the last one the sums are those of a part."""
    engine, errors = prefill.engine, []

    def progress(_begin: int, _end: int, done: int, _n: int) -> None:
        try:
            errors.append((done, engine.scores(0).sum()))
        except ValueError as error:
            errors.append((done, str(error)))

    engine.begin(prefill.tokens[:N], 150, 0)
    engine.progress = progress
    engine.run(0, 1, scores=True)
    assert errors == [(done, "layers are running: wait until they are done") for done in (0, 64, 128, 192)]
    engine.progress = None
    assert engine.scores(0).sum() == pytest.approx(150 * 4, rel=1e-4)


READ_ONLY: dict[str, Callable[[Prefill, np.ndarray, np.ndarray], object]] = {
    "k": lambda p, fixed, free: p.engine.get_kv(0, 0, fixed, free),
    "v": lambda p, fixed, free: p.engine.get_kv(0, 0, free, fixed),
    "out": lambda p, fixed, _: p.engine.get_hidden(fixed.view(np.float32)),
}


@pytest.mark.parametrize("spoil", ["read-only", "type", "strides"])
@pytest.mark.parametrize("name", READ_ONLY)
def test_arrays_that_cannot_be_written_to(prefill: Prefill, name: str, spoil: str) -> None:
    prefill.go_to("shallow")
    free = np.zeros((N, 256), dtype=np.uint8)
    fixed = free.copy()
    if spoil == "read-only":
        fixed.flags.writeable = False
    elif spoil == "type":
        fixed = np.zeros((N, 64), dtype=np.float16)
    else:
        fixed = np.zeros((2 * N, 256), dtype=np.uint8)[::2]
    with pytest.raises(ValueError, match=f"{name} is written to: it must be a writable, contiguous array of"):
        if spoil == "type" and name == "out":
            prefill.engine.get_hidden(fixed)  # type: ignore[arg-type]
        else:
            READ_ONLY[name](prefill, fixed, free)
