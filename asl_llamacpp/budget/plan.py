"""What a KV budget makes of a policy, before any work is done: pure planning, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..policies import Policy
from ..policies.base import Choice
from .kv_shape import KVShape
from .text import Budget, BudgetError, parse_budget, size_text
from .usage import Usage
from .worst_case import Case

__all__ = ["Budget", "BudgetError", "KVShape", "Plan", "parse_budget", "plan"]


@dataclass(frozen=True)
class Plan:
    """How a prompt is prefilled within a budget. The numbers are those of the worst case: selection at the latest.

    policy         the policy to run, with l_max, select_k or budget replaced where the budget demands it
    keep           cells per layer and KV head that layers are compressed to; None: no compression
    limit          bytes that the KV may take after the prefill; None: nothing was said in bytes
    forced_layer   the l_max that the budget demands, earlier than the policy's own; None: the policy's own stands
    cells          cells allocated after the prefill, headroom included, by layer
    kv_bytes       bytes of those
    peak_kv_bytes  most bytes of KV at any time of the prefill
    host_bytes     K and V that wait in the host's memory until the tokens are selected
    reason         what the budget changed; empty if nothing
    """

    policy: Policy
    keep: int | None
    limit: int | None
    forced_layer: int | None
    cells: tuple[int, ...]
    kv_bytes: int
    peak_kv_bytes: int
    host_bytes: int
    reason: str


def plan(
    policy: Policy,
    shape: KVShape,
    n_tokens: int,
    budget: Budget | None,
    headroom: int = 256,
    limit_peak: bool = False,
    in_all: Callable[[Case, Choice], int] | None = None,
) -> Plan:
    """How to prefill `n_tokens` under `policy` within `budget`.

    Args:
        policy: resolved, without "auto".
        shape: of the context.
        n_tokens: prompt tokens, 1 to n_ctx.
        budget: None changes nothing.
        headroom: cells per layer for the answer.
        limit_peak: a budget in bytes holds during the prefill too, not only after it.
        in_all: gives the bytes that a budget in bytes is for, where that is not the KV alone.

    Raises:
        BudgetError: nothing fits; the message says how much would.
        ValueError: the prompt does not fit the context, or the policy is not resolved.
    """
    if not 1 <= n_tokens <= shape.n_ctx:
        raise ValueError(f"a prompt of {n_tokens} tokens does not fit the context of n_ctx={shape.n_ctx}")
    case = Case(policy, shape, n_tokens, headroom, by_host=budget is not None)
    if budget is None:
        choice = policy.without_budget(case.prompt)
        return _plan(choice, case.usage(choice))
    if budget.kind != "bytes":
        choice = _in_tokens(case, budget)
        return _plan(choice, case.usage(choice))
    limit = int(budget.value)
    least: int | None = None
    for choice in policy.within_bytes(case.prompt, case.fewer):
        needed = case.usage(choice)
        size = needed.peak_kv_bytes if limit_peak else needed.kv_bytes
        if in_all is not None:
            size = in_all(case, choice)
        if size <= limit:
            return _plan(choice, needed, limit)
        least = size if least is None else min(least, size)
    error = BudgetError(_refusal(case, budget, least or 0, limit_peak))
    error.needed = least
    raise error


def _plan(choice: Choice, needed: Usage, limit: int | None = None) -> Plan:
    return Plan(
        policy=choice.policy,
        keep=choice.keep,
        limit=limit,
        forced_layer=choice.forced_layer,
        cells=needed.cells,
        kv_bytes=needed.kv_bytes,
        peak_kv_bytes=needed.peak_kv_bytes,
        host_bytes=needed.host_bytes,
        reason=choice.reason,
    )


def _in_tokens(case: Case, budget: Budget) -> Choice:
    """What a budget of tokens, or a fraction of the prompt, makes of the policy."""
    policy, n, cells = case.policy, case.n_tokens, budget.tokens(case.n_tokens)
    least = policy.window + 1 if policy.prunes else 1
    if budget.kind == "fraction":
        cells = max(least, cells)
    if policy.prunes and cells < least:
        raise BudgetError(
            f"kv_budget={budget} must exceed window={policy.window}, which is part of what is kept: "
            "raise kv_budget or lower the policy's window"
        )
    choice = policy.within_tokens(case.prompt, cells)
    if choice is None:
        raise BudgetError(
            f"kv_budget={budget} allows {cells} cells per layer and KV head, and kv_policy={str(policy)!r} keeps all "
            f"{n} tokens: use a policy that prunes, or raise kv_budget"
        )
    return choice


def _refusal(case: Case, budget: Budget, least: int, limit_peak: bool) -> str:
    policy, n_layer = case.policy, len(case.shape.layers)
    if not policy.prunes:
        why = (
            f"stock llama.cpp allocates all n_ctx={case.shape.n_ctx} cells in {n_layer} layers when it loads the model"
        )
        how = "lower n_ctx, use a policy that prunes, or raise the budget"
    else:
        why = f"as far as {str(policy)!r} can be compressed, with {case.headroom} cells a layer for the answer"
        how = "raise the budget, shorten the prompt, or quantize K and V (type_k, type_v)"
    when = "during the prefill" if limit_peak else "after the prefill"
    return (
        f"kv_budget={budget} ({int(budget.value):,} bytes) is too small for a prompt of {case.n_tokens} tokens: "
        f"{when} at least {size_text(least)} are needed, {why}: {how}"
    )
