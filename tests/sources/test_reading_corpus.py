"""Documents of all formats: each word in its place, cells in their columns, and nothing that nobody is to see."""

from __future__ import annotations

from pathlib import Path

import pytest
from reading_corpus import Case, corpus, words
from reading_corpus.case import has_row

from asl_llamacpp.sources import Reading, read_source


def test_there_are_many_of_each() -> None:
    names = [case.name for case in corpus()]
    assert len(set(names)) == len(names) >= 80


@pytest.mark.parametrize("case", corpus(), ids=lambda case: case.name)
def test_it_is_read_as_a_person_reads_it(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.make())
    source = read_source(path, Reading(ocr=False))
    assert words(source.text) == words(case.text)
    assert [row for row in case.rows if not has_row(source.text, row)] == []
    assert [text for text in case.absent if text in source.text] == []
    for right, (start, end) in zip(case.pages, source.pages(), strict=False):
        assert words(source.text[start:end]) == words(right)
