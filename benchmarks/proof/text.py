"""The tables, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .cells import Cell, Lines, Test, answered_by_full, prompt_of


def by_policy(cells: Sequence[Cell], baselines: Sequence[str]) -> str:
    """A row for each policy, budget and length, with the tests against `baselines`."""
    tests = [f"against {name} [95 %], p (Holm)" for name in baselines]
    rows = [["tokens", "kept", "policy", "prompts", "right [95 %]", *tests, "layer", "KV", "answer kept"]]
    for cell in cells:
        layer = "-" if cell.layer is None else f"{cell.layer:g}"
        kept = "-" if cell.kept is None else f"{cell.kept:.2f}"
        where = [f"{cell.length:,}", cell.budget or "all", f"`{cell.policy}`", str(len(cell.scores))]
        found = [_test(test) for test in cell.tests]
        rows.append([*where, _right(cell), *found, layer, f"{cell.kv:.2f}", kept])
    return _table(rows)


def by_kind(lines: Lines) -> str:
    """Mean score of each policy by kind of prompt, and how many prompts of each."""
    right = answered_by_full(lines)
    scores: dict[tuple[int, str, str], dict[str, list[float]]] = {}
    for line in lines:
        if prompt_of(line) in right and line["budget"] is not None:
            row = scores.setdefault((line["length"], line["budget"], line["policy"]), {})
            row.setdefault(line["task"], []).append(line["score"])
    kinds = list(dict.fromkeys(task for row in scores.values() for task in row))
    rows = [["tokens", "kept", "policy", *kinds]]
    for (length, budget, policy), row in scores.items():
        cells = [f"{sum(row[kind]) / len(row[kind]):.2f} ({len(row[kind])})" if kind in row else "" for kind in kinds]
        rows.append([f"{length:,}", budget, f"`{policy}`", *cells])
    return _table(rows)


def _right(cell: Cell) -> str:
    low, high = cell.interval
    return f"{cell.accuracy:.2f}" + ("" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]")


def _test(test: Test | None) -> str:
    if test is None or test.p_holm is None:
        return "-"
    found = test.found
    spread = "" if math.isnan(found.low) else f" [{found.low:+.2f}, {found.high:+.2f}]"
    p = "< 0.001" if test.p_holm < 0.001 else f"{test.p_holm:.3f}"
    return f"{found.difference:+.2f}{spread}, {p}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]) + "\n"
