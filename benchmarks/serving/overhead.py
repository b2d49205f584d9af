"""What the server costs over `Document.ask`: to the first token, and a token.

python -m benchmarks.serving.overhead MODEL --out benchmarks/results/serving-overhead.json

Both ways take turns, so that what else the machine does hits both alike. Beside the clock the CPU seconds of the
process with the model are counted, which it does not hit; the kernel counts them in steps of
10 ms, so few rounds tell little.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

import asl_llamacpp

from .process import serving, upload

POLICY = "asl:layer=14,select_k=256,window=16"
QUESTIONS = [f"Which house is number {i}?" for i in range(40)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    text = "".join(f"House {i} belongs to a miller who sleeps until noon.\n" for i in range(120))
    llm = asl_llamacpp.Llama(
        str(given.model), n_ctx=4096, n_threads=1, n_threads_batch=1, kv_policy=POLICY, verbose=False
    )
    document = llm.read(text=text, name="houses.txt")
    options = ("--policy", POLICY, "--n-ctx", "4096", "--threads", "1")
    spent: dict[str, list[Spent]] = {"ask": [], "server": []}
    own_cpu = psutil.Process()
    with tempfile.TemporaryDirectory() as folder, serving(given.model, Path(folder), *options) as (url, pid):
        served, its_cpu = upload(url, text, "houses.txt"), psutil.Process(pid)
        with httpx.Client(base_url=url, timeout=300) as http:
            for n in range(given.rounds + 1):
                own = _spent(document.ask(QUESTIONS[n], max_tokens=given.tokens, stream=True), own_cpu)
                other = _spent(_pieces(http, served, QUESTIONS[n], given.tokens), its_cpu)
                if n == 0:  # the prefill; then the state is written
                    while http.get(f"/v1/documents/{served}").json()["state"] != "kept":
                        time.sleep(0.1)
                    continue
                spent["ask"].append(own)
                spent["server"].append(other)
    result: dict[str, Any] = {
        "model": given.model.stem,
        "rounds": given.rounds,
        "tokens of the document": len(document.tokens),
        "tokens of an answer": statistics.mean(one.n for one in spent["ask"]),
        "the same numbers of pieces": [one.n for one in spent["ask"]] == [one.n for one in spent["server"]],
    }
    for kind in ("cpu", "clock"):
        for phase, scale in (("first", 1), ("piece", 1000)):
            own_s, other_s = (sum(getattr(one, f"{phase}_{kind}") for one in spent[way]) for way in ("ask", "server"))
            name = f"{kind}, {'to the first token, s' if phase == 'first' else 'a token, ms'}"
            result[name] = {
                "Document.ask": round(scale * own_s / given.rounds, 3),
                "server": round(scale * other_s / given.rounds, 3),
                "more, %": round(100 * (other_s / own_s - 1), 2),
            }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _pieces(http: httpx.Client, document: str, question: str, tokens: int) -> Iterator[str]:
    asked = {"messages": [{"role": "user", "content": question}], "documents": [document], "max_tokens": tokens}
    with http.stream("POST", "/v1/chat/completions", json=asked | {"stream": True, "temperature": 0}) as answer:
        for line in answer.iter_lines():
            if '"content":"' in line and '"content":""' not in line:
                yield line


@dataclass(frozen=True)
class Spent:
    """Seconds to the first of `n` pieces, and of each piece after it: by the clock, and of the model's process."""

    n: int
    first_clock: float
    first_cpu: float
    piece_clock: float
    piece_cpu: float


def _spent(pieces: Iterator[str], process: psutil.Process) -> Spent:
    begin, cpu = time.perf_counter(), _cpu(process)
    at = [time.perf_counter() for _ in itertools.islice(pieces, 1)]
    first_cpu = _cpu(process)
    at += [time.perf_counter() for _ in pieces]
    n = len(at)
    later = max(n - 1, 1)
    return Spent(n, at[0] - begin, first_cpu - cpu, (at[-1] - at[0]) / later, (_cpu(process) - first_cpu) / later)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
