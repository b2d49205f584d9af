"""One measured process: a model on the software GPU that computes nothing, and what the host does for it.

Started by __main__.py with one JSON argument. With "library": "stock" it never imports asl_llamacpp, so that the
unpatched library in LLAMA_CPP_LIB_PATH is what llama-cpp-python loads. Writes a line of JSON after each phase.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "helpers"))

N_QUESTION = 64


def load(task: dict[str, Any]) -> Any:
    n_ctx = task["n"] + task["n_decode"] + N_QUESTION
    common = {"n_ctx": n_ctx, "n_threads": 1, "n_threads_batch": 1, "n_gpu_layers": -1, "verbose": False}
    common |= {"flash_attn": True, "n_ubatch": task["n_ubatch"], "n_batch": max(2048, task["n_ubatch"])}
    if task["library"] == "stock":
        import llama_cpp

        return llama_cpp.Llama(task["model"], **common)
    import asl_llamacpp

    return asl_llamacpp.Llama(task["model"], kv_policy=task["policy"], calibration=None, **common)


class Runs:
    """Runs of some layers over all tokens that go that deep."""

    def __init__(self, llm: Any) -> None:
        self.n, self.tokens = 0, 0
        engine = getattr(llm, "_engine", None)
        if engine is None:
            return
        run = engine.run

        def counted(*arguments: Any, **keywords: Any) -> None:
            self.n, self.tokens = self.n + 1, self.tokens + engine.info().n_kept
            run(*arguments, **keywords)

        engine.run = counted


def measured(gpu: Any, runs: Runs, n: int, work: Callable[[], object]) -> dict[str, Any]:
    """What the device counts while the host does `work`, and the seconds that are the host's own.

    `passes`: how often the prompt of n tokens went through some layers, by the tokens of all runs; 1 without any.
    """
    gpu.reset()
    runs.n = runs.tokens = 0
    start, cpu = time.perf_counter(), time.process_time()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - start
    counted = asdict(gpu.counters())
    host = cpu - counted["seconds_device_cpu"] - counted["seconds_bookkeeping"]
    passes = runs.tokens / n if runs.n else 1.0
    return {**counted, "host_s": host, "wall_s": wall, "runs": max(runs.n, 1), "passes": passes}


def tokens_of(n: int, seed: int) -> list[int]:
    """Bytes, which every vocabulary here has; other ones for another seed."""
    return [3 + (i * (2 * seed + 5) + (i >> 8) + seed) % 256 for i in range(n)]


def main() -> None:
    task = json.loads(sys.argv[1])
    if task["library"] == "ours":
        import asl_llamacpp  # noqa: F401  it chooses the library that llama_cpp loads
    from software_gpu import SoftwareGpu

    document = tokens_of(task["n"] - N_QUESTION, 0)
    options = {"memory": task["memory"], "accept": task["accept"], **task["rates"]}
    with SoftwareGpu(compute=False, delay=0, **options) as gpu:
        llm = load(task)
        runs = Runs(llm)

        def ask(seed: int) -> int:
            """To the first token of the answer; what the last prompt shares with this one is not evaluated again."""
            stream = llm.generate([*document, *tokens_of(N_QUESTION, seed)], temp=0.0)
            try:
                return int(next(stream))
            finally:
                stream.close()

        def decode() -> None:
            for i in range(task["n_decode"]):
                llm.eval([3 + i % 256])
                llm.sample(temp=0.0)

        say({"bytes_loaded": gpu.counters().bytes_live})
        works: dict[str, Callable[[], object]] = {
            "prefill": lambda: ask(1),
            "decode": decode,
            "question": lambda: ask(2),
        }
        for phase, work in works.items():
            say({phase: measured(gpu, runs, task["n"], work)})
        llm.close()


def say(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
