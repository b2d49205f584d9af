"""Evaluating tokens: as the parent does, or layer by layer and pruned, and on what the cache may serve."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from ..budget.text import Budget
from ..engine.binding import Engine
from ..policies import Policy
from ..prefill.describe import whole_report
from ..prefill.report import OnProgress, PrefillReport, Progress
from ..store.context import check_prompt
from ..store.pruned_cache import PrunedCache
from .generation import GuardedGeneration
from .last_prompt import LastPrompt


class PrunedEvaluation(GuardedGeneration):
    """llama-cpp-python's evaluation, with a cache that may be pruned.

    pruned_cache  plans and runs the layer-wise prefills; None under kv_policy="full"
    last_prefill  the report of the last prompt
    n_prompts     prompts that were evaluated so far
    last_prompt   the last one, as long as the context holds it; None under kv_policy="full"
    """

    _policy: Policy
    _budget: Budget | None
    _engine: Engine | None
    pruned_cache: PrunedCache | None
    on_progress: OnProgress | None
    kv_reuse: bool
    calibration: Path | None
    last_prefill: PrefillReport | None
    n_prompts = 0
    last_prompt: LastPrompt | None = None
    _held: Sequence[int] = ()
    """What the context held before it was reset for the prompt that comes."""

    @property
    def kv_policy(self) -> Policy:
        """The policy, fixed when the object is made: the KV cache is laid out for it."""
        return self._policy

    @property
    def kv_budget(self) -> Budget | None:
        """What the KV cache may hold, fixed when the object is made."""
        return self._budget

    def reset(self) -> None:
        """Forget the evaluated tokens."""
        super().reset()  # type: ignore[no-untyped-call]
        self.last_prompt = None
        if self.pruned_cache is not None:
            self.pruned_cache.forget()

    def eval(self, tokens: Sequence[int]) -> None:
        """Evaluate tokens after those evaluated so far.

        A prompt longer than the policy's `select_k` is prefilled layer by layer and pruned. More prompt tokens
        after it are prefilled together with it, anew, unless `kv_reuse`; a single token is decoded.

        Raises:
            ValueError: the tokens do not fit `n_ctx`; nothing was evaluated.
        """
        tokens = list(tokens)
        held, self._held = self._held, ()
        n_past, n_total, n_prompts = self.n_tokens, self.n_tokens + len(tokens), self.n_prompts
        if n_total > self._n_ctx:
            raise ValueError(
                f"{n_total} tokens do not fit the context of n_ctx={self._n_ctx}: "
                "shorten the prompt or raise n_ctx (nothing was cut)"
            )
        if self._stage == "decode" or not tokens or (n_past > 0 and len(tokens) == 1):
            self._eval_more(tokens)
        elif n_past == 0 and self.pruned_cache is not None and self.pruned_cache.serves(tokens):
            self._eval_pruned(tokens, held)
        elif not self._prunes(n_total):
            self._eval_whole(tokens)
        elif n_past > 0 and self._n_pruned and self.kv_reuse:
            self._eval_more(tokens)
        else:
            self._eval_pruned([*self._input_ids[:n_past].tolist(), *tokens])
        asked = self._stage == "prompt"
        # one token behind a pruned prompt is decoded, like those of its answer: what can come again is that prompt
        decoded = self._n_pruned > 0 and n_past > 0 and len(tokens) == 1
        if self.pruned_cache is not None and (self.n_prompts != n_prompts or (asked and not decoded)):
            self.last_prompt = LastPrompt.of(self._ctx.ctx, self._input_ids.tolist(), self._n_vocab, asked)
        if self._stage == "prompt":
            self._stage = "decode"

    def _eval_more(self, tokens: list[int]) -> None:
        """The parent's evaluation on top of what the cache holds, at the positions that follow its last cell."""
        cache = self.pruned_cache
        if cache is not None and cache.lacks_room(self.n_tokens, len(tokens)):
            self._ctx.kv_cache_seq_rm(-1, self.n_tokens - cache.shift, -1)
            cache.make_room(self.n_tokens, len(tokens))
        if cache is None or not cache.shift:
            super().eval(tokens)
            return
        self._ctx.kv_cache_seq_rm(-1, self.n_tokens - cache.shift, -1)
        for i in range(0, len(tokens), self.n_batch):
            part = tokens[i : i + self.n_batch]
            position, end = self.n_tokens - cache.shift, self.n_tokens + len(part)
            self._batch.set_batch(batch=part, n_past=position, logits_all=self._logits_all)
            self._ctx.decode(self._batch)
            self.input_ids[self.n_tokens : end] = part
            if self._logits_all:
                logits = np.ctypeslib.as_array(
                    llama_cpp.llama_get_logits(self._ctx.ctx), shape=(len(part), self._n_vocab)
                )
                self.scores[self.n_tokens : end] = logits
            self.n_tokens = end

    def _eval_whole(self, tokens: Sequence[int]) -> None:
        """The parent's evaluation of a prompt, with progress and a report."""
        start, n_past = time.perf_counter(), self.n_tokens
        self.n_prompts += 1
        if self.pruned_cache is None:
            check_prompt(self.n_tokens + len(tokens), self._budget)
        else:
            if self.n_tokens == 0:
                self.pruned_cache.store.put_away()
            self._ctx.kv_cache_seq_rm(-1, self.n_tokens, -1)
            self.pruned_cache.make_room(self.n_tokens, len(tokens))
        n_layer = llama_cpp.llama_model_n_layer(self._model.model)
        for i in range(0, len(tokens), self.n_batch):
            if self.on_progress is not None:
                self.on_progress(Progress(n_layer * i // len(tokens), n_layer, i, len(tokens), "full"))
            super().eval(tokens[i : i + self.n_batch])
        self.last_prefill = whole_report(self._engine, self._ctx.ctx, self._policy, self.n_tokens, n_past)
        self.last_prefill.seconds = {"total": time.perf_counter() - start}
        self.last_prefill.calibration = None if self.calibration is None else str(self.calibration)

    def _eval_pruned(self, tokens: list[int], held: Sequence[int] = ()) -> None:
        assert self.pruned_cache is not None
        self._refuse_images()
        n = len(tokens)
        self.n_tokens, self._requires_eval, self.last_prefill = 0, True, None
        self.n_prompts += 1
        watched = _Watched(self.on_progress)
        try:
            self.last_prefill = self.pruned_cache.prefill(tokens, watched, held)
        except BaseException:
            if watched.called:
                self.pruned_cache.store.stopped(tokens)
            raise
        self.last_prefill.calibration = None if self.calibration is None else str(self.calibration)
        self.input_ids[:n] = tokens
        self.n_tokens, self._requires_eval = n, False
        if self._logits_all and n <= len(self.scores):
            self.scores[: n - 1] = np.nan
            logits = llama_cpp.llama_get_logits_ith(self._ctx.ctx, -1)
            self.scores[n - 1] = np.ctypeslib.as_array(logits, shape=(self._n_vocab,))

    def _begin_anew(self) -> None:
        held = self._input_ids.tolist()
        self.reset()
        self._held = held

    def _recall(self, tokens: list[int]) -> bool:
        cache, last, n = self.pruned_cache, self.last_prompt, len(tokens)
        if cache is None or last is None or last.tokens != tokens or self._input_ids[:n].tolist() != tokens:
            return False
        start, end = time.perf_counter(), n - cache.shift
        if not cache.holds(n) or (self._requires_eval and n == self._n_ctx):
            return False
        if not self._ctx.kv_cache_seq_rm(-1, end, -1):
            return False
        self.n_tokens = n
        if self._requires_eval:  # a state was loaded: there is no place for logits before something was decoded
            self._eval_more(tokens[-1:])
            self._ctx.kv_cache_seq_rm(-1, end, -1)
        last.put_back(self._ctx.ctx)
        self.n_tokens, self._requires_eval = n, False
        self.n_prompts += last.asked
        if self.last_prefill is not None and last.asked:
            self.last_prefill = self.last_prefill.repeated(time.perf_counter() - start)
        return True

    def _expect_answer(self, n_tokens: int) -> None:
        if self.pruned_cache is not None:
            self.pruned_cache.n_answer = n_tokens

    @property
    def _n_pruned(self) -> int:
        """Length of the prompt that the cache was pruned for, 0: it is not pruned."""
        return 0 if self.pruned_cache is None else self.pruned_cache.n_prompt

    def _prunes(self, n_tokens: int) -> bool:
        """Whether a prompt of n_tokens is prefilled layer by layer."""
        return self.pruned_cache is not None and self.pruned_cache.prunes(n_tokens)

    def _may_reuse(self, tokens: list[int]) -> bool:
        """Whether the parent's prefix matching may serve `tokens` from what the cache holds."""
        cache, n_pruned = self.pruned_cache, self._n_pruned
        if cache is None:
            return True
        if n_pruned == 0:
            return not (self._prunes(len(tokens)) or cache.serves(tokens))
        if cache.shift or tokens[:n_pruned] != self._input_ids[:n_pruned].tolist():
            return False
        return self.kv_reuse


class _Watched:
    """Passes progress on, and tells whether there was any: the engine then holds nothing but what it has run."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self.called = False

    def __call__(self, progress: Progress) -> None:
        self.called = True
        if self._on_progress is not None:
            self._on_progress(progress)
