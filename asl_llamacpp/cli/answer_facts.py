"""An answer as the values that `--json` prints."""

from __future__ import annotations

from typing import Any

from ..documents.answer import Answer


def answer_facts(answer: Answer) -> dict[str, Any]:
    """Question, answer, what the model thought, usage, and the evidence."""
    return {
        "question": answer.question,
        "answer": answer.text,
        "reasoning": answer.reasoning,
        "finish_reason": answer.finish_reason,
        "usage": answer.usage,
        "evidence": [vars(span) for span in answer.evidence],
        "evidence_note": answer.evidence_note,
    }
