"""What a KV budget makes of a policy, before any work is done: pure planning, no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from ..policies import ASL, ASL2Pass, Full, GemFilter, Policy, SnapKV
from .kv_shape import CELLS_PAD, KVShape, Usage
from .text import Budget, BudgetError, parse_budget, size_text
from .worst_case import Case, Choice

AnyASL = TypeVar("AnyASL", bound=ASL)

__all__ = ["Budget", "BudgetError", "KVShape", "Plan", "parse_budget", "plan"]


@dataclass(frozen=True)
class Plan:
    """How a prompt is prefilled within a budget. The numbers are those of the worst case: selection at the latest.

    policy         the policy to run, with l_max, select_k or SnapKV's budget replaced where the budget demands it
    keep           cells per layer and KV head that layers are compressed to; None: no compression
    limit          bytes that the KV may take after the prefill; None: nothing was said in bytes
    forced_layer   the l_max that the budget demands, earlier than the policy's own; None: the policy's own stands
    cells          cells allocated after the prefill, headroom included, by layer
    kv_bytes       bytes of those
    peak_kv_bytes  most bytes of KV at any time of the prefill
    reason         what the budget changed; empty if nothing
    """

    policy: Policy
    keep: int | None
    limit: int | None
    forced_layer: int | None
    cells: tuple[int, ...]
    kv_bytes: int
    peak_kv_bytes: int
    reason: str


def plan(
    policy: Policy,
    shape: KVShape,
    n_tokens: int,
    budget: Budget | None,
    headroom: int = 256,
    limit_peak: bool = False,
) -> Plan:
    """How to prefill `n_tokens` under `policy` within `budget`.

    Args:
        policy: resolved, without "auto".
        shape: of the context.
        n_tokens: prompt tokens, 1 to n_ctx.
        budget: None changes nothing.
        headroom: cells per layer for the answer.
        limit_peak: a budget in bytes holds during the prefill too, not only after it.

    Raises:
        BudgetError: nothing fits; the message says how much would.
        ValueError: the prompt does not fit the context, or the policy is not resolved.
    """
    if not 1 <= n_tokens <= shape.n_ctx:
        raise ValueError(f"a prompt of {n_tokens} tokens does not fit the context of n_ctx={shape.n_ctx}")
    case = Case(policy, shape, n_tokens, headroom)
    if budget is None:
        keep = policy.budget if isinstance(policy, SnapKV) else None
        choice = Choice(policy, keep)
        return _plan(choice, case.usage(choice))
    if budget.kind != "bytes":
        choice = _in_tokens(case, budget)
        return _plan(choice, case.usage(choice))
    limit = int(budget.value)
    least: int | None = None
    for choice in _choices(case):
        needed = case.usage(choice)
        size = needed.peak_kv_bytes if limit_peak else needed.kv_bytes
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
        reason=choice.reason,
    )


def _in_tokens(case: Case, budget: Budget) -> Choice:
    """What a budget of tokens, or a fraction of the prompt, makes of the policy."""
    policy, n, cells = case.policy, case.n_tokens, budget.tokens(case.n_tokens)
    if budget.kind == "fraction":
        cells = max(case.window + 1, cells)
    if isinstance(policy, Full):
        if n > cells:
            raise BudgetError(
                f"kv_budget={budget} allows {cells} cells per layer and KV head, and kv_policy='full' keeps all {n} "
                "tokens: use a policy that prunes, or raise kv_budget"
            )
        return Choice(policy, None)
    if cells <= case.window:
        raise BudgetError(
            f"kv_budget={budget} must exceed window={case.window}, which is part of what is kept: "
            "raise kv_budget or lower the policy's window"
        )
    compressed = f"every layer and KV head keeps at most {cells} cells"
    if isinstance(policy, SnapKV):
        return Choice(replace(policy, budget=cells), cells, compressed)
    if isinstance(policy, (GemFilter, ASL2Pass)):
        if n <= min(cells, policy.select_k):
            return Choice(policy, None)
        return _second_pass(case, policy, min(cells, policy.select_k), forced=n > cells)
    return Choice(policy, cells, compressed)


def _second_pass(case: Case, policy: GemFilter | ASL2Pass, select_k: int, forced: bool) -> Choice:
    """A second pass on `select_k` tokens; `forced`: it comes in any case, if only after the last layer."""
    reasons: list[str] = []
    layer: int | None = None
    if select_k != policy.select_k:
        reasons.append(f"select_k lowered from {policy.select_k} to {select_k}, to fit the budget")
        policy = replace(policy, select_k=select_k)
    if forced and isinstance(policy, ASL2Pass) and policy.layer is None and policy.l_max is None:
        layer = case.n_layer - 1
        reasons.append(f"tokens are selected after layer {layer} at the latest, to fit the budget")
        policy = _forced_at(policy, layer)
    return Choice(policy, None, "; ".join(reasons), layer)


def _choices(case: Case) -> Iterator[Choice]:
    """What can be done about a budget in bytes: the first that fits is the best."""
    policy, n = case.policy, case.n_tokens
    if not isinstance(policy, SnapKV):
        yield Choice(policy, None)
    if isinstance(policy, Full):
        return
    if isinstance(policy, (GemFilter, ASL2Pass)):
        for select_k in (policy.select_k, *_descending(case, policy.select_k)):
            yield _second_pass(case, policy, select_k, forced=True)
        return
    if isinstance(policy, ASL) and policy.layer is None and n > policy.select_k:
        for layer in range(case.latest_layer(policy) - 1, _earliest(policy, case.n_layer), -1):
            reason = (
                f"selection after layer {layer} at the latest, instead of {policy.l_max or 'never'}, fits the budget"
            )
            yield Choice(_forced_at(policy, layer), None, reason, layer)
    if isinstance(policy, SnapKV):
        yield Choice(replace(policy, budget=max(n, case.window + 1)), n, "the whole prompt fits the budget")
    for cells in _descending(case, n):
        reason = f"every layer and KV head keeps at most {cells} cells, to fit the budget"
        yield Choice(replace(policy, budget=cells) if isinstance(policy, SnapKV) else policy, cells, reason)


def _earliest(policy: ASL, n_layer: int) -> int:
    """The layer behind which a selection may be forced: the paper's l_min, even if the rule itself begins later."""
    paper = ASL(l_obs=policy.l_obs).resolve(n_layer).l_min
    assert isinstance(paper, int) and isinstance(policy.l_min, int)  # latest_layer has refused "auto"
    return min(paper, policy.l_min)


def _forced_at(policy: AnyASL, layer: int) -> AnyASL:
    """Selects at `layer` at the latest; just there if the rule begins later."""
    before_rule = isinstance(policy.l_min, int) and policy.l_min > layer
    return replace(policy, layer=layer) if before_rule else replace(policy, l_max=layer)


def _descending(case: Case, below: int) -> Iterator[int]:
    """Numbers of cells, window < cells < min(below, n), from large to small: the largest of each allocated size."""
    size = (min(below, case.n_tokens) - 1 + case.headroom) // CELLS_PAD * CELLS_PAD
    while size - case.headroom > case.window:
        yield size - case.headroom
        size -= CELLS_PAD


def _refusal(case: Case, budget: Budget, least: int, limit_peak: bool) -> str:
    policy, n_layer = case.policy, case.n_layer
    if isinstance(policy, Full):
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
