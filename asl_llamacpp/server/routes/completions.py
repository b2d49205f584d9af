"""POST /v1/completions: OpenAI's older kind, a text that goes on."""

from __future__ import annotations

import time
import uuid
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from .. import progress
from ..chatting import complete
from ..errors import APIError
from ..house import House, client_of, house
from ..job import Event, Job
from ..requests import CompletionRequest
from ..streams import JobStream, result_of

router = APIRouter()


@router.post("/v1/completions", response_model=None)
async def completions(body: CompletionRequest, request: Request, at: Annotated[House, Depends(house)]) -> Response:
    """How a text goes on."""
    body.check_policy(at.model)
    if body.logprobs is not None:
        at.check_logprobs()
    prompt = body.prompt
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str):
        if len(prompt) > 1:
            raise APIError(400, f"one prompt a request, not {len(prompt)}", param="prompt")
        prompt = prompt[0]
    if not prompt:
        raise APIError(400, "the prompt is empty", param="prompt")
    arguments: dict[str, Any] = {"prompt": prompt, "model": at.model_name, **body.sampling()}
    for name in ("suffix", "max_tokens", "logprobs", "echo"):
        if getattr(body, name) is not None:
            arguments[name] = getattr(body, name)
    work = partial(complete, kind="text", arguments=arguments, stream=body.stream, metrics=at.metrics)
    job = Job(client_of(request, body.user), work, body.return_progress and body.stream)
    at.worker.submit(job)
    if body.stream:
        head = {"id": f"cmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": at.model_name}
        wants_usage = bool(body.stream_options and body.stream_options.include_usage)
        return JobStream(at.worker, job, partial(_lines, head, wants_usage))
    return JSONResponse(await result_of(at.worker, job, request))


def _lines(head: dict[str, Any], wants_usage: bool, event: Event) -> list[dict[str, Any]]:
    if event.kind in ("queue", "progress"):
        told = progress.waiting(event.value) if event.kind == "queue" else event.value
        choice = {"index": 0, "text": "", "logprobs": None, "finish_reason": None}
        return [{**head, "object": "text_completion", "choices": [choice], "prompt_progress": told}]
    chunk = event.value | head
    if event.kind == "result" and wants_usage:
        return [chunk, {**head, "object": "text_completion", "choices": [], "usage": chunk["usage"]}]
    return [chunk]
