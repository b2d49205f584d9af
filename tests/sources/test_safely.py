"""Files that could do harm: each ends in one error that names it, and takes so much time and memory, and no more."""

from __future__ import annotations

import io
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from document_files import docx_parts, epub_parts, zip_bytes
from pdf_files import pdf_bytes
from sample_files import SAMPLES

from asl_llamacpp.sources import PageProgress, Reading, child_process
from asl_llamacpp.sources.content import read_bytes
from asl_llamacpp.sources.safely import SafeReader, read_safely

PDF = pdf_bytes(["First page", "Second page"])
BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    + "]><w:document>&j;</w:document>"
)


@pytest.fixture(scope="module")
def reader() -> Iterator[SafeReader]:
    with SafeReader() as one:
        yield one


def test_what_comes_back_is_what_was_read_here(reader: SafeReader) -> None:
    there, here = reader.read(PDF, "a.pdf"), read_bytes(PDF, "a.pdf")
    assert there == here
    assert there.char_rects is not None and here.char_rects is not None
    np.testing.assert_array_equal(there.char_rects, here.char_rects)
    html = b"<h1>\xc3\x9cber</h1><p>\xf0\x9f\x98\x80 b"
    assert reader.read(html, "a.html") == read_bytes(html, "a.html")


def test_pages_are_told_and_may_stop_it(reader: SafeReader) -> None:
    seen: list[PageProgress] = []
    reader.read(PDF, "a.pdf", Reading(on_page=seen.append))
    assert seen == [PageProgress("a.pdf", 1, 2), PageProgress("a.pdf", 2, 2)]

    def stop(_: PageProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reader.read(PDF, "a.pdf", Reading(on_page=stop))
    assert reader.read(PDF, "a.pdf").text == "First page\n\nSecond page"


def test_plain_text_starts_no_process() -> None:
    with SafeReader() as reader:
        assert reader.read(b"text", "a.txt").text == "text"
        assert reader._child is None
        assert reader.read(PDF, "a.pdf", Reading(seconds=None)).n_pages == 2
        assert reader._child is None


def docx_of(body: bytes) -> bytes:
    """A DOCX file whose text part is this, packed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for part, content in docx_parts("").items():
            archive.writestr(part, body if part == "word/document.xml" else content)
    return file.getvalue()


def told_as(data: bytes, size: int) -> bytes:
    """The archive with another size of its text part told in it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        told = archive.getinfo("word/document.xml").file_size.to_bytes(4, "little")
    assert data.count(told) == 2
    return data.replace(told, size.to_bytes(4, "little"))


def in_part(data: bytes, part: str, pattern: bytes, text: bytes) -> bytes:
    """The archive with all that the pattern matches replaced in the parts whose names begin so."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    changed = {name: re.sub(pattern, text, content) for name, content in parts.items() if name.startswith(part)}
    assert changed
    return zip_bytes({**parts, **changed})


def pdf_of(body: str, contents: bytes = b"") -> bytes:
    stream = b"4 0 obj <</Length %d>> stream\n%s\nendstream endobj\n" % (len(contents), contents)
    head = b"%PDF-1.4\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n"
    return head + body.encode() + b"\n" + stream + b"trailer <</Root 1 0 R>>\n%%EOF"


HOSTILE: dict[str, Callable[[], bytes]] = {
    "bomb.docx": lambda: docx_of(b" " * (65 * 2**20)),
    "bomb-told-small.docx": lambda: told_as(docx_of(b" " * (65 * 2**20)), 1000),
    "told-huge.docx": lambda: told_as(docx_of(b"x" * 77_777), 2**32 - 2),
    "laughs.docx": lambda: zip_bytes({**docx_parts(""), "word/document.xml": BILLION_LAUGHS}),
    "laughs.epub": lambda: zip_bytes({**epub_parts({"a.xhtml": "x"}), "META-INF/container.xml": BILLION_LAUGHS}),
    "loop.pdf": lambda: pdf_of("2 0 obj <</Type/Pages/Kids[2 0 R]/Count 1>> endobj"),
    "huge-count.pdf": lambda: pdf_of("2 0 obj <</Type/Pages/Kids[3 0 R]/Count 2147483647>> endobj"),
    "deep.pdf": lambda: pdf_of("2 0 obj " + "[" * 100_000 + "]" * 100_000 + " endobj"),
    "stacked.pdf": lambda: pdf_bytes(["x) Tj 60 -4294967295 Td (y" + ") Tj 60 0 Td (h) Tj -60 0 Td (i" * 2000]),
    "points.pptx": lambda: in_part(
        SAMPLES["a.pptx"], "ppt/charts/", rb'ptCount val="\d+"', b'ptCount val="4294967295"'
    ),
    "laughs.xlsx": lambda: in_part(SAMPLES["a.xlsx"], "xl/workbook.xml", rb"\A[^$]*\Z", BILLION_LAUGHS.encode()),
    "laughs.odt": lambda: in_part(SAMPLES["a.odt"], "content.xml", rb"\A[^$]*\Z", BILLION_LAUGHS.encode()),
    "deep.html": lambda: b"<html>" + b"<div>" * 10_000 + b"x",
    "deep-table.html": lambda: b"<html>" + b"<table><tr><td>" * 10_000 + b"x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, reader: SafeReader) -> None:
    data = HOSTILE[name]()
    start = time.monotonic()
    try:
        reader.read(data, name)
    except ValueError as error:
        assert name in str(error)
        assert "\n" not in str(error)
    else:
        assert name.startswith(("deep", "stacked", "points"))  # which can be read after all
    assert time.monotonic() - start < 20  # 10 s, of a machine that does other things too
    assert reader.read(PDF, "a.pdf").n_pages == 2


@pytest.mark.slow
def test_a_file_within_all_sizes_that_takes_too_much(reader: SafeReader) -> None:
    name = "a.docx"
    opening = b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
    data = docx_of(opening + b"<w:p/>" * 9_000_000 + b"</w:body></w:document>")
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"a\.docx was not read: (that takes more than|10 s passed|the process)"):
        reader.read(data, name)
    assert time.monotonic() - start < 20


@pytest.fixture
def with_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Makes the child read all that is no text by a function of this body."""

    def use(body: str) -> None:
        (tmp_path / "sitecustom.py").write_text(
            "import os, signal, time\n"
            "from asl_llamacpp.sources import safe_child\n"
            f"def read(data, name, reading):\n    {body}\n"
            "safe_child.read_bytes = read\n"
        )
        code = child_process._CODE.replace("safe_child.main()", "import sitecustom; safe_child.main()")
        monkeypatch.setattr(child_process, "_CODE", code)
        monkeypatch.syspath_prepend(str(tmp_path))

    return use


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("time.sleep(60)", r"a\.pdf was not read: 0.5 s passed without a page .*read_timeout"),
        ("while True: pass", r"a\.pdf was not read: 0.5 s passed"),
        ("x = [bytes(2**20) for _ in range(500)]; time.sleep(9)", r"a\.pdf was not read: that takes more than 64 MiB"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"a\.pdf was not read: .* ended with SIGSEGV"),
        ("os._exit(3)", r"a\.pdf was not read: .* ended with exit code 3"),
        ("f = lambda: f(); f()", r"a\.pdf was not read: its parts are nested too deeply"),
        ("print('noise'); os.write(1, b'noise'); raise safe_child.UnreadableError('a.pdf is bad')", "^a.pdf is bad$"),
    ],
)
def test_a_reader_that_goes_wrong(with_reader: Callable[[str], None], body: str, message: str) -> None:
    with_reader(body)
    before = set(psutil.Process().children())
    with pytest.raises(ValueError, match=message):
        read_safely(PDF, "a.pdf", Reading(seconds=0.5, memory=2**26))
    assert set(psutil.Process().children()) <= before


def test_a_mistake_in_a_reader_stays_visible(with_reader: Callable[[str], None]) -> None:
    with_reader("raise KeyError('x')")
    with pytest.raises(RuntimeError, match="a mistake in this program"):
        read_safely(PDF, "a.pdf")


def test_the_child_ends_itself_when_nobody_watches(with_reader: Callable[[str], None]) -> None:
    with_reader("safe_child.faulthandler.dump_traceback_later(0.2, exit=True)\n    while True: pass")
    with pytest.raises(ValueError, match="ended with exit code 1"):
        read_safely(PDF, "a.pdf", Reading(seconds=30))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_limits_that_are_none(seconds: float) -> None:
    with pytest.raises(ValueError, match="read_timeout"):
        Reading(seconds=seconds)


def test_several_threads() -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(read_safely(PDF, "a.pdf").text)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["First page\n\nSecond page"] * 2


def test_waiting_may_be_stopped(with_reader: Callable[[str], None]) -> None:
    def stop() -> None:
        raise InterruptedError

    with_reader("time.sleep(60)")
    with SafeReader() as reader, pytest.raises(InterruptedError):
        reader.read(PDF, "a.pdf", Reading(on_wait=stop))
