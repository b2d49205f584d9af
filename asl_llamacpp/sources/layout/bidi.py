"""Hebrew and Arabic: from the order in which a line stands on paper to the order in which it is read."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

_RTL = ("R", "AL")
_DIGITS = ("EN", "AN")
_IN_NUMBERS = ".,:/-+%"


def has_rtl(text: str) -> bool:
    """Whether any letter of it is of a script that runs from right to left."""
    return any(char > "\u0590" and unicodedata.bidirectional(char) in _RTL for char in text)


def is_rtl(text: str) -> bool:
    """Whether most letters of it are of such scripts."""
    kinds = [unicodedata.bidirectional(char) for char in text]
    return sum(kind in _RTL for kind in kinds) > sum(kind == "L" for kind in kinds)


def reading_order(text: Sequence[str]) -> list[int]:
    """The indexes of a line's characters, which come as they stand from left to right, in the order they are read in.

    A line with mostly letters from right to left is read from its right end, words of other scripts and numbers in it
    from left to right; in other lines words from right to left are turned where they stand.
    """
    line = "".join(char[:1] or " " for char in text)
    kinds = _directions(line)
    base = "R" if is_rtl(line) else "L"
    order: list[int] = []
    for start, end, direction in _runs(kinds, base):
        run = list(range(start, end))
        if direction == "R":
            run = _turned(run, line)
        order = [*run, *order] if base == "R" else [*order, *run]
    return order


def mirrored(text: str) -> str:
    """Brackets that close before they open, turned round; others as they are."""
    for opening, closing in ("()", "[]", "{}", "«»"):
        if text.find(closing) >= 0 and (text.find(opening) < 0 or text.find(closing) < text.find(opening)):
            swap = {opening: closing, closing: opening}
            text = "".join(swap.get(char, char) for char in text)
    return text


def _directions(line: str) -> list[str]:
    """R, L or N of each character; a number is L, with what belongs to it."""
    kinds = []
    for char in line:
        kind = unicodedata.bidirectional(char)
        kinds.append("R" if kind in _RTL else "L" if kind == "L" else "D" if kind in _DIGITS else "N")
    for i, char in enumerate(line):
        if kinds[i] == "N" and char in _IN_NUMBERS:
            before, after = kinds[i - 1 : i] == ["D"], kinds[i + 1 : i + 2] == ["D"]
            if (before and after) or (char == "%" and (before or after)):
                kinds[i] = "D"
    return kinds


def _runs(kinds: list[str], base: str) -> list[tuple[int, int, str]]:
    """Runs of one direction: what is between two letters of a direction goes with them, else with the line."""
    resolved = list(kinds)
    strong = [(i, "L" if kind == "D" else kind) for i, kind in enumerate(kinds) if kind != "N"]
    for i, kind in enumerate(kinds):
        if kind == "D":  # a number by itself stands in the text around it, its digits from left to right
            resolved[i] = "D"
    for (i, left), (j, right) in pairwise(strong):
        both_numbers = kinds[i] == kinds[j] == "D"
        fill = left if left == right and not both_numbers else base
        for k in range(i + 1, j):
            resolved[k] = fill
    for i, kind in enumerate(resolved):
        if kind == "N":
            resolved[i] = base
    if base == "L":  # numbers between words from right to left are read with them
        words = [i for i, kind in enumerate(resolved) if kind == "R"]
        for first, second in pairwise(words):
            if all(resolved[k] in "DN" or kinds[k] == "N" for k in range(first + 1, second)):
                for k in range(first + 1, second):
                    resolved[k] = "R"
    runs: list[tuple[int, int, str]] = []
    for i, kind in enumerate(resolved):
        direction = "L" if kind == "D" else kind
        if runs and runs[-1][2] == direction:
            runs[-1] = (runs[-1][0], i + 1, direction)
        else:
            runs.append((i, i + 1, direction))
    return runs


def _turned(run: list[int], line: str) -> list[int]:
    """From right to left, but for the numbers in it; marks stay behind their letters."""
    kinds = _directions("".join(line[i] for i in run))
    turned: list[int] = []
    group: list[int] = []
    for i, kind in zip(run, kinds, strict=True):
        if kind == "D":
            group.append(i)
            continue
        turned = [i, *group, *turned]
        group = []
    return [*group, *turned]
