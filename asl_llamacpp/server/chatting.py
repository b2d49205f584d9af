"""Completions without documents, as the worker makes them: what `Llama` does, told to a client that may go away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..prefill.report import PrefillReport
from . import facts
from .desk import Desk
from .errors import APIError
from .job import Job, Stopped
from .metrics import Metrics
from .progress import PromptProgress

Call = Callable[..., Any]
"""`Llama.create_completion` or `Llama.create_chat_completion`, with everything but `stream`."""


def complete(desk: Desk, job: Job, call: Call, stream: bool, metrics: Metrics) -> dict[str, Any]:
    """The response; of a stream, whose other chunks are emitted, the last chunk."""
    llm, begin, n_prompts = desk.llm, time.perf_counter(), desk.llm.n_prompts
    desk.watch(job, PromptProgress(job, llm.kv_policy, None) if job.wants_progress else None)
    first = 0.0
    last: dict[str, Any] = {}
    try:
        if stream:
            for chunk in _chunks(call(llm, stream=True)):
                first = first or time.perf_counter()
                if last:
                    job.emit("chunk", last)
                last = chunk
        else:
            last = call(llm, stream=False)
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
