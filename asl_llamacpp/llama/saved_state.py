"""What a `Llama` can be saved as: states of its pruned cache, and pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llama_cpp

from ..budget.text import Budget
from ..policies import Policy
from ..prefill.report import PrefillReport
from ..store.pruned_cache import PrunedCache
from ..store.settings import store_arguments
from . import state


class KeepsState(llama_cpp.Llama):
    """llama-cpp-python's states and pickles, for a cache that may be pruned."""

    _cache: PrunedCache | None
    _policy: Policy
    _budget: Budget | None
    _store_options: dict[str, Any]
    kv_reuse: bool
    fallback_format: str | None
    rpc_servers: str | None
    calibration: Path | None
    last_prefill: PrefillReport | None

    def save_state(self) -> llama_cpp.LlamaState:
        """The parent's state, with a fingerprint of model, policy and build; at most one copy of it in RAM."""
        saved = state.save(self)
        cache = self._cache
        saved.n_pruned = 0 if cache is None else cache.n_prompt  # type: ignore[attr-defined]
        saved.shift = 0 if cache is None else cache.shift  # type: ignore[attr-defined]
        saved.last_prefill = self.last_prefill  # type: ignore[attr-defined]
        return saved

    def load_state(self, saved: llama_cpp.LlamaState) -> None:
        """Restore a state that this policy, model and build saved; the parent's own states are refused.

        Raises:
            StateMismatchError: it belongs to something else; nothing was changed.
            ValueError: it holds more tokens than n_ctx; nothing was changed.
            RuntimeError: the data is damaged; the object is then empty and usable.
        """
        state.check(self, saved)
        if self._cache is not None:
            self._cache.store.put_away()
        try:
            state.load(self, saved)
        except Exception:
            self.last_prefill = None
            self.reset()  # type: ignore[no-untyped-call]
            self._ctx.kv_cache_clear()  # type: ignore[no-untyped-call]
            raise
        if self._cache is not None:
            self._cache.n_prompt, self._cache.shift = getattr(saved, "n_pruned", 0), getattr(saved, "shift", 0)
        self.last_prefill = getattr(saved, "last_prefill", None)

    def __getstate__(self) -> dict[str, Any]:
        values = super().__getstate__()  # type: ignore[no-untyped-call]
        values |= {"kv_policy": self._policy, "kv_budget": self._budget, "kv_reuse": self.kv_reuse}
        values |= {"rpc_servers": self.rpc_servers, **store_arguments(self._store_options)}
        if self.chat_format == self.fallback_format:
            values["chat_format"] = None  # a fallback is none that was given
        # the policy has the constants already: only the name of their file is missing
        return {**values, "calibrated_by": self.calibration, "saved": self.save_state() if self.n_tokens else None}

    def __setstate__(self, values: dict[str, Any]) -> None:
        saved, calibration = values.pop("saved", None), values.pop("calibrated_by", None)
        super().__setstate__(values)  # type: ignore[no-untyped-call]
        self.calibration = calibration
        if saved is not None:
            self.load_state(saved)
