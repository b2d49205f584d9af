"""Window scores, and layer-wise logits, where positions are scaled: against llama.cpp's own attention and decode."""

from __future__ import annotations

from typing import Any

import numpy as np
import own_attention
import pytest
from raw_llama import F16, Context, LoadModel

from asl_llamacpp.engine.binding import Engine, deferred_kv
from asl_llamacpp.engine.kinds import Reduction

N, WINDOW, N_UBATCH = 200, 32, 64
LINEAR, YARN = 1, 2  # llama_rope_scaling_type
KV_TYPES = {"bf16": 30, "q8_0": 8, "q4_0": 2}  # ggml_type

SCALINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "linear": {"rope_scaling_type": LINEAR, "rope_freq_scale": 0.25},
    "yarn": {"rope_scaling_type": YARN, "rope_freq_scale": 0.25, "yarn_orig_ctx": 64, "yarn_ext_factor": 1.0},
    "frequency base": {"rope_freq_base": 500000.0},
}
CASES = [(name, scaling) for name in ("tiny-llama", "tiny-gemma2", "tiny-gpt-oss") for scaling in SCALINGS]
CASES.append(("tiny-longrope", "none"))


@pytest.mark.parametrize(("name", "scaling"), CASES)
def test_scores_and_logits(load_model: LoadModel, name: str, scaling: str) -> None:
    model, params = load_model(name), {"n_ctx": 512, **SCALINGS[scaling]}
    tokens = model.tokens(N)
    want = own_attention.window_sums(model, tokens, WINDOW, **params)
    with Context(model, n_ubatch=N_UBATCH, **params) as context:
        logits = context.decode(tokens)
    with Context(model, n_ubatch=N_UBATCH, creation=deferred_kv(), **params) as context:
        engine = Engine(context.pointer)
        engine.begin(tokens, WINDOW, headroom=0)
        engine.run(0, model.n_layer, scores=True)
        scored = [il for il in range(model.n_layer) if not engine.layer(il).is_swa]
        for il in scored:
            # the tolerance is flash attention's, which sums in float16 layer after layer
            np.testing.assert_allclose(engine.scores(il), want[il], rtol=0, atol=0.05, err_msg=f"layer {il}")
        np.testing.assert_allclose(engine.scores(scored[0]), want[scored[0]], rtol=0, atol=0.005)
        engine.end()
        assert context.logits().tobytes() == logits.tobytes()


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma2", "tiny-gpt-oss"])
def test_every_kv_type(load_model: LoadModel, name: str, kv_type: str) -> None:
    """Layer by layer as decoded plainly, bit for bit; quantized types as f16, which their layers run with."""
    model, types = load_model(name), {"kv_type": KV_TYPES[kv_type]}
    tokens = model.tokens(N)
    want = own_attention.window_sums(model, tokens, WINDOW, n_ctx=512)
    with Context(model, 512, N_UBATCH, kv_type=types["kv_type"] if kv_type == "bf16" else F16) as context:
        logits = context.decode(tokens)
    with Context(model, 512, N_UBATCH, creation=deferred_kv(), **types) as context:
        engine = Engine(context.pointer)
        engine.begin(tokens, WINDOW, headroom=0)
        engine.run(0, model.n_layer, scores=True)
        first = next(il for il in range(model.n_layer) if not engine.layer(il).is_swa)
        assert np.corrcoef(engine.scores(first).ravel(), want[first].ravel())[0, 1] > 0.999
        engine.end()
        assert context.logits().tobytes() == logits.tobytes()


def test_scaling_matters(load_model: LoadModel) -> None:
    """Otherwise the tests above would say nothing."""
    model = load_model("tiny-llama")
    tokens = model.tokens(N)
    sums = [own_attention.window_sums(model, tokens, WINDOW, n_ctx=512, **SCALINGS[s])[0] for s in SCALINGS]
    for other in sums[1:]:
        assert np.abs(sums[0] - other).max() > 0.5
    short, long = (
        own_attention.window_sums(load_model("tiny-longrope"), tokens[:60], WINDOW, n_ctx=n)[0] for n in (60, 512)
    )
    assert np.abs(short - long).max() > 0.5


def test_products_are_inner_products(load_model: LoadModel) -> None:
    """GemFilter's scores: their softmax, scaled, is the attention of the last token."""
    model = load_model("tiny-llama")
    tokens = model.tokens(N)
    want = own_attention.window_sums(model, tokens, 1, n_ctx=512)
    with Context(model, 512, N_UBATCH, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(tokens, 1, headroom=0)
        for il in range(model.n_layer):
            engine.run(il, il + 1, Reduction(products=True))
            logits = engine.scores(il).astype(np.float64) / np.sqrt(64)
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            np.testing.assert_allclose(weights / weights.sum(axis=1, keepdims=True), want[il], rtol=0, atol=0.02)
