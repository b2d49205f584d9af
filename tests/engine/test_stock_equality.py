"""Byte-identical logits: our library against the unpatched one, layer-wise prefill against a plain llama_decode."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_cpp import llama_cpp as C
from numpy.typing import NDArray
from places import HELPERS, ROOT
from raw_llama import F16, Q8_0, Context, LoadModel, Model

from asl_llamacpp.engine.binding import MAX_SCORED, Engine, deferred_kv
from asl_llamacpp.engine.library import LIB_DIR

STOCK_LIB = Path(os.environ.get("ASL_STOCK_LIB", ROOT / "build" / "native" / "stock" / "lib"))

N_DECODE = 4
LENGTHS = [1, 31, 32, 33, 63, 64, 65, 511, 512, 577]  # around the borders of window and ubatch; see ubatch_sizes
WINDOW = 32

LAYOUTS = [(True, F16), (True, Q8_0), (False, F16)]


# ---- the unpatched library ------------------------------------------------------------------------------------------


def write_logits(lib: Path, out: Path, models: list[Path]) -> dict[str, NDArray[np.float32]]:
    environment = {**os.environ, "LLAMA_CPP_LIB_PATH": str(lib)}
    command = [sys.executable, str(HELPERS / "write_logits.py"), str(out), *map(str, models)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return dict(np.load(out))


@pytest.mark.slow
def test_ordinary_context_equals_the_unpatched_library(
    smollm2_path: Path, gemma_path: Path, tiny_path: Callable[[str], Path], tmp_path: Path
) -> None:
    assert STOCK_LIB.is_dir(), f"no unpatched library in {STOCK_LIB}: `make test` builds it"
    models = [smollm2_path, gemma_path, tiny_path("tiny-llama"), tiny_path("tiny-gpt-oss")]
    ours = write_logits(LIB_DIR, tmp_path / "ours.npz", models)
    stock = write_logits(STOCK_LIB, tmp_path / "stock.npz", models)

    assert ours.pop("patched") and not stock.pop("patched")
    assert ours.keys() == stock.keys() and len(ours) == 3 * len(models)
    for case, logits in ours.items():
        assert np.isfinite(logits).all() and len(logits) == 7, case
        assert logits.tobytes() == stock[case].tobytes(), case


# ---- layer-wise, nothing pruned -------------------------------------------------------------------------------------


class Pair:
    """An ordinary context and one for the engine, of the same shape."""

    def __init__(self, model: Model, n_ubatch: int, flash_attn: bool, kv_type: int, **params: Any) -> None:
        shape = (model, 1024, n_ubatch, flash_attn, kv_type)
        self.plain, self.layered = Context(*shape, **params), Context(*shape, creation=deferred_kv(), **params)
        self.engine = Engine(self.layered.pointer)
        self.n_layer = model.n_layer
        # quantized layers run with f16, see test_quantized_kv.py
        self.f16 = None if kv_type == F16 else Context(model, 1024, n_ubatch, flash_attn, F16, **params)

    def close(self) -> None:
        for context in (self.plain, self.layered, self.f16):
            if context is not None:
                context.close()

    def expected(self, tokens: NDArray[np.int32], n: int) -> NDArray[np.float32]:
        """Logits of the ordinary context after n tokens, and after each of the rest."""
        self.plain.clear()
        return np.concatenate([self.plain.decode(tokens[:n])[None], self.plain.decode_each(tokens[n:], n)])

    def undivided(self, tokens: NDArray[np.int32], n: int) -> NDArray[np.float32]:
        """The same from plain llama_decode on the layered KV cache."""
        self.layered.clear()
        return np.concatenate([self.layered.decode(tokens[:n])[None], self.layered.decode_each(tokens[n:], n)])

    def exact(self, tokens: NDArray[np.int32], n: int) -> NDArray[np.float32]:
        """What a layer-wise prefill is to give after n tokens, and after each of the rest if nothing is quantized."""
        if self.f16 is None:
            return self.expected(tokens, n)
        self.f16.clear()
        return self.f16.decode(tokens[:n])[None]

    def layerwise(self, tokens: NDArray[np.int32], n: int, groups: list[int], scores: bool) -> NDArray[np.float32]:
        """The same from a layer-wise prefill of groups[0] layers, then groups[1], ... and then of as many as may be."""
        self.engine.begin(tokens[:n], min(WINDOW, n), headroom=0)
        il, sizes = 0, chain(groups, repeat(MAX_SCORED if scores else self.n_layer))
        while il < self.n_layer:
            end = min(il + next(sizes), self.n_layer)
            self.engine.run(il, end, scores)
            il = end
        self.engine.end()
        return np.concatenate([self.layered.logits()[None], self.layered.decode_each(tokens[n:], n)])


@pytest.fixture
def make_pair(load_model: LoadModel) -> Iterator[Callable[..., Pair]]:
    pairs = []

    def make(name: str, n_ubatch: int, flash_attn: bool, kv_type: int, **params: Any) -> Pair:
        pairs.append(Pair(load_model(name), n_ubatch, flash_attn, kv_type, **params))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


def assert_equal(got: NDArray[np.float32], want: NDArray[np.float32], case: object) -> None:
    assert np.isfinite(want).all(), case
    got = got[: len(want)]
    worst = np.abs(got - want).max(axis=1)
    assert got.tobytes() == want.tobytes(), f"{case}: largest difference after the prompt and each token: {worst}"


@pytest.mark.parametrize(("flash_attn", "kv_type"), LAYOUTS, ids=["fa-f16", "fa-q8_0", "nofa-f16"])
@pytest.mark.parametrize("n_ubatch", [64, pytest.param(512, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma2", "tiny-gpt-oss"])
def test_layerwise_equals_plain_at_every_border(
    make_pair: Callable[..., Pair], name: str, n_ubatch: int, flash_attn: bool, kv_type: int
) -> None:
    pair = make_pair(name, n_ubatch, flash_attn, kv_type)
    for n in LENGTHS:
        tokens = pair.plain.model.tokens(n + N_DECODE, seed=n)
        want = pair.expected(tokens, n)
        assert_equal(pair.undivided(tokens, n), want, (n, "plain llama_decode on the layered cache"))
        want = pair.exact(tokens, n)
        for groups, scores in [([pair.n_layer], False), ([1] * pair.n_layer, True), ([3, 1], n % 2 == 0)]:
            got = pair.layerwise(tokens, n, groups, scores)
            assert_equal(got, want, (n, groups, scores))
            want = got


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_ubatch", "flash_attn", "kv_type", "n", "groups", "n_threads"),
    [
        ("smollm2", 64, True, F16, 129, [3, 5], 1),
        ("smollm2", 64, True, Q8_0, 33, [3, 5], 2),
        ("smollm2", 512, False, F16, 96, [1] * 30, 1),
        ("gemma", 512, True, F16, 530, [3, 5], 1),
        ("gemma", 64, False, F16, 65, [1] * 18, 1),
        ("gemma", 64, True, Q8_0, 65, [18], 1),
    ],
)
def test_layerwise_equals_plain_on_real_models(
    make_pair: Callable[..., Pair],
    name: str,
    n_ubatch: int,
    flash_attn: bool,
    kv_type: int,
    n: int,
    groups: list[int],
    n_threads: int,
) -> None:
    pair = make_pair(name, n_ubatch, flash_attn, kv_type, n_threads=n_threads)
    tokens = pair.plain.model.tokens(n + N_DECODE)
    want = pair.expected(tokens, n)
    assert_equal(pair.undivided(tokens, n), want, "plain llama_decode on the layered cache")
    assert_equal(pair.layerwise(tokens, n, groups, scores=True), pair.exact(tokens, n), "layer by layer")


@pytest.mark.parametrize("params", [{"swa_full": True}, {"offload_kqv": False}, {"kv_unified": True}], ids=str)
def test_layerwise_equals_plain_with_other_parameters(make_pair: Callable[..., Pair], params: dict[str, Any]) -> None:
    pair = make_pair("tiny-gemma2", 64, True, F16, **params)
    tokens = pair.plain.model.tokens(102)
    want = pair.expected(tokens, 100)
    assert_equal(pair.layerwise(tokens, 100, [3], scores=True), want, params)


def test_next_turn_equals_plain(make_pair: Callable[..., Pair]) -> None:
    """Many tokens at once after the prompt, and an answer taken back, as a chat does."""
    pair = make_pair("tiny-llama", 64, True, F16)
    tokens = pair.plain.model.tokens(400)
    pair.expected(tokens[:160], 150)
    pair.layerwise(tokens[:160], 150, [2], scores=True)
    rows = []
    for context in (pair.plain, pair.layered):
        assert C.llama_memory_seq_rm(C.llama_get_memory(context.pointer), 0, 155, -1)
        rows.append(np.stack([context.decode(tokens[155:300], 155), context.decode(tokens[300:], 300)]))
    assert_equal(rows[1], rows[0], "the next turn")
