"""What of a file was not read is said wherever the document is."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_fixtures import load_narrow
from made_pdfs import lines, made_pdf
from pdf_files import pdf_bytes

from asl_llamacpp.documents.text import DocumentText
from asl_llamacpp.sources import Heading, Source


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    """Page 2 of three is a picture."""
    picture = tmp_path / "scan.png"
    from matplotlib.image import imsave

    imsave(picture, [[0.0, 1.0], [1.0, 0.0]])
    path = tmp_path / "m.pdf"
    path.write_bytes(
        made_pdf(
            lines("The first page is about the vault and its pass key."),
            lambda canvas: canvas.drawImage(str(picture), 60, 400, 300, 300),
            lines("three"),
        )
    )
    return path


@pytest.mark.slow
def test_a_document_says_it_and_a_saved_one_too(scanned: Path, tmp_path: Path) -> None:
    llm = load_narrow(kv_policy="asl:layer=14,select_k=128,window=16", n_ctx=512)
    document = llm.read(scanned)
    assert len(document.warnings) == 1
    assert document.warnings[0].startswith("page 2 is a picture")
    assert f"warning    {document.warnings[0]}" in str(document).splitlines()
    document.save(tmp_path / "m.asldoc")
    again = llm.open_document(tmp_path / "m.asldoc")
    assert again.warnings == document.warnings
    assert again.sources[0].headings == document.sources[0].headings
    (tmp_path / "b.pdf").write_bytes(pdf_bytes(["x"]))
    both = llm.read(scanned, tmp_path / "b.pdf")
    assert both.warnings == (f"m.pdf: {document.warnings[0]}",)


def test_warnings_have_their_source_s_name_where_there_are_several() -> None:
    one, two = Source("a", "text", warnings=("A.", "B.")), Source("b", "text", headings=(Heading(0, "t"),))
    assert DocumentText.of([one]).warnings == ("A.", "B.")
    assert DocumentText.of([one, two]).warnings == ("a: A.", "a: B.")
    assert DocumentText.of([two]).warnings == ()
