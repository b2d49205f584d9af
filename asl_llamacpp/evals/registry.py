"""The tasks by name, and one opened for a model's tokenizer."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from . import infinitebench, infinitebench_files, lookups, ruler_qa
from .fitting import fit
from .prompts import Prompts
from .ruler_needles import NEEDLES, NeedleTask
from .ruler_tracing import variable_tracking
from .ruler_words import common_words, frequent_words
from .sample import Draft, Sample, Score, Seed, Task
from .scoring import ONLY_RISING, any_found, first_number, share_found, whole_word

MakeDraft = Callable[[Generator, int], Draft]

RULER, GRID, INFINITEBENCH, LOOKUPS = "RULER", "needle grid", "InfiniteBench", "look-ups"
GRID_TASK = "needle_grid"
GRID_DEPTHS = (0, 25, 50, 75, 100)
"""Depths, percent, that the name `needle_grid` alone stands for."""


@dataclass(frozen=True)
class Kind:
    """A task before it knows a tokenizer."""

    family: str
    max_tokens: int
    draft: MakeDraft
    score: Score


GENERATED: dict[str, Kind] = {
    **{name: Kind(RULER, 128, task, share_found) for name, task in NEEDLES.items()},
    "vt": Kind(RULER, 30, variable_tracking, share_found),
    "cwe": Kind(RULER, 120, common_words, share_found),
    "fwe": Kind(RULER, 50, frequent_words, share_found),
    "paraphrase": Kind(LOOKUPS, 24, lookups.paraphrase, share_found),
    "two_hop": Kind(LOOKUPS, 24, lookups.two_hop, share_found),
    "list_items": Kind(LOOKUPS, 40, lookups.list_items, share_found),
    "passkey": Kind(INFINITEBENCH, 16, infinitebench.passkey, first_number),
    "number_string": Kind(INFINITEBENCH, 24, infinitebench.number_string, first_number),
    "kv_retrieval": Kind(INFINITEBENCH, 64, infinitebench.kv_retrieval, whole_word),
}
FROM_FILES = {
    **ruler_qa.FILES,
    **{name: f"InfiniteBench's {name}.jsonl" for name in infinitebench_files.FILES},
}
"""Tasks that need a file of the user's, and which."""


@dataclass(frozen=True)
class FittedTask:
    """A `Task` for one model: prompts are fitted with its tokenizer and its chat template."""

    name: str
    kind: Kind
    prompts: Prompts

    @property
    def family(self) -> str:
        return self.kind.family

    @property
    def max_tokens(self) -> int:
        return self.kind.max_tokens

    def make(self, n_tokens: int, seed: Seed) -> Sample:
        parts = seed if isinstance(seed, tuple) else (seed,)
        rng = np.random.default_rng([*parts, n_tokens, zlib.crc32(_seed_name(self.name).encode())])
        try:
            return fit(self.kind.draft(rng, n_tokens), n_tokens, self.prompts, self.max_tokens)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def score(self, output: str, answers: Sequence[str]) -> float:
        return self.kind.score(output, answers)

    def settled(self, output: str, answers: Sequence[str]) -> bool:
        return self.kind.score in ONLY_RISING and self.score(output, answers) == 1.0


def task_names() -> list[str]:
    """Every task that there is; those of `FROM_FILES` need a file."""
    return [*GENERATED, GRID_TASK, *FROM_FILES]


def expand(names: Sequence[str]) -> list[str]:
    """`names` without repetition, `needle_grid` replaced by its depths: needle_grid@0, needle_grid@25..."""
    every: list[str] = []
    for name in names:
        every += [f"{GRID_TASK}@{depth}" for depth in GRID_DEPTHS] if name == GRID_TASK else [name]
    return list(dict.fromkeys(every))


def open_task(name: str, prompts: Prompts, data: Mapping[str, Path] | None = None) -> Task:
    """The task `name`, or `needle_grid@DEPTH` with a depth in percent. `data`: files by task.

    Raises:
        ValueError: there is no such task, or a file that is not what it should be.
        FileNotFoundError: the task needs a file that was not given, or does not exist.
    """
    return FittedTask(name, _kind(name, data or {}), prompts)


def _kind(name: str, data: Mapping[str, Path]) -> Kind:
    if name in GENERATED:
        return GENERATED[name]
    base, _, depth = name.partition("@")
    if base == GRID_TASK and depth:
        return Kind(GRID, 64, NeedleTask(depth=_depth(name, depth)), share_found)
    if name not in FROM_FILES:
        raise ValueError(f"unknown task {name!r}: use one of {', '.join(task_names())}")
    path = data.get(name)
    if path is None:
        raise FileNotFoundError(f"task {name} needs {FROM_FILES[name]}: give it with --data {name}=PATH")
    if not path.is_file():
        raise FileNotFoundError(f"task {name}: no such file: {path}")
    if name in ruler_qa.READERS:
        return Kind(RULER, 32, ruler_qa.question_answering(ruler_qa.read(name, path)), any_found)
    max_tokens, score = infinitebench_files.FILES[name]
    return Kind(INFINITEBENCH, max_tokens, infinitebench_files.from_file(infinitebench_files.read(path)), score)


def _depth(name: str, text: str) -> float:
    try:
        depth = float(text)
    except ValueError:
        depth = -1.0
    if not 0 <= depth <= 100:
        raise ValueError(f"{name}: give the depth in percent, such as {GRID_TASK}@50")
    return depth / 100


def _seed_name(name: str) -> str:
    """The depths of the grid share their haystacks and needles: only the depth differs between them."""
    return name.partition("@")[0]
