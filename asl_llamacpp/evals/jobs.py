"""The samples of an evaluation, answered under its policies: each by itself, or all from one shared prefill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from ..engine.binding import UnsupportedModelError
from ..llama import models
from ..llama.opening import CONTEXT_STEP
from .answers import answer_sample
from .lines import Line
from .sample import Sample, Task
from .shared import SharedLlama, open_shared
from .variants import Variant


@dataclass(frozen=True)
class Job:
    """A sample that a variant has to answer, and the line's key for it."""

    task: Task
    length: int
    seed: int
    sample: int
    variant: Variant
    model: str

    @property
    def key(self) -> Line:
        budget = None if self.variant.budget is None else str(self.variant.budget)
        where: Line = {"model": self.model, "task": self.task.name, "length": self.length, "sample": self.sample}
        return {**where, "seed": self.seed, "policy": self.variant.name, "budget": budget}

    @property
    def prompt(self) -> tuple[int, str, int, int]:
        """What the jobs of one prompt have in common."""
        return self.length, self.task.name, self.seed, self.sample

    def make(self) -> Sample:
        return self.task.make(self.length, (self.seed, self.sample))


Answers: TypeAlias = Iterator[tuple[Job, Line]]
"""A job, and what its line says beside the key: the answer and its facts, or the error."""


def answer_all(path: Path, jobs: Sequence[Job], chat: bool, shared: bool, llama_options: dict[str, Any]) -> Answers:
    """The jobs' answers; `shared`: prompt by prompt, else, and where another model reads, each policy in turn."""
    for _, same_length in groupby(jobs, lambda job: job.length):
        group = list(same_length)
        options = {"n_ctx": _n_ctx(group), "flash_attn": True, "document_min": None, **llama_options}
        alone = [job for job in group if job.variant.reader is None]
        if shared and alone:
            try:
                with open_shared(path, **options) as llm:
                    yield from _shared(llm, alone, chat)
                group = [job for job in group if job.variant.reader is not None]
            except UnsupportedModelError:
                pass
        yield from _separate(path, group, chat, options)


def _n_ctx(jobs: Sequence[Job]) -> int:
    longest = max(job.task.max_tokens for job in jobs)
    return -(-(jobs[0].length + longest) // CONTEXT_STEP) * CONTEXT_STEP


def _separate(path: Path, jobs: Sequence[Job], chat: bool, options: dict[str, Any]) -> Answers:
    for variant, same in groupby(jobs, lambda job: job.variant):
        group = list(same)
        with closing(models.open_model(path, **options, **variant.options(group[0].length))) as llm:
            for job in group:
                yield job, _attempt(partial(_answer_alone, llm, job, chat))


def _answer_alone(llm: Any, job: Job, chat: bool) -> Line:
    return answer_sample(llm, job.task, job.make(), chat)


def _shared(llm: SharedLlama, jobs: Sequence[Job], chat: bool) -> Answers:
    by_prompt: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        by_prompt.setdefault(job.prompt, []).append(job)
    for group in by_prompt.values():
        policies = [job.variant.options(job.length)["kv_policy"] for job in group]
        tail = max(policy.window for policy in policies)
        try:
            sample = group[0].make()
            llm.record(sample.tokens, tail)
        except Exception as error:
            yield from ((job, _failure(error)) for job in group)
            continue
        for job in group:
            yield job, _attempt(partial(_answer, llm, job, sample, chat))


def _answer(llm: SharedLlama, job: Job, sample: Sample, chat: bool) -> Line:
    options = job.variant.options(job.length)
    llm.set_policy(options["kv_policy"], options["kv_budget"])
    # what a policy took cannot be told: most of its work was done for all of them
    return answer_sample(llm.llm, job.task, sample, chat) | {"prefill_seconds": None, "seconds": None}


def _attempt(answer: Callable[[], Line]) -> Line:
    """The answer, or the error: one bad sample must not end a long run."""
    try:
        return answer()
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Line:
    return {"error": f"{type(error).__name__}: {error}"}
