"""What the server costs over `Document.ask`: to the first token, and a token.

python -m benchmarks.serving.overhead MODEL --out benchmarks/results/serving-overhead.json

Both ways take turns, so that what else the machine does hits both alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

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
    times: dict[str, list[tuple[float, float]]] = {"ask": [], "server": []}
    with tempfile.TemporaryDirectory() as folder, serving(given.model, Path(folder), *options) as (url, _):
        served = upload(url, text, "houses.txt")
        with httpx.Client(base_url=url, timeout=300) as http:
            for n in range(given.rounds + 1):
                own = _times(document.ask(QUESTIONS[n], max_tokens=given.tokens, stream=True))
                other = _times(_pieces(http, served, QUESTIONS[n], given.tokens))
                if n == 0:  # the prefill; then the state is written
                    while http.get(f"/v1/documents/{served}").json()["state"] != "kept":
                        time.sleep(0.1)
                    continue
                times["ask"].append(own)
                times["server"].append(other)
    result = {"model": given.model.stem, "rounds": given.rounds, "prompt tokens": len(document.tokens)}
    for i, name in enumerate(("first token, s", "a token, ms")):
        own, other = (statistics.median(pair[i] for pair in times[way]) for way in ("ask", "server"))
        ratio = statistics.median(b[i] / a[i] for a, b in zip(times["ask"], times["server"], strict=True))
        scale = 1000 if i else 1
        result[name] = {"Document.ask": round(own * scale, 3), "server": round(other * scale, 3)}
        result[f"{name}: server over Document.ask, %"] = round(100 * (ratio - 1), 2)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _pieces(http: httpx.Client, document: str, question: str, tokens: int) -> Iterator[str]:
    asked = {"messages": [{"role": "user", "content": question}], "documents": [document], "max_tokens": tokens}
    with http.stream("POST", "/v1/chat/completions", json=asked | {"stream": True, "temperature": 0}) as answer:
        for line in answer.iter_lines():
            if '"content":"' in line and '"content":""' not in line:
                yield line


def _times(pieces: Iterator[str]) -> tuple[float, float]:
    """Seconds to the first piece, and of each piece after it."""
    begin, at = time.perf_counter(), [time.perf_counter() for _ in pieces]
    return at[0] - begin, (at[-1] - at[0]) / max(len(at) - 1, 1)


if __name__ == "__main__":
    main()
