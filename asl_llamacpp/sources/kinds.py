"""What a document is: told from its bytes, and where these leave it open, from its name."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import PurePath

from .archive import begins_as_zip
from .errors import UnreadableError
from .formats import FORMATS, READABLE, Format
from .other_kinds import Told, locked_office, told_of, told_of_archive
from .text import FORMAT as TEXT


def format_of(data: bytes, name: str) -> Format:
    """What reads a document. Raises ValueError for kinds that cannot be read; it names those that can."""
    formats: list[Format] = [import_module(f".{module}", __package__).FORMAT for module in FORMATS]
    if begins_as_zip(data):
        return _format_in_archive(data, name, formats)
    suffix = PurePath(name).suffix.lower()
    for one in formats:
        if one.in_bytes is not None and one.in_bytes(data):
            return one
    _refuse(data, name)
    for one in formats:
        if suffix in one.suffixes:
            return one
    for one in formats:
        if one.looks is not None and one.looks(data):
            return one
    return TEXT


def _format_in_archive(data: bytes, name: str, formats: list[Format]) -> Format:
    from zipfile import ZipFile

    try:
        with ZipFile(io.BytesIO(data)) as archive:
            for one in formats:
                if one.in_archive is not None and one.in_archive(archive):
                    return one
            parts = archive.namelist()
    except Exception:  # zipfile raises errors of many kinds on damaged archives
        raise UnreadableError(
            f"{name} is a binary file, a ZIP archive that is cut off or damaged: get it once more. Only {READABLE}"
        ) from None
    raise _unread(name, told_of_archive(parts, name))


def _refuse(data: bytes, name: str) -> None:
    """ValueError for what is known, and cannot be read."""
    if locked_office(data):
        raise UnreadableError(f"{name} is locked with a password: save it without one first")
    told = told_of(data)
    if told is not None:
        raise _unread(name, told)


def _unread(name: str, told: Told) -> UnreadableError:
    what, advice = told
    return UnreadableError(f"{name} is {what}, which is not read: {advice}. Only {READABLE}")
