"""The host does not touch or free what the device still works on. A GPU would not say so: it would compute nonsense."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import llama_cpp as C
from raw_llama import Context, Model
from software_gpu import ALL_LAYERS, SoftwareGpu

from asl_llamacpp.engine.binding import Engine, deferred_kv

N_UBATCH, N_CTX, WINDOW = 64, 2048, 32


@pytest.fixture(params=["device", "shared"])
def gpu(request: pytest.FixtureRequest) -> Iterator[SoftwareGpu]:
    with SoftwareGpu(memory=request.param, count=True) as gpu:
        yield gpu


@pytest.fixture
def context(gpu: SoftwareGpu, tiny_path: Callable[[str], Path]) -> Iterator[Context]:
    """A context for the engine, with tiny-llama on the device."""
    model = Model(tiny_path("tiny-llama"), n_gpu_layers=ALL_LAYERS)
    with Context(model, N_CTX, N_UBATCH, creation=deferred_kv()) as context:
        gpu.reset()
        yield context
    model.close()


def assert_no_races(gpu: SoftwareGpu) -> None:
    counted = gpu.counters()
    assert counted.graphs > 0
    assert counted.races == 0, "\n".join(counted.race_messages)


def queue(context: Context, n: int, position: int = 0) -> None:
    """Decode n tokens, and do not wait for their logits."""
    assert context.try_decode(context.model.tokens(n), position) == 0


def test_kv_that_grows_while_the_last_tokens_are_computed(gpu: SoftwareGpu, context: Context) -> None:
    queue(context, 300)
    queue(context, 600, position=300)
    assert Engine(context.pointer).info().n_grow > 0
    assert_no_races(gpu)


def test_cleared_kv(gpu: SoftwareGpu, context: Context) -> None:
    queue(context, 100)
    context.clear()
    assert_no_races(gpu)


def test_kv_that_a_state_replaces(gpu: SoftwareGpu, context: Context) -> None:
    queue(context, 100)
    size = C.llama_state_get_size(context.pointer)
    data = (ctypes.c_uint8 * size)()
    assert C.llama_state_get_data(context.pointer, data, size) == size
    queue(context, 50, position=100)
    assert C.llama_state_set_data(context.pointer, data, size) == size
    assert_no_races(gpu)


@pytest.mark.parametrize("n_done", [N_UBATCH, 3 * N_UBATCH])
def test_prefill_that_stops_between_ubatches(gpu: SoftwareGpu, context: Context, n_done: int) -> None:
    class Stopped(Exception):
        pass

    def stop(_begin: int, _end: int, done: int, _n_tokens: int) -> None:
        if done == n_done:
            raise Stopped

    engine = Engine(context.pointer, progress=stop)
    engine.begin(context.model.tokens(300), WINDOW, 0)
    with pytest.raises(Stopped):
        engine.run(0, 2)
    assert_no_races(gpu)


def test_prefill_that_drops_tokens_and_goes_on(gpu: SoftwareGpu, context: Context) -> None:
    engine = Engine(context.pointer)
    for _ in range(2):
        engine.begin(context.model.tokens(300), WINDOW, 0)
        engine.run(0, 2, scores=True)
        engine.keep(np.r_[10:50, 300 - WINDOW : 300].astype(np.int32))
        engine.run(2, 6)
        engine.end()
        queue(context, 1, position=300)
    assert_no_races(gpu)
