"""A small model that reads for a large one: up to the layer where it selects, and no further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np

from ..budget.memory import MemoryUse
from ..engine.vocabulary import Vocabulary
from ..policies.read_by import ReadBy
from ..prefill.report import OnProgress, PrefillReport, Progress
from ..selection.arrays import Floats, Ints
from ..selection.transfer import Spans, transfer
from ..selection.units import unit_starts
from ..store.read_cache import Chosen
from .document import Document
from .protocols import Model
from .question import Question
from .read_prompt import ReadPrompt, prompt_of_texts
from .twin import Twin

_ASKED = 64
"""Questions that are remembered until they are read: more than can wait for their turn."""


class Reader:
    """Reads the prompts of one `Llama`.

    Args:
        llm: the small model, under `policies.read_by.Reading`; nobody else uses it.
        vocabulary: of the model that answers.
        options: that the small model was opened with, for one who opens it again.
    """

    def __init__(self, llm: Model, vocabulary: Vocabulary, options: Mapping[str, Any]) -> None:
        self.llm, self._vocabulary, self.options = llm, vocabulary, options
        # weak, for documents have the `Llama` that this is the reader of
        self._twins: WeakKeyDictionary[Document, Twin] = WeakKeyDictionary()
        self._asked: dict[tuple[int, ...], tuple[ReferenceType[Document], Question]] = {}

    # ---- documents -------------------------------------------------------------------------------------------------

    def twin(self, document: Document) -> Document:
        """The document as the reader knows it."""
        twin = self._twins.get(document)
        if twin is None:
            theirs = Document(self.llm, document.content, document.name, system=document._system)
            self.llm.shelf.register(theirs)
            twin = self.know(document, theirs)
        return twin.theirs

    def know(self, ours: Document, theirs: Document) -> Twin:
        """`theirs`, which the reader's shelf has, is what the reader knows of `ours`."""
        twin = self._twins[ours] = Twin(ours, theirs)
        return twin

    def forget(self, document: Document) -> None:
        """The document is asked no more."""
        twin = self._twins.pop(document, None)
        if twin is not None:
            twin.theirs.close()

    def asks(self, document: Document, tokens: Sequence[int], asked: Question) -> None:
        """The prompt of these tokens will be this question about a document."""
        self._asked[tuple(tokens)] = ref(document), asked
        while len(self._asked) > _ASKED:
            del self._asked[next(iter(self._asked))]

    # ---- prompts ---------------------------------------------------------------------------------------------------

    def choose(self, tokens: Sequence[int], policy: ReadBy, on_progress: OnProgress | None) -> Chosen:
        """Read a prompt, and choose what of it the other model is prefilled with.

        Raises:
            ValueError: the reader's context does not hold the prompt, or its template and its question alone are more
                than `select_k`.
        """
        texts = self._vocabulary.texts(tokens)
        prompt = self._prompt(tokens, texts)
        n, window = len(tokens), min(policy.window, len(tokens))
        fixed = prompt.ours[:, 0] < 0
        fixed[n - window :] = True
        room = policy.select_k - int(fixed.sum())
        if room < 0:
            raise ValueError(
                f"the question and the chat template take {int(fixed.sum())} tokens, which are always kept, and "
                f"select_k is {policy.select_k}: raise it, or shorten the question"
            )
        report = self._read(prompt, policy.select_k / n, on_progress)
        rows = [self._row(row, prompt) for row in (report.scores, report.shown) if row is not None]
        if not rows or report.scores is None:
            raise ValueError(f"the reader ranked no tokens: {report.reason}")
        row = rows[0]
        free = np.flatnonzero(~fixed)
        starts = unit_starts([texts[i] for i in free])
        best = policy.choose(np.nan_to_num(row[free], nan=float(np.nanmin(row))), room, starts)
        positions: Ints = np.sort(np.concatenate([np.flatnonzero(fixed), free[best]])).astype(np.int32)
        shown = _without_window(rows[1], window) if report.shown is not None else None
        return Chosen(positions, _without_window(row, window), shown, report)

    def _prompt(self, tokens: Sequence[int], texts: Sequence[bytes]) -> ReadPrompt:
        found = self._asked.pop(tuple(tokens), None)
        document = None if found is None else found[0]()
        if found is None or document is None or document not in self._twins:
            return prompt_of_texts(texts, self.llm)
        asked = found[1]
        return self._twins[document].prompt(asked.text, asked.history, asked.thinking, len(tokens))

    def _read(self, prompt: ReadPrompt, share: float, on_progress: OnProgress | None) -> PrefillReport:
        llm, n, n_ctx = self.llm, len(prompt.tokens), self.llm.n_ctx()
        if n > n_ctx:
            raise ValueError(
                f"the reader needs {n} tokens for this prompt, and its context has {n_ctx}: raise n_ctx in "
                "reader_options, or shorten the prompt"
            )
        cache = llm.pruned_cache
        assert cache is not None
        if n < cache.policy.window + 2:
            raise ValueError(
                f"the reader has {n} tokens for this prompt, of which its window of {cache.policy.window} leaves none "
                "to choose from: raise select_k, or lower window"
            )
        progress = None
        if on_progress is not None:
            tell = on_progress

            def progress(step: Progress) -> None:
                tell(replace(step, phase="reading"))

        # of its own tokens the same share, so that its ranks settle as they would without another model
        count = min(max(cache.policy.window + 1, round(share * n)), n - 1)
        with llm.turn.hold():
            llm.reset()
            return cache.prefill(prompt.tokens, progress, choosing=count)

    def _row(self, scores: Floats, prompt: ReadPrompt) -> Floats:
        """Scores of the reader's past tokens for the other model's, float32 [n]: nan for what is outside the text.

        The reader's window has none: what of the text lies in it is as good as the best.
        """
        theirs: Spans = prompt.theirs
        row = np.full(len(theirs), scores.max(), dtype=np.float32)
        row[: len(scores)] = scores
        return transfer(row, theirs, prompt.ours)

    def plan_memory(self, n_tokens: int) -> tuple[MemoryUse, ...]:
        """What a prompt of so many of its own tokens takes of it at most; of more than its context, what that holds."""
        llm: Any = self.llm
        planned: tuple[MemoryUse, ...] = llm.plan_memory(min(n_tokens, llm.n_ctx()))
        return planned

    def close(self) -> None:
        """Free the model."""
        llm: Any = self.llm
        self._twins.clear()
        llm.close()


def _without_window(row: Floats, window: int) -> Floats:
    """What a report has of a row of scores: past tokens alone, and 0 where there is none."""
    past: Floats = np.nan_to_num(row[: len(row) - window], nan=0.0)
    return past
