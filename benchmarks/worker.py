"""One measured process: loads the model once, then prefills and decodes each time it reads a line.

Started by prefill.py with one JSON argument. Writes one JSON line per run. With "library": "stock" it never imports
asl_llamacpp, so that the unpatched library in LLAMA_CPP_LIB_PATH is what llama-cpp-python loads.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any


def load(task: dict[str, Any]) -> Any:
    """The model in a context of its prompt and 256 tokens; flash attention is on for every contestant."""
    common = {
        "n_ctx": len(task["tokens"]) + 256,
        "n_threads": task["threads"],
        "n_threads_batch": task["threads"],
        "verbose": False,
        "flash_attn": True,
    }
    if task["library"] == "stock":
        import llama_cpp

        return llama_cpp.Llama(task["model"], **common)
    import asl_llamacpp

    return asl_llamacpp.Llama(task["model"], kv_policy=task["policy"], kv_budget=task["kv_budget"], **common)


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run(llm: Any, task: dict[str, Any]) -> dict[str, Any]:
    """Prefill the prompt, then decode `n_decode` tokens greedily: seconds, tokens and memory."""
    llm.reset()
    start, cpu = time.perf_counter(), cpu_seconds()
    llm.eval(task["tokens"])
    first = llm.sample(temp=0.0)
    result = {"prefill_s": time.perf_counter() - start, "prefill_cpu_s": cpu_seconds() - cpu}
    tokens = [first]
    start = time.perf_counter()
    for _ in range(task["n_decode"]):
        llm.eval([tokens[-1]])
        tokens.append(llm.sample(temp=0.0))
    result["decode_tok_s"] = task["n_decode"] / (time.perf_counter() - start)
    result["tokens"] = [int(token) for token in tokens]
    report = getattr(llm, "last_prefill", None)
    if report is not None:
        result["report"] = report.to_dict(include_selected=False)
    scale = 1 if sys.platform == "darwin" else 1024
    result["peak_rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    return result


def main() -> None:
    """Load, warm up, say so, and run once for every line read."""
    task = json.loads(sys.argv[1])
    task["tokens"] = json.loads(sys.stdin.readline())
    llm = load(task)
    llm.eval(task["tokens"][:512])  # warm up
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(run(llm, task)), flush=True)


if __name__ == "__main__":
    main()
