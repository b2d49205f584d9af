"""What each policy takes for a prompt: weights, KV, hidden states and all else, and whether that fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..policies import Policy
from ..policies.base import Choice
from .device_memory import NO_DOCUMENT, Document
from .kv_shape import is_quantized
from .leaving import leaves_device
from .memory import Machine, Measure, MemoryUse, devices_of, places, with_compute
from .model_file import ModelFile
from .model_shape import ModelShape, stock_kv_bytes
from .plan import Budget, BudgetError, KVShape, Plan, plan
from .worst_case import Case

HEADROOM = 256
"""Cells per layer for the answer."""

DOCUMENT_MIN = 1024
"""A prompt of so many tokens is kept for the next question: see `Llama(document_min=...)`."""


@dataclass(frozen=True)
class Need:
    """Memory of one policy in bytes, worst case; None: it cannot be planned, and `note` says why.

    Of the devices together; of the host where no layer is on a device.

    fits          within the memory given; None: none was given
    weights       of the model
    compute       compute buffers; None: not known, and not part of the total
    kv            K and V after the prefill, the headroom for the answer included
    peak_kv       most K and V during it
    host          K and V that wait in the host's memory for the selection, beside all the others
    hidden        hidden states between the layers, those of a prompt that is kept for the next question included
    mask          the causal mask
    total         the most of all together at any time
    forced_layer  l_max that the budget demands
    keep          KV cells per layer and KV head after compression
    note          what the budget changed, or why the policy does not fit
    reader        of all that, what the model takes that reads for this one; None: there is none
    """

    policy: str
    fits: bool | None
    weights: int
    compute: int | None
    kv: int | None
    peak_kv: int | None
    host: int
    hidden: int
    mask: int
    total: int | None
    forced_layer: int | None
    keep: int | None
    note: str
    reader: Need | None = None


@dataclass(frozen=True)
class Planner:
    """Plans for one model.

    model       its shape
    shape       of the KV cache under policies that prune
    n_ubatch    of "full"; None: the same
    memory      bytes for everything; None: no limit
    budget      kv_budget; None with a memory: each policy is planned to stay within that, during the prefill too
    file        the model file, opened without its weights; None: compute buffers are left out
    hidden_on_host  hidden states are kept on the host
    """

    model: ModelShape
    shape: KVShape
    n_ubatch: int | None = None
    memory: int | None = None
    budget: Budget | None = None
    file: ModelFile | None = None
    hidden_on_host: bool = False

    def needs(self, path: str | Path, n_tokens: int, policies: Sequence[Policy]) -> list[Need]:
        """What each policy needs for a prompt of `n_tokens`.

        A model that cannot be prefilled layer by layer gets "full" alone: its KV is asked of llama.cpp, by `path`.
        Raises ValueError if the prompt does not fit the context or a policy not the model.
        """
        if self.model.unsupported is not None:
            shape = self._stock_shape()
            return [self._stock("full", stock_kv_bytes(path, shape), shape)]
        with ExitStack() as stack:
            pruning: tuple[Machine, Measure | None] | None = None
            rows = []
            for policy in policies:
                if not policy.prunes:
                    rows.append(self._full(policy, n_tokens))
                    continue
                pruning = pruning or stack.enter_context(self._pruning())
                rows.append(self._pruned(policy, n_tokens, *pruning))
            return rows

    @contextmanager
    def _pruning(self) -> Iterator[tuple[Machine, Measure | None]]:
        if self.file is None:
            yield Machine(("host",), (self.model.weight_bytes,), (0,), self.model.n_embd), None
            return
        with self.file.pruning(self.shape) as (machine, measure):
            yield replace(machine, weights=self._weights(), hidden_on_host=self.hidden_on_host), measure

    def _weights(self) -> tuple[int, ...]:
        """By place: of the devices what they will hold, of the host alone what the file says."""
        has_devices = self.file is not None and self.file.has_devices
        return self.file.weights if self.file is not None and has_devices else (self.model.weight_bytes,)

    # ---- full ------------------------------------------------------------------------------------------------------

    def _stock_shape(self) -> KVShape:
        """As `Llama` makes it: flash attention off unless V needs it."""
        n_ubatch = self.n_ubatch or self.shape.n_ubatch
        return replace(self.shape, flash_attn=is_quantized(self.shape.type_v), n_ubatch=n_ubatch)

    def _full(self, policy: Policy, n_tokens: int) -> Need:
        shape = self._stock_shape()
        try:
            planned = plan(policy, shape, n_tokens, self.budget, HEADROOM)
        except BudgetError as error:
            return self._refused(str(policy), str(error))
        return self._stock(str(policy), planned.kv_bytes, shape)

    def _stock(self, name: str, size: int, shape: KVShape) -> Need:
        compute = None if self.file is None else sum(devices_of(self.file.stock_compute(shape)))
        weights = sum(devices_of(self._weights()))
        total = weights + size + (compute or 0)
        limits = [(total, self.memory), (size, self._limit)]
        given = [taken <= limit for taken, limit in limits if limit is not None]
        fits = all(given) if given else None
        return Need(name, fits, weights, compute, size, size, 0, 0, 0, total, None, None, "")

    @property
    def _limit(self) -> int | None:
        return int(self.budget.value) if self.budget is not None and self.budget.kind == "bytes" else None

    def _refused(self, name: str, note: str, compute: int | None = None) -> Need:
        weights = sum(devices_of(self._weights()))
        return Need(name, False, weights, compute, None, None, 0, 0, 0, None, None, None, note)

    # ---- policies that prune ---------------------------------------------------------------------------------------

    def _pruned(self, policy: Policy, n_tokens: int, machine: Machine, measure: Measure | None) -> Need:
        name, resolved = str(policy), policy.resolve(len(self.model.layers))
        case = Case(resolved, self.shape, n_tokens, HEADROOM)
        unlimited = resolved.without_budget(case.prompt)
        if measure is not None:
            machine = with_compute(machine, case, unlimited, measure, self._document(case, unlimited))
        compute = None if measure is None else sum(devices_of(machine.compute))

        def in_all(case: Case, choice: Choice) -> int:
            return sum(place.total for place in devices_of(self._places(machine, case, choice)))

        by_memory = self.budget is None and self.memory is not None
        limit = Budget("bytes", self.memory or 0) if by_memory else self.budget
        try:
            planned = plan(resolved, self.shape, n_tokens, limit, HEADROOM, in_all=in_all if by_memory else None)
        except BudgetError as error:
            note = str(error)
            if by_memory and error.needed is not None:
                note = f"at least {_mib(error.needed)} are needed in all, {_mib(self.memory or 0)} are there"
            return self._refused(name, note, compute)
        found = devices_of(self._places(machine, *self._planned(planned, n_tokens, limit)))
        total = sum(place.total for place in found)
        waits = f"{_mib(planned.host_bytes)} wait on the host for the selection" if planned.host_bytes else ""
        return Need(
            policy=name,
            fits=None if self.memory is None else total <= self.memory,
            weights=sum(place.weights for place in found),
            compute=compute,
            kv=planned.kv_bytes,
            peak_kv=planned.peak_kv_bytes,
            host=planned.host_bytes,
            hidden=sum(place.hidden for place in found),
            mask=sum(place.mask for place in found),
            total=total,
            forced_layer=planned.forced_layer,
            keep=planned.keep,
            note="; ".join(filter(None, (planned.reason, waits))),
        )

    def _planned(self, planned: Plan, n_tokens: int, limit: Budget | None) -> tuple[Case, Choice]:
        case = Case(planned.policy, self.shape, n_tokens, HEADROOM, by_host=limit is not None)
        return case, Choice(planned.policy, planned.keep)

    def _places(self, machine: Machine, case: Case, choice: Choice) -> tuple[MemoryUse, ...]:
        return places(machine, case, choice, None, self._document(case, choice))

    def _document(self, case: Case, choice: Choice) -> Document:
        """What is kept of a prompt by default."""
        n_free = case.n_tokens - choice.policy.window
        if n_free < DOCUMENT_MIN or leaves_device(case, choice):
            return NO_DOCUMENT
        return Document(held=n_free)


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.1f} MiB"
