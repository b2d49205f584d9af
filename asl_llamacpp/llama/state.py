"""Saved states of a `Llama`: one copy of the KV cache, and the fingerprint of what it belongs to."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from ..files.fingerprint import as_saved, check_fingerprint, fingerprint


def with_rows(array: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """A copy of `array` with at least n rows, zeros added."""
    longer = np.zeros((max(n, len(array)), *array.shape[1:]), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


def _new_bytes(n: int) -> bytes:
    """`n` uninitialized bytes, to be filled in place before anybody sees them."""
    allocate = ctypes.pythonapi.PyBytes_FromStringAndSize
    allocate.restype, allocate.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.c_ssize_t]
    data: bytes = allocate(None, n)
    return data


def _pointer(data: bytes) -> Any:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ctypes.c_uint8))


def fit_buffers(llm: Any) -> None:
    """Room for n_ctx tokens in what the parent sizes by the argument."""
    if len(llm.input_ids) < llm._n_ctx:
        llm.input_ids = with_rows(llm.input_ids, llm._n_ctx)
    if llm.n_batch < len(llm.scores) < llm._n_ctx:  # logits_all
        llm.scores = with_rows(llm.scores, llm._n_ctx)


def save(llm: Any) -> llama_cpp.LlamaState:
    """llama-cpp-python's LlamaState with a `fingerprint`, written straight into its place: one copy, not three.

    Scores are kept where there are any (logits_all=True).

    Raises:
        MemoryError: there is no room for the copy.
        RuntimeError: llama.cpp could not write the state.
    """
    ctx = llm._ctx.ctx
    size = int(llama_cpp.llama_state_get_size(ctx))
    data = _new_bytes(size)
    if int(llama_cpp.llama_state_get_data(ctx, _pointer(data), size)) != size:
        raise RuntimeError("llama.cpp could not write the state")
    n_scores = llm.n_tokens if llm._logits_all else 0
    state = llama_cpp.LlamaState(
        input_ids=llm.input_ids[: llm.n_tokens].copy(),
        scores=llm.scores[:n_scores].copy(),
        n_tokens=llm.n_tokens,
        llama_state=data,
        llama_state_size=size,
        seed=llm._seed,
    )
    cache = llm.pruned_cache
    state.fingerprint = fingerprint(llm)  # type: ignore[attr-defined]
    state.n_pruned = 0 if cache is None else cache.n_prompt  # type: ignore[attr-defined]
    state.shift = 0 if cache is None else cache.shift  # type: ignore[attr-defined]
    state.last_prefill = llm.last_prefill  # type: ignore[attr-defined]
    state.last_prompt = llm.last_prompt  # type: ignore[attr-defined]
    return state


def check(llm: Any, state: llama_cpp.LlamaState) -> None:
    """Whether `load` may go on.

    Raises:
        StateMismatchError: see `check_fingerprint`.
        ValueError: the state has more tokens than the context.
    """
    saved = getattr(state, "fingerprint", None)
    check_fingerprint(saved, as_saved(fingerprint(llm), saved or {}, llm.model_path, llm.lora_path))
    if state.n_tokens > llm._n_ctx:
        raise ValueError(f"the state holds {state.n_tokens} tokens, more than n_ctx={llm._n_ctx}")


def load(llm: Any, state: llama_cpp.LlamaState) -> None:
    """See `Llama.load_state`."""
    check(llm, state)
    cache, llm.last_prompt = llm.pruned_cache, None
    if cache is not None:
        cache.store.put_away()
        cache.forget()
    try:
        _put(llm, state)
    except Exception:
        llm.last_prefill = None
        llm.reset()
        llm._ctx.kv_cache_clear()
        raise
    if cache is not None:
        cache.n_prompt, cache.shift = getattr(state, "n_pruned", 0), getattr(state, "shift", 0)
    llm.last_prefill = getattr(state, "last_prefill", None)
    llm.last_prompt = getattr(state, "last_prompt", None)


def _put(llm: Any, state: llama_cpp.LlamaState) -> None:
    """Put a saved state that `check` has passed into the context of `llm`.

    Raises:
        RuntimeError: llama.cpp refused the data; the context is in no defined state.
    """
    n = state.n_tokens
    size = min(state.llama_state_size, len(state.llama_state))
    read = int(llama_cpp.llama_state_set_data(llm._ctx.ctx, _pointer(state.llama_state), size)) if size else -1
    if read != state.llama_state_size:
        raise RuntimeError("llama.cpp refused the state: it is damaged, or of another context")
    llm.input_ids = with_rows(state.input_ids, len(llm.input_ids))
    llm.scores[: len(state.scores)] = state.scores
    llm.n_tokens = n
    llm._requires_eval = True
    llm._seed = state.seed
