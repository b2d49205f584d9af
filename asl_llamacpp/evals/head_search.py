"""Which heads of a model look answers up: those whose contrast falls on the tokens of the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..documents.chat_prompt import document_tokens, frame
from ..engine.kinds import EACH_HEAD
from ..policies import ASL
from ..selection.arrays import Floats
from ..selection.contrast import less, neutral_scores
from ..selection.heads import by_layer
from ..selection.parameters import ChosenHeads, Heads
from ..selection.scores import pool
from ..selection.unit_scores import selected_units
from ..selection.units import unit_starts
from .asking import asking
from .kept_recordings import NOT_KEPT, KeptRecordings, Recorded
from .sample import Sample, Task
from .shared import SharedLlama

TASKS = ("niah_single_2", "paraphrase", "kv_retrieval", "two_hop", "niah_multikey_1", "list_items")
QUESTIONS = "qa_1"
SEED = 1_000_001
"""Of the prompts: one that neither an evaluation nor the search of the layer uses."""
N_HEADS = 8
DEEPEST = 0.6
"""Share of the layers up to which heads are looked for: the deepest of them is the earliest layer to select at."""
KEPT = 8
"""One of so many tokens is kept where heads are judged."""


def record(shared: SharedLlama, task: str, sample: Sample) -> Recorded | None:
    """One run through the layers looked at; None if no single place of the prompt holds the answer."""
    policy, llm, engine, tokens = ASL(), shared.llm, shared.engine, sample.tokens
    cache, n_past = llm.pruned_cache, len(sample.tokens) - ASL().window
    if sample.evidence is None or cache is None or cache.neutral is None or (sample.evidence >= n_past).any():
        return None
    neutral, n_layer = list(cache.neutral()), engine.info().n_layer
    n_document = len(frame(llm, "?").head(llm)) + len(document_tokens(llm, sample.query.document))
    shared.prompt = None
    llm.reset()
    layers = [engine.layer(il) for il in range(deepest(n_layer) + 1)]
    added = np.zeros((len(layers), max(layer.n_head for layer in layers), n_past), dtype=np.float16)
    try:
        engine.begin(tokens, policy.window, 0)
        engine.contrast(min(n_document, len(tokens) - 1), neutral)
        for il, layer in enumerate(layers):
            engine.run(il, il + 1, EACH_HEAD if layer.gives_scores else False)
            if not layer.gives_scores:
                continue
            plain = pool(engine.scores(il)[:, :n_past], policy.kernel)
            other = engine.contrast_scores(il)
            for head, row in enumerate(plain):
                looked = neutral_scores(other[head : head + 1], policy.kernel, "sum", policy.window / len(neutral))
                added[il, head] = less(row, looked)
        starts = unit_starts(engine.vocabulary.texts(tokens))
    finally:
        engine.abort()
    return Recorded(task, added, sample.evidence, starts, len(tokens))


def deepest(n_layer: int) -> int:
    return round(DEEPEST * n_layer)


def choose(prompts: Sequence[Recorded], count: int = N_HEADS) -> ChosenHeads:
    """The heads that add most to the answers' tokens; each kind counts the same, as does each prompt of it."""
    kinds = list(dict.fromkeys(prompt.task for prompt in prompts))
    mass = np.mean(
        [np.mean([prompt.mass for prompt in prompts if prompt.task == kind], axis=0) for kind in kinds], axis=0
    )
    best = np.argsort(-mass, axis=None, kind="stable")[:count]
    pairs = (np.unravel_index(int(i), mass.shape) for i in best)
    return tuple(sorted((int(layer), int(head)) for layer, head in pairs))


def kept(prompt: Recorded, heads: Heads) -> float:
    """Share of the answer's tokens among 1/`KEPT` in sentences: by chosen heads, or by all heads' sum at one layer."""
    scores = _scores(prompt, heads)
    positions = selected_units(scores, prompt.n_tokens // KEPT - ASL().window, ASL().window, prompt.starts)
    return float(np.isin(prompt.answer, positions).mean())


def _scores(prompt: Recorded, heads: Heads) -> Floats:
    if isinstance(heads, str):
        summed: Floats = prompt.added[-1].astype(np.float32).sum(axis=0)
        return summed
    rows = [prompt.added[il, list(numbers)].max(axis=0) for il, numbers in by_layer(heads).items()]
    found: Floats = np.max(rows, axis=0).astype(np.float32)
    return found


@dataclass(frozen=True)
class Judged:
    """Mean share of the answers' tokens that are kept.

    training, held_out  by heads chosen on all kinds of prompts, and on the other kinds alone
    all_heads           by the sum of all heads, at the deepest layer looked at
    """

    task: str
    n: int
    training: float
    held_out: float
    all_heads: float


def judge(prompts: Sequence[Recorded], heads: ChosenHeads) -> list[Judged]:
    """By kind: what `heads` keep, what heads chosen without this kind keep, and what the sum of all heads does."""
    found = []
    for kind in dict.fromkeys(prompt.task for prompt in prompts):
        own = [prompt for prompt in prompts if prompt.task == kind]
        others = [prompt for prompt in prompts if prompt.task != kind]
        without = choose(others) if others else heads
        means = [float(np.mean([kept(prompt, which) for prompt in own])) for which in (heads, without, "sum")]
        found.append(Judged(kind, len(own), *means))
    return found


def search(
    model: str | Path,
    length: int,
    tasks: Sequence[str],
    data: Path | None,
    n_prompts: int,
    *,
    recordings: KeptRecordings = NOT_KEPT,
    on_prompt: Callable[[str], object] = lambda task: None,
    **llama_options: Any,
) -> list[Recorded]:
    """Prompts of `length` tokens, `n_prompts` in all, the tasks taking turns; as many real questions from `data`.

    data        a file in SQuAD's JSON form
    recordings  of an earlier run of the same model, length and data, which are not made again
    on_prompt   is told the task of each prompt, once it has run

    Raises:
        ValueError, FileNotFoundError: `data` is not there, or is not such a file, or none of its questions fits.
    """
    found: list[Recorded] = []
    names, files = (tasks, None) if data is None else ([*tasks, QUESTIONS], {QUESTIONS: data})
    with asking(model, names, length, files, **llama_options) as (shared, opened):
        generated = opened[: len(tasks)]
        turns = [(generated[i % len(generated)], i) for i in range(n_prompts)]
        turns += [(asked, i) for asked in opened[len(tasks) :] for i in range(n_prompts)]
        for task, number in turns:
            prompt = recordings.get(task.name, number, partial(_recorded, shared, task, length, number))
            if prompt is not None:
                found.append(prompt)
            on_prompt(task.name)
    if data is not None and not any(prompt.task == QUESTIONS for prompt in found):
        raise ValueError(f"no question of {data.name} fits a prompt of {length} tokens: give a larger --length")
    return found


def _recorded(shared: SharedLlama, task: Task, length: int, number: int) -> Recorded | None:
    try:
        sample = task.make(length, (SEED, number))
    except ValueError:
        if task.name != QUESTIONS:
            raise
        return None  # a real paragraph may be longer than the prompt
    return record(shared, task.name, sample)
