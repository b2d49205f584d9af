"""What belongs on a layer's device is computed there, or refused before any work, with what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from llama_fixtures import load
from raw_llama import F16, Q8_0, Context
from software_gpu import ALL_LAYERS, SoftwareGpu
from test_gpu_engine import N_UBATCH, WINDOW, N, bench_of
from tiny_models import TinyModel, write

from asl_llamacpp import UnsupportedModelError
from asl_llamacpp.engine.binding import Engine, deferred_kv
from asl_llamacpp.engine.kinds import Reduction

SPLIT_BY_TENSOR = 3

REFUSED = {
    "FLASH_ATTN_EXT": r"flash attention of layer 0 \(FLASH_ATTN_EXT, heads of 64, K f16, V f16\) cannot be .* by SGPU0",
    "SOFT_MAX": r"the window's attention of layer 0 \(SOFT_MAX, heads of 64, K f16, V f16\) cannot be .* by SGPU0",
    "CONT": r"the window's attention of layer 0 \(CONT,",
    "GET_ROWS": r"tokens cannot be gathered \(GET_ROWS of i32\) by SGPU0, where layer 0 lies",
}


@pytest.mark.parametrize(("operation", "message"), REFUSED.items(), ids=REFUSED)
def test_an_operation_that_the_device_does_not_have(
    tiny_path: Callable[[str], Path], operation: str, message: str
) -> None:
    """Found when the model is opened."""
    with SoftwareGpu(refuse=operation) as gpu:
        with pytest.raises(UnsupportedModelError, match=message) as caught:
            load(tiny_path("tiny-llama"), kv_policy="asl:layer=2", n_gpu_layers=-1)
        assert "n_gpu_layers=0" in str(caught.value)
        assert gpu.counters().graphs == 0
        with closing(load(tiny_path("tiny-llama"), kv_policy="asl:layer=2,select_k=96", n_gpu_layers=0)) as llm:
            llm.eval(list(range(5, 205)))


def test_kv_types_that_the_device_does_not_mix(tiny_path: Callable[[str], Path]) -> None:
    where = {"kv_policy": "asl:layer=2,select_k=96", "n_gpu_layers": -1, "type_k": Q8_0}
    with SoftwareGpu(accept="metal", memory="shared"):
        with pytest.raises(UnsupportedModelError, match=r"K q8_0, V f16\) cannot .* give K and V the same type"):
            load(tiny_path("tiny-llama"), type_v=F16, **where)
        with closing(load(tiny_path("tiny-llama"), type_v=Q8_0, **where)) as llm:
            llm.eval(list(range(5, 205)))


@pytest.mark.parametrize("layers", [2, 5])
def test_layers_on_the_cpu_are_not_looked_at(tiny_path: Callable[[str], Path], layers: int) -> None:
    """The last layers are on the device: the first of these is named."""
    with (
        SoftwareGpu(refuse="SOFT_MAX"),
        pytest.raises(UnsupportedModelError, match=f"attention of layer {6 - layers + 1} "),
    ):
        load(tiny_path("tiny-llama"), kv_policy="asl:layer=2", n_gpu_layers=layers)


def test_kv_off_the_device_is_computed_off_it(tiny_path: Callable[[str], Path]) -> None:
    with SoftwareGpu(refuse="FLASH_ATTN_EXT"):
        settings = {"kv_policy": "asl:layer=2,select_k=96", "n_gpu_layers": -1, "offload_kqv": False}
        with closing(load(tiny_path("tiny-llama"), **settings)) as llm:
            llm.eval(list(range(5, 205)))


@pytest.mark.parametrize(
    ("operation", "scores"),
    [("POOL_2D", Reduction("max", 7)), ("SCALE", Reduction("max", 1)), ("GET_ROWS", Reduction(heads=(1, 2)))],
)
def test_a_reduction_that_the_device_cannot_do(
    tiny_path: Callable[[str], Path], operation: str, scores: Reduction
) -> None:
    """Refused by the run that asks for it, and by that one alone."""
    with SoftwareGpu(refuse=operation) as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        _, engine = bench.start(checked=False)
        engine.begin(bench.tokens[: 3 * N_UBATCH], WINDOW, 8)
        gpu.reset()
        with pytest.raises(UnsupportedModelError, match=rf"window's attention of layer 1 \({operation}, "):
            engine.run(0, 3, {1: scores})
        assert gpu.counters().graphs == 0
        assert engine.info().n_tokens == 0
        engine.begin(bench.tokens[: 3 * N_UBATCH], WINDOW, 8)
        engine.run(0, 3, Reduction("sum"))
        assert np.isfinite(engine.scores(2)).all()


def test_cells_that_cannot_be_gathered_as_integers(tmp_path: Path) -> None:
    """34 bytes a head."""
    path = write(TinyModel("llama", n_head=4, n_head_kv=2, head_dim=32), tmp_path / "small-heads.gguf")
    cells = np.tile(np.r_[0:20, N - WINDOW : N], (2, 1))
    for n_gpu_layers in (0, ALL_LAYERS):
        with SoftwareGpu(), bench_of(path, n_gpu_layers) as bench:
            _, engine = bench.start(kv_type=Q8_0)
            engine.begin(bench.tokens[:N], WINDOW, 8)
            engine.run(0, 1)
            if n_gpu_layers == 0:
                engine.compress(0, cells)
                continue
            with pytest.raises(
                UnsupportedModelError, match=r"layer 0, 34 bytes a head, cannot be gathered by .*: take f16"
            ):
                engine.compress(0, cells)


@pytest.mark.parametrize("window", [1, 16, 17, 32, 100])
def test_at_most_16_rows_of_the_window_at_once(tiny_path: Callable[[str], Path], window: int) -> None:
    """More columns of a product with the keys would be refused, and the run with them."""
    found = []
    for options in ({}, {"view_columns": 16}):
        with SoftwareGpu(**options), bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
            context = Context(bench.model, 1024, 256, creation=deferred_kv())
            bench.contexts.append(context)
            engine = Engine(context.pointer)
            engine.begin(bench.tokens[:N], window, 8)
            engine.run(0, 2, True)
            found.append(engine.scores(1))
    np.testing.assert_array_equal(*found)


def test_where_more_rows_would_be_refused(tiny_path: Callable[[str], Path]) -> None:
    with SoftwareGpu(view_columns=15), bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        _, engine = bench.start(checked=False)
        engine.begin(bench.tokens[: 2 * N_UBATCH], 16, 8)
        with pytest.raises(UnsupportedModelError, match=r"window's attention of layer 0 \(MUL_MAT,"):
            engine.run(0, 1, True)


def test_layers_in_parts_on_several_devices_are_refused(tiny_path: Callable[[str], Path]) -> None:
    with (
        SoftwareGpu(devices=2),
        pytest.raises(UnsupportedModelError, match="split_mode=LLAMA_SPLIT_MODE_TENSOR puts parts of each layer"),
    ):
        load(tiny_path("tiny-llama"), kv_policy="asl:layer=2", n_gpu_layers=-1, split_mode=SPLIT_BY_TENSOR)


def test_a_second_look_is_not_needed(tiny_path: Callable[[str], Path]) -> None:
    """What was found to be on the device is not looked up again; a run counts as a layout more where it is."""
    with SoftwareGpu() as gpu, bench_of(tiny_path("tiny-llama"), ALL_LAYERS) as bench:
        _, engine = bench.start()
        counted = []
        for scores in (True, Reduction("sum"), Reduction("max", 7), Reduction("max", 3)):
            engine.begin(bench.tokens[: 3 * N_UBATCH], WINDOW, 8)
            gpu.reset()
            engine.run(0, 2, scores)
            counted.append(gpu.counters().reservations)
            engine.abort()
        assert counted[0] == counted[1] == counted[3] == counted[2] - 1
