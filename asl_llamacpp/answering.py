"""A question about a document: the prompt, and the context that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import models
from .chat_prompt import document_tokens, frame, has_chat_template
from .document import ContextOverflow

CONTEXT_STEP = 256
"""An automatic n_ctx is a multiple of this."""


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
    """Count the prompt's tokens exactly as `Document.ask` will evaluate them, with the model's vocabulary alone.

    Raises:
        ValueError: llama.cpp cannot load the file, or the chat template cannot render the prompt.
    """
    tokenizer = models.open_model(path, vocab_only=True, kv_policy="full", n_gpu_layers=0)
    try:
        n_ctx_train = models.trained_context(tokenizer)
        around = frame(tokenizer, query.question)
        n_around = len(around.head(tokenizer)) + len(around.tail(tokenizer))
        return PromptSize(len(document_tokens(tokenizer, query.document)), n_around, n_ctx_train)
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


def prompt_tokens(llm: Any, query: Query) -> list[int]:
    """The tokens that `Document.ask` will evaluate."""
    around = frame(llm, query.question)
    return [*around.head(llm), *document_tokens(llm, query.document), *around.tail(llm)]


__all__ = [
    "CONTEXT_STEP",
    "ContextOverflow",
    "PromptSize",
    "Query",
    "fit_context",
    "has_chat_template",
    "measure",
    "prompt_tokens",
]
