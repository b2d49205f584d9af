"""Everything that is to be read as one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .content import AS_IS
from .errors import UnreadableError
from .given import Readable, given_files
from .reading import Reading
from .safely import SafeReader
from .source import Source


@dataclass(frozen=True)
class Gathered:
    """sources   in the order in which they were named; of a folder or a pattern in the order of their paths
    left_out  what of folders was not read, and why: a sentence each
    """

    sources: list[Source]
    left_out: list[str]


def read_all(
    inputs: Sequence[Readable | Sequence[Readable]], reading: Reading = AS_IS, name: str | None = None
) -> Gathered:
    """Read files, folders, patterns, URLs, bytes and open files, in order.

    Of a folder or a pattern, what cannot be read is left out and named; what is named alone has to be readable.

    Args:
        name: of bytes and open files that have none.

    Raises:
        TypeError: something that cannot be read from.
        ValueError: a file that cannot be read, see `SafeReader.read`; nothing that a folder has can be.
        OSError: a file that is not there or may not be read, a URL that does not answer.
    """
    sources: list[Source] = []
    left_out: list[str] = []
    with SafeReader() as reader:
        for given in given_files(inputs, reading, name):
            if isinstance(given, str):
                left_out.append(given)
                continue
            try:
                title, data = given.load()
                sources.append(reader.read(data, title, reading))
            except (UnreadableError, PermissionError) as error:
                if not given.left_out:
                    raise
                left_out.append(f"left out: {error}")
    if not sources and left_out:
        raise UnreadableError(f"nothing of it can be read: {'; '.join(left_out)}")
    return Gathered(sources, left_out)
