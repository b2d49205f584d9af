"""Eight clients, one of whom goes away now and then: is every answer the one that a lone client gets, is memory flat?

python -m benchmarks.serving.load MODEL --seconds 200 --out benchmarks/results/serving-load.json
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from .process import serving, upload

SENTENCES = "The miller of house {i}, in valley {n}, sleeps until noon, and nobody expects rain in June.\n"
QUESTIONS = [f"Who sleeps in house {i}?" for i in range(0, 40, 5)]
MIB = 1 << 20


@dataclass
class Tally:
    """What happened; shared by all clients."""

    answers: int = 0
    different: int = 0
    left: int = 0
    killed_uploads: int = 0
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def body(document: str, question: str, user: str, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"messages": messages, "documents": [document], "max_tokens": 8, "user": user, "stream": stream}


def ask(http: httpx.Client, document: str, question: str, user: str) -> dict[str, Any]:
    answer = http.post("/v1/chat/completions", json=body(document, question, user, False))
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """By text and evidence."""

    def key(answer: dict[str, Any]) -> Any:
        return answer["choices"][0]["message"]["content"], [(s["start"], s["end"]) for s in answer["evidence"]]

    return bool(key(one) == key(other))


def client(number: int, url: str, alone: dict[tuple[str, str], dict[str, Any]], tally: Tally, end: float) -> None:
    chance = random.Random(number)
    with httpx.Client(base_url=url, timeout=300) as http:
        while time.monotonic() < end:
            document, question = chance.choice(list(alone))
            what = chance.random()
            try:
                if what < 0.2:
                    go_away(http, document, question, chance, str(number))
                    tally.left += 1
                elif what < 0.3:
                    kill_upload(url, chance)
                    tally.killed_uploads += 1
                else:
                    fine = same(ask(http, document, question, str(number)), alone[document, question])
                    with tally.lock:
                        tally.answers += 1
                        tally.different += not fine
            except httpx.HTTPError as error:
                with tally.lock:
                    tally.errors.append(repr(error))


def go_away(http: httpx.Client, document: str, question: str, chance: random.Random, user: str) -> None:
    """Somewhere between the queue and the answer."""
    asked = body(document, question, user, True) | {"return_progress": True}
    with http.stream("POST", "/v1/chat/completions", json=asked) as answer:
        for count, _ in enumerate(answer.iter_lines()):
            if count >= chance.randrange(12):
                return


def kill_upload(url: str, chance: random.Random) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/documents HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 5000000\r\n"
        head += "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        head += 'Content-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
        connection.sendall(head.encode() + b"x" * chance.randrange(1, 1_000_000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--policy", default="asl:layer=14,select_k=64,window=16")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    results = {}
    for n_documents in (1, 3):
        with tempfile.TemporaryDirectory() as folder:
            results[f"{n_documents} documents"] = run(given, n_documents, Path(folder))
    given.out.write_text(json.dumps({"model": given.model.stem, "clients": given.clients, **results}, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def run(given: argparse.Namespace, n_documents: int, folder: Path) -> dict[str, Any]:
    options = ["--policy", given.policy, "--n-ctx", "2048", "--threads", "1", "--ubatch", "256"]
    with serving(given.model, folder, *options) as (url, pid):
        texts = ["".join(SENTENCES.format(i=i, n=n) for i in range(40)) for n in range(n_documents)]
        documents = [upload(url, text, f"valley {n}.txt") for n, text in enumerate(texts)]
        with httpx.Client(base_url=url, timeout=300) as http:
            for document in documents:  # afterwards each has a state, as it has for every later question
                ask(http, document, QUESTIONS[0], "alone")
            alone = {(d, q): ask(http, d, q, "alone") for d in documents for q in QUESTIONS}
            begin, tally = time.monotonic(), Tally()
            end = begin + given.seconds / 2
            threads = [threading.Thread(target=client, args=(i, url, alone, tally, end)) for i in range(given.clients)]
            for thread in threads:
                thread.start()
            memory = []
            while any(thread.is_alive() for thread in threads):
                memory.append((round(time.monotonic() - begin, 1), psutil.Process(pid).memory_info().rss // MIB))
                time.sleep(5)
            listed = {found["id"] for found in http.get("/v1/documents").json()["data"]}
            lost = [document for document in documents if document not in listed]
            after = all(same(ask(http, d, q, "alone"), answer) for (d, q), answer in alone.items())
    early = [size for at, size in memory if at < (end - begin) / 3]
    late = [size for at, size in memory if at > 2 * (end - begin) / 3]
    return {
        "seconds": round(end - begin),
        "answers": tally.answers,
        "answers unlike those of a lone client": tally.different,
        "clients that went away": tally.left,
        "uploads that were killed": tally.killed_uploads,
        "errors": tally.errors,
        "documents that were lost": lost,
        "answers afterwards are the same": after,
        "resident MiB, first third": max(early, default=0),
        "resident MiB, last third": max(late, default=0),
    }


if __name__ == "__main__":
    main()
