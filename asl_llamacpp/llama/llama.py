"""`Llama`: llama-cpp-python's Llama whose long prompts are prefilled layer by layer and pruned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import llama_cpp

from ..budget.memory import MemoryUse, together
from ..budget.text import Budget, parse_budget
from ..documents.chat_prompt import NeutralTurn
from ..documents.document import Document
from ..documents.reader import Reader
from ..engine.binding import Engine, UnsupportedModelError, deferred_kv
from ..engine.devices import OnDevices, batch_sizes, remote_devices
from ..engine.names import check_names, names_of
from ..engine.support import unsupported_reason
from ..files.calibration import calibrated
from ..files.model_file import default_model
from ..policies import Policy
from ..policies.read_by import Positions, ReadBy
from ..prefill.report import OnProgress, PrefillReport
from ..store.context import check_context, shape_of
from ..store.memory import MemoryPlanner, plan_stock
from ..store.pruned_cache import PrunedCache
from ..store.read_cache import ReadCache
from ..store.settings import DOCUMENT_LIMIT, Place, check_store
from ..store.store import DocumentStore
from . import pickled, state
from .documents import DocumentCalls
from .evaluation import PrunedEvaluation
from .generation import Closed
from .hidden_place import Hidden, check_hidden, place_hidden
from .one_at_a_time import OneAtATime
from .reading import check_reader_options, open_reader
from .templates import CheckedTemplate

_PARENT = llama_cpp.Llama  # a program may put ours in its place


class Llama(DocumentCalls, OnDevices, OneAtATime, CheckedTemplate, PrunedEvaluation):
    """llama-cpp-python's `Llama`, with a policy for the KV cache of long prompts.

    Any thread may use it: calls wait for their turn, in the order in which they came. A stream has the turn from its
    first piece until it ends or is closed; a call in the same thread meanwhile is a RuntimeError, since it would wait
    for itself. `last_prefill`, `documents`, `Document.state` and other facts are told at once, as they were last.

    Args (beside those of `llama_cpp.Llama`, which keep their meaning):
        model_path: a GGUF file, ~ being the home folder; None: SmolLM2-135M-Instruct, if its wheel is installed.
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
        hidden: where the hidden states between the layers are kept, n_embd floats a token: "device" (default), or
            "host", where they cross the bus twice a layer, and a long prompt takes that much less of a GPU's memory.
            Refused for "full", which keeps none, where a device uses the host's memory anyway, and on RPC servers.
        rpc_servers: "host:port,host:port", llama.cpp's RPC servers (`asl-llamacpp rpc-server`) to put layers on, in
            this order, before this machine's GPUs; all layers unless `n_gpu_layers` says how many (the last ones).
            A server takes one model at a time. No password, no encryption: for trusted networks only. A server
            that goes away while the object is open ends the process: llama.cpp calls abort(), which cannot be
            caught. None: this machine alone.

        reader: the GGUF file of a small model that reads long prompts for this one: the policy's layers are its layers,
            it stops where it selects, and this model is prefilled with the `select_k` tokens alone, through all
            layers. What is known of a document is the reader's. Prompts of at most `select_k` tokens do without it.
        reader_options: arguments for the reader's own `Llama`, such as {"n_gpu_layers": -1, "n_threads": 4}; and
            "allow_slower": True, which takes a reader that costs more work than it saves.
        positions: where the tokens that the reader chose stand for this model: "original" (default), where they were
            in the prompt, or "compact", one behind the other.

    With a policy that prunes:
        - `n_ubatch` is 1024 where layers are on a GPU, and `n_batch` at least as much, unless they are given.
        - A prompt with images, or any that is to be pruned under a chat handler for images, is refused.
        - `embedding=True` is refused: embeddings need every token's output.
        - `flash_attn=False` is refused: KV cells cannot be pruned in the layout that it needs.
        - `logits_all=True` gives logprobs of the answer. `echo=True` together with `logprobs` is refused for a
          prompt that is pruned: tokens that did not go deeper have no logits.

    Pickling keeps the evaluated tokens and their KV cache, but not `on_progress`.

    Without a `seed`, here or in a call, every answer is drawn anew; at temperature 0 that makes no difference.

    Raises:
        TypeError: an argument that neither this class nor llama-cpp-python has.
        ValueError: a bad policy, a damaged calibration or one of the combinations above; a prompt that does not fit
            `n_ctx` (from the call that got it, with the numbers).
        BudgetError: a prompt or an answer that the budget cannot hold (a ValueError too).
        UnsupportedModelError: the model's architecture cannot be prefilled layer by layer (a ValueError too).
        ConnectionError: an RPC server that cannot be reached, is busy with another model, or of another version.
        RuntimeError: `rpc_servers` in a build without RPC.
        FileNotFoundError: no `model_path`, and the default model is not installed; the message has the pip command.
    """

    reader: Reader | None = None

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
        hidden: Hidden = "device",
        rpc_servers: str | None = None,
        reader: str | os.PathLike[str] | None = None,
        reader_options: Mapping[str, Any] | None = None,
        positions: Positions = "original",
        **kwargs: Any,
    ) -> None:
        names = names_of(Llama.__init__, _PARENT.__init__)
        check_names("Llama", kwargs, names)
        model_path = str(default_model() if model_path is None else Path(model_path).expanduser())
        self._seeded = kwargs.get("seed") is not None
        reads = model_path if reader is None else str(Path(reader).expanduser())
        self._policy, self.calibration = calibrated(kv_policy, reads, calibration)
        if reader is not None:
            self._policy = ReadBy(self._policy, positions)
        elif reader_options is not None or positions != "original":
            raise ValueError("reader_options and positions are for a model that reads: give reader= too")
        options = check_reader_options(reader_options, names)
        self._budget = parse_budget(kv_budget)
        self.on_progress = on_progress
        self.kv_reuse = kv_reuse
        self.store_options = check_store(document_min, document_store, document_limit, document_folder)
        self.last_prefill: PrefillReport | None = None
        self.fallback_format: str | None = None
        self._engine: Engine | None = None
        self.pruned_cache: PrunedCache | None = None
        self.hidden = check_hidden(hidden, self._policy)
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
            all_outputs = bool(kwargs.get("logits_all")) or kwargs.get("draft_model") is not None
            with deferred_kv(all_outputs):
                super().__init__(model_path, flash_attn=True, **{**kwargs, **batch_sizes(kwargs)})
            self._complete(kwargs)
            if not kwargs.get("vocab_only"):
                reason = unsupported_reason(self._model.model)
                if reason is not None:
                    raise UnsupportedModelError(reason)
                engine = Engine(self._ctx.ctx)
                engine.check()
                place_hidden(engine, self.hidden)
                shape = shape_of(self._model.model, self._n_ctx, self.context_params)
                store = DocumentStore(engine, shape, self.n_embd(), **self.store_options)
                if reader is not None:
                    self.reader = open_reader(self, reads, options)
                    self.pruned_cache = ReadCache(
                        engine, self._policy, shape, self._budget, store, choose=self.reader.choose
                    )
                else:
                    self.pruned_cache = PrunedCache(engine, self._policy, shape, self._budget, store, NeutralTurn(self))
                self.pruned_cache.check_store()
                self.pruned_cache.beside = self._planner(self.pruned_cache).beside
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
        state.fit_buffers(self)

    def close(self) -> None:
        """Free the model and the context. ValueError while a prefill runs: not from `on_progress`."""
        with self.turn.hold(beside=True):
            self._free()

    def __del__(self) -> None:
        self._free()  # nobody can have the turn any more

    def _free(self) -> None:
        engine: Engine | None = getattr(self, "_engine", None)
        if engine is not None and engine.running:
            raise ValueError("a prefill is running: raise an exception to stop it, and close the object afterwards")
        self._engine = self.pruned_cache = None
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.close()
        if hasattr(self, "_stack"):
            super().close()
            closed: Any = Closed()  # instead of a crash on freed memory
            self._ctx = self._model = self.tokenizer_ = closed

    def plan_memory(self, n_tokens: int, document: Document | None = None) -> tuple[MemoryUse, ...]:
        """What a prompt of `n_tokens` will take at most of each device, then of the host: all kinds of memory.

        Args:
            n_tokens: the prompt's, those of the document included.
            document: the prompt begins with it; what is known of it now need not be computed again.

        With a `reader`, what both models take, each when it takes most; its tokens are taken to be as many.
        Nothing is evaluated or allocated. A GPU's driver takes memory beside this.

        Raises BudgetError as the prompt would, and ValueError if it does not fit `n_ctx`.
        """
        if self.pruned_cache is None:
            flash = self.context_params.flash_attn_type == llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
            shape = replace(shape_of(self._model.model, self._n_ctx, self.context_params), flash_attn=flash)
            return plan_stock(self._model.model, self._ctx.ctx, shape, self.n_embd(), self._kv_on_host)
        planned = self._planner(self.pruned_cache).plan(n_tokens, None if document is None else document.entry)
        if self.reader is None:
            return planned
        return together(planned, self.reader.plan_memory(n_tokens))

    @property
    def _kv_on_host(self) -> bool:
        return not self.context_params.offload_kqv

    def _planner(self, cache: PrunedCache) -> MemoryPlanner:
        on_host = self.hidden == "host"
        return MemoryPlanner(cache, self._model.model, self._ctx.ctx, self._kv_on_host, on_host)

    def save_state(self) -> llama_cpp.LlamaState:
        """The parent's state, with a fingerprint of model, policy and build; at most one copy of it in RAM."""
        with self.turn.hold(beside=True):
            return state.save(self)

    def load_state(self, saved: llama_cpp.LlamaState) -> None:
        """Restore a state that this policy, model and build saved; the parent's own states are refused.

        Raises:
            StateMismatchError: it belongs to something else; nothing was changed.
            ValueError: it holds more tokens than n_ctx; nothing was changed.
            RuntimeError: the data is damaged; the object is then empty and usable.
        """
        with self.turn.hold():
            state.load(self, saved)

    def __getstate__(self) -> dict[str, Any]:
        return pickled.values_of(self, super().__getstate__())  # type: ignore[no-untyped-call]

    def __setstate__(self, values: dict[str, Any]) -> None:
        saved, calibration = pickled.take_own(values)
        super().__setstate__(values)  # type: ignore[no-untyped-call]
        self.calibration = calibration
        if saved is not None:
            self.load_state(saved)
