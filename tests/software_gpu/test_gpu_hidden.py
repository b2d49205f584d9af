"""Hidden states on a device: a document's are held, joined and gathered without a copy of them all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from software_gpu import ALL_LAYERS, SoftwareGpu
from test_gpu_engine import N_SHALLOW, N_UBATCH, WINDOW, Bench, bench_of, selected

from asl_llamacpp.engine.binding import Engine, UnsupportedModelError

N, N_HELD, N_ASKED = 600, 560, 45
ROW = 64 * 4  # bytes of a token's hidden state
PAD = 4096  # what alignment may add


def first_question(bench: Bench, **options: str) -> Engine:
    _, engine = bench.start(**options)
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


# ---- on the host ----------------------------------------------------------------------------------------------------

STAGED = "layerwise_hidden_staged"
ROWS = 2 * N_UBATCH  # of two ubatches, which are all that a device has


def test_the_device_takes_as_much_less_as_they_are(tiny_path: Callable[[str], Path]) -> None:
    """Exactly; they cross once a run in each direction, but for the first run, which reads none, and the last."""
    peaks = {}
    for hidden in ("device", "host"):
        with SoftwareGpu() as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
            _, engine = bench.start(hidden=hidden)
            engine.begin(bench.tokens[:N], WINDOW, 8)
            engine.run(0, 1)
            gpu.reset()
            engine.run(1, N_SHALLOW, scores=True)
            counters = gpu.counters()
            peaks[hidden] = counters.bytes_peak
            n_copies = -(-N // N_UBATCH)
            copies = (n_copies, N * ROW) if hidden == "host" else None
            assert counters.up.get(STAGED) == counters.down.get(STAGED) == copies
            assert counters.bytes_host_live >= (N * ROW if hidden == "host" else 0)
            assert engine.info().hidden_bytes == N * ROW
            kept = selected(0, N)
            engine.keep(kept)
            gpu.reset()
            engine.run(N_SHALLOW, bench.model.n_layer)
            engine.end()
            counters = gpu.counters()
            copies = (-(-len(kept) // N_UBATCH), len(kept) * ROW) if hidden == "host" else None
            assert (counters.up.get(STAGED), counters.down.get(STAGED)) == (copies, None)
    assert peaks["device"] - peaks["host"] == (N - ROWS) * ROW


def test_a_document_held_on_the_host_takes_none_of_the_device(tiny_path: Callable[[str], Path]) -> None:
    live = {}
    for hidden in ("device", "host"):
        with SoftwareGpu() as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
            engine = first_question(bench, hidden=hidden)
            engine.hold(N_HELD)
            finish(bench, engine, N)
            live[hidden] = gpu.counters().bytes_live
            assert engine.info().held_bytes == N * ROW
    assert live["device"] - live["host"] == N * ROW


def test_they_may_be_moved_between_two_prefills(tiny_path: Callable[[str], Path]) -> None:
    """A document that was held in one place is joined with tokens whose states are in another."""
    answers = []
    for first, second in (("device", "device"), ("device", "host"), ("host", "device")):
        with SoftwareGpu() as _, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
            context, engine = bench.start(hidden=first)
            engine.begin(bench.tokens[:N], WINDOW, 8)
            with pytest.raises(ValueError, match="in progress"):
                engine.keep_hidden(True)
            engine.run(0, N_SHALLOW)
            engine.hold(N_HELD)
            finish(bench, engine, N)
            engine.keep_hidden(second == "host")
            engine.resume(N_HELD, bench.tokens[:N_ASKED], WINDOW, 8)
            engine.run(0, N_SHALLOW)
            finish(bench, engine, N_HELD + N_ASKED)
            answers.append(context.logits().tobytes())
    assert answers[0] == answers[1] == answers[2]


def test_memory_that_is_the_hosts_anyway_is_refused(tiny_path: Callable[[str], Path]) -> None:
    with SoftwareGpu(memory="shared", accept="metal") as _, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        engine = first_question(bench)
        finish(bench, engine, N)
        before = engine.info()
        with pytest.raises(UnsupportedModelError, match="layer 0 lies on SGPU0, which has no memory apart"):
            engine.keep_hidden(True)
        assert engine.info() == before


def test_documents_whose_runs_were_divided_otherwise(tiny_path: Callable[[str], Path]) -> None:
    """On two devices their states may then lie on another one than those of the tokens that follow."""
    answers = []
    for devices in (1, 2):
        with SoftwareGpu(devices) as _, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
            context, engine = bench.start()
            n_shallow = bench.model.n_layer - 1
            engine.begin(bench.tokens[:N], WINDOW, 8)
            engine.run(0, 1)
            engine.run(1, n_shallow)  # states lie where this run begins
            engine.hold(N_HELD)
            engine.keep(selected(0, N))
            engine.run(n_shallow, bench.model.n_layer)
            engine.end()
            engine.resume(N_HELD, bench.tokens[:N_ASKED], WINDOW, 8)
            engine.run(0, n_shallow)  # and now where it ends
            engine.keep(selected(0, N_HELD + N_ASKED))
            engine.run(n_shallow, bench.model.n_layer)
            engine.end()
            answers.append(context.logits().tobytes())
    assert answers[0] == answers[1]


def test_a_document_that_goes_deeper_is_copied_only_to_be_overwritten(tiny_path: Callable[[str], Path]) -> None:
    with SoftwareGpu() as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        engine = first_question(bench)
        engine.hold(N_HELD)
        finish(bench, engine, N)
        for il_end, rows in ((N_SHALLOW + 1, N), (bench.model.n_layer, 0)):
            gpu.reset()
            engine.deepen(8)
            assert "layerwise_hidden" not in gpu.counters().across
            held, n_held = engine.info().held_bytes, engine.info().n_held
            assert engine.info().hidden_bytes == 0
            engine.run(engine.info().il_next, il_end)
            assert engine.info().hidden_bytes == (held if rows else 0)
            engine.hold(n_held)
            engine.set_aside()
