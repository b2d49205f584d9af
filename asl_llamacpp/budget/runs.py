"""The runs of layers whose graphs take most, of all those that a prefill may make. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from ..engine.kinds import Reduction
from ..engine.sizes import Run
from ..policies.answers import Pass
from ..policies.base import Choice
from ..selection.selectors import Deciding
from .device_memory import NO_DOCUMENT, Document
from .kv_shape import CELLS_PAD, pad
from .worst_case import Case

_MANY = 3
"""Runs of so few layers are looked at layer by layer only."""


def passes_of(case: Case, choice: Choice, document: Document = NO_DOCUMENT) -> tuple[Pass, ...]:
    """What is run in the worst case; of a document that has run through all layers nothing is selected."""
    n_layer = len(case.shape.layers)
    if document.known and document.il_known == n_layer:
        return (Pass((case.n_tokens,) * n_layer, choice.keep),)
    return choice.policy.worst_case(case.prompt, choice.keep).passes


def largest_runs(case: Case, choice: Choice, document: Document = NO_DOCUMENT) -> list[Run]:
    """Of layers that are alike one; and those of many layers, whose graphs may have masks of two kinds."""
    passes = passes_of(case, choice, document)
    runs: dict[object, Run] = {}
    for number, one in enumerate(passes):
        for key, run in _runs(case, choice, one, document if number == 0 else NO_DOCUMENT, number == 0):
            runs.setdefault(key, run)
    return list(runs.values())


def _runs(case: Case, choice: Choice, one: Pass, document: Document, is_first: bool) -> Iterator[tuple[object, Run]]:
    shape, n_layer = case.shape, len(one.tokens)

    def run(begin: int, end: int, scores: dict[int, Reduction]) -> Run:
        n = one.tokens[begin]
        before = document.known if n == one.tokens[0] and begin < document.il_known else 0
        cells = min(pad(shape.n_ctx, CELLS_PAD), pad(n + case.headroom, CELLS_PAD))
        return Run(begin, end, before, n - before, cells, min(choice.policy.window, n - before), scores)

    wanted = _wanted(case, choice, one, document) if is_first else {}
    for il in range(n_layer):
        scores = {il: wanted[il]} if il in wanted else {}
        alone = run(il, il + 1, scores)
        key = replace(alone, il_begin=0, il_end=0, scores={})
        yield (shape.layers[il], str(key), scores.get(il), il == 0, il == len(shape.layers) - 1), alone
    for begin, end in pairwise(_borders(case, choice, one, document, is_first)):
        if end - begin > _MANY and not _one_by_one(case, one, begin):
            yield (begin, end), run(begin, end, {})


def _borders(case: Case, choice: Choice, one: Pass, document: Document, is_first: bool) -> list[int]:
    """Layers that begin a run of their own if the selection comes as late as it may, and the end."""
    n_layer = len(one.tokens)
    borders = {0, *(il for il in range(1, n_layer) if one.tokens[il] != one.tokens[il - 1]), n_layer}
    if document.known and 0 < document.il_known < n_layer:
        borders.add(document.il_known)
    selector = _selector(case, choice)
    if is_first and selector.prunes and selector.first_scored_layer is not None:
        shallow, il = one.tokens.count(one.tokens[0]), document.il_known
        while il < shallow:
            il = selector.next_decision_layer(max(il, selector.first_scored_layer)) + 1
            borders.add(min(il, shallow))
    return sorted(borders)


def _one_by_one(case: Case, one: Pass, il: int) -> bool:
    """Whether something is done to a layer's cells as soon as it has run, so that it runs alone."""
    n = one.tokens[il]
    compressed = one.keep is not None and n > one.keep
    waits = case.by_host and one.left is not None and n > one.left
    return compressed or waits or case.shape.is_converted


def _selector(case: Case, choice: Choice) -> Deciding:
    return choice.policy.selector(replace(case.prompt, texts=lambda: [b"-"] * case.n_tokens))


def _wanted(case: Case, choice: Choice, one: Pass, document: Document) -> dict[int, Reduction]:
    """The scores that a prefill may ask for, by layer."""
    n, prompt = case.n_tokens, case.prompt
    selector = _selector(case, choice)
    selects = selector.prunes and document.il_known < prompt.n_layer
    wanted: dict[int, Reduction] = {}
    for il in prompt.scored:
        if il >= len(one.tokens):
            break
        if choice.keep is not None and one.tokens[il] > choice.keep:
            wanted[il] = Reduction(products=selector.reduction(il).products)
        elif selects and one.tokens[il] == n and selector.needs_scores(il):
            wanted[il] = selector.reduction(il)
    return wanted
