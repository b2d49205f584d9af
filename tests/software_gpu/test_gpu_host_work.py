"""What the host does for a prefill on a device: one layout of the buffers a run, one mask a prompt."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from raw_llama import Context, Model
from software_gpu import ALL_LAYERS, SoftwareGpu
from test_gpu_engine import N_CTX, N_UBATCH, WINDOW, bench_of, selected

from asl_llamacpp.engine.binding import Engine, deferred_kv
from asl_llamacpp.engine.kinds import Reduction

N = 9 * N_UBATCH + WINDOW
N_SHALLOW = 2

PLACES: dict[str, dict[str, Any]] = {
    "as CUDA": {"accept": "cuda"},
    "as Metal": {"accept": "metal", "memory": "shared"},
    "as any other": {},
}

every_place = pytest.mark.parametrize("place", PLACES)
every_model = pytest.mark.parametrize("model", ["tiny-llama", "tiny-gemma2", "tiny-gpt-oss"])


@every_place
@every_model
def test_a_run_lays_out_its_buffers_once(tiny_path: Callable[[str], Path], model: str, place: str) -> None:
    with SoftwareGpu(**PLACES[place]) as gpu, bench_of(tiny_path(model), ALL_LAYERS) as bench:
        context, engine = bench.start()

        def reservations(il_begin: int, il_end: int, scores: bool) -> int:
            gpu.reset()
            engine.run(il_begin, il_end, scores=scores)
            return gpu.counters().reservations

        engine.begin(bench.tokens[:N], WINDOW, 8)
        assert reservations(0, 1, scores=False) <= 1
        assert reservations(1, N_SHALLOW, scores=True) <= 2  # what the window's ubatch computes beside the layers
        engine.keep(selected(0, N))
        assert reservations(N_SHALLOW, bench.model.n_layer, scores=False) <= 1
        engine.end()
        context.logits()


@every_place
@every_model
def test_a_prompt_uploads_one_mask(tiny_path: Callable[[str], Path], model: str, place: str) -> None:
    """Sliding windows have masks of their own, of the size of the window."""
    with SoftwareGpu(**PLACES[place]) as gpu, bench_of(tiny_path(model), ALL_LAYERS) as bench:
        context, engine = bench.start()
        gpu.reset()
        engine.begin(bench.tokens[:N], WINDOW, 8)
        for il in range(bench.model.n_layer):
            engine.run(il, il + 1, scores=True)
        engine.end()
        context.logits()
        up = gpu.counters().up
        swa = any(engine.layer(il).is_swa for il in range(bench.model.n_layer))
    assert up["layerwise_mask"][0] == 1
    assert up["layerwise_mask"][1] <= 2 * N_UBATCH * (N_CTX + N_UBATCH + 512)
    assert up.get("attn_inp_kq_mask", (0, 0))[1] == 0 or swa


@every_place
@every_model
def test_a_contrast_uploads_one_mask(tiny_path: Callable[[str], Path], model: str, place: str) -> None:
    """However many layers are run one by one; where the others have sliding windows, theirs are of that size."""
    n_contrast = 20
    with SoftwareGpu(**PLACES[place]) as gpu, bench_of(tiny_path(model), ALL_LAYERS) as bench:
        _, engine = bench.start()
        gpu.reset()
        engine.begin(bench.tokens[:N], WINDOW, 8)
        engine.contrast(N - 40, bench.tokens[:n_contrast])
        for il in range(bench.model.n_layer):
            engine.run(il, il + 1, scores=True)
        up = gpu.counters().up
        swa = any(engine.layer(il).is_swa for il in range(bench.model.n_layer))
        engine.abort()
    assert up["layerwise_contrast_mask"][0] == 1
    assert up["layerwise_contrast_mask"][1] <= 2 * n_contrast * (N + n_contrast + 256)
    assert up.get("attn_inp_kq_mask", (0, 0))[1] == 0 or swa


@every_place
def test_the_device_is_not_waited_for_between_two_ubatches(tiny_path: Callable[[str], Path], place: str) -> None:
    """Where the graphs begin with hidden states, and have no masks of sliding windows."""
    with SoftwareGpu(**PLACES[place]) as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        context, engine = bench.start()
        engine.begin(bench.tokens[:N], WINDOW, 8)
        engine.run(0, 1)
        gpu.reset()
        engine.run(1, 2, scores=True)
        n_ubatches = gpu.counters().graphs
        assert gpu.counters().up.keys() <= {"layerwise_pos", "layerwise_idxs"}
        assert gpu.counters().blocking_copies <= 3  # these two, and the scores
        assert gpu.counters().synchronizations <= n_ubatches + 4  # the host is two ubatches ahead, and no more
        engine.run(2, bench.model.n_layer)
        engine.end()
        context.logits()


def test_memory_for_one_output(smollm2_path: Path) -> None:
    """A context has room for one token's logits, and takes more for a batch that wants more."""
    n_ubatch = 512
    found, logits = {}, {}
    for all_outputs in (False, True):
        with SoftwareGpu() as gpu, bench_of(smollm2_path, ALL_LAYERS) as bench:
            context = Context(bench.model, N_CTX, n_ubatch, creation=deferred_kv(all_outputs))
            bench.contexts.append(context)
            found[all_outputs] = gpu.counters().bytes_live
            assert context.try_decode(bench.tokens[:20], all_outputs=True) == 0
            logits[all_outputs] = [context.logits(i).tobytes() for i in range(20)]
            assert context.try_decode(bench.tokens[20:40], position=20) == 0
            n_vocab = bench.model.n_vocab
    assert found[True] - found[False] > 0.8 * n_ubatch * n_vocab * 4
    assert logits[False] == logits[True]


@every_place
@pytest.mark.parametrize("ubatch", range(1, 8))
def test_aborted_while_the_device_computes(tiny_path: Callable[[str], Path], place: str, ubatch: int) -> None:
    """Nothing is freed that work in the queue still uses."""
    with SoftwareGpu(**PLACES[place], delay=2000) as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        context, engine = bench.start()
        engine.begin(bench.tokens[:N], WINDOW, 8)
        engine.run(0, 1)

        def stop(_begin: int, _end: int, done: int, _n: int) -> None:
            if done == ubatch * N_UBATCH:
                raise KeyboardInterrupt

        engine.progress = stop
        with pytest.raises(KeyboardInterrupt):
            engine.run(1, 2)
        engine.progress = None
        assert context.try_decode(bench.tokens[:20]) == 0
        assert gpu.counters().races == 0


@every_place
def test_kept_tokens_are_gathered_at_once(tiny_path: Callable[[str], Path], place: str) -> None:
    with SoftwareGpu(**PLACES[place]) as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        _, engine = bench.start()
        engine.begin(bench.tokens[:N], WINDOW, 8)
        engine.run(0, 1)
        gpu.reset()
        engine.keep(selected(0, N))
        assert gpu.counters().blocking_copies == 1  # their indices


@pytest.mark.parametrize("n_ubatch", [256, 96])
def test_cells_that_nothing_was_written_to(tiny_path: Callable[[str], Path], n_ubatch: int) -> None:
    """Attention reads some of them, and multiplies what is there by 0. New device memory holds NaN."""
    path, n = tiny_path("tiny-llama"), 950  # few of the cells, which are a multiple of 256, stay empty
    with closing(Model(path)) as model, Context(model, N_CTX, n_ubatch) as context:
        tokens = model.tokens(n)
        want = context.decode(tokens)
    with SoftwareGpu() as _, bench_of(path, ALL_LAYERS) as bench:
        context = Context(bench.model, N_CTX, n_ubatch, creation=deferred_kv())
        bench.contexts.append(context)
        engine = Engine(context.pointer)
        engine.begin(tokens, WINDOW, 8)
        for il in range(bench.model.n_layer):
            engine.run(il, il + 1, scores=True)
        engine.end()
        assert context.logits().tobytes() == want.tobytes()


ROWS: dict[str, tuple[bool | Reduction, int]] = {
    "each head": (True, 4),
    "their sum": (Reduction("sum"), 1),
    "their maximum": (Reduction("max", 7), 1),
    "two of them": (Reduction(heads=(1, 2)), 2),
}


@every_place
@pytest.mark.parametrize(("scores", "n_rows"), ROWS.values(), ids=ROWS)
def test_only_the_rows_that_are_wanted_come_down(
    tiny_path: Callable[[str], Path], scores: bool | Reduction, n_rows: int, place: str
) -> None:
    n = 9 * N_UBATCH - 5  # the window in one ubatch
    with SoftwareGpu(**PLACES[place]) as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        _, engine = bench.start()
        engine.begin(bench.tokens[:n], WINDOW, 8)
        gpu.reset()
        engine.run(0, 2, scores)
        assert gpu.counters().bytes_down <= 2 * n_rows * n * 4
