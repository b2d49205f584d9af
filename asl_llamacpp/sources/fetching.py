"""Documents from the web: one GET, with limits of time and size."""

from __future__ import annotations

import codecs
import time
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from .content import MIB, too_large
from .reading import Reading
from .text import marked_encoding

if TYPE_CHECKING:
    import httpx

MAX_FETCH = 100 * MIB
"""What may come, bytes, once it is unpacked."""
FETCH_SECONDS = 60.0
"""For all of it."""
SILENT_SECONDS = 10.0
"""Until the first byte, or the next one."""
MAX_REDIRECTS = 5
_SUFFIXES = {"text/html": ".html", "application/xhtml+xml": ".xhtml", "text/markdown": ".md", "text/csv": ".csv"}


def is_url(path: str) -> bool:
    """Whether it begins with http:// or https://."""
    return path.lower().startswith(("http://", "https://"))


def url_name(url: str) -> str:
    """How a URL is cited: its host and path, without what may be secret in it. ConnectionError for what is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConnectionError(f"{url} is no URL: {error}") from None
    if not parts.hostname:
        raise ConnectionError(f"{url} is no URL: it names no server")
    return (parts.hostname + unquote(parts.path)).rstrip("/")


def fetch(url: str, reading: Reading) -> tuple[str, bytes]:
    """Name and content of what a URL leads to; of text in UTF-8, whatever it was sent in.

    Raises:
        PermissionError: it leads to an address that is not of the internet, and `reading.allow_private` is False.
        ConnectionError: no answer, or one that is not 200; too many redirects, or one from https to http.
        TimeoutError: it takes longer than `FETCH_SECONDS`, or nothing came for `SILENT_SECONDS`.
        ValueError: it is larger than `MAX_FETCH`.
    """
    import httpcore
    import httpx

    from .addresses import CheckedTransport

    name = url_name(url)
    end = time.monotonic() + FETCH_SECONDS
    try:
        with (
            httpx.Client(
                transport=CheckedTransport(reading.allow_private, FETCH_SECONDS),
                follow_redirects=True,
                max_redirects=MAX_REDIRECTS,
                timeout=SILENT_SECONDS,
                trust_env=False,
                headers={"User-Agent": "asl-llamacpp", "Accept": "*/*"},
            ) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != 200:
                raise ConnectionError(f"{name} answered {response.status_code} {response.reason_phrase}")
            data = _body(response, name, reading)
            return _named(name, response), _as_utf8(data, response)
    except httpx.TooManyRedirects:
        raise ConnectionError(f"{name} redirects more than {MAX_REDIRECTS} times") from None
    except (httpx.TimeoutException, httpcore.TimeoutException):
        late = f"{name} was not there after {FETCH_SECONDS:g} s"
        silent = f"nothing came from {name} for {SILENT_SECONDS:g} s"
        raise TimeoutError(late if time.monotonic() >= end else silent) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise ConnectionError(f"{name} cannot be fetched: {error or type(error).__name__}") from None


def _body(response: httpx.Response, name: str, reading: Reading) -> bytes:
    if int(response.headers.get("content-length", "0") or 0) > MAX_FETCH:
        raise too_large(name, MAX_FETCH)
    data = bytearray()
    for piece in response.iter_bytes():
        data += piece
        if reading.on_wait is not None:
            reading.on_wait()
        if len(data) > MAX_FETCH:
            raise too_large(name, MAX_FETCH)
    return bytes(data)


def _named(name: str, response: httpx.Response) -> str:
    """With the ending that its type has, where the name has none of its own."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    suffix = PurePath(urlsplit(str(response.url)).path).suffix.lower()
    return name + _SUFFIXES[kind] if kind in _SUFFIXES and suffix != _SUFFIXES[kind] and suffix != ".htm" else name


def _as_utf8(data: bytes, response: httpx.Response) -> bytes:
    """What the server says of the encoding comes before what the page says of it, and behind a byte order mark."""
    charset = response.charset_encoding
    if charset is None or marked_encoding(data) or not response.headers["content-type"].lower().startswith("text/"):
        return data
    try:
        return codecs.BOM_UTF8 + data.decode(charset).encode()
    except (LookupError, UnicodeError):
        return data
