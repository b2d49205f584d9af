"""What choosing the layer and the tokens costs on the host: no model, one thread, 25 layers of scores.

    python -m benchmarks.selection [--lengths 8192,32768,131072] [--repeats 5]

Writes benchmarks/results/selection-NAME.json and .md. See README.md here.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from asl_llamacpp.policies import ASL
from asl_llamacpp.selection.arrays import Floats
from asl_llamacpp.selection.rule import Selector
from benchmarks.common import probe

N_LAYER, N_HEAD = 25, 32
POLICY = ASL(tau=1e-9, l_min=7, l_max=N_LAYER - 1)


def attention(n: int) -> list[Floats]:
    """Window sums of each head by layer, float32 [n_head, n]: long tails, and layers that resemble each other."""
    random = np.random.default_rng(n)
    common = random.standard_normal(n, dtype=np.float32)
    noise = (random.standard_normal((N_HEAD, n), dtype=np.float32) for _ in range(N_LAYER))
    return [np.exp(1.5 * common + layer) / n for layer in noise]


def select(sums: Sequence[Floats]) -> None:
    """`Selector`, shown every layer."""
    selector = Selector(POLICY, sums[0].shape[1])
    decision = None
    for il, layer in enumerate(sums):
        decision = selector.observe(il, layer)
    assert decision is not None and decision.layer == N_LAYER - 1


def select_plainly(sums: Sequence[Floats]) -> None:
    """The same by the formulas as they are written: all heads pooled, all tokens sorted stably, all ranks stacked."""
    top = POLICY.select_k - POLICY.window
    rows: deque[Any] = deque(maxlen=POLICY.l_obs)
    for layer in sums:
        past = layer[:, : -POLICY.window]
        pooled = past.copy()
        for shift in range(1, POLICY.kernel // 2 + 1):
            pooled[:, shift:] += past[:, :-shift]
            pooled[:, :-shift] += past[:, shift:]
        scores = (pooled / np.float32(POLICY.kernel)).sum(axis=0)
        ranks = np.empty(len(scores), dtype=np.int32)
        ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1, dtype=np.int32)
        rows.append(ranks)
        if len(rows) == POLICY.l_obs:
            stacked = np.stack(rows)
            stacked[:, (stacked <= top).any(axis=0)].var(axis=0, dtype=np.float64).mean()


def measure(n: int, repeats: int) -> dict[str, Any]:
    heads = attention(n)
    summed = [layer.sum(axis=0, keepdims=True) for layer in heads]
    ways: dict[str, tuple[Callable[[Sequence[Floats]], None], list[Floats]]] = {
        "summed": (select, summed),
        "heads": (select, heads),
        "plainly": (select_plainly, heads),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (work, sums) in ways.items():
            start = time.perf_counter()
            work(sums)
            seconds[name].append(time.perf_counter() - start)
    return {"n": n, "seconds": seconds, **{name: statistics.median(times) for name, times in seconds.items()}}


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="8192,32768,131072", help="prompt lengths in tokens")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--name", default=None, help="name of the result files; default: the processor")
    args = parser.parse_args()
    args.threads, args.model = 1, "no model"
    rows = [measure(n, args.repeats) for n in map(int, args.lengths.split(","))]
    lines = [
        f"| tokens | heads added up on the device, s | {N_HEAD} heads fetched, s | by the plain formulas, s |",
        "| --- " * 4 + "|",
        *(f"| {row['n']:,} | {row['summed']:.3f} | {row['heads']:.3f} | {row['plainly']:.3f} |" for row in rows),
    ]
    probe.write_results("selection", args, rows, "\n".join(lines))


if __name__ == "__main__":
    main()
