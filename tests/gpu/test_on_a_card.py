"""On a real GPU or Mac, which no test machine has: the CPU's selections and answers, within rounding. Else skipped.

`benchmarks/gpu/run.sh` runs this. What must hold to the bit is proven on the software GPU (tests/software_gpu).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import asl_llamacpp  # first: it chooses the library that llama_cpp loads

# isort: split
import numpy as np
import pytest
from llama_fixtures import greedy, load, logits

from asl_llamacpp.engine import ggml

REHEARSAL = os.environ.get("REHEARSE", "")
"""Options of the software GPU, to run this file without a card."""

N = 700
TOKENS = [3 + (7 * i + i // 256) % 250 for i in range(N)]
POLICIES = (
    "asl:layer=3,select_k=256",
    "asl:l_min=2,l_obs=2,select_k=256",
    "fastkv:layer=2,select_k=256",
    "snapkv:budget=256",
    "gemfilter:layer=2,select_k=256",
    "asl-2pass:layer=3,select_k=256",
)


@pytest.fixture(scope="module", autouse=True)
def device() -> Any:
    if REHEARSAL:
        from software_gpu import for_every_model

        with for_every_model(REHEARSAL) as gpu:
            yield gpu
    elif not ggml.local_gpus():
        pytest.skip("no GPU here")
    else:
        yield None


def run(path: Path, n_gpu_layers: int, policy: str, **settings: Any) -> tuple[Any, np.ndarray, list[int]]:
    with closing(load(path, n_ctx=1024, n_gpu_layers=n_gpu_layers, kv_policy=policy, **settings)) as llm:
        llm.eval(TOKENS)
        report, after = llm.last_prefill, logits(llm)
        return report, after, greedy(llm, TOKENS, 8)


@pytest.mark.parametrize("model", ["tiny-llama", "tiny-gemma2", "tiny-gpt-oss"])
@pytest.mark.parametrize("policy", POLICIES)
def test_the_card_selects_and_answers_as_the_cpu_does(
    tiny_path: Callable[[str], Path], model: str, policy: str
) -> None:
    path = tiny_path(model)
    on_cpu, cpu_logits, _ = run(path, 0, policy)
    on_card, card_logits, _ = run(path, -1, policy)
    assert on_card.selection_layer == on_cpu.selection_layer
    assert on_card.cells == on_cpu.cells and on_card.kv_bytes == on_cpu.kv_bytes
    if on_cpu.selected is not None:
        both = len(np.intersect1d(on_card.selected, on_cpu.selected))
        assert both >= 0.95 * len(on_cpu.selected)
    assert np.corrcoef(card_logits, cpu_logits)[0, 1] > 0.995


@pytest.mark.parametrize("n_gpu_layers", [-1, 2])
def test_layer_by_layer_is_what_the_card_computes_at_once(tiny_path: Callable[[str], Path], n_gpu_layers: int) -> None:
    path = tiny_path("tiny-llama")
    _, plain, answer = run(path, n_gpu_layers, "full", flash_attn=True)
    _, layered, own = run(path, n_gpu_layers, "asl:tau=1e-9,l_max=none,l_min=2,l_obs=2,select_k=64")
    np.testing.assert_allclose(layered, plain, atol=2e-2, rtol=2e-2)
    assert own == answer


@pytest.mark.parametrize("store", ["ram", "device", "disk"])
def test_a_second_question_starts_from_the_document(tiny_path: Callable[[str], Path], store: str) -> None:
    path, policy = tiny_path("tiny-llama"), "asl:layer=3,select_k=256"
    other = [*TOKENS[:-40], *reversed(TOKENS[-40:])]
    settings = {"n_ctx": 1024, "n_gpu_layers": -1, "kv_policy": policy, "document_min": 128, "document_store": store}
    with closing(load(path, **settings)) as llm, closing(load(path, **{**settings, "document_min": None})) as fresh:
        greedy(llm, TOKENS, 2)
        greedy(llm, [5] * 300, 2)
        greedy(llm, other, 1)
        assert llm.last_prefill is not None and llm.last_prefill.reused >= 512
        again = logits(llm)
        greedy(fresh, other, 1)
        np.testing.assert_allclose(again, logits(fresh), atol=2e-2, rtol=2e-2)


def test_the_cache_grows_while_the_card_computes(tiny_path: Callable[[str], Path]) -> None:
    path = tiny_path("tiny-llama")
    settings = {"n_ctx": 2048, "n_gpu_layers": -1, "n_batch": 128, "n_ubatch": 128}
    tokens = [3 + i % 250 for i in range(1200)]
    with closing(load(path, kv_policy="full", flash_attn=True, **settings)) as plain:
        plain.eval(tokens)
        want = logits(plain)
    with closing(load(path, kv_policy="asl:select_k=2000", **settings)) as llm:
        llm.eval(tokens)
        np.testing.assert_allclose(logits(llm), want, atol=2e-2, rtol=2e-2)


def test_the_library_sees_the_card() -> None:
    assert REHEARSAL or ggml.local_gpus()
    assert asl_llamacpp.__version__
