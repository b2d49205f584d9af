"""Right answers of one policy at one budget, on the prompts that `full` answers right, and paired tests of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, TypeAlias

from asl_llamacpp.evals.lines import Line
from asl_llamacpp.evals.statistics import Comparison, compare, interval

Lines: TypeAlias = list[Line]
Prompt: TypeAlias = tuple[Any, ...]


def prompt_of(line: Line) -> Prompt:
    """What names a prompt of one model."""
    return tuple(line[name] for name in ("task", "length", "seed", "sample", "prompt"))


def answered_by_full(lines: Lines) -> set[Prompt]:
    """The prompts with a score of 1."""
    return {prompt_of(line) for line in lines if line["policy"] == "full" and line["score"] == 1}


@dataclass(frozen=True)
class Test:
    """A paired comparison, and its p after Holm's correction."""

    found: Comparison
    p: float
    p_holm: float | None = None

    def corrected(self, p: float) -> Test:
        return replace(self, p_holm=p)


@dataclass(frozen=True)
class Cell:
    """One policy at one budget and length; `budget` None: `full`.

    scores  by prompt
    layer   median of the layers (0-based) where it selected
    kv      mean share of the unpruned cache's bytes
    kept    mean share of the answers' tokens that were selected
    """

    length: int
    policy: str
    budget: str | None
    scores: dict[Prompt, float]
    layer: float | None
    kv: float
    kept: float | None
    tests: tuple[Test | None, ...] = ()

    @property
    def accuracy(self) -> float:
        return sum(self.scores.values()) / len(self.scores)

    @property
    def interval(self) -> tuple[float, float]:
        return interval(list(self.scores.values()))

    def against(self, name: str, other: tuple[Sequence[float], Sequence[float]]) -> Test | None:
        """The test against `name`; None for itself, and where it has answered none of the prompts."""
        if self.policy == name or not other[0]:
            return None
        found = compare(*other)
        return Test(found, found.p)

    def with_tests(self, tests: Sequence[Test | None]) -> Cell:
        return replace(self, tests=tuple(tests))


def cells_of(lines: Lines) -> list[Cell]:
    """In the order of the lines, by length and budget."""
    right = answered_by_full(lines)
    groups: dict[tuple[int, str, str | None], Lines] = {}
    for line in lines:
        if prompt_of(line) in right:
            groups.setdefault((line["length"], line["policy"], line["budget"]), []).append(line)
    cells = [_cell(own) for own in groups.values()]
    return sorted(cells, key=lambda cell: (cell.length, cell.policy != "full", _share(cell.budget)))


def pairs(cell: Cell, cells: Sequence[Cell], name: str) -> tuple[list[float], list[float]]:
    """Scores of `cell` and of the policy `name` at the same budget, on the prompts that both have."""
    for other in cells:
        if other.policy == name and other.length == cell.length and other.budget in (cell.budget, None):
            both = [prompt for prompt in cell.scores if prompt in other.scores]
            return [cell.scores[each] for each in both], [other.scores[each] for each in both]
    return [], []


def _share(budget: str | None) -> float:
    return -1.0 if budget is None else int(budget.split("/")[1])


def _cell(lines: Lines) -> Cell:
    layers = [line["selection_layer"] for line in lines if line["selection_layer"] is not None]
    kept = [line["kept"] for line in lines if line["kept"] is not None]
    return Cell(
        length=lines[0]["length"],
        policy=lines[0]["policy"],
        budget=lines[0]["budget"],
        scores={prompt_of(line): line["score"] for line in lines},
        layer=median(layers) if layers else None,
        kv=sum(line["kv_bytes"] / line["kv_bytes_full"] for line in lines) / len(lines),
        kept=sum(kept) / len(kept) if kept else None,
    )
