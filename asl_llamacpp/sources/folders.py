"""The files of a folder, or those that a pattern matches: which are read, in which order, and which are not."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import UnreadableError

MOST = 1000
"""Files of a folder."""


@dataclass(frozen=True)
class Found:
    """files     name and path of each, in the order in which they are read: by their paths, 2 before 10
    left_out  what of the folder is not looked at, as a sentence; empty: nothing
    """

    files: list[tuple[str, Path]]
    left_out: str = ""


def is_pattern(path: str) -> bool:
    """Whether a path has *, ? or [ in it."""
    return glob.has_magic(path)


def files_in(folder: Path) -> Found:
    """All files of a folder and of those in it. Hidden ones and links to folders are left out, and named.

    Raises:
        FileNotFoundError: there are none.
        ValueError: there are more than `MOST`.
    """
    ignored: list[str] = []
    title = folder.name or ""
    names = list(_walk(folder, title, ignored))
    what = ", ".join(sorted(ignored, key=natural))
    left_out = f"hidden files and links to folders were left out of {folder}: {what}" if ignored else ""
    if not names:
        raise FileNotFoundError(f"there is no file to read in {folder}" + (f"; {left_out}" if left_out else ""))
    return Found(_ordered(names, str(folder)), left_out)


def matching(pattern: str) -> Found:
    """The files that a pattern matches; ** is any number of folders, and hidden files need a dot in the pattern.

    Raises FileNotFoundError where nothing matches, and ValueError for more than `MOST`.
    """
    paths = [Path(path) for path in glob.iglob(pattern, recursive=True)]
    files = [path for path in paths if path.is_file()]
    if not files:
        raise FileNotFoundError(f"no file matches {pattern}")
    root = os.path.commonpath([path.parent for path in files])
    shown = [((path.relative_to(root) if root else path).as_posix(), path) for path in files]
    folders = sorted((str(path) for path in paths if path.is_dir()), key=natural)
    left_out = f"{pattern} matches folders too, which were left out: {', '.join(folders)}"
    return Found(_ordered(shown, pattern), left_out if folders and "**" not in pattern else "")


def natural(text: str) -> list[tuple[int, int, str]]:
    """To sort by: numbers by their value, letters without regard to case."""
    pieces = re.findall(r"\d+|\D+", text)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold()) for piece in pieces]


def _walk(folder: Path, title: str, ignored: list[str]) -> Iterator[tuple[str, Path]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{title}/{entry.name}" if title else entry.name
            if entry.name.startswith("."):
                ignored.append(name)
            elif entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), name, ignored)
            elif entry.is_file():
                yield name, Path(entry.path)
            else:
                ignored.append(name)


def _ordered(files: Iterable[tuple[str, Path]], where: str) -> list[tuple[str, Path]]:
    ordered = sorted(files, key=lambda file: [natural(part) for part in file[0].split("/")])
    if len(ordered) > MOST:
        raise UnreadableError(
            f"{where} has {len(ordered):,} files, and at most {MOST:,} are read as one: take a part of it, "
            "for example with a pattern"
        )
    return ordered
