"""What the host does for a prefill on a device: one layout of the buffers a run, one mask a prompt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from software_gpu import ALL_LAYERS, SoftwareGpu
from test_gpu_engine import N_CTX, N_UBATCH, WINDOW, bench_of, selected

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
    assert up["layerwise_mask"][0] == N_UBATCH
    assert up["layerwise_mask"][1] <= 2 * N_UBATCH * (N_CTX + N_UBATCH + 512)
    assert up.get("attn_inp_kq_mask", (0, 0))[1] == 0 or swa
