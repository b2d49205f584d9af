"""`Llama`: llama-cpp-python's Llama whose long prompts are prefilled layer by layer and pruned."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np

from ..budget.text import Budget, parse_budget
from ..documents.reading import Reading
from ..engine.binding import Engine, UnsupportedModelError, deferred_kv
from ..engine.devices import OnDevices, remote_devices
from ..engine.support import unsupported_reason
from ..files.calibration import calibrated
from ..files.model_file import default_model
from ..policies import Policy
from ..prefill.describe import whole_report
from ..prefill.report import OnProgress, PrefillReport, Progress
from ..store.pruned_cache import PrunedCache, check_context, check_prompt, shape_of
from ..store.settings import DOCUMENT_LIMIT, Place, check_store
from ..store.store import DocumentStore
from . import state
from .generation import Closed, GuardedGeneration
from .saved_state import KeepsState


class Llama(Reading, KeepsState, OnDevices, GuardedGeneration):
    """llama-cpp-python's `Llama`, with a policy for the KV cache of long prompts.

    Args (beside those of `llama_cpp.Llama`, which keep their meaning):
        model_path: a GGUF file; None: SmolLM2-135M-Instruct, if its wheel is installed.
        kv_policy: "asl" (default), "fastkv", "snapkv", "gemfilter", "asl-2pass", "full" (stock llama.cpp), a spec
            such as "asl:tau=0.4,select_k=1024", or a policy object. Prompts of at most `select_k` tokens (of
            `budget`, for snapkv) are not pruned. The text "asl", alone or with a select_k, takes the other constants
            from the model's calibration, if there is one.
        calibration: the file that `asl-llamacpp calibrate` wrote; "auto" (default) looks beside the model and in the
            user's configuration folder; None: the paper's constants.
        kv_budget: what the KV cache may hold: tokens per layer and KV head (2048), a fraction of the prompt (0.1), or
            bytes of all layers together, room for 256 tokens of answer included ("2GiB"). None: no limit.
        on_progress: called with a `Progress` before each ubatch of a prefill; also an attribute that can be set
            later. Its exception, or Ctrl-C, stops the prefill within one ubatch and leaves the object usable.
        kv_reuse: continue on a pruned cache when a prompt continues the last one. By default such a prompt is
            prefilled anew, because the tokens were selected for another question. Asking the same prompt again
            uses the cache either way.
        document_min: a pruned prompt that shares at least so many first tokens with an earlier one starts from their
            state up to the selection layer: a second question about a document costs little more than its own tokens,
            and still gets a selection of its own, at that layer or deeper. The state takes n_embd floats a token
            beside the KV. None: only documents that were `read`.
        document_store: where the state of a document goes while another prompt has the context: "ram" (default),
            "device" (not where layers are compressed or hold a sliding window's cells only), or "disk".
        document_limit: the most that these states may take, bytes or text such as "4GiB" (default); those that were
            used least recently are dropped.
        document_folder: for "disk"; None: the system's folder for temporary files.
        flash_attn: None turns it on when the policy prunes, and is llama-cpp-python's default (off) for "full".
        rpc_servers: "host:port,host:port", llama.cpp's RPC servers (`asl-llamacpp rpc-server`) to put layers on, in
            this order, before this machine's GPUs; all layers unless `n_gpu_layers` says how many (the last ones).
            A server takes one model at a time. No password, no encryption: for trusted networks only. A server
            that goes away while the object is open ends the process: llama.cpp calls abort(), which cannot be
            caught. None: this machine alone.

    With a policy that prunes:
        - A prompt with images, or any that is to be pruned under a chat handler for images, is refused.
        - `embedding=True` is refused: embeddings need every token's output.
        - `flash_attn=False` is refused: KV cells cannot be pruned in the layout that it needs.
        - `logits_all=True` gives logprobs of the answer. `echo=True` together with `logprobs` is refused for a
          prompt that is pruned: tokens that did not go deeper have no logits.

    Pickling keeps the evaluated tokens and their KV cache, but not `on_progress`.

    Raises:
        ValueError: a bad policy, a damaged calibration or one of the combinations above; a prompt that does not fit
            `n_ctx` (from the call that got it, with the numbers).
        BudgetError: a prompt or an answer that the budget cannot hold (a ValueError too).
        UnsupportedModelError: the model's architecture cannot be prefilled layer by layer (a ValueError too).
        ConnectionError: an RPC server that cannot be reached, is busy with another model, or of another version.
        RuntimeError: `rpc_servers` in a build without RPC.
        FileNotFoundError: no `model_path`, and the default model is not installed; the message has the pip command.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        *,
        kv_policy: str | Policy = "asl",
        calibration: str | os.PathLike[str] | None = "auto",
        kv_budget: int | float | str | Budget | None = None,
        on_progress: OnProgress | None = None,
        kv_reuse: bool = False,
        document_min: int | None = 1024,
        document_store: Place = "ram",
        document_limit: int | str = DOCUMENT_LIMIT,
        document_folder: str | os.PathLike[str] | None = None,
        flash_attn: bool | None = None,
        rpc_servers: str | None = None,
        **kwargs: Any,
    ) -> None:
        model_path = str(default_model() if model_path is None else model_path)
        self._policy, self.calibration = calibrated(kv_policy, model_path, calibration)
        self._budget = parse_budget(kv_budget)
        self.on_progress = on_progress
        self.kv_reuse = kv_reuse
        self._store_options = check_store(document_min, document_store, document_limit, document_folder)
        self.last_prefill: PrefillReport | None = None
        self._engine: Engine | None = None
        self._cache: PrunedCache | None = None
        self.rpc_servers = rpc_servers
        self._devices = remote_devices(rpc_servers)
        if rpc_servers is not None:
            kwargs.setdefault("n_gpu_layers", -1)

        if not self._policy.prunes:
            super().__init__(model_path, flash_attn=bool(flash_attn), **kwargs)
            self._complete(kwargs)
            if not kwargs.get("vocab_only"):
                check_context(self._ctx.ctx, self._budget)
            return

        if flash_attn is False:
            raise ValueError(
                f"kv_policy={str(self._policy)!r} needs flash attention: leave flash_attn out, or use kv_policy='full'"
            )
        if kwargs.get("embedding"):
            raise ValueError(
                f"kv_policy={str(self._policy)!r} cannot serve embeddings, which need every token's output: "
                "use kv_policy='full' with embedding=True"
            )
        try:
            with deferred_kv():
                super().__init__(model_path, flash_attn=True, **kwargs)
            self._complete(kwargs)
            if not kwargs.get("vocab_only"):
                reason = unsupported_reason(self._model.model)
                if reason is not None:
                    raise UnsupportedModelError(reason)
                engine = Engine(self._ctx.ctx)
                engine.check()
                shape = shape_of(self._model.model, self._n_ctx, self.context_params)
                store = DocumentStore(engine, shape, self.n_embd(), **self._store_options)
                self._cache = PrunedCache(engine, self._policy, shape, self._budget, store)
                self._cache.check_store()
                self._engine = engine
        except Exception as error:
            reason = unsupported_reason(self._model.model) if hasattr(self, "_model") else None
            if reason is None and isinstance(error, UnsupportedModelError):
                reason = str(error)
            self.close()
            if reason is None:
                raise
            raise UnsupportedModelError(f"{reason}: load it with kv_policy='full'") from None

    def _complete(self, given: dict[str, Any]) -> None:
        """What the parent leaves undone: an adapter that did not load, buffers for an n_ctx that was rounded up."""
        if given.get("chat_format") is None and "tokenizer.chat_template" not in self.metadata:
            self.fallback_format = self.chat_format
        if self.lora_path and not self._lora_adapter:
            raise RuntimeError(f"Failed to initialize LoRA adapter from lora path: {self.lora_path}")
        self._fit_buffers()

    def _fit_buffers(self) -> None:
        """Room for n_ctx tokens in what the parent sizes by the argument."""
        if len(self.input_ids) < self._n_ctx:
            self.input_ids = state.with_rows(self.input_ids, self._n_ctx)
        if self.n_batch < len(self.scores) < self._n_ctx:  # logits_all
            self.scores = state.with_rows(self.scores, self._n_ctx)

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
        if self._cache is not None:
            self._cache.forget()

    def close(self) -> None:
        """Free the model and the context. ValueError while a prefill runs: not from `on_progress`."""
        engine: Engine | None = getattr(self, "_engine", None)
        if engine is not None and engine.running:
            raise ValueError("a prefill is running: raise an exception to stop it, and close the object afterwards")
        self._engine = self._cache = None
        if hasattr(self, "_stack"):
            super().close()
            closed: Any = Closed()  # instead of a crash on freed memory
            self._ctx = self._model = self.tokenizer_ = closed

    def eval(self, tokens: Sequence[int]) -> None:
        """Evaluate tokens after those evaluated so far.

        A prompt longer than the policy's `select_k` is prefilled layer by layer and pruned. More prompt tokens
        after it are prefilled together with it, anew, unless `kv_reuse`; a single token is decoded.

        Raises:
            ValueError: the tokens do not fit `n_ctx`; nothing was evaluated.
        """
        tokens = list(tokens)
        n_past, n_total = self.n_tokens, self.n_tokens + len(tokens)
        if n_total > self._n_ctx:
            raise ValueError(
                f"{n_total} tokens do not fit the context of n_ctx={self._n_ctx}: "
                "shorten the prompt or raise n_ctx (nothing was cut)"
            )
        if self._stage == "decode" or not tokens or (n_past > 0 and len(tokens) == 1):
            self._eval_more(tokens)
        elif n_past == 0 and self._cache is not None and self._cache.serves(tokens):
            self._eval_pruned(tokens)
        elif not self._prunes(n_total):
            self._eval_whole(tokens)
        elif n_past > 0 and self._n_pruned and self.kv_reuse:
            self._eval_more(tokens)
        else:
            self._eval_pruned([*self._input_ids[:n_past].tolist(), *tokens])
        if self._stage == "prompt":
            self._stage = "decode"

    def _eval_more(self, tokens: list[int]) -> None:
        """The parent's evaluation on top of what the cache holds, at the positions that follow its last cell."""
        cache = self._cache
        if cache is not None:
            cache.check_room(len(tokens))
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
        start = time.perf_counter()
        self.n_prompts += 1
        if self._cache is None:
            check_prompt(self.n_tokens + len(tokens), self._budget)
        elif self.n_tokens == 0:
            self._cache.store.put_away()
        n_layer = llama_cpp.llama_model_n_layer(self._model.model)
        for i in range(0, len(tokens), self.n_batch):
            if self.on_progress is not None:
                self.on_progress(Progress(n_layer * i // len(tokens), n_layer, i, len(tokens), "full"))
            super().eval(tokens[i : i + self.n_batch])
        self.last_prefill = whole_report(self._engine, self._ctx.ctx, self._policy, self.n_tokens)
        self.last_prefill.seconds = {"total": time.perf_counter() - start}
        self.last_prefill.calibration = None if self.calibration is None else str(self.calibration)

    def _eval_pruned(self, tokens: list[int]) -> None:
        assert self._cache is not None
        self._refuse_images()
        n = len(tokens)
        self.n_tokens, self._requires_eval, self.last_prefill = 0, True, None
        self.n_prompts += 1
        self.last_prefill = self._cache.prefill(tokens, self.on_progress)
        self.last_prefill.calibration = None if self.calibration is None else str(self.calibration)
        self.input_ids[:n] = tokens
        self.n_tokens, self._requires_eval = n, False
        if self._logits_all and n <= len(self.scores):
            self.scores[: n - 1] = np.nan
            logits = llama_cpp.llama_get_logits_ith(self._ctx.ctx, -1)
            self.scores[n - 1] = np.ctypeslib.as_array(logits, shape=(self._n_vocab,))

    @property
    def _n_pruned(self) -> int:
        """Length of the prompt that the cache was pruned for, 0: it is not pruned."""
        return 0 if self._cache is None else self._cache.n_prompt

    def _prunes(self, n_tokens: int) -> bool:
        """Whether a prompt of n_tokens is prefilled layer by layer."""
        return self._cache is not None and self._cache.prunes(n_tokens)

    def _may_reuse(self, tokens: list[int]) -> bool:
        """Whether the parent's prefix matching may serve `tokens` from what the cache holds."""
        cache, n_pruned = self._cache, self._n_pruned
        if cache is None:
            return True
        if n_pruned == 0:
            return not (self._prunes(len(tokens)) or cache.serves(tokens))
        if cache.shift or tokens[:n_pruned] != self._input_ids[:n_pruned].tolist():
            return False
        return len(tokens) == n_pruned or self.kv_reuse
