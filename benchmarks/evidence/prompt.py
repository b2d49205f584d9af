"""One prompt, recorded once: what is chosen of it by every way, and where the answer stands in the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, get_args

import numpy as np

from asl_llamacpp.evals.sample import Sample
from asl_llamacpp.evals.shared import SharedLlama
from asl_llamacpp.policies import ASL, AllHeads
from asl_llamacpp.selection.arrays import Floats
from asl_llamacpp.selection.contrast import less, neutral_scores
from asl_llamacpp.selection.ranks import selected_positions
from asl_llamacpp.selection.scores import token_scores
from asl_llamacpp.selection.unit_scores import selected_units

from .ranking import Asked

LAYERS = (0.47, 0.6, 0.73)
"""Shares of the depth: of 30 layers 14, 18 and 22."""
SHARES = (4, 8, 16)
"""One of so many tokens is kept."""
WAYS: dict[str, tuple[AllHeads, int, bool]] = {
    "sum": ("sum", 1, False),
    "max4": ("max", 4, False),
    "sum contrast": ("sum", 1, True),
    "max4 contrast": ("max", 4, True),
}
"""`heads`, `score_layers` and `contrast`; the first is the paper's."""
UNITS = ("tokens", "sentences")
TAIL = 64


class Measured(TypedDict):
    """kept: share of the answers' tokens, by "way layer share units"; ranks: of the answer's passage, by `RANKINGS`."""

    n_answer: int
    kept: dict[str, float]
    ranks: dict[str, int]
    passages: int


def measure(shared: SharedLlama, sample: Sample, ranks: bool) -> Measured | None:
    """What is kept of the answers, and the `ranks`; None if no single place of the prompt holds them.

    ranks: the prompt is that of a question to a document, and the question's own tokens are the window at most.
    """
    if sample.evidence is None:
        return None
    policy = ASL()
    asked = Asked.of(shared, sample) if ranks else None
    tokens, window = sample.tokens, policy.window
    if asked is not None:
        tokens, window = asked.tokens, min(window, asked.n_question)
    prompt = shared.record(tokens, TAIL)
    sums, starts, n = prompt.window_sums(window), prompt.prompt.unit_starts, len(tokens)
    neutral, n_seen = neutral_turn(shared), None if asked is None else asked.n_document
    neutral_sums, share = prompt.neutral_sums(window, neutral, n_seen), window / len(neutral)
    by_layer: dict[tuple[AllHeads, bool], dict[int, Floats]] = {}
    for heads in get_args(AllHeads):
        plain, less_than = {}, {}
        for il, (layer, other) in enumerate(zip(sums, neutral_sums, strict=True)):
            if layer is not None and other is not None:
                plain[il] = token_scores(layer, window, policy.kernel, heads)
                less_than[il] = less(plain[il], neutral_scores(other, policy.kernel, heads, share))
        by_layer[heads, False], by_layer[heads, True] = plain, less_than
    found = Measured(n_answer=len(sample.evidence), kept={}, ranks={}, passages=0)
    for way, (heads, n_layers, contrast) in WAYS.items():
        for name, layer in zip(LAYERS, layers_at(prompt.scored, prompt.n_layer), strict=True):
            rows = by_layer[heads, contrast]
            scores = np.max([rows[il] for il in [il for il in rows if il <= layer][-n_layers:]], axis=0)
            for part in SHARES:
                top = n // part - window
                chosen = selected_positions(scores, top, window), selected_units(scores, top, window, starts)
                for units, positions in zip(UNITS, chosen, strict=True):
                    found["kept"][f"{way} {name} {part} {units}"] = float(np.isin(sample.evidence, positions).mean())
    if asked is not None:
        found["ranks"] = asked.ranks(prompt, policy.kernel, neutral)
        found["passages"] = asked.n_passages
    return found


def layers_at(scored: Sequence[int], n_layer: int) -> list[int]:
    """The layers that give scores at the depths `LAYERS`, or before them."""
    return [[il for il in scored if il <= max(round(share * n_layer), scored[0])][-1] for share in LAYERS]


def neutral_turn(shared: SharedLlama) -> Sequence[int]:
    cache = shared.llm.pruned_cache
    assert cache is not None and cache.neutral is not None
    return cache.neutral()
