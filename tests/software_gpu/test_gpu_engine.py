"""Layer-wise prefills on devices that the host cannot look into: the CPU's numbers, bit for bit, and no race."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_cpp import llama_cpp as C
from numpy.typing import NDArray
from raw_llama import F16, Q8_0, Context, Model
from software_gpu import ALL_LAYERS, SoftwareGpu

from asl_llamacpp.engine.binding import Engine, deferred_kv, model_layers
from asl_llamacpp.engine.kinds import Reduction

N, WINDOW, N_UBATCH, N_CTX = 200, 32, 64, 1024
N_SHALLOW = 2

IQ4_NL = 20  # ggml type

PLACES: dict[str, tuple[dict[str, Any], int]] = {
    "device": ({"accept": "cuda"}, ALL_LAYERS),
    "shared memory": ({"accept": "metal", "memory": "shared"}, ALL_LAYERS),
    "deep half": ({"accept": "cuda"}, 3),
    "two devices": ({"accept": "cuda", "devices": 2}, ALL_LAYERS),
}
"""Options of the software GPU, and n_gpu_layers."""

Arrays = list[NDArray[Any]]


class Bench:
    """A model and what belongs to one scenario on it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tokens = model.tokens(700)
        self.contexts: list[Context] = []

    def start(self, checked: bool = True, hidden: str = "device", **options: Any) -> tuple[Context, Engine]:
        context = Context(self.model, N_CTX, N_UBATCH, creation=deferred_kv(), **options)
        self.contexts.append(context)
        engine = Engine(context.pointer)
        engine.keep_hidden(hidden == "host")
        if checked:
            engine.check()
        return context, engine

    def close(self) -> None:
        for context in self.contexts:
            context.close()
        self.model.close()


def selected(seed: int, n: int = N) -> NDArray[np.int32]:
    past = np.random.default_rng(seed).choice(n - WINDOW, 60, replace=False)
    return np.concatenate([np.sort(past), np.arange(n - WINDOW, n)]).astype(np.int32)


def scores_of(engine: Engine, n_layers: int) -> Arrays:
    return [engine.scores(il) for il in range(n_layers) if not engine.layer(il).is_swa]


def go_deep(bench: Bench, context: Context, engine: Engine, seed: int = 0, n: int = N) -> Arrays:
    """Keep some tokens, run the other layers and decode: logits."""
    engine.keep(selected(seed, n))
    engine.run(N_SHALLOW, bench.model.n_layer)
    engine.end()
    return [context.logits(), context.decode_each(bench.tokens[-3:], n)]


def pruned(bench: Bench, scores: bool | Reduction = True, **options: Any) -> Arrays:
    context, engine = bench.start(**options)
    engine.begin(bench.tokens[:N], WINDOW, 8)
    engine.run(0, N_SHALLOW, scores)
    return scores_of(engine, N_SHALLOW) + go_deep(bench, context, engine)


def kept_first(bench: Bench, **options: Any) -> Arrays:
    """Tokens are chosen before the first layer; saved, loaded and decoded beyond the room that there is."""
    context, engine = bench.start(**options)
    engine.begin(bench.tokens[:N], WINDOW, 0)
    engine.keep(selected(3))
    engine.run(0, N_SHALLOW, scores=True)
    arrays = scores_of(engine, N_SHALLOW)
    engine.run(N_SHALLOW, bench.model.n_layer)
    engine.end()
    arrays.append(context.logits())
    size = C.llama_state_get_size(context.pointer)
    data = (ctypes.c_uint8 * size)()
    assert C.llama_state_get_data(context.pointer, data, size) == size
    other, loaded = bench.start(**options)
    assert C.llama_state_set_data(other.pointer, data, size) == size
    assert other.try_decode(bench.tokens[:200], N) == 0 and loaded.info().n_grow > 0
    return [*arrays, other.logits()]


def layer_by_layer(bench: Bench, **options: Any) -> Arrays:
    """With a contrast beside it; then a document that is held, asked, and carried to its end layer by layer."""
    context, engine = bench.start(**options)
    engine.begin(bench.tokens[:N], WINDOW, 8)
    engine.contrast(N - 20, bench.tokens[500:520])
    arrays: Arrays = []
    for il in range(N_SHALLOW):
        engine.run(il, il + 1, scores=True)
        if not engine.layer(il).is_swa:
            arrays += [engine.scores(il), engine.contrast_scores(il)]
    engine.hold(N_HELD)
    arrays += go_deep(bench, context, engine)
    arrays += next_question(bench, context, engine, 1)
    engine.set_aside()
    for il in range(N_SHALLOW, bench.model.n_layer):
        engine.deepen(8)
        engine.run(il, il + 1)
        engine.hold(N_HELD)
        engine.set_aside()
    engine.resume(N_HELD, bench.tokens[:45], WINDOW, 8)
    engine.run(0, bench.model.n_layer)
    engine.end()
    return [*arrays, context.logits(), context.decode_each(bench.tokens[-3:], N)]


def compressed(bench: Bench) -> Arrays:
    context, engine = bench.start()
    engine.begin(bench.tokens[:N], WINDOW, 8)
    for il in range(bench.model.n_layer):
        if il == N_SHALLOW:
            engine.keep(selected(0))
        n = engine.info().n_kept
        engine.run(il, il + 1, scores=True)
        if not engine.layer(il).is_swa:
            rows = [np.sort(np.random.default_rng(head).choice(n - WINDOW, 20, replace=False)) for head in range(2)]
            engine.compress(il, np.array([[*row, *range(n - WINDOW, n)] for row in rows], dtype=np.int32))
    engine.end()
    return [context.logits(), context.decode_each(bench.tokens[-3:], N)]


N_HELD = N - 45


def first_question(bench: Bench, context: Context, engine: Engine) -> Arrays:
    engine.begin(bench.tokens[:N], WINDOW, 8)
    engine.run(0, N_SHALLOW, scores=True)
    engine.hold(N_HELD)
    return go_deep(bench, context, engine)


def next_question(bench: Bench, context: Context, engine: Engine, seed: int) -> Arrays:
    engine.resume(N_HELD, bench.tokens[N * seed : N * seed + 45], WINDOW, 8)
    engine.run(0, N_SHALLOW, scores=True)
    return scores_of(engine, N_SHALLOW) + go_deep(bench, context, engine, seed)


def held(bench: Bench, checked: bool = True, **options: Any) -> Arrays:
    context, engine = bench.start(checked, **options)
    arrays = first_question(bench, context, engine)
    for seed in (1, 2):
        arrays += next_question(bench, context, engine, seed)
    return arrays


def parked(bench: Bench, **options: Any) -> Arrays:
    context, engine = bench.start(**options)
    arrays = first_question(bench, context, engine)
    engine.park(1)
    context.decode(bench.tokens[300:500])
    context.clear()
    engine.unpark(1)
    return arrays + next_question(bench, context, engine, 1)


def on_the_host(bench: Bench, **options: Any) -> Arrays:
    """The document's KV and hidden states leave the device, and come back on another context."""
    context, engine = bench.start(**options)
    arrays = first_question(bench, context, engine)
    hidden = np.empty((N_HELD, 64), dtype=np.float32)
    engine.get_hidden(hidden)
    layers = []
    for il in range(N_SHALLOW):
        layer, shape = engine.layer(il), model_layers(bench.model.pointer)[il]
        first = max(0, N_HELD - shape.n_swa) if layer.is_swa else 0
        sizes = (layer.k_bytes, layer.v_bytes)
        k, v = (np.empty((N_HELD - first, size), dtype=np.uint8) for size in sizes)
        engine.get_kv(il, first, k, v)
        layers.append((first, k, v))
        arrays += [k, v]

    other, second = bench.start(**options)
    second.restore(bench.tokens[:N_HELD], N_SHALLOW, hidden)
    second.resume(N_HELD, bench.tokens[N : N + 45], WINDOW, 8)
    for il, (first, k, v) in enumerate(layers):
        second.put_kv(il, first, k, v)
        second.run(il, il + 1, scores=True)
    return [*arrays, hidden, *go_deep(bench, other, second)]


def state(bench: Bench, **options: Any) -> Arrays:
    """A pruned cache that is saved, and loaded into another context."""
    context, engine = bench.start(**options)
    arrays = first_question(bench, context, engine)
    size = C.llama_state_get_size(context.pointer)
    data = (ctypes.c_uint8 * size)()
    assert C.llama_state_get_data(context.pointer, data, size) == size
    other, _ = bench.start(**options)
    assert C.llama_state_set_data(other.pointer, data, size) == size
    return [*arrays, other.decode_each(bench.tokens[400:405], N + 3)]


def grown(bench: Bench, **options: Any) -> Arrays:
    context, engine = bench.start(**options)
    engine.begin(bench.tokens[:N], WINDOW, 0)
    engine.run(0, N_SHALLOW, scores=True)
    arrays = go_deep(bench, context, engine)
    for position in (N + 3, N + 203):
        assert context.try_decode(bench.tokens[:200], position) == 0
    assert engine.info().n_grow > 0
    return [*arrays, context.logits()]


SCENARIOS: dict[str, Callable[[Bench], Arrays]] = {
    "pruned": pruned,
    "pruned by products": lambda bench: pruned(bench, Reduction(products=True)),
    "heads added up": lambda bench: pruned(bench, Reduction("sum")),
    "heads' maximum": lambda bench: pruned(bench, Reduction("max", 7)),
    "some heads": lambda bench: pruned(bench, Reduction(heads=(0, 2, 3))),
    "some heads' maximum": lambda bench: pruned(bench, Reduction("max", 7, heads=(1, 3))),
    "pruned, q8_0": lambda bench: pruned(bench, kv_type=Q8_0),
    "pruned, no flash attention": lambda bench: pruned(bench, flash_attn=False, kv_type=F16),
    "pruned, KV on the host": lambda bench: pruned(bench, offload_kqv=False),
    "kept first": kept_first,
    "kept first, q8_0": lambda bench: kept_first(bench, kv_type=Q8_0),
    "layer by layer": layer_by_layer,
    "compressed": compressed,
    "held": held,
    "parked": parked,
    "on the host": on_the_host,
    "state": state,
    "grown": grown,
    "held, q8_0": lambda bench: held(bench, kv_type=Q8_0),
    "held, iq4_nl": lambda bench: held(bench, False, kv_type=IQ4_NL),  # no CUDA kernel takes rows out of it
    "on the host, q8_0": lambda bench: on_the_host(bench, kv_type=Q8_0),
    "state, q8_0": lambda bench: state(bench, kv_type=Q8_0),
    "grown, q8_0": lambda bench: grown(bench, kv_type=Q8_0),
}
ON_HOST: dict[str, Callable[..., Arrays]] = {
    "pruned": pruned,
    "kept first": kept_first,
    "layer by layer": layer_by_layer,
    "held": held,
    "parked": parked,
    "on the host": on_the_host,
    "held, q8_0": lambda bench, **options: held(bench, kv_type=Q8_0, **options),
}
"""Those that keep hidden states, which may lie on the host."""
OF_WINDOWS = [
    "pruned",
    "kept first",
    "layer by layer",
    "held",
    "on the host",
    "state",
    "held, q8_0",
    "on the host, q8_0",
]
MODELS = {"tiny-llama": list(SCENARIOS), "tiny-gemma2": OF_WINDOWS, "tiny-gpt-oss": OF_WINDOWS}
CASES = [(model, scenario) for model, scenarios in MODELS.items() for scenario in scenarios]


@contextmanager
def bench_of(path: Path, n_gpu_layers: int) -> Iterator[Bench]:
    bench = Bench(Model(path, n_gpu_layers=n_gpu_layers))
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture(scope="module")
def on_the_cpu(tiny_path: Callable[[str], Path]) -> Callable[[str, str], Arrays]:
    @cache
    def run(model: str, scenario: str) -> Arrays:
        with bench_of(tiny_path(model), 0) as bench:
            return SCENARIOS[scenario](bench)

    return run


def assert_same(got: Arrays, want: Arrays) -> None:
    """Bit for bit."""
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert a.tobytes() == b.tobytes(), f"array {i} of {len(want)}"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("model", "scenario"), CASES)
def test_the_numbers_are_those_of_the_cpu(
    tiny_path: Callable[[str], Path],
    on_the_cpu: Callable[[str, str], Arrays],
    model: str,
    scenario: str,
    place: str,
) -> None:
    want = on_the_cpu(model, scenario)
    options, n_gpu_layers = PLACES[place]
    with SoftwareGpu(**options) as gpu, bench_of(tiny_path(model), n_gpu_layers) as bench:
        got = SCENARIOS[scenario](bench)
        assert all(gpu.counters(i).graphs >= 5 for i in range(gpu.devices))
    assert len(got) == len(want)
    assert_same(got, want)


@pytest.mark.parametrize("place", [place for place, (options, _) in PLACES.items() if "memory" not in options])
@pytest.mark.parametrize("scenario", ON_HOST)
@pytest.mark.parametrize("model", MODELS)
def test_hidden_states_on_the_host_change_no_number(
    tiny_path: Callable[[str], Path],
    on_the_cpu: Callable[[str, str], Arrays],
    model: str,
    scenario: str,
    place: str,
) -> None:
    want = on_the_cpu(model, scenario)
    options, n_gpu_layers = PLACES[place]
    with SoftwareGpu(**options) as gpu, bench_of(tiny_path(model), n_gpu_layers) as bench:
        got = ON_HOST[scenario](bench, hidden="host")
        staged = any("layerwise_hidden_staged" in gpu.counters(i).up for i in range(gpu.devices))
        assert staged or place == "deep half"  # where the shallow layers are on the CPU
    assert_same(got, want)


@pytest.mark.parametrize("scenario", ON_HOST)
def test_hidden_states_of_a_cpu_are_on_the_host_already(
    tiny_path: Callable[[str], Path], on_the_cpu: Callable[[str, str], Arrays], scenario: str
) -> None:
    with bench_of(tiny_path("tiny-gemma2"), 0) as bench:
        got = ON_HOST[scenario](bench, hidden="host")
    assert [a.tobytes() for a in got] == [a.tobytes() for a in on_the_cpu("tiny-gemma2", scenario)]


@pytest.mark.parametrize("place", ["device", "shared memory"])
@pytest.mark.parametrize("model", MODELS)
def test_nothing_falls_back_to_the_host(tiny_path: Callable[[str], Path], model: str, place: str) -> None:
    """A pass over some layers is one graph on the device: no operation of it is one that the device refuses."""
    options, n_gpu_layers = PLACES[place]
    with SoftwareGpu(**options) as gpu, bench_of(tiny_path(model), n_gpu_layers) as bench:
        context, engine = bench.start()
        engine.begin(bench.tokens[:N], WINDOW, 8)
        gpu.reset()
        engine.run(0, N_SHALLOW, scores=True)
        n_ubatches = -(-N // N_UBATCH)
        assert gpu.counters().graphs == n_ubatches
        engine.keep(selected(0))
        gpu.reset()
        engine.run(N_SHALLOW, bench.model.n_layer)
        assert gpu.counters().graphs == 2
        engine.end()
        context.logits()
