"""Tokens that are chosen before the first layer: the others are never computed, and no layer has cells for them."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from engines import engine_of
from llama_cpp import llama_cpp as C
from numpy.typing import NDArray
from numpy_model import NumpyModel
from places import HELPERS
from quantized_cells import quantized
from raw_llama import F16, Q8_0, Context, LoadModel
from test_stock_equality import STOCK_LIB
from tiny_models import TINY_MODELS

from asl_llamacpp.engine.binding import Engine
from asl_llamacpp.engine.kinds import Reduction

N, WINDOW, N_UBATCH, N_CTX, N_DECODE, HEADROOM = 300, 16, 64, 512, 5, 8
KEPT = np.r_[0:3, 40:75, 100:101, 130:200:3, N - WINDOW : N].astype(np.int32)
M = len(KEPT)

Logits = NDArray[np.float32]


def start(engine: Engine, tokens: NDArray[np.int32]) -> None:
    engine.begin(tokens[:N], WINDOW, HEADROOM)
    engine.keep(KEPT)


def finish(engine: Engine, bounds: tuple[int, ...] = ()) -> None:
    n_layer = engine.info().n_layer
    for begin, end in zip((0, *bounds), (*bounds, n_layer), strict=True):
        engine.run(begin, end)
    engine.end()


def answer(context: Context, tokens: NDArray[np.int32]) -> Logits:
    return np.concatenate([context.logits()[None], context.decode_each(tokens[N:], N)])


# ---- the right numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(), (1,), (1, 2)], ids=str)
@pytest.mark.parametrize("swa_full", [True, False], ids=["swa_full", "ring"])
@pytest.mark.parametrize("name", TINY_MODELS)
def test_the_logits_are_those_of_the_definition(
    load_model: LoadModel, name: str, swa_full: bool, bounds: tuple[int, ...]
) -> None:
    model = load_model(name)
    tokens, numpy_model = model.tokens(N + N_DECODE), NumpyModel(model.path)
    sums, first = numpy_model.prefill(tokens[:N], WINDOW, {0: KEPT})
    want = [first, *(numpy_model.decode(int(token), N + i) for i, token in enumerate(tokens[N:]))]
    with engine_of(model, swa_full=swa_full) as (context, engine):
        start(engine, tokens)
        engine.run(0, 1, scores=True)
        if not engine.layer(0).is_swa:
            np.testing.assert_allclose(engine.scores(0), sums[0], rtol=0, atol=0.02)
        engine.abort()
        start(engine, tokens)
        finish(engine, bounds)
        np.testing.assert_allclose(answer(context, tokens), np.array(want), rtol=0, atol=0.03)


@pytest.mark.parametrize("kv_type", [F16, Q8_0], ids=["f16", "q8_0"])
def test_the_positions_of_mrope_are_those_of_the_unpatched_library(
    load_model: LoadModel, tmp_path: Path, kv_type: int
) -> None:
    """llama_decode takes positions with gaps for such models: the same bits. Attention in a prefill is that of f16."""
    model, n_rows = load_model("tiny-mrope"), 1 + N_DECODE if kv_type == F16 else 1
    tokens = model.tokens(N + N_DECODE)
    np.savez(tmp_path / "in.npz", tokens=tokens, kept=KEPT, n=N, n_ubatch=N_UBATCH)
    out = tmp_path / "out.npy"
    command = [sys.executable, str(HELPERS / "write_gap_logits.py"), str(out), str(model.path)]
    environment = {**os.environ, "LLAMA_CPP_LIB_PATH": str(STOCK_LIB)}
    result = subprocess.run(
        [*command, str(tmp_path / "in.npz")], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    with engine_of(model, kv_type=kv_type) as (context, engine):
        for bounds in ((), (1,)):
            start(engine, tokens)
            finish(engine, bounds)
            assert answer(context, tokens)[:n_rows].tobytes() == np.load(out)[:n_rows].tobytes()


def test_all_of_them_is_a_prompt_as_ever(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens, answers = model.tokens(N + N_DECODE), []
    with engine_of(model) as (context, engine):
        for everything in (False, True):
            engine.begin(tokens[:N], WINDOW, HEADROOM)
            if everything:
                engine.keep(np.arange(N))
            finish(engine)
            answers.append(answer(context, tokens).tobytes())
    assert answers[0] == answers[1]


def test_more_may_be_dropped_later(load_model: LoadModel) -> None:
    """After layer 2; with cells evicted, and compressed by heads."""
    model = load_model("tiny-llama")
    tokens, numpy_model = model.tokens(N + N_DECODE), NumpyModel(model.path)
    fewer = np.r_[KEPT[10:20], KEPT[-WINDOW:]]
    _, first = numpy_model.prefill(tokens[:N], WINDOW, {0: KEPT, 2: fewer})
    with engine_of(model) as (context, engine):
        start(engine, tokens)
        engine.run(0, 2)
        engine.keep(fewer)
        engine.run(2, model.n_layer)
        engine.end()
        np.testing.assert_allclose(context.logits(), first, rtol=0, atol=0.03)
        start(engine, tokens)
        engine.run(0, 2)
        engine.evict(fewer)
        engine.run(2, 3)
        rows = np.r_[5:9, M - WINDOW : M]
        engine.compress(2, np.stack([rows, rows]))
        engine.run(3, model.n_layer)
        engine.end()
        assert [engine.layer(il).n_cells for il in range(6)] == [len(fewer)] * 2 + [len(rows)] + [M] * 3


# ---- what it takes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kv_type", [F16, Q8_0], ids=["f16", "q8_0"])
def test_cells_are_those_of_the_kept_tokens(load_model: LoadModel, kv_type: int) -> None:
    """And as many as a prompt of so many tokens would have; q8_0 ones are the f16 ones, quantized once."""
    model, cells = load_model("tiny-llama"), {}
    tokens = model.tokens(N)
    for kind in (F16, kv_type):
        with engine_of(model, kv_type=kind) as (_, engine):
            engine.begin(tokens[:M], WINDOW, HEADROOM)
            finish(engine)
            short = engine.info()
            start(engine, tokens)
            info = engine.info()
            assert (info.n_tokens, info.n_kept, info.kv_bytes, info.hidden_bytes) == (N, M, 0, 0)
            finish(engine)
            info = engine.info()
            assert (info.kv_bytes, info.kv_bytes_peak) == (short.kv_bytes, short.kv_bytes_peak)
            cells[kind] = []
            for il in range(model.n_layer):
                np.testing.assert_array_equal(engine.positions(il), KEPT)
                layer, run = engine.layer(il), (N - WINDOW, WINDOW)
                k, v = (np.empty((run[1], size), dtype=np.uint8) for size in (layer.k_bytes, layer.v_bytes))
                engine.get_kv(il, run[0], k, v)
                cells[kind].append((k, v))
    if kv_type == Q8_0:
        for (k, v), (k_f16, v_f16) in zip(cells[Q8_0], cells[F16], strict=True):
            assert (k == quantized(k_f16, Q8_0, 64, True)).all() and (v == quantized(v_f16, Q8_0, 64, False)).all()


@pytest.mark.parametrize("kv_type", [F16, Q8_0], ids=["f16", "q8_0"])
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma2"])
def test_the_cache_grows_in_decoding(load_model: LoadModel, name: str, kv_type: int) -> None:
    model, told = load_model(name), []
    tokens = model.tokens(N_CTX)
    for headroom in (0, 250):
        with engine_of(model, kv_type=kv_type) as (context, engine):
            engine.begin(tokens[:N], WINDOW, headroom)
            engine.keep(KEPT)
            finish(engine)
            rows = context.decode_each(tokens[N:], N)
            told.append((rows.tobytes(), engine.info().n_grow > 0))
            # as far as n_ctx goes by position, though there are fewer cells
            assert context.try_decode(tokens[:1], N_CTX) == 0
    assert told[0][0] == told[1][0] and (told[0][1], told[1][1]) == (True, False)


@pytest.mark.parametrize("kv_type", [F16, Q8_0], ids=["f16", "q8_0"])
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gpt-oss"])
def test_a_saved_state_goes_on(load_model: LoadModel, name: str, kv_type: int) -> None:
    model = load_model(name)
    tokens = model.tokens(N + N_DECODE)
    with engine_of(model, kv_type=kv_type) as (context, engine), engine_of(model, kv_type=kv_type) as (other, loaded):
        start(engine, tokens)
        finish(engine)
        size = C.llama_state_get_size(context.pointer)
        data = (ctypes.c_uint8 * size)()
        assert C.llama_state_get_data(context.pointer, data, size) == size
        want = context.decode_each(tokens[N:], N)
        assert C.llama_state_set_data(other.pointer, data, size) == size
        for il in range(model.n_layer):
            assert set(loaded.positions(il).tolist()) <= set(KEPT.tolist())
        got = other.decode_each(tokens[N:], N)
        # the next token gets another cell of a ring, which are then added up in another order
        np.testing.assert_allclose(got, want, rtol=0, atol=0 if name == "tiny-llama" else 0.02)


# ---- documents, and what is refused ---------------------------------------------------------------------------------


def test_parked_documents_outlive_it(load_model: LoadModel) -> None:
    model, answers = load_model("tiny-llama"), []
    tokens, n_held = model.tokens(N + N_DECODE), 250

    def ask(context: Context, engine: Engine) -> bytes:
        engine.resume(n_held, tokens[n_held:N], WINDOW, HEADROOM)
        engine.run(0, 2)
        engine.keep(KEPT)
        engine.run(2, model.n_layer)
        engine.end()
        return answer(context, tokens).tobytes()

    for between in (False, True):
        with engine_of(model) as (context, engine):
            engine.begin(tokens[:N], WINDOW, HEADROOM)
            engine.run(0, 2)
            engine.hold(n_held)
            engine.park(1)
            if between:
                start(engine, tokens[::-1].copy())
                finish(engine)
            engine.unpark(1)
            answers.append(ask(context, engine))
    assert answers[0] == answers[1]


Call = Callable[[Engine, NDArray[np.int32]], object]

WRONG: dict[str, tuple[Call, str]] = {
    "contrast": (lambda engine, tokens: engine.contrast(N - 40, tokens[:9]), "dropped already: the contrast follows"),
    "hold": (lambda engine, tokens: engine.hold(10), "no hidden states between layers"),
    "evict": (lambda engine, tokens: engine.evict(KEPT), "layers that the held tokens have run through come first"),
    "a dropped one": (lambda engine, tokens: engine.keep([20, *KEPT[-WINDOW:]]), "20 is not among the tokens kept"),
    "without the window": (lambda engine, tokens: engine.keep(KEPT[:-1]), "window must be kept"),
    "scores of all": (lambda engine, tokens: engine.run(0, 1, {9: Reduction("sum")}), "no layer 9"),
    "end": (lambda engine, tokens: engine.end(), "have not run"),
}


@pytest.mark.parametrize("what", WRONG)
def test_misuse_changes_nothing(load_model: LoadModel, what: str) -> None:
    model = load_model("tiny-llama")
    tokens, answers = model.tokens(N + N_DECODE), []
    call, message = WRONG[what]
    with engine_of(model) as (context, engine):
        for wrong in (False, True):
            start(engine, tokens)
            if wrong:
                before = engine.info()
                with pytest.raises(ValueError, match=message):
                    call(engine, tokens)
                assert engine.info() == before
            finish(engine)
            answers.append(answer(context, tokens).tobytes())
    assert answers[0] == answers[1]


def test_hidden_states_of_some_tokens_are_nobodys(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens = model.tokens(N)
    with engine_of(model) as (_, engine):
        start(engine, tokens)
        engine.run(0, 2)
        with pytest.raises(ValueError, match="hold before keep"):
            engine.hold(N)
        with pytest.raises(ValueError, match="no hidden states of all tokens"):
            engine.get_hidden(np.empty((M, 64), dtype=np.float32))
        engine.run(2, model.n_layer)
        engine.end()


def test_held_tokens_come_before_a_choice(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens = model.tokens(N)
    with engine_of(model) as (_, engine):
        engine.begin(tokens[:N], WINDOW, HEADROOM)
        engine.run(0, 2)
        engine.hold(250)
        engine.run(2, model.n_layer)
        engine.end()
        engine.resume(250, tokens[250:N], WINDOW, HEADROOM)
        with pytest.raises(ValueError, match="layers that the held tokens have run through come first"):
            engine.keep(KEPT)
        engine.run(0, 2)
        engine.keep(KEPT)
        engine.run(2, model.n_layer)
        engine.end()
