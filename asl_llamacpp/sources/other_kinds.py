"""Files that people have and that are not read: what each is, and what to do with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeAlias

Told: TypeAlias = tuple[str, str]
"""What a file is, and what to do."""

_OLE = bytes.fromhex("d0cf11e0a1b11ae1")  # the container of .doc, .xls and .ppt, and of .docx with a password
_CONVERT = "soffice --headless --convert-to"


@dataclass(frozen=True)
class _Begins:
    """Files with these bytes at a place."""

    magic: tuple[bytes, ...]
    told: Told
    at: int = 0

    def fits(self, data: bytes) -> bool:
        return any(data[self.at : self.at + len(one)] == one for one in self.magic)


_ARCHIVE = "unpack it first, and name the files or the folder"
_SPOKEN = "a recording", "have it written down as text by a speech recogniser first"
_KINDLE = "a Kindle book", "convert it to EPUB first, with Calibre for instance, if it has no DRM"

_BEGINS = (
    _Begins((b"GGUF",), ("a model in GGUF", "name it with --model, and a document in its place")),
    _Begins((b"%!PS", b"\xc5\xd0\xd3\xc6"), ("a PostScript file", "convert it to PDF first: ps2pdf")),
    _Begins((b"AT&TFORM",), ("a DjVu file", "convert it to PDF first: ddjvu -format=pdf")),
    _Begins((b"BOOKMOBI", b"TEXtREAd"), _KINDLE, at=60),
    _Begins((b"\xeaDRMION\xee", b"CONT\x02\x00"), _KINDLE),
    _Begins((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd"),
            ("a compressed archive", _ARCHIVE)),
    _Begins((b"ustar",), ("a tar archive", _ARCHIVE), at=257),
    _Begins((b"ID3", b"OggS", b"fLaC", b"\x1aE\xdf\xa3", b"\xff\xfb", b"\xff\xf3"), _SPOKEN),
    _Begins((b"WAVE", b"AVI "), _SPOKEN, at=8),
    _Begins((b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"), ("a picture", "save it as PNG or JPEG first"), at=4),
    _Begins((b"ftyp",), _SPOKEN, at=4),
    _Begins((b"SQLite format 3\0",), ("a database of SQLite", "export the tables that you need as CSV first")),
    _Begins((b"PAR1", b"ARROW1"), ("a table of columns", "export it as CSV first")),
    _Begins((bytes.fromhex("e4525c7b8cd8a74d"),), ("a OneNote notebook", "export it as PDF or DOCX first")),
)  # fmt: skip

_IN_OLE: tuple[tuple[str, Told], ...] = (
    (
        "WordDocument",
        ("an old Word file (.doc)", f"save it as DOCX first, in Word or LibreOffice: {_CONVERT} docx FILE"),
    ),
    ("Workbook", ("an old Excel file (.xls)", f"save it as XLSX first, in Excel or LibreOffice: {_CONVERT} xlsx FILE")),
    ("Book", ("an old Excel file (.xls)", f"save it as XLSX first, in Excel or LibreOffice: {_CONVERT} xlsx FILE")),
    (
        "PowerPoint Document",
        ("an old PowerPoint file (.ppt)", f"save it as PPTX first, in PowerPoint or LibreOffice: {_CONVERT} pptx FILE"),
    ),
    ("VisioDocument", ("a Visio drawing", "save it as PDF first")),
    ("Quill", ("a Publisher file", "save it as PDF first")),
)

_APPLE = {
    ".pages": ("a Pages document", "export it as DOCX or PDF first, in Pages or on icloud.com"),
    ".numbers": ("a Numbers spreadsheet", "export it as XLSX or CSV first, in Numbers or on icloud.com"),
    ".key": ("a Keynote presentation", "export it as PPTX or PDF first, in Keynote or on icloud.com"),
}
_IN_ZIP: tuple[tuple[str, Told], ...] = (
    ("xl/workbook.bin", ("a binary Excel file (.xlsb)", "save it as XLSX first")),
    ("visio/document.xml", ("a Visio drawing", "save it as PDF first")),
    ("FixedDocSeq.fdseq", ("an XPS file", "save it as PDF first")),
    ("FixedDocumentSequence.fdseq", ("an XPS file", "save it as PDF first")),
    ("content.xml", ("an OpenDocument file of a kind that is not read", "save it as PDF first")),
    ("doc.kml", ("a map", "export it as CSV first")),
)


def locked_office(data: bytes) -> bool:
    """Whether it is a DOCX, XLSX or PPTX file with a password."""
    return data.startswith(_OLE) and _stream("EncryptedPackage") in data


def told_of(data: bytes) -> Told | None:
    """What these bytes are beyond doubt, and what to do; None: they are none of these."""
    if data.startswith(_OLE):
        known = next((told for stream, told in _IN_OLE if _stream(stream) in data), None)
        return known or ("an old Office file", f"save it as DOCX, XLSX, PPTX or PDF first, or try: {_CONVERT} pdf FILE")
    if b"<office:document " in data[:4096] and b"opendocument:xmlns:office" in data[:4096]:
        return "a flat OpenDocument file", "save it as ODT, ODS, ODP or PDF first"
    return next((kind.told for kind in _BEGINS if kind.fits(data)), None)


def told_of_archive(parts: Collection[str], name: str) -> Told:
    """What a ZIP archive with these parts is, and what to do."""
    if any(part.endswith(".iwa") or part in ("Index.zip", "index.xml", "index.apxl") for part in parts):
        other = "a document of Pages, Numbers or Keynote", "export it as DOCX, XLSX, PPTX or PDF first"
        return _APPLE.get(PurePath(name).suffix.lower(), other)
    return next((told for part, told in _IN_ZIP if part in parts), ("a ZIP archive", _ARCHIVE))


def _stream(name: str) -> bytes:
    return name.encode("utf-16-le") + b"\0\0"
