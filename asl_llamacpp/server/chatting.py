"""Completions without documents, as the worker makes them: what `Llama` does, told to a client that may go away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from ..prefill.report import PrefillReport
from . import facts
from .desk import Desk
from .errors import APIError
from .job import Job, Stopped
from .metrics import Metrics
from .progress import PromptProgress

LEAST_LOGPROB = -9999.0
"""OpenAI's, for what is as good as impossible."""

Kind = Literal["chat", "text"]


def complete(
    desk: Desk, job: Job, kind: Kind, arguments: dict[str, Any], stream: bool, metrics: Metrics
) -> dict[str, Any]:
    """The response; of a stream, whose other chunks are emitted, the last chunk.

    arguments  of `Llama.create_chat_completion` or `Llama.create_completion`, all but `stream`
    """
    metrics.waited(job.waited)
    check_tokens(desk, arguments)
    call: Any = desk.llm.create_chat_completion if kind == "chat" else desk.llm.create_completion
    llm, begin, n_prompts = desk.llm, time.perf_counter(), desk.llm.n_prompts
    desk.watch(job, PromptProgress(job, llm.kv_policy, None) if job.wants_progress else None)
    first = 0.0
    last: dict[str, Any] = {}
    try:
        if stream:
            for chunk in _chunks(call(**arguments, stream=True)):
                first = first or time.perf_counter()
                if last:
                    job.emit("chunk", last)
                last = _with_plain_logprobs(chunk)
        else:
            last = _with_plain_logprobs(call(**arguments, stream=False))
    except Stopped:
        metrics.stopped()
        raise
    except (KeyError, TypeError, AttributeError, IndexError) as error:  # of the chat handler, about what it was given
        raise APIError(400, f"the model's chat format cannot take this request: {error!r}") from error
    except Exception as error:
        if type(error).__module__.startswith("jinja2"):
            raise APIError(
                400, f"the model's chat template refuses these messages: {error}", param="messages"
            ) from error
        raise
    finally:
        desk.watch(None)
    end = time.perf_counter()
    report = llm.last_prefill if llm.n_prompts != n_prompts else None
    metrics.answered(report, llm.n_answered, end - (first or begin))
    return last | _extra(desk, job, report, begin, first or end, end)


def _with_plain_logprobs(response: dict[str, Any]) -> dict[str, Any]:
    """JSON knows neither numpy's numbers nor infinity."""
    for choice in response["choices"]:
        if choice.get("logprobs") is not None:
            choice["logprobs"] = _plain(choice["logprobs"])
    return response


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (float, np.floating)):
        return max(float(value), LEAST_LOGPROB)
    return value


def _chunks(stream: Iterator[Any]) -> Iterator[dict[str, Any]]:
    try:
        yield from stream
    finally:
        stream.close()  # type: ignore[attr-defined]


def _extra(
    desk: Desk, job: Job, report: PrefillReport | None, begin: float, first: float, end: float
) -> dict[str, Any]:
    llm, seconds = desk.llm, end - first
    n_cache = llm.n_asked if report is None else report.reused
    return {
        "usage": {
            "prompt_tokens": llm.n_asked,
            "completion_tokens": llm.n_answered,
            "total_tokens": llm.n_asked + llm.n_answered,
        },
        "pruning": facts.pruning(report, []),
        "timings": {
            "queue_ms": round(1000 * job.waited, 1),
            "cache_n": n_cache,
            "prompt_n": llm.n_asked - n_cache,
            "prompt_ms": round(1000 * (first - begin), 1),
            "predicted_n": llm.n_answered,
            "predicted_ms": round(1000 * seconds, 1),
            "predicted_per_second": round((llm.n_answered - 1) / seconds, 2)
            if llm.n_answered > 1 and seconds
            else None,
        },
    }


def check_tokens(desk: Desk, arguments: dict[str, Any]) -> None:
    """APIError for ids of tokens that the model has not, in a prompt or in `logit_bias`."""
    n_vocab = desk.llm.n_vocab()
    prompt = arguments.get("prompt")
    given = {
        "prompt": prompt if isinstance(prompt, list) else [],
        "logit_bias": map(int, arguments.get("logit_bias", ())),
    }
    for param, tokens in given.items():
        wrong = next((token for token in tokens if not 0 <= token < n_vocab), None)
        if wrong is not None:
            raise APIError(400, f"{param}: there is no token {wrong}: the model has {n_vocab}", param=param)
