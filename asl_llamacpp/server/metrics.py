"""Counters for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..prefill.report import PrefillReport

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Of one server; all methods may be called from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        one: Any = {"registry": self.registry}
        self._prefill = Counter("asl_prefill_tokens", "Prompt tokens that were evaluated", **one)
        self._reused = Counter("asl_reused_tokens", "Prompt tokens whose state was there", **one)
        self._kept = Counter("asl_kept_tokens", "Prompt tokens that all layers were run on", **one)
        self._answer = Counter("asl_answer_tokens", "Tokens of answers", **one)
        self._seconds = Counter("asl_seconds", "Seconds of work, by phase", ["phase"], **one)
        self._stopped = Counter("asl_stopped_requests", "Requests whose client went away", **one)
        self._waited = Histogram("asl_queue_seconds", "Seconds in the queue", buckets=_BUCKETS, **one)
        self._kv = Gauge("asl_kv_bytes", "Bytes of the KV cache after the last prefill", **one)
        self._kv_full = Gauge("asl_kv_bytes_full", "The same, had nothing been pruned", **one)

    def answered(self, report: PrefillReport | None, n_answer: int, seconds: float) -> None:
        """A prompt was prefilled, and answered in so many tokens and seconds after the first one."""
        self._answer.inc(max(n_answer, 0))
        self._seconds.labels("answer").inc(seconds)
        if report is None:
            return
        self._prefill.inc(report.n_prompt - report.reused)
        self._reused.inc(report.reused)
        self._kept.inc(report.n_selected)
        for phase, spent in report.seconds.items():
            if phase != "total":
                self._seconds.labels(phase).inc(spent)
        self._kv.set(report.kv_bytes)
        self._kv_full.set(report.kv_bytes_full)

    def waited(self, seconds: float) -> None:
        self._waited.observe(seconds)

    def stopped(self) -> None:
        self._stopped.inc()

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge whose value is asked for whenever somebody looks."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        return generate_latest(self.registry)
