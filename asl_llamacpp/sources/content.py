"""The bytes of a document, and the document that they are."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from .archive import begins_as_zip
from .errors import UnreadableError
from .formats import Format
from .kinds import format_of
from .reading import Reading
from .source import Source
from .text import FORMAT as TEXT

MIB = 2**20
MAX_FILE = 512 * MIB
"""What a file may take, bytes."""
AS_IS = Reading()


def read_bytes(data: bytes, name: str, reading: Reading = AS_IS) -> Source:
    """A document from a file's bytes, in this process. Raises ValueError, which names it, for what cannot be read."""
    return with_text(format_of(data, name).source(data, name, reading))


def plain_text_format(data: bytes, name: str) -> Format | None:
    """The format of a text, which nothing in it can harm; None: a file of another kind, or one that cannot be read."""
    if begins_as_zip(data):
        return None
    found = format_of(data, name)
    return found if found is TEXT else None


def with_text(source: Source) -> Source:
    """The same. Raises ValueError for one without any text."""
    if not source.text.strip():
        raise UnreadableError(f"{source.name} is empty: there is nothing to ask about")
    return source


def file_bytes(path: Path) -> bytes:
    """What is in a file. Raises OSError, which says why it cannot be read, and ValueError for one that is too large."""
    try:
        with path.open("rb") as file:
            return limited(file, str(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"no such document: {path}") from None
    except PermissionError:
        raise PermissionError(f"no permission to read {path}") from None
    except IsADirectoryError:
        raise IsADirectoryError(f"{path} is a directory: name one document in it") from None


def limited(file: IO[bytes], name: str) -> bytes:
    """The rest of a file. Raises ValueError for more than `MAX_FILE`."""
    data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise too_large(name)
    return data


def too_large(name: str, most: int = MAX_FILE) -> UnreadableError:
    """For what takes more than so many bytes."""
    return UnreadableError(f"{name} is larger than {most // MIB} MiB, and is not read: take the part that you need")
