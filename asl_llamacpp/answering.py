"""A question about a document: the prompt, the context that it needs, and the answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import models

CONTEXT_STEP = 256
"""An automatic n_ctx is a multiple of this."""

_BASE_MODEL_STOPS = ["\n\n", "\nQuestion:"]


class ContextOverflow(ValueError):
    """The document, the question and the answer do not fit the context; nothing was cut."""


@dataclass(frozen=True)
class Query:
    """`question` about `document`, to be answered in at most `max_tokens` tokens; temperature 0 is greedy."""

    document: str
    question: str
    max_tokens: int = 256
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise ValueError("the question is empty")

    @property
    def messages(self) -> list[dict[str, str]]:
        """The chat: the document first, so that the question stands in the observation window at the end."""
        return [{"role": "user", "content": f"{self.document}\n\n{self.question}"}]

    @property
    def completion_prompt(self) -> str:
        """The same for a base model, which knows no chat."""
        return f"{self.document}\n\nQuestion: {self.question}\nAnswer:"


@dataclass(frozen=True)
class PromptSize:
    """Tokens of the document and of what stands around it; `n_ctx_train` is the model's trained context."""

    document: int
    around: int
    n_ctx_train: int

    @property
    def prompt(self) -> int:
        return self.document + self.around


def measure(path: str | Path, query: Query) -> PromptSize:
    """Count the prompt's tokens exactly as `answer` will evaluate them, with the model's vocabulary alone.

    Raises:
        ValueError: llama.cpp cannot load the file, or the chat template cannot render the prompt.
    """
    tokenizer = models.open_model(path, vocab_only=True, kv_policy="full", n_gpu_layers=0)
    try:
        document = len(tokenizer.tokenize(query.document.encode(), add_bos=False))
        architecture = tokenizer.metadata.get("general.architecture")
        n_ctx_train = int(tokenizer.metadata.get(f"{architecture}.context_length", 0))
        around = len(prompt_tokens(tokenizer, query)) - document
        return PromptSize(document, max(around, 0), n_ctx_train)
    finally:
        tokenizer.close()


def fit_context(size: PromptSize, max_tokens: int, n_ctx: int | None = None) -> int:
    """The context to open: `n_ctx` if given, else the smallest multiple of 256 that holds prompt and answer.

    Raises:
        ContextOverflow: they do not fit; the message has the numbers and what can be done.
        ValueError: `n_ctx` exceeds the model's trained context.
    """
    needed, limit = size.prompt + max_tokens, size.n_ctx_train
    if n_ctx is not None and limit and n_ctx > limit:
        raise ValueError(f"--n-ctx {n_ctx} exceeds the model's trained context of {limit} tokens")
    if n_ctx is None:
        n_ctx = -(-needed // CONTEXT_STEP) * CONTEXT_STEP
        if limit:
            n_ctx = min(n_ctx, limit)
    if needed <= n_ctx:
        return n_ctx

    options = ["shorten the document", "take a model with a longer context (-m)"]
    if n_ctx > size.prompt:
        options.insert(0, f"lower --max-tokens to {n_ctx - size.prompt} or less")
    if needed <= limit:
        options.insert(0, f"raise --n-ctx to {needed} or more")
    raise ContextOverflow(
        f"the document does not fit: {size.document} tokens of document + {size.around} of question and template "
        f"+ {max_tokens} for the answer = {needed}, but the context has {n_ctx} (the model's trained context: "
        f"{limit or 'unknown'}). Nothing was cut. {', or '.join(options).capitalize()}"
    )


class _Rendered(Exception):
    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens


def prompt_tokens(llm: Any, query: Query) -> list[int]:
    """The tokens that `answer` will evaluate.

    A chat's are taken from the chat handler itself, at the moment when it hands them on to create_completion:
    whatever template, special tokens and first token it chose are in them.
    """
    if not has_chat_template(llm):
        tokens: list[int] = llm.tokenize(query.completion_prompt.encode(), add_bos=True)
        return tokens

    def intercept(prompt: list[int], **_: Any) -> None:
        raise _Rendered(prompt)

    llm.create_completion = intercept
    try:
        llm.create_chat_completion(messages=query.messages)
    except _Rendered as rendered:
        return rendered.tokens
    except Exception as error:  # templates are programs, and refuse in their own ways
        raise ValueError(f"the model's chat template cannot render the prompt: {error}") from error
    finally:
        del llm.create_completion
    raise ValueError("the model's chat handler makes no plain text prompt, so its tokens cannot be counted")


def has_chat_template(llm: Any) -> bool:
    """Whether the model is asked through a chat template; a base model, which has none, completes a text."""
    return "tokenizer.chat_template" in llm.metadata


def _request(llm: Any, query: Query) -> Any:
    """The completion call that fits the model, still without `stream`."""
    options = {"max_tokens": query.max_tokens, "temperature": query.temperature}
    if has_chat_template(llm):
        return partial(llm.create_chat_completion, messages=query.messages, **options)
    return partial(llm.create_completion, prompt_tokens(llm, query), stop=_BASE_MODEL_STOPS, **options)


def _text(choice: dict[str, Any]) -> str:
    message = choice.get("delta") or choice.get("message") or choice
    return message.get("content") or message.get("text") or ""


def stream_answer(llm: Any, query: Query) -> Iterator[str]:
    """The answer piece by piece; the first piece comes after the prefill, and none is empty.

    Closing the iterator stops the answer. Errors are those of `Llama.create_chat_completion`.
    """
    chunks = _request(llm, query)(stream=True)
    started = False
    try:
        for chunk in chunks:
            piece = _text(chunk["choices"][0])
            if not started:
                piece = piece.lstrip()
            if piece:
                started = True
                yield piece
    finally:
        with suppress(AttributeError):
            chunks.close()


def answer(llm: Any, query: Query) -> tuple[str, dict[str, Any]]:
    """The whole answer, and {"usage": token counts, "finish_reason": "stop" or "length"}."""
    completion = _request(llm, query)(stream=False)
    choice = completion["choices"][0]
    return _text(choice).strip(), {"usage": completion["usage"], "finish_reason": choice["finish_reason"]}
