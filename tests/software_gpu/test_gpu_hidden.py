"""Hidden states on a device: a document's are held, joined and gathered without a copy of them all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from software_gpu import ALL_LAYERS, SoftwareGpu
from test_gpu_engine import N_SHALLOW, WINDOW, Bench, bench_of, selected

from asl_llamacpp.engine.binding import Engine

N, N_HELD, N_ASKED = 600, 560, 45
ROW = 64 * 4  # bytes of a token's hidden state
PAD = 4096  # what alignment may add


def first_question(bench: Bench) -> Engine:
    _, engine = bench.start()
    engine.begin(bench.tokens[:N], WINDOW, 8)
    engine.run(0, N_SHALLOW, scores=True)
    return engine


def finish(bench: Bench, engine: Engine, n: int) -> None:
    engine.keep(selected(0, n))
    engine.run(N_SHALLOW, bench.model.n_layer)
    engine.end()


@pytest.mark.parametrize("memory", ["device", "shared"])
def test_the_next_question_takes_its_own_tokens(tiny_path: Callable[[str], Path], memory: str) -> None:
    with SoftwareGpu(memory=memory) as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        engine = first_question(bench)
        gpu.reset()
        engine.hold(N_HELD)
        assert gpu.counters().allocations == 0
        info = engine.info()
        assert (info.held_bytes, info.hidden_bytes) == (N * ROW, 0)
        engine.keep(selected(0, N))
        info = engine.info()
        assert (info.held_bytes, info.hidden_bytes) == (N * ROW, len(selected(0, N)) * ROW)
        engine.run(N_SHALLOW, bench.model.n_layer)
        engine.end()
        # a second time, so that compute buffers are as large as they will be
        for _ in range(2):
            engine.resume(N_HELD, bench.tokens[:N_ASKED], WINDOW, 8)
            before = gpu.counters().bytes_live
            gpu.reset()
            engine.run(0, N_SHALLOW, scores=True)
            assert engine.info().hidden_bytes == N_ASKED * ROW
            finish(bench, engine, N_HELD + N_ASKED)
        n_cells = N_HELD + N_ASKED + 8
        others = engine.info().kv_bytes + 12 * n_cells + 2 * 64 * (n_cells + 1024)  # KV, inputs and a mask
        assert gpu.counters().bytes_peak - before < others + N_ASKED * ROW + len(selected(0, N)) * ROW + PAD


def test_what_is_held_is_not_overwritten(tiny_path: Callable[[str], Path]) -> None:
    """Layers that run on all tokens after it was held get a copy; the last run only reads."""
    with SoftwareGpu() as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        engine = first_question(bench)
        engine.hold(N_HELD)
        engine.run(N_SHALLOW, N_SHALLOW + 1)
        info = engine.info()
        assert (info.held_bytes, info.hidden_bytes) == (N * ROW, N * ROW)
        engine.hold(N_HELD)
        info = engine.info()
        assert (info.held_bytes, info.hidden_bytes, info.il_held) == (N * ROW, 0, N_SHALLOW + 1)
        engine.run(N_SHALLOW + 1, bench.model.n_layer)
        info = engine.info()
        assert (info.held_bytes, info.hidden_bytes) == (N * ROW, 0)
        engine.end()
        assert gpu.counters().races == 0


def test_little_of_a_prompt_is_copied(tiny_path: Callable[[str], Path]) -> None:
    with SoftwareGpu() as _, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        engine = first_question(bench)
        engine.hold(N // 2)
        info = engine.info()
        assert (info.held_bytes, info.hidden_bytes) == (N // 2 * ROW, N * ROW)
        finish(bench, engine, N)
        assert engine.info().held_bytes == N // 2 * ROW


def test_tokens_chosen_before_the_first_layer_take_no_more_than_a_prompt_of_them(
    tiny_path: Callable[[str], Path],
) -> None:
    """Device memory and what goes up, tensor by tensor: as if the prompt had never had the others."""
    with SoftwareGpu() as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        _, engine = bench.start()
        kept, told = selected(0, N), []
        for n in (len(kept), N, len(kept)):  # once, so that compute buffers are as large as they will be
            engine.begin(bench.tokens[:n], WINDOW, 8)
            gpu.reset()
            if n == N:
                engine.keep(kept)
            engine.run(0, N_SHALLOW, scores=True)
            assert engine.info().hidden_bytes == len(kept) * ROW
            engine.run(N_SHALLOW, bench.model.n_layer)
            engine.end()
            told.append((gpu.counters().bytes_peak, gpu.counters().up))
        assert told[1] == told[2]
