"""What a prompt needs of the KV cache of one `Llama`, how deep a document may go, and what the budget has room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..budget.kv_shape import KVShape
from ..budget.leaving import leaves_device
from ..budget.plan import Plan, plan
from ..budget.text import Budget, BudgetError
from ..budget.worst_case import Case
from ..engine.binding import Engine
from ..policies import Policy
from ..policies.base import Choice
from .store import DocumentStore

HEADROOM = 256
"""KV cells per layer reserved for the answer at least when a prefill begins; more are added while decoding."""


class PlannedCache:
    """Answers before any work is done; see `PrunedCache`, which does it."""

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        shape: KVShape,
        budget: Budget | None,
        store: DocumentStore,
        neutral: Callable[[], Sequence[int]] | None = None,
    ) -> None:
        self.engine = engine
        self.policy = policy
        policy.check_heads(shape.layers)
        self.resolved = policy.resolve(len(shape.layers))
        self.shape = shape
        self.budget = budget
        self.n_answer = 0
        self.store = store
        self.neutral = neutral
        self.beside: Callable[[int], str] | None = None
        self.forget()

    def check_store(self) -> None:
        """ValueError if documents are to stay on a device where their cells do not."""
        if self.store.place != "device":
            return
        compresses = self.budget is not None or self.policy.budget is not None or self.policy.keep == "heads"
        if compresses or self.policy.two_passes or self.shape.has_ring:
            what = f"kv_policy={str(self.policy)!r}"
            if self.budget is not None:
                what = "kv_budget"
            elif self.shape.has_ring:
                what = "swa_full=False"
            raise ValueError(
                f"document_store='device' needs all of a document's KV on the device, and {what} does not leave it "
                "there: use 'ram' or 'disk'"
            )

    def forget(self) -> None:
        """The cache holds nothing that was pruned."""
        self.n_prompt = 0
        self.shift = 0
        self._n_room = 0

    def headroom(self, n_tokens: int) -> int:
        """Cells per layer for the answer to a prompt of `n_tokens`.

        The whole answer where that is known, so that nothing is enlarged and copied on the way. At most an eighth of
        the prompt, which is what enlarging takes; and what is promised with a budget in bytes.
        """
        if self.budget is not None and self.budget.kind == "bytes":
            return HEADROOM
        return max(HEADROOM, min(self.n_answer, n_tokens // 8))

    def plan(self, n_tokens: int) -> Plan:
        """What a prompt of `n_tokens` gets; BudgetError if the budget cannot hold it."""
        try:
            return plan(self.resolved, self.shape, n_tokens, self.budget, self.headroom(n_tokens))
        except BudgetError as error:
            if error.needed is None or self.beside is None:
                raise
            told = BudgetError(f"{error}; {self.beside(n_tokens)}")
            told.needed = error.needed
            raise told from None

    def prunes(self, n_tokens: int) -> bool:
        """Whether a prompt of `n_tokens` must be prefilled layer by layer: to be pruned, or to keep to bytes."""
        if not 1 <= n_tokens <= self.shape.n_ctx:
            return False  # refused elsewhere
        planned = self.plan(n_tokens)
        kept = min(planned.policy.select_k or n_tokens, planned.keep or n_tokens)
        return n_tokens > kept or planned.limit is not None

    def serves(self, tokens: Sequence[int]) -> bool:
        """Whether a prompt begins with a known document, so that it is prefilled layer by layer in any case."""
        entry, n = self.store.find(tokens)
        return entry is not None and n < len(tokens)

    def latest_layer(self, planned: Plan, n_tokens: int) -> int | None:
        """The deepest layer that may select; the number of layers if none need; None if none will."""
        return self.case(planned.policy, n_tokens).latest_layer

    def case(self, policy: Policy, n_tokens: int) -> Case:
        """A prompt under the policy that was planned for it."""
        return Case(policy, self.shape, n_tokens, self.headroom(n_tokens), by_host=self.budget is not None)

    def holds_all(self, n_tokens: int, headroom: int) -> bool:
        """Whether the budget has room for so many tokens, and `headroom` more, in all layers."""
        if self.budget is None:
            return True
        if self.budget.kind != "bytes":
            return self.budget.tokens(n_tokens) >= n_tokens
        cells, n_layer = self.shape.cells, len(self.shape.layers)
        size = sum(self.shape.layer_bytes(il, cells(n_tokens, headroom, il)) for il in range(n_layer))
        return size <= self.budget.value

    def deepest(self, policy: Policy, n_tokens: int) -> int:
        """Layers that all tokens of a prompt may run through, under the policy that was planned for it."""
        case = self.case(policy, n_tokens)
        latest, n_layer = case.latest_layer, len(self.shape.layers)
        if latest is None or self.holds_all(n_tokens, case.headroom):
            return n_layer
        # where the last layer selects, whoever has run through it has nothing left to select from
        return n_layer if latest == n_layer else min(latest + 1, n_layer - 1)

    def leaves_device(self, planned: Plan, n_tokens: int, selects: bool = True) -> bool:
        """Whether the cells of the shallow layers do not stay as they are, so that a document's must be copied.

        selects: False: the document has run through all layers, so that nothing will be selected.
        """
        choice = Choice(planned.policy, planned.keep)
        return leaves_device(self.case(planned.policy, n_tokens), choice, self.store.place == "device", selects)
