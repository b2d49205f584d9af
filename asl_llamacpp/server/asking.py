"""A question about documents, as the worker answers it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..documents.answer import Answer
from ..documents.document import ContextOverflow, Document
from ..documents.history import fit_history
from ..documents.turns import Turn
from ..prefill.report import PrefillReport
from ..store.entry import KnownDocument
from . import facts
from .desk import Desk
from .job import Job, Stopped
from .metrics import Metrics
from .progress import PromptProgress


@dataclass(frozen=True)
class Question:
    """What to ask of which documents; `max_tokens` None: what the context has room for, at most `default_tokens`."""

    documents: Sequence[str]
    text: str
    history: Sequence[Turn] = ()
    max_tokens: int | None = None
    default_tokens: int = 1024
    sampling: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    """The answer, with what is told beside it, in the wire's form."""

    text: str
    finish_reason: str
    usage: dict[str, int]
    extra: dict[str, Any]


def ask(desk: Desk, job: Job, question: Question, metrics: Metrics) -> Answered:
    """Emits the answer's pieces as "chunk", and returns the whole; Stopped when nobody waits for it any more."""
    begin = time.perf_counter()
    document = desk.document(question.documents)
    max_tokens = question.max_tokens or _room(document, question, desk.llm.n_ctx())
    history = fit_history(document, question.text, question.history, max_tokens, desk.llm.n_ctx())
    n_prompt = len(document.prompt(question.text, history)) if document.fits else None
    progress = PromptProgress(job, desk.llm.kv_policy, n_prompt)
    known = document.state
    if known is not None and known.layers == 0:
        desk.states.busy = frozenset(question.documents)
    desk.watch(job, progress if job.wants_progress else None)
    first = 0.0
    try:
        read = desk.read(document)
        stream = document.ask(question.text, history=history, max_tokens=max_tokens, stream=True, **question.sampling)
        try:
            for piece in stream:
                if not first:
                    first = time.perf_counter()
                    _count_reading(stream.report, read, known)
                job.emit("chunk", piece)
        except BaseException:
            stream.close()
            raise
    except Stopped:
        metrics.answered(desk.llm.last_prefill if first else None, desk.llm.n_answered if first else 0, 0.0)
        metrics.stopped()
        raise
    finally:
        desk.watch(None)
        desk.states.busy = frozenset()
        desk.keep_later(question.documents, document)
    end = time.perf_counter()
    answer = stream.answer
    if not first:
        _count_reading(answer.report, read, known)
    metrics.answered(answer.report, answer.usage["completion_tokens"], end - (first or end))
    notes = [answer.evidence_note]
    if len(history) < len(question.history):
        n = len(question.history) - len(history)
        notes.append(f"the oldest {n} questions with their answers do not fit the context any more: they were left out")
    times = timings(job, begin, first or end, end, answer)
    return Answered(answer.text, answer.finish_reason, answer.usage, _extra(desk, question, answer, notes, times))


def _count_reading(report: PrefillReport | None, seconds: float, known: KnownDocument | None) -> None:
    """Reading the document was done for this question: what was `known` before it alone is reused."""
    if report is None or known is None or not seconds:
        return
    report.reused_layers = min(report.reused_layers, known.layers)
    report.reused = report.reused if known.layers else 0
    report.seconds = {**report.seconds, "document": seconds, "total": report.seconds.get("total", 0.0) + seconds}


def read_ahead(desk: Desk, job: Job, document: str) -> None:
    """Run a document through the layers that every question needs, and keep its state."""
    found = desk.document([document])
    known = found.state
    if known is None or not found.fits:
        return
    desk.states.busy = frozenset([document])
    desk.watch(job, PromptProgress(job, desk.llm.kv_policy, len(found.tokens)))
    try:
        found.prefill()
    finally:
        desk.watch(None)
        desk.states.busy = frozenset()
        desk.keep_later([document], found)
    desk.idle()


def _room(document: Document, question: Question, n_ctx: int) -> int:
    """Tokens that an answer may have where nobody said how many."""
    if not document.fits:
        return min(question.default_tokens, max(n_ctx // 4, 1))
    n_prompt = len(document.prompt(question.text))
    room = n_ctx - n_prompt
    if room < 1:
        raise ContextOverflow(
            f"{document.name} does not fit: document and question take {n_prompt} tokens, but the context has {n_ctx}, "
            "and the answer needs some, too. Nothing was cut. Ask a shorter question, or start the server with a "
            "larger --n-ctx, or with --sections"
        )
    return min(question.default_tokens, room)


def _extra(desk: Desk, question: Question, answer: Answer, notes: list[str], times: dict[str, Any]) -> dict[str, Any]:
    names = desk.source_names(question.documents)
    sources = {id_: desk.library.source(id_) for id_ in question.documents}
    return {
        "evidence": facts.evidence(answer, names, sources),
        "attention": facts.attention_bins(answer.attention, names),
        "pruning": facts.pruning(answer.report, notes),
        "timings": times,
    }


def timings(job: Job, begin: float, first: float, end: float, answer: Answer) -> dict[str, Any]:
    """Times under llama.cpp's names: of the prompt, up to the first token, and of the answer after it."""
    n, n_cache = answer.usage["completion_tokens"], answer.report.reused
    seconds = end - first
    return {
        "queue_ms": round(1000 * job.waited, 1),
        "cache_n": n_cache,
        "prompt_n": answer.usage["prompt_tokens"] - n_cache,
        "prompt_ms": round(1000 * (first - begin), 1),
        "predicted_n": n,
        "predicted_ms": round(1000 * seconds, 1),
        "predicted_per_second": round((n - 1) / seconds, 2) if n > 1 and seconds > 0 else None,
    }
