"""Policies against each other on the prompts that the unpruned model answers entirely right.

    python -m benchmarks.proof RUN.jsonl... --today asl --same-work fastkv:layer=15 --out RESULT.md

reads lines of `asl-llamacpp eval --answered`. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from asl_llamacpp.evals.lines import answered, read_lines
from asl_llamacpp.evals.statistics import holm

from .cells import Cell, Lines, cells_of, pairs
from .text import by_kind, by_policy


def compared(cells: Sequence[Cell], baselines: Sequence[str]) -> list[Cell]:
    """The cells with their paired tests; Holm's correction is over all of them."""
    found = [cell.against(name, pairs(cell, cells, name)) for cell in cells for name in baselines]
    corrected = iter(holm([each.p for each in found if each is not None]))
    made = iter(None if each is None else each.corrected(next(corrected)) for each in found)
    return [cell.with_tests([next(made) for _ in baselines]) for cell in cells]


def main() -> None:
    """Print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="files of lines, of one model")
    parser.add_argument("--today", default="asl", help="the policy that the others are compared with")
    parser.add_argument(
        "--same-work", default=None, help="another one to compare with: the same layers on as many tokens"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lines: Lines = [line for path in args.runs for line in answered(read_lines(path))]
    baselines = ["full", args.today, *([args.same_work] if args.same_work else [])]
    cells = compared(cells_of(lines), baselines)
    text = f"# Policies where the unpruned model is right\n\n{by_policy(cells, baselines)}\n{by_kind(lines)}"
    args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
