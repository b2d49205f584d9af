"""Answers from one recorded prefill equal those of an ordinary `Llama` with each policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import oracle
import pytest
from llama_fixtures import cells, greedy, load, logits

from asl_llamacpp.evals.shared import SharedLlama
from asl_llamacpp.policies import parse_policy

TAIL = 32
PROMPTS = [recorded.tokens.tolist() for recorded in oracle.prompts()[:3]]
N = len(PROMPTS[0])
RULE = "asl:l_min=10,l_obs=4,tau=0.6,select_k=128"

WAYS: dict[str, tuple[str, int | None]] = {
    "full": ("full", None),
    "the rule": (RULE, None),
    "forced": ("asl:tau=1e-9,select_k=128", None),
    "never": ("asl:tau=1e-9,l_max=none,select_k=128", None),
    "fits": ("asl:select_k=1000", None),
    "small window": ("asl:layer=20,window=16,select_k=128", None),
    "budget": (RULE, 100),
    "fastkv": ("fastkv:select_k=128", None),
    "fastkv+budget": ("fastkv:select_k=128", 128),
    "snapkv": ("snapkv:budget=128", None),
    "gemfilter": ("gemfilter:select_k=128", None),
    "two passes": ("asl-2pass:select_k=128,tau=0.6", None),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedLlama]:
    llm = load(n_ubatch=N - TAIL)
    yield SharedLlama(llm)
    llm.close()


@pytest.mark.parametrize("way", WAYS)
def test_equals_an_ordinary_run(shared: SharedLlama, way: str) -> None:
    """To the bit where the ubatches have a border at the tail."""
    policy, budget = parse_policy(WAYS[way][0]), WAYS[way][1]
    tokens = PROMPTS[0]
    if shared.prompt is None or shared.prompt.tokens != tokens:
        shared.record(tokens, TAIL)
    shared.set_policy(policy, budget)
    answer = greedy(shared.llm, tokens, 4)
    last, held, report = logits(shared.llm), cells(shared.llm), shared.llm.last_prefill
    alone = load(kv_policy=policy, kv_budget=budget, n_ubatch=N - TAIL, document_min=None, flash_attn=True)
    assert greedy(alone, tokens, 4) == answer
    wanted = alone.last_prefill
    assert report is not None and wanted is not None and report.reused == len(tokens) - TAIL
    assert report.selection_layer == wanted.selection_layer and report.forced == wanted.forced
    np.testing.assert_array_equal(report.selected, wanted.selected)
    if way == "full":
        np.testing.assert_allclose(last, logits(alone), atol=0.2)
    else:
        assert last.tobytes() == logits(alone).tobytes()
        assert held == cells(alone) and report.kv_bytes == wanted.kv_bytes
        assert report.kv_bytes_full == wanted.kv_bytes_full
        assert report.reason == wanted.reason and report.relative_variance == wanted.relative_variance
    alone.close()
