"""RPC servers that cannot serve: one clear exception each, before the model is loaded, where llama.cpp would abort."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
from llama_fixtures import load
from rpc_servers import free_port, impostor
from typer.testing import CliRunner

from asl_llamacpp.cli import app
from asl_llamacpp.engine import ggml, rpc

MAJOR, MINOR = rpc.PROTOCOL


def hello(major: int, minor: int) -> bytes:
    return struct.pack("=Q4B24x", 28, major, minor, 0, 0)


def refusal(addresses: str, kind: type[Exception]) -> str:
    """What `Llama` says; the model is not there, so that a later complaint would be about that."""
    with pytest.raises(kind) as caught:
        load("no-such-model.gguf", rpc_servers=addresses)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(
    "addresses",
    [
        "",
        "host",
        "host:",
        ":50052",
        "host:0",
        "host:65536",
        "host:1:2",
        "[::1]:50052",
        "a:1,,b:2",
        "a b:1",
        "tcp://a:1",
    ],
)
def test_malformed_address(addresses: str) -> None:
    assert repr(addresses) in refusal(addresses, ValueError)


def test_server_named_twice() -> None:
    assert "names a server twice" in refusal("a:1, a:1", ValueError)


def test_addresses_in_order() -> None:
    assert rpc.parse_addresses("b.example:2, 10.0.0.1:50052") == ["b.example:2", "10.0.0.1:50052"]


def test_nobody_listens() -> None:
    address = f"127.0.0.1:{free_port()}"
    message = refusal(address, ConnectionError)
    assert f"no RPC server at {address}" in message and "asl-llamacpp rpc-server" in message and "refused" in message


def test_unknown_host() -> None:
    assert "no RPC server at no-such-host.invalid:50052" in refusal("no-such-host.invalid:50052", ConnectionError)


def test_second_server_is_asked_before_the_first_is_used() -> None:
    with impostor(hello(MAJOR, MINOR)) as there:
        assert "no RPC server at" in refusal(f"{there},127.0.0.1:{free_port()}", ConnectionError)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", hello(MAJOR, MINOR)[:9]])
def test_something_else_listens(answer: bytes) -> None:
    with impostor(answer) as address:
        assert f"what listens at {address} is no RPC server" in refusal(address, ConnectionError)


@pytest.mark.parametrize("version", [(MAJOR + 1, 0), (MAJOR - 1, 0), (MAJOR, MINOR + 1)])
def test_other_version(version: tuple[int, int]) -> None:
    with impostor(hello(*version)) as address:
        message = refusal(address, ConnectionError)
    assert f"speaks version {version[0]}.{version[1]}" in message and f"this is {MAJOR}.{MINOR}" in message


def test_busy_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "TIMEOUT", 0.3)
    start = time.monotonic()
    with impostor(None) as address:
        assert "does not answer within 0.3 s" in refusal(address, ConnectionError)
    assert time.monotonic() - start < 5


class WithoutRpc:
    """The library as a build with -DGGML_RPC=off leaves it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_LIB, name)

    def ggml_backend_reg_by_name(self, name: bytes) -> Any:
        return ggml.ffi.NULL


_LIB = ggml.lib


def test_build_without_rpc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggml, "lib", WithoutRpc())
    assert "-DGGML_RPC=on" in refusal("127.0.0.1:1", RuntimeError)
    with pytest.raises(RuntimeError, match="DGGML_RPC=on"):
        rpc.serve()


def test_too_many_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggml, "rpc_devices", lambda address: [ggml.ffi.NULL] * 99)
    with impostor(hello(MAJOR, MINOR)) as address:
        assert "makes 99 devices; a model takes 1 to 15" in refusal(address, ValueError)


def test_server_cannot_listen() -> None:
    with impostor(b"") as address:
        host, port = address.split(":")
        result = CliRunner().invoke(app, ["rpc-server", "--host", host, "--port", port])
        assert result.exit_code == 2 and f"error: cannot listen on {address}" in result.stderr
        with pytest.raises(ConnectionError):
            rpc.greet(address)  # lets the impostor go


def test_server_warns_of_an_open_address() -> None:
    result = CliRunner().invoke(app, ["rpc-server", "--host", "no-such-host.invalid"])
    assert result.exit_code == 2
    warning, lending, error = result.stderr.splitlines()
    assert warning.startswith("warning: whoever can reach no-such-host.invalid:50052")
    assert lending.startswith("lending this machine at no-such-host.invalid:50052") and error.startswith("error: ")
