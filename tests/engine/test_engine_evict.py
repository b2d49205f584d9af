"""Once tokens are selected, their cells alone stay in the layers before: gathered on the device, or by the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from numpy_model import NumpyModel
from raw_llama import F16, Q8_0, C, Context, LoadModel, Model
from tiny_models import TINY_MODELS

from asl_llamacpp.engine.binding import Engine, deferred_kv

N, WINDOW, N_DECODE, N_CTX, N_UBATCH, HEADROOM = 150, 32, 3, 1024, 64, 8
KEPT = np.r_[3:9, 40:75, 100:101, N - WINDOW : N].astype(np.int32)
IL = 3  # layers that run on all tokens

Rows = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def rows(engine: Engine, il: int, positions: NDArray[np.int32]) -> Rows:
    """K and V of a layer at positions that may have gaps."""
    layer, k, v = engine.layer(il), [], []
    for run in np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1):
        k.append(np.empty((len(run), layer.k_bytes), dtype=np.uint8))
        v.append(np.empty((len(run), layer.v_bytes), dtype=np.uint8))
        engine.get_kv(il, int(run[0]), k[-1], v[-1])
    return np.concatenate(k), np.concatenate(v)


def context_of(model: Model, kv_type: int = F16, **settings: bool) -> Context:
    return Context(model, N_CTX, N_UBATCH, kv_type=kv_type, creation=deferred_kv(), **settings)


def full_layers(engine: Engine, n_layer: int) -> list[int]:
    return [il for il in range(n_layer) if not engine.layer(il).is_swa]


def in_place(engine: Engine, tokens: NDArray[np.int32], il: int = IL) -> None:
    engine.begin(tokens[:N], WINDOW, HEADROOM)
    engine.run(0, il)
    engine.evict(KEPT)


def by_host(engine: Engine, tokens: NDArray[np.int32], il: int = IL) -> None:
    engine.begin(tokens[:N], WINDOW, HEADROOM)
    waiting: dict[int, Rows] = {}
    for i in range(il):
        engine.run(i, i + 1)
        if not engine.layer(i).is_swa:
            waiting[i] = rows(engine, i, np.arange(N, dtype=np.int32))
            engine.release(i)
            assert engine.layer(i).n_cells == engine.layer(i).bytes == 0
    for i, (k, v) in waiting.items():
        engine.refill(i, KEPT, k[KEPT], v[KEPT])


WAYS = {"in place": in_place, "by the host": by_host}


def finish(engine: Engine, il: int = IL) -> None:
    n_layer = engine.info().n_layer
    if il < n_layer:
        engine.keep(KEPT)
        engine.run(il, n_layer)
    engine.end()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("swa_full", [True, False], ids=["swa_full", "ring"])
@pytest.mark.parametrize("kv_type", [F16, Q8_0], ids=["f16", "q8_0"])
@pytest.mark.parametrize("name", TINY_MODELS)
def test_the_cells_left_are_those_of_the_whole_prompt(
    load_model: LoadModel, name: str, kv_type: int, swa_full: bool, way: str
) -> None:
    model = load_model(name)
    tokens, il = model.tokens(N), min(IL, model.n_layer - 1)
    with (
        context_of(model, kv_type, swa_full=swa_full) as context,
        context_of(model, kv_type, swa_full=swa_full) as all_,
    ):
        engine, whole = Engine(context.pointer), Engine(all_.pointer)
        WAYS[way](engine, tokens, il)
        finish(engine, il)
        whole.begin(tokens, WINDOW, HEADROOM)
        whole.run(0, il)
        for i in full_layers(engine, il):
            for got, want in zip(rows(engine, i, KEPT), rows(whole, i, KEPT), strict=True):
                assert got.tobytes() == want.tobytes()
        for i in full_layers(engine, model.n_layer):
            assert engine.positions(i).tolist() == KEPT.tolist()
            assert engine.layer(i).n_cells_max == 256 and not engine.layer(i).is_compressed
        ring = [i for i in range(il) if engine.layer(i).is_swa]
        assert [engine.layer(i).n_cells for i in ring] == [whole.layer(i).n_cells for i in ring]
        if not ring:
            assert engine.info().n_groups == 1, "all layers hold the same: they decode as one"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("il", [1, IL, 0], ids=["1 layer", "3 layers", "all layers"])
@pytest.mark.parametrize("name", TINY_MODELS)
def test_the_answer_attends_to_those_cells_alone(
    load_model: LoadModel, tiny_path: Callable[[str], Path], name: str, il: int, way: str
) -> None:
    model, reference = load_model(name), NumpyModel(tiny_path(name))
    il = min(il or model.n_layer, model.n_layer)
    tokens = model.tokens(N + N_DECODE)
    _, first = reference.prefill(tokens[:N], WINDOW, {il: KEPT})
    for i in range(il):
        if not reference.is_swa[i]:
            reference.k[i], reference.v[i] = reference.k[i][KEPT], reference.v[i][KEPT]
            reference.positions[i] = reference.positions[i][KEPT]
    want = np.stack([first, *(reference.decode(int(t), N + i) for i, t in enumerate(tokens[N:]))])
    with context_of(model) as context:
        engine = Engine(context.pointer)
        WAYS[way](engine, tokens, il)
        finish(engine, il)
        got = np.concatenate([context.logits()[None], context.decode_each(tokens[N:], N)])
    np.testing.assert_allclose(got, want, rtol=0, atol=0.04)


@pytest.mark.parametrize("kv_type", [F16, Q8_0], ids=["f16", "q8_0"])
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma2"])
def test_both_ways_are_the_same_and_grow_and_are_saved(load_model: LoadModel, name: str, kv_type: int) -> None:
    """Bit for bit, while the answer outgrows its room; and it goes on where the state was loaded."""
    model = load_model(name)
    tokens = model.tokens(N + 300)
    found = []
    for way in WAYS.values():
        with context_of(model, kv_type) as context, context_of(model, kv_type) as other:
            engine = Engine(context.pointer)
            way(engine, tokens)
            finish(engine)
            answer = [context.decode(tokens[N : N + 200], N)]
            size = C.llama_state_get_size(context.pointer)
            state = (C.ctypes.c_uint8 * size)()
            assert C.llama_state_get_data(context.pointer, state, size) == size
            assert C.llama_state_set_data(other.pointer, state, size) == size
            for one in (context, other):
                answer.append(one.decode_each(tokens[N + 200 :], N + 200))
            # a ring comes back in another order, and sums are rounded differently
            np.testing.assert_allclose(answer[-1], answer[-2], rtol=0, atol=0.02 if name == "tiny-gemma2" else 0)
            assert engine.info().n_grow > 0
            found.append((bytes(state), [logits.tobytes() for logits in answer]))
    assert found[0] == found[1]


def test_what_follows_can_be_removed(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens = model.tokens(N + 20)
    with context_of(model) as context:
        engine = Engine(context.pointer)
        in_place(engine, tokens)
        finish(engine)
        first = context.decode_each(tokens[N:], N)
        memory = C.llama_get_memory(context.pointer)
        assert C.llama_memory_seq_rm(memory, 0, N, -1)
        assert context.decode_each(tokens[N:], N).tobytes() == first.tobytes()
        assert C.llama_memory_seq_rm(memory, 0, 60, 75), "each cell is one token's, so that any can go"
        assert engine.positions(0).tolist() == [p for p in [*KEPT, *range(N, N + 20)] if not 60 <= p < 75]


@pytest.mark.parametrize("swa_full", [True, False], ids=["swa_full", "ring"])
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma2"])
def test_a_held_document_stays_whole_beside(load_model: LoadModel, name: str, swa_full: bool) -> None:
    """The next question about it is answered as if nothing had been evicted for the one before."""
    if name == "tiny-gemma2" and not swa_full:
        pytest.skip("a ring of cells has moved on, so that such a document is copied")
    model, n_held = load_model(name), 100
    tokens, rest = model.tokens(N), model.tokens(60, seed=1)
    asked = np.concatenate([tokens[:n_held], rest[:50]])
    found = []
    for evicts in (True, False):
        with context_of(model, swa_full=swa_full) as context:
            engine = Engine(context.pointer)
            engine.begin(tokens, WINDOW, HEADROOM)
            engine.run(0, IL)
            engine.hold(n_held)
            whole = rows(engine, 1, np.arange(n_held, dtype=np.int32))
            if evicts:
                engine.evict(KEPT, keep_held=True)
            finish(engine)
            first = context.decode_each(rest[50:], N)
            info = engine.info()
            assert (info.n_held, info.il_held, info.held_in_cache) == (n_held, IL, 1)
            if evicts:
                assert engine.positions(1).tolist() == [*KEPT, *range(N, N + 10)]
                assert info.held_bytes > 2 * engine.layer(1).bytes
                if name == "tiny-llama":
                    with context_of(model) as other:
                        alone = Engine(other.pointer)
                        in_place(alone, tokens)
                        finish(alone)
                        assert other.decode_each(rest[50:], N).tobytes() == first.tobytes()
            held = rows(engine, 1, np.arange(n_held, dtype=np.int32))
            assert [one.tobytes() for one in held] == [one.tobytes() for one in whole]
            engine.resume(n_held, asked[n_held:], WINDOW, HEADROOM)
            engine.run(0, IL)
            engine.evict(KEPT)
            assert engine.info().n_held == 0, "it was not to be kept"
            finish(engine)
            found.append(context.decode_each(rest[50:], N).tobytes())
    assert found[0] == found[1]


def test_a_held_document_outlives_a_failure_after_the_eviction(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens = model.tokens(N)
    with context_of(model) as context:
        engine = Engine(context.pointer)
        engine.begin(tokens, WINDOW, HEADROOM)
        engine.run(0, IL)
        engine.hold(100)
        engine.evict(KEPT, keep_held=True)
        engine.keep(KEPT)

        def stop(*_: int) -> None:
            raise KeyboardInterrupt

        engine.progress = stop
        with pytest.raises(KeyboardInterrupt):
            engine.run(IL, model.n_layer)
        engine.progress = None
        info = engine.info()
        assert (info.n_tokens, info.n_held, info.kv_bytes) == (0, 100, 0)
        engine.resume(100, tokens[100:], WINDOW, HEADROOM)
        engine.run(0, IL)
        finish(engine)


def test_misuse_is_refused_and_changes_nothing(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens = model.tokens(N)
    k, v = (np.zeros((len(KEPT), 256), dtype=np.uint8) for _ in "kv")
    with context_of(model) as context:
        engine = Engine(context.pointer)
        for call in (lambda: engine.evict(KEPT), lambda: engine.release(0), lambda: engine.refill(0, KEPT, k, v)):
            with pytest.raises(ValueError, match="no prefill"):
                call()
        engine.begin(tokens, WINDOW, HEADROOM)
        with pytest.raises(ValueError, match="come first"):
            engine.evict(KEPT)
        engine.run(0, 2)
        for positions, why in (
            (KEPT[:-1], "window must be kept"),
            (KEPT[::-1], "increasing"),
            (KEPT[-5:], "fewer positions"),
            ([*KEPT, N], "not among"),
        ):
            with pytest.raises(ValueError, match=why):
                engine.evict(positions)
        with pytest.raises(ValueError, match="not the only one"):
            engine.release(1)
        with pytest.raises(ValueError, match="was not released"):
            engine.refill(1, KEPT, k, v)
        engine.run(2, 3)
        engine.release(2)
        for il in (0, 2, 9, -1):
            with pytest.raises(ValueError, match=r"not in the last run|not the only one"):
                engine.release(il)
        with pytest.raises(ValueError, match="released"):
            engine.evict(KEPT)
        with pytest.raises(ValueError, match="does not hold all"):
            engine.hold(100)
        engine.run(3, 4)
        engine.release(3)
        with pytest.raises(ValueError, match="bytes of K"):
            engine.refill(2, KEPT, k[1:], v)
        engine.refill(3, KEPT, k, v)
        with pytest.raises(ValueError, match="from the first on"):
            engine.refill(2, KEPT, k, v)
        engine.run(4, model.n_layer)
        with pytest.raises(ValueError, match="layer 2 was released, and not refilled"):
            engine.end()
        engine.abort()
        engine.begin(tokens, WINDOW, HEADROOM)
        for il in (0, 1):
            engine.run(il, il + 1)
            engine.release(il)
        engine.keep(KEPT)
        engine.refill(0, KEPT, k, v)
        with pytest.raises(ValueError, match="same positions"):
            engine.refill(1, KEPT[1:], k[1:], v[1:])
        engine.refill(1, KEPT, k, v)
        engine.run(2, model.n_layer)
        engine.end()
        in_place(engine, tokens)
        with pytest.raises(ValueError, match="evicted already"):
            engine.evict(KEPT)
        with pytest.raises(ValueError, match="hold before evict"):
            engine.hold(100)
        finish(engine)
        assert engine.info().n_groups == 1


def test_the_peak_is_one_layer_and_what_stays(load_model: LoadModel) -> None:
    """With 512 cells a layer for the prompt and 256 for what is kept."""
    model = load_model("tiny-llama")
    tokens = model.tokens(500)
    kept = np.r_[0:40, 500 - WINDOW : 500].astype(np.int32)
    with context_of(model) as context:
        engine = Engine(context.pointer)
        engine.begin(tokens, WINDOW, HEADROOM)
        waiting = {}
        for il in range(4):
            engine.run(il, il + 1)
            full = engine.layer(il).bytes
            waiting[il] = rows(engine, il, np.arange(500, dtype=np.int32))
            engine.release(il)
        assert engine.info().kv_bytes_peak == full and engine.info().kv_bytes == 0
        for il, (k, v) in waiting.items():
            engine.refill(il, kept, k[kept], v[kept])
        engine.keep(kept)
        engine.run(4, model.n_layer)
        engine.end()
        info = engine.info()
        assert info.kv_bytes == info.kv_bytes_peak == 6 * full // 2
        engine.begin(tokens, WINDOW, HEADROOM)
        engine.run(0, 4)
        engine.evict(kept)
        assert engine.info().kv_bytes_peak == 4 * full + full // 2
        assert engine.info().kv_bytes == 4 * full // 2


@pytest.mark.parametrize("swa_full", [True, False], ids=["swa_full", "ring"])
@pytest.mark.parametrize("way", ["evict", "compress"])
def test_sliding_windows_grow_although_the_others_have_room(load_model: LoadModel, way: str, swa_full: bool) -> None:
    """They keep what the others dropped, and so are full earlier."""
    model = load_model("tiny-gemma2")
    tokens = model.tokens(N + 300)
    rows_kept = np.tile(KEPT, (2, 1))
    found = []
    for n_batch in (1, N_UBATCH):
        with context_of(model, swa_full=swa_full) as context:
            engine = Engine(context.pointer)
            engine.begin(tokens[:N], WINDOW, HEADROOM)
            for il in range(model.n_layer):
                engine.run(il, il + 1)
                if way == "compress" and not engine.layer(il).is_swa:
                    engine.compress(il, rows_kept)
            if way == "evict":
                engine.evict(KEPT)
            engine.end()
            before = engine.info().n_grow
            for i in range(N, N + 300, n_batch):
                context.decode(tokens[i : min(i + n_batch, N + 300)], i)
            assert engine.info().n_grow > before
            found.append(context.logits())
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=0.05)
