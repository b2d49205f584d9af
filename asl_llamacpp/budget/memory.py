"""What a prefill takes of every device and of the host in the worst case, all kinds of memory together. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeAlias, TypeVar

from ..engine.sizes import Run, Sizes
from ..policies.base import Choice
from .device_memory import NO_DOCUMENT, DeviceMemory, Document
from .runs import largest_runs, passes_of
from .worst_case import Case

T = TypeVar("T")

Measure: TypeAlias = Callable[[Run], Sizes]
"""Gives the compute buffers after a run, by place: see `engine.sizes.compute_bytes`."""


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of a device, or of the host, when a prefill takes most of it.

    name     of the device, "host" for the host
    weights  of the model
    compute  compute buffers: what graphs take between their nodes
    kv       K and V
    hidden   hidden states between the layers, those of a document that is kept included
    mask     the causal mask
    others   documents of other prompts, and copies on the host
    """

    name: str
    weights: int
    compute: int
    kv: int
    hidden: int
    mask: int
    others: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.compute + self.kv + self.hidden + self.mask + self.others


@dataclass(frozen=True)
class Machine:
    """What a model and its context take before any prompt.

    names           of the places: the devices, then "host"
    weights         by place
    compute         compute buffers, by place
    n_embd          values of a hidden state
    kv_on_host      K and V are there (`offload_kqv=False`)
    hidden_on_host  hidden states between the layers are there
    """

    names: tuple[str, ...]
    weights: Sizes
    compute: Sizes
    n_embd: int
    kv_on_host: bool = False
    hidden_on_host: bool = False


def with_compute(
    machine: Machine, case: Case, choice: Choice, measure: Measure, document: Document = NO_DOCUMENT
) -> Machine:
    """The machine with compute buffers as they are after such a prefill."""
    compute = machine.compute
    for run in largest_runs(case, choice, document):
        compute = tuple(max(pair) for pair in zip(compute, measure(run), strict=True))
    return replace(machine, compute=compute)


def together(ours: Sequence[MemoryUse], theirs: Sequence[MemoryUse]) -> tuple[MemoryUse, ...]:
    """What two models take of each place, each when it takes most; the host comes last."""
    sums = {one.name: one for one in ours[:-1]}
    for one in (*theirs[:-1], ours[-1], theirs[-1]):
        sums[one.name] = one if one.name not in sums else _sum(sums[one.name], one)
    return tuple(sums.values())


def _sum(one: MemoryUse, other: MemoryUse) -> MemoryUse:
    sizes = {size.name: getattr(one, size.name) + getattr(other, size.name) for size in fields(one)[1:]}
    return replace(one, **sizes)


def devices_of(found: Sequence[T]) -> Sequence[T]:
    """Of what is told by place that of the devices, if there are any; else of the host."""
    return found[:-1] or found


def places(
    machine: Machine,
    case: Case,
    choice: Choice,
    measure: Measure | None,
    document: Document = NO_DOCUMENT,
    others: Sequence[int] = (),
) -> tuple[MemoryUse, ...]:
    """What each place takes at most while a prompt is prefilled.

    Args:
        machine: see there.
        case: the prompt and the context.
        choice: what is done, of a policy that prunes.
        measure: of compute buffers; None: those that the machine has.
        document: what of the prompt is one.
        others: what else is there, by place.
    """
    if measure is not None:
        machine = with_compute(machine, case, choice, measure, document)
    n_places = len(machine.names)
    most: list[tuple[int, int, int, int]] = [(-1, 0, 0, 0)] * n_places
    waiting = 0
    worst = choice.policy.worst_case(case.prompt, choice.keep)
    by_host = case.by_host and worst.latest != len(case.shape.layers)
    for number, one in enumerate(passes_of(case, choice, document)):
        memory = DeviceMemory(
            case.shape,
            machine.n_embd,
            n_places - 1,
            one,
            case.headroom,
            by_host,
            document if number == 0 else NO_DOCUMENT,
            machine.kv_on_host,
            decides=number == 0 and worst.latest is not None,
            hidden_on_host=machine.hidden_on_host,
        )
        for taken in memory.moments():
            for place in range(n_places):
                now = (taken.total(place), taken.kv[place], taken.hidden[place], taken.mask[place])
                most[place] = max(most[place], now)
        waiting = max(waiting, memory.host_bytes)
    found = []
    for place, name in enumerate(machine.names):
        _, kv, hidden, mask = most[place]
        beside = (others[place] if others else 0) + (waiting if place == n_places - 1 else 0)
        found.append(MemoryUse(name, machine.weights[place], machine.compute[place], kv, hidden, mask, beside))
    return tuple(found)
