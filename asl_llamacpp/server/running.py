"""Serving an app on an address until somebody ends it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from .app import make_app
from .house import House

__all__ = ["bind", "make_app", "serve_app"]

GRACE = 3
"""Seconds that answers have to come to an end when the server is ended."""


def bind(host: str, port: int) -> socket.socket:
    """A socket on that address; port 0 takes a free one. OSError, with the address, if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        message = f"{host}:{port} cannot be used: {error.strerror}; name another one with --port"
        raise OSError(error.errno, message) from None
    return listener


def serve_app(app: FastAPI, listener: socket.socket, on_ready: Callable[[], object]) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises what kept the model from being opened.

    on_ready: called when requests are taken; the model may still be loading.
    """
    house: House = app.state.house
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE,
            lifespan="on",
            ws="none",
        )
    )

    def stop() -> None:
        server.should_exit = True

    house.worker.on_failed = stop
    on_ready()
    server.run(sockets=[listener])
    if house.worker.error is not None:
        raise house.worker.error
