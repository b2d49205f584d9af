"""One measured process: loads the model once, then prefills and decodes each time it reads a line.

Started by processes.py with one JSON argument. Writes one JSON line per run. With "library": "stock" it never imports
asl_llamacpp, so that the unpatched library in LLAMA_CPP_LIB_PATH is what llama-cpp-python loads.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, Protocol

GGML_TYPES = {"f16": 1, "q8_0": 8}


class Model(Protocol):
    """What is measured: a greedy model that drops the last prompt when it gets the next one."""

    def prefill(self, tokens: list[int]) -> int: ...
    def again(self, tokens: list[int]) -> int: ...
    def step(self, token: int) -> int: ...
    def sizes(self) -> dict[str, Any]: ...


class LlamaModel:
    """llama-cpp-python's Llama, or ours; flash attention is on for every contestant.

    task: model, threads, tokens, library, policy, kv_budget; where given kv_type (f16 or q8_0), n_ctx, n_gpu_layers,
    n_ubatch; and document_min, hidden, reader and reader_options, which only ours takes.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        kv_type = GGML_TYPES[task.get("kv_type", "f16")]
        common = {
            "n_ctx": task.get("n_ctx", len(task["tokens"]) + 256),
            "n_threads": task["threads"],
            "n_threads_batch": task["threads"],
            "n_gpu_layers": task.get("n_gpu_layers", 0),
            "n_ubatch": task.get("n_ubatch", 512),
            "n_batch": max(512, task.get("n_ubatch", 512)),
            "type_k": kv_type,
            "type_v": kv_type,
            "verbose": False,
            "flash_attn": True,
        }
        if task["library"] == "stock":
            import llama_cpp

            self.llm: Any = llama_cpp.Llama(task["model"], **common)
            return
        import asl_llamacpp

        own = {"kv_policy": task["policy"], "kv_budget": task["kv_budget"], "calibration": None}
        for name in ("document_min", "hidden", "reader", "reader_options"):
            if name in task:
                own[name] = task[name]
        self.llm = asl_llamacpp.Llama(task["model"], **own, **common)

    def prefill(self, tokens: list[int]) -> int:
        self.llm.reset()
        self.llm.eval(tokens)
        return int(self.llm.sample(temp=0.0))

    def again(self, tokens: list[int]) -> int:
        return int(next(self.llm.generate(tokens, temp=0.0)))

    def step(self, token: int) -> int:
        self.llm.eval([token])
        return int(self.llm.sample(temp=0.0))

    def sizes(self) -> dict[str, Any]:
        report = getattr(self.llm, "last_prefill", None)
        return {} if report is None else {"report": report.to_dict(include_selected=False)}


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _status(field: str) -> int | None:
    """Bytes that Linux says of this process; None on other systems."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), None)


def rss() -> int | None:
    """Resident bytes of this process now; None where the system does not say."""
    return _status("VmRSS")


def peak_rss() -> int:
    """Most resident bytes so far. On Linux ru_maxrss would count those of the process that started this one, too."""
    peak = _status("VmHWM")
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale if peak is None else peak


def restart_peak() -> None:
    """Let `peak_rss` begin anew, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def measured(model: Model, task: dict[str, Any]) -> dict[str, Any]:
    """Prefill the prompt, then decode `n_decode` tokens greedily: seconds, tokens and memory."""
    before, peak_before = rss(), peak_rss()
    restart_peak()
    start, cpu = time.perf_counter(), cpu_seconds()
    first = model.prefill(task["tokens"])
    result = {"prefill_s": time.perf_counter() - start, "prefill_cpu_s": cpu_seconds() - cpu}
    result |= model.sizes()  # between the two clocks: what the prefill left
    tokens = [first]
    start = time.perf_counter()
    for _ in range(task["n_decode"]):
        tokens.append(model.step(tokens[-1]))
    result["decode_tok_s"] = task["n_decode"] / (time.perf_counter() - start)
    if task.get("n_question"):
        result["question_s"] = asked_again(model, task["tokens"], task["n_question"])
    peak = peak_rss()
    return {
        **result,
        "tokens": tokens,
        "rss_growth": None if before is None else peak - before,
        "peak_rss": max(peak, peak_before),
    }


def asked_again(model: Model, tokens: list[int], n_question: int) -> float:
    """Seconds to the first token of another prompt that differs in its last `n_question` tokens."""
    other = [*tokens[:-n_question], *reversed(tokens[-n_question:])]
    start = time.perf_counter()
    model.again(other)
    return time.perf_counter() - start


def rehearse(options: str, library: str) -> None:
    """Put the models of this process on the software GPU of the tests."""
    if library != "stock":
        import asl_llamacpp  # noqa: F401  first: it chooses the library that llama_cpp loads

    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "helpers"))
    from software_gpu import for_every_model

    for_every_model(options).__enter__()


def main() -> None:
    """Load, warm up, say so, and run once for every line read."""
    task = json.loads(sys.argv[1])
    task["tokens"] = json.loads(sys.stdin.readline())
    if task.get("software_gpu"):
        rehearse(task["software_gpu"], task["library"])
    model = LlamaModel(task)
    model.llm.eval(task["tokens"][:512])  # warm up
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(measured(model, task)), flush=True)


if __name__ == "__main__":
    main()
