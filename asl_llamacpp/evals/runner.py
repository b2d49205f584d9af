"""One evaluation: every variant answers the same prompts, and every answer is a line of the results file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from ..engine.version import __version__
from ..files.fingerprint import model_fingerprint
from ..llama import models
from .jobs import Job, answer_all
from .lines import Line, answered, append, key_of, repair
from .prompts import Prompts
from .registry import expand, open_task
from .summary import FULL
from .variants import ReaderFile, variants

OnLine: TypeAlias = Callable[[Line, int, int], None]


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
    shared: bool = True,
    answered_by_full: bool = False,
    reader: ReaderFile | None = None,
    **llama_options: Any,
) -> int:
    """Let `model` answer `n_samples` prompts of each task, length and seed under each policy; the number of new lines.

    Answers are greedy. Nothing is shared between two samples, and every policy has flash attention, so that
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
        shared: all policies start from one prefill of a prompt, see `SharedLlama`: the same answers in a fraction of
            the time, and no seconds. A model that cannot be run layer by layer is evaluated the ordinary way.
        answered_by_full: `full` goes first, and the others answer only the prompts that it answers entirely right. What
            it cannot answer tells nothing of what pruning costs, and takes most of the time.
        reader: a model that reads for this one, under every policy that prunes; each such answer has its own prefill.
        llama_options: further arguments of `Llama`.

    Raises:
        ValueError, OSError: bad arguments, or a model that cannot be opened. What goes wrong in a single sample is an
            error line instead.
    """
    path, out = models.find_model(model), Path(out)
    compared = variants(policies, budgets, reader)
    if n_samples < 1 or not (tasks and lengths and compared and seeds):
        raise ValueError("there is nothing to evaluate: give a task, a length, a policy, a seed and samples")
    if answered_by_full and not any(variant.policy == FULL for variant in compared):
        raise ValueError(f"the prompts that {FULL!r} answers are wanted: name it among the policies")
    done = {key_of(line) for line in repair(out) if not (retry_errors and "error" in line)}
    facts = {"model_name": path.name, "version": __version__}
    fingerprint = model_fingerprint(path)
    with Prompts(path) as prompts:
        opened = [open_task(name, prompts, data) for name in expand(tasks)]
        _check_lengths(lengths, prompts.n_ctx_train)
        places = [(task, seed, i) for task in opened for seed in dict.fromkeys(seeds) for i in range(n_samples)]
        jobs = [
            Job(task, length, seed, i, variant, fingerprint)
            for length in dict.fromkeys(lengths)
            for variant in compared
            for task, seed, i in places
        ]
        jobs = [job for job in jobs if key_of(job.key) not in done]
        rounds: list[list[Job]] = [jobs]
        if answered_by_full:
            by_full = [job for job in jobs if job.variant.policy == FULL]
            rounds = [by_full, [job for job in jobs if job.variant.policy != FULL]]
        out.parent.mkdir(parents=True, exist_ok=True)
        made, n_jobs = 0, len(jobs)
        for i, these in enumerate(rounds):
            if i:
                right = _answered_by_full(repair(out))
                these = [job for job in these if _prompt_of(job.key) in right]
                n_jobs = made + len(these)
            for job, line in answer_all(path, these, prompts.chat, shared, llama_options):
                line = {**job.key, "family": job.task.family, **facts, **line}
                append(out, line)
                made += 1
                if on_line is not None:
                    on_line(line, made, n_jobs)
    return made


def _check_lengths(lengths: Sequence[int], n_ctx_train: int) -> None:
    for length in lengths:
        if length < 1 or (n_ctx_train and length > n_ctx_train):
            raise ValueError(f"prompts of {length} tokens: the model was trained for 1 to {n_ctx_train}")


def _answered_by_full(lines: Sequence[Line]) -> set[tuple[Any, ...]]:
    return {_prompt_of(line) for line in answered(lines) if line["policy"] == FULL and line["score"] == 1}


def _prompt_of(line: Line) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("model", "task", "length", "seed", "sample"))
