"""An answer as the values that `--json` prints."""

from __future__ import annotations

from typing import Any

from ..documents.answer import Answer
from ..documents.evidence import Span


def answer_facts(answer: Answer) -> dict[str, Any]:
    """Question, answer, what the model thought, usage, and the evidence."""
    return {
        "question": answer.question,
        "answer": answer.text,
        "reasoning": answer.reasoning,
        "finish_reason": answer.finish_reason,
        "usage": answer.usage,
        "evidence": [span_facts(span) for span in answer.evidence],
        "evidence_note": answer.evidence_note,
    }


def span_facts(span: Span) -> dict[str, Any]:
    """A passage of the evidence, with its pages in words."""
    return {**vars(span), "pages": span.pages}
