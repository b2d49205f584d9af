"""What clients send: OpenAI's requests, as far as `Llama` knows them, and a few fields of our own."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from .own_policy import check_policy
from .settings import ModelSettings

MOST_DOCUMENTS = 7
"""Documents of one question."""

_IGNORED = frozenset({
    *("metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key"),
    *("prompt_cache_retention", "verbosity", "timings_per_token", "cache_prompt", "id_slot"),
})  # fmt: skip
"""OpenAI's and llama.cpp's fields that change nothing about the answer of one model on one machine."""


class StreamOptions(BaseModel):
    include_usage: bool = False


class Sampling(BaseModel):
    """What both kinds of completion have. A field that nobody knows is refused, as a typo would be lost otherwise."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Any name: the server has one model.")
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, max_length=256, description="Names the client in the fair queue.")
    n: Literal[1] = 1
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1 << 30)
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repeat_penalty: float | None = Field(None, gt=0, le=100)
    seed: int | None = Field(None, ge=-(1 << 31), lt=1 << 32)
    stop: str | list[str] | None = Field(None, max_length=16)
    logit_bias: dict[str, float] | None = Field(None, max_length=1024)
    return_progress: bool = Field(False, description="Tell in the stream how far the prefill is.")
    policy: Any = Field(None, description="As `kv_policy`.")
    kv_policy: Any = Field(None, description="What is pruned: the server's own; another is refused.")
    kv_budget: Any = Field(None, description="What the KV cache may hold: the server's own; another is refused.")

    @model_validator(mode="before")
    @classmethod
    def _without_ignored(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if name not in _IGNORED}

    @field_validator("logit_bias")
    @classmethod
    def _by_token(cls, bias: dict[str, float] | None) -> dict[str, float] | None:
        if any(not token.isascii() or not token.isdigit() for token in bias or ()):
            raise ValueError("the names must be token ids")
        return bias

    @field_validator("stop")
    @classmethod
    def _some_text(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if any(not text for text in ([stop] if isinstance(stop, str) else stop or [])):
            raise ValueError("an empty text would stop every answer at once")
        return stop

    def check_policy(self, model: ModelSettings) -> None:
        """APIError for a policy or a budget that are not the server's."""
        check_policy(model, policy=self.policy, kv_policy=self.kv_policy, kv_budget=self.kv_budget)

    def sampling(self) -> dict[str, Any]:
        """As `Llama.create_completion` takes it: only what was given."""
        names = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repeat_penalty")
        values = {name: getattr(self, name) for name in (*names, "seed", "stop", "logit_bias")}
        return {name: value for name, value in values.items() if value is not None}


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class ChatRequest(Sampling):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    documents: list[str] = Field([], max_length=MOST_DOCUMENTS, description="Ids of documents to answer from.")
    only_from_document: bool = Field(False, description="Answer only from the documents, else say so.")

    @property
    def longest(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(Sampling):
    """POST /v1/completions."""

    prompt: str | list[int] | list[str]
    suffix: str | None = None
    max_tokens: int | None = Field(16, ge=1)
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool = False
    best_of: Literal[1] | None = None
