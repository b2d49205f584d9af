"""The heat map: it shows the whole document and nothing but text of it, links to its passages, and is written whole."""

from __future__ import annotations

import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asl_llamacpp.documents.evidence import ranked
from asl_llamacpp.documents.heat_map import LISTED, check_heat_map_path, write_heat_map
from asl_llamacpp.documents.heat_text import document_html
from asl_llamacpp.documents.text import Part
from asl_llamacpp.selection.ranks import rank
from asl_llamacpp.sources.source import Source, make_marks

EVIL = '<script>alert(1)</script> & "quotes" <b onclick=x>\n'


def paged(name: str, text: str) -> Source:
    """Pages of three lines; a section from a line "# title" on."""
    lines = [match.start() for match in re.finditer("^", text, re.MULTILINE) if match.start() < max(len(text), 1)]
    titles = [(match.start(), match[1]) for match in re.finditer(r"^# (.*)$", text, re.MULTILINE)]
    return Source(name, text, make_marks(lines[::3], titles))


def starts(n: int) -> NDArray[np.int32]:
    return np.arange(0, n, 10, dtype=np.int32)


class Page(HTMLParser):
    """The elements of a page and, with the marks of place and the badges left out, the text of the document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.document: list[str] = []
        self.places: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append((tag, dict(attrs).get("class")))
        if dict(attrs).get("class") == "doc":
            self.document.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        classes = [name for _, name in self.open]
        if "place" in classes:
            self.places.append(data)
        elif "doc" in classes and "badge" not in classes:
            self.document[-1] += data

    def ids(self) -> set[str | None]:
        return {attrs["id"] for _, attrs in self.tags if "id" in attrs}

    def links(self) -> list[str | None]:
        return [attrs["href"] for _, attrs in self.tags if "href" in attrs]


def content(*texts: str, share: float = 0.25, size: int = 4) -> dict[str, Any]:
    """A document of these texts in tokens of `size` characters, with random scores."""
    parts, at = [], 0
    for number, text in enumerate(texts):
        parts.append(Part(paged(f"file {number}.txt", text), at, 0, len(text)))
        at += len(text) + 2
    offsets = np.append(np.arange(0, at, size), at)
    scores = np.random.default_rng(1).random(len(offsets) - 1).astype(np.float32)
    kept = rank(scores) <= np.ceil(share * len(scores))
    found = ranked(kept, scores, offsets, starts(len(kept)), parts).spans
    return {"parts": parts, "kept": kept, "scores": scores, "offsets": offsets, "spans": found}


def written(path: Path, arguments: dict[str, Any], **options: Any) -> str:
    told = {"title": "notes", "question": "Where is the key?", "answer": "Under the mat.", "note": "No proof <b>"}
    write_heat_map(path, **{**told, **options}, **arguments)
    return path.read_text(encoding="utf-8")


def test_shows_question_answer_passages_and_the_whole_document(tmp_path: Path) -> None:
    texts = ("# Costs\nAll is dear.\nThe key is under the mat.\n" * 90, "A second file.\n" * 30)
    arguments = content(*texts)
    html = written(tmp_path / "map.html", arguments, report_line="layer 15 of 30")
    page = Page(html)
    assert page.document == list(texts)
    assert page.open == []
    for shown in ("Where is the key?", "Under the mat.", "layer 15 of 30", "No proof &lt;b&gt;", "page 1 · Costs"):
        assert shown in html
    assert f"{arguments['kept'].sum():,} of {len(arguments['kept']):,} tokens of the document went deeper" in html
    assert len(arguments["spans"]) > LISTED
    numbers = range(1, LISTED + 1)
    assert {f"s{n}" for n in numbers} | {f"e{n}" for n in numbers} == page.ids()
    assert sorted(page.links()) == sorted([f"#{kind}{n}" for n in numbers for kind in "es"])


def test_markup_in_the_input_is_text(tmp_path: Path) -> None:
    arguments = content(EVIL * 5)
    page = Page(written(tmp_path / "map.html", arguments, title=EVIL, question=EVIL, answer=EVIL, report_line=EVIL))
    assert page.document == [EVIL * 5]
    assert not {"script", "b onclick"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_names_and_sections_are_escaped(tmp_path: Path) -> None:
    arguments = content("words here\n" * 9)
    evil = paged("<img src=x>.txt", "# <u>title</u>\n" + "words here\n" * 9)
    arguments["parts"] = [Part(evil, 0, 0, len(evil.text))]
    arguments["offsets"][-1] = len(evil.text)
    kept, scores, offsets, parts = (arguments[name] for name in ("kept", "scores", "offsets", "parts"))
    arguments["spans"] = ranked(kept, scores, offsets, starts(len(kept)), parts).spans
    page = Page(written(tmp_path / "map.html", arguments))
    assert not {"img", "u"} & {tag for tag, _ in page.tags}
    assert "page 1 · <u>title</u>" in page.places


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    html = written(tmp_path / "map.html", content("plain words\n" * 50))
    assert "http:" not in html and "https:" not in html and "url(" not in html and "@import" not in html
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in Page(html).tags}
    assert "prefers-color-scheme: dark" in html and "width=device-width" in html


def test_pages_and_sections_are_marked_where_they_begin() -> None:
    arguments = content("# One\na\nb\nc\nd\n# Two\ne\n")
    html = document_html(*(arguments[name] for name in ("parts", "kept", "scores", "offsets")), [])
    assert Page(html).places == ["page 1 · One", "page 2 · One", "page 2 · Two", "page 3 · Two"]


def test_the_best_tokens_have_the_strongest_shade_and_the_others_none() -> None:
    text = "".join(f"{number:03} " for number in range(200))
    scores = np.arange(200, dtype=np.float32)
    kept = scores >= 100
    part = Part(Source("numbers", text), 0, 0, len(text))
    html = document_html([part], kept, scores, np.arange(201) * 4, [])
    shaded = re.findall(r"<i class=(\w)>([^<]*)</i>", html)
    assert "".join(text for _, text in shaded) == text[400:]
    assert [shade for shade, _ in shaded] == list("jihgfedcba"), "neighbours of one shade are one element"
    assert shaded[-1] == ("a", "199 ")


def test_where_nothing_was_pruned_it_says_so(tmp_path: Path) -> None:
    html = written(tmp_path / "map.html", content("words " * 50), pruned=False, note="Nothing was pruned: all was seen")
    assert "Nothing was pruned: all was seen" in html
    assert "went deeper" not in html and "not kept" not in html


def test_nothing_kept_and_an_empty_document(tmp_path: Path) -> None:
    arguments = content("words " * 50)
    arguments |= {"kept": np.zeros_like(arguments["kept"]), "spans": []}
    html = written(tmp_path / "map.html", arguments)
    assert "No passage was kept" in html
    assert "<i class=" not in html.split("</p>\n<h3>")[1]
    nothing = np.zeros(0, np.float32)
    arguments |= {"kept": nothing.astype(bool), "scores": nothing, "offsets": np.zeros(1, np.int64), "parts": []}
    written(tmp_path / "map.html", arguments)


@given(st.lists(st.text("a1 \n<&é語\r\x85", max_size=40), max_size=3), st.integers(1, 9))
def test_the_document_is_shown_whole_whatever_it_is(texts: list[str], size: int) -> None:
    arguments = content(*texts, share=0.5, size=size)
    listed = arguments.pop("spans")[:LISTED]
    assert Page(document_html(**arguments, listed=listed)).document == texts


def test_an_eight_thousand_token_document_stays_small(tmp_path: Path) -> None:
    arguments = content("Some words of a long document. " * 1_050)
    assert len(arguments["kept"]) > 8_000
    written(tmp_path / "map.html", arguments)
    assert (tmp_path / "map.html").stat().st_size < 600_000
    arguments |= {"kept": np.ones_like(arguments["kept"])}  # unpooled scores, all kept: no neighbours to merge
    written(tmp_path / "map.html", arguments)
    assert (tmp_path / "map.html").stat().st_size < 600_000


# --- the file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["map", "map.pdf", "map.html.txt"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"endings \.html, \.htm"):
        check_heat_map_path(tmp_path / name)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        check_heat_map_path(tmp_path / "nowhere" / "map.html")


def test_a_folder_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.html").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        check_heat_map_path(tmp_path / "map.html")


def test_a_locked_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as root, no folder is locked
    with pytest.raises(PermissionError, match="no permission to write the heat map into"):
        check_heat_map_path(tmp_path / "map.HTM")


def test_an_error_leaves_the_older_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, arguments = tmp_path / "map.html", content("words " * 50)
    path.write_text("older")

    def full(partial: Path, data: bytes) -> int:
        with partial.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"cannot write the heat map .*map\.html: No space left"):
        written(path, arguments)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_that_cannot_take_its_place_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "map.html"
    path.write_text("older")

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        written(path, content("words " * 50))
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file modes")
def test_the_file_can_be_read_by_whom_the_umask_says(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    written(tmp_path / "map.html", content("words " * 50))
    assert (tmp_path / "map.html").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_lone_surrogates_do_not_stop_it(tmp_path: Path) -> None:
    assert "&#55357;" in written(tmp_path / "map.html", content("words " * 50), answer="half \ud83d")


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    arguments = content("words " * 50)
    with pytest.raises(ValueError, match=r"n, n and n \+ 1"):
        written(tmp_path / "map.html", arguments | {"kept": arguments["kept"][1:]})


def test_printed_page_numbers_stand_beside_those_of_the_sheets() -> None:
    text = "The first page.\n\nThe second page."
    source = Source("a.pdf", text, make_marks([0, 17], [(17, "Costs")]), page_labels=("iv", "2"))
    nothing = np.zeros(1, np.float32)
    html = document_html([Part(source, 0, 0, len(text))], nothing > 0, nothing, np.array([0, len(text)]), [])
    page = Page(html)
    assert page.places == ["page iv (sheet 1)", "page 2 · Costs"]
