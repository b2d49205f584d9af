"""The engine against a forward pass in numpy: window attention of each layer, and the logits of pruned prompts.

The models cover grouped KV heads, soft caps (gemma2), sinks and experts (gpt-oss) and sliding-window layers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from numpy_model import NumpyModel
from raw_llama import F16, Q8_0, Context, LoadModel, Model
from tiny_models import TINY_MODELS, TinyModel, write

from asl_llamacpp.engine.binding import MAX_SCORED, Engine, deferred_kv

N, WINDOW, N_DECODE = 150, 32, 3

SCORES_TOLERANCE = 0.015
"""Absolute. Scores reach 2 to 5; llama.cpp's flash attention accumulates V in float16, layer by layer."""
LOGITS_TOLERANCE = 0.04
"""Absolute. The logits' standard deviation is 1 to 2."""
Q8_0_CORRELATION = 0.99

Positions = NDArray[np.int32]


def some_of(positions: Positions, n_past: int, seed: int) -> Positions:
    """n_past random positions before the window, and the window."""
    past = np.random.default_rng(seed).choice(positions[:-WINDOW], n_past, replace=False)
    return np.concatenate([np.sort(past), positions[-WINDOW:]]).astype(np.int32)


ALL = np.arange(N, dtype=np.int32)
FIRST = some_of(ALL, 60, seed=1)
SECOND = some_of(FIRST, 25, seed=2)
KEEPS: dict[str, dict[int, Positions]] = {
    "all": {},
    "keep-once": {2: FIRST},
    "keep-twice": {2: FIRST, 3: SECOND},
    "keep-before-all": {0: FIRST},
    "keep-window-alone": {3: ALL[-WINDOW:]},
}


class Run(NamedTuple):
    scores: dict[int, NDArray[np.float32]]
    logits: NDArray[np.float32]  # after the prompt, and after each decoded token


def run_engine(
    context: Context, tokens: Positions, window: int, keeps: dict[int, Positions], n_decode: int = N_DECODE
) -> Run:
    engine = Engine(context.pointer)
    n = len(tokens) - n_decode
    engine.begin(tokens[:n], window, headroom=8)
    scores = {}
    for il in range(context.model.n_layer):
        if il in keeps:
            engine.keep(keeps[il])
        engine.run(il, il + 1, scores=True)
        if engine.layer(il).is_swa:
            with pytest.raises(ValueError, match=f"layer {il} has no scores"):
                engine.scores(il)
        else:
            scores[il] = engine.scores(il)
    engine.end()
    rows = [context.logits()] + [context.decode([t], n + i) for i, t in enumerate(tokens[n:])]
    return Run(scores, np.stack(rows))


def run_numpy(model: NumpyModel, tokens: Positions, window: int, keeps: dict[int, Positions], n_decode: int = N_DECODE):  # type: ignore[no-untyped-def]
    n = len(tokens) - n_decode
    scores, first = model.prefill(tokens[:n], window, keeps)
    return Run(scores, np.stack([first, *(model.decode(int(t), n + i) for i, t in enumerate(tokens[n:]))]))  # type: ignore[arg-type]


@pytest.mark.parametrize("keeps", KEEPS.values(), ids=KEEPS.keys())
@pytest.mark.parametrize("name", TINY_MODELS)
def test_scores_and_logits_equal_numpy(
    load_model: LoadModel, tiny_path: Callable[[str], Path], name: str, keeps: dict[int, Positions]
) -> None:
    model = load_model(name)
    tokens = model.tokens(N + N_DECODE)
    want = run_numpy(NumpyModel(tiny_path(name)), tokens, WINDOW, keeps)
    for flash_attn, n_ubatch in [(True, 16), (True, 64), (True, 512), (False, 16), (False, 64)]:
        with Context(model, 256, n_ubatch, flash_attn, creation=deferred_kv()) as context:
            got = run_engine(context, tokens, WINDOW, keeps)
        case = f"flash_attn={flash_attn} n_ubatch={n_ubatch}"
        assert set(got.scores) == {il for il in range(model.n_layer) if not TINY_MODELS[name].is_swa(il)}
        for il, sums in got.scores.items():
            assert sums.shape == want.scores[il].shape
            np.testing.assert_allclose(sums, want.scores[il], rtol=0, atol=SCORES_TOLERANCE, err_msg=f"{case} {il=}")
        np.testing.assert_allclose(got.logits, want.logits, rtol=0, atol=LOGITS_TOLERANCE, err_msg=case)


@pytest.mark.parametrize("keeps", ["all", "keep-twice"])
@pytest.mark.parametrize("name", TINY_MODELS)
def test_quantized_and_rotated_k_give_the_same_scores(
    load_model: LoadModel, tiny_path: Callable[[str], Path], name: str, keeps: str
) -> None:
    """Eight bits a value: hidden states drift apart, so deeper layers are held to a correlation only."""
    model = load_model(name)
    tokens = model.tokens(N + N_DECODE)
    want = run_numpy(NumpyModel(tiny_path(name)), tokens, WINDOW, KEEPS[keeps])
    with Context(model, 256, 64, flash_attn=True, kv_type=Q8_0, creation=deferred_kv()) as context:
        got = run_engine(context, tokens, WINDOW, KEEPS[keeps])
    if 0 in got.scores:
        np.testing.assert_allclose(got.scores[0], want.scores[0], rtol=0, atol=0.03)
    for il, sums in got.scores.items():
        assert np.corrcoef(sums.ravel(), want.scores[il].ravel())[0, 1] > Q8_0_CORRELATION, il
    assert np.corrcoef(got.logits.ravel(), want.logits.ravel())[0, 1] > Q8_0_CORRELATION


@pytest.mark.parametrize(
    ("n", "window", "n_ubatch"),
    [(40, 32, 16), (33, 32, 64), (32, 32, 64), (1, 1, 64), (150, 1, 64), (129, 2, 64), (150, 100, 16), (80, 80, 16)],
)
@pytest.mark.parametrize("flash_attn", [True, False], ids=["fa", "nofa"])
def test_window_of_any_size_across_ubatches(
    load_model: LoadModel, tiny_path: Callable[[str], Path], flash_attn: bool, n: int, window: int, n_ubatch: int
) -> None:
    model = load_model("tiny-llama")
    tokens = model.tokens(n)
    want = run_numpy(NumpyModel(tiny_path("tiny-llama")), tokens, window, {}, n_decode=0)
    with Context(model, 256, n_ubatch, flash_attn, creation=deferred_kv()) as context:
        got = run_engine(context, tokens, window, {}, n_decode=0)
    for il, sums in got.scores.items():
        # every row of a softmax sums to one, whatever the model
        np.testing.assert_allclose(sums.sum(axis=1), window, rtol=1e-4)
        np.testing.assert_allclose(sums, want.scores[il], rtol=0.01, atol=SCORES_TOLERANCE)


def test_long_window_is_computed_in_steps(load_model: LoadModel) -> None:
    """3072 rows of 3072 keys exceed what the side branch computes at once; ubatches of 256 do not."""
    model = load_model("tiny-llama")
    tokens = model.tokens(3072)
    sums = []
    for n_ubatch in (3072, 256):
        with Context(model, 3072, n_ubatch, creation=deferred_kv()) as context:
            engine = Engine(context.pointer)
            engine.begin(tokens, len(tokens), headroom=0)
            engine.run(0, 1, scores=True)
            sums.append(engine.scores(0))
            engine.abort()
    np.testing.assert_allclose(sums[0].sum(axis=1), 3072, rtol=1e-4)
    np.testing.assert_allclose(sums[0], sums[1], rtol=0, atol=1e-3)


def test_scores_of_a_group_equal_those_of_single_layers(load_model: LoadModel) -> None:
    model = load_model("tiny-gemma2")
    tokens = model.tokens(N)
    with Context(model, 256, 64, kv_type=F16, creation=deferred_kv()) as context:
        single = run_engine(context, tokens, WINDOW, {}, n_decode=0).scores
        engine = Engine(context.pointer)
        engine.begin(tokens, WINDOW, headroom=0)
        engine.run(0, model.n_layer, scores=True)
        grouped = {il: engine.scores(il) for il in single}
        engine.end()
    for il, sums in grouped.items():
        assert sums.tobytes() == single[il].tobytes(), il


def test_a_run_scores_a_few_layers(load_model: LoadModel) -> None:
    """More than a graph has room for are refused."""
    model = load_model("smollm2")
    with Context(model, 512, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(model.tokens(N), WINDOW, 0)
        with pytest.raises(ValueError, match=f"at most {MAX_SCORED} layers"):
            engine.run(0, MAX_SCORED + 1, scores=True)
        engine.run(0, MAX_SCORED + 1)
        engine.run(MAX_SCORED + 1, 2 * MAX_SCORED + 1, scores=True)
        for il in range(MAX_SCORED + 1, 2 * MAX_SCORED + 1):
            np.testing.assert_allclose(engine.scores(il).sum(axis=1), WINDOW, rtol=1e-3)
        engine.run(2 * MAX_SCORED + 1, model.n_layer)
        engine.end()


@pytest.mark.slow
def test_scores_of_many_cells_are_computed_in_steps(tmp_path: Path) -> None:
    """Of 64 heads and 20,000 cells 64 MiB hold 13 rows. With ubatches of 8 tokens there is one step in each."""
    n_held, shape = 20_000, TinyModel("llama", n_layer=2, n_head=64, n_head_kv=1)
    model = Model(write(shape, tmp_path / "wide.gguf"))
    tokens, random = model.tokens(n_held + WINDOW), np.random.default_rng(0)
    hidden = random.standard_normal((n_held, shape.n_embd), dtype=np.float32)
    k, v = (random.standard_normal((n_held, 64)).astype(np.float16).view(np.uint8) for _ in range(2))
    found = []
    for n_ubatch in (512, 8):
        with Context(model, n_held + 256, n_ubatch, creation=deferred_kv()) as context:
            engine = Engine(context.pointer)
            engine.restore(tokens[:n_held], 1, hidden)
            engine.resume(n_held, tokens[n_held:], WINDOW, 0)
            engine.put_kv(0, 0, k, v)
            engine.run(0, 1, scores=True)
            found.append(engine.scores(0))
    model.close()
    np.testing.assert_allclose(found[0].sum(axis=1), WINDOW, rtol=1e-3)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)
