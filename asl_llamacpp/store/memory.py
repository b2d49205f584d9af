"""What a prompt will take of every device and of the host, in an open model: all kinds of memory, before any work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..budget.device_memory import NO_DOCUMENT, Document
from ..budget.kv_shape import CELLS_PAD, KVShape, pad, state_bytes
from ..budget.leaving import leaves_device
from ..budget.memory import Machine, MemoryUse, devices_of, places
from ..budget.worst_case import Case
from ..engine.sizes import Run, Sizes, compute_bytes, reserved_bytes, weight_bytes
from ..policies.base import Choice
from .entry import Entry
from .pruned_cache import PrunedCache


def machine_of(model: Any, ctx: Any, n_embd: int, kv_on_host: bool = False) -> Machine:
    """What a ctypes llama_model_p and a llama_context_p take."""
    weights = weight_bytes(model)
    names = *(f"device {i}" for i in range(len(weights) - 1)), "host"
    return Machine(names, weights, reserved_bytes(model, ctx), n_embd, kv_on_host)


class MemoryPlanner:
    """Plans the memory of one `Llama`'s prompts.

    Args:
        cache: of its context, under a policy that prunes.
        model, ctx: ctypes llama_model_p and llama_context_p.
        kv_on_host: `offload_kqv=False`.
        hidden_on_host: `hidden="host"`.
    """

    def __init__(
        self, cache: PrunedCache, model: Any, ctx: Any, kv_on_host: bool, hidden_on_host: bool = False
    ) -> None:
        self._cache, self._model, self._ctx = cache, model, ctx
        self._kv_on_host, self._hidden_on_host = kv_on_host, hidden_on_host

    def plan(self, n_tokens: int, entry: Entry | None = None) -> tuple[MemoryUse, ...]:
        """What a prompt of `n_tokens` takes at most; the first ones are those of `entry`, a document.

        Raises BudgetError as the prompt would, and ValueError if it does not fit the context.
        """
        planned = self._cache.plan(n_tokens)
        return self._places(self._cache.case(planned.policy, n_tokens), Choice(planned.policy, planned.keep), entry)

    def beside(self, n_tokens: int) -> str:
        """What a prompt takes beside K and V, for the refusal of a budget that is for these alone."""
        case = self._cache.case(self._cache.resolved, n_tokens)
        found = devices_of(self._places(case, self._cache.resolved.without_budget(case.prompt), None))
        hidden, mask, compute = (sum(getattr(one, name) for one in found) for name in ("hidden", "mask", "compute"))
        return (
            f"beside K and V, which alone kv_budget is for, such a prefill takes {_mib(hidden)} of hidden states, "
            f"{_mib(mask)} for the causal mask and {_mib(compute)} of compute buffers"
        )

    def _places(self, case: Case, choice: Choice, entry: Entry | None) -> tuple[MemoryUse, ...]:
        document, n_copied = self._document(case, choice, entry)
        machine = machine_of(self._model, self._ctx, self._cache.store.n_embd, self._kv_on_host)
        machine = replace(machine, hidden_on_host=self._hidden_on_host)
        others = self._parked(entry, len(machine.names))
        others[-1] += self._copied(case, n_copied)
        return places(machine, case, choice, self._measure, document, others)

    def _measure(self, run: Run) -> Sizes:
        return compute_bytes(self._model, self._ctx, self._cache.shape.layers, run)

    def _document(self, case: Case, choice: Choice, entry: Entry | None) -> tuple[Document, int]:
        """What of the prompt stays in the context, or is there, and how many of its tokens are copied to the host."""
        cache, n, n_layer = self._cache, case.n_tokens, len(case.shape.layers)
        store, n_free = cache.store, n - cache.policy.window
        n_kept = n_free if store.min_tokens is not None and n_free >= store.min_tokens else 0
        known = il = 0
        if entry is not None:
            n_kept = min(len(entry.tokens), n_free)
            il = store.layers(entry)
            known = n_kept if 0 < il <= cache.deepest(choice.policy, n) else 0
        leaves = leaves_device(case, choice, store.place == "device", selects=not known or il < n_layer)
        keeps_cells = not leaves and choice.policy.keep == "selected" and case.latest_layer is not None
        held = 0 if leaves else n_kept
        document = Document(held=held, keeps_cells=keeps_cells and held > 0, known=known, il_known=il if known else 0)
        return (document if held or known else NO_DOCUMENT), n_kept if leaves else 0

    def _copied(self, case: Case, n_tokens: int) -> int:
        """Bytes of a document's copy on the host; what waits there for the selection is not counted twice."""
        store, latest = self._cache.store, case.latest_layer
        if n_tokens == 0 or store.place != "ram":
            return 0
        n_layer = len(case.shape.layers)
        whole = state_bytes(case.shape, store.n_embd, n_tokens, n_layer)
        il = n_layer if latest is None else min(latest + 1, n_layer)
        return 0 if whole > store.limit else state_bytes(case.shape, store.n_embd, n_tokens, il)

    def _parked(self, entry: Entry | None, n_places: int) -> list[int]:
        """Bytes of other documents that lie on the devices, by place."""
        taken, shape, n_embd = [0] * n_places, self._cache.shape, self._cache.store.n_embd
        for other in self._cache.store.entries:
            if other is entry or other.parked is None:
                continue
            for il in range(other.parked_il):
                n_cells = shape.cells(len(other.tokens), self._cache.headroom(len(other.tokens)), il)
                taken[self._place(il, n_places)] += shape.layer_bytes(il, n_cells)
            if other.parked_il < len(shape.layers):
                place = n_places - 1 if self._hidden_on_host else self._place(other.parked_il - 1, n_places)
                taken[place] += 4 * n_embd * len(other.tokens)
        return taken

    def _place(self, il: int, n_places: int) -> int:
        device = self._cache.shape.layers[il].device
        return n_places - 1 if device < 0 or self._kv_on_host else device


def plan_stock(model: Any, ctx: Any, shape: KVShape, n_embd: int, kv_on_host: bool) -> tuple[MemoryUse, ...]:
    """The same of a context that never prunes: what it takes once it is loaded, which is all."""
    machine, n_cells = machine_of(model, ctx, n_embd, kv_on_host), pad(shape.n_ctx, CELLS_PAD)
    taken = [0] * len(machine.names)
    for il, layer in enumerate(shape.layers):
        place = -1 if layer.device < 0 or kv_on_host else layer.device
        taken[place] += shape.layer_bytes(il, shape.cells(n_cells, 0, il))
    sizes = zip(machine.names, machine.weights, machine.compute, taken, strict=True)
    return tuple(MemoryUse(name, weights, compute, kv, 0, 0) for name, weights, compute, kv in sizes)


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.1f} MiB"
