"""URLs, against a server of our own: what comes, how much, from where, and where it may lead."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from asl_llamacpp.sources import Reading, Source, addresses, fetching
from asl_llamacpp.sources.addresses import is_public
from asl_llamacpp.sources.fetching import fetch, is_url, url_name
from asl_llamacpp.sources.gathering import read_all

ALLOWED = Reading(seconds=None, allow_private=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/to/"):
            self.answer(302, b"", Location=self.path[4:])
        elif path == "/slow":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(30):
                self.wfile.write(b"x")
                time.sleep(0.1)
        elif path == "/slow-head":
            for number in range(30):
                self.wfile.write(b"A: b\r\n" if number else b"HTTP/1.1 200 OK\r\n")
                time.sleep(0.1)
        elif path == "/silent":
            time.sleep(1)
        elif path == "/endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b"x" * 2**16)
        elif path == "/bomb":
            self.answer(200, gzip.compress(bytes(2**22)), **{"Content-Encoding": "gzip"})
        elif path == "/told-huge":
            self.send_response(200)
            self.send_header("Content-Length", str(2**40))
            self.end_headers()
        elif path in PAGES:
            self.answer(200, PAGES[path][1], **{"Content-Type": PAGES[path][0]})
        else:
            self.answer(404, b"no")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()


PAGES = {
    "/docs/page": ("text/html; charset=iso-8859-2", "<p>Řeka Łódź".encode("iso-8859-2")),
    "/meta.html": ("text/html", "<meta charset=windows-1251><p>Река".encode("cp1251")),
    "/notes": ("text/markdown", b"# One\ntext"),
    "/a%20b.txt": ("text/plain; charset=no-such", "Löffel".encode()),
    "/table.csv": ("text/csv", b"a,b\n1,2\n"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        one.daemon_threads = True
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{one.server_port}"
        one.shutdown()


def page(url: str) -> Source:
    return read_all([url], ALLOWED).sources[0]


def test_pages_and_their_names(server: str) -> None:
    assert (page(f"{server}/docs/page?q=1").name, page(f"{server}/docs/page").text) == (
        "127.0.0.1/docs/page.html",
        "Řeka Łódź",
    )
    assert page(f"{server}/meta.html").text == "Река"
    assert page(f"{server}/notes").marks[0].section == "One"
    assert page(f"{server}/a%20b.txt") == Source("127.0.0.1/a b.txt", "Löffel")
    assert page(f"{server}/to/{server}/meta.html").text == "Река"


def test_what_a_url_is_and_what_is_cited() -> None:
    assert is_url("HTTPS://x") and is_url("http://x") and not is_url("httpx.txt") and not is_url("ftp://x")
    assert url_name("https://me:secret@example.org/a/b.pdf?token=secret#c") == "example.org/a/b.pdf"
    assert url_name("https://example.org/") == "example.org"


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("/nowhere", ConnectionError, "/nowhere answered 404 Not Found"),
        ("/to/ftp://127.0.0.1/x", ConnectionError, "redirects to ftp:|cannot be fetched"),
        ("/to/file:///etc/passwd", ConnectionError, "redirects to file:|cannot be fetched"),
        ("/endless", ValueError, "/endless is larger than 1 MiB"),
        ("/bomb", ValueError, "/bomb is larger than 1 MiB"),
        ("/told-huge", ValueError, "/told-huge is larger than 1 MiB"),
        ("/slow", TimeoutError, "/slow was not there after 1 s"),
        ("/slow-head", TimeoutError, "/slow-head was not there after 1 s"),
        ("/silent", TimeoutError, "nothing came from .*/silent for 0.5 s"),
    ],
)
def test_limits(server: str, path: str, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_FETCH", 2**20)
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 1.0)
    monkeypatch.setattr(fetching, "SILENT_SECONDS", 0.5)
    with pytest.raises(kind, match=message):
        fetch(server + path, ALLOWED)


def test_redirects_have_an_end(server: str) -> None:
    with pytest.raises(ConnectionError, match="redirects more than 5 times"):
        fetch(server + "/to/" * 7 + "/notes", ALLOWED)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionError, match="cannot be fetched"):
        fetch(f"http://127.0.0.1:{port}/x", ALLOWED)
    for url in ("http://", "http://[", "https://exa mple/", "http://a:99999/"):
        with pytest.raises(ConnectionError):
            fetch(url, ALLOWED)


PRIVATE = """127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255 ::1
:: fe80::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:a00:1 64:ff9b::7f00:1 2002:7f00:1:: 2001:db8::1"""
PUBLIC = "8.8.8.8 93.184.216.34 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808"


@pytest.mark.parametrize("address", PRIVATE.split())
def test_addresses_that_are_not_of_the_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_addresses_of_the_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f000001", "127.1", "0"])
def test_private_addresses_are_refused_however_they_are_written(server: str, host: str) -> None:
    port = server.rpartition(":")[2]
    with pytest.raises((PermissionError, ConnectionError), match=r"no address of the internet|no address of|fetched"):
        fetch(f"http://{host}:{port}/notes", Reading())


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, list[str]]], list[str]]:
    """A resolver of our own, and what was connected to: always our server, whatever the address."""
    real = socket.getaddrinfo

    def use(known: dict[str, list[str]]) -> list[str]:
        connected: list[str] = []

        def resolve(host: str, port: int, *args: Any, **options: Any) -> Any:
            if host not in known:
                return real(host, port, *args, **options)
            answer = known[host]
            address = answer.pop(0) if len(answer) > 1 else answer[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in address.split()]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        backend = addresses.httpcore.SyncBackend.connect_tcp

        def connect(self: Any, host: str, *args: Any, **options: Any) -> Any:
            connected.append(host)
            return backend(self, "127.0.0.1", *args, **options)

        monkeypatch.setattr(addresses.httpcore.SyncBackend, "connect_tcp", connect)
        return connected

    return use


def test_a_name_is_looked_up_once_and_that_address_is_connected_to(
    server: str, names: Callable[[dict[str, list[str]]], list[str]]
) -> None:
    port = server.rpartition(":")[2]
    connected = names({"public.example": ["8.8.8.8", "127.0.0.1"]})  # the second look would be a private one
    assert fetch(f"http://public.example:{port}/notes", Reading()) == ("public.example/notes.md", b"# One\ntext")
    assert connected == ["8.8.8.8"]


def test_a_name_with_one_private_address_is_refused(
    server: str, names: Callable[[dict[str, list[str]]], list[str]]
) -> None:
    port = server.rpartition(":")[2]
    connected = names({"mixed.example": ["8.8.8.8 192.168.0.1"]})
    with pytest.raises(PermissionError, match=r"mixed\.example is 192\.168\.0\.1.*--allow-private"):
        fetch(f"http://mixed.example:{port}/notes", Reading())
    assert connected == []


def test_redirects_to_private_addresses_are_refused(
    server: str, names: Callable[[dict[str, list[str]]], list[str]]
) -> None:
    port = server.rpartition(":")[2]
    connected = names({"public.example": ["8.8.8.8"], "inner.example": ["10.0.0.1"]})
    for target in (f"http://inner.example:{port}/notes", f"{server}/notes", "http://169.254.169.254/latest/"):
        with pytest.raises(PermissionError, match="no address of the internet"):
            fetch(f"http://public.example:{port}/to/{target}", Reading())
    assert set(connected) == {"8.8.8.8"}
