"""llama.cpp's RPC servers: their addresses, whether one answers, and being one."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from . import ggml

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 50052

TIMEOUT = 5.0
"""Seconds that a server has to accept a connection, and then to answer."""

PROTOCOL = 7, 0
"""Major and minor version of the pinned llama.cpp's RPC (ggml-rpc.h); a server may be of an older minor version."""

_ADDRESS = re.compile(r"[^\s:,\[\]/]+:([0-9]{1,5})")
_HELLO, _CAPABILITIES = 14, 24


def parse_addresses(text: str) -> list[str]:
    """The addresses in "host:port,host:port", in order.

    Raises:
        ValueError: empty, not of that form, or an address twice.
    """
    addresses = [part.strip() for part in text.split(",")]
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match[1]) < 65536:
            raise ValueError(
                f"{address!r} in rpc_servers={text!r} is no address: it takes host:port, or several with commas "
                "between them; IPv6 addresses are not supported"
            )
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"rpc_servers={text!r} names a server twice")
    return addresses


def greet(address: str) -> None:
    """Exchange versions with the server at `address`, then hang up.

    llama.cpp ends the process where this raises.

    Raises:
        ConnectionError: nothing listens there, it does not answer in time, or it is no server of this version.
    """
    host, _, port = address.rpartition(":")
    try:
        # llama.cpp knows IPv4 alone
        with socket.create_connection((socket.gethostbyname(host), int(port)), TIMEOUT) as connection:
            try:
                connection.sendall(struct.pack(f"=BQ{_CAPABILITIES}x", _HELLO, _CAPABILITIES))
                answer = connection.makefile("rb").read(struct.calcsize("=Q4B"))
            except TimeoutError:
                raise ConnectionError(
                    f"the RPC server at {address} does not answer within {TIMEOUT:g} s: "
                    "it serves one model at a time, and may be busy with another"
                ) from None
            except OSError:
                answer = b""
    except ConnectionError as error:
        if error.errno is None:
            raise
        raise ConnectionError(f"{_unreachable(address)} ({error.strerror})") from None
    except OSError as error:
        raise ConnectionError(f"{_unreachable(address)} ({error.strerror or error})") from None

    size, major, minor = struct.unpack("=Q2B2x", answer) if len(answer) == 12 else (0, 0, 0)
    if size != 4 + _CAPABILITIES:
        raise ConnectionError(f"what listens at {address} is no RPC server of llama.cpp, or of an old version")
    if major != PROTOCOL[0] or minor > PROTOCOL[1]:
        raise ConnectionError(
            f"the RPC server at {address} speaks version {major}.{minor} of the protocol, this is "
            f"{PROTOCOL[0]}.{PROTOCOL[1]}: use the same asl_llamacpp on both machines"
        )


def _unreachable(address: str) -> str:
    return f"no RPC server at {address}: start one there with 'asl-llamacpp rpc-server'"


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """What C prints goes nowhere. Closed descriptors have nothing to be silenced."""
    try:
        before = os.dup(1)
    except OSError:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def serve(
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    threads: int | None = None,
    cache: Path | None = None,
    verbose: bool = False,
) -> None:
    """Offer this machine's GPUs, or else its CPU, to one model at a time, until the process is ended.

    Whoever can connect can use the machine, and nothing is encrypted: for trusted networks only.

    Args:
        host: a name or IPv4 address of this machine to listen on.
        threads: of the CPU; None: half of the CPU count.
        cache: folder that keeps large tensors, so that a model is sent over the network only once. None: no cache.
        verbose: let llama.cpp print its devices, and a line for each connection that begins or ends, on stdout.

    Raises:
        OSError: nobody can listen there, or the folder cannot be made.
        RuntimeError: the library was built without RPC.
    """
    ggml.check_rpc()
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    address = f"{socket.gethostbyname(host)}:{port}"
    threads = threads or max(1, (os.cpu_count() or 1) // 2)
    # the C code does not come back to Python, where Ctrl-C would be noticed
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with nullcontext() if verbose else _silent_stdout():
            ggml.run_rpc_server(address, threads, None if cache is None else str(cache))
    finally:
        signal.signal(signal.SIGINT, interrupt)
    raise OSError(f"cannot listen on {address}: the port may be in use")
