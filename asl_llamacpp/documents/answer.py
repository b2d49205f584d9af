"""The answer to a question about a document: its text, the evidence, and the report of its prefill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..policies import parse_policy
from ..prefill.report import PrefillReport
from .attention import Attention
from .evidence import Span
from .heat_map import write_heat_map
from .protocols import Asked
from .reasoning import Reasoning


@dataclass(frozen=True)
class SectionReport:
    """How one section of a long document was read: its place, and what was kept of it.

    start, end     character offsets in the document's text
    n_tokens       of the section
    n_passages     of its evidence that the answer was made from
    selection_layer as in `PrefillReport`
    """

    start: int
    end: int
    n_tokens: int
    n_passages: int
    selection_layer: int | None


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """An answer.

    text           without white space around it
    report         of the prefill: what was pruned, and why there
    finish_reason  "stop", or "length": it was cut at `max_tokens`
    usage          token counts, as in an OpenAI response
    question       what was asked
    document       of what; of a document that was read by sections, the passages that the answer was made from
    sections       how each section of a document longer than the context was read; empty if it fits
    attention      what the evidence is made of; None: the policy gives no scores, so there is no evidence
    reasoning      what the model thought before it answered; None: it did not
    logprobs       with logprobs=N, which needs Llama(logits_all=True): "tokens", "token_logprobs", "top_logprobs" and
                   "text_offset", a list each, as in an OpenAI completion; thoughts are among the tokens
    """

    text: str
    report: PrefillReport
    finish_reason: str
    usage: dict[str, int]
    question: str
    document: Asked
    attention: Attention | None
    sections: Sequence[SectionReport] = ()
    reasoning: str | None = None
    logprobs: dict[str, list[Any]] | None = None

    @property
    def evidence(self) -> list[Span]:
        """Passages of the document that the selection kept, the one with the most attention first.

        They are what the model was allowed to see in its deeper layers. That is no proof of use. Where nothing was
        pruned they are the eighth of the text that drew the most attention: see `evidence_note`. Empty if the policy
        gives no scores.
        """
        return [] if self.attention is None else self.attention.evidence

    @property
    def evidence_note(self) -> str:
        """What the evidence is, and what it is worth: whether anything was pruned, whether there was enough to rank."""
        if self.attention is not None:
            return self.attention.note
        if parse_policy(self.report.policy).prunes:
            n = self.report.n_prompt
            return f"No evidence: a prompt of {n} tokens is too short to rank, or no layer of the model gives scores."
        return f"No evidence: kv_policy={self.report.policy!r} gives no scores."

    def save_heat_map(self, path: str | Path) -> None:
        """Write the document's text as a heat map of the attention into one HTML file.

        Raises:
            ValueError: the policy gives no scores, or `path` is not a .html file; else as `check_heat_map_path`.
        """
        seen = self.attention
        if seen is None:
            raise ValueError(f"kv_policy={self.report.policy!r} gives no scores, so there is no heat map to draw")
        write_heat_map(
            path,
            title=self.document.name,
            question=self.question,
            answer=self.text,
            parts=seen.parts,
            kept=seen.shown,
            scores=seen.scores,
            offsets=seen.offsets,
            spans=self.evidence,
            report_line=_report_line(self.report),
            pruned=seen.kept is not None,
            note=seen.note,
        )

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 80 else self.text[:79] + "…"
        return f"<Answer {text!r} to {self.question!r} about {self.document.name}>"


def _report_line(report: PrefillReport) -> str:
    kept = f"{report.n_selected:,} of {report.n_prompt:,} tokens went on"
    return (
        f"{report.policy}: {kept} {report.place}"
        if report.selected is not None
        else f"{report.policy}: nothing was pruned"
    )


class AnswerStream(Iterator[str]):
    """An answer, piece by piece: the first piece comes after the prefill, and none is empty.

    answer      once the stream is through; RuntimeError before
    report      of the prefill, once the first piece is there
    on_thought  is called with all that the model has thought so far, whenever that is more: no piece comes then
    """

    def __init__(
        self,
        document: Asked,
        question: str,
        chunks: Iterator[Any],
        n_prompt: int,
        max_tokens: int,
        thinks: bool = False,
    ) -> None:
        self._document, self._question, self._n_prompt = document, question, n_prompt
        self._max_tokens = max_tokens
        self._prompt = self._n_evaluated = 0
        self._chunks = chunks
        self._pieces: list[str] = []
        self._reasoning = Reasoning(thinks)
        self._logprobs: dict[str, list[Any]] = {}
        self._finish_reason = "stop"
        self._answer: Answer | None = None
        self.sections: Sequence[SectionReport] = ()
        self.report: PrefillReport | None = None
        self.on_thought: Callable[[str], object] | None = None

    @property
    def reasoning(self) -> str:
        """What the model has thought so far."""
        return self._reasoning.thought

    @property
    def answer(self) -> Answer:
        if self._answer is None:
            raise RuntimeError("the answer is not complete yet: go through the stream, or close() it")
        return self._answer

    def __next__(self) -> str:
        if self.report is not None and self._document.n_prompts != self._prompt:
            raise RuntimeError("something else was evaluated since the last piece: this answer cannot go on")
        for chunk in self._chunks:
            self._n_evaluated = self._document.n_evaluated
            if self.report is None:
                self.report, self._prompt = self._document.last_report(), self._document.n_prompts
                if self.sections and self.report is not None and self._described() not in self.report.reason:
                    self.report.reason += f"; {self._described()}"
            choice = chunk["choices"][0]
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            for name, values in (choice.get("logprobs") or {}).items():
                self._logprobs.setdefault(name, []).extend(values)
            before = len(self.reasoning)
            piece = self._said(self._reasoning.feed(choice["text"]))
            if self.on_thought is not None and len(self.reasoning) > before:
                self.on_thought(self.reasoning)
            if piece:
                return piece
        rest = self._said(self._reasoning.finish())
        self._complete()
        if rest:
            return rest
        raise StopIteration

    def _said(self, piece: str) -> str:
        """A piece of the answer, without the white space that it begins with."""
        piece = piece if self._pieces else piece.lstrip()
        if piece:
            self._pieces.append(piece)
        return piece

    def _described(self) -> str:
        used = sum(section.n_passages for section in self.sections)
        total = sum(section.n_tokens for section in self.sections)
        return (
            f"the document's {total:,} tokens do not fit the context, so it was read in {len(self.sections)} parts and "
            f"answered from {used} passages of them: {self._n_prompt:,} tokens with the question"
        )

    def _complete(self) -> None:
        if self._answer is not None or self.report is None:
            return
        # the last token of an answer that was cut is not evaluated any more
        n_answer = self._max_tokens if self._finish_reason == "length" else self._n_evaluated - self._n_prompt
        usage = {"prompt_tokens": self._n_prompt, "completion_tokens": n_answer}
        usage["total_tokens"] = sum(usage.values())
        text = "".join(self._pieces).strip()
        attention = self._document.attention(self.report)
        seen = (self._question, self._document, attention, self.sections)
        thought = self.reasoning.strip() or None
        self._answer = Answer(text, self.report, self._finish_reason, usage, *seen, thought, self._logprobs or None)

    def close(self) -> None:
        """Stop the answer here; `answer` then has what came so far, if the prefill was through."""
        with suppress(AttributeError):
            self._chunks.close()  # type: ignore[attr-defined]
        self._complete()

    def finish(self) -> Answer:
        """Wait for the rest, and return the answer."""
        for _ in self:
            pass
        return self.answer
