"""Script: many prompts of mixed length under one policy, some stopped half way; prints the resident bytes after each.

python prefill_mixed.py MODEL.gguf N
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from llama_fixtures import greedy, load  # isort: skip
from asl_llamacpp import Llama, Progress

POLICIES = {
    "asl:l_min=2,l_obs=2,l_max=3,select_k=64,window=16": None,
    "snapkv:budget=64,window=16": 64,
    "gemfilter:layer=2,select_k=64": None,
}
"""Specification and kv_budget."""


class Stopped(Exception):
    """Raised by a progress callback."""


def one_of_many(llm: Llama, i: int, random: np.random.Generator) -> None:
    """Prompt number i: a fifth are stopped, the others answered, every seventh beyond the headroom."""
    tokens = random.integers(3, 250, int(random.integers(1, 600))).tolist()
    stop_at = int(random.integers(0, 5)) if i % 5 == 4 else -1
    n_calls = 0

    def progress(_: Progress) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls > stop_at >= 0:
            raise Stopped

    llm.on_progress = progress
    try:
        greedy(llm, tokens, 270 if i % 49 == 0 else 3)
    except Stopped:
        pass
    else:
        assert llm.n_tokens >= len(tokens)


def main(path: str, n: str) -> None:
    random = np.random.default_rng(0)
    process = psutil.Process()
    models = [
        load(Path(path), kv_policy=policy, kv_budget=budget, n_ctx=1024, n_batch=64)
        for policy, budget in POLICIES.items()
    ]
    gc.freeze()  # what is there before the first prompt need not be searched after each of them
    for i in range(int(n)):
        one_of_many(models[i % len(models)], i, random)
        gc.collect()
        print(process.memory_info().rss)


if __name__ == "__main__":
    main(*sys.argv[1:])
