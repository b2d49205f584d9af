"""Times the layers of a model one by one: python -m benchmarks.scaling.layer_worker JSON. Started by scaling.

The argument: model, threads, n, k. One line of JSON: seconds of a middle layer over n tokens, the same with the scores
of the window, of a compression to k cells, and over the k tokens that were selected; the last two only if n > k. With
k null the plain layer alone.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

import asl_llamacpp
from asl_llamacpp.engine.log import silence_llama_cpp
from asl_llamacpp.selection.compression import kept_cells

N_LAYER = 5
"""The first one also looks up the tokens and the last one computes its last token alone, so neither is timed."""

WINDOW, KERNEL = 32, 7


def seconds(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(task: dict[str, Any]) -> dict[str, float]:
    """Layers 1 (plain), 2 (with scores, then compressed) and 3 (over the selected tokens) of five."""
    n, k = task["n"], task["k"]
    threads = {"n_threads": task["threads"], "n_threads_batch": task["threads"]}
    llm = asl_llamacpp.Llama(task["model"], n_ctx=n + 256, verbose=False, **threads)
    engine = llm._engine
    assert engine is not None
    random = np.random.default_rng(0)
    engine.begin(random.integers(3, 259, min(n, 512)), WINDOW, 0)  # warm up
    engine.run(0, N_LAYER, True)
    engine.end()
    engine.begin(random.integers(3, 259, n), WINDOW, 0)
    engine.run(0, 1)
    result = {"plain_s": seconds(lambda: engine.run(1, 2))}
    if k is None:
        return result
    result["scored_s"] = seconds(lambda: engine.run(2, 3, True))
    if n <= k:
        return result
    sums = engine.scores(2)
    n_head_kv = engine.layer(2).n_head_kv
    result["compress_s"] = seconds(lambda: engine.compress(2, kept_cells(sums, n_head_kv, k, WINDOW, KERNEL)))
    window = np.arange(n - WINDOW, n)
    engine.keep(np.concatenate([np.sort(random.choice(n - WINDOW, k - WINDOW, replace=False)), window]))
    result["deep_s"] = seconds(lambda: engine.run(3, 4))
    return result


def main() -> None:
    silence_llama_cpp()
    print(json.dumps(measure(json.loads(sys.argv[1]))), flush=True)


if __name__ == "__main__":
    main()
