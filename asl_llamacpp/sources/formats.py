"""The document formats: one module a format, and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .reading import Reading
from .source import Source

if TYPE_CHECKING:
    from zipfile import ZipFile

FORMATS = {
    "text": "text, Markdown",
    "pdf": "PDF",
    "docx": "DOCX",
    "html": "HTML",
    "epub": "EPUB",
    "odt": "ODT",
    "ods": "ODS",
    "odp": "ODP",
    "rtf": "RTF",
    "xlsx": "XLSX",
    "csv_table": "CSV",
    "pptx": "PPTX",
    "eml": "EML",
    "msg": "MSG",
    "picture": "picture",
}
"""By the name of a module here, which has a `FORMAT`: what that is called in messages."""

*_FIRST, _LAST = FORMATS.values()
READABLE = f"{', '.join(_FIRST)} and {_LAST} documents can be read"


@dataclass(frozen=True)
class Format:
    """How a format is told from others, and read. The questions are asked in this order; one of them will do.

    read        makes a document of a file's bytes and name; ValueError, which names the file, for one that is broken
    in_archive  whether a ZIP archive, opened, is one
    in_bytes    whether other bytes are one beyond doubt
    suffixes    endings of names, in lower case, where bytes do not tell
    looks       whether bytes look like one, if neither they nor the name are anything else
    read_with   reads in place of `read` where it matters how
    """

    read: Callable[[bytes, str], Source]
    in_archive: Callable[[ZipFile], bool] | None = None
    in_bytes: Callable[[bytes], bool] | None = None
    suffixes: frozenset[str] = frozenset()
    looks: Callable[[bytes], bool] | None = None
    read_with: Callable[[bytes, str, Reading], Source] | None = None

    def source(self, data: bytes, name: str, reading: Reading) -> Source:
        """The document; raises as `read`."""
        return self.read(data, name) if self.read_with is None else self.read_with(data, name, reading)
