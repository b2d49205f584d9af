"""Somebody who reads the docs: their folder, and a `Llama` that is quick enough for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reader_files import NOTES, write_files

import asl_llamacpp

ANSWER = 8
"""Tokens of an answer, unless the code says otherwise."""


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder. What differs from a reader: one thread, short answers, and a short example document."""
    write_files(tmp_path)
    example = tmp_path / "example.txt"
    example.write_text(NOTES, encoding="utf-8")
    opened: list[asl_llamacpp.Llama] = []

    class OneThread(asl_llamacpp.Llama):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{"n_threads": 1, "n_threads_batch": 1, "verbose": False, **kwargs})
            opened.append(self)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asl_llamacpp, "Llama", OneThread)
    monkeypatch.setattr(asl_llamacpp, "EXAMPLE", example)
    monkeypatch.setitem(asl_llamacpp.Document.ask.__kwdefaults__, "max_tokens", ANSWER)
    yield tmp_path
    for llm in opened:
        llm.close()
