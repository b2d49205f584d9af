"""Who is let in: Host, Origin, keys; how much a request may bring; what is never a path, and never a page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from served import OPTIONS, TEXT

from asl_llamacpp.server.app import make_app
from asl_llamacpp.server.record import document_id, plain_name
from asl_llamacpp.server.settings import ModelSettings, ServerSettings

KEY = "a-key-of-some-length"


def client(folder: Path, **settings: object) -> httpx.AsyncClient:
    """A client of an app whose model is never opened."""
    app = make_app(ModelSettings(Path("none.gguf"), options=OPTIONS), ServerSettings(folder, **settings))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Host": "evil.example:8080"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "192.168.1.1:8080"}, 403),
        ({"Host": "@"}, 403),
        ({"Host": "[bad"}, 403),
        ({"Origin": "http://127.0.0.1:8080"}, 200),
        ({"Origin": "http://127.0.0.1:9090"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
    ],
)
async def test_only_this_machine_s_own_names_and_pages_may_ask(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with client(tmp_path) as http:
        answer = await http.get("/v1/documents", headers=headers)
        assert answer.status_code == status, answer.text
        assert "access-control-allow-origin" not in answer.headers
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_link_to_the_page_works_from_anywhere(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert (await http.get("/", headers=headers)).status_code == 200


async def test_with_a_key_only_the_page_can_be_had_without(tmp_path: Path) -> None:
    async with client(tmp_path, api_key=KEY) as http:
        for given in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": KEY},
            {"Authorization": "Bearer é".encode()},
        ):
            answer = await http.get("/v1/documents", headers=given)  # type: ignore[arg-type]
            assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
        for path in ("/v1/models", "/metrics", "/openapi.json", "/static/../v1/documents"):
            assert (await http.get(path)).status_code == 401, path
        for path in ("/", "/health"):
            assert (await http.get(path)).status_code == 200, path
        assert (await http.get("/v1/documents", headers={"Authorization": f"Bearer {KEY}"})).status_code == 200


async def test_another_site_may_ask_if_it_was_allowed(tmp_path: Path) -> None:
    site = "https://notes.example"
    async with client(tmp_path, origins=frozenset({site})) as http:
        answer = await http.get("/v1/documents", headers={"Origin": site, "Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == site
        asked = {
            "Origin": site,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        assert (await http.options("/v1/documents", headers=asked)).status_code == 200
        assert (await http.get("/v1/documents", headers={"Origin": f"{site}.evil"})).status_code == 403


async def test_uploads_are_limited_in_size_and_count(tmp_path: Path) -> None:
    async with client(tmp_path, max_upload=5000, max_files=2, max_documents=2, max_body=500) as http:

        async def status(*sizes: int) -> int:
            files = [("files", (f"{i}.txt", (TEXT * 9)[:size])) for i, size in enumerate(sizes)]
            return (await http.post("/v1/documents", files=files)).status_code

        assert await status(6000) == 413
        assert await status(10, 10, 10) == 413
        assert await status(0) == 400
        assert await status(100, 101) == 200
        assert await status(200) == 409
        assert (await http.post("/v1/chat/completions", json={"messages": [TEXT]})).status_code == 413

        async def pieces() -> AsyncIterator[bytes]:  # without a Content-Length
            for _ in range(10):
                yield b"x" * 1000

        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        assert (await http.post("/v1/files", content=pieces(), headers=kind)).status_code in (400, 413)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..\\..\\x.txt", "/abs.txt", "a\0b.txt", "..", ".", "in-use", "x" * 500]
)
async def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inside"
    async with client(folder) as http:
        answer = await http.post("/v1/documents", files=[("files", (name, TEXT[:50]))])
        assert answer.status_code == 200
        [found] = answer.json()["data"]
        assert "/" not in found["name"] and "\\" not in found["name"] and 0 < len(found["name"]) <= 200
        assert {path.name for path in tmp_path.iterdir()} == {"inside"}
        documents = {path.name for path in (folder / "documents").iterdir()}
        assert documents == {"in-use", found["id"]}
        for path in ("../documents", "..%2f..%2fetc", "%2e%2e", "in-use", found["id"] + "/.."):
            assert (await http.get(f"/v1/documents/{path}/text")).status_code in (400, 404)


def test_names_and_ids() -> None:
    assert plain_name("C:\\docs\\a.pdf") == "a.pdf" and plain_name(None) == plain_name("///") == "document"
    assert plain_name("x" * 500 + ".pdf").endswith(".pdf")
    assert document_id(b"x", "a") == document_id(b"x", "a") != document_id(b"x", "b") != document_id(b"y", "b")


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    client(tmp_path)
    with pytest.raises(OSError, match="another server uses"):
        client(tmp_path)
