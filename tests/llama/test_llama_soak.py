"""`Llama` for long: 500 mixed prompts in one process, and two objects in two threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from llama_fixtures import greedy, load
from numpy.random import default_rng
from places import HELPERS

MiB = 1 << 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma2"])
def test_five_hundred_mixed_prompts_do_not_grow_the_process(tiny_path: Callable[[str], Path], name: str) -> None:
    """Policies that select, compress and read twice; every fifth prompt is stopped, some grow while they answer."""
    script = HELPERS / "prefill_mixed.py"
    # what the allocator keeps for itself would hide a leak, or look like one
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, str(script), str(tiny_path(name)), "500"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    sizes = [int(line) for line in result.stdout.split()]
    assert len(sizes) == 500
    # one prompt's KV is 0.5 to 2 MiB: forgetting it once in a hundred prompts shows
    grown = max(sizes[400:]) - max(sizes[:100])
    assert grown < 2 * MiB, f"{grown / MiB:.1f} MiB in 400 prompts"


POLICIES = [
    {"kv_policy": "asl:l_min=2,l_obs=2,l_max=3,select_k=64,window=16"},
    {"kv_policy": "snapkv:budget=64,window=16", "kv_budget": 64},
    {"kv_policy": "full", "flash_attn": True},
]


@pytest.mark.slow
@pytest.mark.parametrize("other", [1, 2], ids=["snapkv", "full"])
def test_two_objects_in_two_threads_answer_as_alone(tiny_path: Callable[[str], Path], other: int) -> None:
    """The contexts are made in their threads too: one with the layered cache, one maybe without, at the same time."""
    random = default_rng(0)
    prompts = [random.integers(3, 250, int(random.integers(40, 500))).tolist() for _ in range(20)]

    def answers(settings: dict[str, object]) -> list[list[int]]:
        found = []
        for start in range(0, len(prompts), 5):
            llm = load(tiny_path("tiny-llama"), n_ctx=512, n_batch=64, **settings)
            found += [greedy(llm, prompt, 8) for prompt in prompts[start : start + 5]]
            llm.close()
        return found

    pair = [POLICIES[0], POLICIES[other]]
    alone = [answers(settings) for settings in pair]
    assert alone[0] != alone[1], "the policies answer alike: a mix-up would not show"
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(answers, pair))
    assert together == alone
