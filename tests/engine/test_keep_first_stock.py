"""Tokens that are chosen before the first layer, in models for which the unpatched llama_decode refuses gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from raw_llama import Context, LoadModel
from sparse_logits import stock_logits
from test_stock_equality import STOCK_LIB

from asl_llamacpp.engine.binding import Engine, deferred_kv

N, N_DECODE, N_CTX = 600, 3, 1024
Logits = NDArray[np.float32]


ALONE = np.random.default_rng(0).choice(N, 60, replace=False)
KEPT = np.union1d(ALONE, np.r_[0:4, 100:180, N - 1]).astype(np.int32)


def run_kept(context: Context, tokens: NDArray[np.int32]) -> Logits:
    """Logits after the prompt, of whose tokens only the kept ones run, and after each of N_DECODE more."""
    engine = Engine(context.pointer)
    engine.begin(tokens[:N], 1, headroom=8)
    engine.keep(KEPT)
    engine.run(0, context.model.n_layer)
    engine.end()
    return np.concatenate([context.logits()[None], context.decode_each(tokens[N:], N)])


@pytest.mark.parametrize("name", ["tiny-llama", "smollm2"])
def test_equal_the_unpatched_library(load_model: LoadModel, tmp_path: Path, name: str) -> None:
    """To the bit where both run token by token. Many rows at a time are multiplied by other kernels."""
    model = load_model(name)
    tokens = model.tokens(N + N_DECODE)
    want = stock_logits(STOCK_LIB, tmp_path, model.path, tokens[KEPT], KEPT, tokens[N:], 1, N)
    with Context(model, N + N_DECODE, 1, creation=deferred_kv()) as context:
        got = run_kept(context, tokens)
    assert got.tobytes() == want.tobytes(), np.abs(got - want).max(axis=1)

    if name == "tiny-llama":  # float32 weights; with quantized ones, two numbers of rows differ by more than an error
        with Context(model, N_CTX, 512, creation=deferred_kv()) as context:
            got = run_kept(context, tokens)
        np.testing.assert_allclose(got, want, rtol=0, atol=0.05)
