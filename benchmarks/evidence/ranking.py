"""Where the answer stands among the passages of a document, by the scores of one recorded question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asl_llamacpp.documents.document import Document
from asl_llamacpp.documents.evidence import FOLLOWS, scored_passages
from asl_llamacpp.documents.text import DocumentText, Part
from asl_llamacpp.evals.recorded import RecordedPrompt
from asl_llamacpp.evals.sample import Sample
from asl_llamacpp.evals.shared import SharedLlama
from asl_llamacpp.prefill.shown import NEUTRAL_WEIGHT, shown_layers
from asl_llamacpp.selection.arrays import Floats
from asl_llamacpp.selection.contrast import less, neutral_scores
from asl_llamacpp.selection.scores import token_scores
from asl_llamacpp.sources import Source

WINDOW = 32


class Ranking(NamedTuple):
    """own_window: the question's tokens alone; first, last: layers, counted from those of `shown_layers`."""

    own_window: bool
    first: int
    last: int
    neutral: float
    follows: float


BEFORE, AS_SHOWN = "window of 32, one layer", "as shown"
RANKINGS = {
    BEFORE: Ranking(False, 4, 4, 1, 0),
    "the question alone, one layer": Ranking(True, 4, 4, 1, 0),
    "five layers": Ranking(True, 0, 4, 1, 0),
    "neutral turn twice": Ranking(True, 0, 4, NEUTRAL_WEIGHT, 0),
    AS_SHOWN: Ranking(True, 0, 4, NEUTRAL_WEIGHT, FOLLOWS),
    **{f"as shown, one layer, {n:+d}": Ranking(True, 4 + n, 4 + n, NEUTRAL_WEIGHT, FOLLOWS) for n in (-2, -1, 0, 1, 2)},
    **{f"as shown, {n:+d} layers": Ranking(True, n, 4 + n, NEUTRAL_WEIGHT, FOLLOWS) for n in (-2, -1, 1, 2)},
}
"""By name; the neighbours tell how much the layer matters."""


class Asked(NamedTuple):
    """A question to a document, as `Document.ask` would put it; the task's instruction is not ranked."""

    document: Document
    tokens: list[int]
    answer: tuple[int, int]

    @classmethod
    def of(cls, shared: SharedLlama, sample: Sample) -> Asked:
        text, evidence = sample.query.document, sample.evidence
        assert evidence is not None
        begin = text.index("Document 1:")
        part = Part(Source("documents", text), begin, begin, len(text) - begin)
        document = Document(shared.llm, DocumentText(text, (part,)), part.source.name)
        start, end = document.offsets[[evidence[0] - document.n_head, evidence[-1] - document.n_head + 1]]
        question = sample.query.question.partition(": ")[2]
        return cls(document, document.prompt(question), (int(start) - begin, int(end) - begin))

    @property
    def n_document(self) -> int:
        return len(self.document.tokens)

    @property
    def n_question(self) -> int:
        return len(self.tokens) - self.n_document

    @property
    def n_passages(self) -> int:
        return len(self._passages(np.zeros(len(self.tokens), np.float32), 0))

    def ranks(self, prompt: RecordedPrompt, kernel: int, neutral: Sequence[int]) -> dict[str, int]:
        """By `RANKINGS`, 1: the first."""
        other = prompt.neutral_sums(WINDOW, neutral, self.n_document)
        windows = {False: WINDOW, True: min(WINDOW, self.n_question)}
        sums = {own: prompt.window_sums(window) for own, window in windows.items()}
        shown = shown_layers(prompt.n_layer)
        found = {}
        for name, how in RANKINGS.items():
            window = windows[how.own_window]
            first, last = (shown[-1] + place - 4 for place in (how.first, how.last))
            layers = [il for il in prompt.scored if first <= il <= last] or [il for il in prompt.scored if il <= last][
                -1:
            ]
            rows = []
            for il in layers:
                asked, nothing = sums[how.own_window][il], other[il]
                assert asked is not None and nothing is not None
                less_than = neutral_scores(nothing, kernel, "sum", how.neutral * window / len(neutral))
                rows.append(less(token_scores(asked, window, kernel), less_than))
            found[name] = self._rank(np.sum(rows, axis=0, dtype=np.float32), how.follows)
        return found

    def _passages(self, scores: Floats, follows: float) -> list[tuple[float, int, int]]:
        document = self.document
        own = np.zeros(document.n_tokens, np.float32)
        seen = np.maximum(scores, 0)[document.n_head : self.n_document]
        own[: len(seen)] = seen
        passages = scored_passages(own, document.offsets, document.starts, document.content.parts, follows)
        return [(one.score, one.passage.start, one.passage.stop) for one in passages]

    def _rank(self, scores: Floats, follows: float) -> int:
        best_first = sorted(self._passages(scores, follows), key=lambda passage: -passage[0])
        start, end = self.answer
        return 1 + next(i for i, (_, begin, stop) in enumerate(best_first) if begin < end and start < stop)
