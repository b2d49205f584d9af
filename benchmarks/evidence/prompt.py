"""One prompt, recorded once: what is chosen of it by every way, and where the answer stands in the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, get_args

import numpy as np

from asl_llamacpp.documents.document import Document
from asl_llamacpp.documents.text import DocumentText, Part
from asl_llamacpp.evals.sample import Sample
from asl_llamacpp.evals.shared import SharedLlama
from asl_llamacpp.policies import ASL, AllHeads
from asl_llamacpp.prefill.report import PrefillReport
from asl_llamacpp.selection.arrays import Floats
from asl_llamacpp.selection.contrast import less, neutral_scores
from asl_llamacpp.selection.ranks import selected_positions
from asl_llamacpp.selection.scores import token_scores
from asl_llamacpp.selection.unit_scores import selected_units
from asl_llamacpp.sources import Source

LAYERS = (14, 18, 22)
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
LISTED_SHARE = 8
"""What the evidence is listed from."""


class Measured(TypedDict):
    """kept: share of the answers' tokens, by "way layer share units"; ranks: of the answer's passage, 0: none."""

    n_answer: int
    kept: dict[str, float]
    ranks: dict[str, int]
    passages: dict[str, int]


def measure(shared: SharedLlama, sample: Sample, ranks: bool) -> Measured | None:
    """What is kept of the answers, and the `ranks`; None if no single place of the prompt holds them."""
    if sample.evidence is None:
        return None
    policy, document = ASL(), listed(shared, sample) if ranks else None
    prompt = shared.record(sample.tokens, TAIL)
    sums, starts, n = prompt.window_sums(policy.window), prompt.prompt.unit_starts, len(sample.tokens)
    neutral = neutral_turn(shared)
    neutral_sums, queries = prompt.neutral_sums(policy.window, neutral), policy.window / len(neutral)
    by_layer: dict[tuple[AllHeads, bool], list[Floats]] = {}
    for heads in get_args(AllHeads):
        plain = [token_scores(layer, policy.window, policy.kernel, heads) for layer in sums if layer is not None]
        less_than = [
            neutral_scores(layer, policy.kernel, heads, queries) for layer in neutral_sums if layer is not None
        ]
        by_layer[heads, False] = plain
        by_layer[heads, True] = [less(scores, other) for scores, other in zip(plain, less_than, strict=True)]
    found = Measured(n_answer=len(sample.evidence), kept={}, ranks={}, passages={})
    for way, (heads, n_layers, contrast) in WAYS.items():
        for layer in LAYERS:
            scores = np.max(by_layer[heads, contrast][layer + 1 - n_layers : layer + 1], axis=0)
            for share in SHARES:
                top = n // share - policy.window
                chosen = (
                    selected_positions(scores, top, policy.window),
                    selected_units(scores, top, policy.window, starts),
                )
                for units, positions in zip(UNITS, chosen, strict=True):
                    key = f"{way} {layer} {share} {units}"
                    found["kept"][key] = float(np.isin(sample.evidence, positions).mean())
                    if document is not None and share == LISTED_SHARE:
                        report = PrefillReport(key, n, prompt.n_layer, layer, selected=positions, scores=scores)
                        report.shown, report.shown_layer, report.contrasted = scores, layer, contrast
                        found["ranks"][key], found["passages"][key] = rank(document, sample, report)
    return found


def neutral_turn(shared: SharedLlama) -> Sequence[int]:
    cache = shared.llm.pruned_cache
    assert cache is not None and cache.neutral is not None
    return cache.neutral()


def listed(shared: SharedLlama, sample: Sample) -> Document:
    """The prompt's paragraphs as a document to cite; the task's instruction, which stands above them, is not listed."""
    text = sample.query.document
    begin = text.index("Document 1:")
    part = Part(Source("documents", text), begin, begin, len(text) - begin)
    return Document(shared.llm, DocumentText(text, (part,)), part.source.name)


def rank(document: Document, sample: Sample, report: PrefillReport) -> tuple[int, int]:
    """Which passage of `Answer.evidence` would have the answer, 1 the first, 0 none; and how many it would list."""
    seen, answer = document.attention(report), sample.evidence
    assert seen is not None and answer is not None
    start, end = document.offsets[[answer[0] - document.n_head, answer[-1] - document.n_head + 1]]
    ranks = [i for i, span in enumerate(seen.evidence, 1) if span.start < end and start < span.end]
    return (ranks[0] if ranks else 0), len(seen.evidence)
