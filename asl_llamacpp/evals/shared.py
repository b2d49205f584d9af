"""One `Llama` that answers a prompt under one policy after another, from one recorded prefill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..budget.kv_shape import KVShape
from ..budget.text import Budget, parse_budget
from ..engine.binding import Engine
from ..llama import models
from ..llama.llama import Llama
from ..policies import Policy
from ..prefill.known import Known
from ..store.entry import Entry
from ..store.pruned_cache import PrunedCache
from ..store.store import DocumentStore
from .recorded import RecordedPrompt


class _RecordedStore(DocumentStore):
    """Offers the recorded prompt's first tokens as a document that is known just as deep as the policy needs it."""

    def __init__(self, engine: Engine, shape: KVShape, n_embd: int, prompt: RecordedPrompt, il: int) -> None:
        super().__init__(engine, shape, n_embd)
        self.prompt, self.il = prompt, il
        self.entry = Entry(np.asarray(prompt.tokens[: prompt.n_known], dtype=np.int32))

    def find(self, tokens: Sequence[int]) -> tuple[Entry | None, int]:
        same = self.prompt.n_known > 0 and list(tokens) == self.prompt.tokens
        return (self.entry, self.prompt.n_known) if same else (None, 0)

    def known(self, entry: Entry, n: int, latest: int | None) -> Known:
        return Known(n, self.il, self.prompt.state(self.il).first_tokens(n)) if self.il > 0 else Known()


class SharedLlama:
    """A `Llama` whose policy changes from answer to answer, and the prompt that it has run through all layers.

    The answers are those of an ordinary `Llama` with that policy: the prefill is the ordinary one, but for known
    tokens, as for a second question about a document. Seconds tell nothing.
    """

    def __init__(self, llm: Llama) -> None:
        if llm._engine is None or llm.pruned_cache is None:
            raise ValueError("a policy that prunes is needed, so that the context can be run layer by layer")
        self.llm, self.engine, self.shape = llm, llm._engine, llm.pruned_cache.shape
        self.prompt: RecordedPrompt | None = None

    def record(self, tokens: Sequence[int], tail: int) -> RecordedPrompt:
        """Run a prompt through all layers; see `RecordedPrompt`."""
        self.llm.reset()
        self.prompt = None  # its memory first
        self.prompt = RecordedPrompt(self.engine, self.shape, self.llm.n_embd(), tokens, tail)
        return self.prompt

    def set_policy(self, policy: Policy, kv_budget: int | float | str | Budget | None = None) -> None:
        """From now on the recorded prompt is answered under `policy`, as `Llama(kv_policy=..., kv_budget=...)` does."""
        if self.prompt is None:
            raise ValueError("record a prompt first")
        llm, budget = self.llm, parse_budget(kv_budget)
        llm.reset()
        store = _RecordedStore(self.engine, self.shape, llm.n_embd(), self.prompt, self.prompt.n_layer)
        llm._policy, llm._budget = policy, budget
        neutral = None if llm.pruned_cache is None else llm.pruned_cache.neutral
        llm.pruned_cache = PrunedCache(self.engine, policy, self.shape, budget, store, neutral)
        planned = llm.pruned_cache.plan(len(self.prompt.tokens))
        store.il = self.prompt.depth(planned.policy)
        # the engine does not compress the last known layer unless it has compressed one before
        leaves = llm.pruned_cache.leaves_device(planned, len(self.prompt.tokens))
        if leaves and self.prompt.scored[:1] == [store.il - 1]:
            store.il -= 1


@contextmanager
def open_shared(path: str | Path, **options: Any) -> Iterator[SharedLlama]:
    """A `SharedLlama` of the model at `path`, with `Llama`'s options but for the policy. Errors as `open_model`."""
    with closing(
        models.open_model(path, **{**options, "kv_policy": "asl", "calibration": None, "document_min": None})
    ) as llm:
        yield SharedLlama(llm)
