"""The results file: one JSON object a line, one line a sample and variant, appended to and never rewritten."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

Line: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[Any, ...]

KEY = ("model", "task", "length", "sample", "seed", "policy", "budget")
"""What names a line: of several with the same key the last one counts."""


def key_of(line: Line) -> Key:
    return tuple(line[name] for name in KEY)


def read_lines(path: str | Path) -> list[Line]:
    """The lines of the file, in order, without those that a later one replaces; a torn last line is left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line before the last is not one of ours.
    """
    whole, _ = _whole(Path(path).read_bytes())
    lines: dict[Key, Line] = {}
    for number, text in enumerate(whole.splitlines(), start=1):
        try:
            line = json.loads(text)
            lines[key_of(line)] = line
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}, line {number}: not a line of evaluation results") from None
    return list(lines.values())


def repair(path: str | Path) -> list[Line]:
    """Cut off a torn last line, which a killed run may leave, and read the rest; none if there is no file."""
    path = Path(path)
    if not path.exists():
        return []
    whole, torn = _whole(path.read_bytes())
    lines = read_lines(path)
    if torn:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return lines


def append(path: str | Path, line: Line) -> None:
    """Add a line, in one write."""
    data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
    with Path(path).open("ab", buffering=0) as file:
        file.write(data)


def answered(lines: Iterable[Line]) -> list[Line]:
    """Those that are not errors."""
    return [line for line in lines if "error" not in line]


def _whole(data: bytes) -> tuple[bytes, bytes]:
    """What stands up to the last end of a line, and the rest."""
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]
