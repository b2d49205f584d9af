"""What a person gives to be read, of all kinds, as named bytes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any, TypeAlias

from .content import file_bytes, limited
from .fetching import fetch, is_url
from .folders import files_in, is_pattern, matching
from .reading import Reading

Readable: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | IO[str] | tuple[str, Any]"
"""A path, a folder, a pattern such as "contracts/*.pdf", a URL, "-", bytes, an open file, or (name, bytes or file)."""

STDIN = "-"
UNNAMED = "document"


@dataclass(frozen=True)
class Given:
    """A file to read.

    name      as it is cited
    load      its name and bytes; the name may be another one once it is fetched
    left_out  it is one of many in a folder: whoever cannot read it leaves it out, and says so
    """

    name: str
    load: Callable[[], tuple[str, bytes]]
    left_out: bool = False


def given_files(
    inputs: Sequence[Readable | Sequence[Readable]], reading: Reading, name: str | None = None
) -> Iterator[Given | str]:
    """The files, in order, and a sentence for those of a folder that are left out.

    name: of bytes and open files that have none.

    Raises:
        FileNotFoundError: there is no such file, or a pattern that nothing matches.
        TypeError: something of another kind.
        ValueError: a folder with too many files.
    """
    for one in inputs:
        if isinstance(one, list) or (isinstance(one, tuple) and not _is_named(one)):
            yield from given_files(one, reading, name)
        elif isinstance(one, str | os.PathLike):
            yield from _of_path(os.fspath(one), reading)
        else:
            title, content = one if isinstance(one, tuple) else (name or _name_of(one), one)
            yield _of_content(str(title), content)


def _standard_input() -> bytes:
    if sys.stdin is None:  # the shell closed it
        raise ValueError("standard input is closed, so nothing can be read from it: name a file")
    return limited(sys.stdin.buffer, "standard input")


def _is_named(one: tuple[Any, ...]) -> bool:
    return len(one) == 2 and isinstance(one[0], str) and not isinstance(one[1], str | os.PathLike)


def _of_path(path: str, reading: Reading) -> Iterator[Given | str]:
    if not path.strip():
        raise ValueError("there is nothing to read: an empty path was given")
    if path == STDIN:
        yield Given("standard input", lambda: ("standard input", _standard_input()))
    elif is_url(path):
        yield Given(path, lambda: fetch(path, reading))
    else:
        file = Path(path).expanduser()
        if file.is_dir():
            found = files_in(file)
        elif is_pattern(path) and not file.exists():
            found = matching(str(file))
        else:
            yield Given(file.name, lambda: (file.name, file_bytes(file)))
            return
        if found.left_out:
            yield found.left_out
        for title, each in found.files:
            yield Given(title, lambda title=title, each=each: (title, file_bytes(each)), left_out=True)  # type: ignore[misc]


def _of_content(name: str, content: Any) -> Given:
    if isinstance(content, bytes | bytearray | memoryview):
        return Given(name, lambda: (name, bytes(content)))
    if hasattr(content, "read"):
        return Given(name, lambda: (name, _file_content(content, name)))
    raise TypeError(
        f"{type(content).__name__} is nothing to read: name files, folders or URLs, or give bytes or an open file"
    )


def _file_content(file: Any, name: str) -> bytes:
    data: Any = limited(file, name)
    if isinstance(data, str):  # a file that was opened as text
        return data.encode("utf-8", "surrogatepass")
    if not isinstance(data, bytes):
        raise TypeError(f"read() of {name} gave {type(data).__name__}, not bytes")
    return data


def _name_of(content: object) -> str:
    name = getattr(content, "name", None)
    return PurePath(name).name if isinstance(name, str) and name else UNNAMED
