"""The KV cache is enlarged while the device still computes: what is copied and freed then must be done with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from llama_fixtures import greedy, load, logits
from raw_llama import Context, Model
from software_gpu import ALL_LAYERS, SoftwareGpu
from test_gpu_engine import N_CTX, N_UBATCH, PLACES

from asl_llamacpp.engine.binding import Engine, deferred_kv

N_CHUNK = 128


def races_for_cells(gpu: SoftwareGpu) -> list[str]:
    """Not those of llama.cpp's scheduler, which lets a device that is far ahead overwrite another one's inputs."""
    messages = [message for i in range(gpu.devices) for message in gpu.counters(i).race_messages]
    return [message for message in messages if "cache_" in message or "freeing" in message]


def by_chunks(model: Model) -> tuple[bytes, int]:
    """A prompt chunk by chunk, as fast as the host can: logits, and how often the cells were moved."""
    tokens = model.tokens(5 * N_CHUNK)
    with Context(model, N_CTX, N_UBATCH, creation=deferred_kv()) as context:
        for i in range(0, len(tokens), N_CHUNK):
            assert context.try_decode(tokens[i : i + N_CHUNK], i) == 0
        return context.logits().tobytes(), Engine(context.pointer).info().n_grow


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma2"])
def test_growth_waits_for_the_last_chunk(tiny_path: Callable[[str], Path], name: str, place: str) -> None:
    with closing(Model(tiny_path(name))) as model:
        want = by_chunks(model)
    assert want[1] >= 1
    options, n_gpu_layers = PLACES[place]
    with (
        SoftwareGpu(delay=2000, count=True, **options) as gpu,
        closing(Model(tiny_path(name), n_gpu_layers=n_gpu_layers)) as model,
    ):
        assert by_chunks(model) == want
        assert races_for_cells(gpu) == []


def test_clearing_waits_for_the_last_chunk(tiny_path: Callable[[str], Path]) -> None:
    with (
        SoftwareGpu(delay=2000, count=True) as gpu,
        closing(Model(tiny_path("tiny-llama"), n_gpu_layers=ALL_LAYERS)) as model,
        Context(model, N_CTX, N_UBATCH, creation=deferred_kv()) as context,
    ):
        tokens = model.tokens(N_CHUNK)
        assert context.try_decode(tokens) == 0
        context.clear()
        assert Engine(context.pointer).info().kv_bytes == 0
        assert context.try_decode(tokens) == 0
        assert races_for_cells(gpu) == []


def test_a_whole_prompt_never_enlarges_the_cache(tiny_path: Callable[[str], Path]) -> None:
    """Of several chunks, under a policy that has nothing to prune; nothing is copied from one buffer to another."""
    settings = {"kv_policy": "asl:select_k=2000", "n_ctx": 2048, "n_ubatch": 64, "n_batch": 128}
    prompt = [3 + 7 * i % 250 for i in range(900)]
    with closing(load(tiny_path("tiny-llama"), **settings)) as llm:
        want = greedy(llm, prompt, 4), logits(llm).tobytes()
    with (
        SoftwareGpu(accept="cuda") as gpu,
        closing(load(tiny_path("tiny-llama"), n_gpu_layers=-1, **settings)) as llm,
    ):
        assert (greedy(llm, prompt, 4), logits(llm).tobytes()) == want
        assert llm._engine is not None and llm._engine.info().n_grow == 0
        assert not any("cache_" in tensor for tensor in gpu.counters().across)
