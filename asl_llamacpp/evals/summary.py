"""Lines of results, summed up: one row for each task, length, policy and budget, and one over all tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import median
from typing import Any

from .lines import Line, answered
from .statistics import Comparison, compare, holm, interval

ALL_TASKS = "all"
FULL = "full"


@dataclass(frozen=True)
class Row:
    """Scores of one policy and budget.

    task              its name, or `ALL_TASKS`
    n, errors         answers, and samples that failed; these count nowhere else
    accuracy          mean score; `low`, `high`: its 95 % interval
    against_full      paired comparison on the prompts that both answered; None for `full`, and without its answers
    p_holm            its p, corrected for all rows of the same summary
    prefill_seconds   median; None: not measured, policies shared their prefills
    kv_share          median of KV bytes against those of an unpruned prompt
    selection_layer   median, of the prompts that were pruned at one; None: none was
    forced_share      share of the prompts at which the rule did not choose the layer itself
    kept              mean share of the answers' tokens that the selection kept; None: not known
    """

    model: str
    family: str
    task: str
    length: int
    policy: str
    budget: str | None
    n: int
    errors: int
    accuracy: float
    low: float
    high: float
    against_full: Comparison | None
    p_holm: float | None
    prefill_seconds: float | None
    kv_share: float
    selection_layer: float | None
    forced_share: float
    kept: float | None


def summarize(lines: Iterable[Line], by: str = "task") -> list[Row]:
    """The rows of `lines`, `full` first, then by policy and falling budget; Holm's correction is over all of them.

    `by` "task": a row for each task; "family": the tasks of a benchmark together; "all": all tasks together.
    """
    lines = list(lines)
    groups = _grouped(lines, lambda line: (line["model"], *_place(line, by), line["policy"], line["budget"]))
    fulls = {_pair(line): line["score"] for line in answered(lines) if line["policy"] == FULL}
    rows = [_row(*_place(own[0], by)[:2], own, fulls) for own in groups.values() if answered(own)]
    tested = [i for i, row in enumerate(rows) if row.against_full is not None]
    corrected = holm([row.against_full.p for row in rows if row.against_full is not None])
    for i, p in zip(tested, corrected, strict=True):
        rows[i] = replace(rows[i], p_holm=p)
    return sorted(rows, key=_order)


def _place(line: Line, by: str) -> tuple[str, str, int]:
    """Family, task and length of the row that the line belongs to."""
    family = ALL_TASKS if by == "all" else line["family"]
    return family, (line["task"] if by == "task" else ALL_TASKS), line["length"]


def _pair(line: Line) -> tuple[Any, ...]:
    """What two lines of the same prompt have in common; its hash too, should a task have been changed in between."""
    return tuple(line[name] for name in ("model", "task", "length", "seed", "sample", "prompt"))


def _row(family: str, task: str, lines: list[Line], fulls: dict[tuple[Any, ...], float]) -> Row:
    good = answered(lines)
    scores = [line["score"] for line in good]
    low, high = interval(scores)
    layers = [line["selection_layer"] for line in good if line["selection_layer"] is not None]
    kept = [line["kept"] for line in good if line["kept"] is not None]
    seconds = [line["prefill_seconds"] for line in good if line["prefill_seconds"] is not None]
    return Row(
        model=str(good[0].get("model_name", good[0]["model"])),
        family=family,
        task=task,
        length=good[0]["length"],
        policy=good[0]["policy"],
        budget=good[0]["budget"],
        n=len(good),
        errors=len(lines) - len(good),
        accuracy=sum(scores) / len(scores),
        low=low,
        high=high,
        against_full=_against_full(good, fulls),
        p_holm=None,
        prefill_seconds=median(seconds) if seconds else None,
        kv_share=median(line["kv_bytes"] / max(line["kv_bytes_full"], 1) for line in good),
        selection_layer=median(layers) if layers else None,
        forced_share=sum(bool(line["forced"]) for line in good) / len(good),
        kept=sum(kept) / len(kept) if kept else None,
    )


def _against_full(good: list[Line], fulls: dict[tuple[Any, ...], float]) -> Comparison | None:
    pairs = [(line["score"], fulls[_pair(line)]) for line in good if _pair(line) in fulls]
    if good[0]["policy"] == FULL or not pairs:
        return None
    return compare([ours for ours, _ in pairs], [theirs for _, theirs in pairs])


def _grouped(lines: list[Line], key: Callable[[Line], Any]) -> dict[Any, list[Line]]:
    groups: dict[Any, list[Line]] = {}
    for line in lines:
        groups.setdefault(key(line), []).append(line)
    return groups


def _order(row: Row) -> tuple[Any, ...]:
    budget = -Fraction(row.budget) if row.budget else Fraction(-1)
    return row.model, row.family, row.task, row.length, row.policy != FULL, row.policy, budget
