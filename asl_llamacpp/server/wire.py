"""Answers about documents in the form of OpenAI's chat completions."""

from __future__ import annotations

import time
import uuid
from typing import Any

from . import progress
from .asking import Answered
from .job import Event


class ChatWire:
    """The objects of one answer.

    include_usage  whether one more chunk with the usage alone is wanted at the end, as OpenAI sends it
    """

    def __init__(self, model: str, include_usage: bool = False) -> None:
        self._include_usage = include_usage
        self._begun = False
        self.head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, answered: Answered) -> dict[str, Any]:
        message = {"role": "assistant", "content": answered.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answered.finish_reason}
        return {
            **self.head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": answered.usage,
            **answered.extra,
        }

    def lines(self, event: Event) -> list[dict[str, Any]]:
        """The chunks for an event of the job."""
        if event.kind == "queue":
            return [self.chunk({}, prompt_progress=progress.waiting(event.value))]
        if event.kind == "progress":
            return [self.chunk({}, prompt_progress=event.value)]
        if event.kind == "chunk":
            return [*self._begin(), self.chunk({"content": event.value})]
        answered: Answered = event.value
        last = self.chunk({}, answered.finish_reason, **answered.extra, usage=answered.usage)
        return [*self._begin(), last, *self.usage(answered.usage)]

    def usage(self, usage: dict[str, int]) -> list[dict[str, Any]]:
        if not self._include_usage:
            return []
        return [{**self.head, "object": "chat.completion.chunk", "choices": [], "usage": usage}]

    def _begin(self) -> list[dict[str, Any]]:
        if self._begun:
            return []
        self._begun = True
        return [self.chunk({"role": "assistant", "content": ""})]

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **extra: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self.head, "object": "chat.completion.chunk", "choices": [choice], **extra}
