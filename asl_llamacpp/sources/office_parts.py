"""Office files with nothing in them that was not checked: their XML has no entities, and no part is too large."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from .archive import check_entities, read_part

if TYPE_CHECKING:
    from zipfile import ZipFile

_XML = (".xml", ".rels", ".vml")


def checked_parts(archive: ZipFile, name: str) -> io.BytesIO:
    """An archive of the parts, those that are no XML empty. Raises ValueError for a part that is not safe to parse."""
    from zipfile import ZipFile

    parts = io.BytesIO()
    with ZipFile(parts, "w") as checked:
        for part in dict.fromkeys(archive.namelist()):
            data = b""
            if part.lower().endswith(_XML):
                data = read_part(archive, part, name)
                check_entities(data, name)
            checked.writestr(part, data)
    parts.seek(0)
    return parts
