"""Tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .lines import Line
from .statistics import RESAMPLES
from .summary import ALL_TASKS, Row, summarize

_COLUMNS = (
    *("task", "length", "policy", "budget", "n", "accuracy [95 %]", "against full [95 %]", "p", "p (Holm)"),
    *("prefill, s", "KV", "layer", "forced", "answer kept"),
)
_LEGEND = f"""\
Accuracy is the mean score with its 95 % interval: BCa bootstrap, {RESAMPLES:,} resamples, over samples; exact binomial
where all scores are 1 or all are 0. "against full": mean difference on the same prompts, p from the exact McNemar test
if all scores are 0 or 1, else from a paired permutation test; Holm's correction is over all tests of a table. Prefill,
KV (share of the unpruned cache's bytes) and selection layer are medians; forced: prompts at which the rule did not
choose the layer by itself; answer kept: share of the answer's tokens that went on to the deeper layers.
"""


def report(lines: Sequence[Line]) -> str:
    """All tables of a results file, as Markdown: by task, over all tasks, and what failed."""
    by_task = summarize(lines)
    parts = ["# Accuracy\n"]
    if len({row.task for row in by_task}) > 1:
        parts += ["## All tasks\n", table(summarize(lines, by="all")), "\n## By task\n"]
    parts += [table(by_task), "\n" + _LEGEND]
    failed = [line for line in lines if "error" in line]
    if failed:
        parts.append(f"\n## Failed: {len(failed)} of {len(lines)} samples, not counted above\n")
        counts: dict[str, int] = {}
        for line in failed:
            what = f"{line['task']}, {line['length']} tokens, {line['policy']}: {' '.join(line['error'].split())}"
            counts[what] = counts.get(what, 0) + 1
        parts += [f"- {what} ({n} times)" for what, n in counts.items()]
    return "\n".join(parts).rstrip() + "\n"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, padded to be read as plain text too; the model is a column if there are several."""
    several = len({row.model for row in rows}) > 1
    lines = [(("model",) if several else ()) + _COLUMNS]
    lines += [((row.model,) if several else ()) + _cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    body = [_line(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([body[0], _line("-" * width for width in widths), *body[1:]])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> tuple[str, ...]:
    against = row.against_full
    difference = "-" if against is None else f"{against.difference:+.3f}{_interval(against.low, against.high, '+')}"
    return (
        "all tasks" if row.task == ALL_TASKS else row.task,
        f"{row.length:,}",
        row.policy,
        row.budget or "-",
        str(row.n) + (f" ({row.errors} failed)" if row.errors else ""),
        f"{row.accuracy:.3f}{_interval(row.low, row.high)}",
        difference,
        "-" if against is None else _p(against.p),
        _p(row.p_holm),
        "-" if row.prefill_seconds is None else f"{row.prefill_seconds:.2f}",
        f"{row.kv_share:.2f}",
        "-" if row.selection_layer is None else f"{row.selection_layer:g}",
        "-" if row.selection_layer is None else f"{100 * row.forced_share:.0f} %",
        "-" if row.kept is None else f"{row.kept:.2f}",
    )


def _interval(low: float, high: float, sign: str = "") -> str:
    return "" if math.isnan(low) else f" [{low:{sign}.3f}, {high:{sign}.3f}]"


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
