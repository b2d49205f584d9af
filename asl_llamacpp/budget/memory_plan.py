"""What each policy takes for a prompt: weights, KV and hidden states, and whether that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..policies import Policy
from .kv_shape import is_quantized
from .model_shape import ModelShape, stock_kv_bytes
from .plan import Budget, BudgetError, KVShape, plan

_F32_BYTES = 4


@dataclass(frozen=True)
class Need:
    """Memory of one policy in bytes, worst case; None: it cannot be planned, and `note` says why.

    fits          within the memory given; None: none was given
    kv            K and V after the prefill, the headroom for the answer included
    peak_kv       most K and V during it
    host          K and V that wait in the host's memory for the selection, beside all the others
    hidden        hidden states between the layers during it
    total         weights, hidden states and peak_kv
    forced_layer  l_max that the budget demands
    keep          KV cells per layer and KV head after compression
    note          what the budget changed, or why the policy does not fit
    """

    policy: str
    fits: bool | None
    kv: int | None
    peak_kv: int | None
    host: int
    hidden: int
    total: int | None
    forced_layer: int | None
    keep: int | None
    note: str


def needs(
    path: str | Path,
    model: ModelShape,
    shape: KVShape,
    n_tokens: int,
    policies: Sequence[Policy],
    memory: int | None,
    budget: Budget | None,
) -> list[Need]:
    """What each policy needs for a prompt of `n_tokens`.

    `memory`, bytes, is for everything: with no `budget`, what weights and hidden states leave of it is the budget, and
    holds during the prefill too. A model that cannot be prefilled layer by layer gets "full" alone. Raises ValueError
    if the prompt does not fit the context or a policy not the model.
    """
    if model.unsupported is not None:
        return [_stock(path, model, replace(shape, flash_attn=is_quantized(shape.type_v)), memory, budget)]
    return [_need(model, shape, n_tokens, policy, memory, budget) for policy in policies]


def _stock(path: str | Path, model: ModelShape, shape: KVShape, memory: int | None, budget: Budget | None) -> Need:
    size = stock_kv_bytes(path, shape)
    total = model.weight_bytes + size
    limits = [(total, memory), (size, int(budget.value) if budget and budget.kind == "bytes" else None)]
    given = [taken <= limit for taken, limit in limits if limit is not None]
    return Need("full", all(given) if given else None, size, size, 0, 0, total, None, None, "")


def _need(
    model: ModelShape, shape: KVShape, n_tokens: int, policy: Policy, memory: int | None, budget: Budget | None
) -> Need:
    name, hidden = str(policy), 0
    policy = policy.resolve(len(model.layers))
    if not policy.prunes:
        shape = replace(shape, flash_attn=is_quantized(shape.type_v))  # as Llama does: off unless V needs it
    else:
        hidden = n_tokens * model.n_embd * _F32_BYTES
    left = None if memory is None else memory - model.weight_bytes - hidden
    limit = budget or (None if left is None else Budget("bytes", max(left, 0)))
    try:
        planned = plan(policy, shape, n_tokens, limit, limit_peak=budget is None)
    except BudgetError as error:
        note = str(error)
        if budget is None and error.needed is not None:
            note = f"at least {_mib(error.needed)} of KV are needed, {_mib(max(left or 0, 0))} are left for it"
        return Need(name, False, None, None, 0, hidden, None, None, None, note)
    total = model.weight_bytes + hidden + planned.peak_kv_bytes
    waits = f"{_mib(planned.host_bytes)} wait on the host for the selection" if planned.host_bytes else ""
    return Need(
        policy=name,
        fits=None if memory is None else total <= memory,
        kv=planned.kv_bytes,
        peak_kv=planned.peak_kv_bytes,
        host=planned.host_bytes,
        hidden=hidden,
        total=total,
        forced_layer=planned.forced_layer,
        keep=planned.keep,
        note="; ".join(filter(None, (planned.reason, waits))),
    )


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.1f} MiB"
