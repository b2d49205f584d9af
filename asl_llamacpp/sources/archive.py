"""ZIP archives, which DOCX and EPUB files are, and the XML in them: neither is trusted."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.parsers import expat

from .errors import UnreadableError, parsing

if TYPE_CHECKING:
    from zipfile import ZipFile

MIB = 2**20
MAX_BYTES = 512 * MIB
"""What all parts of a document may take, unpacked."""
MAX_PART_BYTES = 64 * MIB
"""What a part that is parsed may take: trees take about ten times the memory."""

_IS_LOCKED = 1  # in a member's flag bits


def begins_as_zip(data: bytes) -> bool:
    """Whether the data begins with a member of an archive, or is an empty one."""
    return data.startswith((b"PK\x03\x04", b"PK\x05\x06"))


@contextmanager
def open_archive(data: bytes, name: str, kind: str) -> Iterator[ZipFile]:
    """An archive that is safe to unpack. Whatever goes wrong in the block raises ValueError, which names the file.

    Raises ValueError for one that is broken, is locked, or would take more than `MAX_BYTES`.
    """
    from zipfile import ZipFile

    with parsing(name, kind), ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MAX_BYTES:  # zipfile unpacks no more than it is told here
            raise UnreadableError(f"{name} would unpack to more than {MAX_BYTES // MIB} MiB, so it is not opened")
        if any(member.flag_bits & _IS_LOCKED for member in members):
            raise UnreadableError(f"{name} is locked with a password: save it without one first")
        yield archive


def read_part(archive: ZipFile, part: str, name: str) -> bytes:
    """A part that is to be parsed. Raises ValueError where it is missing or takes more than `MAX_PART_BYTES`."""
    try:
        member = archive.getinfo(part)
    except KeyError:
        raise UnreadableError(f"{name} is incomplete: it has no {part!r} in it") from None
    if member.file_size > MAX_PART_BYTES:
        raise UnreadableError(
            f"{name} has more than {MAX_PART_BYTES // MIB} MiB in its part {part!r}, which is no text"
        )
    return archive.read(member)


def check_entities(xml: bytes, name: str) -> None:
    """Raise ValueError for XML that declares entities: they can grow without bound, or name files of this machine."""

    def refuse(*_: object) -> None:
        raise UnreadableError(f"{name} declares XML entities, which documents have no use for, so it is not read")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    with suppress(expat.ExpatError):  # whoever parses it for its content says so, and gets no further
        parser.Parse(xml, True)


def parse_xml(xml: bytes, name: str) -> ElementTree.Element:
    """The tree of an XML part, without entities. Raises ValueError for one with entities, ParseError if broken."""
    check_entities(xml, name)
    return ElementTree.fromstring(xml)
