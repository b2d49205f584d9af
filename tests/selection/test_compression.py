"""SnapKV compression: which cells are kept, against the recorded cases; what they give, against numpy and llama.cpp."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import oracle
import pytest
from numpy.typing import NDArray
from numpy_model import NumpyModel, softmax
from raw_llama import F16, Q8_0, C, Context, LoadModel
from tiny_models import TINY_MODELS

from asl_llamacpp.engine.binding import Engine, deferred_kv
from asl_llamacpp.selection.compression import kept_cells, window_cells

BF16, Q4_0 = 30, 2
KV_TYPES = {"f16": F16, "bf16": BF16, "q8_0": Q8_0, "q4_0": Q4_0}
N, WINDOW, BUDGET, N_DECODE = 150, 32, 70, 3


def window_sums(q: NDArray[np.float32], k: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Softmax attention of the last queries summed, [n_head, n], from q [n_head, n, d] and k [n_head_kv, n, d]."""
    n, d = q.shape[1:]
    keys = np.repeat(k, len(q) // len(k), axis=0).astype(np.float64)
    logits = np.einsum("hqd,hkd->hqk", q[:, -window:], keys) / np.sqrt(d)
    hidden = np.arange(n)[None] > np.arange(n - window, n)[:, None]
    return softmax(np.where(hidden, -np.inf, logits)).sum(axis=1).astype(np.float32)


@pytest.mark.parametrize("case", [case for case in oracle.unit_cases() if not case["is_maxpool"]])
def test_kept_cells_are_the_recorded_ones(case: dict[str, NDArray[np.float32]]) -> None:
    sums = window_sums(case["q"], case["k"], int(case["window"]))
    kept = kept_cells(sums, int(case["hk"]), int(case["cache_k"]), int(case["window"]), int(case["kernel"]))
    np.testing.assert_array_equal(kept, case["cache_idx_sorted"])


def random_cells(n_head_kv: int, m: int, budget: int, seed: int) -> NDArray[np.int32]:
    """Other cells for each KV head, the window's at the end."""
    random = np.random.default_rng(seed)
    past = [np.sort(random.choice(m - WINDOW, budget - WINDOW, replace=False)) for _ in range(n_head_kv)]
    return np.concatenate([np.stack(past), window_cells(n_head_kv, m, WINDOW)], axis=1).astype(np.int32)


def compress_numpy(model: NumpyModel, il: int, cells: NDArray[np.int32]) -> None:
    heads = range(len(cells))
    model.k[il], model.v[il] = (np.stack([kv[cells[h], h] for h in heads], axis=1) for kv in (model.k[il], model.v[il]))
    model.positions[il] = np.sort(model.positions[il])[-cells.shape[1] :]


@pytest.mark.parametrize("n_ubatch", [16, 512])
@pytest.mark.parametrize("select", [False, True], ids=["all tokens", "after selection"])
@pytest.mark.parametrize("name", TINY_MODELS)
def test_each_head_attends_to_its_own_cells(
    load_model: LoadModel, tiny_path: Callable[[str], Path], name: str, select: bool, n_ubatch: int
) -> None:
    model, reference = load_model(name), NumpyModel(tiny_path(name))
    tokens = model.tokens(N + N_DECODE)
    kept = np.r_[0:60, N - WINDOW : N].astype(np.int32)
    shape = TINY_MODELS[name]
    full = [il for il in range(shape.n_layer) if not shape.is_swa(il)]
    # the last layer stays whole: layers with and without compression stand side by side
    _, first = reference.prefill(tokens[:N], WINDOW, {2: kept} if select else {})
    cells = {
        il: random_cells(shape.n_head_kv, len(kept) if select and il >= 2 else N, BUDGET, seed=il) for il in full[:-1]
    }
    for il, rows in cells.items():
        compress_numpy(reference, il, rows)
    want = np.stack([first, *(reference.decode(int(t), N + i) for i, t in enumerate(tokens[N:]))])

    with Context(model, 256, n_ubatch, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(tokens[:N], WINDOW, headroom=8)
        for il in range(shape.n_layer):
            if select and il == 2:
                engine.keep(kept)
            engine.run(il, il + 1)
            if il in cells:
                engine.compress(il, cells[il])
                assert engine.layer(il).n_cells == BUDGET
        engine.end()
        got = np.concatenate([context.logits()[None], context.decode_each(tokens[N:], N)])
    np.testing.assert_allclose(got, want, rtol=0, atol=0.04)


@pytest.mark.parametrize("kv_type", KV_TYPES.values(), ids=KV_TYPES.keys())
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-head-96"])
def test_one_set_for_all_heads_equals_removing_the_other_cells(load_model: LoadModel, name: str, kv_type: int) -> None:
    """The same cells in every layer: llama.cpp itself can drop the others. Bits are copied."""
    model = load_model(name)
    tokens = model.tokens(N + N_DECODE)
    with Context(model, 256, 64, kv_type=kv_type, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(tokens[:N], WINDOW, headroom=8)
        cells = random_cells(1, N, BUDGET, seed=1)[0]
        for il in range(model.n_layer):
            engine.run(il, il + 1)
            engine.compress(il, np.tile(cells, (engine.layer(il).n_head_kv, 1)))
        engine.end()
        got = context.decode_each(tokens[N:], N)

    with Context(model, 256, 64, kv_type=kv_type, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(tokens[:N], WINDOW, headroom=8)
        engine.run(0, model.n_layer)
        engine.end()
        memory = C.llama_get_memory(context.pointer)
        for position in np.setdiff1d(np.arange(N), cells):
            assert C.llama_memory_seq_rm(memory, 0, int(position), int(position) + 1)
        want = context.decode_each(tokens[N:], N)
    np.testing.assert_allclose(got, want, rtol=0, atol=0.01)  # f16 V adds up in another order
