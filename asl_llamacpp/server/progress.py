"""How far a prefill is, as llama.cpp's server tells it: `prompt_progress`."""

from __future__ import annotations

import time
from typing import Any

from ..policies import Policy
from ..prefill.report import Progress
from ..prefill.time_left import TimeLeft
from .job import Job

EVERY = 0.1
"""Seconds between two messages."""


def waiting(position: int) -> dict[str, Any]:
    """Nothing has begun: `position` jobs are done before this one."""
    return {"queue_position": position, "total": 0, "cache": 0, "processed": 0, "time_ms": 0}


class PromptProgress:
    """Takes what `Llama.on_progress` is called with, and tells the job about ten times a second.

    `processed` grows from `cache` to `total` with the work that is done, tokens times layers.
    """

    def __init__(self, job: Job, policy: Policy, n_prompt: int | None) -> None:
        self._job, self._total = job, n_prompt
        self._left = TimeLeft(policy if policy.prunes else None, n_prompt)
        self._begin = time.monotonic()
        self._cache: int | None = None
        self._next = 0.0
        self._share = 0.0

    def __call__(self, step: Progress) -> None:
        now = time.monotonic()
        left = self._left(step, now)
        total = self._total or step.n_tokens
        if self._cache is None:
            self._cache = 0 if step.phase == "document" else max(total - step.n_tokens, 0)
        self._share = max(self._share, self._left.share)  # the work left is an estimate, and may grow
        if now < self._next:
            return
        self._next = now + EVERY
        self._job.emit("progress", {
            "total": total,
            "cache": self._cache,
            "processed": self._cache + round((total - self._cache) * self._share),
            "time_ms": round(1000 * (now - self._begin)),
            "layer": step.layer,
            "n_layer": step.layers,
            "seconds_left": None if left is None else round(left, 1),
            "queue_position": 0,
        })  # fmt: skip
