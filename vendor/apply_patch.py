"""Apply unified diffs exactly, with nothing but Python.

A hunk must match its file at the very line it names: no fuzz, no offset. A patch that fits "nearly" is how a
hook lands in the wrong function after the pin has moved, so it is refused, with the first line that differs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_NO_NEWLINE = b"\\ No newline"


class PatchError(ValueError):
    """The patch is malformed, or does not match the file it is for."""


@dataclass
class Hunk:
    """One hunk: `old` lines stand at line `start` (1-based) and become `new`."""

    start: int
    old: list[bytes] = field(default_factory=list)
    new: list[bytes] = field(default_factory=list)

    def sides(self, line: bytes) -> tuple[list[bytes], ...]:
        """Which of `old` and `new` a line of the diff belongs to, by its first character."""
        return {b" ": (self.old, self.new), b"-": (self.old,), b"+": (self.new,)}.get(line[:1], ())


@dataclass
class FileDiff:
    """All hunks for one file; a path is None where the diff says /dev/null."""

    old_path: str | None
    new_path: str | None
    hunks: list[Hunk] = field(default_factory=list)


def apply(patch: bytes, files: dict[str, bytes]) -> None:
    """Apply `patch` to `files` (path -> content) in place.

    Args:
        patch: a unified diff as `git diff` or `diff -u` writes it; the first folder of each path is stripped,
            text around the diff (a mail header, a signature) is skipped.
        files: the tree; created files are added to it, deleted ones leave it.

    Raises:
        PatchError: malformed, or a change that is not a plain edit, creation or deletion, or a hunk whose
            lines are not where it says. `files` is then unchanged.
    """
    result: dict[str, bytes | None] = {}
    for diff in parse(patch):
        path = diff.new_path or diff.old_path
        if path is None or (diff.old_path and diff.new_path and diff.old_path != diff.new_path):
            raise PatchError(f"renames are not supported: {diff.old_path} -> {diff.new_path}")
        before = result.get(path, files.get(path))
        if diff.old_path is None and before is not None:
            raise PatchError(f"{path}: the patch creates it, but it is there already")
        if diff.old_path is not None and before is None:
            raise PatchError(f"{path}: the patch changes it, but there is no such file")
        after = _patched(path, before or b"", diff.hunks)
        if diff.new_path is None and after:
            raise PatchError(f"{path}: the patch deletes it, but lines would be left")
        result[path] = None if diff.new_path is None else after
    for path, content in result.items():
        if content is None:
            files.pop(path, None)
        else:
            files[path] = content


def parse(patch: bytes) -> list[FileDiff]:
    """Read the file diffs of a patch, in order; PatchError where it is malformed or holds no change."""
    lines = _LINE.findall(patch)
    diffs: list[FileDiff] = []
    git_header: bytes | None = None  # a "diff --git" line that no hunk has followed yet
    i = 0
    while i < len(lines):
        line = lines[i]
        if line.startswith(b"diff --git "):
            _expect_hunks(git_header)
            git_header = line
        elif line.startswith(b"--- ") and i + 1 < len(lines) and lines[i + 1].startswith(b"+++ "):
            diffs.append(FileDiff(_path(line), _path(lines[i + 1])))
            i += 1
        elif (header := _HUNK.match(line)) and diffs:
            hunk, i = _read_hunk(lines, i, header)
            diffs[-1].hunks.append(hunk)
            git_header = None
            continue
        i += 1
    _expect_hunks(git_header)
    if not diffs or any(not diff.hunks for diff in diffs):
        raise PatchError("holds no change (no hunk found)")
    return diffs


def _expect_hunks(git_header: bytes | None) -> None:
    if git_header is not None:
        raise PatchError(f"not a plain edit (rename, mode or binary change?): {_shown(git_header)}")


def _path(header: bytes) -> str | None:
    name = header[4:].split(b"\t")[0].strip().decode()
    if name == "/dev/null":
        return None
    path = name.partition("/")[2]
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise PatchError(f"not a path below the root: {name!r}")
    return path


def _read_hunk(lines: list[bytes], at: int, header: re.Match[bytes]) -> tuple[Hunk, int]:
    """Read the hunk whose @@ line is `lines[at]`; returns it and the index after it."""
    n_old, n_new = (int(header[group] or 1) for group in (2, 4))
    # with no old lines, the number in the header is the line to insert after
    hunk = Hunk(start=int(header[1]) + (n_old == 0))
    i = at + 1
    while True:
        line = lines[i] if i < len(lines) else b"(end of the patch)"
        if len(hunk.old) >= n_old and len(hunk.new) >= n_new and not line.startswith(_NO_NEWLINE):
            break
        if line.startswith(_NO_NEWLINE) and i > at + 1:
            for side in hunk.sides(lines[i - 1]):
                side[-1] = side[-1].rstrip(b"\n")
        elif sides := hunk.sides(line):
            for side in sides:
                side.append(line[1:])
        else:
            raise PatchError(f"line {i + 1} of the patch is neither context nor change: {_shown(line)}")
        i += 1
    if (len(hunk.old), len(hunk.new)) != (n_old, n_new):
        raise PatchError(f"the hunk at line {at + 1} of the patch has not the lines that it announces")
    return hunk, i


def _patched(path: str, content: bytes, hunks: list[Hunk]) -> bytes:
    lines = _LINE.findall(content)
    out: list[bytes] = []
    done = 0
    for number, hunk in enumerate(hunks, 1):
        start = hunk.start - 1
        if start < done:
            raise PatchError(f"{path}: hunk {number} overlaps the one before it")
        if start > len(lines):
            raise PatchError(f"{path}: hunk {number} is at line {hunk.start}, the file has {len(lines)}")
        for offset, wanted in enumerate(hunk.old):
            found = lines[start + offset] if start + offset < len(lines) else b"(end of the file)"
            if found != wanted:
                raise PatchError(
                    f"{path}: hunk {number} does not match at line {start + offset + 1}: "
                    f"expected {_shown(wanted)}, found {_shown(found)}"
                )
        out += lines[done:start] + hunk.new
        done = start + len(hunk.old)
    return b"".join(out + lines[done:])


def _shown(line: bytes) -> str:
    return repr(line.decode(errors="replace").rstrip("\n"))
