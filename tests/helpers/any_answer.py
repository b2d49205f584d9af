"""Answers of random weights, taken for right by the ablation."""

from __future__ import annotations

import pytest
from llama_fixtures import greedy

from asl_llamacpp import Full
from asl_llamacpp.evals import ablation
from asl_llamacpp.evals.sample import Sample, Task
from asl_llamacpp.evals.shared import SharedLlama

N_ANSWER = 3


def any_answer(shared: SharedLlama, task: Task, sample: Sample) -> list[int]:
    """The first tokens that the unpruned model answers with."""
    shared.set_policy(Full())
    return greedy(shared.llm, sample.tokens, N_ANSWER)


def take_any_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the narrow model, whose answers are never right, be measured too."""
    monkeypatch.setattr(ablation, "right_answer", any_answer)
