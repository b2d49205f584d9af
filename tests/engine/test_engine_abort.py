"""Prefills stopped in any phase, and calls at the wrong moment: no crash, and the context is as good as new."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_abuse import CASES
from llama_cpp import llama_cpp as C
from places import HELPERS
from pruned_prefill import KEPT, N_SHALLOW, PHASES, Logits, N, Prefill

from asl_llamacpp.engine.binding import PrefillAborted

N_LAYER = 6


@pytest.mark.parametrize("phase", PHASES)
def test_abort_in_every_phase(prefill: Prefill, want: Logits, phase: str) -> None:
    prefill.go_to(phase)
    prefill.engine.abort()
    prefill.assert_empty()
    prefill.engine.abort()
    assert prefill.answer().tobytes() == want.tobytes()


@pytest.mark.parametrize("done", [0, 64, 192])
@pytest.mark.parametrize("layers", [(0, N_SHALLOW), (N_SHALLOW, N_SHALLOW + 1)], ids=["shallow", "selection"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_exception_from_progress_stops_within_one_ubatch(
    prefill: Prefill, want: Logits, error: type[BaseException], layers: tuple[int, int], done: int
) -> None:
    calls: list[tuple[int, int, int, int]] = []

    def progress(*call: int) -> None:
        calls.append(call)  # type: ignore[arg-type]
        if call == (*layers, done, N):
            raise error("stop")

    prefill.engine.progress = progress
    prefill.go_to("begun")
    with pytest.raises(error, match="stop"):
        for layer_range in [(0, N_SHALLOW), (N_SHALLOW, N_SHALLOW + 1)]:
            prefill.engine.run(*layer_range, scores=True)
    assert calls[-1] == (*layers, done, N)
    prefill.assert_empty()
    with pytest.raises(ValueError, match="no prefill"):
        prefill.engine.run(*layers)
    prefill.engine.progress = None
    assert prefill.answer().tobytes() == want.tobytes()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exception_from_progress_in_the_deep_layers(prefill: Prefill, want: Logits, error: type[BaseException]) -> None:
    def progress(il_begin: int, il_end: int, done: int, n_tokens: int) -> None:
        assert (il_begin, il_end, n_tokens) == (N_SHALLOW, N_LAYER, len(KEPT))
        raise error("stop")

    prefill.go_to("kept")
    prefill.engine.progress = progress
    with pytest.raises(error, match="stop"):
        prefill.go_to("ran", since="kept")
    prefill.assert_empty()
    prefill.engine.progress = None
    assert prefill.answer().tobytes() == want.tobytes()


def test_progress_is_called_before_each_ubatch(prefill: Prefill) -> None:
    calls: list[tuple[int, int, int, int]] = []
    prefill.engine.progress = lambda *call: calls.append(call)
    prefill.go_to("ended")
    shallow = [(0, N_SHALLOW, done, N) for done in (0, 64, 128, 192)]
    assert calls == [*shallow, (N_SHALLOW, N_LAYER, 0, len(KEPT))]


@pytest.mark.parametrize("n_calls", [0, 2, 20, 100])
def test_abort_callback_of_llama_cpp(prefill: Prefill, want: Logits, n_calls: int) -> None:
    """It is asked between ubatches and by the CPU backend within them."""
    left = n_calls

    @C.ggml_abort_callback
    def stop(_: object) -> bool:
        nonlocal left
        left -= 1
        return left < 0

    C.llama_set_abort_callback(prefill.context.pointer, stop, None)
    prefill.go_to("begun")
    with pytest.raises(PrefillAborted):
        prefill.engine.run(0, N_SHALLOW)
    assert left < 0
    prefill.assert_empty()
    C.llama_set_abort_callback(prefill.context.pointer, C.ggml_abort_callback(), None)
    assert prefill.answer().tobytes() == want.tobytes()


# ---- in a process of their own --------------------------------------------------------------------------------------


def run_abuse(path: Path, *case: str) -> None:
    script = HELPERS / "engine_abuse.py"
    command = [sys.executable, str(script), str(path), *case]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stderr[-3000:]}"


@pytest.mark.parametrize("case", CASES)
def test_abuse_never_crashes(tiny_path: Callable[[str], Path], case: str) -> None:
    run_abuse(tiny_path("tiny-llama"), case)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma2"])
def test_random_calls_never_crash(tiny_path: Callable[[str], Path], name: str, seed: int) -> None:
    run_abuse(tiny_path(name), "fuzz", str(seed))
