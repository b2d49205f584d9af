"""Which addresses URLs may lead to, checked at the moment of connecting: a name may mean another one by then."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

from .network_time import TimedNetwork

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, as are those of version 4 that are written within it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class CheckedNetwork(TimedNetwork):
    """Connects to the addresses that were checked, not to the name. PermissionError where one is not public."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"there is no address of {host}: {error}") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not is_public(address):
                raise PermissionError(
                    f"{host} is {address}, which is no address of the internet: it is read only with allow_private "
                    "(--allow-private)"
                )
        last: Exception = httpcore.ConnectError(f"there is no address of {host}")
        for address in addresses:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                last = failed
        raise last


class CheckedTransport(httpx.BaseTransport):
    """Connects to public addresses only, unless others are allowed; not through proxies. ConnectionError from https to
    http, and for other protocols. All that it does together takes `seconds`, or httpcore's TimeoutException is raised.
    """

    def __init__(self, allow_private: bool, seconds: float) -> None:
        network = TimedNetwork(seconds) if allow_private else CheckedNetwork(seconds)
        self._pool = httpcore.ConnectionPool(ssl_context=httpx.create_ssl_context(), network_backend=network)
        self._is_safe = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        scheme = request.url.scheme
        if scheme not in ("http", "https"):
            raise ConnectionError(f"{request.url.host} redirects to {scheme}:, which is not read")
        if self._is_safe and scheme == "http":
            raise ConnectionError(f"it redirects to http://{request.url.host}, which anyone on the way can change")
        self._is_safe = scheme == "https"
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        headers, extensions = request.headers.raw, request.extensions
        response = self._pool.handle_request(
            httpcore.Request(request.method, target, headers=headers, content=b"", extensions=extensions)
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()
