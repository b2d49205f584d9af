"""A context for the engine, and the engine on it, for as long as a test needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from raw_llama import Context, Model

from asl_llamacpp.engine.binding import Engine, deferred_kv


@contextmanager
def engine_of(model: Model, n_ctx: int = 512, n_ubatch: int = 64, **settings: Any) -> Iterator[tuple[Context, Engine]]:
    """`settings`: those of `Context`."""
    with Context(model, n_ctx, n_ubatch, creation=deferred_kv(), **settings) as context:
        yield context, Engine(context.pointer)
