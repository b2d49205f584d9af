"""The files that a reader of the docs and examples has in their folder: documents, model.gguf and small.gguf."""

from __future__ import annotations

from pathlib import Path

from document_files import chapter, docx_bytes, epub_bytes, paragraph
from narrow_model import narrow_model
from pdf_files import pdf_bytes
from places import BUILD

from asl_llamacpp.files.model_file import default_model

CONTRACT = [
    "This contract is made between the mill and the inn. It is valid in all of the valley.",
    "Either side may end the contract on the last day of a month, three months ahead. It costs 40 coins.",
]
NOTES = """# Notes

## Monday

The auditors objected to the missing receipts of June. Anna decided to move the office to Bern.

## Tuesday

Request 17 failed first, with a timeout.
"""


def write_files(folder: Path) -> None:
    pdf = pdf_bytes(CONTRACT)
    (folder / "contract.pdf").write_bytes(pdf)
    (folder / "report.pdf").write_bytes(pdf)
    (folder / "notes.md").write_text(NOTES, encoding="utf-8")
    body = paragraph("Minutes", "heading 1") + paragraph("Anna took the minutes. The next meeting is in May.")
    (folder / "minutes.docx").write_bytes(docx_bytes(body))
    book = chapter("<h1>One</h1><p>Tom finds the key under the mat.</p><h1>Two</h1><p>He opens the door.</p>")
    (folder / "book.epub").write_bytes(epub_bytes({"one.xhtml": book}))
    (folder / "model.gguf").symlink_to(default_model())
    (folder / "small.gguf").symlink_to(narrow_model(default_model(), BUILD / "models"))
