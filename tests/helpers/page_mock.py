"""A server that speaks to the page as `asl-llamacpp serve` does, without a model: quick, and as slow as a test wants.

A document is its file's text; one named .pdf has pages of pictures, divided by form feeds. Its passages are the
sentences that share words with the question, and its answer is `answer`, or says how many there are.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any
from urllib.parse import unquote

from page_paper import layer, picture, rects

STATIC = Path(__file__).parents[2] / "asl_llamacpp" / "server" / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
LAYERS = 12


class PageMock:
    """`documents` outlive a restart. `pause`: seconds between two events of a stream; `hold`: cleared, streams
    wait. `halfway`: cleared, a prefill waits behind half of its layers.
    """

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.texts: dict[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.answer: str | None = None
        self.error: str | None = None
        self.key: str | None = None
        self.pause = 0.0
        self.hold = threading.Event()
        self.hold.set()
        self.halfway = threading.Event()
        self.halfway.set()
        self.prefilled: list[str] = []
        self.gone = 0
        self.port = 0
        self.connections: list[socket] = []
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        mock = self

        class Bound(Handler):
            state = mock

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Bound)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)
        self.connections.clear()

    def add(self, name: str, text: str, kept: bool = False) -> dict[str, Any]:
        key = f"doc-{abs(hash((name, text))):x}"
        pages = text.split("\f") if name.endswith(".pdf") else []
        failed = "BROKEN" in text
        self.texts[key] = text
        self.documents[key] = {
            "id": key, "object": "document", "name": name, "bytes": len(text.encode()), "created_at": time.time(),
            "format": "pdf" if pages else "text", "status": "failed" if failed else "ready",
            "error": {"message": f"{name} is a damaged file: its end is missing"} if failed else None,
            "n_tokens": len(text) // 4, "n_pages": len(pages) or None, "warnings": [], "has_pictures": bool(pages),
            "state": "kept" if kept else "none", "page_sizes": [[612, 792]] * len(pages),
        }  # fmt: skip
        return self.documents[key]

    def text_of(self, key: str) -> dict[str, Any]:
        text, pages, start = self.texts[key], [], 0
        for i, page in enumerate(text.split("\f") if self.documents[key]["has_pictures"] else []):
            pages.append({"number": i + 1, "label": str(i + 1), "start": start, "end": start + len(page)})
            start += len(page) + 1
        heads = list(re.finditer(r"^(#+) (.+)$", text, re.MULTILINE))
        ends = [*[head.start() for head in heads[1:]], len(text)]
        sections = [
            {"title": head[2], "level": len(head[1]), "start": head.start(), "end": end}
            for head, end in zip(heads, ends, strict=False)
        ]
        return {"text": text, "pages": pages, "sections": sections}

    def evidence(self, key: str, question: str) -> list[dict[str, Any]]:
        text = self.texts[key]
        wanted = set(re.findall(r"\w{4,}", question.lower()))
        pages = self.text_of(key)["pages"]
        found = []
        for sentence in re.finditer(r"[^\s.!?](?:[^.!?\f\n]|\n(?!\n))*[.!?]", text):
            if shared := wanted & set(re.findall(r"\w{4,}", sentence[0].lower())):
                start, end = sentence.span()
                page = next((page["number"] for page in pages if page["start"] <= start <= page["end"]), None)
                spots = rects(text, start, end) if pages else []
                found.append({
                    "document": key, "page": page, "label": page and str(page), "section": None, "start": start,
                    "end": end, "text": sentence[0], "score": len(shared) / len(wanted), "rects": spots,
                })  # fmt: skip
        return sorted(found, key=lambda one: -one["score"])


class Handler(BaseHTTPRequestHandler):
    state: PageMock
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.state.connections.append(self.connection)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/" or path.startswith("/static/"):
            file = STATIC / (path.removeprefix("/static/") if path != "/" else "index.html")
            self.send(file.read_bytes(), TYPES[file.suffix], {"Content-Security-Policy": POLICY})
        elif self.allowed():
            self.answer(path, query)

    def answer(self, path: str, query: str) -> None:
        state = self.state
        if path == "/v1/models":
            meta = {"policy": "asl:select_k=2048", "n_ctx": 8192, "n_ctx_train": 8192, "max_tokens": 1024}
            self.json({"object": "list", "data": [{"id": "mock", "object": "model", "meta": meta}]})
        elif path == "/v1/documents":
            self.json({"object": "list", "data": list(state.documents.values())})
        elif match := re.fullmatch(r"/v1/documents/([^/]+)(/.*)?", path):
            key, rest = unquote(match[1]), match[2]
            if key not in state.documents:
                self.fail(404, "No such document")
            elif rest is None:
                self.json(state.documents[key])
            elif rest == "/text":
                self.json(state.text_of(key))
            elif page := re.fullmatch(r"/pages/(\d+)\.png", rest):
                self.send(picture(state.texts[key], int(page[1]), int(query.removeprefix("width="))), "image/png")
            elif page := re.fullmatch(r"/pages/(\d+)/layer", rest):
                self.json(layer(state.texts[key], int(page[1])))

    def do_DELETE(self) -> None:
        if self.allowed():
            self.state.documents.pop(unquote(self.path.rsplit("/", 1)[1]), None)
            self.json({"deleted": True})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.allowed():
            return
        if self.path == "/v1/documents":
            whole = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
            parts: Any = message_from_bytes(whole).get_payload()
            added = [
                self.state.add(part.get_filename().replace("%22", '"'), part.get_payload(decode=True).decode())
                for part in parts
            ]
            self.json({"object": "list", "data": added})
        elif self.path.endswith("/prefill"):
            self.stream(self.prefill(unquote(self.path.split("/")[3])))
        else:
            request = json.loads(body)
            self.state.asked.append(request)
            if self.state.error:
                self.fail(400, self.state.error)
            else:
                self.stream(self.chat(request))

    def prefill(self, key: str) -> Iterator[dict[str, Any]]:
        self.state.prefilled.append(key)
        yield from self.progress()
        self.state.documents[key]["state"] = "kept"
        yield {"document": self.state.documents[key]}

    def progress(self) -> Iterator[dict[str, Any]]:
        for layer_now in range(LAYERS):
            share = {"total": 1200, "cache": 0, "processed": 100 * layer_now, "time_ms": 10 * layer_now}
            left = (LAYERS - layer_now) * 7.0
            if layer_now > LAYERS // 2:
                self.state.halfway.wait(20)
            yield {"prompt_progress": {**share, "layer": layer_now, "n_layer": LAYERS, "seconds_left": left}}

    def chat(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        (key,) = request["documents"]
        found = self.state.evidence(key, request["messages"][-1]["content"])
        yield from self.progress()
        answer = self.state.answer or f"There are **{len(found)}** passages about that."
        for word in re.findall(r"\S+\s*|\s+", answer):
            yield {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
        n = len(self.state.texts[key])
        bins = [0.02] * 200
        for one in found:
            bins[min(199, one["start"] * 200 // n)] = one["score"]
        yield {
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "evidence": found,
            "attention": [{"document": key, "bins": bins}],
            "pruning": {
                "n_tokens": 7936, "n_kept": 2048, "layer": 6, "n_layer": LAYERS, "kv_bytes": 150e6,
                "kv_bytes_full": 180e6, "policy": "asl:select_k=2048", "notes": [], "reused": 0, "reason": None,
            },
            "timings": {"prompt_ms": 1200, "predicted_per_second": 43.2},
        }  # fmt: skip

    def stream(self, chunks: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for chunk in chunks:
                self.state.hold.wait(20)
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                time.sleep(self.state.pause)
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.state.gone += 1
        self.close_connection = True

    def allowed(self) -> bool:
        if self.state.key is None or self.headers.get("Authorization") == f"Bearer {self.state.key}":
            return True
        self.fail(401, "This server wants a key", "invalid_api_key")
        return False

    def fail(self, status: int, message: str, code: str | None = None) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        self.send(json.dumps({"error": error}).encode(), "application/json", status=status)

    def json(self, value: object) -> None:
        self.send(json.dumps(value).encode(), "application/json")

    def send(self, body: bytes, kind: str, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
