"""What the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from fastapi import Request

from .asking import Answered
from .desk import Desk
from .errors import APIError
from .job import Job
from .library import Library
from .metrics import Metrics
from .settings import ModelSettings, ServerSettings
from .states import States
from .worker import Worker

__all__ = ["Answered", "House", "Job", "client_of", "house"]


@dataclass
class House:
    """Made once, for one app.

    facts  of the model, once it is open: "n_ctx", "n_ctx_train", "policy"
    """

    settings: ServerSettings
    model: ModelSettings
    library: Library
    states: States
    worker: Worker[Desk]
    metrics: Metrics
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def model_name(self) -> str:
        return self.model.path.stem

    def check_logprobs(self) -> None:
        """APIError if the model was not opened for them."""
        if not self.model.options.get("logits_all"):
            message = "logprobs need the logits of every token: start the server with --logprobs"
            raise APIError(400, message, param="logprobs")

    def document(self, document: str) -> dict[str, Any]:
        """A document as clients see it. APIError if there is none of this id."""
        record = self.library.get(document)
        state = "kept" if self.states.has([record.id]) else "none"
        return {
            "id": record.id,
            "object": "document",
            "name": record.name,
            "format": record.format,
            "bytes": record.n_bytes,
            "created_at": record.created_at,
            "status": record.status,
            "error": record.error,
            "n_tokens": self.library.n_tokens(record),
            "n_characters": record.n_characters,
            "n_pages": record.n_pages,
            "warnings": record.warnings,
            "state": "prefilling" if record.id in self.states.busy else state,
            "has_pictures": bool(record.page_sizes),
            "page_sizes": record.page_sizes,
        }


def house(request: Request) -> House:
    """For routes: `Annotated[House, Depends(house)]`."""
    return cast(House, request.app.state.house)


def client_of(request: Request, user: str | None) -> str:
    """Whose turn a request takes in the queue: its user's, or its connection's."""
    if user:
        return f"user {user}"
    return "unknown" if request.client is None else f"{request.client.host}:{request.client.port}"
