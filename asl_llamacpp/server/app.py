"""The app: one model, its documents, and the routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from fastapi import FastAPI
from fastapi.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from ..documents.chat_prompt import document_tokens
from ..documents.saved_document import tokenizer_hash
from ..engine.version import __version__
from ..llama.models import trained_context
from . import routes
from .body_limit import BodyLimit
from .desk import Desk
from .errors import add_handlers
from .guard import Guard
from .house import House
from .library import Library
from .metrics import Metrics
from .routes.page import static
from .settings import ModelSettings, ServerSettings
from .states import States
from .worker import Worker


def make_app(model: ModelSettings, settings: ServerSettings) -> FastAPI:
    """The app, for one process. Its `state.house` has the parts; the model is opened when it starts.

    Raises OSError if the folder cannot be used.
    """
    metrics = Metrics()
    library = Library(settings.folder / "documents", settings.max_documents)
    states = States(settings.folder / "states", settings.store_limit, lambda: library.n_bytes)
    library.on_deleted = states.drop

    def open_desk() -> Desk:
        desk = Desk(model, library, states)
        library.tokenizer = tokenizer_hash(desk.llm), partial(_count, desk.llm.tokenizer_)
        policy, train = str(desk.llm.kv_policy), trained_context(desk.llm)
        house.facts = {"n_ctx": desk.llm.n_ctx(), "n_ctx_train": train, "policy": policy}
        return desk

    worker: Worker[Desk] = Worker(open_desk, settings.max_waiting)
    house = House(settings, model, library, states, worker, metrics)
    metrics.watch("asl_queue_length", "Requests that wait for the model", lambda: len(worker.queue))
    metrics.watch("asl_documents", "Documents that are kept", lambda: len(library.all()))
    metrics.watch("asl_document_bytes", "Bytes of the documents on the disk", lambda: library.n_bytes)
    metrics.watch("asl_state_bytes", "Bytes of their states on the disk", lambda: states.n_bytes)
    return _with_routes(house)


def _count(tokenizer: Any, text: str) -> int:
    return len(document_tokens(tokenizer, text))


def _with_routes(house: House) -> FastAPI:
    settings = house.settings
    cors = Middleware(CORSMiddleware, allow_origins=sorted(settings.origins), allow_methods=["*"], allow_headers=["*"])
    app = FastAPI(
        title="asl-llamacpp",
        version=__version__,
        docs_url=None,  # those pages load scripts from other sites
        redoc_url=None,
        lifespan=_lifespan(house),
        middleware=[
            Middleware(Guard, settings=settings),
            *([cors] if settings.origins else []),
            Middleware(BodyLimit, settings=settings),
        ],
    )
    app.state.house = house
    add_handlers(app)
    for found in sorted(iter_modules(routes.__path__), key=lambda module: module.name):
        app.include_router(import_module(f"{routes.__name__}.{found.name}").router)
    app.mount("/static", static)
    return app


def _lifespan(house: House) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        house.worker.start()
        try:
            yield
        finally:
            house.worker.close()
            house.library.close()

    return lifespan


__all__ = ["make_app"]
