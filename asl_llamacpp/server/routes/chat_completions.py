"""POST /v1/chat/completions: OpenAI's, and about documents."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ..answer_format import grammar
from ..asking import Answered, Question, ask
from ..chatting import check_tokens, complete
from ..conversation import conversation, message_text
from ..desk import Desk
from ..errors import APIError
from ..house import House, client_of, house
from ..job import Event, Job
from ..requests import ChatRequest
from ..streams import JobStream, result_of
from ..wire import ChatWire

router = APIRouter()


@router.post("/v1/chat/completions", response_model=None)
async def chat_completions(body: ChatRequest, request: Request, at: Annotated[House, Depends(house)]) -> Response:
    """The next message of a chat; with `documents`, an answer from them, with its evidence."""
    body.check_policy(at.model)
    wire = ChatWire(at.model_name, bool(body.stream_options and body.stream_options.include_usage))
    if body.documents:
        for document in body.documents:
            await at.library.until_read(document)
        question = await run_in_threadpool(_question, body, at)
        work: Any = partial(_ask, question=question, at=at)
    else:
        work = partial(complete, kind="chat", arguments=_arguments(body, at), stream=body.stream, metrics=at.metrics)
    job = Job(client_of(request, body.user), work, body.return_progress and body.stream)
    at.worker.submit(job)
    if body.stream:
        return JobStream(at.worker, job, wire.lines if body.documents else partial(_lines, wire))
    result = await result_of(at.worker, job, request)
    return JSONResponse(wire.whole(result) if body.documents else result)


def _ask(desk: Desk, job: Job, question: Question, at: House) -> Answered:
    at.metrics.waited(job.waited)
    check_tokens(desk, question.sampling)
    return ask(desk, job, question, at.metrics)


def _question(body: ChatRequest, at: House) -> Question:
    for name in ("tools", "tool_choice", "logprobs", "top_logprobs"):
        if getattr(body, name):
            raise APIError(400, f"{name} cannot be used together with documents", param=name)
    ids = list(dict.fromkeys(body.documents))
    for document in ids:
        at.library.ready(document)
    said = conversation(body.messages, body.only_from_document)
    sampling = {**body.sampling(), **grammar(body.response_format)}
    return Question(ids, said.question, said.history, body.longest, at.settings.max_tokens, sampling)


def _arguments(body: ChatRequest, at: House) -> dict[str, Any]:
    """As `Llama.create_chat_completion` takes them."""
    if body.only_from_document:
        raise APIError(400, "only_from_document needs documents", param="only_from_document")
    messages = []
    for i, message in enumerate(body.messages):
        said = message.model_dump(exclude_none=True)
        said["content"] = message_text(message.content, i)
        if message.role == "developer":
            said["role"] = "system"
        messages.append(said)
    arguments = {"messages": messages, "model": at.model_name, **body.sampling(), **grammar(body.response_format)}
    for name in ("tools", "tool_choice", "logprobs", "top_logprobs"):
        if getattr(body, name) is not None:
            arguments[name] = getattr(body, name)
    if body.longest is not None:
        arguments["max_tokens"] = body.longest
    if body.logprobs:
        at.check_logprobs()
    return arguments


def _lines(wire: ChatWire, event: Event) -> list[dict[str, Any]]:
    if event.kind in ("queue", "progress"):
        return wire.lines(event)
    chunk = event.value | wire.head
    return [chunk, *wire.usage(chunk["usage"])] if event.kind == "result" else [chunk]
