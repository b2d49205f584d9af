"""KV memory from the engine's own buffers: who holds which cells, when they are allocated, grown and freed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import llama_cpp as C
from numpy.typing import NDArray
from places import HELPERS
from prefill_many import WINDOW, prefill, selected
from raw_llama import F16, Q8_0, Context, LoadModel

from asl_llamacpp.engine.binding import Engine, deferred_kv, kv_bytes

CELLS_PAD = 256

MiB = 1024 * 1024


def layer_bytes(engine: Engine) -> list[int]:
    return [engine.layer(il).bytes for il in range(engine.info().n_layer)]


Setup = Callable[..., tuple[Context, Engine]]


@pytest.fixture
def make(load_model: LoadModel) -> Iterator[Setup]:
    contexts: list[Context] = []

    def make_one(name: str = "tiny-llama", n_ctx: int = 1024, **options: object) -> tuple[Context, Engine]:
        context = Context(load_model(name), n_ctx, creation=deferred_kv(), **options)  # type: ignore[arg-type]
        contexts.append(context)
        return context, Engine(context.pointer)

    yield make_one
    for context in contexts:
        context.close()


def test_each_layer_holds_the_tokens_it_ran_on(make: Setup) -> None:
    context, engine = make(n_ubatch=64)
    tokens = context.model.tokens(306)
    first, second = selected(300, 70), selected(300, 20)
    second = np.union1d(first[:20], first[-WINDOW:]).astype(np.int32)
    engine.begin(tokens[:300], WINDOW, headroom=16)
    for il, kept in enumerate([None, None, first, second, None, None]):
        if kept is not None:
            engine.keep(kept)
        engine.run(il, il + 1)
    engine.end()
    context.decode_each(tokens[300:], 300)

    answer = np.arange(300, 306)
    want = [np.arange(300)] * 2 + [first] + [second] * 3
    for il, positions in enumerate(want):
        np.testing.assert_array_equal(engine.positions(il), np.concatenate([positions, answer]))
        assert engine.layer(il).n_cells == len(positions) + 6
    assert engine.info().n_groups == 3


@pytest.mark.parametrize(("kv_type", "bytes_per_value"), [(F16, 2.0), (Q8_0, 34 / 32)], ids=["f16", "q8_0"])
def test_bytes_are_those_of_the_cells(make: Setup, kv_type: int, bytes_per_value: float) -> None:
    context, engine = make(kv_type=kv_type)
    tokens = context.model.tokens(600)
    prefill(engine, tokens, selected(600, 40), headroom=100)

    info, sizes = engine.info(), layer_bytes(engine)
    cells = [engine.layer(il).n_cells_max for il in range(info.n_layer)]
    assert cells == [3 * CELLS_PAD] * 2 + [CELLS_PAD] * 4  # 600 + 100 and 72 + 100, padded
    n_head_kv, head_dim = 2, 64
    assert sizes == [n * n_head_kv * head_dim * 2 * bytes_per_value for n in cells]
    assert info.kv_bytes == sum(sizes) == kv_bytes(context.pointer)
    # a layer that is to be quantized runs with f16
    exact = [0 if kv_type == F16 else n * n_head_kv * head_dim * 2 * 2 for n in cells]
    assert info.kv_bytes_peak == max(sum(sizes[: il + 1]) + exact[il] for il in range(info.n_layer))


def test_sliding_window_layers_are_counted(make: Setup) -> None:
    context, engine = make("tiny-gemma2", n_ubatch=64)
    tokens = context.model.tokens(600)
    kept = selected(600, 40)
    prefill(engine, tokens, kept, headroom=100)
    assert engine.info().kv_bytes == sum(layer_bytes(engine)) == kv_bytes(context.pointer)
    for il in range(6):
        layer = engine.layer(il)
        assert layer.is_swa == (il % 2 == 0)
        if layer.is_swa:
            assert layer.n_cells_max == CELLS_PAD  # 48 + n_ubatch, padded: whatever the prompt
            assert engine.positions(il).max() == 599
        else:
            np.testing.assert_array_equal(engine.positions(il), np.arange(600) if il < 2 else kept)


def test_buffers_appear_layer_by_layer(make: Setup) -> None:
    """Nothing is allocated for a layer before it runs, so deep layers never hold the whole prompt."""
    context, engine = make()
    tokens = context.model.tokens(600)
    assert engine.info().kv_bytes == 0
    engine.begin(tokens, WINDOW, headroom=0)
    assert engine.info().kv_bytes == 0
    engine.run(0, 2)
    one_layer = engine.layer(0).bytes
    assert layer_bytes(engine) == [one_layer] * 2 + [0] * 4
    assert engine.info().kv_bytes == 2 * one_layer
    assert engine.info().hidden_bytes == 600 * 64 * 4

    engine.keep(selected(600, 40))
    assert engine.info().kv_bytes == engine.info().kv_bytes_peak == 2 * one_layer
    assert engine.info().hidden_bytes == 72 * 64 * 4
    engine.run(2, 6)
    assert engine.info().kv_bytes == 2 * one_layer + 4 * one_layer // 3
    engine.end()
    assert engine.info().hidden_bytes == 0
    assert engine.info().kv_bytes_peak == engine.info().kv_bytes


def test_abort_frees_everything(make: Setup) -> None:
    context, engine = make()
    tokens = context.model.tokens(600)
    prefill(engine, tokens, selected(600, 40), headroom=0)
    assert engine.info().kv_bytes > 0
    engine.abort()
    assert engine.info().kv_bytes == kv_bytes(context.pointer) == 0

    engine.begin(tokens, WINDOW, headroom=0)
    engine.run(0, 3)
    engine.abort()
    info = engine.info()
    assert (info.kv_bytes, info.hidden_bytes, info.n_tokens, info.n_groups, info.il_next) == (0, 0, 0, 0, 0)
    assert layer_bytes(engine) == [0] * 6
    assert len(engine.positions(0)) == 0


# ---- growth ---------------------------------------------------------------------------------------------------------

N_PROMPT, N_DECODE = 300, 300


def answer(context: Context, engine: Engine, headroom: int) -> NDArray[np.float32]:
    """Logits after a pruned prompt, after a batch of 70 tokens and after each of N_DECODE more."""
    tokens = context.model.tokens(N_PROMPT + 70 + N_DECODE)
    prefill(engine, tokens[:N_PROMPT], selected(N_PROMPT, 40), headroom)
    batch = context.decode(tokens[N_PROMPT : N_PROMPT + 70], N_PROMPT)
    rest = context.decode_each(tokens[N_PROMPT + 70 :], N_PROMPT + 70)
    return np.concatenate([batch[None], rest])


@pytest.mark.parametrize(
    ("name", "flash_attn", "kv_type", "swa_full"),
    [
        ("tiny-llama", True, F16, False),
        ("tiny-llama", True, Q8_0, False),
        ("tiny-llama", False, F16, False),
        ("tiny-gemma2", True, F16, False),
        ("tiny-gemma2", True, F16, True),
    ],
    ids=["f16", "q8_0", "nofa", "swa", "swa_full"],
)
def test_decoding_past_the_headroom_changes_nothing(
    make: Setup, name: str, flash_attn: bool, kv_type: int, swa_full: bool
) -> None:
    options = {"flash_attn": flash_attn, "kv_type": kv_type, "n_ubatch": 512, "swa_full": swa_full}
    context, engine = make(name, **options)
    roomy = answer(context, engine, headroom=500)
    assert engine.info().n_grow == 0
    size = engine.info().kv_bytes

    context, engine = make(name, **options)
    tight = answer(context, engine, headroom=0)
    info = engine.info()
    # without flash attention all cells of the context are there from the start
    assert info.n_grow >= 2 if flash_attn else info.n_grow == 0
    assert info.kv_bytes == size == sum(layer_bytes(engine))
    largest = max(layer_bytes(engine)) * (1 if kv_type == F16 else 3)  # one layer may be there twice, or with f16
    assert info.kv_bytes <= info.kv_bytes_peak <= info.kv_bytes + largest
    assert [engine.layer(il).n_cells for il in (1, 5)] == [N_PROMPT + 70 + N_DECODE, 72 + 70 + N_DECODE]
    assert tight.tobytes() == roomy.tobytes(), np.flatnonzero((tight != roomy).any(axis=1))[:5]


def test_full_context_is_refused_and_stays_usable(make: Setup, load_model: LoadModel) -> None:
    context, engine = make(n_ctx=512)
    tokens = context.model.tokens(520)
    engine.begin(tokens[:512], WINDOW, headroom=100)
    engine.run(0, 6)
    engine.end()
    assert engine.layer(0).n_cells_max == 512
    assert [context.try_decode(tokens[512:513], 512) for _ in range(2)] == [1, 1]
    assert C.llama_memory_seq_rm(C.llama_get_memory(context.pointer), 0, 500, -1)
    with Context(load_model("tiny-llama"), 512) as plain:
        plain.decode(tokens[:512])
        assert C.llama_memory_seq_rm(C.llama_get_memory(plain.pointer), 0, 500, -1)
        assert context.decode(tokens[500:512], 500).tobytes() == plain.decode(tokens[500:512], 500).tobytes()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tiny-llama", {}),
        ("tiny-llama", {"flash_attn": False}),
        ("tiny-gemma2", {}),
        ("tiny-gemma2", {"swa_full": True}),
    ],
    ids=["full attention", "nofa", "swa", "swa_full"],
)
@pytest.mark.parametrize("n_past", [0, 40, 300])
def test_room_for_a_prompt(make: Setup, name: str, options: dict[str, bool], n_past: int) -> None:
    """What is decoded in chunks is allocated once, after what was there before."""
    context, engine = make(name, **options)
    tokens = context.model.tokens(900)
    with Context(context.model, 1024, **options) as plain:
        if n_past:
            plain.decode(tokens[:n_past])
            context.decode(tokens[:n_past])
        engine.make_room(600, headroom=10)
        n_grow, size = engine.info().n_grow, engine.info().kv_bytes
        assert n_grow == int(n_past > 0 and options.get("flash_attn", True))
        for first in range(n_past, n_past + 600, 100):
            got, want = (one.decode(tokens[first : first + 100], first) for one in (context, plain))
            assert got.tobytes() == want.tobytes()
    assert (engine.info().n_grow, engine.info().kv_bytes) == (n_grow, size)
    n_cells = -(-(n_past + 610) // CELLS_PAD) * CELLS_PAD if options.get("flash_attn", True) else 1024
    assert {engine.layer(il).n_cells_max for il in range(6) if not engine.layer(il).is_swa} == {n_cells}


def test_room_is_not_made_twice(make: Setup) -> None:
    context, engine = make()
    engine.make_room(700, headroom=0)
    size = engine.info().kv_bytes
    engine.make_room(300, headroom=100)
    engine.make_room(0, headroom=0)
    assert engine.info().kv_bytes == size
    prefill(engine, context.model.tokens(600), selected(600, 40), headroom=0)
    engine.make_room(20, headroom=300)  # for both kinds of layers
    assert [engine.layer(il).n_cells_max for il in (0, 5)] == [1024, 512]
    assert engine.info().n_grow == 1 + 1


@pytest.mark.parametrize(("n_tokens", "headroom"), [(-1, 0), (5, -1), (1025, 0), (2**31 - 1, 0), (2**40, 0), (1000, 0)])
def test_room_that_there_cannot_be(make: Setup, n_tokens: int, headroom: int) -> None:
    context, engine = make()
    context.decode(context.model.tokens(30))
    before = engine.info(), [engine.layer(il) for il in range(6)]
    with pytest.raises(ValueError, match=r"do not fit n_ctx|32-bit"):
        engine.make_room(n_tokens, headroom)
    assert before == (engine.info(), [engine.layer(il) for il in range(6)])
    engine.begin(context.model.tokens(300), WINDOW, 0)
    with pytest.raises(ValueError, match="prefill is in progress"):
        engine.make_room(5, 0)


# ---- leaks ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_hundred_prefills_do_not_grow_the_process(tiny_path: Callable[[str], Path]) -> None:
    """In a process of its own: in this one, a leak could hide in what earlier tests have freed."""
    script = HELPERS / "prefill_many.py"
    command = [sys.executable, str(script), str(tiny_path("tiny-gemma2")), "200"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    sizes = [int(line) for line in result.stdout.split()]
    assert len(sizes) == 200
    # one prompt's KV is 0.5 to 2 MiB, its hidden states 20 to 110 kB: forgetting either each time shows
    grown = max(sizes[150:]) - max(sizes[:50])
    assert grown < MiB, f"{grown / MiB:.1f} MiB in 150 prefills"
