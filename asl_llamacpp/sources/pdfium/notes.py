"""What people added to a PDF page: values of form fields, and comments."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .frame import PageFrame, Rect

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_MOST = 5000
_HIDDEN_FLAGS = 1 << 1 | 1 << 5  # hidden, no view
_PASSWORD_FIELD = 1 << 13


@dataclass(frozen=True)
class Note:
    """text    a value or a comment
    rect    where it is on the page, as displayed
    kind    "field", "box" (ticked or not), "written" (text put on the page) or "comment"
    author  of a comment; empty: unknown
    """

    text: str
    rect: Rect
    kind: str
    author: str = ""


def page_notes(document: PdfDocument, page: PdfPage, frame: PageFrame) -> list[Note]:
    """The filled form fields and the comments of a page; those that are not shown are left out."""
    from pypdfium2 import raw

    found: list[Note] = []
    for i in range(min(raw.FPDFPage_GetAnnotCount(page), _MOST)):
        annotation = raw.FPDFPage_GetAnnot(page, i)
        if not annotation:
            continue
        try:
            if raw.FPDFAnnot_GetFlags(annotation) & _HIDDEN_FLAGS:
                continue
            note = _note(document, annotation, frame)
            if note is not None and note.text:
                found.append(note)
        finally:
            raw.FPDFPage_CloseAnnot(annotation)
    return found


def _note(document: PdfDocument, annotation: Any, frame: PageFrame) -> Note | None:
    from pypdfium2 import raw

    box = raw.FS_RECTF()
    if not raw.FPDFAnnot_GetRect(annotation, box):
        return None
    rect = frame.displayed(
        min(box.left, box.right), min(box.bottom, box.top), max(box.left, box.right), max(box.bottom, box.top)
    )
    kind = raw.FPDFAnnot_GetSubtype(annotation)
    if kind == raw.FPDF_ANNOT_WIDGET:
        return _field(document, annotation, rect)
    if kind in (raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_LINK):
        return None
    text = " ".join(_string(annotation, b"Contents").split())
    if kind == raw.FPDF_ANNOT_FREETEXT:
        return Note(text, rect, "written")
    return Note(text, rect, "comment", " ".join(_string(annotation, b"T").split()))


def _field(document: PdfDocument, annotation: Any, rect: Rect) -> Note | None:
    from pypdfium2 import raw

    form = document.formenv
    if form is None:
        return None
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        return Note("[x]" if raw.FPDFAnnot_IsChecked(form, annotation) else "[ ]", rect, "box")
    if kind in (raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX, raw.FPDF_FORMFIELD_TEXTFIELD):
        if kind == raw.FPDF_FORMFIELD_TEXTFIELD:
            if raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & _PASSWORD_FIELD:
                return None
        else:
            chosen = _chosen(form, annotation)
            if chosen:
                return Note(", ".join(chosen), rect, "field")
        return Note(" ".join(_read(raw.FPDFAnnot_GetFormFieldValue, form, annotation).split()), rect, "field")
    return None


def _chosen(form: Any, annotation: Any) -> list[str]:
    from pypdfium2 import raw

    return [
        _read(raw.FPDFAnnot_GetOptionLabel, form, annotation, i)
        for i in range(min(max(raw.FPDFAnnot_GetOptionCount(form, annotation), 0), _MOST))
        if raw.FPDFAnnot_IsOptionSelected(form, annotation, i)
    ]


def _string(annotation: Any, key: bytes) -> str:
    from pypdfium2 import raw

    return _read(raw.FPDFAnnot_GetStringValue, annotation, key)


def _read(function: Any, *args: Any) -> str:
    """A string of pdfium: UTF-16 with a NUL at its end; asked first for its size, in bytes."""
    size = function(*args, None, 0)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    function(*args, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace").replace("\0", "")
