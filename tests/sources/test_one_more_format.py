"""The document format of CONTRIBUTING.md: one file and one line."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import contributing
import pytest

from asl_llamacpp import sources
from asl_llamacpp.sources import READABLE, Mark, read_source
from asl_llamacpp.sources.formats import FORMATS

FILE = "asl_llamacpp/sources/notebook.py"
CELLS = [["# Results\n", "of *May*"], ["print(1)\n", "print(2)"], ["## In June"]]


@pytest.fixture(autouse=True)
def _notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    line = re.search(r'`("notebook": .*,)`', contributing.PAGE)
    assert line is not None
    for module, title in ast.literal_eval(f"{{{line[1]}}}").items():
        monkeypatch.setitem(FORMATS, module, title)
    with contributing.added(sources, FILE, tmp_path):
        yield


def write(path: Path, notebook: Any) -> Path:
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def test_it_is_read_by_its_name(tmp_path: Path) -> None:
    notebook = {"cells": [{"cell_type": "code", "source": lines} for lines in CELLS]}
    source = read_source(write(tmp_path / "A.IPYNB", notebook))
    assert source.text == "# Results\nof *May*\n\nprint(1)\nprint(2)\n\n## In June"
    assert source.marks == (Mark(0, None, "Results"), Mark(source.text.index("## In"), None, "In June"))
    assert read_source(write(tmp_path / "a.json", notebook)).text.startswith("{")


def test_a_broken_one_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.ipynb cannot be read as a Jupyter file: 'cells'"):
        read_source(write(tmp_path / "a.ipynb", {}))


def test_other_formats_are_told_as_before(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_bytes(b"{\\rtf1 text}")
    assert read_source(tmp_path / "a.ipynb").text == "text"


def test_the_sentence_that_lists_the_formats() -> None:
    formats = "text, Markdown, PDF, DOCX, HTML, EPUB, ODT, ODS, ODP, RTF, XLSX, CSV, PPTX, EML, MSG and picture"
    assert f"{formats} documents can be read" == READABLE
