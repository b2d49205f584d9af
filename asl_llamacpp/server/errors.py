"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}} under a fitting status."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from ..budget.text import BudgetError
from ..documents.document import ContextOverflow

log = logging.getLogger(__name__)

INVALID, NOT_FOUND, SERVER = "invalid_request_error", "not_found_error", "server_error"


class APIError(Exception):
    """What a client is told.

    status  of HTTP
    type    OpenAI's kind of error
    param   the part of the request that is wrong
    code    what a program may look at
    """

    def __init__(
        self, status: int, message: str, kind: str = INVALID, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code

    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.status)


def api_error(error: BaseException) -> APIError:
    """What a client is told about an exception of the model or of a document."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, APIError):
        return error
    if isinstance(error, ContextOverflow) or "exceed context window" in message:
        return APIError(400, message, param="messages", code="context_length_exceeded")
    if isinstance(error, BudgetError):
        return APIError(400, message, code="budget_exceeded")
    if isinstance(error, ValueError):
        return APIError(400, message)
    if isinstance(error, MemoryError):
        return APIError(503, f"out of memory: {message}", SERVER, code="out_of_memory")
    log.error("a request failed", exc_info=error)
    return APIError(500, message, SERVER)


def add_handlers(app: FastAPI) -> None:
    """Have every error of every route take that form."""

    async def of_api(_: Request, error: Exception) -> JSONResponse:
        return api_error(error).response()

    async def of_http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        kind = NOT_FOUND if error.status_code == 404 else INVALID
        response = APIError(error.status_code, str(error.detail), kind).response()
        response.headers.update(error.headers or {})
        return response

    async def of_validation(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _of_validation(error).response()

    for kind in (APIError, ValueError, MemoryError, OSError, Exception):
        app.add_exception_handler(kind, of_api)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_validation)


def _of_validation(error: RequestValidationError) -> APIError:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    param = ".".join(where) or None
    if first["type"] == "extra_forbidden":
        return APIError(400, f"unknown parameter {param!r}", param=param, code="unknown_parameter")
    message = str(first["msg"])
    return APIError(400, f"{param}: {message}" if param else message, param=param, code=str(first["type"]))
