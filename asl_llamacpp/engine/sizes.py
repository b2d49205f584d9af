"""Bytes of a model and a context by place: of each device that the model was loaded for, then of the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .arguments import int32
from .header import c_context, c_model, ffi, lib
from .kinds import ERRORS, OK, LayerShape, Reduction
from .window_scores import AskedScores

Sizes: TypeAlias = tuple[int, ...]
"""One number of bytes a place."""


@dataclass(frozen=True)
class Run:
    """A run of the layers il_begin <= il < il_end, which may never take place.

    n_before  tokens whose cells are there already
    n_tokens  those that run
    n_cells   cells of these layers, room for the answer included
    window    the last so many tokens are those whose attention is wanted
    scores    what is wanted of it, by layer
    """

    il_begin: int
    il_end: int
    n_before: int
    n_tokens: int
    n_cells: int
    window: int = 1
    scores: Mapping[int, Reduction] = field(default_factory=dict)


def weight_bytes(model: Any) -> Sizes:
    """Of the weights of `model` (a ctypes llama_model_p), loaded with or without them."""
    sizes = _sizes(model)
    lib.llama_layerwise_weight_bytes(c_model(model), sizes, len(sizes))
    return tuple(sizes)


def reserved_bytes(model: Any, ctx: Any) -> Sizes:
    """Of the compute buffers that `ctx` (a ctypes llama_context_p of `model`) has."""
    sizes = _sizes(model)
    lib.llama_layerwise_reserved_bytes(c_context(ctx), sizes, len(sizes))
    return tuple(sizes)


def compute_bytes(model: Any, ctx: Any, layers: Sequence[LayerShape], run: Run) -> Sizes:
    """The same after `run`; nothing is allocated, and nothing changes.

    Args:
        model, ctx: as for `reserved_bytes`; the context was created inside `deferred_kv()`, and runs no prefill.
        layers: all of the model's.

    Raises ValueError for a run that the context could not make.
    """
    info = _Asked(run.n_before + run.n_tokens, run.window)
    asked = AskedScores(ffi, run.scores, {il: layers[il] for il in run.scores}, info)
    sizes = _sizes(model)
    status = lib.llama_layerwise_compute_bytes(
        c_context(ctx),
        *map(int32, (run.il_begin, run.il_end, run.n_before, run.n_tokens, run.n_cells, run.window)),
        asked.structs,
        len(asked.structs),
        sizes,
        len(sizes),
    )
    if status != OK:
        raise ERRORS[status](ffi.string(lib.llama_layerwise_error(c_context(ctx))).decode())
    return tuple(sizes)


def _sizes(model: Any) -> Any:
    return ffi.new("uint64_t[]", lib.llama_layerwise_n_devices(c_model(model)) + 1)


@dataclass(frozen=True)
class _Asked:
    """What scores are made for."""

    n_kept: int
    n_window: int
    n_seen: int = 0
