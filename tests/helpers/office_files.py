"""XLSX, PPTX, ODT and MSG files for tests: by the libraries that write them, or part by part."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import openpyxl
import pptx
from document_files import zip_bytes

ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" '
    'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" '
    'xmlns:presentation="urn:oasis:names:tc:opendocument:xmlns:presentation:1.0" '
    'xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0"'
)
_SECTOR, _MINI, _SMALL = 512, 64, 4096
_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def made_xlsx(fill: Callable[[Any], None]) -> bytes:
    """A workbook, which `fill` gets with one empty sheet."""
    book, file = openpyxl.Workbook(), io.BytesIO()
    fill(book)
    book.save(file)
    return file.getvalue()


def made_pptx(fill: Callable[[Any], None]) -> bytes:
    """A presentation, which `fill` gets without slides."""
    deck, file = pptx.Presentation(), io.BytesIO()
    fill(deck)
    deck.save(file)
    return file.getvalue()


def odt_bytes(body: str, styles: str = "", automatic: str = "") -> bytes:
    return opendocument_bytes("text", f"<office:text>{body}</office:text>", styles, automatic)


def ods_bytes(sheets: str, automatic: str = "") -> bytes:
    return opendocument_bytes("spreadsheet", f"<office:spreadsheet>{sheets}</office:spreadsheet>", "", automatic)


def odp_bytes(slides: str, automatic: str = "") -> bytes:
    return opendocument_bytes("presentation", f"<office:presentation>{slides}</office:presentation>", "", automatic)


def opendocument_bytes(kind: str, body: str, styles: str, automatic: str) -> bytes:
    content = (
        f"<office:document-content {ODF}><office:automatic-styles>{automatic}</office:automatic-styles>"
        f"<office:body>{body}</office:body></office:document-content>"
    )
    return zip_bytes(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": content,
            "styles.xml": f"<office:document-styles {ODF}>{styles}</office:document-styles>",
        }
    )


def msg_bytes(texts: dict[int, str | bytes], attachments: list[str] | None = None) -> bytes:
    """A mail in Outlook's form: texts by their property, bytes for those that are binary."""
    tree: dict[str, Any] = _storage(texts, 32)
    tree["__nameid_version1.0"] = {"__substg1.0_00020102": b""}
    for number, name in enumerate(attachments or []):
        tree[f"__attach_version1.0_#{number:08X}"] = _storage({0x3707: name, 0x3701: b"data"}, 8)
    return _ole(tree)


def _storage(texts: dict[int, str | bytes], header: int) -> dict[str, Any]:
    streams: dict[str, Any] = {}
    properties = bytes(header)
    for pid, text in texts.items():
        kind = 0x0102 if isinstance(text, bytes) else 0x001F
        data = text if isinstance(text, bytes) else text.encode("utf-16-le")
        streams[f"__substg1.0_{pid:04X}{kind:04X}"] = data
        properties += struct.pack("<HHIII", kind, pid, 6, len(data), 0)
    streams["__properties_version1.0"] = properties
    return streams


def _ole(tree: dict[str, Any]) -> bytes:
    """An OLE file, small streams within that of its root."""
    entries: list[dict[str, Any]] = [{"name": "Root Entry", "kind": 5, "data": b"", "child": _FREE, "next": _FREE}]

    def add(children: dict[str, Any], parent: int) -> None:
        before = None
        for name in sorted(children, key=lambda one: (len(one), one.upper())):
            one, at = children[name], len(entries)
            is_folder = isinstance(one, dict)
            data = b"" if is_folder else one
            entries.append({"name": name, "kind": 1 if is_folder else 2, "data": data, "child": _FREE, "next": _FREE})
            if before is None:
                entries[parent]["child"] = at
            else:
                entries[before]["next"] = at  # a tree that is a list: each entry is right of the one before
            before = at
            if is_folder:
                add(one, at)

    add(tree, 0)
    sectors: list[bytes] = []
    chain: list[int] = []
    small: list[bytes] = []
    small_chain: list[int] = []

    def put(data: bytes, size: int, into: list[bytes], following: list[int]) -> int:
        if not data:
            return _END
        first = len(into)
        pieces = [data[i : i + size].ljust(size, b"\0") for i in range(0, len(data), size)]
        into.extend(pieces)
        following.extend([*range(first + 1, first + len(pieces)), _END])
        return first

    starts = [
        put(entry["data"], _MINI, small, small_chain)
        if len(entry["data"]) < _SMALL
        else put(entry["data"], _SECTOR, sectors, chain)
        for entry in entries
    ]
    entries[0]["data"] = b"".join(small)
    starts[0] = put(entries[0]["data"], _SECTOR, sectors, chain)
    small_fat = struct.pack(f"<{len(small_chain)}I", *small_chain)
    small_fat += struct.pack("<I", _FREE) * (-len(small_chain) % (_SECTOR // 4))
    small_at = put(small_fat, _SECTOR, sectors, chain)
    folder = b""
    for entry, start in zip(entries, starts, strict=True):
        name = entry["name"].encode("utf-16-le")
        folder += name.ljust(64, b"\0") + struct.pack(
            "<HBBIII", len(name) + 2, entry["kind"], 1, _FREE, entry["next"], entry["child"]
        )
        folder += bytes(36) + struct.pack("<IQ", start, len(entry["data"]))
    empty = bytes(68) + struct.pack("<III", _FREE, _FREE, _FREE) + bytes(48)
    folder += empty * (-len(entries) % 4)
    folder_at = put(folder, _SECTOR, sectors, chain)
    n_fat = 1
    while (len(chain) + n_fat) * 4 > n_fat * _SECTOR:
        n_fat += 1
    fat_at = len(sectors)
    fat = [*chain, *[_FAT] * n_fat]
    fat += [_FREE] * (n_fat * _SECTOR // 4 - len(fat))
    sectors.append(struct.pack(f"<{len(fat)}I", *fat))
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<IIIIIIIII", 0, n_fat, folder_at, 0, _SMALL, small_at, len(small_fat) // _SECTOR, _END, 0)
    difat = [fat_at + i for i in range(n_fat)] + [_FREE] * (109 - n_fat)
    return head + struct.pack("<109I", *difat) + b"".join(sectors)
