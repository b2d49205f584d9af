"""A llama.cpp context and the budget: the shape of its KV cache, and what kv_policy="full" would hold in it."""

from __future__ import annotations

from typing import Any

from ..budget.kv_shape import KVShape
from ..budget.text import Budget, BudgetError
from ..engine.binding import kv_bytes, model_layers


def shape_of(model: Any, n_ctx: int, params: Any) -> KVShape:
    """KV shape of a ctypes llama_model_p in a context of these llama_context_params."""
    return KVShape(
        layers=tuple(model_layers(model)),
        type_k=params.type_k,
        type_v=params.type_v,
        n_ctx=n_ctx,
        n_ubatch=params.n_ubatch,
        swa_full=params.swa_full,
    )


def check_context(ctx: Any, budget: Budget | None) -> None:
    """BudgetError if the KV cache of a context under kv_policy="full" exceeds a budget in bytes."""
    if budget is not None and budget.kind == "bytes" and kv_bytes(ctx) > budget.value:
        raise BudgetError(
            f"kv_policy='full' holds n_ctx cells in every layer, {kv_bytes(ctx)} bytes, and kv_budget={budget} allows "
            f"{int(budget.value)}: lower n_ctx, or use a policy that prunes"
        )


def check_prompt(n_tokens: int, budget: Budget | None) -> None:
    """BudgetError if a prompt under kv_policy="full" has more tokens than the budget."""
    if budget is not None and budget.kind != "bytes" and n_tokens > budget.tokens(n_tokens):
        raise BudgetError(
            f"kv_policy='full' keeps all {n_tokens} tokens of the prompt, kv_budget={budget} allows "
            f"{budget.tokens(n_tokens)}: use a policy that prunes, such as kv_policy='asl' or 'snapkv'"
        )
