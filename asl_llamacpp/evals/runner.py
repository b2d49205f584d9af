"""One evaluation: every variant answers the same prompts, and every answer is a line of the results file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from .. import models
from ..answering import CONTEXT_STEP
from ..state import model_fingerprint
from .answers import answer_sample
from .lines import Line, append, key_of, repair
from .prompts import Prompts
from .registry import expand, open_task
from .sample import Task
from .variants import Variant, variants

OnLine: TypeAlias = Callable[[Line, int, int], None]


@dataclass(frozen=True)
class _Job:
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
        return {**where, "seed": self.seed, "policy": self.variant.policy, "budget": budget}


def run(
    model: str | Path,
    tasks: Sequence[str],
    lengths: Sequence[int],
    policies: Sequence[str],
    out: str | Path,
    *,
    budgets: Sequence[str | Fraction] = (),
    n_samples: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    data: Mapping[str, Path] | None = None,
    retry_errors: bool = False,
    on_line: OnLine | None = None,
    **llama_options: Any,
) -> int:
    """Let `model` answer `n_samples` prompts of each task, length and seed under each policy; the number of new lines.

    Answers are greedy. Nothing is shared between two samples, and every policy has flash attention, so that times and
    answers do not depend on the order. What `out` holds already is not repeated, so a run that was stopped goes on
    when it is started again; other `llama_options` than before belong into another file.

    Args:
        model: GGUF file.
        tasks: names; `needle_grid` stands for its depths.
        lengths: tokens of the whole prompt.
        policies: specs as `parse_policy` reads them, "+budget" after one compresses its layers too (see `Variant`).
        out: JSONL file; appended to.
        budgets: shares of the prompt to keep, such as "1/4"; none: what the policies say.
        data: files by task, for the tasks that need one.
        retry_errors: samples that failed before are tried again.
        on_line: called with each new line, its number and the number of all new ones.
        llama_options: further arguments of `Llama`.

    Raises:
        ValueError, OSError: bad arguments, or a model that cannot be opened. What goes wrong in a single sample is an
            error line instead.
    """
    path, out = models.find_model(model), Path(out)
    compared = variants(policies, budgets)
    if n_samples < 1 or not (tasks and lengths and compared and seeds):
        raise ValueError("there is nothing to evaluate: give a task, a length, a policy, a seed and samples")
    done = {key_of(line) for line in repair(out) if not (retry_errors and "error" in line)}
    facts = {"model_name": path.name, "version": version("asl_llamacpp")}
    fingerprint = model_fingerprint(path)
    with Prompts(path) as prompts:
        opened = [open_task(name, prompts, data) for name in expand(tasks)]
        _check_lengths(lengths, prompts.n_ctx_train)
        groups: list[tuple[int, Variant, list[_Job]]] = []
        for length, variant in ((length, variant) for length in dict.fromkeys(lengths) for variant in compared):
            places = _samples(opened, dict.fromkeys(seeds), n_samples)
            jobs = [_Job(task, length, seed, i, variant, fingerprint) for task, seed, i in places]
            groups.append((length, variant, [job for job in jobs if key_of(job.key) not in done]))
        total, made = sum(len(jobs) for _, _, jobs in groups), 0
        out.parent.mkdir(parents=True, exist_ok=True)
        for length, variant, jobs in groups:
            if not jobs:
                continue
            longest = max(job.task.max_tokens for job in jobs)
            n_ctx = -(-(length + longest) // CONTEXT_STEP) * CONTEXT_STEP
            options = {"n_ctx": n_ctx, "flash_attn": True, "document_min": None, **llama_options}
            with closing(models.open_model(path, **options, **variant.options(length))) as llm:
                for job in jobs:
                    line = {**job.key, "family": job.task.family, **facts, **_attempt(llm, job, prompts.chat)}
                    append(out, line)
                    made += 1
                    if on_line is not None:
                        on_line(line, made, total)
    return made


def _samples(tasks: Sequence[Task], seeds: Sequence[int] | dict[int, None], n: int) -> Iterator[tuple[Task, int, int]]:
    return ((task, seed, i) for task in tasks for seed in seeds for i in range(n))


def _check_lengths(lengths: Sequence[int], n_ctx_train: int) -> None:
    for length in lengths:
        if length < 1 or (n_ctx_train and length > n_ctx_train):
            raise ValueError(f"prompts of {length} tokens: the model was trained for 1 to {n_ctx_train}")


def _attempt(llm: Any, job: _Job, chat: bool) -> Line:
    """The answer and its facts, or the error: one bad sample must not end a long run."""
    try:
        sample = job.task.make(job.length, (job.seed, job.sample))
        return answer_sample(llm, job.task, sample, chat)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
