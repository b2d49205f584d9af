"""The KV cache of one `Llama` under a policy: what a prompt needs, what it was pruned for, what may be added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .budget import Plan, plan
from .budget_text import Budget, BudgetError
from .engine.binding import Engine, EngineError, kv_bytes, model_layers
from .kv_shape import CELLS_PAD, KVShape
from .policies import Full, Policy
from .prefill import OnProgress, prefill
from .report import PrefillReport

HEADROOM = 256
"""KV cells per layer reserved for the answer when a pruned prefill begins; more are added while decoding."""


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


class PrunedCache:
    """Plans and runs the layer-wise prefills of one context.

    n_prompt  length of the prompt that the cache was pruned for, 0: it is not pruned
    shift     how far the cells' positions lag behind the tokens' (a second pass numbers its tokens anew)
    """

    def __init__(
        self, engine: Engine, policy: Policy, shape: KVShape, budget: Budget | None, min_prefix: int | None
    ) -> None:
        self.engine = engine
        self.policy = policy
        self.resolved = policy if isinstance(policy, Full) else policy.resolve(len(shape.layers))
        self.shape = shape
        self.budget = budget
        self.headroom = HEADROOM
        self.min_prefix = min_prefix
        self._held: list[int] = []
        self.forget()

    def forget(self) -> None:
        """The cache holds nothing that was pruned."""
        self.n_prompt = 0
        self.shift = 0

    def plan(self, n_tokens: int) -> Plan:
        """What a prompt of `n_tokens` gets; BudgetError if the budget cannot hold it."""
        return plan(self.resolved, self.shape, n_tokens, self.budget, self.headroom)

    def prunes(self, n_tokens: int) -> bool:
        """Whether a prompt of `n_tokens` must be prefilled layer by layer: to be pruned, or to keep to bytes."""
        if not 1 <= n_tokens <= self.shape.n_ctx:
            return False  # refused elsewhere
        planned = self.plan(n_tokens)
        select_k = getattr(planned.policy, "select_k", n_tokens)
        return n_tokens > min(select_k, planned.keep or n_tokens) or planned.limit is not None

    def known_prefix(self, tokens: Sequence[int]) -> int:
        """How many first tokens need not be run again: 0, or at least `min_prefix`; the window is always run."""
        n_held, window = self.engine.info().n_held, getattr(self.policy, "window", 1)
        most = min(n_held, len(self._held), len(tokens) - window)
        if self.min_prefix is None or most < self.min_prefix:
            return 0
        same = np.equal(self._held[:most], list(tokens[:most]))
        common = most if same.all() else int(same.argmin())
        return common if common >= self.min_prefix else 0

    def prefill(self, tokens: Sequence[int], on_progress: OnProgress | None) -> PrefillReport:
        """Prefill the whole prompt; see `prefill.prefill` for the errors.

        Raises BudgetError before any work if the budget cannot hold it, or after it if the buffers turn out larger
        than planned: the cache is empty then.
        """
        planned = self.plan(len(tokens))
        self.forget()
        held = self.min_prefix is not None and planned.keep is None
        reuse, self._held = self.known_prefix(tokens) if held else 0, []
        arguments = (self.engine, planned.policy, tokens, self.headroom, on_progress, planned.keep)
        try:
            report = prefill(*arguments, reuse=reuse, hold=held)
        except EngineError:
            if not reuse:
                raise
            report = prefill(*arguments, hold=held)  # a sliding window's ring had moved on
        self._held = list(tokens)
        report.policy = str(self.policy)
        report.limit_bytes = planned.limit
        if planned.limit is not None and report.kv_bytes > planned.limit:
            self.engine.abort()
            raise BudgetError(
                f"the KV cache came to {report.kv_bytes} bytes, more than kv_budget={self.budget} allows "
                f"({planned.limit}) and than was planned ({planned.kv_bytes}); it was dropped"
            )
        if self.budget is not None:
            report.reason = f"{report.reason}; {planned.reason}"
        self.n_prompt, self.shift = len(tokens), report.position_shift
        return report

    def check_room(self, n_tokens: int) -> None:
        """BudgetError if `n_tokens` more would make the buffers grow beyond a budget in bytes; nothing is lost."""
        if self.budget is None or self.budget.kind != "bytes":
            return
        layers = [self.engine.layer(il) for il in range(len(self.shape.layers))]
        if all(layer.is_swa or layer.n_cells + n_tokens <= layer.n_cells_max for layer in layers):
            return
        limit = int(self.budget.value)
        # as llama_kv_cache_layered::init_batch enlarges
        grown = sum(
            self.shape.layer_bytes(
                il, self.shape.cells(layer.n_cells, max(n_tokens + CELLS_PAD, layer.n_cells // 8), il)
            )
            for il, layer in enumerate(layers)
        )
        if grown > limit:
            raise BudgetError(
                f"the answer needs more KV than kv_budget={self.budget} allows: {grown} bytes for the next token, the "
                f"limit is {limit}; raise kv_budget, or ask for a shorter answer with max_tokens"
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
